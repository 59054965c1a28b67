// constant_data.cc: see constant_data.h.
#include "model/constant_data.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sage {
namespace {

void Append(uint64_t bits, size_t bytes, std::vector<uint8_t>* out) {
  for (size_t i = 0; i < bytes; ++i) out->push_back(static_cast<uint8_t>(bits >> (8 * i)));
}

// A float format with an implicit leading bit: rounds once, from double. exponent_bits and fraction_bits as stored.
// False when a finite value becomes infinite.
bool EncodeFloat(double value, int exponent_bits, int fraction_bits, uint64_t* bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const uint64_t sign = std::signbit(value) ? uint64_t{1} << (exponent_bits + fraction_bits) : 0;
  const uint64_t infinity = ((uint64_t{1} << exponent_bits) - 1) << fraction_bits;
  if (std::isnan(value)) {
    *bits = sign | infinity | uint64_t{1} << (fraction_bits - 1);
    return true;
  }
  if (std::isinf(value)) {
    *bits = sign | infinity;
    return true;
  }
  const double magnitude = std::fabs(value);
  if (magnitude == 0) {
    *bits = sign;
    return true;
  }
  int exponent = 0;
  (void)std::frexp(magnitude, &exponent);  // magnitude = m * 2^exponent, m in [0.5, 1)
  // The weight of the last fraction bit; below the smallest normal exponent it stays where it is.
  const int last = std::max(exponent - 1, 1 - bias) - fraction_bits;
  const auto units = static_cast<uint64_t>(std::nearbyint(std::ldexp(magnitude, -last)));  // ties to even
  // Adding the fraction to a biased exponent one too low carries into the exponent exactly when rounding does.
  const bool normal = exponent - 1 >= 1 - bias;
  const uint64_t encoded = normal ? (static_cast<uint64_t>(exponent - 1 + bias - 1) << fraction_bits) + units : units;
  *bits = sign | encoded;
  return encoded < infinity;
}

bool EncodeInteger(double value, double least, double most_exclusive) {
  return value >= least && value < most_exclusive && value == std::trunc(value);
}

}  // namespace

const char* AppendValue(sage_dtype dtype, double value, std::vector<uint8_t>* out) {
  constexpr const char* kRange = "is outside the range";
  constexpr const char* kWhole = "is no whole number in the range";
  uint64_t bits = 0;
  switch (dtype) {
    case SAGE_F64:
      std::memcpy(&bits, &value, sizeof value);
      Append(bits, 8, out);
      return nullptr;
    case SAGE_F32:
      if (!EncodeFloat(value, 8, 23, &bits) && std::isfinite(value)) return kRange;
      Append(bits, 4, out);
      return nullptr;
    case SAGE_F16:
      if (!EncodeFloat(value, 5, 10, &bits) && std::isfinite(value)) return kRange;
      Append(bits, 2, out);
      return nullptr;
    case SAGE_BF16:
      if (!EncodeFloat(value, 8, 7, &bits) && std::isfinite(value)) return kRange;
      Append(bits, 2, out);
      return nullptr;
    case SAGE_F8_E5M2:
      if (!EncodeFloat(value, 5, 2, &bits) && std::isfinite(value)) return kRange;
      Append(bits, 1, out);
      return nullptr;
    case SAGE_F8_E4M3FN: {
      // No infinity: the exponent of all ones holds numbers up to 448, all ones is NaN.
      if (std::isinf(value)) return kRange;
      if (std::isnan(value)) {
        bits = std::signbit(value) ? 0xFF : 0x7F;
      } else {
        if (std::fabs(value) > 464)
          return kRange;  // 464 lies half way to the number that would follow 448, and is even
        (void)EncodeFloat(value, 4, 3, &bits);
      }
      Append(bits, 1, out);
      return nullptr;
    }
    case SAGE_BOOL:
      if (value != 0 && value != 1) return "is neither the 0 nor the 1";
      Append(value == 1 ? 1 : 0, 1, out);
      return nullptr;
    case SAGE_U8:
      if (!EncodeInteger(value, 0, 256)) return kWhole;
      Append(static_cast<uint64_t>(value), 1, out);
      return nullptr;
    case SAGE_U64:
      if (!EncodeInteger(value, 0, 0x1p64)) return kWhole;
      Append(static_cast<uint64_t>(value), 8, out);
      return nullptr;
    case SAGE_I8:
    case SAGE_I16:
    case SAGE_I32:
    case SAGE_I64: {
      const size_t size = dtype == SAGE_I8 ? 1 : dtype == SAGE_I16 ? 2 : dtype == SAGE_I32 ? 4 : 8;
      const double limit = std::ldexp(1.0, static_cast<int>(8 * size) - 1);
      if (!EncodeInteger(value, -limit, limit)) return kWhole;
      Append(static_cast<uint64_t>(static_cast<int64_t>(value)), size, out);
      return nullptr;
    }
    default:
      return "is written in a type unknown to this build, instead";
  }
}

}  // namespace sage
