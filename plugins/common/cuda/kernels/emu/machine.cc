// machine.cc: the scheduler of fibers, and the meeting points of a block.
#include "common/cuda/kernels/emu/machine.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace sage::cuda::emu {
namespace {

// Carries a sentence from a primitive to the end of its fiber.
struct Failure {
  std::string sentence;
};

// threadIdx is known to nobody but the thread that runs: its emulation has to be found from anywhere below the kernel.
Thread*& Current() {
  thread_local Thread* current = nullptr;
  return current;
}

std::string Number(uint64_t number) { return std::to_string(number); }

std::string Name(const Dim3& index) {
  return "(" + Number(index.x) + "," + Number(index.y) + "," + Number(index.z) + ")";
}

std::string Name(const Reason& reason) {
  return reason.number == Reason::kNoNumber ? reason.what : reason.what + (" " + Number(reason.number));
}

struct Meeting {
  uint32_t expected = 0, arrived = 0;
  WaitQueue queue;
};

struct Barriers : Extension {
  std::array<Meeting, 16> all;
  std::string AtEnd() override {
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].arrived == 0) continue;
      return "barrier " + Number(i) + " is left with " + Number(all[i].arrived) + " of " + Number(all[i].expected) +
             " threads";
    }
    return "";
  }
};

}  // namespace

Thread& Self() { return *Current(); }

void Fail(const std::string& sentence) {
  if (Current() == nullptr) throw Failure{sentence};  // something that was on its way
  const Thread& self = Self();
  throw Failure{sentence + " (thread " + Number(self.index) + " of block " + Name(self.block->index) + ")"};
}

std::string Extensions::AtEnd() {
  for (auto& [key, extension] : all_)
    if (std::string wrong = extension->AtEnd(); !wrong.empty()) return wrong;
  return "";
}

Block::Block(Machine& in, Dim3 at, uint32_t count, size_t bytes)
    : machine(in),
      index(at),
      threads(count),
      warps(count / 32),
      memory_(new unsigned char[bytes + kSharedAlignment]),
      shared_bytes_(bytes) {
  // The end is the end of an allocation, where the address sanitizer sees it.
  const auto begin = reinterpret_cast<uintptr_t>(memory_.get());
  shared_ = memory_.get() + (kSharedAlignment - begin % kSharedAlignment) % kSharedAlignment;
  std::memset(shared_, 0xff, bytes);  // NaN as any float
  for (uint32_t i = 0; i < count; ++i) threads[i].block = this, threads[i].index = i;
}

unsigned char* Block::At(uint32_t address, size_t bytes, size_t alignment, const char* what) {
  if (address < kSharedBase || address - kSharedBase + bytes > shared_bytes_)
    Fail(std::string(what) + " of " + Number(bytes) + " bytes at shared address " + Number(address) +
         ", where the block has " + Number(kSharedBase) + " to " + Number(kSharedBase + shared_bytes_));
  if (address % alignment != 0)
    Fail(std::string(what) + " at shared address " + Number(address) + ", no multiple of " + Number(alignment));
  return shared_ + (address - kSharedBase);
}

uint32_t Block::AddressOf(const void* pointer, const char* what) {
  const auto at = reinterpret_cast<uintptr_t>(pointer), begin = reinterpret_cast<uintptr_t>(shared_);
  if (at < begin || at > begin + shared_bytes_) Fail(std::string(what) + " of a pointer outside shared memory");
  return kSharedBase + static_cast<uint32_t>(at - begin);
}

Machine::Machine(const LaunchOptions& options, const std::function<void()>& body)
    : options_(options), body_(body), random_(options.seed) {}

void Machine::Wait(WaitQueue& queue, Reason reason) {
  Thread& self = Self();
  idle_polls_ = 0;
  self.state = Thread::State::kWaiting, self.reason = reason;
  queue.waiting.push_back(&self);
  self.fiber->Suspend();
}

void Machine::WakeAll(WaitQueue& queue) {
  idle_polls_ = 0;
  for (Thread* thread : queue.waiting) {
    thread->state = Thread::State::kRunnable, thread->reason = {};
    runnable_.push_back(thread);
  }
  queue.waiting.clear();
}

