// attention_int8.h: attention whose Q K^T is of 8-bit integers (mma m16n8k32, twice the rate of 16 bits), for every
// target from sm_80 on. After SageAttention (arXiv 2410.02367, 2411.10958): K less its mean, scales by the thread, P V
// in the operands' own 16 bits. Codes and scales come from attention_int8_quantise.h; all else is the portable kernel.
//
// A thread's products have one scale, which goes into the exponent. What adds to a score or bends it (softcap, bias,
// ALiBi) needs the score itself: there the row's product with the mean of K is added back first. Without any of those
// it is added to LSE at the end. Rows that come out as not finite are made again from the operands by the plain
// kernel's row, LSE too, so that a NaN or an infinity reaches the rows that see it and no other.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_INT8_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_INT8_H_

#include "attention_int8_quantise.h"
#include "attention_portable_output.h"
#include "attention_portable_product.h"
#include "attention_softmax.h"

namespace sage::cuda {

// What the products of a row are short of, as an exponent of 2.
struct RowShifts {
  static constexpr bool kShifts = true;
  const float* shifts;  // of the tile's rows; null: nothing
  float to_log2;
  SAGE_DEVICE float operator()(int32_t row) const { return shifts == nullptr ? 0.0f : shifts[row] * to_log2; }
};

// Sums of codes become dot products. shifts: of the tile's rows; row: that of fragment 0.
template <int32_t kRowTiles, int32_t kKeyTiles>
SAGE_DEVICE void RestoreProducts(float scale, const float* shifts, int32_t row, int32_t rows_in_use,
                                 ScoreFragments<kRowTiles, kKeyTiles>& scores) {
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) {
    SAGE_UNROLL
    for (int32_t half = 0; half < 2; ++half) {
      const int32_t at = row + 16 * t + 8 * half;
      const float shift = at < rows_in_use ? shifts[at] : 0.0f;
      SAGE_UNROLL
      for (int32_t n = 0; n < kKeyTiles; ++n) {
        SAGE_UNROLL
        for (int32_t e = 2 * half; e < 2 * half + 2; ++e) scores[t][n][e] = prim::Fma(scores[t][n][e], scale, shift);
      }
    }
  }
}

