// attention_portable_plan.h: on the host: which instantiation of the portable kernel takes a call, and what it is
// given. Without CUDA, so that tests choose as the plugin does.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_PLAN_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_PLAN_H_

#include <cstdint>
#include <type_traits>

#include "attention_portable_tile.h"

namespace sage::cuda {

// Null, or why the portable kernel does not take the call; the plain one does.
const char* PortableRefusal(const AttentionArguments& a);

// For a call that was not refused. tile_rows: PortableTile::kRows of its instantiation.
PortableArguments PlanPortable(const AttentionArguments& a, int32_t tile_rows);

inline int64_t PortableBlocks(const PortableArguments& p) {
  return int64_t{p.tiles} * (p.a.heads_q / p.group) * p.a.batch;
}

// What two dimensions are padded to: a pair that is instantiated.
struct PaddedDims {
  int32_t qk, v;
};
PaddedDims PadDims(int32_t dim_qk, int32_t dim_v);

// f with std::integral_constants of the padded dimensions and of whether K and V are paged.
template <class F>
auto ForPortable(const AttentionArguments& a, F&& f) {
  const auto with = [&](auto qk, auto v) {
    return a.block_table != nullptr ? f(qk, v, std::true_type()) : f(qk, v, std::false_type());
  };
  const PaddedDims padded = PadDims(a.dim_qk, a.dim_v);
  if (padded.qk != padded.v)
    return with(std::integral_constant<int32_t, 192>(), std::integral_constant<int32_t, 128>());
  const auto both = [&](auto dim) { return with(dim, dim); };
  switch (padded.qk) {
    case 32:
      return both(std::integral_constant<int32_t, 32>());
    case 64:
      return both(std::integral_constant<int32_t, 64>());
    case 96:
      return both(std::integral_constant<int32_t, 96>());
    case 128:
      return both(std::integral_constant<int32_t, 128>());
    case 192:
      return both(std::integral_constant<int32_t, 192>());
    default:
      return both(std::integral_constant<int32_t, 256>());
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_PLAN_H_
