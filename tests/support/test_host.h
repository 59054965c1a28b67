// test_host.h: a host of a test's own, so that a plugin's table can be driven without the engine.
//
// It counts what a plugin takes, can refuse the n-th allocation, cancel at the n-th poll, and runs parallel_for either
// on real threads (kept for its lifetime, so a run allocates nothing) or simulated: one thread, pieces in reverse order
// on rotating worker numbers, which makes a wrong use of `worker` or of piece order show without a race.
#ifndef SAGE_TESTS_SUPPORT_TEST_HOST_H_
#define SAGE_TESTS_SUPPORT_TEST_HOST_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sage/plugin.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::test {

enum class Threads { kReal, kSimulated };

class TestHost {
 public:
  explicit TestHost(uint32_t num_workers = 1, Threads threads = Threads::kReal) : threads_(threads) {
    table_.struct_size = static_cast<uint32_t>(sizeof table_);
    table_.abi_minor = SAGE_ABI_MINOR;
    table_.self = this;
    table_.num_workers = num_workers < 1 ? 1 : num_workers;
    table_.alloc = &Alloc;
    table_.free = &Free;
    table_.parallel_for = &ParallelFor;
    table_.log = &Log;
    table_.log_level = [](void*) -> int32_t { return SAGE_LOG_DEBUG; };
    table_.span_begin = [](void*, void*, const char*) -> uint64_t { return 0; };
    table_.span_end = [](void*, void*, uint64_t) {};
    table_.cancelled = &Cancelled;
    table_.device = [](void*, int32_t, int32_t, const sage_device_table** out, sage_error* err) {
      *out = nullptr;
      return sage_succeed(err);
    };
    table_.attention_features = &AttentionFeatures;
    table_.count = &Count;
    if (threads_ == Threads::kReal) {
      for (uint32_t worker = 1; worker < table_.num_workers; ++worker)
        pool_.emplace_back([this, worker] { Work(worker); });
    }
  }

