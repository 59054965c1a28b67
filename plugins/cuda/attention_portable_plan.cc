// attention_portable_plan.cc: see attention_portable_plan.h.
#include "attention_portable_plan.h"

#include <numeric>

namespace sage::cuda {
namespace {

// Whether rows of `dim` elements lie so that they can be moved in units of `elements`.
bool Aligned(const void* base, const AttentionStrides& strides, int32_t dim, int32_t elements) {
  if (strides.column != 1 || dim % elements != 0) return false;
  if (reinterpret_cast<uintptr_t>(base) % (2 * static_cast<uintptr_t>(elements)) != 0) return false;
  return strides.batch % elements == 0 && strides.head % elements == 0 && strides.row % elements == 0;
}

}  // namespace

const char* PortableRefusal(const AttentionArguments& a) {
  if (a.type != AttentionType::kBf16 && a.type != AttentionType::kF16)
    return "the tensor core kernel takes bf16 and f16; f32 and f64 are for the plain kernel, which is exact";
  if (a.dim_qk > 256 || a.dim_v > 256) return "the tensor core kernel takes head dimensions up to 256";
  if (a.weights != nullptr || a.scores != nullptr)
    return "WEIGHTS and SCORES are written by the plain kernel: a flash kernel never has them whole";
  if (a.bias != nullptr && a.bias_type != AttentionType::kF32 && a.bias_type != a.type)
    return "the tensor core kernel takes BIAS in f32 or in the operands' type";
  return nullptr;
}

PaddedDims PadDims(int32_t dim_qk, int32_t dim_v) {
  if (dim_qk > 128 && dim_qk <= 192 && dim_v <= 128) return {192, 128};
  const int32_t larger = dim_qk > dim_v ? dim_qk : dim_v;
  for (const int32_t padded : {32, 64, 96, 128, 192})
    if (larger <= padded) return {padded, padded};
  return {256, 256};
}

PortableArguments PlanPortable(const AttentionArguments& a, int32_t tile_rows) {
  PortableArguments p;
  p.a = a;
  // Heads that share one head of K and one of V.
  p.group = std::gcd(a.heads_q / a.heads_k, a.heads_q / a.heads_v);
  p.tiles = static_cast<int32_t>((int64_t{a.seq_q} * p.group + tile_rows - 1) / tile_rows);
  p.q_vectors = Aligned(a.q, a.q_strides, a.dim_qk, 8);
  p.k_vectors = Aligned(a.k, a.k_strides, a.dim_qk, 8);
  p.v_vectors = Aligned(a.v, a.v_strides, a.dim_v, 8);
  p.o_pairs = Aligned(a.o, a.o_strides, a.dim_v, 2);
  return p;
}

}  // namespace sage::cuda
