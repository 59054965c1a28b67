// attention_flash.cc: blocked attention by online softmax: a worker's scratch does not grow with the sequence.
//
// Key tiles in order; a row's output is rescaled when its maximum has moved, by exactly 1 when it has not, so that a
// tile in which a row sees nothing leaves its bits alone.
#include <algorithm>
#include <atomic>

#include "attention_tile.h"

namespace sage::cpu {
namespace {

// next: the tile of keys that follows.
template <class T>
void Step(QueryTile<T>& tile, int64_t row_group, const KeyTile& keys, const KeyTile& next) {
  bool partly = false;
  if (tile.FewRows()) {
    LaneRange lanes = tile.GroupLanes(keys, 0, tile.rows());
    if (lanes.begin == lanes.end) return;
    tile.DotsInPlace(keys, next, lanes);
    tile.Online(keys, 0, tile.rows(), lanes, tile.scores(), &partly);
    if (partly) lanes.uniform = false;
    return tile.AccumulateFew(keys, lanes, tile.scores());
  }
  tile.LoadKeys(keys, next);
  tile.LoadValues(keys);
  for (int64_t row = 0; row < tile.rows(); row += row_group) {
    const int64_t count = std::min(row_group, tile.rows() - row);
    if (!tile.Kept(keys, row, count)) continue;
    LaneRange lanes = tile.GroupLanes(keys, row, count);
    if (lanes.begin == lanes.end) continue;
    tile.Dots(row, count, lanes.begin, lanes.end, false, tile.scores());
    partly = false;
    tile.Online(keys, row, count, lanes, tile.scores(), &partly);
    if (partly) lanes.uniform = false;
    tile.Accumulate(keys, row, count, lanes, tile.scores());
  }
}

// The keys of [begin, end) that the tile sees, chunk after chunk. False where the run was cancelled.
template <class T>
bool Keys(AttentionCall& call, QueryTile<T>& tile, int64_t row_group, int64_t begin, int64_t end) {
  const int64_t length = call.design.tile_keys, chunk = call.design.chunk_keys;
  const int64_t from = std::max(begin, tile.first_key() / length * length), to = std::min(end, tile.last_key());
  const int64_t in_use = std::max(std::min(end, tile.sequence().k_used) - begin, int64_t{0});
  int64_t computed = 0;
  for (int64_t first = from; first < to; first += length) {
    if (first % chunk == 0 && first > from) tile.EndChunk();
    const KeyTile keys{first, std::min(length, to - first)};
    if (!tile.Kept(keys, 0, tile.rows())) continue;
    if (call.Cancelled()) return false;
    ++computed;
    const KeyTile next{first + length, std::max(std::min(length, to - first - length), int64_t{0})};
    Step(tile, row_group, keys, next);
  }
  tile.MergeChunks();
  call.CountTiles(computed, (in_use + length - 1) / length - computed);
  return true;
}

// One chunk of a query tile that is split. Whoever does the last one merges them, in order.
template <class T>
void Chunk(AttentionCall& call, QueryTile<T>& tile, int64_t row_group, int64_t query_tile, int64_t chunk) {
  const AttentionDesign& design = call.design;
  const auto partial = [&](int64_t i) {
    return call.partials + static_cast<uint64_t>(query_tile * call.chunks + i) * call.partial_bytes;
  };
  tile.Begin(query_tile);
  if (!Keys(call, tile, row_group, chunk * design.chunk_keys, (chunk + 1) * design.chunk_keys)) return;
  tile.StorePartial(partial(chunk));
  const std::atomic_ref<int64_t> done(call.chunks_done[query_tile]);
  if (done.fetch_add(1, std::memory_order_acq_rel) + 1 < call.chunks) return;
  tile.Clear();
  for (int64_t i = 0; i < call.chunks; ++i) tile.MergePartial(partial(i));
  tile.Store();
}

}  // namespace

template <class T>
void RunFlash(AttentionCall& call, const AttentionKernels<T>& kernels, int64_t begin, int64_t end, char* scratch) {
  QueryTile<T> tile(call, kernels, scratch);
  const KernelScope<T> scope(kernels);
  for (int64_t task = begin; task < end; ++task) {
    if (call.chunks > 1) {
      Chunk(call, tile, kernels.row_group, task / call.chunks, task % call.chunks);
      if (call.Cancelled()) return;
      continue;
    }
    tile.Begin(task);
    if (!Keys(call, tile, kernels.row_group, 0, tile.sequence().k_used)) return;
    tile.Store();
  }
}

template void RunFlash(AttentionCall&, const AttentionKernels<float>&, int64_t, int64_t, char*);
template void RunFlash(AttentionCall&, const AttentionKernels<double>&, int64_t, int64_t, char*);

}  // namespace sage::cpu
