// device.h: one CUDA device as the engine's table wants it: memory, copies, streams, events, and what a copy costs.
//
// The primary context and ordinal ids, so that pointers and streams are those of any other library in the process. The
// calling thread's current device is put back after every call: it belongs to the program, not to us. Shared by every
// plugin that brings CUDA devices; the first that is created supplies the table.
#ifndef SAGE_PLUGINS_COMMON_CUDA_DEVICE_H_
#define SAGE_PLUGINS_COMMON_CUDA_DEVICE_H_

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "common/cuda/runtime.h"
#include "sage/plugin.h"

namespace sage::cuda {

// Makes a device the calling thread's current one for as long as it lives.
class CurrentDevice {
 public:
  CurrentDevice(Runtime& runtime, int device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  int code() const { return code_; }  // kSuccess, or why it could not be made current

 private:
  Runtime& runtime_;
  int before_ = -1, code_ = kSuccess;  // before_: -1 where nothing has to be put back
};

// Free-threaded.
class Device {
 public:
  // Makes the primary context, so that a device that cannot be used is found here and not by the first run.
  static sage_status Create(Runtime& runtime, const sage_host& host, int id, const Properties& properties,
                            std::unique_ptr<Device>* out, sage_error* err);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int id() const { return id_; }
  const std::string& name() const { return name_; }  // "cuda:0"
  const Properties& properties() const { return properties_; }
  bool host_visible() const { return (table_.flags & SAGE_DEVICE_HOST_VISIBLE) != 0; }
  const sage_device_table* table() const { return &table_; }
  Runtime& runtime() const { return runtime_; }

  // The one way out of a call: SAGE_OK of kSuccess; else err gets the sentence ("cuda:0: " and doing, a printf format)
  // and CUDA forgets. An error that loses the device is remembered.
  sage_status Check(int code, sage_error* err, const char* doing, ...) const __attribute__((format(printf, 4, 5)));
  // The same where nobody could be told: the sentence goes to the host's log.
  void Tell(int code, const char* doing) const;
  // The error that lost the device, or kSuccess.
  int lost() const { return lost_.load(std::memory_order_relaxed); }

  sage_status Alloc(uint64_t bytes, uint64_t align, void** out, sage_error* err);
  void Free(void* memory);

 private:
  Device(Runtime& runtime, const sage_host& host, int id, const Properties& properties);
  void FillTable();
  Runtime& runtime_;
  const sage_host& host_;
  int id_;
  std::string name_;
  Properties properties_;
  sage_device_table table_{};
  mutable std::atomic<int> lost_{kSuccess};
  std::mutex mutex_;
  std::map<void*, void*> moved_;  // what was handed out, by what CUDA gave, where a wide alignment moved it
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_DEVICE_H_
