// kit_host.h: a host that watches: it counts what a plugin takes, refuses memory on demand, cancels on demand, and puts
// guards round every block.
#ifndef SAGE_CONFORMANCE_KIT_HOST_H_
#define SAGE_CONFORMANCE_KIT_HOST_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "sage/plugin.h"

namespace sage::conformance {

class KitHost {
 public:
  // workers >= 1, the caller included: parallel_for really runs on that many threads, started and joined per call, so
  // that no thread of the kit is left when threads are counted.
  explicit KitHost(uint32_t workers);
  KitHost(const KitHost&) = delete;
  KitHost& operator=(const KitHost&) = delete;

  const sage_host* table() const { return &table_; }

  std::atomic<int64_t> fail_alloc_after{-1};  // < 0: never; n: n calls succeed, then all fail
  std::atomic<int32_t> cancel{0};             // what cancelled() answers
  std::atomic<bool> running{false};           // set round run: allocations are counted apart then
  std::atomic<uint64_t> allocs{0}, allocs_in_run{0}, polls{0}, bad_frees{0}, damaged{0}, live{0};

 private:
  sage_host table_{};
  std::mutex mutex_;
  struct Block {
    uint64_t bytes = 0;
    void* base = nullptr;
  };
  std::map<void*, Block> blocks_;  // by data pointer

  static sage_status Alloc(void* self, int32_t type, int32_t id, uint64_t bytes, uint64_t align, void** out,
                           sage_error* err);
  static void Free(void* self, int32_t type, int32_t id, void* ptr);
  static void ParallelFor(void* self, uint64_t n, uint64_t grain, sage_task_fn task, void* ctx);
};

}  // namespace sage::conformance

#endif  // SAGE_CONFORMANCE_KIT_HOST_H_
