// attention_portable_walk.h: which tiles of keys a block of the tensor core kernels walks, and where a thread stands in
// its tile. For every kernel whose queries are packed as in attention_portable_tile.h.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_WALK_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_WALK_H_

#include "attention_portable_tile.h"

namespace sage::cuda {

// Which keys a tile of queries has to look at, in tiles of keys: last down to first.
struct KeyTiles {
  int32_t first, last;
  int32_t first_query, last_query;  // of those in use
};

template <class Tile>
SAGE_DEVICE KeyTiles KeyTilesOf(const PortableArguments& p, const Sequence& s, int32_t first_row) {
  KeyTiles k{};
  k.first_query = first_row / p.group;
  k.last_query = Least((first_row + Tile::kRows - 1) / p.group, s.q_len - 1);
  const int32_t first = Most(0, k.first_query + s.shift - s.left);
  const int32_t end = Least(s.kv_len, k.last_query + s.shift + s.right + 1);
  k.first = first / Tile::kKeys;
  k.last = k.last_query < k.first_query || end <= first ? k.first - 1 : (end - 1) / Tile::kKeys;
  return k;
}

// The tile of keys at or before n that the block mask leaves anything of; by the whole block.
template <class Tile>
SAGE_DEVICE int32_t KeptTile(const PortableArguments& p, int32_t b, int32_t first_head, int32_t first_row, int32_t n) {
  const AttentionArguments& a = p.a;
  if (a.block_mask == nullptr) return n;
  const Sequence s = ReadSequence(a, b);
  const KeyTiles k = KeyTilesOf<Tile>(p, s, first_row);
  SAGE_NO_UNROLL
  for (; n >= k.first; --n) {
    const int32_t row0 = k.first_query / a.mask_block_q, rows = k.last_query / a.mask_block_q - row0 + 1;
    const int32_t column0 = n * Tile::kKeys / a.mask_block_kv;
    const int32_t columns = Least((n + 1) * Tile::kKeys, s.kv_len) - 1;
    const int32_t width = columns / a.mask_block_kv - column0 + 1;
    bool kept = false;
    SAGE_NO_UNROLL
    for (int32_t at = static_cast<int32_t>(prim::ThreadX()); at < rows * width * p.group; at += Tile::kThreads)
      kept |= TileKept(a, s.b, first_head + at / (rows * width), row0 + at / width % rows, column0 + at % width);
    if (prim::SyncThreadsOr(kept)) break;
  }
  return n;
}

// Where a thread is in its tile. Asked for at each step: kept, what follows from it would take the accumulators' room.
struct ThreadPlace {
  int32_t lane, warp_row;
};
template <class Tile>
SAGE_DEVICE ThreadPlace Place() {
  const int32_t thread = prim::Fresh(static_cast<int32_t>(prim::ThreadX()));
  return {thread % 32, thread / 32 * 16 * Tile::kRowTiles};
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_WALK_H_
