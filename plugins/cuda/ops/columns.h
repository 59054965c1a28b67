// columns.h: what is reduced across memory: REDUCE where the axes that stay are those that lie side by side, and POOL,
// whose rows lie a whole row of channels apart. A block has 32 results, one a lane, so that its reads are neighbours,
// and eight warps that take every eighth row each; their shares are joined in the order of the warps.
#ifndef SAGE_PLUGINS_CUDA_OPS_COLUMNS_H_
#define SAGE_PLUGINS_CUDA_OPS_COLUMNS_H_

#include "ops/call.h"

namespace sage::cuda {

constexpr int32_t kColumns = 32, kRowGroups = 8;

// A thread's share of a result.
template <class N>
struct Share {
  N value = 0;
  int64_t rows = 0;  // that counted; of FIRST and LAST: 1 + the row, 0 where there is none
};

// The block's shares of each lane's result joined, in warp 0. join(into, share).
template <class N, class Join>
SAGE_DEVICE void JoinRows(Share<N>& mine, Join&& join) {
  Share<N>* const all = reinterpret_cast<Share<N>*>(prim::Shared());
  all[prim::ThreadX()] = mine;
  prim::SyncThreads();
  if (prim::ThreadX() < kColumns) {
    SAGE_NO_UNROLL
    for (int32_t group = 1; group < kRowGroups; ++group) join(mine, all[group * kColumns + prim::ThreadX()]);
  }
  prim::SyncThreads();  // before the next results are put there
}

// --- REDUCE ----------------------------------------------------------------------------------------------------------
struct ColumnsCall {
  uint32_t function = 0;  // SAGE_REDUCE_*
  const void* x = nullptr;
  void* y = nullptr;
  sage_dtype dtype = 0;
  Walk<2> results;  // x, y
  Walk<1> rows;     // x
  Grid grid;
};

template <class T>
struct ColumnsKernel {
  using N = typename PlainNumber<T>::Statistics;
  static constexpr uint32_t kThreads = kColumns * kRowGroups;
  static constexpr uint32_t kSharedBytes = kThreads * sizeof(Share<N>);

  SAGE_DEVICE static N Join(uint32_t function, N a, N b) {
    if (function == SAGE_REDUCE_MAX) return Larger(a, b);
    return function == SAGE_REDUCE_MIN ? Smaller(a, b) : a + b;
  }
  SAGE_DEVICE static void Run(const ColumnsCall& c) {
    const uint32_t function = c.function;
    const auto group = static_cast<int64_t>(prim::ThreadX() / kColumns);
    for (int64_t tile = prim::BlockX(); tile * kColumns < c.results.count; tile += prim::GridX()) {
      const int64_t result = tile * kColumns + prim::ThreadX() % kColumns;
      Share<N> share;
      if (function == SAGE_REDUCE_MAX) share.value = -Infinity<N>();
      if (function == SAGE_REDUCE_MIN) share.value = Infinity<N>();
      int64_t at[2] = {0, 0};
      if (result < c.results.count) {
        OffsetsAt(c.results, result, at);
        const T* const x = static_cast<const T*>(c.x) + at[0];
        SAGE_UNROLL_BY_4
        for (int64_t row = group; row < c.rows.count; row += kRowGroups) {
          int64_t from[1];
          OffsetsAt(c.rows, row, from);
          share.value = Join(function, share.value, PlainNumber<T>::Load(x[from[0]]));
        }
      }
      JoinRows(share,
               [&](Share<N>& into, const Share<N>& other) { into.value = Join(function, into.value, other.value); });
      if (group != 0 || result >= c.results.count) continue;
      if (function == SAGE_REDUCE_MEAN) share.value /= static_cast<N>(c.rows.count);
      static_cast<T*>(c.y)[at[1]] = PlainNumber<T>::Store(share.value);
    }
  }
};

template <class F>
auto ForKernel(const ColumnsCall& c, F&& f) {
  return WithFloat(c.dtype, [&](auto type) { return f(ColumnsKernel<decltype(type)>{}); });
}

// --- POOL ------------------------------------------------------------------------------------------------------------
struct PoolCall {
  uint32_t function = 0;  // SAGE_POOL_*
  const void* x = nullptr;
  void* y = nullptr;
  const uint8_t* mask = nullptr;  // (optional)
  sage_dtype dtype = 0;
  int64_t batch = 0, sequence = 0, channels = 0, windows = 1;       // windows: of a sequence
  int64_t window = 0, step = 0, pad_begin = 0;                      // rows
  int64_t x_stride[3] = {}, y_stride[3] = {}, mask_stride[2] = {};  // y: batch, window, channel
  Grid grid;
};

template <class T>
struct PoolKernel {
  using N = typename PlainNumber<T>::Statistics;
  static constexpr uint32_t kThreads = kColumns * kRowGroups;
  static constexpr uint32_t kSharedBytes = kThreads * sizeof(Share<N>);

