// threads.cc: sleeping workers, one job at a time.
//
// A worker joins a job under the mutex and leaves it under the mutex, so the caller knows when nobody looks at the job
// any more; the pieces themselves are handed out by one atomic. Two short locks a worker and job are below what waking
// it costs, and nothing subtler is needed. A woken worker looks on for a few microseconds before it sleeps again, since
// the ops of a graph follow each other closely.
#include "run/threads.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace sage {
namespace {

// About 2 microseconds on today's x86 (a pause is 40 to 140 cycles), less than a futex wake.
constexpr int kLooks = 64;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void RunInline(uint64_t n, uint64_t grain, sage_task_fn task, void* ctx, uint32_t worker) {
  for (uint64_t begin = 0; begin < n;) {
    const uint64_t end = n - begin > grain ? begin + grain : n;
    task(ctx, begin, end, worker);
    begin = end;
  }
}

}  // namespace

struct ThreadPool::State {
  // One job; written by the caller who has the pool, read by workers that joined.
  uint64_t n = 0, grain = 1, pieces = 0;
  sage_task_fn task = nullptr;
  void* ctx = nullptr;
  std::atomic<uint64_t> next{0};

  std::mutex mutex;
  std::condition_variable wake, done;
  bool open = false, stop = false;  // under the mutex
  std::atomic<uint64_t> epoch{0};   // jobs so far; changes under the mutex, watched without it
  std::atomic<uint32_t> joined{0};  // workers inside the job; changes under the mutex

  std::atomic<bool> taken{false};   // a caller has the pool
  std::atomic<pthread_t> caller{};  // who; meaningful while taken
  std::atomic<bool> has_caller{false};
  std::vector<std::thread> threads;
  std::vector<std::atomic<pthread_t>> ids;  // by worker number
  std::atomic<uint32_t> started{0};
  pid_t process = getpid();

  explicit State(uint32_t workers) : ids(workers) {}

  void TakePieces(uint32_t worker) {
    for (uint64_t piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) {
      const uint64_t begin = piece * grain;
      task(ctx, begin, n - begin > grain ? begin + grain : n, worker);
    }
  }

  void Work(uint32_t worker) {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      if (!stop && !(open && epoch.load(std::memory_order_relaxed) != seen)) {
        lock.unlock();
        for (int look = 0; look < kLooks && epoch.load(std::memory_order_relaxed) == seen; ++look) Pause();
        lock.lock();
        wake.wait(lock, [&] { return stop || (open && epoch.load(std::memory_order_relaxed) != seen); });
      }
      if (stop) return;
      seen = epoch.load(std::memory_order_relaxed);
      joined.fetch_add(1, std::memory_order_relaxed);
      lock.unlock();
      TakePieces(worker);
      lock.lock();
      if (joined.fetch_sub(1, std::memory_order_acq_rel) == 1 && !open) done.notify_one();
    }
  }

  // At the first job that can use them. When the system refuses a thread the pool stays smaller: slower, not wrong.
  void Start(uint32_t workers) {
    // Signals are the application's: its handlers must not run on our threads. Those that a thread raises itself stay
    // open: blocked they would end the process, and run-times that call back from here (Java) live by them.
    sigset_t all, before;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&all, own);
    const bool masked = pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    try {
      threads.reserve(workers - 1);
      for (uint32_t worker = 1; worker < workers; ++worker) {
        threads.emplace_back([this, worker] {
          ids[worker].store(pthread_self(), std::memory_order_relaxed);
          Work(worker);
        });
        (void)pthread_setname_np(threads.back().native_handle(), "sage-worker");
      }
    } catch (...) {
    }
    if (masked) (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
    started.store(static_cast<uint32_t>(threads.size()), std::memory_order_release);
  }

  // The worker number of the thread that asks, if it is inside a task of this pool, else -1.
  int64_t NestedIn() const {
    const pthread_t self = pthread_self();
    if (has_caller.load(std::memory_order_acquire) && pthread_equal(caller.load(std::memory_order_relaxed), self))
      return 0;
    // A worker runs nothing but tasks, and has stored its id before its first one.
    const uint32_t count = started.load(std::memory_order_acquire);
    for (uint32_t worker = 1; worker <= count && worker < ids.size(); ++worker)
      if (pthread_equal(ids[worker].load(std::memory_order_relaxed), self)) return worker;
    return -1;
  }
};

ThreadPool::ThreadPool(uint32_t workers) : workers_(std::max<uint32_t>(workers, 1)), state_(new State(workers_)) {}

ThreadPool::~ThreadPool() {
  if (state_->process != getpid()) {
    // A child of fork(): the threads are not here and the locks are as they happened to be. Leave all of it.
    (void)state_.release();
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

void ThreadPool::ParallelFor(uint64_t n, uint64_t grain, sage_task_fn task, void* ctx) {
  if (n == 0) return;
  grain = std::max<uint64_t>(grain, 1);
  const uint64_t pieces = n / grain + (n % grain != 0 ? 1 : 0);
  State& state = *state_;
  if (workers_ == 1) return RunInline(n, grain, task, ctx, 0);
  if (const int64_t worker = state.NestedIn(); worker >= 0)
    return RunInline(n, grain, task, ctx, static_cast<uint32_t>(worker));
  if (pieces == 1 || state.taken.exchange(true, std::memory_order_acquire)) return RunInline(n, grain, task, ctx, 0);

  state.caller.store(pthread_self(), std::memory_order_relaxed);
  state.has_caller.store(true, std::memory_order_release);
  if (state.threads.empty() && state.started.load(std::memory_order_relaxed) == 0) state.Start(workers_);
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.n = n, state.grain = grain, state.pieces = pieces, state.task = task, state.ctx = ctx;
    state.next.store(0, std::memory_order_relaxed);
    state.open = true;
    state.epoch.fetch_add(1, std::memory_order_relaxed);
  }
  const uint64_t helpers = std::min<uint64_t>(state.threads.size(), pieces - 1);
  if (helpers == state.threads.size())
    state.wake.notify_all();
  else
    for (uint64_t i = 0; i < helpers; ++i) state.wake.notify_one();

  state.TakePieces(0);

  {
    std::unique_lock<std::mutex> lock(state.mutex);
    state.open = false;  // nobody joins from here on
    if (state.joined.load(std::memory_order_acquire) != 0) {
      lock.unlock();
      for (int look = 0; look < kLooks && state.joined.load(std::memory_order_acquire) != 0; ++look) Pause();
      lock.lock();
      state.done.wait(lock, [&state] { return state.joined.load(std::memory_order_acquire) == 0; });
    }
  }
  state.has_caller.store(false, std::memory_order_relaxed);
  state.taken.store(false, std::memory_order_release);
}

}  // namespace sage