template <class T, int32_t kDimQk, int32_t kDimV, bool kPaged>
SAGE_DEVICE void AttendInt8(const Int8Arguments& x) {
  using Tile = Int8Tile<kDimQk, kDimV>;
  constexpr int32_t kRowTiles = Tile::kRowTiles, kKeyTiles = Tile::kKeys / 8, kColumnTiles = kDimV / 8;
  const PortableArguments& p = x.p;
  const AttentionArguments& a = p.a;

  // --- which tile this is, as in the portable kernel; where its codes are --------------------------------------------
  const int32_t block = static_cast<int32_t>(prim::BlockX()), groups = a.heads_q / p.group;
  const int32_t first_row = (p.tiles - 1 - block % p.tiles) * Tile::kRows;
  const int32_t group = block / p.tiles % groups, first_head = group * p.group;
  const Sequence s = ReadSequence(a, block / p.tiles / groups);
  if (first_row / p.group >= s.q_rows) return;
  const int32_t head_k = first_head / (a.heads_q / a.heads_k), head_v = first_head / (a.heads_q / a.heads_v);
  const KeyTiles keys = KeyTilesOf<Tile>(p, s, first_row);
  const int64_t q_block = int64_t{group} * x.q_blocks + FirstQueryBlock(x, s) + first_row / kInt8Rows;
  const int64_t k_block = int64_t{head_k} * x.k_blocks + FirstKeyBlock(x, s);

  const uint32_t shared_q = prim::SharedAddress(prim::Shared());
  const uint32_t shared_k = shared_q + Tile::kQBytes, shared_v = shared_k + Tile::kKBytes;
  const auto load_k = [&](int32_t n) {
    LoadCodes<kDimQk, Tile::kKeys, Tile::kThreads>(
        shared_k, x.k_codes + (k_block * kInt8Rows + int64_t{n} * Tile::kKeys) * kDimQk);
  };
  const auto load_v = [&](int32_t n) {
    LoadTile<T, kDimV, Tile::kKeys, Tile::kThreads>(
        shared_v, a.v, a.v_strides.column, a.dim_v, p.v_vectors, [&](int32_t row) {
          const int32_t j = n * Tile::kKeys + row;
          return j < s.kv_len ? KeyOffset<kPaged>(a.v_strides, a, s, head_v, j) : kNoPage;
        });
  };

  float out[kRowTiles][kColumnTiles][4] = {};
  float largest[kRowTiles][2], sum[kRowTiles][2] = {};
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) largest[t][0] = largest[t][1] = -kInfinity;
  const bool modified = HasModifiers(a), masked = HasMask(a);
  const float scale_log2 = static_cast<float>(a.scale) * kLog2E;
  // Of this thread's rows: from a product of codes, with the key's scale, to the dot product or to the exponent.
  const auto [first_lane, first_warp_row] = Place<Tile>();
  const float q_scale =
      x.q_scales[q_block * Tile::kQueryScales + first_warp_row / (16 * kRowTiles) * 8 + first_lane / 4] *
      (modified ? 1.0f : scale_log2);

  // Keys that every row of the tile sees, as far as lengths and positions go.
  const int32_t first_for_all = keys.last_query + s.shift - s.left;
  const int32_t last_for_all = Least(s.kv_len - 1, keys.first_query + s.shift + s.right);

  int32_t n = KeptTile<Tile>(p, s.b, first_head, first_row, keys.last);
  if (n >= keys.first) {  // else no row of the tile need be in use, and nobody wrote its codes
    LoadCodes<kDimQk, Tile::kRows, Tile::kThreads>(shared_q, x.q_codes + q_block * kInt8Rows * kDimQk);
    load_k(n);
  }
  prim::CopyAsyncCommit();

  SAGE_NO_UNROLL
  while (n >= keys.first) {
    int32_t products[kRowTiles][kKeyTiles][4] = {};
    prim::CopyAsyncWait<0>();  // K, and Q at first
    prim::SyncThreads();
    load_v(n);
    prim::CopyAsyncCommit();

    const ThreadPlace place = Place<Tile>();
    const float scale = q_scale * x.k_scales[k_block * Tile::kKeyScales + int64_t{n} * kInt8KeyGroups + place.lane % 4];
    MultiplyKeys<Tile, kDimQk>(
        shared_q, shared_k, products,
        [](int32_t(&c)[4], const uint32_t(&q)[4], uint32_t k0, uint32_t k1) { prim::Mma16832(c, q, k0, k1); });

    const int32_t next = KeptTile<Tile>(p, s.b, first_head, first_row, n - 1);
    prim::CopyAsyncWait<0>();  // V
    prim::SyncThreads();       // and everybody is done with K
    if (next >= keys.first) load_k(next);
    prim::CopyAsyncCommit();

    // --- sums of codes to weights ------------------------------------------------------------------------------------
    float scores[kRowTiles][kKeyTiles][4];
    SAGE_UNROLL
    for (int32_t t = 0; t < kRowTiles; ++t) {
      SAGE_UNROLL
      for (int32_t i = 0; i < kKeyTiles; ++i) {
        SAGE_UNROLL
        for (int32_t e = 0; e < 4; ++e) scores[t][i][e] = static_cast<float>(products[t][i][e]);
      }
    }
    // A score that is masked is -inf, which a factor of 0 would make NaN. A factor that is none has to stay one, and
    // infinity is none: it would take scores that are not far apart for it.
    float to_log2 = scale < kLeastScale ? kLeastScale : prim::Fma(scale, 0.0f, scale);
    const int32_t tile_row = place.warp_row + place.lane / 4, thread_row = first_row + tile_row;
    const int32_t first_key = n * Tile::kKeys, thread_key = first_key + 2 * (place.lane % 4);
    const bool edge = first_key + Tile::kKeys - 1 > last_for_all || first_key < first_for_all;
    if (modified || masked || edge) {
      const Sequence again = ReadSequence(a, prim::Fresh(s.b));
      if (scale * 0.0f != 0.0f) {  // no scale: in the scores, where masks take it away
        SAGE_UNROLL
        for (int32_t t = 0; t < kRowTiles; ++t) {
          SAGE_UNROLL
          for (int32_t i = 0; i < kKeyTiles; ++i) {
            SAGE_UNROLL
            for (int32_t e = 0; e < 4; ++e) scores[t][i][e] = __builtin_nanf("");
          }
        }
        to_log2 = 1;
      }
      if (modified) {
        RestoreProducts<kRowTiles, kKeyTiles>(scale, x.q_shifts + q_block * kInt8Rows, tile_row,
                                              again.q_len * p.group - first_row, scores);
        ModifyScores<T, kRowTiles, kKeyTiles>(p, again, first_head, thread_row, thread_key, scores);
        to_log2 = kLog2E;
      }
      if (masked || edge) MaskScores<kRowTiles, kKeyTiles>(p, again, first_head, thread_row, thread_key, scores);
    }
    WeighScores<kRowTiles, kKeyTiles, kColumnTiles>(to_log2, scores, largest, sum, out);
    AddValues<T, kDimV, kRowTiles, kKeyTiles>(shared_v, Place<Tile>().lane, scores, out);
    n = next;
  }
  prim::CopyAsyncWait<0>();  // an empty group, where there was no key

  WriteRows<T, Tile, kDimV>(p, s.b, first_head, first_row, largest, sum, out,
                            RowShifts{modified ? nullptr : x.q_shifts + q_block * kInt8Rows, scale_log2});
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_INT8_H_