  ~TestHost() {
    {
      std::lock_guard<std::mutex> lock(pool_mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : pool_) thread.join();
    for (const auto& [pointer, bytes] : blocks_) std::free(pointer);
  }

  TestHost(const TestHost&) = delete;
  TestHost& operator=(const TestHost&) = delete;

  const sage_host* table() const { return &table_; }
  // Before a plugin is created; without it the table has no such entry.
  TestHost& LendCacheFolder(std::string folder) {
    cache_folder_ = std::move(folder);
    table_.cache_folder = [](void* self) { return static_cast<TestHost*>(self)->cache_folder_.c_str(); };
    return *this;
  }
  // As a host that is older than the entry.
  void EndBeforeCacheFolder() { table_.struct_size = offsetof(sage_host, cache_folder); }

  // What a plugin holds through host->alloc now, and how often it asked.
  uint64_t bytes_in_use() const { return bytes_in_use_; }
  uint64_t allocations() const { return allocations_; }
  uint64_t parallel_calls() const { return parallel_calls_; }
  uint64_t polls() const { return polls_; }
  // What plugins counted under this name since the host was made.
  uint64_t counted(const std::string& name) const {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    const auto found = counts_.find(name);
    return found == counts_.end() ? 0 : found->second;
  }
  std::vector<std::string> log_lines() const {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    return log_lines_;
  }

  // The n-th host->alloc from now on (0 = the next) fails with SAGE_E_OUT_OF_MEMORY; UINT64_MAX: none.
  void FailAllocation(uint64_t n) { fail_at_ = n == UINT64_MAX ? n : allocations_ + n; }
  // Polls from the n-th from now on (0 = the next) answer "cancelled"; UINT64_MAX: never.
  void CancelAtPoll(uint64_t n) { cancel_at_ = n == UINT64_MAX ? n : polls_ + n; }

 private:
  std::string cache_folder_;
  static TestHost& Of(void* self) { return *static_cast<TestHost*>(self); }

  static sage_status Alloc(void* self, int32_t device_type, int32_t, uint64_t bytes, uint64_t align, void** out,
                           sage_error* err) {
    TestHost& host = Of(self);
    *out = nullptr;
    if (device_type != SAGE_CPU) return sage_fail(err, SAGE_E_UNSUPPORTED, "the test host has CPU memory only");
    if (host.allocations_++ == host.fail_at_)
      return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "the test wanted this to fail");
    void* pointer = nullptr;
    const uint64_t alignment = align < sizeof(void*) ? sizeof(void*) : align;
    if (posix_memalign(&pointer, alignment, bytes == 0 ? 1 : bytes) != 0)
      return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "out of memory");
    std::lock_guard<std::mutex> lock(host.memory_mutex_);
    host.blocks_[pointer] = bytes;
    host.bytes_in_use_ += bytes;
    *out = pointer;
    return sage_succeed(err);
  }

  static void Free(void* self, int32_t, int32_t, void* pointer) {
    if (pointer == nullptr) return;
    TestHost& host = Of(self);
    std::lock_guard<std::mutex> lock(host.memory_mutex_);
    const auto block = host.blocks_.find(pointer);
    if (block == host.blocks_.end()) std::abort();  // freed twice, or never allocated here
    host.bytes_in_use_ -= block->second;
    host.blocks_.erase(block);
    std::free(pointer);
  }

  static void Log(void* self, int32_t, const char* utf8, uint64_t length) {
    TestHost& host = Of(self);
    std::lock_guard<std::mutex> lock(host.memory_mutex_);
    host.log_lines_.emplace_back(utf8, length);
  }

  static void Count(void* self, void*, const char* name, uint64_t amount) {
    TestHost& host = Of(self);
    std::lock_guard<std::mutex> lock(host.memory_mutex_);
    host.counts_[name] += amount;
  }

  static int32_t Cancelled(void* self, void*) {
    TestHost& host = Of(self);
    return host.polls_++ >= host.cancel_at_ ? 1 : 0;
  }

  static sage_status AttentionFeatures(void*, const sage_op* op, uint64_t* out, sage_error* err) {
    support::OpView view;
    std::string why;
    sage_status status = support::TakeInOp(op, &view, &why);
    if (status == SAGE_OK) status = support::CheckOp(view, &why);
    if (status == SAGE_OK) status = support::DeriveAttentionFeatures(view, out, &why);
    return status == SAGE_OK ? sage_succeed(err) : sage_fail(err, status, "%s", why.c_str());
  }

  // The worker of the task this thread is in, plus one; 0 outside a task.
  static uint32_t& CurrentWorker() {
    thread_local uint32_t worker = 0;
    return worker;
  }

  static void ParallelFor(void* self, uint64_t n, uint64_t grain, sage_task_fn task, void* ctx) {
    TestHost& host = Of(self);
    if (n == 0) return;
    if (grain == 0) grain = 1;
    ++host.parallel_calls_;
    const uint64_t pieces = (n - 1) / grain + 1;
    if (CurrentWorker() != 0) {
      task(ctx, 0, n, CurrentWorker() - 1);
    } else if (host.threads_ == Threads::kSimulated) {
      for (uint64_t i = pieces; i-- > 0;)
        host.RunPiece(i, n, grain, task, ctx, static_cast<uint32_t>(i % host.table_.num_workers));
    } else {
      host.RunOnPool(n, grain, pieces, task, ctx);
    }
  }

  void RunPiece(uint64_t piece, uint64_t n, uint64_t grain, sage_task_fn task, void* ctx, uint32_t worker) {
    const uint64_t begin = piece * grain;
    CurrentWorker() = worker + 1;
    task(ctx, begin, n - begin < grain ? n : begin + grain, worker);
    CurrentWorker() = 0;
  }

  void RunOnPool(uint64_t n, uint64_t grain, uint64_t pieces, sage_task_fn task, void* ctx) {
    std::lock_guard<std::mutex> one_caller(caller_mutex_);
    {
      std::lock_guard<std::mutex> lock(pool_mutex_);
      n_ = n, grain_ = grain, pieces_ = pieces, task_ = task, ctx_ = ctx;
      next_ = 0;
      busy_ = static_cast<uint32_t>(pool_.size());
      ++generation_;
    }
    wake_.notify_all();
    TakePieces(0);
    std::unique_lock<std::mutex> lock(pool_mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

  void TakePieces(uint32_t worker) {
    for (uint64_t i = next_++; i < pieces_; i = next_++) RunPiece(i, n_, grain_, task_, ctx_, worker);
  }

  void Work(uint32_t worker) {
    uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(pool_mutex_);
        wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
        if (stop_) return;
        seen = generation_;
      }
      TakePieces(worker);
      std::lock_guard<std::mutex> lock(pool_mutex_);
      if (--busy_ == 0) done_.notify_all();
    }
  }

  sage_host table_{};
  Threads threads_;
  mutable std::mutex memory_mutex_;
  std::map<void*, uint64_t> blocks_;
  std::vector<std::string> log_lines_;
  std::map<std::string, uint64_t> counts_;
  std::atomic<uint64_t> bytes_in_use_{0}, allocations_{0}, parallel_calls_{0}, polls_{0};
  std::atomic<uint64_t> fail_at_{UINT64_MAX}, cancel_at_{UINT64_MAX};

  std::mutex caller_mutex_, pool_mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> pool_;
  bool stop_ = false;
  uint32_t busy_ = 0;
  uint64_t generation_ = 0, n_ = 0, grain_ = 1, pieces_ = 0;
  std::atomic<uint64_t> next_{0};
  sage_task_fn task_ = nullptr;
  void* ctx_ = nullptr;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_TEST_HOST_H_
