// attention_hopper_output.h: the results of a tile: divided by their sums and written, to O or to the slab in shared
// memory from which TMA stores them; and rows that a key they do not see has spoilt, made again before anything leaves.
//
// A tile of V is multiplied as a whole: a key that a row does not see has weight 0 there, and 0 times NaN or Inf is
// NaN, while the contract says that such a key never touches the result. So a row that ends as NaN is made again, key
// by key, over what it sees. Data without NaN and Inf never comes here.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_OUTPUT_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_OUTPUT_H_

#include "attention_hopper_shape.h"
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

// Where a row of results goes: to O itself, or to its place in shared memory, from where TMA stores it.
//
// Stores of 4 bytes and not stmatrix: a warp's eight rows of four lanes meet all 32 banks by the swizzle, so that
// stmatrix would save instructions, a few dozen a tile, and no time at the banks; and zeros for padded rows, and rows
// that are made again, need no second way.
template <class S>
struct OutputRow {
  using T = typename S::Element;
  T* global;               // null: to shared memory
  uint32_t line, swizzle;  // of that: the row's first byte, and what its pieces of 16 bytes are mixed with

  SAGE_DEVICE uint32_t At(int column) const {
    const auto c = static_cast<uint32_t>(column);
    return line + c / 64 * S::kChunkBytesQ + (c % 64 * 2 ^ swizzle);
  }
  // Two columns from an even one on.
  SAGE_DEVICE void Pair(int column, uint32_t both) const {
    if (global == nullptr)
      prim::StoreShared32(At(column), both);
    else
      *reinterpret_cast<uint32_t*>(global + column) = both;
  }
  SAGE_DEVICE void One(int column, T value) const {
    if (global == nullptr)
      prim::StoreShared16(At(column), value.bits);
    else
      global[column] = value;
  }
};

// slab: the shared address of the tile's first row, as Q lies; used where O leaves by TMA.
template <class S>
SAGE_DEVICE OutputRow<S> RowOfOutput(const HopperParameters& p, const Tile& tile, uint32_t slab, int row) {
  if (p.by_tma) {
    const auto within = static_cast<uint32_t>(row - tile.first_row);
    return {nullptr, slab + within * 128, within % 8 * 16};
  }
  auto* const o = static_cast<typename S::Element*>(p.a.o);
  return {o + QueryOffset(p.a.o_strides, p.a, tile.s, tile.Head(row), tile.Query(row)), 0, 0};
}

// One row by one warp, lane c making columns c, c + 32 ... The softmax is known: its largest score and its sum.
template <class S>
SAGE_DEVICE void MakeRowAgain(const HopperParameters& p, const Tile& tile, uint32_t slab, int row, float largest,
                              float inverse, int lane) {
  using T = typename S::Element;
  constexpr int kOwn = S::kDim / 32;
  const AttentionArguments& a = p.a;
  const int head = tile.Head(row);
  const T* q = static_cast<const T*>(a.q) + QueryOffset(a.q_strides, a, tile.s, head, tile.Query(row));
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
    const T* k = KeyRow<T>(a, a.k, a.k_strides, tile, head / (a.heads_q / a.heads_k), j);
    const T* v = KeyRow<T>(a, a.v, a.v_strides, tile, head / (a.heads_q / a.heads_v), j);
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
  const OutputRow<S> to = RowOfOutput<S>(p, tile, slab, row);
  SAGE_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const int c = lane + 32 * i;
    if (c < a.dim_v) to.One(c, prim::FromFloat<T>(o[i] * inverse));
  }
}

// row: of this thread's element 0, within the line.
template <class S>
SAGE_DEVICE void WriteOut(const HopperParameters& p, const Tile& tile, uint32_t slab, int row, int lane,
                          const float (&o)[S::kDim / 2], const RowState& state) {
  using T = typename S::Element;
  const AttentionArguments& a = p.a;
  float inverse[2];
  bool spoilt[2];
  SAGE_UNROLL
  for (int r = 0; r < 2; ++r) {
    float sum = state.sum[r];
    sum += prim::ShuffleXor(sum, 1);
    sum += prim::ShuffleXor(sum, 2);
    const int at = row + 8 * r;
    const bool used = at < tile.RowsOf(tile.s.q_len), written = at < tile.RowsOf(tile.s.q_rows);
    inverse[r] = sum == 0.0f || !used ? 0.0f : 1.0f / sum;
    bool any = false;
    const OutputRow<S> to = RowOfOutput<S>(p, tile, slab, at);
    SAGE_UNROLL
    for (int c = 0; c < S::kDim / 8; ++c) {
      const float low = o[4 * c + 2 * r], high = o[4 * c + 2 * r + 1];
      const int column = c * 8 + lane % 4 * 2;
      const bool inside = column < a.dim_v;
      any = any || (inside && (low != low || high != high));
      // Padded rows are zero, whatever stands in Q.
      if (written && inside) to.Pair(column, used ? prim::Pack<T>(low * inverse[r], high * inverse[r]) : 0u);
    }
    spoilt[r] = any && used;
    if (a.lse != nullptr && lane % 4 == 0 && written) {
      float* const lse =
          static_cast<float*>(a.lse) + QueryOffset(a.lse_strides, a, tile.s, tile.Head(at), tile.Query(at));
      *lse = sum == 0.0f || !used ? kMinusInfinity : (state.largest[r] * p.exponent_scale + prim::Log2(sum)) * kLn2;
    }
  }
  const uint32_t spoilt_lanes[2] = {prim::Ballot(spoilt[0]), prim::Ballot(spoilt[1])};
  if ((spoilt_lanes[0] | spoilt_lanes[1]) == 0) return;
  prim::SyncWarp();  // a row that is made again is written over what other lanes wrote
  SAGE_NO_UNROLL
  for (int again = 0; again < 16; ++again) {  // of the warp's rows
    const uint32_t owner = static_cast<uint32_t>(again) % 8 * 4;
    const bool first = again < 8;
    if (((first ? spoilt_lanes[0] : spoilt_lanes[1]) >> owner & 0xf) == 0) continue;
    const float largest = prim::Shuffle(first ? state.largest[0] : state.largest[1], owner);
    const float share = prim::Shuffle(first ? inverse[0] : inverse[1], owner);
    MakeRowAgain<S>(p, tile, slab, row - lane / 4 + again, largest, share, lane);
  }
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_OUTPUT_H_
