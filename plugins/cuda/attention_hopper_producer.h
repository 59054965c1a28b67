// attention_hopper_producer.h: the one thread of the Hopper kernel that copies. It runs ahead of who computes as far as
// there are places: a tile's Q, then its keys from the last to the first, then the next tile's Q.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PRODUCER_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PRODUCER_H_

#include "attention_hopper_shape.h"

namespace sage::cuda::hopper {

// Rows [kKeys * block, ...) of K or V. Of a cluster each block copies its share of the rows, to the places of all.
// Pages that hold no key in use are named by a number past the last page: TMA writes zeros for them and the table is
// not read there.
template <class S>
SAGE_DEVICE void LoadKeys(const HopperParameters& p, const TensorMap& map, const Tile& tile, int head, int block,
                          uint32_t to, uint32_t full) {
  prim::MbarrierArriveExpect(full, S::kBytesKv);
  const int first = block * S::kKeys;
  if (Together<S>(p) > 1) {
    const int row = static_cast<int>(prim::ClusterRank()) * p.box_rows;
    SAGE_UNROLL
    for (int c = 0; c < S::kChunks; ++c) {
      const int32_t box[4] = {c * 64, static_cast<int>(tile.s.k_begin) + first + row, head,
                              p.a.cu_seqlens_k != nullptr ? 0 : tile.s.b};
      prim::TmaLoadMulticast(to + static_cast<uint32_t>(c) * S::kChunkBytesKv + static_cast<uint32_t>(row) * 128, map,
                             full, box, static_cast<uint16_t>((1 << p.cluster) - 1));
    }
    return;
  }
  SAGE_NO_UNROLL
  for (int row = 0; row < S::kKeys; row += p.box_rows) {
    const int key = first + row;
    int at = static_cast<int>(tile.s.k_begin) + key, batch = p.a.cu_seqlens_k != nullptr ? 0 : tile.s.b;
    if (S::kPages && p.a.block_table != nullptr) {
      const int32_t* const pages = p.a.block_table + tile.s.b * p.a.block_table_stride;
      batch = key < tile.s.kv_len ? pages[key >> p.a.page_shift] : p.a.pages;
      at = key & ((1 << p.a.page_shift) - 1);
    }
    SAGE_UNROLL
    for (int c = 0; c < S::kChunks; ++c) {
      const int32_t box[4] = {c * 64, at, head, batch};
      prim::TmaLoad(to + static_cast<uint32_t>(c) * S::kChunkBytesKv + static_cast<uint32_t>(row) * 128, map, full,
                    box);
    }
  }
}

template <class S>
SAGE_DEVICE void LoadQueries(const HopperParameters& p, const Tile& tile, uint32_t to, uint32_t full) {
  prim::MbarrierArriveExpect(full, S::kBytesQ);
  SAGE_UNROLL
  for (int c = 0; c < S::kChunks; ++c) {
    const int32_t box[5] = {c * 64, 0, static_cast<int>(tile.s.q_begin) + tile.Query(tile.first_row),
                            tile.first_head >> p.pack_shift, p.a.cu_seqlens_q != nullptr ? 0 : tile.s.b};
    prim::TmaLoad(to + static_cast<uint32_t>(c) * S::kChunkBytesQ, p.q_map, full, box);
  }
}

template <class S>
SAGE_DEVICE int NextTile(const HopperParameters& p, int index) {
  const int grid = static_cast<int>(prim::GridX() / Together<S>(p));
  if (p.next_tile == nullptr) return index + grid;
  return grid + static_cast<int>(prim::AtomicAdd(p.next_tile, 1));
}

// A place of K or V, in every block that the copy goes to.
template <class S>
SAGE_DEVICE void AwaitEmpty(const HopperParameters& p, uint32_t empty, uint32_t parity) {
  if (Together<S>(p) > 1)
    prim::MbarrierWaitCluster(empty, parity);
  else
    prim::MbarrierWait(empty, parity);
}

template <class S>
SAGE_DEVICE void Produce(const HopperParameters& p, const Places<S>& shared) {
  Cursor keys, q;
  int index = static_cast<int>(prim::BlockX() / Together<S>(p));
  SAGE_NO_UNROLL
  for (; index < p.tiles; index = NextTile<S>(p, index)) {
    const Tile tile = OwnTile<S>(p, index);
    if (tile.first_row >= tile.RowsOf(tile.s.q_rows)) continue;  // of a sequence shorter than the longest
    const Span blocks = BlocksOf(tile, S::kRows, S::kKeys);
    prim::MbarrierWait(shared.q_empty(q.stage), q.parity ^ 1);
    *shared.tile(q.stage) = index;
    LoadQueries<S>(p, tile, shared.q(q.stage), shared.q_full(q.stage));
    q.Next(QTiles<S>(p));
    const int head_k = tile.first_head / (p.a.heads_q / p.a.heads_k);
    const int head_v = tile.first_head / (p.a.heads_q / p.a.heads_v);
    SAGE_NO_UNROLL
    for (int block = blocks.end - 1; block >= blocks.begin; --block) {
      AwaitEmpty<S>(p, shared.k_empty(keys.stage), keys.parity ^ 1);
      LoadKeys<S>(p, p.k_map, tile, head_k, block, shared.k(keys.stage), shared.k_full(keys.stage));
      AwaitEmpty<S>(p, shared.v_empty(keys.stage), keys.parity ^ 1);
      LoadKeys<S>(p, p.v_map, tile, head_v, block, shared.v(keys.stage), shared.v_full(keys.stage));
      keys.Next(S::kStages);
    }
  }
  prim::MbarrierWait(shared.q_empty(q.stage), q.parity ^ 1);
  *shared.tile(q.stage) = -1;
  prim::MbarrierArrive(shared.q_full(q.stage));
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PRODUCER_H_
