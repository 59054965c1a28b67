// memory_plan.h: where intermediates lie in one arena, so that those that never live at once share bytes.
//
// Greedy best fit by size: the largest first, each into the smallest gap between those already placed that live at the
// same time. Within a few percent of optimal on real graphs and quadratic at worst; an exact packing is NP-hard and
// buys nothing here. Knows nothing of tensors or devices: bytes and steps only.
#ifndef SAGE_ENGINE_PLAN_MEMORY_PLAN_H_
#define SAGE_ENGINE_PLAN_MEMORY_PLAN_H_

#include <cstdint>
#include <span>
#include <vector>

#include "status.h"

namespace sage {

inline constexpr uint64_t kArenaAlignment = 64;  // bytes; a cache line, and the widest vector

// Bytes that must stay untouched from step `first` to step `last`, both included.
struct MemoryItem {
  uint64_t bytes = 0;
  int64_t first = 0, last = 0;
};

struct MemoryPlan {
  std::vector<uint64_t> offsets;  // one an item, multiples of the alignment; items of 0 bytes lie at 0
  uint64_t total = 0;             // bytes of the arena
  uint64_t live_peak = 0;         // most bytes alive at one step: no plan can be smaller
};

// Fails (SAGE_E_OUT_OF_MEMORY) only when the sizes exceed what 63 bits can add up.
// alignment: of every offset, a power of two.
Result<MemoryPlan> PlanMemory(std::span<const MemoryItem> items, uint64_t alignment = kArenaAlignment);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_MEMORY_PLAN_H_
