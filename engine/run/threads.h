// threads.h: the one pool of an engine. The caller takes part, so one worker means no thread at all.
//
// Work is cut into fixed pieces by (n, grain), never by how many threads happen to be free, and pieces are handed out
// by one atomic counter: which worker runs a piece may differ, what it computes does not.
#ifndef SAGE_ENGINE_RUN_THREADS_H_
#define SAGE_ENGINE_RUN_THREADS_H_

#include <cstdint>
#include <memory>

#include "sage/types.h"

namespace sage {

class ThreadPool {
 public:
  // workers >= 1 counts the caller. Threads start at the first ParallelFor that can use them.
  explicit ThreadPool(uint32_t workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t num_workers() const { return workers_; }
  // Covers [0,n) in pieces of at most max(grain,1) items; returns when all are done. A nested call, and a call while
  // another caller has the pool, runs inline as worker 0 .. (its own worker inside a task). Allocates nothing after
  // the threads have started. task must not throw.
  void ParallelFor(uint64_t n, uint64_t grain, sage_task_fn task, void* ctx);

 private:
  struct State;
  uint32_t workers_;
  std::unique_ptr<State> state_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_THREADS_H_
