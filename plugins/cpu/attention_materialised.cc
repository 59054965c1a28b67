// attention_materialised.cc: whole score rows in scratch, softmax over the row, then the product with V: what WEIGHTS
// and SCORES need, and the yardstick for the blocked form. The tiles are the same; only the order of steps differs.
#include <algorithm>
#include <limits>

#include "attention_tile.h"
#include "numbers.h"

namespace sage::cpu {
namespace {

// One row of WEIGHTS or SCORES, [B,Hq,Sq,Skv].
template <class T, class Value>
void WriteRow(const AttentionCall& call, uint32_t slot, const QueryTile<T>& tile, int64_t row, int64_t first,
              int64_t count, const Value& value) {
  const sage_tensor& tensor = call.Slot(slot);
  const int64_t step = tensor.stride[3] * ElementSize(tensor.dtype);
  char* to = call.QueryRow(slot, tile.sequence(), tile.batch(), tile.Head(row), tile.Query(row)) + first * step;
  for (int64_t k = 0; k < count; ++k) WriteFloat(tensor.dtype, to + k * step, value(k));
}

template <class T>
void ScoreRows(AttentionCall& call, const AttentionKernels<T>& kernels, QueryTile<T>& tile, const KeyTile& keys) {
  const int64_t stride = call.design.score_stride, width = kernels.width;
  const int64_t padded = (keys.count + width - 1) / width * width;
  for (int64_t row = 0; row < tile.rows(); row += kernels.row_group) {
    const int64_t count = std::min<int64_t>(kernels.row_group, tile.rows() - row);
    T* lines = tile.scores() + row * stride + keys.first;
    const bool all = call.Is(SAGE_ATTN_F_SCORES_OUT);
    tile.Dots(row, count, 0, padded, all, lines);
    for (int64_t r = row; r < row + count; ++r) {
      T* line = lines + (r - row) * stride;
      bool partly = false;
      if (call.Is(SAGE_ATTN_F_SCORES_OUT)) {
        tile.Prepare(keys, r, 0, padded, true, line, &partly);
        const bool used = tile.Query(r) < tile.sequence().q_used;
        WriteRow(call, SAGE_ATTN_SCORES, tile, r, keys.first, keys.count,
                 [=](int64_t k) { return used ? static_cast<double>(line[k]) : 0.0; });
        tile.Dots(r, 1, 0, padded, false, line);
      }
      tile.maximum(r) = std::max(tile.maximum(r), tile.Prepare(keys, r, 0, padded, false, line, &partly));
    }
  }
}

template <class T>
void WriteWeights(const AttentionCall& call, const QueryTile<T>& tile, int64_t row, int64_t scored) {
  const T* line = tile.scores() + row * call.design.score_stride;
  const auto denominator = static_cast<T>(tile.Denominator(row));
  WriteRow(call, SAGE_ATTN_WEIGHTS, tile, row, 0, call.sizes.seq_kv, [=](int64_t k) {
    return k < scored && denominator != 0 ? static_cast<double>(line[k] / denominator) + 0.0 : 0.0;
  });
}

}  // namespace

template <class T>
void RunMaterialised(AttentionCall& call, const AttentionKernels<T>& kernels, int64_t begin, int64_t end,
                     char* scratch) {
  QueryTile<T> tile(call, kernels, scratch);
  const KernelScope<T> scope(kernels);
  const int64_t length = call.design.tile_keys, stride = call.design.score_stride, width = kernels.width;
  const bool scores_out = call.Is(SAGE_ATTN_F_SCORES_OUT);
  for (int64_t task = begin; task < end; ++task) {
    tile.Begin(task);
    // SCORES has every key in use, those that nobody sees too.
    const int64_t first_key = scores_out ? 0 : tile.first_key() / length * length;
    const int64_t last_key = scores_out ? tile.sequence().k_used : tile.last_key();
    const int64_t last = std::max(first_key, last_key);
    const int64_t scored = first_key + (last - first_key + width - 1) / width * width;
    const auto for_tiles = [&](auto&& visit) {
      for (int64_t first = first_key; first < last_key; first += length) {
        if (call.Cancelled()) return false;
        visit(KeyTile{first, std::min(length, last_key - first)});
      }
      return true;
    };
    for (int64_t row = 0; row < tile.rows(); ++row) std::fill_n(tile.scores() + row * stride, first_key, T(-0.0));
    const bool scored_all = for_tiles([&](const KeyTile& keys) {
      tile.LoadKeys(keys, {});
      ScoreRows(call, kernels, tile, keys);
    });
    if (!scored_all) return;
    for (int64_t row = 0; row < tile.rows(); ++row) {
      T* line = tile.scores() + row * stride;
      std::fill(line + last, line + scored, -std::numeric_limits<T>::infinity());
      tile.sum(row) = kernels.exponentiate(tile.maximum(row), first_key, scored, line);
      // A product that takes several keys together takes these behind the last one: they are whatever a tile left.
      std::fill_n(line + scored, std::min<int64_t>(kernels.value_step, stride - scored), T(-0.0));
      if (call.Is(SAGE_ATTN_F_WEIGHTS_OUT)) WriteWeights(call, tile, row, last);
    }
    const bool weighed_all = for_tiles([&](const KeyTile& keys) {
      tile.LoadValues(keys);
      for (int64_t row = 0; row < tile.rows(); row += kernels.row_group) {
        const int64_t count = std::min<int64_t>(kernels.row_group, tile.rows() - row);
        LaneRange lanes = tile.GroupLanes(keys, row, count);
        lanes.uniform = false;
        if (lanes.begin < lanes.end)
          tile.Accumulate(keys, row, count, lanes, tile.scores() + row * stride + keys.first);
      }
    });
    if (!weighed_all) return;
    const int64_t computed = (last - first_key + length - 1) / length;
    call.CountTiles(computed, (tile.sequence().k_used + length - 1) / length - computed);
    if (scores_out && last_key < call.sizes.seq_kv)
      for (int64_t row = 0; row < tile.rows(); ++row)
        WriteRow(call, SAGE_ATTN_SCORES, tile, row, last_key, call.sizes.seq_kv - last_key,
                 [](int64_t) { return 0.0; });
    tile.Store();
  }
}

template void RunMaterialised(AttentionCall&, const AttentionKernels<float>&, int64_t, int64_t, char*);
template void RunMaterialised(AttentionCall&, const AttentionKernels<double>&, int64_t, int64_t, char*);

}  // namespace sage::cpu
