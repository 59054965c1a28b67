// attention_hopper_tiles.h: the tile of 128 queries that a block works on, in which order tiles are taken, and which
// keys its rows see.
//
// Order: heads are taken in sections whose K and V fit the L2 cache together; within a section the last queries come
// first, for under a causal mask they see most keys, and what takes longest must not be begun last. Heads are
// innermost: the query heads of one K head run at the same time.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_

#include "attention_hopper_parameters.h"
#include "primitives_hopper.h"

namespace sage::cuda::hopper {

constexpr int kTileRows = 128;  // queries of a block
constexpr int kGroupRows = 64;  // queries of a warpgroup, which is what wgmma makes of one
constexpr int kConsumers = 2;   // warpgroups that compute
constexpr int kThreads = 384;   // one warpgroup that copies, two that compute
constexpr int kGroupThreads = 128;
constexpr int kConsumerWarps = kConsumers * 4;

SAGE_DEVICE int Least(int a, int b) { return a < b ? a : b; }
SAGE_DEVICE int Greatest(int a, int b) { return a > b ? a : b; }
SAGE_DEVICE int Within(int low, int x, int high) { return Least(Greatest(low, x), high); }

struct Tile {
  int m, head, batch;
  int q_begin, q_rows;  // where the sequence's rows begin in Q and O, and how many there are
  int q_used, kv_used;  // lengths in use
  int k_begin;          // where its rows begin in packed K and V
  int shift;            // query i stands at position i + shift among the keys

  SAGE_DEVICE int first_row() const { return m * kTileRows; }
};

// The keys [begin, end) that a row sees.
struct Span {
  int begin, end;
};
SAGE_DEVICE Span VisibleTo(const HopperParameters& p, const Tile& tile, int row) {
  const int position = row + tile.shift;
  return {Greatest(0, position - p.window_left), Least(tile.kv_used, position + p.window_right + 1)};
}

// Lengths and starts are the caller's data: whatever they hold, rows stay within the tensors.
SAGE_DEVICE Tile TileAt(const HopperParameters& p, int index) {
  Tile tile;
  const int heads = p.heads_q * p.batch;
  const int section = index / (p.heads_per_section * p.tiles_m);
  const int first = section * p.heads_per_section;
  const int in_section = Least(p.heads_per_section, heads - first);
  const int rest = index - first * p.tiles_m;
  tile.m = p.tiles_m - 1 - rest / in_section;
  const int line = first + rest % in_section;
  tile.head = line % p.heads_q;
  tile.batch = line / p.heads_q;
  tile.q_begin = 0, tile.q_rows = p.seq_q;
  if (p.starts_q != nullptr) {
    tile.q_begin = Within(0, p.starts_q[tile.batch], p.seq_q);
    tile.q_rows = Within(0, p.starts_q[tile.batch + 1] - tile.q_begin, p.seq_q - tile.q_begin);
  }
  int kv_rows = p.seq_kv;
  tile.k_begin = 0;
  if (p.starts_k != nullptr) {
    tile.k_begin = Within(0, p.starts_k[tile.batch], p.seq_kv);
    kv_rows = Within(0, p.starts_k[tile.batch + 1] - tile.k_begin, p.seq_kv - tile.k_begin);
  }
  tile.q_used = p.used_q == nullptr ? tile.q_rows : Within(0, p.used_q[tile.batch], tile.q_rows);
  tile.kv_used = kv_rows;
  if (p.used_k != nullptr) {
    const int appended = p.appended < 0 ? tile.q_rows : p.appended;
    tile.kv_used = Within(0, Within(0, p.used_k[tile.batch], kv_rows) + appended, kv_rows);
  }
  tile.shift = p.bottom_right ? tile.kv_used - tile.q_used : 0;
  return tile;
}

// The tiles of `keys` keys that some query of the tile sees: [begin, end).
SAGE_DEVICE Span BlocksOf(const HopperParameters& p, const Tile& tile, int keys) {
  const int last = Least(tile.first_row() + kTileRows, tile.q_used) - 1;
  if (last < tile.first_row()) return {0, 0};
  const int begin = VisibleTo(p, tile, tile.first_row()).begin / keys;
  const int end = (Greatest(0, VisibleTo(p, tile, last).end) + keys - 1) / keys;
  return {begin, Greatest(begin, end)};
}

// Whether some row of the 64 from `row` on may not see some key of [key, key + keys).
SAGE_DEVICE bool OnAnEdge(const HopperParameters& p, const Tile& tile, int row, int key, int keys) {
  return key + keys > VisibleTo(p, tile, row).end || key < VisibleTo(p, tile, row + kGroupRows - 1).begin;
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_
