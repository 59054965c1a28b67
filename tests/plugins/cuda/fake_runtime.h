// fake_runtime.h: the CUDA runtime as a test wants it: any driver, any devices, and any call that fails in any way.
//
// Memory is the CPU's, so that copies copy and kernels that are emulated find their operands. Errors behave as CUDA's
// do: the last one stays until it is taken, and one that loses the device comes back from every later call.
#ifndef SAGE_TESTS_PLUGINS_CUDA_FAKE_RUNTIME_H_
#define SAGE_TESTS_PLUGINS_CUDA_FAKE_RUNTIME_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/cuda/errors.h"
#include "common/cuda/runtime.h"

namespace sage::cuda {

inline Properties FakeH200() {
  Properties p;
  p.name = "NVIDIA H200";
  p.major = 9, p.minor = 0, p.multiprocessors = 132;
  p.clock_khz = 1980000, p.memory_clock_khz = 3201000, p.memory_bus_bits = 6144;
  p.shared_bytes_per_block = 232448;
  p.total_bytes = uint64_t{150} << 30, p.l2_bytes = 60u << 20;
  return p;
}

class FakeRuntime final : public Runtime {
 public:
  int built_for = 13000, driver_version = 13000, count_code = kSuccess;
  std::vector<Properties> devices{FakeH200()};
  uint64_t memory_limit = uint64_t{1} << 30;
  std::map<std::string, int> fail;  // the named call returns this, every time
  std::vector<std::string> calls;   // in order
  bool recording = false;           // what BeginNodes finds
  int added_nodes = 0;              // by EndNodes

  size_t blocks() const { return memory_.size(); }
  size_t streams() const { return streams_; }
  size_t events() const { return events_; }
  size_t graphs() const { return graphs_; }
  int current_device() const { return current_; }
  int pending_error() const { return last_; }
  void LeaveError(int code) { last_ = code; }  // of somebody else's call
  void SetCurrent(int device) { current_ = device; }

  int BuiltFor() const override { return built_for; }
  int DriverVersion(int* out) override {
    if (const int code = Enter("DriverVersion")) return code;
    *out = driver_version;
    return kSuccess;
  }
  int DeviceCount(int* out) override {
    if (const int code = Enter("DeviceCount")) return code;
    if (count_code != kSuccess) return Leave(count_code);
    *out = static_cast<int>(devices.size());
    return kSuccess;
  }
  int GetProperties(int device, Properties* out) override {
    if (const int code = Enter("GetProperties")) return code;
    *out = devices.at(static_cast<size_t>(device));
    return kSuccess;
  }
  int GetDevice(int* out) override {
    if (const int code = Enter("GetDevice")) return code;
    *out = current_;
    return kSuccess;
  }
  int SetDevice(int device) override {
    if (const int code = Enter("SetDevice")) return code;
    current_ = device;
    return kSuccess;
  }
  int Malloc(void** out, size_t bytes) override { return Allocate("Malloc", out, bytes); }
  int MallocManaged(void** out, size_t bytes) override { return Allocate("MallocManaged", out, bytes); }
  int Free(void* memory) override { return FreeAs("Free", memory); }
  int FreeAs(const char* name, void* memory) {
    if (const int code = Enter(name)) return code;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = memory_.find(memory);
    if (found == memory_.end()) return Leave(1);  // cudaErrorInvalidValue
    in_use_ -= found->second;
    memory_.erase(found);
    std::free(memory);
    return kSuccess;
  }
  int MemoryInfo(size_t* free_bytes, size_t* total_bytes) override {
    if (const int code = Enter("MemoryInfo")) return code;
    *free_bytes = memory_limit - in_use_, *total_bytes = memory_limit;
    return kSuccess;
  }
  int Copy(void* to, const void* from, size_t bytes, void*) override {
    if (const int code = Enter("Copy")) return code;
    std::memcpy(to, from, bytes);
    return kSuccess;
  }
  int StreamCreate(void** out) override { return Make("StreamCreate", out, &streams_); }
  int StreamDestroy(void*) override { return End("StreamDestroy", &streams_); }
  int StreamSynchronize(void*) override { return Enter("StreamSynchronize"); }
  int EventCreate(void** out) override { return Make("EventCreate", out, &events_); }
  int EventDestroy(void*) override { return End("EventDestroy", &events_); }
  int EventRecord(void*, void*) override { return Enter("EventRecord"); }
  int StreamWaitEvent(void*, void*) override { return Enter("StreamWaitEvent"); }
  // What is recorded is done at once as well: kernels are launched by nobody here.
  int BeginCapture(void*) override { return Enter("BeginCapture"); }
  int EndCapture(void*, void** graph) override { return Make("EndCapture", graph, &graphs_); }
  int GraphLaunch(void*, void*) override { return Enter("GraphLaunch"); }
  int GraphDestroy(void*) override { return End("GraphDestroy", &graphs_); }
  int BeginNodes(void*, void** nodes) override {
    *nodes = nullptr;
    return recording ? Make("BeginNodes", nodes, &graphs_) : Enter("BeginNodes");
  }
  int EndNodes(void*, void*, bool add) override {
    added_nodes += add ? 1 : 0;
    return End("EndNodes", &graphs_);
  }
  int HostAlloc(void** out, size_t bytes) override { return Allocate("HostAlloc", out, bytes); }
  int HostFree(void* memory) override { return FreeAs("HostFree", memory); }
  int TakeLastError() override { return std::exchange(last_, lost_); }
  const char* ErrorName(int code) override {
    return code == kMemoryAllocation     ? "cudaErrorMemoryAllocation"
           : code == kInsufficientDriver ? "cudaErrorInsufficientDriver"
           : code == kIllegalAddress     ? "cudaErrorIllegalAddress"
                                         : "cudaErrorOther";
  }
  const char* ErrorText(int code) override {
    return code == kMemoryAllocation ? "out of memory"
           : code == kIllegalAddress ? "an illegal memory access was encountered"
                                     : "something else";
  }

