// product_plain.h: any product, in tiles of 32 x 32: every type, stride and size, in exact sums of f32, f64 or
// integers.
//
// Not fast: no tensor cores, one tile in flight. It is for what nothing else takes, and for where cuBLASLt is not.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PLAIN_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PLAIN_H_

#include "products/product_numbers.h"

namespace sage::cuda {

constexpr int32_t kPlainTile = 32, kPlainProductThreads = 256, kPlainRowsPerThread = 4;
constexpr uint32_t kPlainSharedBytes = 2 * kPlainTile * (kPlainTile + 1) * sizeof(double);

inline int64_t PlainProductBlocks(const ProductArguments& a) {
  const auto tiles = [](int32_t size) { return int64_t{(size + kPlainTile - 1) / kPlainTile}; };
  return tiles(a.m) * tiles(a.n) * a.batch;
}

SAGE_DEVICE float MultiplyAdd(float x, float w, float sum) { return prim::Fma(x, w, sum); }
SAGE_DEVICE double MultiplyAdd(double x, double w, double sum) { return prim::Fma(x, w, sum); }
SAGE_DEVICE int64_t MultiplyAdd(int64_t x, int64_t w, int64_t sum) { return x * w + sum; }

// A tile of an operand [rows,k] from row first and depth on; what lies beyond is 0. Threads go along the axis that is
// nearer in memory. A line of shared memory is one longer than the tile, so that a column of it lies in all banks.
template <class N>
SAGE_DEVICE void LoadPlainTile(ProductType type, const void* from, int64_t at, int64_t row_stride,
                               int64_t column_stride, int32_t first, int32_t rows, int32_t depth, int32_t k, N* to) {
  const auto length = [](int64_t stride) { return stride < 0 ? -stride : stride; };
  const bool along_k = length(column_stride) <= length(row_stride);
  for (auto e = static_cast<int32_t>(prim::ThreadX()); e < kPlainTile * kPlainTile; e += kPlainProductThreads) {
    const int32_t row = along_k ? e / kPlainTile : e % kPlainTile, column = along_k ? e % kPlainTile : e / kPlainTile;
    const bool inside = first + row < rows && depth + column < k;
    to[row * (kPlainTile + 1) + column] =
        inside ? LoadNumber<N>(type, from, at + (first + row) * row_stride + (depth + column) * column_stride) : N{0};
  }
}

template <class N>
SAGE_DEVICE void MultiplyPlain(const ProductArguments& a) {
  const int32_t tiles_n = (a.n + kPlainTile - 1) / kPlainTile, tiles_m = (a.m + kPlainTile - 1) / kPlainTile;
  auto block = static_cast<int32_t>(prim::BlockX());
  const int32_t first_n = block % tiles_n * kPlainTile;
  block /= tiles_n;
  const int32_t first_m = block % tiles_m * kPlainTile, b = block / tiles_m;
  const ProductOffsets offsets = OffsetsOf(a, b);
  N* const w = reinterpret_cast<N*>(prim::Shared());
  N* const x = w + kPlainTile * (kPlainTile + 1);
  const auto thread = static_cast<int32_t>(prim::ThreadX());
  const int32_t column = thread % kPlainTile, row = thread / kPlainTile * kPlainRowsPerThread;
  N sums[kPlainRowsPerThread] = {};
  for (int32_t depth = 0; depth < a.k; depth += kPlainTile) {
    LoadPlainTile(a.w_type, a.w, offsets.w, a.w_row, a.w_column, first_n, a.n, depth, a.k, w);
    LoadPlainTile(a.x_type, a.x, offsets.x, a.x_row, a.x_column, first_m, a.m, depth, a.k, x);
    prim::SyncThreads();
    // No further than K: 0 times an infinity of the other side would be NaN.
    const int32_t end = a.k - depth < kPlainTile ? a.k - depth : kPlainTile;
    for (int32_t i = 0; i < end; ++i) {
      const N factor = w[column * (kPlainTile + 1) + i];
      SAGE_UNROLL
      for (int32_t r = 0; r < kPlainRowsPerThread; ++r)
        sums[r] = MultiplyAdd(x[(row + r) * (kPlainTile + 1) + i], factor, sums[r]);
    }
    prim::SyncThreads();
  }
  SAGE_UNROLL
  for (int32_t r = 0; r < kPlainRowsPerThread; ++r) {
    if (first_m + row + r < a.m && first_n + column < a.n)
      FinishElement<N>(a, b, offsets.y, first_m + row + r, first_n + column, sums[r]);
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PLAIN_H_
