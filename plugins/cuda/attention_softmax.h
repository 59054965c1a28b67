// attention_softmax.h: the step of a softmax over keys that come in tiles, and the product of its weights with V: what
// the kernels on mma.sync have in common.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_SOFTMAX_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_SOFTMAX_H_

#include "attention_portable_score.h"

namespace sage::cuda {

// A warp's O, as ScoreFragments: fragment i holds columns 8 i + 2 (lane % 4) and the next one.
template <int32_t kRowTiles, int32_t kColumnTiles>
using OutFragments = float[kRowTiles][kColumnTiles][4];

// Scores become weights, relative to the largest score that each row has seen; what was summed before is scaled to
// that. to_log2 > 0: from a score of this lane to the exponent of 2. largest: as such an exponent; sum: of this lane's
// weights.
template <int32_t kRowTiles, int32_t kKeyTiles, int32_t kColumnTiles>
SAGE_DEVICE void WeighScores(float to_log2, ScoreFragments<kRowTiles, kKeyTiles>& scores,
                             float (&largest)[kRowTiles][2], float (&sum)[kRowTiles][2],
                             OutFragments<kRowTiles, kColumnTiles>& out) {
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) {
    SAGE_UNROLL
    for (int32_t half = 0; half < 2; ++half) {
      float larger = -kInfinity;
      SAGE_UNROLL
      for (int32_t i = 0; i < kKeyTiles; ++i)
        larger = prim::Max(larger, prim::Max(scores[t][i][2 * half], scores[t][i][2 * half + 1]));
      larger = prim::Max(largest[t][half], larger * to_log2);
      larger = prim::Max(larger, prim::ShuffleXor(larger, 1));
      larger = prim::Max(larger, prim::ShuffleXor(larger, 2));
      // A row that has seen nothing yet stays at zero, and not at exp(-inf + inf).
      const float base = larger == -kInfinity ? 0.0f : larger;
      const float factor = prim::Exp2(largest[t][half] - base);
      largest[t][half] = larger;
      float added = 0;
      SAGE_UNROLL
      for (int32_t i = 0; i < kKeyTiles; ++i) {
        SAGE_UNROLL
        for (int32_t e = 2 * half; e < 2 * half + 2; ++e) {
          scores[t][i][e] = prim::Exp2(prim::Fma(scores[t][i][e], to_log2, -base));
          added += scores[t][i][e];
        }
      }
      sum[t][half] = sum[t][half] * factor + added;
      if (prim::Any(factor != 1.0f)) {  // the largest of most rows is soon among the keys seen
        SAGE_UNROLL
        for (int32_t i = 0; i < kColumnTiles; ++i) out[t][i][2 * half] *= factor, out[t][i][2 * half + 1] *= factor;
      }
    }
  }
}

// out += weights V, of V's 8 kKeyTiles rows of kDimV columns at a shared address.
template <class T, int32_t kDimV, int32_t kRowTiles, int32_t kKeyTiles>
SAGE_DEVICE void AddValues(uint32_t shared_v, int32_t lane, const ScoreFragments<kRowTiles, kKeyTiles>& weights,
                           OutFragments<kRowTiles, kDimV / 8>& out) {
  SAGE_UNROLL
  for (int32_t depth = 0; depth < kKeyTiles / 2; ++depth) {
    uint32_t packed[kRowTiles][4];
    SAGE_UNROLL
    for (int32_t t = 0; t < kRowTiles; ++t) {
      const float(&low)[4] = weights[t][2 * depth], (&high)[4] = weights[t][2 * depth + 1];
      packed[t][0] = prim::Pack<T>(low[0], low[1]), packed[t][1] = prim::Pack<T>(low[2], low[3]);
      packed[t][2] = prim::Pack<T>(high[0], high[1]), packed[t][3] = prim::Pack<T>(high[2], high[3]);
    }
    SAGE_UNROLL
    for (int32_t i = 0; i < kDimV / 8; i += 2) {
      uint32_t v[4];
      prim::LoadMatrix4Transposed(v, shared_v + Swizzled<kDimV>(16 * depth + lane % 16, i + lane / 16));
      SAGE_UNROLL
      for (int32_t t = 0; t < kRowTiles; ++t) {
        prim::Mma16816<T>(out[t][i], packed[t], v[0], v[1]);
        prim::Mma16816<T>(out[t][i + 1], packed[t], v[2], v[3]);
      }
    }
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_SOFTMAX_H_