  // The shares of earlier rows come first or not: FIRST and LAST look at the rows' numbers.
  SAGE_DEVICE static void Join(uint32_t function, Share<N>& into, const Share<N>& other) {
    if (other.rows == 0) return;
    if (function == SAGE_POOL_FIRST || function == SAGE_POOL_LAST) {
      const bool earlier = other.rows < into.rows;
      if (into.rows == 0 || earlier == (function == SAGE_POOL_FIRST)) into = other;
      return;
    }
    if (into.rows == 0)
      into.value = other.value;
    else
      into.value = function == SAGE_POOL_MAX ? Larger(into.value, other.value) : into.value + other.value;
    into.rows += other.rows;
  }

  SAGE_DEVICE static void Run(const PoolCall& c) {
    const uint32_t function = c.function;
    const bool places = function == SAGE_POOL_FIRST || function == SAGE_POOL_LAST;
    const auto group = static_cast<int64_t>(prim::ThreadX() / kColumns);
    const int64_t tiles_of_row = (c.channels + kColumns - 1) / kColumns, tiles = tiles_of_row * c.windows * c.batch;
    for (int64_t tile = prim::BlockX(); tile < tiles; tile += prim::GridX()) {
      const int64_t channel = tile % tiles_of_row * kColumns + prim::ThreadX() % kColumns;
      const int64_t w = tile / tiles_of_row % c.windows, b = tile / tiles_of_row / c.windows;
      const int64_t start = w * c.step - c.pad_begin;
      const int64_t begin = start < 0 ? 0 : start;
      const int64_t end = start + c.window < c.sequence ? start + c.window : c.sequence;
      Share<N> share;
      for (int64_t s = begin + group; channel < c.channels && s < end; s += kRowGroups) {
        if (c.mask != nullptr && c.mask[b * c.mask_stride[0] + s * c.mask_stride[1]] == 0) continue;
        const int64_t at = b * c.x_stride[0] + s * c.x_stride[1] + channel * c.x_stride[2];
        Join(function, share, {PlainNumber<T>::Load(static_cast<const T*>(c.x)[at]), places ? s + 1 : 1});
      }
      JoinRows(share, [&](Share<N>& into, const Share<N>& other) { Join(function, into, other); });
      if (group != 0 || channel >= c.channels) continue;
      if (function == SAGE_POOL_MEAN && share.rows > 1) share.value /= static_cast<N>(share.rows);
      static_cast<T*>(c.y)[b * c.y_stride[0] + w * c.y_stride[1] + channel * c.y_stride[2]] =
          PlainNumber<T>::Store(share.value);
    }
  }
};

template <class F>
auto ForKernel(const PoolCall& c, F&& f) {
  return WithFloat(c.dtype, [&](auto type) { return f(PoolKernel<decltype(type)>{}); });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_COLUMNS_H_
