// convert.h: every dtype of the ABI, read and written one element at a time as a double.
//
// Data may lie at any byte address, so everything goes through memcpy. Writing rounds once, to nearest even, and keeps
// NaN; integers saturate and take NaN as 0. A double holds every dtype exactly but 64-bit integers: they are moved as
// bytes and cast by CastElement, and no arithmetic is offered on them.
#ifndef SAGE_PLUGINS_REFERENCE_CONVERT_H_
#define SAGE_PLUGINS_REFERENCE_CONVERT_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "sage/types.h"

namespace sage::reference {

// The layout of a binary float of at most 16 bits.
struct SmallFloat {
  int exponent_bits, mantissa_bits;
  bool finite_only;  // E4M3FN: no infinity, and only the all-ones pattern is NaN
};
inline constexpr SmallFloat kF16{5, 10, false}, kBf16{8, 7, false}, kE4m3fn{4, 3, true}, kE5m2{5, 2, false};

template <class T>
T ReadRaw(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
void WriteRaw(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

inline double DecodeSmallFloat(uint32_t bits, SmallFloat format) {
  const uint32_t ones = (1u << format.mantissa_bits) - 1, top = (1u << format.exponent_bits) - 1;
  const uint32_t mantissa = bits & ones, exponent = (bits >> format.mantissa_bits) & top;
  const uint64_t sign = (bits >> (format.mantissa_bits + format.exponent_bits)) & 1;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  if (exponent == 0) {
    const double magnitude = std::ldexp(static_cast<double>(mantissa), 1 - bias - format.mantissa_bits);
    return sign != 0 ? -magnitude : magnitude;
  }
  // NaN and infinity have the same shape in a double: all exponent bits set, the mantissa moved up.
  uint64_t power = static_cast<uint64_t>(static_cast<int>(exponent) - bias + 1023);
  if (exponent == top && (!format.finite_only || mantissa == ones)) power = 0x7ff;
  const uint64_t word = sign << 63 | power << 52 | static_cast<uint64_t>(mantissa) << (52 - format.mantissa_bits);
  return ReadRaw<double>(&word);
}

// Too large a value becomes infinity, or NaN where the format has none, as IEEE rounding has it.
inline uint32_t EncodeSmallFloat(double value, SmallFloat format) {
  const uint64_t bits = ReadRaw<uint64_t>(&value);
  const uint32_t sign = static_cast<uint32_t>(bits >> 63) << (format.mantissa_bits + format.exponent_bits);
  const uint32_t top = (1u << format.exponent_bits) - 1, ones = (1u << format.mantissa_bits) - 1;
  const uint32_t quiet = format.finite_only ? ones : 1u << (format.mantissa_bits - 1);
  const uint32_t nan = sign | top << format.mantissa_bits | quiet;
  const uint32_t overflow = format.finite_only ? nan : sign | top << format.mantissa_bits;
  const int power = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
  const uint64_t fraction = bits & 0xfffffffffffffull;
  if (power == 1024) return fraction != 0 ? nan : overflow;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  // Below the smallest normal number the last place stays where it is: more of the significand is dropped.
  const int effective = power < 1 - bias ? 1 - bias : power;
  const int dropped = 52 - format.mantissa_bits + (effective - power);
  if (power == -1023 || dropped > 53) return sign;  // less than half of the smallest step
  const uint64_t significand = fraction | 1ull << 52;
  const uint64_t rest = significand & ((1ull << dropped) - 1), half = 1ull << (dropped - 1);
  uint64_t kept = significand >> dropped;
  if (rest > half || (rest == half && (kept & 1) != 0)) ++kept;
  // The leading one of a normal number adds itself to the exponent field, and so does a carry.
  const uint64_t field = (static_cast<uint64_t>(effective + bias - 1) << format.mantissa_bits) + kept;
  const uint64_t infinity = static_cast<uint64_t>(top) << format.mantissa_bits;
  const uint64_t largest = format.finite_only ? infinity + ones - 1 : infinity - 1;
  return field > largest ? overflow : sign | static_cast<uint32_t>(field);
}

// 64-bit integers above 2^53 come back rounded to nearest.
inline double Read(sage_dtype dtype, const void* at) {
  switch (dtype) {
    case SAGE_F64:
      return ReadRaw<double>(at);
    case SAGE_F32:
      return static_cast<double>(ReadRaw<float>(at));
    case SAGE_F16:
      return DecodeSmallFloat(ReadRaw<uint16_t>(at), kF16);
    case SAGE_BF16:
      return DecodeSmallFloat(ReadRaw<uint16_t>(at), kBf16);
    case SAGE_F8_E4M3FN:
      return DecodeSmallFloat(ReadRaw<uint8_t>(at), kE4m3fn);
    case SAGE_F8_E5M2:
      return DecodeSmallFloat(ReadRaw<uint8_t>(at), kE5m2);
    case SAGE_I8:
      return static_cast<double>(ReadRaw<int8_t>(at));
    case SAGE_I16:
      return static_cast<double>(ReadRaw<int16_t>(at));
    case SAGE_I32:
      return static_cast<double>(ReadRaw<int32_t>(at));
    case SAGE_I64:
      return static_cast<double>(ReadRaw<int64_t>(at));
    case SAGE_U64:
      return static_cast<double>(ReadRaw<uint64_t>(at));
    case SAGE_U8:
      return static_cast<double>(ReadRaw<uint8_t>(at));
    case SAGE_BOOL:
      return ReadRaw<uint8_t>(at) != 0 ? 1.0 : 0.0;
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

// Nearest even, saturating, NaN to 0. T is an integer type.
template <class T>
T RoundToInteger(double value) {
  if (std::isnan(value)) return 0;
  const double rounded = std::nearbyint(value);  // the rounding mode is the default one: nobody here changes it
  // The bounds of 64-bit types are not doubles; the first double past them is a power of two.
  constexpr int kBits = std::numeric_limits<T>::digits;
  if (rounded >= std::ldexp(1.0, kBits)) return std::numeric_limits<T>::max();
  if (rounded <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  return static_cast<T>(rounded);
}

// Unknown dtypes write nothing.
inline void Write(sage_dtype dtype, void* at, double value) {
  switch (dtype) {
    case SAGE_F64:
      WriteRaw(at, value);
      break;
    case SAGE_F32:
      WriteRaw(at, static_cast<float>(value));
      break;
    case SAGE_F16:
      WriteRaw(at, static_cast<uint16_t>(EncodeSmallFloat(value, kF16)));
      break;
    case SAGE_BF16:
      WriteRaw(at, static_cast<uint16_t>(EncodeSmallFloat(value, kBf16)));
      break;
    case SAGE_F8_E4M3FN:
      WriteRaw(at, static_cast<uint8_t>(EncodeSmallFloat(value, kE4m3fn)));
      break;
    case SAGE_F8_E5M2:
      WriteRaw(at, static_cast<uint8_t>(EncodeSmallFloat(value, kE5m2)));
      break;
    case SAGE_I8:
      WriteRaw(at, RoundToInteger<int8_t>(value));
      break;
    case SAGE_I16:
      WriteRaw(at, RoundToInteger<int16_t>(value));
      break;
    case SAGE_I32:
      WriteRaw(at, RoundToInteger<int32_t>(value));
      break;
    case SAGE_I64:
      WriteRaw(at, RoundToInteger<int64_t>(value));
      break;
    case SAGE_U64:
      WriteRaw(at, RoundToInteger<uint64_t>(value));
      break;
    case SAGE_U8:
      WriteRaw(at, RoundToInteger<uint8_t>(value));
      break;
    case SAGE_BOOL:
      WriteRaw(at, static_cast<uint8_t>(value != 0 ? 1 : 0));
      break;
    default:
      break;
  }
}

// A 64-bit integer as a double whose last bit is set if anything was lost ("round to odd"): rounding that to any
// narrower float gives the same as rounding the integer itself.
inline double RoundToOdd(bool negative, uint64_t magnitude) {
  int drop = 0;
  while ((magnitude >> drop) >> 53 != 0) ++drop;
  const bool lost = (magnitude & ((1ull << drop) - 1)) != 0;
  const double value = std::ldexp(static_cast<double>((magnitude >> drop) | (lost ? 1 : 0)), drop);
  return negative ? -value : value;
}

// One element from any dtype to any other, rounded once.
inline void CastElement(sage_dtype from, const void* at, sage_dtype to, void* out) {
  if (from != SAGE_I64 && from != SAGE_U64) return Write(to, out, Read(from, at));
  const uint64_t word = ReadRaw<uint64_t>(at);
  const bool negative = from == SAGE_I64 && word >> 63 != 0;
  if (to == SAGE_I64) {
    const bool too_large = from == SAGE_U64 && word >> 63 != 0;
    WriteRaw(out, too_large ? static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) : word);
  } else if (to == SAGE_U64) {
    WriteRaw(out, negative ? uint64_t{0} : word);
  } else if (to == SAGE_F64) {
    WriteRaw(out, Read(from, at));
  } else {
    Write(to, out, RoundToOdd(negative, negative ? 0 - word : word));
  }
}

}  // namespace sage::reference

#endif  // SAGE_PLUGINS_REFERENCE_CONVERT_H_
