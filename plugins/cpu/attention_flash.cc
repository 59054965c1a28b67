// attention_flash.cc: blocked attention by online softmax: scratch does not grow with the sequence.
//
// Key tiles in order; a row's output is rescaled when its maximum has moved, by exactly 1 when it has not, so that a
// tile in which a row sees nothing leaves its bits alone.
#include <algorithm>
#include <limits>

#include "attention_tile.h"

namespace sage::cpu {
namespace {

template <class T>
void Group(QueryTile<T>& tile, const AttentionKernels<T>& kernels, int64_t score_stride, const KeyTile& keys,
           int64_t row, int64_t count) {
  LaneRange lanes = tile.GroupLanes(keys, row, count);
  if (lanes.begin == lanes.end) return;
  T* scores = tile.scores();
  tile.Dots(row, count, lanes.begin, lanes.end, scores);
  bool partly = false;
  for (int64_t r = row; r < row + count; ++r) {
    T* line = scores + (r - row) * score_stride;
    const T before = tile.maximum(r);
    const T best = tile.Prepare(keys, r, lanes.begin, lanes.end, false, line, &partly);
    const T after = best > before ? best : before;
    const bool first = before == -std::numeric_limits<T>::infinity();  // nothing to rescale yet
    tile.alpha(r) = after == before ? T(1) : first ? T(0) : kernels.exp(before - after);
    tile.maximum(r) = after;
    const T sum = kernels.exponentiate(after, lanes.begin, lanes.end, line);
    tile.sum(r) = tile.sum(r) * tile.alpha(r) + sum;
  }
  if (partly) lanes.uniform = false;
  tile.Accumulate(keys, row, count, lanes, scores);
}

}  // namespace

template <class T>
void RunFlash(AttentionCall& call, const AttentionKernels<T>& kernels, int64_t begin, int64_t end, char* scratch) {
  QueryTile<T> tile(call, kernels, scratch);
  const int64_t length = call.design.tile_keys, stride = call.design.score_stride;
  for (int64_t task = begin; task < end; ++task) {
    tile.Begin(task);
    for (int64_t first = tile.first_key() / length * length; first < tile.last_key(); first += length) {
      const KeyTile keys{first, std::min(length, tile.last_key() - first)};
      if (!tile.Kept(keys)) continue;
      if (call.Cancelled()) return;
      tile.LoadKeys(keys);
      tile.LoadValues(keys);
      for (int64_t row = 0; row < tile.rows(); row += kernels.row_group)
        Group(tile, kernels, stride, keys, row, std::min<int64_t>(kernels.row_group, tile.rows() - row));
    }
    tile.Store();
  }
}

template void RunFlash(AttentionCall&, const AttentionKernels<float>&, int64_t, int64_t, char*);
template void RunFlash(AttentionCall&, const AttentionKernels<double>&, int64_t, int64_t, char*);

}  // namespace sage::cpu
