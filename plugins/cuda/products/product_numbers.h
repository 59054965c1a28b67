// product_numbers.h: elements of any type as numbers, the functions of LINEAR, and how a result is finished and stored:
// what the three kernels of products have in common.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_NUMBERS_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_NUMBERS_H_

#include "common/cuda/kernels/primitives.h"
#include "common/cuda/products/product.h"
#include "sage/ops.h"

namespace sage::cuda {

// A float of 8 bits; kFn: E4M3FN, whose largest exponent has numbers, too, and one NaN.
template <int kExponent, int kMantissa, bool kFn>
SAGE_DEVICE float FromSmallFloat(uint32_t bits) {
  constexpr uint32_t kTop = (1u << kExponent) - 1, kFractions = (1u << kMantissa) - 1;
  constexpr int32_t kBias = (1 << (kExponent - 1)) - 1;
  const uint32_t fraction = bits & kFractions, power = bits >> kMantissa & kTop;
  const float sign = (bits >> 7 & 1) != 0 ? -1.0f : 1.0f;
  if (power == kTop && (kFn ? fraction == kFractions : fraction != 0)) return __builtin_nanf("");
  if (power == kTop && !kFn) return sign * __builtin_huge_valf();
  // A number of kMantissa bits times a power of two that a float holds: the product is exact.
  const float whole = static_cast<float>(power == 0 ? fraction : fraction | 1u << kMantissa);
  const int32_t exponent = static_cast<int32_t>(power == 0 ? 1 : power) - kBias - kMantissa;
  const uint32_t scale = static_cast<uint32_t>(exponent + 127) << 23;
  float unit = 0;
  __builtin_memcpy(&unit, &scale, sizeof unit);
  return sign * whole * unit;
}

// Element at of an array of type.
template <class N>
SAGE_DEVICE N LoadNumber(ProductType type, const void* array, int64_t at) {
  switch (type) {
    case ProductType::kF64:
      return static_cast<N>(static_cast<const double*>(array)[at]);
    case ProductType::kF32:
      return static_cast<N>(static_cast<const float*>(array)[at]);
    case ProductType::kF16:
      return static_cast<N>(prim::ToFloat(static_cast<const F16*>(array)[at]));
    case ProductType::kBf16:
      return static_cast<N>(prim::ToFloat(static_cast<const Bf16*>(array)[at]));
    case ProductType::kI32:
      return static_cast<N>(static_cast<const int32_t*>(array)[at]);
    case ProductType::kI16:
      return static_cast<N>(static_cast<const int16_t*>(array)[at]);
    case ProductType::kI8:
      return static_cast<N>(static_cast<const int8_t*>(array)[at]);
    case ProductType::kE4m3:
      return static_cast<N>(FromSmallFloat<4, 3, true>(static_cast<const uint8_t*>(array)[at]));
    default:
      return static_cast<N>(FromSmallFloat<5, 2, false>(static_cast<const uint8_t*>(array)[at]));
  }
}

// Outputs are floats or i32.
template <class V>
SAGE_DEVICE void StoreNumber(ProductType type, void* array, int64_t at, V value) {
  switch (type) {
    case ProductType::kF64:
      static_cast<double*>(array)[at] = static_cast<double>(value);
      return;
    case ProductType::kF32:
      static_cast<float*>(array)[at] = static_cast<float>(value);
      return;
    case ProductType::kF16:
      static_cast<F16*>(array)[at] = prim::FromFloat<F16>(static_cast<float>(value));
      return;
    case ProductType::kBf16:
      static_cast<Bf16*>(array)[at] = prim::FromFloat<Bf16>(static_cast<float>(value));
      return;
    default:
      static_cast<int32_t*>(array)[at] = prim::ToInt32(static_cast<double>(value));
  }
}

// fn(x), SAGE_FN_*; a NaN stays one.
template <class V>
SAGE_DEVICE V Activate(uint32_t function, V x) {
  constexpr V kOne = 1, kHalf = static_cast<V>(0.5);
  switch (function) {
    case SAGE_FN_RELU:
      return x > 0 || x != x ? x : V{0};
    case SAGE_FN_GELU:
      return kHalf * x * prim::Erfc(-x * static_cast<V>(0.70710678118654752440));
    case SAGE_FN_GELU_TANH:
      return kHalf * x *
             (kOne + prim::Tanh(static_cast<V>(0.79788456080286535588) * (x + static_cast<V>(0.044715) * x * x * x)));
    case SAGE_FN_SILU:
      return x / (kOne + prim::Exp(-x));
    case SAGE_FN_SIGMOID:
      return kOne / (kOne + prim::Exp(-x));
    case SAGE_FN_TANH:
      return prim::Tanh(x);
    case SAGE_FN_EXP:
      return prim::Exp(x);
    case SAGE_FN_LOG:
      return prim::Log(x);
    case SAGE_FN_SQRT:
      return prim::Sqrt(x);
    case SAGE_FN_ABS:
      return x < 0 ? -x : x + V{0};  // -0 + 0 is 0
    case SAGE_FN_NEG:
      return -x;
    default:
      return x;  // SAGE_FN_IDENTITY
  }
}

// Sums of integers are finished in double, those of floats in their own type.
template <class N>
struct FinishedOf {
  using Type = double;
};
template <>
struct FinishedOf<float> {
  using Type = float;
};

// Where batch b begins, in elements of each operand.
struct ProductOffsets {
  int64_t x = 0, w = 0, y = 0;
};
SAGE_DEVICE ProductOffsets OffsetsOf(const ProductArguments& a, int32_t b) {
  ProductOffsets offsets;
  for (int32_t axis = a.batch_axes; axis-- > 0;) {
    const ProductAxis& along = a.axes[axis];
    const int64_t at = b % along.size;
    b /= along.size;
    offsets.x += at * along.x, offsets.w += at * along.w, offsets.y += at * along.y;
  }
  return offsets;
}

// y = fn(sum * scales + bias) of one element; y_at: where its batch begins.
template <class N>
SAGE_DEVICE void FinishElement(const ProductArguments& a, int32_t b, int64_t y_at, int32_t row, int32_t column, N sum) {
  using V = typename FinishedOf<N>::Type;
  V value = static_cast<V>(sum);
  if (a.scale_x != nullptr)
    value *= static_cast<V>(a.scale_x[(static_cast<int64_t>(b) * a.m + row) * a.scale_x_stride]);
  if (a.scale_w != nullptr) value *= static_cast<V>(a.scale_w[column * a.scale_w_stride]);
  if (a.bias != nullptr) value += LoadNumber<V>(a.bias_type, a.bias, column * a.bias_stride);
  if (a.activation != SAGE_FN_IDENTITY) value = Activate(a.activation, value);
  StoreNumber(a.y_type, a.y, y_at + row * a.y_row + column * a.y_column, value);
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_NUMBERS_H_
