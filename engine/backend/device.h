// device.h: one device (type, id) behind the table its supplier filled: taken in and checked once, called guardedly.
//
// The first backend that creates a (type, id) supplies the table, the others of that device get it through the host.
// The core links no driver: everything it does with a device's memory, streams and events goes through here. Not a
// pool and not a scheduler: who allocates what, and what waits for what, is the plan's and the session's.
#ifndef SAGE_ENGINE_BACKEND_DEVICE_H_
#define SAGE_ENGINE_BACKEND_DEVICE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "sage/plugin.h"
#include "status.h"

namespace sage {

// Free-threaded. The table's entries stay callable as long as the supplying instance lives: every Backend of the
// device holds that one (see Backend::Create), and sessions hold their engine.
class Device {
 public:
  // Copies what this minor knows of `theirs` and checks it: no null entry, the (type, id) it was asked for, a finite
  // price of copies above zero. The refusal (SAGE_E_ABI_MISMATCH) names the supplier.
  static Result<std::shared_ptr<const Device>> TakeIn(const sage_device_table* theirs, int32_t type, int32_t id,
                                                      const std::string& supplier);

  int32_t type() const { return table_.device_type; }
  int32_t id() const { return table_.device_id; }
  const std::string& name() const { return name_; }          // "cuda:0"
  const std::string& supplier() const { return supplier_; }  // the backend's name
  // CPU and device share memory: each reads and writes what the other allocated, so nothing is copied between them.
  bool host_visible() const { return (table_.flags & SAGE_DEVICE_HOST_VISIBLE) != 0; }
  double copy_latency_ns() const { return table_.copy_latency_ns; }
  double copy_bytes_per_ns() const { return table_.copy_bytes_per_ns; }
  // What one copy of `bytes` to or from CPU memory costs, in nanoseconds; 0 where memory is shared.
  double CopyNs(uint64_t bytes) const;
  // What other plugins get: our copy, valid as long as this.
  const sage_device_table& table() const { return table_; }

  // align: a power of two. Null memory with SAGE_OK is a broken plugin, memory that is not aligned as well.
  Status Alloc(uint64_t bytes, uint64_t align, void** out) const;
  void Free(void* memory) const;
  Status MemoryInfo(uint64_t* free_bytes, uint64_t* total_bytes) const;
  // The rest enqueues and allocates nothing on success. Streams and events are the device's native ones.
  Status Copy(void* to, const void* from, uint64_t bytes, void* stream) const;
  Status CreateStream(void** out) const;
  void DestroyStream(void* stream) const;
  Status Synchronize(void* stream) const;  // the CPU waits; errors of earlier work come out here
  Status CreateEvent(void** out) const;
  void DestroyEvent(void* event) const;
  Status Record(void* event, void* stream) const;
  Status Wait(void* event, void* stream) const;  // the stream waits, not the CPU

  // Recorded work: what is enqueued on the stream by this thread between the two is kept in *graph instead of done.
  bool records() const { return table_.capture_begin != nullptr; }
  Status BeginCapture(void* stream) const;
  // Ends it in any case. On an error *graph is null: something of it could not be recorded.
  Status EndCapture(void* stream, void** graph) const;
  Status Launch(void* graph, void* stream) const;
  void DestroyGraph(void* graph) const;
  // CPU memory that it reaches by itself, so that copies from and to it can be recorded.
  bool locks() const { return table_.host_alloc != nullptr; }
  Status HostAlloc(uint64_t bytes, uint64_t align, void** out) const;
  void HostFree(void* memory) const;

 private:
  Device() = default;
  Status TakeMemory(const char* entry, void* memory, uint64_t bytes, uint64_t align, void** out) const;
  sage_device_table table_{};
  std::string name_, supplier_;
};

// "cuda:0".
std::string DeviceName(int32_t type, int32_t id);

}  // namespace sage

#endif  // SAGE_ENGINE_BACKEND_DEVICE_H_
