// product_skinny_plan.h: what the kernels for few rows take, and how it is cut; plain C++, for the host and the
// kernels.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_SKINNY_PLAN_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_SKINNY_PLAN_H_

#include "common/cuda/products/product.h"

namespace sage::cuda {

constexpr int32_t kSkinnyMaxRows = 8;
constexpr int32_t kSkinnyWarps = 8;                                          // of a block
constexpr uint32_t kSkinnyAlign = 16;                                        // bytes: X and W
constexpr uint32_t kSkinnySharedBytes = kSkinnyWarps * 32 * sizeof(double);  // an output a lane of every warp

// Pieces of 16 bytes of a line of W [K,N] that a block takes, and the columns they are.
constexpr int32_t kAcrossPieces = 4;
constexpr int32_t AcrossColumns(uint32_t element_bytes) {
  return kAcrossPieces * static_cast<int32_t>(kSkinnyAlign / element_bytes);
}
// The sums of every warp: of a block's columns, for all rows.
constexpr uint32_t AcrossSharedBytes(int32_t rows, uint32_t element_bytes) {
  const uint32_t sum_bytes = element_bytes == 8 ? 8 : 4;
  return kSkinnyWarps * static_cast<uint32_t>(rows * AcrossColumns(element_bytes)) * sum_bytes;
}

// Rows of W that a warp takes: X, which all warps read, is read once for all of them.
constexpr int32_t SkinnyColumns(int32_t rows) { return rows == 1 ? 1 : rows == 8 ? 4 : 2; }

// The compiled number of rows that holds m: 1, 2, 4 or 8.
constexpr int32_t SkinnyRows(int32_t m) { return m <= 1 ? 1 : m <= 2 ? 2 : m <= 4 ? 4 : 8; }

// Which of the two kernels for few rows, if any: product_skinny.h, or product_across.h. Pointers do not count.
enum class SkinnyOrder { kNone, kAlongK, kAlongN };
SkinnyOrder SkinnyOrderOf(const ProductArguments& a);

// Warps that share one row of W: 1, 2, 4 or 8, until the device is full or a lane would have no piece of it. Of n, k
// and the batch alone: the same row of X has the same bits among any others.
int32_t SkinnySplit(const ProductArguments& a, int32_t multiprocessors);

inline int64_t AcrossBlocks(const ProductArguments& a) {
  const int32_t columns = AcrossColumns(SizeOf(a.w_type));
  return int64_t{(a.n + columns - 1) / columns} * a.batch;
}
inline int64_t SkinnyBlocks(const ProductArguments& a, int32_t split) {
  const int32_t in_block = kSkinnyWarps / split * SkinnyColumns(SkinnyRows(a.m));
  return int64_t{(a.n + in_block - 1) / in_block} * a.batch;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_SKINNY_PLAN_H_
