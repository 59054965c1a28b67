// attention_hopper_output.h: the end of a tile: results are divided by their sums and written, and rows that a key they
// do not see has spoilt are made again.
//
// A tile of V is multiplied as a whole: a key that a row does not see has weight 0 there, and 0 times NaN or Inf is
// NaN, while the contract says that such a key never touches the result. So a row that ends as NaN is made again, key
// by key, over what it sees. Data without NaN and Inf never comes here.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_OUTPUT_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_OUTPUT_H_

#include "attention_hopper_softmax.h"

namespace sage::cuda::hopper {

constexpr float kLn2 = 0.69314718055994530942f;

// Null where the page table names no page: such keys read as zero, as TMA has it.
template <class T>
SAGE_DEVICE const T* KeyRow(const AttentionArguments& a, const void* from, const AttentionStrides& strides,
                            const Tile& tile, int head, int j) {
  const int64_t offset = a.block_table != nullptr ? KeyOffset<true>(strides, a, tile.s, head, j)
                                                  : KeyOffset<false>(strides, a, tile.s, head, j);
  return offset < 0 ? nullptr : static_cast<const T*>(from) + offset;
}

// One row by one warp, lane c making columns c, c + 32 ... The softmax is known: its largest score and its sum.
template <class T, int kDim>
SAGE_DEVICE void MakeRowAgain(const HopperParameters& p, const Tile& tile, int row, float largest, float inverse,
                              int lane) {
  constexpr int kOwn = kDim / 32;
  const AttentionArguments& a = p.a;
  const T* q = static_cast<const T*>(a.q) + QueryOffset(a.q_strides, a, tile.s, tile.head, row);
  float query[kOwn], o[kOwn];
  SAGE_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const int c = lane + 32 * i;
    query[i] = c < a.dim_qk ? prim::ToFloat(q[c]) : 0.0f;
    o[i] = 0;
  }
  const float origin = largest == kMinusInfinity ? 0.0f : largest * p.exponent_scale;
  const Span seen = VisibleTo(tile, row);
  SAGE_NO_UNROLL
  for (int j = seen.begin; j < seen.end; ++j) {
    const T* k = KeyRow<T>(a, a.k, a.k_strides, tile, tile.head / (a.heads_q / a.heads_k), j);
    const T* v = KeyRow<T>(a, a.v, a.v_strides, tile, tile.head / (a.heads_q / a.heads_v), j);
    float score = 0;
    SAGE_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      const int c = lane + 32 * i;
      if (k != nullptr && c < a.dim_qk) score += query[i] * prim::ToFloat(k[c]);
    }
    SAGE_NO_UNROLL
    for (uint32_t step = 1; step < 32; step *= 2) score += prim::ShuffleXor(score, step);
    if (p.scale_first) score *= p.scale;
    const float weight = prim::Exp2(score * p.exponent_scale - origin);
    SAGE_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      const int c = lane + 32 * i;
      if (v != nullptr && c < a.dim_v) o[i] += weight * prim::ToFloat(v[c]);
    }
  }
  T* to = static_cast<T*>(a.o) + QueryOffset(a.o_strides, a, tile.s, tile.head, row);
  SAGE_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const int c = lane + 32 * i;
    if (c < a.dim_v) to[c] = prim::FromFloat<T>(o[i] * inverse);
  }
}

// row: of this thread's element 0, within the sequence.
template <class T, int kDim>
SAGE_DEVICE void WriteOut(const HopperParameters& p, const Tile& tile, int row, int lane, const float (&o)[kDim / 2],
                          const RowState& state) {
  const AttentionArguments& a = p.a;
  float inverse[2];
  bool spoilt[2];
  SAGE_UNROLL
  for (int r = 0; r < 2; ++r) {
    float sum = state.sum[r];
    sum += prim::ShuffleXor(sum, 1);
    sum += prim::ShuffleXor(sum, 2);
    const int at = row + 8 * r;
    const bool used = at < tile.s.q_len;
    inverse[r] = sum == 0.0f || !used ? 0.0f : 1.0f / sum;
    bool any = false;
    T* to = static_cast<T*>(a.o) + QueryOffset(a.o_strides, a, tile.s, tile.head, at) + lane % 4 * 2;
    SAGE_UNROLL
    for (int c = 0; c < kDim / 8; ++c) {
      const float low = o[4 * c + 2 * r], high = o[4 * c + 2 * r + 1];
      const bool inside = c * 8 + lane % 4 * 2 < a.dim_v;
      any = any || (inside && (low != low || high != high));
      // Padded rows are zero, whatever stands in Q.
      if (at < tile.s.q_rows && inside)
        *reinterpret_cast<uint32_t*>(to + c * 8) = used ? prim::Pack<T>(low * inverse[r], high * inverse[r]) : 0u;
    }
    spoilt[r] = any && used;
    if (a.lse != nullptr && lane % 4 == 0 && at < tile.s.q_rows) {
      float* const lse = static_cast<float*>(a.lse) + QueryOffset(a.lse_strides, a, tile.s, tile.head, at);
      *lse = sum == 0.0f || !used ? kMinusInfinity : (state.largest[r] * p.exponent_scale + prim::Log2(sum)) * kLn2;
    }
  }
  SAGE_UNROLL
  for (int r = 0; r < 2; ++r) {
    const uint32_t lanes = prim::Ballot(spoilt[r]);
    if (lanes == 0) continue;
    SAGE_NO_UNROLL
    for (int quad = 0; quad < 8; ++quad) {
      if ((lanes >> (4 * quad) & 0xf) == 0) continue;
      const uint32_t owner = static_cast<uint32_t>(4 * quad);
      const float largest = prim::Shuffle(state.largest[r], owner), share = prim::Shuffle(inverse[r], owner);
      const int again = row - lane / 4 + quad + 8 * r;
      MakeRowAgain<T, kDim>(p, tile, again, largest, share, lane);
    }
  }
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_OUTPUT_H_
