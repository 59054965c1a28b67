// elements.cc: see elements.h. The small floats share one encoder, told their exponent and fraction widths.
#include "plan/elements.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace sage {
namespace {

struct SmallFloat {
  int exponent_bits, fraction_bits;
  bool has_infinity;  // e4m3fn has none: its largest exponent holds numbers, and one NaN
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  int bits() const { return 1 + exponent_bits + fraction_bits; }
};
constexpr SmallFloat kF16{5, 10, true}, kBf16{8, 7, true}, kE4m3{4, 3, false}, kE5m2{5, 2, true};

uint32_t Encode(const SmallFloat& format, double value) {
  const uint32_t sign = std::signbit(value) ? 1u << (format.bits() - 1) : 0;
  const uint32_t top = ((1u << format.exponent_bits) - 1) << format.fraction_bits;
  const uint32_t fraction_mask = (1u << format.fraction_bits) - 1;
  const uint32_t nan = format.has_infinity ? top | 1u << (format.fraction_bits - 1) : top | fraction_mask;
  const uint32_t infinity = format.has_infinity ? top : nan;
  if (std::isnan(value)) return sign | nan;
  if (std::isinf(value)) return sign | infinity;
  if (value == 0) return sign;
  int exponent = 0;
  (void)std::frexp(value, &exponent);  // |value| in [2^(exponent-1), 2^exponent)
  const int smallest = 1 - format.bias();
  int scale = std::max(exponent - 1, smallest);
  auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(std::fabs(value), format.fraction_bits - scale)));
  if (units == 2u << format.fraction_bits) units >>= 1, ++scale;  // rounded up into the next binade
  const uint32_t hidden = 1u << format.fraction_bits;
  if (units < hidden) return sign | units;  // subnormal
  const auto biased = static_cast<uint32_t>(scale + format.bias());
  if (scale + format.bias() >= 1 << format.exponent_bits) return sign | infinity;
  const uint32_t bits = biased << format.fraction_bits | (units & fraction_mask);
  return sign | (bits >= (format.has_infinity ? top : nan) ? infinity : bits);
}

double Decode(const SmallFloat& format, uint32_t bits) {
  const uint32_t fraction_mask = (1u << format.fraction_bits) - 1;
  const double sign = (bits >> (format.bits() - 1) & 1u) != 0 ? -1 : 1;
  const uint32_t exponent = bits >> format.fraction_bits & ((1u << format.exponent_bits) - 1);
  const uint32_t fraction = bits & fraction_mask;
  const bool top = exponent == (1u << format.exponent_bits) - 1;
  if (top && format.has_infinity)
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  if (top && fraction == fraction_mask) return std::numeric_limits<double>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - format.bias() - format.fraction_bits);
  return sign * std::ldexp(fraction | 1u << format.fraction_bits,
                           static_cast<int>(exponent) - format.bias() - format.fraction_bits);
}

template <class T>
double LoadAs(const void* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return static_cast<double>(value);
}

template <class T>
void StoreAs(void* data, double value) {
  T stored;
  if constexpr (std::is_floating_point_v<T>) {
    stored = static_cast<T>(value);
  } else {
    const double rounded = std::nearbyint(value);
    const auto lowest = static_cast<double>(std::numeric_limits<T>::min());
    const auto highest = static_cast<double>(std::numeric_limits<T>::max());
    if (std::isnan(rounded)) {
      stored = 0;
    } else if (rounded <= lowest) {
      stored = std::numeric_limits<T>::min();
    } else {
      stored = rounded >= highest ? std::numeric_limits<T>::max() : static_cast<T>(rounded);
    }
  }
  std::memcpy(data, &stored, sizeof stored);
}

template <class Bits>
double LoadSmall(const SmallFloat& format, const void* data) {
  Bits bits;
  std::memcpy(&bits, data, sizeof bits);
  return Decode(format, bits);
}

template <class Bits>
void StoreSmall(const SmallFloat& format, void* data, double value) {
  const auto bits = static_cast<Bits>(Encode(format, value));
  std::memcpy(data, &bits, sizeof bits);
}

}  // namespace

double LoadElement(const void* data, sage_dtype dtype) {
  switch (dtype) {
    case SAGE_F64:
      return LoadAs<double>(data);
    case SAGE_F32:
      return LoadAs<float>(data);
    case SAGE_F16:
      return LoadSmall<uint16_t>(kF16, data);
    case SAGE_BF16:
      return LoadSmall<uint16_t>(kBf16, data);
    case SAGE_F8_E4M3FN:
      return LoadSmall<uint8_t>(kE4m3, data);
    case SAGE_F8_E5M2:
      return LoadSmall<uint8_t>(kE5m2, data);
    case SAGE_I8:
      return LoadAs<int8_t>(data);
    case SAGE_I16:
      return LoadAs<int16_t>(data);
    case SAGE_I32:
      return LoadAs<int32_t>(data);
    case SAGE_I64:
      return LoadAs<int64_t>(data);
    case SAGE_BOOL:
    case SAGE_U8:
      return LoadAs<uint8_t>(data);
    case SAGE_U64:
      return LoadAs<uint64_t>(data);
    default:
      return 0;
  }
}

void StoreElement(void* data, sage_dtype dtype, double value) {
  switch (dtype) {
    case SAGE_F64:
      return StoreAs<double>(data, value);
    case SAGE_F32:
      return StoreAs<float>(data, value);
    case SAGE_F16:
      return StoreSmall<uint16_t>(kF16, data, value);
    case SAGE_BF16:
      return StoreSmall<uint16_t>(kBf16, data, value);
    case SAGE_F8_E4M3FN:
      return StoreSmall<uint8_t>(kE4m3, data, value);
    case SAGE_F8_E5M2:
      return StoreSmall<uint8_t>(kE5m2, data, value);
    case SAGE_I8:
      return StoreAs<int8_t>(data, value);
    case SAGE_I16:
      return StoreAs<int16_t>(data, value);
    case SAGE_I32:
      return StoreAs<int32_t>(data, value);
    case SAGE_I64:
      return StoreAs<int64_t>(data, value);
    case SAGE_BOOL:
      return StoreAs<uint8_t>(data, value != 0 ? 1 : 0);
    case SAGE_U8:
      return StoreAs<uint8_t>(data, value);
    case SAGE_U64:
      return StoreAs<uint64_t>(data, value);
    default:
      return;
  }
}

}  // namespace sage
