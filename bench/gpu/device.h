// device.h: where our side of bench/run --gpu runs and by whose clock: a CUDA device and its events, or, for the
// bench's own tests, the CPU and a steady clock. What decides nothing about problems, arms or figures.
#ifndef SAGE_BENCH_GPU_DEVICE_H_
#define SAGE_BENCH_GPU_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "status.h"

namespace sage::bench {

// Enqueues the n-th piece of work on the device's stream.
using Work = std::function<Status(int64_t n)>;

// Work as the device keeps it, so that a launch of all of it is one call.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual Status Launch() = 0;
};

// One thread at a time.
class Device {
 public:
  virtual ~Device() = default;

  virtual int32_t type() const = 0;  // SAGE_CPU, SAGE_CUDA
  virtual void* stream() const = 0;  // null: work is done when a call returns
  // {"name", "capability", "driver", "runtime", "multiprocessors", "l2_bytes", "memory_bytes", "free_bytes",
  // "peaks": what shares of a table of rates are of, {"tensor_flops_per_ns", "bytes_per_ns"}}
  virtual Result<nlohmann::ordered_json> Facts() = 0;

  // At multiples of 256 bytes; SAGE_E_OUT_OF_MEMORY where there is no room.
  virtual Result<void*> Allocate(uint64_t bytes) = 0;
  virtual void Free(void* memory) = 0;
  // Enqueued; between any two of this device's memory and the CPU's. The latter may be reused after Wait.
  virtual Status Copy(void* to, const void* from, uint64_t bytes) = 0;
  virtual Status Fill(void* to, unsigned char byte, uint64_t bytes) = 0;
  virtual Status Wait() = 0;

  // Nanoseconds on the device of each of `samples` pieces of work, numbered on from `warmup` that come first and do not
  // count. All are enqueued before the first is waited for: no sample has the CPU's time of launching it in it, as long
  // as a piece takes the device longer than the CPU.
  virtual Result<std::vector<double>> Time(const Work& work, int64_t warmup, int64_t samples) = 0;
  // `calls` pieces of work, numbered from 0, recorded; an error where that cannot be done.
  virtual Result<std::unique_ptr<Recording>> Record(const Work& work, int64_t calls) = 0;
};

// The CPU, for tests of the bench: its figures are nobody's.
std::unique_ptr<Device> MakeCpuDevice();
// CUDA's device 0, or why there is none. Built where the toolkit is.
Result<std::unique_ptr<Device>> MakeCudaDevice();

// Memory of a device, given back with it.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(Device* device, void* data) : device_(device), data_(data) {}
  DeviceMemory(DeviceMemory&& other) noexcept : device_(other.device_), data_(std::exchange(other.data_, nullptr)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(device_, other.device_), std::swap(data_, other.data_);
    return *this;
  }
  ~DeviceMemory() {
    if (data_ != nullptr) device_->Free(data_);
  }
  char* data() const { return static_cast<char*>(data_); }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
};

Result<DeviceMemory> Take(Device& device, uint64_t bytes);

}  // namespace sage::bench

#endif  // SAGE_BENCH_GPU_DEVICE_H_
