// attention_portable_output.h: the end of a block of the tensor core kernels: its accumulators become O and LSE, with
// the sinks, and rows that came out not finite are made again by the plain kernel's row.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_OUTPUT_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_OUTPUT_H_

#include <type_traits>

#include "attention_portable_walk.h"
#include "attention_softmax.h"
#include "common/cuda/kernels/attention_plain.h"

namespace sage::cuda {

// Rows that came out not finite, once more and alone. Cold: behind calls and with nothing alive in registers.
// kAppends: keys may lie in K_NEW and V_NEW yet.
template <class T, bool kOutputsOnly, bool kAppends = false>
SAGE_DEVICE_COLD void Repair(const AttentionArguments& a, int32_t b, int32_t h, int32_t i) {
  const Sequence s = ReadSequence(a, b);
  PlainRow<T, kAppends>(a, s, h, i).Attend(kOutputsOnly);
}

// The scores were scores.
struct Unshifted {
  static constexpr bool kShifts = false;
  SAGE_DEVICE float operator()(int32_t) const { return 0; }
};

// largest, as an exponent of 2, and sum as WeighScores leaves them. shift(row of the tile): what the scores of a row
// are short of, as an exponent of 2; it changes no weight, but LSE and what a sink weighs. Where there may be one, a
// row that is made again gets its LSE again too.
template <class T, class Tile, int32_t kDimV, class Shift>
SAGE_DEVICE void WriteRows(const PortableArguments& p, int32_t b, int32_t first_head, int32_t first_row,
                           const float (&largest)[Tile::kRowTiles][2], const float (&sum)[Tile::kRowTiles][2],
                           const OutFragments<Tile::kRowTiles, kDimV / 8>& out, Shift&& shift) {
  constexpr int32_t kRowTiles = Tile::kRowTiles, kColumnTiles = kDimV / 8;
  constexpr bool kShifts = std::remove_reference_t<Shift>::kShifts;
  const AttentionArguments& a = p.a;
  const Sequence s = ReadSequence(a, prim::Fresh(b));
  const auto [lane, warp_row] = Place<Tile>();
  const int32_t thread_row = first_row + warp_row + lane / 4;
  uint32_t broken[kRowTiles][2];
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) {
    SAGE_UNROLL
    for (int32_t half = 0; half < 2; ++half) {
      const PackedRow at = Unpack(p, first_head, thread_row + 16 * t + 8 * half);
      float total = sum[t][half];
      total += prim::ShuffleXor(total, 1);
      total += prim::ShuffleXor(total, 2);
      float base = largest[t][half], factor = 1;
      float probe = 0;  // NaN as soon as one number is not finite
      if constexpr (kShifts) {
        const float added = at.i < s.q_len ? shift(warp_row + lane / 4 + 16 * t + 8 * half) : 0.0f;
        base += added, probe = added * 0.0f;
      }
      if (at.i >= s.q_len) total = 0;
      if (total == 0) base = -kInfinity, factor = 0;
      if (a.sinks != nullptr && at.i < s.q_rows) {
        const float sink = static_cast<const float*>(a.sinks)[at.h * a.sinks_stride] * kLog2E;
        const float larger = prim::Max(base, sink);
        if (larger != -kInfinity) {
          factor = prim::Exp2(base - larger);
          total = total * factor + prim::Exp2(sink - larger);
          base = larger;
        }
      }
      if (total != 0) factor /= total;
      bool bad = false;
      if (at.i < s.q_rows) {
        T* const o = static_cast<T*>(a.o) + QueryOffset(a.o_strides, a, s, at.h, at.i);
        SAGE_UNROLL
        for (int32_t i = 0; i < kColumnTiles; ++i) {
          const int32_t d = 8 * i + 2 * (lane % 4);
          float x = out[t][i][2 * half], y = out[t][i][2 * half + 1];
          x = factor == 0 ? 0.0f : x * factor, y = factor == 0 ? 0.0f : y * factor;
          probe += x * 0.0f + y * 0.0f;
          if (d >= a.dim_v) continue;
          if (p.o_pairs) {
            *reinterpret_cast<uint32_t*>(o + d) = prim::Pack<T>(x, y);
          } else {
            o[d * a.o_strides.column] = prim::FromFloat<T>(x);
            if (d + 1 < a.dim_v) o[(d + 1) * a.o_strides.column] = prim::FromFloat<T>(y);
          }
        }
        bad = p.repair && probe != 0.0f;
        if (a.lse != nullptr && lane % 4 == 0)
          static_cast<float*>(a.lse)[QueryOffset(a.lse_strides, a, s, at.h, at.i)] =
              total == 0 ? -kInfinity : (base + prim::Log2(total)) * kLn2;
      }
      broken[t][half] = prim::Ballot(bad);
    }
  }
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) {
    SAGE_UNROLL
    for (int32_t half = 0; half < 2; ++half) {
      if (broken[t][half] == 0) continue;
      prim::SyncWarp();  // what the others wrote is written over
      SAGE_NO_UNROLL
      for (int32_t row = 0; row < 8; ++row) {
        if ((broken[t][half] >> (4 * row) & 15) == 0) continue;
        const PackedRow at = Unpack(p, first_head, first_row + warp_row + 16 * t + 8 * half + row);
        Repair<T, !kShifts>(a, s.b, at.h, at.i);
      }
    }
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_OUTPUT_H_
