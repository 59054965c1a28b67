// attention_hopper_tiles.h: the tile of queries that a block works on, in which order tiles are taken, and which keys
// its rows see.
//
// A line is a query head of a sequence. Where sequences are short, heads that share K and V are packed into one line:
// its rows are pairs, head h of query i at row (i << pack_shift) + h, so that few queries fill a tile.
//
// Order: lines are taken in sections whose K and V fit the L2 cache together; within a section the last queries come
// first, for under a causal mask they see most keys, and what takes longest must not be begun last. Lines are
// innermost: the query heads of one K head run at the same time.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_

#include "attention_hopper_parameters.h"
#include "common/cuda/kernels/attention_sequence.h"
#include "common/cuda/kernels/primitives_hopper.h"

namespace sage::cuda::hopper {

constexpr int kGroupRows = 64;  // of a warpgroup, which is what wgmma makes of one
constexpr int kGroupThreads = 128;

struct Tile {
  int first_row;   // of the line
  int first_head;  // of the line
  int pack_shift;
  Sequence s;

  SAGE_DEVICE int Query(int row) const { return row >> pack_shift; }
  SAGE_DEVICE int Head(int row) const { return first_head + (row & ((1 << pack_shift) - 1)); }
  SAGE_DEVICE int RowsOf(int queries) const { return queries << pack_shift; }
};

// The keys [begin, end) that a row sees.
struct Span {
  int begin, end;
};
SAGE_DEVICE Span VisibleTo(const Tile& tile, int row) {
  const int position = tile.Query(row) + tile.s.shift;
  return {Most(0, position - tile.s.left), Least(tile.s.kv_len, position + tile.s.right + 1)};
}

// index: below p.tiles. rows: of a tile.
SAGE_DEVICE Tile TileAt(const HopperParameters& p, int index, int rows) {
  const int lines = p.lines * p.a.batch;
  const int first = index / (p.lines_per_section * p.tiles_m) * p.lines_per_section;
  const int in_section = Least(p.lines_per_section, lines - first);
  const int rest = index - first * p.tiles_m;
  const int line = first + rest % in_section;
  return {(p.tiles_m - 1 - rest / in_section) * rows, line % p.lines << p.pack_shift, p.pack_shift,
          ReadSequence(p.a, line / p.lines)};
}

// The tiles of `keys` keys that some row of the tile of `rows` sees: [begin, end).
SAGE_DEVICE Span BlocksOf(const Tile& tile, int rows, int keys) {
  const int last = Least(tile.first_row + rows, tile.RowsOf(tile.s.q_len)) - 1;
  if (last < tile.first_row) return {0, 0};
  const int begin = VisibleTo(tile, tile.first_row).begin / keys;
  const int end = (Most(0, VisibleTo(tile, last).end) + keys - 1) / keys;
  return {begin, Most(begin, end)};
}

// Whether some row of the 64 from `row` on may not see some key of [key, key + keys).
SAGE_DEVICE bool OnAnEdge(const Tile& tile, int row, int key, int keys) {
  return key + keys > VisibleTo(tile, row).end || key < VisibleTo(tile, row + kGroupRows - 1).begin;
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_TILES_H_
