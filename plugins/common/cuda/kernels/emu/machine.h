// machine.h: a GPU of one processor on the CPU: blocks of threads as fibers, shared memory, meeting points, and
// completions that come late.
//
// What it is for: the text of a kernel is run where there is no GPU, and what a GPU would do to a wrong one shows at
// every run of the tests. Shared memory begins as NaN and its addresses do not begin at 0; fibers are resumed in random
// order, and an asynchronous operation lands at a random time up to the wait for it, both by a seed; a deadlock is an
// answer that says who waits for what. It is no model of speed, of caches, or of memory fences.
//
// How another primitive is added (Hopper's are, in files of their own): a function of namespace prim that takes Self(),
// keeps its state in an Extension of the block or the thread, and uses Wait, WakeAll, Poll, Later and Fail. Everything
// runs in one thread of the process, one fiber at a time, so that nothing needs a lock.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_MACHINE_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_MACHINE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/cuda/kernels/emu/fiber.h"

namespace sage::cuda::emu {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
};

struct LaunchOptions {
  Dim3 grid;
  uint32_t threads = 32;         // of a block, a multiple of 32
  size_t shared_bytes = 0;       // of a block
  uint64_t seed = 1;             // of all that is left to chance
  uint32_t resident_blocks = 1;  // that run interleaved; the next begins when one ends
  uint32_t cluster = 1;          // blocks, neighbours along x, that begin together and reach each other's memory
  // (optional) What the grid before this one does to memory. It is done when the kernel waits for it, and no earlier; a
  // launch that never does is wrong.
  std::function<void()> earlier;
};

// Runs body once in every thread of the grid. Empty, or what was wrong with the kernel: a deadlock, an address outside
// shared memory, lanes of a warp in different operations.
std::string Launch(const LaunchOptions& options, const std::function<void()>& body);

// A primitive's own state of a block or of a thread. AtEnd: what is wrong if the owner ends like this.
struct Extension {
  virtual ~Extension() = default;
  virtual std::string AtEnd() { return ""; }
};

class Extensions {
 public:
  // The one of type T, made by its default constructor when first asked for.
  template <class T>
  T& Of() {
    for (auto& [key, extension] : all_)
      if (key == &kKey<T>) return static_cast<T&>(*extension);
    all_.emplace_back(&kKey<T>, std::make_unique<T>());
    return static_cast<T&>(*all_.back().second);
  }
  std::string AtEnd();

 private:
  template <class T>
  static constexpr char kKey = 0;
  std::vector<std::pair<const void*, std::unique_ptr<Extension>>> all_;
};

class Machine;
class Block;

// What a thread waits for: a word of the reader's, and a number if there is one (of a barrier, a shared address).
struct Reason {
  static constexpr uint64_t kNoNumber = ~0ull;
  const char* what = "";
  uint64_t number = kNoNumber;
};

struct Thread {
  enum class State { kRunnable, kWaiting, kEnded };
  Block* block = nullptr;
  uint32_t index = 0;
  State state = State::kRunnable;
  Reason reason;  // while it waits or polls
  Fiber* fiber = nullptr;
  Extensions extensions;
  uint32_t lane() const { return index % 32; }
  uint32_t warp() const { return index / 32; }
};

struct WaitQueue {
  std::vector<Thread*> waiting;
};

// A warp in an operation of all its lanes: each lane's arguments lie on its own stack until the last one has come.
struct Warp {
  const char* what = nullptr;
  uint32_t arrived = 0;
  std::array<void*, 32> lanes{};
  WaitQueue queue;
};

// Blocks that reach each other's shared memory; null: has ended.
struct Cluster {
  std::vector<Block*> blocks;
  uint32_t threads_there = 0;  // at the barrier of all of them
  WaitQueue queue;
};

class Block {
 public:
  Block(Machine& machine, Dim3 index, uint32_t threads, size_t shared_bytes);

  // Shared addresses begin here: a kernel that takes an offset for an address is found.
  static constexpr uint32_t kSharedBase = 1024;
  static constexpr size_t kSharedAlignment = 1024;
  unsigned char* shared() const { return shared_; }
  size_t shared_bytes() const { return shared_bytes_; }
  // Bytes of shared memory at an address; fails where they are not all the block's, or not aligned.
  unsigned char* At(uint32_t address, size_t bytes, size_t alignment, const char* what);
  uint32_t AddressOf(const void* pointer, const char* what);

  Machine& machine;
  const Dim3 index;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Extensions extensions;
  std::shared_ptr<Cluster> cluster;
  uint32_t cluster_rank = 0;

 private:
  std::unique_ptr<unsigned char[]> memory_;
  unsigned char* shared_ = nullptr;
  size_t shared_bytes_ = 0;
};

class Machine {
 public:
  Machine(const LaunchOptions& options, const std::function<void()>& body);
  std::string Run();

  const LaunchOptions& options() const { return options_; }
  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  // From a running thread: lets others run until the queue is woken.
  void Wait(WaitQueue& queue, Reason reason);
  void WakeAll(WaitQueue& queue);
  // Lets others run, then goes on: for loops that ask again. Many of them in a row with nothing else happening, and
  // nothing on its way, are a deadlock.
  void Poll(Reason reason);
  void FinishEarlierGrids();
  // Runs what after at most `within` turns of threads, or earlier if all wait.
  void Later(uint32_t within, std::function<void()> what);

 private:
  void StartBlock(const std::shared_ptr<Cluster>& cluster);
  void RunOne(Thread& thread);
  void Body(Thread& thread);
  void EndBlock(Block& block);
  bool LandEarliest();
  std::string Deadlock() const;

  const LaunchOptions options_;
  const std::function<void()>& body_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Fiber>> fibers_, idle_fibers_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<Thread*> runnable_;
  std::multimap<uint64_t, std::function<void()>> later_;
  uint64_t turn_ = 0, next_block_ = 0, idle_polls_ = 0;
  bool earlier_ended_ = false;
  std::string failure_;
};

// The running thread; only inside a kernel.
Thread& Self();
inline Block& SelfBlock() { return *Self().block; }
inline Machine& SelfMachine() { return SelfBlock().machine; }

// Ends the launch with this sentence, which gets the thread and the block behind it. From what Later runs as well.
[[noreturn]] void Fail(const std::string& sentence);

// Waits for all lanes of the warp to call with the same `what`; the last of them runs all(lanes), an array of 32
// pointers to each lane's own *mine.
template <class T, class F>
void WarpOperation(const char* what, T& mine, F&& all) {
  Thread& self = Self();
  Warp& warp = self.block->warps[self.warp()];
  if (warp.arrived == 0) warp.what = what;
  if (std::string_view(warp.what) != what)
    Fail(std::string("the lanes of a warp are in different operations: ") + what + " and " + warp.what);
  warp.lanes[self.lane()] = &mine;
  if (++warp.arrived < 32) return SelfMachine().Wait(warp.queue, {what});
  std::array<T*, 32> lanes{};
  for (size_t lane = 0; lane < 32; ++lane) lanes[lane] = static_cast<T*>(warp.lanes[lane]);
  all(lanes);
  warp.arrived = 0;
  SelfMachine().WakeAll(warp.queue);
}

// Another block of this one's cluster; fails where there is none, or it has ended.
Block& BlockOfCluster(uint32_t rank, const char* what);
// Waits for all threads of all blocks of the cluster.
void ClusterBarrier();

// bar.sync and bar.arrive; barrier 0 with all threads is __syncthreads.
void Barrier(uint32_t barrier, uint32_t threads, bool wait, const char* what);

}  // namespace sage::cuda::emu

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_MACHINE_H_
