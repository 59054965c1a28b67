// sm90a_products.cc: wgmma. A product is issued when all 128 threads of the warpgroup have come to it; how long after
// that it is made is left to the seed, but one after the other, and a wait is for those of its groups.
#include <algorithm>
#include <deque>

#include "common/cuda/kernels/emu/sm90a.h"

namespace sage::cuda::emu {
namespace {

constexpr uint32_t kGroupThreads = 128, kRows = 64, kDepth = 16, kMaxColumns = 256;

struct Product {
  WgmmaOperands common;  // d and registers of nobody
  std::array<float*, kGroupThreads> d{};
  std::array<const uint32_t*, kGroupThreads> registers{};
  uint32_t issued = 0;
};

struct Warpgroup {
  std::deque<Product> products;  // not made yet, or not issued by all
  uint64_t made = 0;             // those before the first of them
  WaitQueue queue;               // until the next ones are made
};

// Shared with what is on its way: that may outlive the block.
struct Warpgroups : Extension {
  std::map<uint32_t, std::shared_ptr<Warpgroup>> all;
  std::shared_ptr<Warpgroup> Of(const Thread& thread) {
    std::shared_ptr<Warpgroup>& group = all[thread.index / kGroupThreads];
    if (group == nullptr) group = std::make_shared<Warpgroup>();
    return group;
  }
};

// A thread's own count: its products so far, and how many there were at each commit that was not waited for.
struct Issued : Extension {
  uint64_t products = 0, committed = 0;
  std::vector<uint64_t> groups;
  bool fenced = false;
  std::string AtEnd() override {
    return committed != products || !groups.empty() ? "some of its wgmma products were not waited for" : "";
  }
};

uint16_t Element(Block& block, uint64_t descriptor, bool mn_major, uint32_t row, uint32_t k) {
  uint16_t bits = 0;
  std::memcpy(&bits, block.At(MatrixElement(descriptor, mn_major, row, k), 2, 2, "wgmma"), 2);
  return bits;
}

// Row and column in the accumulator of element i of a thread; A in registers is its first 16 columns in pairs.
uint32_t RowOf(uint32_t thread, uint32_t i) { return thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2); }
uint32_t ColumnOf(uint32_t thread, uint32_t i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

void Make(Block& block, const Product& product) {
  const WgmmaOperands& common = product.common;
  const auto columns = static_cast<uint32_t>(common.n);
  std::vector<float> a(kRows * kDepth), b(kDepth * columns), d(kRows * columns, 0.0f);
  for (uint32_t k = 0; k < kDepth; ++k)
    for (uint32_t column = 0; column < columns; ++column)
      b[k * columns + column] = common.decode(Element(block, common.b, common.b_mn_major, column, k));
  if (product.registers[0] == nullptr) {
    for (uint32_t row = 0; row < kRows; ++row)
      for (uint32_t k = 0; k < kDepth; ++k)
        a[row * kDepth + k] = common.decode(Element(block, common.a, false, row, k));
  }
  for (uint32_t thread = 0; thread < kGroupThreads; ++thread) {
    for (uint32_t i = 0; product.registers[0] != nullptr && i < 8; ++i)
      a[RowOf(thread, i) * kDepth + ColumnOf(thread, i)] =
          common.decode(static_cast<uint16_t>(product.registers[thread][i / 2] >> (16 * (i % 2))));
    for (uint32_t i = 0; common.accumulate && i < columns / 2; ++i)
      d[RowOf(thread, i) * columns + ColumnOf(thread, i)] = product.d[thread][i];
  }
  for (uint32_t row = 0; row < kRows; ++row) {
    float* const sums = &d[row * columns];
    for (uint32_t k = 0; k < kDepth; ++k) {
      const float left = a[row * kDepth + k];
      const float* const right = &b[k * columns];
      for (uint32_t column = 0; column < columns; ++column) sums[column] += left * right[column];
    }
  }
  for (uint32_t thread = 0; thread < kGroupThreads; ++thread)
    for (uint32_t i = 0; i < columns / 2; ++i)
      product.d[thread][i] = d[RowOf(thread, i) * columns + ColumnOf(thread, i)];
}

// All products before number `end`, in order. The block is there as long as some of them are not made.
void MakeUpTo(Block& block, Warpgroup& group, uint64_t end) {
  if (group.made >= end) return;
  while (group.made < end) {
    Make(block, group.products.front());
    group.products.pop_front();
    ++group.made;
  }
  block.machine.WakeAll(group.queue);
}

}  // namespace

uint32_t MatrixElement(uint64_t descriptor, bool mn_major, uint32_t row, uint32_t k) {
  const auto field = [descriptor](int bit) { return static_cast<uint32_t>(descriptor >> bit & 0x3fff) << 4; };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  if ((descriptor >> 49 & 7) != 0) Fail("a wgmma descriptor with a base offset, which is not emulated");
  const auto mode = static_cast<uint32_t>(descriptor >> 62);
  if (mode == 0) {
    if (mn_major) Fail("an MN-major wgmma operand without swizzle, which is not emulated");
    return start + row / 8 * stride + k / 8 * leading + row % 8 * 16 + k % 8 * 2;
  }
  const uint32_t width = 256u >> mode;  // 128, 64 or 32 bytes
  const uint32_t address =
      mn_major ? start + row / (width / 2) * leading + k / 8 * stride + k % 8 * width + row % (width / 2) * 2
               : start + row / 8 * stride + row % 8 * width + k * 2;
  return address ^ (address >> 7 & (width / 16 - 1)) << 4;
}

void WgmmaFence() { Self().extensions.Of<Issued>().fenced = true; }

void WgmmaIssue(const WgmmaOperands& operands) {
  Thread& self = Self();
  Block& block = SelfBlock();
  Issued& issued = self.extensions.Of<Issued>();
  if (!issued.fenced) Fail("wgmma.mma_async without wgmma.fence since its registers were free to be used");
  const std::shared_ptr<Warpgroup> shared = block.extensions.Of<Warpgroups>().Of(self);
  Warpgroup& group = *shared;
  const uint64_t number = issued.products++;
  if (number == group.made + group.products.size()) group.products.push_back({operands, {}, {}, 0});
  Product& product = group.products[number - group.made];
  const WgmmaOperands& common = product.common;
  if (common.n != operands.n || common.a != operands.a || common.b != operands.b ||
      common.accumulate != operands.accumulate || common.b_mn_major != operands.b_mn_major ||
      common.decode != operands.decode || (common.registers == nullptr) != (operands.registers == nullptr))
    Fail("the threads of a warpgroup are in different wgmma products");
  product.d[self.index % kGroupThreads] = operands.d;
  product.registers[self.index % kGroupThreads] = operands.registers;
  if (++product.issued < kGroupThreads) return;
  Machine& machine = SelfMachine();
  if (machine.Random(4) == 0) return MakeUpTo(block, group, number + 1);
  machine.Later(machine.Random(2) == 0 ? 400 : 4000,
                [&block, shared, number] { MakeUpTo(block, *shared, number + 1); });
}

void WgmmaCommit() {
  Issued& issued = Self().extensions.Of<Issued>();
  issued.committed = issued.products;
  issued.groups.push_back(issued.products);
}

void WgmmaWait(uint32_t pending) {
  Thread& self = Self();
  Issued& issued = self.extensions.Of<Issued>();
  issued.fenced = false;
  if (issued.groups.size() <= pending) return;
  const size_t done = issued.groups.size() - pending;
  const uint64_t end = issued.groups[done - 1];
  issued.groups.erase(issued.groups.begin(), issued.groups.begin() + static_cast<std::ptrdiff_t>(done));
  Warpgroup& group = *self.block->extensions.Of<Warpgroups>().Of(self);
  while (group.made < end) SelfMachine().Wait(group.queue, {"its wgmma products"});
}

}  // namespace sage::cuda::emu
