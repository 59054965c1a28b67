// product_finish.h: scales, bias, activation and the last rounding of a product that a library has made: where it has
// no such epilogue. x of the arguments is the product, [batch,m,n] by its own strides, f64, f32 or i32; it may be y
// itself.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_FINISH_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_FINISH_H_

#include "products/product_numbers.h"

namespace sage::cuda {

constexpr int32_t kFinishThreads = 256;

inline int64_t FinishBlocks(const ProductArguments& a) {
  return (int64_t{a.batch} * a.m * a.n + kFinishThreads - 1) / kFinishThreads;
}

// N: float of an f32 product; else double, which holds the sums of 8-bit integers exactly.
template <class N>
SAGE_DEVICE void FinishProduct(const ProductArguments& a) {
  const int64_t element = static_cast<int64_t>(prim::BlockX()) * kFinishThreads + prim::ThreadX();
  const int64_t rows = element / a.n;
  if (rows / a.m >= a.batch) return;
  const auto b = static_cast<int32_t>(rows / a.m);
  const auto row = static_cast<int32_t>(rows % a.m), column = static_cast<int32_t>(element % a.n);
  const ProductOffsets offsets = OffsetsOf(a, b);
  const N sum = LoadNumber<N>(a.x_type, a.x, offsets.x + row * a.x_row + column * a.x_column);
  FinishElement<N>(a, b, offsets.y, row, column, sum);
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_FINISH_H_