void Machine::Poll(Reason reason) {
  Thread& self = Self();
  ++idle_polls_;
  self.reason = reason;
  runnable_.push_back(&self);
  self.fiber->Suspend();
  self.reason = {};
}

void Machine::Later(uint32_t within, std::function<void()> what) {
  later_.emplace(turn_ + 1 + Random(within), std::move(what));
}

bool Machine::LandEarliest() {
  if (later_.empty()) return false;
  const auto what = std::move(later_.begin()->second);
  later_.erase(later_.begin());
  idle_polls_ = 0;
  try {
    what();
  } catch (const Failure& failure) {
    if (failure_.empty()) failure_ = failure.sentence;
  }
  return true;
}

void Machine::StartBlock(const std::shared_ptr<Cluster>& cluster) {
  const Dim3& grid = options_.grid;
  const uint64_t n = next_block_++;
  const Dim3 index{static_cast<uint32_t>(n % grid.x), static_cast<uint32_t>(n / grid.x % grid.y),
                   static_cast<uint32_t>(n / grid.x / grid.y)};
  blocks_.push_back(std::make_unique<Block>(*this, index, options_.threads, options_.shared_bytes));
  blocks_.back()->cluster = cluster;
  blocks_.back()->cluster_rank = static_cast<uint32_t>(cluster->blocks.size());
  cluster->blocks.push_back(blocks_.back().get());
  for (Thread& thread : blocks_.back()->threads) {
    if (idle_fibers_.empty()) idle_fibers_.push_back(std::make_unique<Fiber>());
    fibers_.push_back(std::move(idle_fibers_.back()));
    idle_fibers_.pop_back();
    thread.fiber = fibers_.back().get();
    thread.fiber->Start([this, &thread] { Body(thread); });
  }
  // Blocks of a cluster are there together and yet may be far apart.
  const auto begin = [this, block = blocks_.back().get()] {
    for (Thread& thread : block->threads) runnable_.push_back(&thread);
  };
  if (cluster->blocks.size() > 1 && Random(2) == 0)
    Later(5000, begin);
  else
    begin();
}

// In the fiber.
void Machine::Body(Thread& thread) {
  try {
    body_();
    if (std::string wrong = thread.extensions.AtEnd(); !wrong.empty()) Fail("a thread ends while " + wrong);
  } catch (const Failure& failure) {
    if (failure_.empty()) failure_ = failure.sentence;
  } catch (const std::exception& other) {
    if (failure_.empty()) failure_ = other.what();
  }
  thread.state = Thread::State::kEnded;
}

void Machine::EndBlock(Block& block) {
  if (std::string wrong = block.extensions.AtEnd(); !wrong.empty() && failure_.empty())
    failure_ = "block " + Name(block.index) + " ends while " + wrong;
  block.cluster->blocks[block.cluster_rank] = nullptr;
  for (Thread& thread : block.threads) {
    const auto fiber = std::find_if(fibers_.begin(), fibers_.end(), [&](auto& f) { return f.get() == thread.fiber; });
    idle_fibers_.push_back(std::move(*fiber));
    fibers_.erase(fiber);
  }
  blocks_.erase(std::find_if(blocks_.begin(), blocks_.end(), [&](auto& b) { return b.get() == &block; }));
}

void Machine::RunOne(Thread& thread) {
  ++turn_;
  Current() = &thread;
  thread.fiber->Resume();
  Current() = nullptr;
  if (thread.state != Thread::State::kEnded) return;
  idle_polls_ = 0;
  Block& block = *thread.block;
  for (const Thread& other : block.threads)
    if (other.state != Thread::State::kEnded) return;
  EndBlock(block);
}