  FakeRuntime() = default;
  ~FakeRuntime() override {
    for (const auto& [memory, bytes] : memory_) std::free(memory);
  }

 private:
  int Enter(const char* name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls.emplace_back(name);
    const auto found = fail.find(name);
    if (found != fail.end()) return Leave(found->second);
    // What needs no context still answers.
    const bool about_driver = (calls.back() == "DriverVersion" || calls.back() == "DeviceCount" ||
                               calls.back() == "GetProperties" || calls.back() == "GetDevice");
    return lost_ != kSuccess && !about_driver ? Leave(lost_) : kSuccess;
  }
  int Leave(int code) {
    last_ = code;
    if (LosesDevice(code)) lost_ = code;
    return code;
  }
  int Allocate(const char* name, void** out, size_t bytes) {
    if (const int code = Enter(name)) return code;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bytes > memory_limit - in_use_) return Leave(kMemoryAllocation);
    if (posix_memalign(out, name[0] == 'H' ? 4096 : 256, bytes) != 0) return Leave(kMemoryAllocation);
    std::memset(*out, 0xff, bytes);  // NaN, in every float
    memory_[*out] = bytes;
    in_use_ += bytes;
    return kSuccess;
  }
  int Make(const char* name, void** out, size_t* alive) {
    if (const int code = Enter(name)) return code;
    *out = reinterpret_cast<void*>(++made_);
    ++*alive;
    return kSuccess;
  }
  int End(const char* name, size_t* alive) {
    if (const int code = Enter(name)) return code;
    --*alive;
    return kSuccess;
  }
  std::mutex mutex_;
  std::map<void*, size_t> memory_;
  size_t in_use_ = 0, streams_ = 0, events_ = 0, graphs_ = 0;
  uintptr_t made_ = 0;
  int current_ = 0, last_ = kSuccess, lost_ = kSuccess;
};

}  // namespace sage::cuda

#endif  // SAGE_TESTS_PLUGINS_CUDA_FAKE_RUNTIME_H_
