// attention_decode_merge.h: partial results over parts of the keys become one: of a block's four warps, and of the
// splits of a tile of rows. A row is a warp's; parts are added in the order of their keys, whoever was done first.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_DECODE_MERGE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_DECODE_MERGE_H_

#include "attention_decode_tile.h"

namespace sage::cuda {

// What a row's softmax is relative to, as a power of two, and its sum; -inf and 0: no key was seen.
struct RowSum {
  float base, total;
};

template <int32_t kDimV>
struct MergedRow {
  float out[kDimV / 32] = {};  // column lane + 32 n; not divided by the sum
  RowSum sum{-kInfinity, 0};
};

// sum_of(part): RowSum. value(part, column). By a whole warp, for parts 0 to count - 1.
template <int32_t kDimV, class SumOf, class Value>
SAGE_DEVICE MergedRow<kDimV> MergeParts(int32_t count, SumOf&& sum_of, Value&& value) {
  const int32_t lane = static_cast<int32_t>(prim::ThreadX() % 32);
  MergedRow<kDimV> row;
  SAGE_NO_UNROLL
  for (int32_t part = lane; part < count; part += 32) row.sum.base = prim::Max(row.sum.base, sum_of(part).base);
  SAGE_UNROLL
  for (uint32_t lanes = 16; lanes > 0; lanes /= 2)
    row.sum.base = prim::Max(row.sum.base, prim::ShuffleXor(row.sum.base, lanes));
  SAGE_NO_UNROLL
  for (int32_t first = 0; first < count; first += 32) {
    RowSum mine{-kInfinity, 0};
    if (first + lane < count) mine = sum_of(first + lane);
    // A part that has seen nothing has written no O that could be multiplied by 0.
    const uint32_t seen = prim::Ballot(mine.total != 0);
    const float factor = mine.total == 0 ? 0.0f : prim::Exp2(mine.base - row.sum.base);
    SAGE_UNROLL_BY_4
    for (int32_t i = 0; i < Least(32, count - first); ++i) {
      const float of_part = prim::Shuffle(factor, static_cast<uint32_t>(i));
      const float total = prim::Shuffle(mine.total, static_cast<uint32_t>(i));
      if ((seen >> i & 1) == 0) continue;
      row.sum.total = prim::Fma(of_part, total, row.sum.total);
      SAGE_UNROLL
      for (int32_t n = 0; n < kDimV / 32; ++n)
        row.out[n] = prim::Fma(of_part, value(first + i, lane + 32 * n), row.out[n]);
    }
  }
  return row;
}

// A row of O and its LSE, by a whole warp; what comes out not finite is done once more and alone.
template <class T, int32_t kDimV>
SAGE_DEVICE void WriteRow(const PortableArguments& p, const Sequence& s, const PackedRow& at,
                          const MergedRow<kDimV>& row) {
  const AttentionArguments& a = p.a;
  const int32_t lane = static_cast<int32_t>(prim::ThreadX() % 32);
  float base = row.sum.base, total = at.i < s.q_len ? row.sum.total : 0.0f, factor = 1;
  if (total == 0) base = -kInfinity, factor = 0;
  if (a.sinks != nullptr) {
    const float sink = static_cast<const float*>(a.sinks)[at.h * a.sinks_stride] * kLog2E;
    const float larger = prim::Max(base, sink);
    if (larger != -kInfinity) {
      factor = prim::Exp2(base - larger);
      total = total * factor + prim::Exp2(sink - larger);
      base = larger;
    }
  }
  if (total != 0) factor /= total;
  T* const o = static_cast<T*>(a.o) + QueryOffset(a.o_strides, a, s, at.h, at.i);
  float probe = 0;  // NaN as soon as one element is not finite
  SAGE_UNROLL
  for (int32_t n = 0; n < kDimV / 32; ++n) {
    const int32_t column = lane + 32 * n;
    const float x = factor == 0 ? 0.0f : row.out[n] * factor;
    probe += x * 0.0f;
    if (column < a.dim_v) o[column * a.o_strides.column] = prim::FromFloat<T>(x);
  }
  if (a.lse != nullptr && lane == 0)
    static_cast<float*>(a.lse)[QueryOffset(a.lse_strides, a, s, at.h, at.i)] =
        total == 0 ? -kInfinity : (base + prim::Log2(total)) * kLn2;
  if (!prim::Any(p.repair && probe != 0.0f)) return;
  prim::SyncWarp();  // what the others wrote is written over
  Repair<T, true, true>(a, s.b, at.h, at.i);
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_DECODE_MERGE_H_
