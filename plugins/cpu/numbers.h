// numbers.h: one element of any dtype, read from and written to any byte address, for the portable paths.
//
// Baseline code: files compiled for an instruction set must not include it (an inline function compiled there could be
// the one that the linker keeps). Narrowing rounds once, to nearest even; integers saturate, a NaN becomes 0.
#ifndef SAGE_PLUGINS_CPU_NUMBERS_H_
#define SAGE_PLUGINS_CPU_NUMBERS_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "sage/types.h"

namespace sage::cpu {

template <class T>
inline T ReadAs(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
inline void WriteAs(void* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

inline float Bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

inline float F16ToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float tiny = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(tiny));
}

// To float, to odd: a second rounding, to a narrower type, then gives what one rounding would have given.
inline float ToOdd(double value) {
  const float nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) == value || value != value) return nearest;
  uint32_t bits = std::bit_cast<uint32_t>(nearest);
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(value)) bits -= 1;
  return std::bit_cast<float>(bits | 1u);
}

inline uint16_t DoubleToBf16(double value) {
  const uint32_t bits = std::bit_cast<uint32_t>(ToOdd(value));
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline uint16_t DoubleToF16(double value) {
  const uint32_t bits = std::bit_cast<uint32_t>(ToOdd(value));
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x1ffu));
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65536 and more
  if (magnitude >= 0x38800000u) {                                              // normal: from 2^-14
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
  }
  // Below the normal range: a float so aligned that its last bit is the result's.
  const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
  return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(aligned) - 0x3f000000u));
}

// f64, f32, bf16, f16.
inline double ReadFloat(sage_dtype dtype, const void* from) {
  switch (dtype) {
    case SAGE_F64:
      return ReadAs<double>(from);
    case SAGE_F32:
      return static_cast<double>(ReadAs<float>(from));
    case SAGE_BF16:
      return static_cast<double>(Bf16ToFloat(ReadAs<uint16_t>(from)));
    default:
      return static_cast<double>(F16ToFloat(ReadAs<uint16_t>(from)));
  }
}

inline void WriteFloat(sage_dtype dtype, void* to, double value) {
  switch (dtype) {
    case SAGE_F64:
      return WriteAs(to, value);
    case SAGE_F32:
      return WriteAs(to, static_cast<float>(value));
    case SAGE_BF16:
      return WriteAs(to, DoubleToBf16(value));
    default:
      return WriteAs(to, DoubleToF16(value));
  }
}

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_NUMBERS_H_
