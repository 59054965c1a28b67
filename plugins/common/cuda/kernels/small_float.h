// small_float.h: binary floats of 8 bits as bits, and between them and float: exact one way, rounded once to nearest
// even the other. By integers alone, so that every architecture has them and the emulation is the device's text.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_SMALL_FLOAT_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_SMALL_FLOAT_H_

#include <cstring>

#include "common/cuda/kernels/number.h"

namespace sage::cuda {

// A binary float of 8 bits. finite_only: no infinity, NaN is all ones.
struct SmallFormat {
  int32_t mantissa_bits, bias;
  bool finite_only;
};
constexpr SmallFormat kFormatE4m3fn{3, 7, true}, kFormatE5m2{2, 15, false};

SAGE_DEVICE uint32_t BitsOf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
SAGE_DEVICE float FloatOf(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

SAGE_DEVICE float FromSmall(SmallFormat format, uint32_t bits) {
  const uint32_t magnitude = bits & 0x7f, sign = (bits & 0x80) << 24;
  const uint32_t infinity = format.finite_only ? 0x7f : 0x7fu >> format.mantissa_bits << format.mantissa_bits;
  if (magnitude > infinity || (format.finite_only && magnitude == infinity)) return FloatOf(sign | 0x7fc00000);
  if (magnitude == infinity) return FloatOf(sign | 0x7f800000);
  // The exponent and the mantissa moved to a float's places, and the difference of the biases multiplied in: below the
  // smallest normal number as well.
  const float value = FloatOf(sign | magnitude << (23 - format.mantissa_bits));
  return value * FloatOf(static_cast<uint32_t>(254 - format.bias) << 23);
}

SAGE_DEVICE uint8_t ToSmall(SmallFormat format, float value) {
  const uint32_t bits = BitsOf(value), sign = bits >> 24 & 0x80, magnitude = bits & 0x7fffffff;
  const uint32_t infinity = format.finite_only ? 0x7f : 0x7fu >> format.mantissa_bits << format.mantissa_bits;
  if (magnitude > 0x7f800000) return static_cast<uint8_t>(sign | 0x7f);
  if (magnitude == 0x7f800000) return static_cast<uint8_t>(sign | infinity);
  // Below the smallest normal number the last place stays where it is: more bits are dropped.
  const auto exponent = static_cast<int32_t>(magnitude >> 23) - 127;
  const int32_t least = 1 - format.bias, effective = exponent < least ? least : exponent;
  const int32_t dropped = 23 - format.mantissa_bits + (effective - exponent);
  if (dropped > 25) return static_cast<uint8_t>(sign);  // less than half of the smallest step
  const uint32_t significand = (magnitude & 0x7fffff) | 1u << 23;
  const uint32_t rest = significand & ((1u << dropped) - 1), half = 1u << (dropped - 1);
  uint32_t kept = significand >> dropped;
  if (rest > half || (rest == half && (kept & 1) != 0)) ++kept;
  // The leading one of a normal number, and a carry, add themselves to the exponent.
  const uint32_t field = (static_cast<uint32_t>(effective + format.bias - 1) << format.mantissa_bits) + kept;
  const uint32_t largest = infinity - 1;
  return static_cast<uint8_t>(sign | (field > largest ? infinity : field));
}

// Bits only, as Bf16 and F16 are.
struct F8E4m3fn {
  uint8_t bits;
};
struct F8E5m2 {
  uint8_t bits;
};

// Their bits moved to F16's places are their numbers, those of e4m3fn 2^8 times too small: exact, in a few
// instructions.
template <>
struct PlainNumber<F8E4m3fn> {
  using Statistics = float;
  static SAGE_DEVICE float Load(F8E4m3fn value) {
    const uint32_t magnitude = value.bits & 0x7f, sign = value.bits & 0x80;
    const float number = 256 * prim::ToFloat(F16{static_cast<uint16_t>(sign << 8 | magnitude << 7)});
    return magnitude == 0x7f ? FloatOf(0x7fc00000) : number;
  }
};
template <>
struct PlainNumber<F8E5m2> {
  using Statistics = float;
  static SAGE_DEVICE float Load(F8E5m2 value) { return prim::ToFloat(F16{static_cast<uint16_t>(value.bits << 8)}); }
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_SMALL_FLOAT_H_
