// product.h: one LINEAR or MATMUL as every kernel of ours takes it: y = fn(x w^T * scales + bias), batched, any
// strides.
//
// Both kinds are the same here: MATMUL is LINEAR whose W has a batch, and rows of LINEAR that no single stride joins
// are a batch in which W repeats (stride 0). By value to the kernel.
//
// What the host must have seen to: sizes and strides fit the operands; pointers are multiples of their elements' size.
#ifndef SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_H_
#define SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_H_

#include <cstdint>

namespace sage::cuda {

enum class ProductType : uint32_t { kF64, kF32, kF16, kBf16, kI32, kI16, kI8, kE4m3, kE5m2 };

constexpr int32_t kProductBatchAxes = 7;

// One axis of the batch: its length, and the strides of each operand, in elements.
struct ProductAxis {
  int32_t size = 1;
  int64_t x = 0, w = 0, y = 0;
};

struct ProductArguments {
  const void *x = nullptr, *w = nullptr;               // [batch,m,k], [batch,n,k]
  void* y = nullptr;                                   // [batch,m,n]
  const void* bias = nullptr;                          // [n] (optional)
  const float *scale_x = nullptr, *scale_w = nullptr;  // [batch*m] and [n], or one with stride 0 (optional)
  int64_t x_row = 0, x_column = 1, w_row = 0, w_column = 1, y_row = 0, y_column = 1;
  int64_t bias_stride = 1, scale_x_stride = 0, scale_w_stride = 0;
  ProductAxis axes[kProductBatchAxes];
  int32_t batch_axes = 0;  // in use; the last varies fastest
  int32_t batch = 1;       // product of their lengths
  int32_t m = 0, n = 0, k = 0;
  ProductType x_type = ProductType::kF32, w_type = ProductType::kF32, y_type = ProductType::kF32,
              bias_type = ProductType::kF32;
  uint32_t activation = 0;  // SAGE_FN_*, not ELU
  bool dependent = false;   // of the kernels for few rows: launched while the grid before it ends; w is a constant
};

constexpr uint32_t SizeOf(ProductType type) {
  switch (type) {
    case ProductType::kF64:
      return 8;
    case ProductType::kF32:
    case ProductType::kI32:
      return 4;
    case ProductType::kF16:
    case ProductType::kBf16:
    case ProductType::kI16:
      return 2;
    default:
      return 1;
  }
}
constexpr bool IsHalf(ProductType type) { return type == ProductType::kF16 || type == ProductType::kBf16; }
constexpr bool IsInteger(ProductType type) {
  return type == ProductType::kI32 || type == ProductType::kI16 || type == ProductType::kI8;
}

// What sums are kept in: f64 where any operand is, 64-bit integers where both factors are integers, which is exact,
// else f32.
enum class ProductSum : uint32_t { kF64, kF32, kI64 };
constexpr ProductSum SumOf(const ProductArguments& a) {
  if (IsInteger(a.x_type) && IsInteger(a.w_type)) return ProductSum::kI64;
  const bool wide = a.x_type == ProductType::kF64 || a.w_type == ProductType::kF64 || a.y_type == ProductType::kF64 ||
                    (a.bias != nullptr && a.bias_type == ProductType::kF64);
  return wide ? ProductSum::kF64 : ProductSum::kF32;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_H_
