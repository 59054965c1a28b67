// attention_small_plan.h: on the host: what the kernel for few keys takes, and how it is launched.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_SMALL_PLAN_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_SMALL_PLAN_H_

#include <type_traits>

#include "attention_small.h"

namespace sage::cuda {

// Null, or why the kernel for few keys does not take the call.
const char* SmallRefusal(const AttentionArguments& a);

// For a call that was not refused. rows: of a block.
SmallArguments PlanSmall(const AttentionArguments& a, int32_t rows);

inline int64_t SmallBlocks(const SmallArguments& p) { return int64_t{p.tiles} * (p.a.heads_q / p.group) * p.a.batch; }

// f with an std::integral_constant of the rows of a block: as few as hold the heads that share a key, up to eight.
template <class F>
auto ForSmall(const AttentionArguments& a, F&& f) {
  const SmallArguments p = PlanSmall(a, 1);
  return int64_t{a.seq_q} * p.group <= 4 ? f(std::integral_constant<int32_t, 4>())
                                         : f(std::integral_constant<int32_t, 8>());
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_SMALL_PLAN_H_
