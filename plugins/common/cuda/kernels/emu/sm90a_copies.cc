// sm90a_copies.cc: barriers in shared memory, boxes of tensors that arrive at them, and registers that warpgroups
// trade.
#include "common/cuda/kernels/emu/sm90a.h"

namespace sage::cuda::emu {
namespace {

constexpr int64_t kMaxTransaction = (1 << 20) - 1;

struct Mbarrier {
  uint32_t expected = 0, pending = 0;
  int64_t bytes = 0;  // expected and not yet there; below zero while some came before they were expected
  uint64_t phase = 0;
  WaitQueue queue;
};

// By shared address. The eight bytes there are the barrier's own: whoever writes to them is found.
struct Mbarriers : Extension {
  static constexpr uint64_t kMark = 0xba221e2ba221e200;
  std::map<uint32_t, Mbarrier> all;
  uint32_t boxes_on_their_way = 0;

  Mbarrier& At(Block& block, uint32_t address, const char* what) {
    const auto found = all.find(address);
    if (found == all.end()) Fail(std::string(what) + " at " + std::to_string(address) + ", where no barrier was made");
    uint64_t mark = 0;
    std::memcpy(&mark, block.At(address, 8, 8, what), 8);
    if (mark != kMark) Fail(std::string(what) + " at " + std::to_string(address) + ", which was overwritten");
    return found->second;
  }
  std::string AtEnd() override {
    return boxes_on_their_way == 0 ? "" : std::to_string(boxes_on_their_way) + " TMA boxes are on their way";
  }
};

void EndPhaseIfDone(Machine& machine, Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
  machine.WakeAll(barrier.queue);
}

// visit(pointer into the tensor or null where that is outside of it, offset in the box) for each 16-bit element.
template <class F>
void ForEachElement(const TensorMapShape& shape, const int32_t* at, F&& visit) {
  int64_t index[kTensorMapMaxRank] = {};
  for (uint32_t offset = 0;; offset += 2) {
    bool inside = true;
    int64_t bytes = 0;
    for (int axis = 0; axis < shape.rank; ++axis) {
      const int64_t coordinate = at[axis] + index[axis];
      inside = inside && coordinate >= 0 && coordinate < shape.size[axis];
      bytes += coordinate * (axis == 0 ? 2 : shape.stride[axis]);
    }
    const auto base = reinterpret_cast<uintptr_t>(shape.address);
    visit(inside ? reinterpret_cast<void*>(base + static_cast<uintptr_t>(bytes)) : nullptr, offset);
    int axis = 0;
    while (axis < shape.rank && ++index[axis] == shape.box[axis]) index[axis++] = 0;
    if (axis == shape.rank) return;
  }
}

uint32_t BoxBytes(const TensorMapShape& shape) {
  uint32_t bytes = 2;
  for (int axis = 0; axis < shape.rank; ++axis) bytes *= static_cast<uint32_t>(shape.box[axis]);
  return bytes;
}

// The 128-byte swizzle: bits 4..6 of an address are mixed with bits 7..9.
uint32_t Swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

void CheckMap(const TensorMap& map, int rank, const char* what) {
  if (const char* refusal = TensorMapRefusal(map.shape))
    Fail(std::string(what) + " of a tensor map that is refused: " + refusal);
  if (map.shape.rank != rank)
    Fail(std::string(what) + " with " + std::to_string(rank) + " coordinates of a map with " +
         std::to_string(map.shape.rank) + " axes");
}

struct Store {
  TensorMap map;
  int32_t at[kTensorMapMaxRank] = {};
  Block* block = nullptr;
  uint32_t from = 0;
  std::vector<uint16_t> read;  // empty until it has been read

