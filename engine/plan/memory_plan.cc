// memory_plan.cc: greedy best fit, see the header.
#include "plan/memory_plan.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace sage {
namespace {

bool LiveTogether(const MemoryItem& a, const MemoryItem& b) { return a.first <= b.last && b.first <= a.last; }

// Sweeps the steps at which something begins or ends.
uint64_t LivePeak(std::span<const MemoryItem> items, const std::vector<uint64_t>& rounded) {
  std::map<int64_t, int64_t> change;
  for (size_t i = 0; i < items.size(); ++i) {
    change[items[i].first] += static_cast<int64_t>(rounded[i]);
    change[items[i].last + 1] -= static_cast<int64_t>(rounded[i]);
  }
  int64_t live = 0, peak = 0;
  for (const auto& [step, bytes] : change) peak = std::max(peak, live += bytes);
  return static_cast<uint64_t>(peak);
}

}  // namespace

Result<MemoryPlan> PlanMemory(std::span<const MemoryItem> items, uint64_t alignment) {
  std::vector<uint64_t> rounded(items.size());
  uint64_t sum = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const uint64_t limit = static_cast<uint64_t>(INT64_MAX) - alignment;
    if (items[i].bytes > limit ||
        __builtin_add_overflow(sum, rounded[i] = (items[i].bytes + alignment - 1) / alignment * alignment, &sum) ||
        sum > limit) {
      return Status(SAGE_E_OUT_OF_MEMORY, "the intermediate tensors together exceed 2^63 bytes; use smaller maxima");
    }
  }

  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rounded[a] > rounded[b]; });

  MemoryPlan plan;
  plan.offsets.assign(items.size(), 0);
  std::vector<size_t> placed;  // by offset
  for (const size_t i : order) {
    if (rounded[i] == 0) continue;
    uint64_t best = 0, best_gap = UINT64_MAX, end = 0;
    bool found = false;
    for (const size_t other : placed) {
      if (!LiveTogether(items[i], items[other])) continue;
      const uint64_t begin = plan.offsets[other];
      if (begin >= end && begin - end >= rounded[i] && begin - end < best_gap) {
        best = end, best_gap = begin - end, found = true;
      }
      end = std::max(end, begin + rounded[other]);
    }
    plan.offsets[i] = found ? best : end;
    plan.total = std::max(plan.total, plan.offsets[i] + rounded[i]);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](size_t a, size_t b) { return plan.offsets[a] < plan.offsets[b]; }),
                  i);
  }
  plan.live_peak = LivePeak(items, rounded);
  return plan;
}

}  // namespace sage
