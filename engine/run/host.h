// host.h: what the engine lends a plugin (sage_host), and the counters that prove what a run did.
#ifndef SAGE_ENGINE_RUN_HOST_H_
#define SAGE_ENGINE_RUN_HOST_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "options.h"
#include "run/threads.h"
#include "run/trace.h"
#include "sage/plugin.h"
#include "status.h"

namespace sage {

class Device;

// Names one run to a plugin: sage_run_args.run points to it. Lives in a session or an attention context.
struct RunToken {
  std::atomic<int32_t> cancelled{0};
  sage_cancel_fn cancel = nullptr;  // (optional) the caller's, polled as well
  void* cancel_user = nullptr;
  Trace* trace = nullptr;
  uint32_t node = 0;  // whose turn it is: where the trace counts what is counted

  bool Cancelled() const;
};

// One per engine. Owns CPU memory for plans and arenas (by the caller's allocator where one was lent) and the pool.
// Free-threaded.
class Host {
 public:
  // threads >= 1. The options' callbacks are kept; max_memory bounds what is allocated through this host. cache_folder:
  // what backends are told about it; empty = nothing may be kept.
  Host(const Options& options, uint32_t threads, uint64_t max_memory, std::string cache_folder = {});
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // The table a backend gets; valid as long as this. agreed_minor is the lower of both sides' minors.
  const sage_host* TableFor(uint32_t agreed_minor);

  Status Alloc(int32_t device_type, int32_t device_id, uint64_t bytes, uint64_t align, void** out);
  // CPU memory that a device reaches by itself (Device::HostAlloc); given back by Free as any other.
  Status AllocLocked(int32_t device_type, int32_t device_id, uint64_t bytes, uint64_t align, void** out);
  void Free(int32_t device_type, int32_t device_id, void* ptr);
  void ParallelFor(uint64_t n, uint64_t grain, sage_task_fn task, void* ctx);
  uint32_t num_workers() const;
  void Log(int32_t level, std::string_view line) const;
  int32_t log_level() const { return log_level_; }

  // supplier: whose instance the device's entries belong to; not kept alive by the host, which it holds itself.
  void SetDevice(std::shared_ptr<const Device> device, std::weak_ptr<const void> supplier);
  void ForgetDevice(int32_t type, int32_t id);
  // Null while nobody has supplied it. supplier (optional): to be held as long as the device is used.
  std::shared_ptr<const Device> FindDevice(int32_t type, int32_t id, std::shared_ptr<const void>* supplier) const;

  uint64_t bytes_in_use() const { return bytes_in_use_; }
  uint64_t peak_bytes() const { return peak_bytes_; }
  uint64_t allocations() const { return allocations_; }
  uint64_t max_memory() const { return max_memory_; }
  const std::string& cache_folder() const { return cache_folder_; }

 private:
  struct Block {
    uint64_t bytes;
    int32_t device_type, device_id;
    bool locked;  // the CPU's memory, from that device
  };
  Status AllocAs(bool locked, int32_t device_type, int32_t device_id, uint64_t bytes, uint64_t align, void** out);
  Options options_;
  ThreadPool pool_;
  int32_t log_level_ = SAGE_LOG_WARNING;
  uint64_t max_memory_;
  const std::string cache_folder_;
  std::atomic<uint64_t> bytes_in_use_{0}, peak_bytes_{0}, allocations_{0};
  mutable std::mutex mutex_;
  std::map<void*, Block> blocks_;
  std::map<uint32_t, sage_host> tables_;
  struct Supplied {
    std::shared_ptr<const Device> device;
    std::weak_ptr<const void> supplier;
  };
  std::map<std::pair<int32_t, int32_t>, Supplied> devices_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_HOST_H_