  void Read() {
    if (!read.empty()) return;
    read.resize(BoxBytes(map.shape) / 2);
    for (uint32_t offset = 0; offset < 2 * read.size(); offset += 2)
      std::memcpy(&read[offset / 2], block->At(Swizzled(from + offset), 2, 2, "a TMA store"), 2);
  }
  void Write() {
    Read();
    ForEachElement(map.shape, at, [&](void* to, uint32_t offset) {
      if (to != nullptr) std::memcpy(to, &read[offset / 2], 2);
    });
  }
};

// Of a thread, like the copies of cp.async: what was not committed, and the groups that were not waited for.
struct Stores : Extension {
  std::vector<Store> open;
  std::vector<std::vector<Store>> groups;
  size_t read = 0;  // groups, the oldest, whose shared memory is free again
  std::string AtEnd() override {
    if (!open.empty()) return std::to_string(open.size()) + " of its TMA stores were not committed";
    if (read < groups.size()) return "TMA stores may still read its shared memory";
    for (std::vector<Store>& group : groups)
      for (Store& store : group) store.Write();
    return "";
  }
};

// Of a block: words that a thread wrote by StoreShared and has not fenced since, 1 + its number; else 0.
struct Unfenced : Extension {
  std::vector<uint32_t> writers;
  uint32_t& Of(Block& block, uint32_t address) {
    if (writers.empty()) writers.resize(block.shared_bytes() / 4 + 1);
    return writers[(address - Block::kSharedBase) / 4];
  }
};
// Of a thread: where those words are.
struct OwnUnfenced : Extension {
  std::vector<uint32_t> words;
};

struct RegisterPool : Extension {
  // Of each warpgroup; 0 until the first trade: what a launch gives to every thread.
  std::map<uint32_t, uint32_t> of;
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> asked;  // arrived threads, what they ask for
  WaitQueue queue;
};

}  // namespace

void MbarrierInit(uint32_t barrier, uint32_t arrivals) {
  constexpr const char* kWhat = "mbarrier.init";
  Mbarriers& barriers = SelfBlock().extensions.Of<Mbarriers>();
  if (arrivals < 1 || arrivals > kMaxTransaction) Fail("mbarrier.init for " + std::to_string(arrivals) + " arrivals");
  if (barriers.all.count(barrier) != 0) Fail("mbarrier.init of a barrier that is there");
  std::memcpy(SelfBlock().At(barrier, 8, 8, kWhat), &Mbarriers::kMark, 8);
  Mbarrier& made = barriers.all[barrier];
  made.expected = made.pending = arrivals;
}

void MbarrierArrive(uint32_t address, uint32_t expected_bytes, const char* what) {
  Mbarrier& barrier = SelfBlock().extensions.Of<Mbarriers>().At(SelfBlock(), address, what);
  barrier.bytes += expected_bytes;
  if (barrier.bytes > kMaxTransaction) Fail("more than 2^20 - 1 bytes are expected at an mbarrier");
  if (barrier.pending == 0) Fail(std::string(what) + " once more than the barrier counts in a phase");
  --barrier.pending;
  EndPhaseIfDone(SelfMachine(), barrier);
}

void MbarrierArriveAt(uint32_t address, uint32_t rank) {
  constexpr const char* kWhat = "mbarrier.arrive";
  Block& block = BlockOfCluster(rank, kWhat);
  Mbarrier& barrier = block.extensions.Of<Mbarriers>().At(block, address, kWhat);
  if (barrier.pending == 0) Fail(std::string(kWhat) + " once more than the barrier counts in a phase");
  --barrier.pending;
  EndPhaseIfDone(SelfMachine(), barrier);
}

bool MbarrierTryWait(uint32_t address, uint32_t parity) {
  constexpr const char* kWhat = "mbarrier.try_wait at";
  if (parity > 1) Fail("mbarrier.try_wait for parity " + std::to_string(parity));
  Mbarrier& barrier = SelfBlock().extensions.Of<Mbarriers>().At(SelfBlock(), address, kWhat);
  if (barrier.phase % 2 != parity) return true;
  SelfMachine().Wait(barrier.queue, {kWhat, address});
  return barrier.phase % 2 != parity;
}

static void LoadInto(Block& block, uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t* at, int rank) {
  constexpr const char* kWhat = "a TMA load";
  Mbarriers& barriers = block.extensions.Of<Mbarriers>();
  barriers.At(block, barrier, kWhat);
  const uint32_t bytes = BoxBytes(map.shape);
  std::memset(block.At(to, bytes, 128, kWhat), 0xff, bytes);  // any part may have landed: nobody may read it now
  Store load{map, {}, &block, to, {}};
  std::copy(at, at + rank, load.at);
  ++barriers.boxes_on_their_way;
  Machine& machine = SelfMachine();
  machine.Later(machine.Random(4) == 0 ? 20000 : 1500, [load, barrier, bytes, &barriers, &machine] {
    ForEachElement(load.map.shape, load.at, [&](const void* from, uint32_t offset) {
      unsigned char* const cell = load.block->At(Swizzled(load.from + offset), 2, 2, kWhat);
      if (from == nullptr)
        std::memset(cell, 0, 2);
      else
        std::memcpy(cell, from, 2);
    });
    Mbarrier& arrival = barriers.At(*load.block, barrier, kWhat);
    arrival.bytes -= bytes;
    if (arrival.bytes < -kMaxTransaction) Fail("more than 2^20 - 1 bytes came to an mbarrier that expects none");
    --barriers.boxes_on_their_way;
    EndPhaseIfDone(machine, arrival);
  });
}

// To each block when it pleases.
void TmaLoad(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t* at, int rank, uint32_t blocks) {
  CheckMap(map, rank, "a TMA load");
  if (blocks == 0) return LoadInto(SelfBlock(), to, map, barrier, at, rank);
  for (uint32_t other = 0; other < 16; ++other)
    if ((blocks >> other & 1) != 0) LoadInto(BlockOfCluster(other, "a TMA load"), to, map, barrier, at, rank);
}

void StoreShared(uint32_t to, const void* from, uint32_t bytes) {
  Block& block = SelfBlock();
  std::memcpy(block.At(to, bytes, bytes, "st.shared"), from, bytes);
  block.extensions.Of<Unfenced>().Of(block, to) = 1 + Self().index;
  Self().extensions.Of<OwnUnfenced>().words.push_back(to);
}

void FenceAsyncShared() {
  Block& block = SelfBlock();
  Unfenced& unfenced = block.extensions.Of<Unfenced>();
  OwnUnfenced& own = Self().extensions.Of<OwnUnfenced>();
  for (const uint32_t address : own.words)
    if (uint32_t& writer = unfenced.Of(block, address); writer == 1 + Self().index) writer = 0;
  own.words.clear();
}

void TmaStore(const TensorMap& map, uint32_t from, const int32_t* at, int rank) {
  CheckMap(map, rank, "a TMA store");
  Block& block = SelfBlock();
  const uint32_t bytes = BoxBytes(map.shape);
  block.At(from, bytes, 128, "a TMA store");
  Unfenced& unfenced = block.extensions.Of<Unfenced>();
  for (uint32_t address = from; address < from + bytes; address += 4)  // the swizzle stays within 128 bytes
    if (const uint32_t writer = unfenced.Of(block, address); writer != 0)
      Fail("a TMA store of shared memory that thread " + std::to_string(writer - 1) +
           " wrote and did not fence (fence.proxy.async)");
  Store store{map, {}, &SelfBlock(), from, {}};
  std::copy(at, at + rank, store.at);
  if (SelfMachine().Random(2) == 0) store.Read();
  Self().extensions.Of<Stores>().open.push_back(std::move(store));
}

void TmaStoreCommit() {
  Stores& stores = Self().extensions.Of<Stores>();
  stores.groups.push_back(std::move(stores.open));
  stores.open.clear();
}

void TmaStoreWait(uint32_t pending, bool read) {
  Stores& stores = Self().extensions.Of<Stores>();
  if (stores.groups.size() <= pending) return;
  const size_t done = stores.groups.size() - pending;
  for (size_t i = 0; i < done; ++i)
    for (Store& store : stores.groups[i]) read ? store.Read() : store.Write();
  stores.read = std::max(stores.read, done);
  if (read) return;
  stores.groups.erase(stores.groups.begin(), stores.groups.begin() + static_cast<std::ptrdiff_t>(done));
  stores.read -= done;
}

// All warps of a warpgroup trade together, and who wants more waits until others have given it.
void SetRegisters(uint32_t registers, bool up) {
  constexpr uint32_t kAll = 65536, kGroup = 128;
  const char* const what = up ? "setmaxnreg.inc" : "setmaxnreg.dec";
  Block& block = SelfBlock();
  RegisterPool& pool = block.extensions.Of<RegisterPool>();
  const auto threads = static_cast<uint32_t>(block.threads.size());
  if (threads % kGroup != 0) Fail("setmaxnreg in a block that is no whole number of warpgroups");
  if (pool.of.empty())
    for (uint32_t group = 0; group < threads / kGroup; ++group) pool.of[group] = kAll / threads / 8 * 8;
  const uint32_t group = Self().index / kGroup, before = pool.of[group];
  auto& [arrived, asked] = pool.asked[group];
  if (arrived == 0) asked = registers;
  if (asked != registers) Fail("the warps of a warpgroup ask setmaxnreg for different numbers of registers");
  if (up ? registers < before : registers > before) Fail(std::string(what) + " in the other direction");
  if (++arrived < kGroup) {
    while (pool.of[group] != registers) SelfMachine().Wait(pool.queue, {what});
    return;
  }
  const auto fits = [&] {
    uint32_t sum = 0;
    for (const auto& [other, own] : pool.of) sum += kGroup * (other == group ? registers : own);
    return sum <= kAll;
  };
  while (!fits()) SelfMachine().Wait(pool.queue, {what});
  arrived = 0;
  pool.of[group] = registers;
  SelfMachine().WakeAll(pool.queue);
}

}  // namespace sage::cuda::emu