std::string Machine::Run() {
  const Dim3& grid = options_.grid;
  const uint64_t count = uint64_t{grid.x} * grid.y * grid.z;
  if (options_.threads == 0 || options_.threads % 32 != 0 || options_.threads > 1024)
    return "a block of " + Number(options_.threads) + " threads; expected a multiple of 32 up to 1024";
  const uint32_t together = std::max(1u, options_.cluster);
  if (grid.x % together != 0)
    return "a grid of " + Number(grid.x) + " blocks along x is no whole number of clusters of " + Number(together);
  while (failure_.empty()) {
    while (next_block_ < count && (blocks_.empty() || blocks_.size() + together <= options_.resident_blocks)) {
      const auto cluster = std::make_shared<Cluster>();
      for (uint32_t i = 0; i < together; ++i) StartBlock(cluster);
    }
    if (blocks_.empty()) break;
    while (!later_.empty() && later_.begin()->first <= turn_) LandEarliest();
    const bool stuck = runnable_.empty() || idle_polls_ > 1000 + 16 * runnable_.size();
    if (stuck && LandEarliest()) continue;
    if (stuck) return Deadlock();
    std::swap(runnable_[Random(static_cast<uint32_t>(runnable_.size()))], runnable_.back());
    Thread* next = runnable_.back();
    runnable_.pop_back();
    RunOne(*next);
  }
  if (failure_.empty() && options_.earlier && !earlier_ended_) return "nobody waited for the grid before";
  return failure_;
}

void Machine::FinishEarlierGrids() {
  if (!options_.earlier || earlier_ended_) return;
  earlier_ended_ = true;
  options_.earlier();
}

// Threads that wait for the same are one line's worth.
std::string Machine::Deadlock() const {
  std::string text = "deadlock:";
  for (const auto& block : blocks_) {
    std::map<std::string, std::vector<uint32_t>> groups;
    for (const Thread& thread : block->threads)
      groups[thread.state == Thread::State::kEnded ? "have ended" : "wait for " + Name(thread.reason)].push_back(
          thread.index);
    for (const auto& [what, threads] : groups)
      text += " block " + Name(block->index) + ": " + Number(threads.size()) + " threads, the first " +
              Number(threads[0]) + ", " + what + ";";
  }
  return text;
}

std::string Launch(const LaunchOptions& options, const std::function<void()>& body) {
  return Machine(options, body).Run();
}

Block& BlockOfCluster(uint32_t rank, const char* what) {
  const std::vector<Block*>& blocks = SelfBlock().cluster->blocks;
  if (rank >= blocks.size())
    Fail(std::string(what) + " at block " + Number(rank) + " of a cluster of " + Number(blocks.size()));
  if (blocks[rank] == nullptr)
    Fail(std::string(what) + " at block " + Number(rank) + " of the cluster, which has ended");
  return *blocks[rank];
}

void ClusterBarrier() {
  Cluster& cluster = *SelfBlock().cluster;
  for (const Block* block : cluster.blocks)
    if (block == nullptr) Fail("barrier.cluster with a block that has ended");
  if (++cluster.threads_there < cluster.blocks.size() * SelfBlock().threads.size())
    return SelfMachine().Wait(cluster.queue, {"barrier.cluster"});
  cluster.threads_there = 0;
  SelfMachine().WakeAll(cluster.queue);
}

void Barrier(uint32_t barrier, uint32_t threads, bool wait, const char* what) {
  Block& block = SelfBlock();
  if (barrier >= 16) Fail(std::string(what) + " of barrier " + Number(barrier) + "; a block has 0 to 15");
  if (threads == 0 || threads % 32 != 0 || threads > block.threads.size())
    Fail(std::string(what) + " for " + Number(threads) + " threads; expected a multiple of 32 within the block");
  Meeting& meeting = block.extensions.Of<Barriers>().all[barrier];
  if (meeting.arrived != 0 && meeting.expected != threads)
    Fail(std::string(what) + " of barrier " + Number(barrier) + " for " + Number(threads) +
         " threads, where others expect " + Number(meeting.expected));
  meeting.expected = threads;
  if (++meeting.arrived == threads) {
    meeting.arrived = 0;
    block.machine.WakeAll(meeting.queue);
  } else if (wait) {
    block.machine.Wait(meeting.queue, {what, barrier});
  }
}

}  // namespace sage::cuda::emu
