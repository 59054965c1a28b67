// test_memory_plan.cc: what lives at once never shares a byte; sizes against the bound no plan can beat; buckets.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "plan/buckets.h"
#include "plan/memory_plan.h"

using namespace sage;

namespace {

void CheckSound(std::span<const MemoryItem> items, const MemoryPlan& plan) {
  REQUIRE(plan.offsets.size() == items.size());
  uint64_t sum = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    CHECK(plan.offsets[i] % kArenaAlignment == 0);
    CHECK(plan.offsets[i] + items[i].bytes <= plan.total);
    sum += (items[i].bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
    for (size_t j = 0; j < i; ++j) {
      const bool together = items[i].first <= items[j].last && items[j].first <= items[i].last;
      const bool apart = plan.offsets[i] + items[i].bytes <= plan.offsets[j] ||
                         plan.offsets[j] + items[j].bytes <= plan.offsets[i] || items[i].bytes == 0 ||
                         items[j].bytes == 0;
      if (together) CHECK(apart);
    }
  }
  CHECK(plan.total >= plan.live_peak);
  CHECK(plan.total <= sum);
}

}  // namespace

TEST_CASE("S16 memory plan: a chain needs its two largest neighbours") {
  std::vector<MemoryItem> items;
  for (int64_t i = 0; i < 50; ++i) items.push_back({1000, i, i + 1});
  const auto plan = PlanMemory(items);
  REQUIRE(plan.ok());
  CheckSound(items, *plan);
  CHECK(plan->total == 2048);
  CHECK(plan->live_peak == 2048);
}

TEST_CASE("memory plan: nothing, and items of no bytes") {
  CHECK(PlanMemory({})->total == 0);
  const std::vector<MemoryItem> items = {{0, 0, 5}, {64, 0, 5}, {0, 2, 2}};
  const auto plan = PlanMemory(items);
  CHECK(plan->total == 64);
  CheckSound(items, *plan);
}

TEST_CASE("memory plan: a small item goes into the smallest gap that takes it") {
  // At step 5 the gaps are 512 wide (behind the first) and 256 wide (behind the third).
  const std::vector<MemoryItem> items = {{640, 0, 9}, {512, 0, 4}, {384, 0, 9}, {256, 0, 4}, {192, 0, 9}, {128, 5, 9}};
  const auto plan = PlanMemory(items);
  REQUIRE(plan.ok());
  CheckSound(items, *plan);
  CHECK(plan->total == 640 + 512 + 384 + 256 + 192);
  CHECK(plan->offsets[5] == 640 + 512 + 384);
}

TEST_CASE("memory plan: sums beyond 2^63 are refused") {
  const std::vector<MemoryItem> items = {{uint64_t{1} << 62, 0, 1}, {uint64_t{1} << 62, 3, 4}};
  CHECK(PlanMemory(items).status().code() == SAGE_E_OUT_OF_MEMORY);
  const std::vector<MemoryItem> one = {{UINT64_MAX, 0, 1}};
  CHECK(PlanMemory(one).status().code() == SAGE_E_OUT_OF_MEMORY);
}

TEST_CASE("memory plan: seeded random lifetimes are sound and stay near the bound") {
  std::mt19937 generator(42);
  double total = 0, bound = 0;
  for (int round = 0; round < 200; ++round) {
    const size_t count = 1 + generator() % 40;
    std::vector<MemoryItem> items;
    for (size_t i = 0; i < count; ++i) {
      const auto first = static_cast<int64_t>(generator() % 30);
      items.push_back({generator() % 5000, first, first + static_cast<int64_t>(generator() % 6)});
    }
    const auto plan = PlanMemory(items);
    REQUIRE(plan.ok());
    CheckSound(items, *plan);
    total += static_cast<double>(plan->total), bound += static_cast<double>(plan->live_peak);
  }
  CHECK(total <= 1.1 * bound);
}

TEST_CASE("buckets: powers of two up to the maximum, each size in exactly one") {
  for (const int64_t max : {1, 2, 3, 7, 8, 100, 1000}) {
    const std::vector<int64_t> all = Buckets(max);
    CHECK(all.back() == max);
    for (int64_t value = 0; value <= max; ++value) {
      const int64_t bucket = BucketOf(value, max);
      CHECK(bucket >= value);
      CHECK(bucket >= 1);
      CHECK(bucket <= max);
      const auto it = std::find(all.begin(), all.end(), bucket);
      REQUIRE(it != all.end());
      if (it != all.begin()) CHECK(*(it - 1) < std::max<int64_t>(value, 1));
    }
  }
  CHECK(BucketOf(INT64_MAX, INT64_MAX) == INT64_MAX);
  CHECK(BucketOf(513, 1024) == 1024);
  CHECK(BucketOf(512, 1024) == 512);
}

TEST_CASE("S5 key rows: what a threshold is judged on, by layout") {
  Node node;
  node.kind = SAGE_OP_ATTENTION;
  AttentionNode attention;
  node.slots.assign(SAGE_ATTN_NUM_SLOTS, kNone);
  node.slots[SAGE_ATTN_K] = 0;
  std::vector<BoundTensor> shapes(2);
  shapes[0].rank = 4;
  const int64_t k[] = {2, 3, 5, 7};
  std::copy(std::begin(k), std::end(k), shapes[0].shape);
  const auto rows = [&] {
    node.attributes = attention;
    return KeyRows(node, shapes);
  };
  CHECK(rows() == 5);
  attention.layout = Layout::kBSHD;
  CHECK(rows() == 3);
  attention.layout = Layout::kBSE;
  CHECK(rows() == 3);
  attention.layout = Layout::kTHD;
  CHECK(rows() == 2);
  attention.attributes.max_seq_kv = 1;
  CHECK(rows() == 1);
  attention.layout = Layout::kBHSD;
  node.slots[SAGE_ATTN_BLOCK_TABLE] = 1;
  shapes[1].rank = 2, shapes[1].shape[0] = 4, shapes[1].shape[1] = 6;
  CHECK(rows() == 30);
}
