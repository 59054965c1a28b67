// attention_small_plan.cc: see attention_small_plan.h.
#include "attention_small_plan.h"

#include <bit>
#include <numeric>

namespace sage::cuda {
namespace {

int32_t ElementsOf16Bytes(AttentionType type) { return type == AttentionType::kF32 ? 4 : 8; }

bool InSlices(const AttentionStrides& strides, int32_t dim, int32_t elements) {
  return strides.column == 1 && dim % elements == 0 && strides.batch % elements == 0 && strides.head % elements == 0 &&
         strides.row % elements == 0;
}

}  // namespace

const char* SmallRefusal(const AttentionArguments& a) {
  if (a.type == AttentionType::kF64) return "the kernel for few keys takes f32, f16 and bf16";
  if (a.seq_kv > kSmallMostKeys) return "the kernel for few keys takes 1024 of them";
  if (a.dim_qk > kSmallMostDim || a.dim_v > kSmallMostDim)
    return "the kernel for few keys takes head dimensions up to 128";
  const int32_t elements = ElementsOf16Bytes(a.type);
  if (!InSlices(a.k_strides, a.dim_qk, elements) || !InSlices(a.v_strides, a.dim_v, elements))
    return "the kernel for few keys reads K and V by 16 bytes: rows and strides of whole ones";
  return nullptr;
}

SmallArguments PlanSmall(const AttentionArguments& a, int32_t rows) {
  SmallArguments p;
  p.a = a;
  p.group = std::gcd(a.heads_q / a.heads_k, a.heads_q / a.heads_v);
  p.tiles = static_cast<int32_t>((int64_t{a.seq_q} * p.group + rows - 1) / rows);
  const auto lanes = [&](int32_t dim) {
    return static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(dim / ElementsOf16Bytes(a.type))));
  };
  p.lanes_qk = lanes(a.dim_qk), p.lanes_v = lanes(a.dim_v);
  return p;
}

}  // namespace sage::cuda
