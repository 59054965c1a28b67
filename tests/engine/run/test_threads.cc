// The pool: every item once, pieces fixed by (n, grain), workers within bounds, nested and concurrent calls inline.
#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "run/threads.h"

using namespace sage;

namespace {

struct Recorder {
  ThreadPool* pool = nullptr;
  std::vector<std::atomic<uint32_t>> hits;
  std::mutex mutex;
  std::set<std::pair<uint64_t, uint64_t>> pieces;
  std::atomic<uint32_t> largest_worker{0};
  explicit Recorder(uint64_t n) : hits(n) {}
  static void Task(void* ctx, uint64_t begin, uint64_t end, uint32_t worker) {
    auto* self = static_cast<Recorder*>(ctx);
    for (uint64_t i = begin; i < end; ++i) self->hits[i].fetch_add(1);
    uint32_t seen = self->largest_worker.load();
    while (seen < worker && !self->largest_worker.compare_exchange_weak(seen, worker)) {
    }
    const std::lock_guard<std::mutex> lock(self->mutex);
    self->pieces.emplace(begin, end);
  }
  bool EachOnce() const {
    return std::all_of(hits.begin(), hits.end(), [](const auto& hit) { return hit.load() == 1; });
  }
};

uint32_t ThreadsOfProcess() {
  uint32_t count = 0;
  FILE* status = fopen("/proc/self/status", "r");
  char line[256];
  while (status != nullptr && fgets(line, sizeof line, status) != nullptr) (void)sscanf(line, "Threads: %u", &count);
  if (status != nullptr) fclose(status);
  return count;
}

}  // namespace

TEST_CASE("R14 every item once and the same pieces, for any number of workers") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 60; ++round) {
    const uint64_t n = random() % 3000, grain = random() % 70;
    CAPTURE(n);
    CAPTURE(grain);
    std::set<std::pair<uint64_t, uint64_t>> expected;
    for (const uint32_t workers : {1u, 2u, 3u, 8u}) {
      ThreadPool pool(workers);
      CHECK(pool.num_workers() == workers);
      Recorder recorder(n);
      pool.ParallelFor(n, grain, Recorder::Task, &recorder);
      CHECK(recorder.EachOnce());
      CHECK(recorder.largest_worker.load() < workers);
      if (workers == 1) expected = recorder.pieces;
      CHECK(recorder.pieces == expected);
      for (const auto& [begin, end] : recorder.pieces) CHECK(end - begin <= std::max<uint64_t>(grain, 1));
    }
  }
}

TEST_CASE("a grain near 2^64 and one item do not overflow") {
  ThreadPool pool(4);
  Recorder recorder(5);
  pool.ParallelFor(5, UINT64_MAX, Recorder::Task, &recorder);
  CHECK(recorder.EachOnce());
  CHECK(recorder.pieces.size() == 1);
  pool.ParallelFor(0, 1, Recorder::Task, &recorder);
  CHECK(recorder.pieces.size() == 1);
}

TEST_CASE("many jobs after each other on one pool, none lost, none twice") {
  ThreadPool pool(4);
  for (int round = 0; round < 2000; ++round) {
    Recorder recorder(static_cast<uint64_t>(round % 17));
    pool.ParallelFor(static_cast<uint64_t>(round % 17), 1, Recorder::Task, &recorder);
    REQUIRE(recorder.EachOnce());
  }
}

TEST_CASE("a nested call runs inline as the worker it is in") {
  struct Outer {
    ThreadPool* pool;
    std::atomic<uint32_t> wrong{0}, inner{0}, arrived{0};
    static void Task(void* ctx, uint64_t, uint64_t, uint32_t worker) {
      auto* self = static_cast<Outer*>(ctx);
      // The first piece waits for a second, which only another worker can take: both kinds of worker are seen.
      self->arrived.fetch_add(1);
      while (self->arrived.load() < 2) std::this_thread::yield();
      struct Inner {
        Outer* outer;
        uint32_t worker;
        std::thread::id thread;
      } inner{self, worker, std::this_thread::get_id()};
      self->pool->ParallelFor(
          5, 1,
          [](void* mine, uint64_t begin, uint64_t end, uint32_t nested) {
            auto* in = static_cast<Inner*>(mine);
            if (nested != in->worker || std::this_thread::get_id() != in->thread) in->outer->wrong.fetch_add(1);
            in->outer->inner.fetch_add(static_cast<uint32_t>(end - begin));
          },
          &inner);
    }
  };
  ThreadPool pool(4);
  Outer outer{&pool};
  for (int round = 0; round < 50; ++round) pool.ParallelFor(20, 1, Outer::Task, &outer);
  CHECK(outer.wrong.load() == 0);
  CHECK(outer.inner.load() == 50 * 20 * 5);
}

TEST_CASE("callers at once: one has the pool, the others run inline, all finish") {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<uint32_t> failed{0};
  for (int caller = 0; caller < 6; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 300; ++round) {
        Recorder recorder(40);
        pool.ParallelFor(40, 3, Recorder::Task, &recorder);
        if (!recorder.EachOnce()) failed.fetch_add(1);
      }
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(failed.load() == 0);
}

TEST_CASE("threads start with the first job that can use them, and one worker means none") {
  std::thread([] {}).join();  // a thread sanitizer starts one of its own with the first of ours
  const uint32_t before = ThreadsOfProcess();
  ThreadPool one(1);
  ThreadPool four(4);
  Recorder recorder(100);
  one.ParallelFor(100, 1, Recorder::Task, &recorder);
  four.ParallelFor(
      1, 1, [](void*, uint64_t, uint64_t, uint32_t) {}, nullptr);
  CHECK(ThreadsOfProcess() == before);
  Recorder again(100);
  four.ParallelFor(100, 1, Recorder::Task, &again);
  CHECK(ThreadsOfProcess() == before + 3);
}

TEST_CASE("the application's signals are not handled on our threads") {
  struct Seen {
    std::mutex mutex;
    uint32_t unmasked = 0, looked = 0;
    pthread_t caller = pthread_self();
  } seen;
  ThreadPool pool(4);
  for (int round = 0; round < 50; ++round)
    pool.ParallelFor(
        8, 1,
        [](void* ctx, uint64_t, uint64_t, uint32_t) {
          auto* self = static_cast<Seen*>(ctx);
          usleep(200);
          if (pthread_equal(pthread_self(), self->caller)) return;
          sigset_t mask;
          pthread_sigmask(SIG_SETMASK, nullptr, &mask);
          const std::lock_guard<std::mutex> lock(self->mutex);
          ++self->looked;
          if (sigismember(&mask, SIGINT) != 1 || sigismember(&mask, SIGTERM) != 1) ++self->unmasked;
          // A fault of the thread itself is its own, and some run-time's callback may need its handler.
          if (sigismember(&mask, SIGSEGV) != 0 || sigismember(&mask, SIGFPE) != 0) ++self->unmasked;
        },
        &seen);
  CHECK(seen.looked > 0);
  CHECK(seen.unmasked == 0);
}

TEST_CASE("a pool that came through fork is let go without waiting for threads that are not there") {
  auto* pool = new ThreadPool(4);
  Recorder recorder(100);
  pool->ParallelFor(100, 1, Recorder::Task, &recorder);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);
    delete pool;
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  delete pool;
}
