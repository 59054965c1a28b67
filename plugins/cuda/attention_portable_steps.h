// attention_portable_steps.h: what is done to one tile of keys in registers: Q K^T, the online softmax, P V. Shared by
// the kernels whose tiles differ in the type that Q and K are multiplied in.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_STEPS_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_STEPS_H_

#include "attention_portable_score.h"
#include "attention_portable_walk.h"

namespace sage::cuda {

// products += Q K^T. A row of either tile has kRowBytes, of which an mma takes 32: 16 numbers of 16 bits or 32 of 8,
// whose fragments lie alike. multiply(c, a, b0, b1) is that mma.
template <class Tile, int32_t kRowBytes, class Number, class Multiply>
SAGE_DEVICE void MultiplyKeys(uint32_t shared_q, uint32_t shared_k,
                              Number (&products)[Tile::kRowTiles][Tile::kKeys / 8][4], Multiply&& multiply) {
  constexpr int32_t kRowTiles = Tile::kRowTiles, kKeyTiles = Tile::kKeys / 8;
  const ThreadPlace now = Place<Tile>();
  SAGE_UNROLL
  for (int32_t depth = 0; depth < kRowBytes / 32; ++depth) {
    uint32_t q[kRowTiles][4];
    SAGE_UNROLL
    for (int32_t t = 0; t < kRowTiles; ++t)
      prim::LoadMatrix4(
          q[t], shared_q + Swizzled<kRowBytes / 2>(now.warp_row + 16 * t + now.lane % 16, 2 * depth + now.lane / 16));
    SAGE_UNROLL
    for (int32_t i = 0; i < kKeyTiles; i += 2) {
      uint32_t k[4];
      prim::LoadMatrix4(k, shared_k + Swizzled<kRowBytes / 2>(8 * i + now.lane / 16 * 8 + now.lane % 8,
                                                              2 * depth + now.lane / 8 % 2));
      SAGE_UNROLL
      for (int32_t t = 0; t < kRowTiles; ++t) {
        multiply(products[t][i], q[t], k[0], k[1]);
        multiply(products[t][i + 1], q[t], k[2], k[3]);
      }
    }
  }
}

// Scores to weights. to_log2 > 0: from a score to the exponent of 2, for this thread's scores of this tile. largest: of
// each row so far, as that exponent; sum: this lane's share of the weights. out is scaled where a row's largest grew.
template <int32_t kRowTiles, int32_t kKeyTiles, int32_t kColumnTiles>
SAGE_DEVICE void SoftmaxStep(float to_log2, ScoreFragments<kRowTiles, kKeyTiles>& scores,
                             float (&largest)[kRowTiles][2], float (&sum)[kRowTiles][2],
                             float (&out)[kRowTiles][kColumnTiles][4]) {
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

// out += P V, with the weights from their registers in V's 16 bits.
template <class T, class Tile, int32_t kDimV>
SAGE_DEVICE void MultiplyValues(uint32_t shared_v, const ScoreFragments<Tile::kRowTiles, Tile::kKeys / 8>& scores,
                                float (&out)[Tile::kRowTiles][kDimV / 8][4]) {
  constexpr int32_t kRowTiles = Tile::kRowTiles, kColumnTiles = kDimV / 8;
  const int32_t lane = Place<Tile>().lane;
  SAGE_UNROLL
  for (int32_t depth = 0; depth < Tile::kKeys / 16; ++depth) {
    uint32_t weights[kRowTiles][4];
    SAGE_UNROLL
    for (int32_t t = 0; t < kRowTiles; ++t) {
      const float(&low)[4] = scores[t][2 * depth], (&high)[4] = scores[t][2 * depth + 1];
      weights[t][0] = prim::Pack<T>(low[0], low[1]), weights[t][1] = prim::Pack<T>(low[2], low[3]);
      weights[t][2] = prim::Pack<T>(high[0], high[1]), weights[t][3] = prim::Pack<T>(high[2], high[3]);
    }
    SAGE_UNROLL
    for (int32_t i = 0; i < kColumnTiles; i += 2) {
      uint32_t v[4];
      prim::LoadMatrix4Transposed(v, shared_v + Swizzled<kDimV>(16 * depth + lane % 16, i + lane / 16));
      SAGE_UNROLL
      for (int32_t t = 0; t < kRowTiles; ++t) {
        prim::Mma16816<T>(out[t][i], weights[t], v[0], v[1]);
        prim::Mma16816<T>(out[t][i + 1], weights[t], v[2], v[3]);
      }
    }
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_STEPS_H_
