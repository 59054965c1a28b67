// attention_portable.h: the forward kernel for every target from sm_80 on, in bf16 and fp16, by mma.sync.
//
// FlashAttention-2's order of things. A block has one tile of packed queries (attention_portable_tile.h) and walks the
// keys from the last to the first; V's copy runs under Q K^T, the next K's under the softmax and P V. A warp owns whole
// rows, so that the softmax needs no more than its four lanes of a row; P goes from the accumulators of the first
// product into the operands of the second without leaving the registers.
//
// Template parameters are the padded dimensions, the type and the loader of keys. All else is a branch that every
// thread takes alike, and masks are looked at in tiles at an edge only.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_H_

#include "attention_portable_output.h"
#include "attention_portable_product.h"
#include "attention_softmax.h"

namespace sage::cuda {

template <class T, int32_t kDimQk, int32_t kDimV, bool kPaged>
SAGE_DEVICE void AttendPortable(const PortableArguments& p) {
  using Tile = PortableTile<kDimQk, kDimV>;
  constexpr int32_t kRowTiles = Tile::kRowTiles, kKeyTiles = Tile::kKeys / 8, kColumnTiles = kDimV / 8;
  const AttentionArguments& a = p.a;

  // --- which tile this is; the last queries first, they have the most keys where it is causal ------------------------
  const int32_t block = static_cast<int32_t>(prim::BlockX()), groups = a.heads_q / p.group;
  const int32_t first_row = (p.tiles - 1 - block % p.tiles) * Tile::kRows;
  const int32_t first_head = block / p.tiles % groups * p.group;
  const Sequence s = ReadSequence(a, block / p.tiles / groups);
  if (first_row / p.group >= s.q_rows) return;
  const int32_t head_k = first_head / (a.heads_q / a.heads_k), head_v = first_head / (a.heads_q / a.heads_v);
  const KeyTiles keys = KeyTilesOf<Tile>(p, s, first_row);

  const uint32_t shared_q = prim::SharedAddress(prim::Shared());
  const uint32_t shared_k = shared_q + Tile::kQBytes, shared_v = shared_k + Tile::kKBytes;
  const auto load_k = [&](int32_t n) {
    LoadTile<T, kDimQk, Tile::kKeys, Tile::kThreads>(
        shared_k, a.k, a.k_strides.column, a.dim_qk, p.k_vectors, [&](int32_t row) {
          const int32_t j = n * Tile::kKeys + row;
          return j < s.kv_len ? KeyOffset<kPaged>(a.k_strides, a, s, head_k, j) : kNoPage;
        });
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
  const float to_log2 = modified ? kLog2E : static_cast<float>(a.scale) * kLog2E;

  // Keys that every row of the tile sees, as far as lengths and positions go.
  const int32_t first_for_all = keys.last_query + s.shift - s.left;
  const int32_t last_for_all = Least(s.kv_len - 1, keys.first_query + s.shift + s.right);

  int32_t n = KeptTile<Tile>(p, s.b, first_head, first_row, keys.last);
  LoadTile<T, kDimQk, Tile::kRows, Tile::kThreads>(
      shared_q, a.q, a.q_strides.column, a.dim_qk, p.q_vectors, [&](int32_t row) {
        const PackedRow at = Unpack(p, first_head, first_row + row);
        return at.i < s.q_len ? QueryOffset(a.q_strides, a, s, at.h, at.i) : kNoPage;
      });
  if (n >= keys.first) load_k(n);
  prim::CopyAsyncCommit();

  SAGE_NO_UNROLL
  while (n >= keys.first) {
    float scores[kRowTiles][kKeyTiles][4] = {};
    prim::CopyAsyncWait<0>();  // K, and Q at first
    prim::SyncThreads();
    load_v(n);
    prim::CopyAsyncCommit();

    MultiplyKeys<Tile, 2 * kDimQk>(
        shared_q, shared_k, scores,
        [](float(&c)[4], const uint32_t(&q)[4], uint32_t k0, uint32_t k1) { prim::Mma16816<T>(c, q, k0, k1); });

    const int32_t next = KeptTile<Tile>(p, s.b, first_head, first_row, n - 1);
    prim::CopyAsyncWait<0>();  // V
    prim::SyncThreads();       // and everybody is done with K
    if (next >= keys.first) load_k(next);
    prim::CopyAsyncCommit();

    // --- scores to weights -------------------------------------------------------------------------------------------
    const ThreadPlace place = Place<Tile>();
    const int32_t thread_row = first_row + place.warp_row + place.lane / 4;
    const int32_t first_key = n * Tile::kKeys, thread_key = first_key + 2 * (place.lane % 4);
    const bool edge = first_key + Tile::kKeys - 1 > last_for_all || first_key < first_for_all;
    if (modified || masked || edge) {
      const Sequence again = ReadSequence(a, prim::Fresh(s.b));
      if (modified) ModifyScores<T, kRowTiles, kKeyTiles>(p, again, first_head, thread_row, thread_key, scores);
      if (masked || edge) MaskScores<kRowTiles, kKeyTiles>(p, again, first_head, thread_row, thread_key, scores);
    }
    WeighScores<kRowTiles, kKeyTiles, kColumnTiles>(to_log2, scores, largest, sum, out);
    AddValues<T, kDimV, kRowTiles, kKeyTiles>(shared_v, Place<Tile>().lane, scores, out);
    n = next;
  }
  prim::CopyAsyncWait<0>();  // Q, where there was no key

  WriteRows<T, Tile, kDimV>(p, s.b, first_head, first_row, largest, sum, out, Unshifted());
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_H_
