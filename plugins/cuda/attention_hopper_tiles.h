// attention_hopper_tiles.h: the tile of 128 queries that a block works on, in which order tiles are taken, and which
// keys its rows see.
//
// Order: heads are taken in sections whose K and V fit the L2 cache together; within a section the last queries come
// first, for under a causal mask they see most keys, and what takes longest must not be begun last. Heads are
// innermost: the query heads of one K head run at the same time.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_

#include "attention_hopper_parameters.h"
#include "common/cuda/kernels/attention_sequence.h"
#include "common/cuda/kernels/primitives_hopper.h"

namespace sage::cuda::hopper {

constexpr int kTileRows = 128;  // queries of a block
constexpr int kGroupRows = 64;  // queries of a warpgroup, which is what wgmma makes of one
constexpr int kConsumers = 2;   // warpgroups that compute
constexpr int kThreads = 384;   // one warpgroup that copies, two that compute
constexpr int kGroupThreads = 128;
constexpr int kConsumerWarps = kConsumers * 4;

struct Tile {
  int m, head;
  Sequence s;
  SAGE_DEVICE int first_row() const { return m * kTileRows; }
};

// The keys [begin, end) that a row sees.
struct Span {
  int begin, end;
};
SAGE_DEVICE Span VisibleTo(const Tile& tile, int row) {
  const int position = row + tile.s.shift;
  return {Most(0, position - tile.s.left), Least(tile.s.kv_len, position + tile.s.right + 1)};
}

SAGE_DEVICE Tile TileAt(const HopperParameters& p, int index) {
  const int heads = p.a.heads_q * p.a.batch;
  const int first = index / (p.heads_per_section * p.tiles_m) * p.heads_per_section;
  const int in_section = Least(p.heads_per_section, heads - first);
  const int rest = index - first * p.tiles_m;
  const int line = first + rest % in_section;
  return {p.tiles_m - 1 - rest / in_section, line % p.a.heads_q, ReadSequence(p.a, line / p.a.heads_q)};
}

// The tiles of `keys` keys that some query of the tile sees: [begin, end).
SAGE_DEVICE Span BlocksOf(const Tile& tile, int keys) {
  const int last = Least(tile.first_row() + kTileRows, tile.s.q_len) - 1;
  if (last < tile.first_row()) return {0, 0};
  const int begin = VisibleTo(tile, tile.first_row()).begin / keys;
  const int end = (Most(0, VisibleTo(tile, last).end) + keys - 1) / keys;
  return {begin, Most(begin, end)};
}

// Whether some row of the 64 from `row` on may not see some key of [key, key + keys).
SAGE_DEVICE bool OnAnEdge(const Tile& tile, int row, int key, int keys) {
  return key + keys > VisibleTo(tile, row).end || key < VisibleTo(tile, row + kGroupRows - 1).begin;
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_
