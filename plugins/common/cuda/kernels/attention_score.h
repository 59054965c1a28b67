// attention_score.h: from a dot product to a score, in the order that sage/attention.h pins: scale, softcap, bias,
// ALiBi. N is the type of the arithmetic: double for f64, else float.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_SCORE_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_SCORE_H_

#include "common/cuda/kernels/attention_sequence.h"

namespace sage::cuda {

template <class N>
SAGE_DEVICE N LoadNumber(const void* base, AttentionType type, int64_t offset) {
  switch (type) {
    case AttentionType::kF64:
      return static_cast<N>(static_cast<const double*>(base)[offset]);
    case AttentionType::kF32:
      return static_cast<N>(static_cast<const float*>(base)[offset]);
    case AttentionType::kF16:
      return static_cast<N>(prim::ToFloat(static_cast<const F16*>(base)[offset]));
    default:
      return static_cast<N>(prim::ToFloat(static_cast<const Bf16*>(base)[offset]));
  }
}

// Whether a score is more than scale times the product. A scale that is not positive turns the order
// of products round, or makes them all alike.
SAGE_DEVICE bool HasModifiers(const AttentionArguments& a) {
  return a.softcap > 0 || a.bias != nullptr || a.alibi != nullptr || !(a.scale > 1e-30);
}

template <class N>
SAGE_DEVICE N Score(const AttentionArguments& a, const Sequence& s, int32_t h, int32_t i, int32_t j, N product) {
  N score = static_cast<N>(a.scale) * product;
  if (a.softcap > 0) {
    const N cap = static_cast<N>(a.softcap);
    score = cap * prim::Tanh(score / cap);
  }
  if (a.bias != nullptr) score += LoadNumber<N>(a.bias, a.bias_type, ScoreOffset(a.bias_strides, s.b, h, i, j));
  if (a.alibi != nullptr) {
    const int32_t distance = i + s.shift - j;
    score -= static_cast<const N*>(a.alibi)[h * a.alibi_stride] * static_cast<N>(distance < 0 ? -distance : distance);
  }
  return score;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_SCORE_H_
