// cast.cc: see cast.h. Floats go through the line kernels; what has an integer or fp8 on a side goes element by
// element.
#include "cast.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "numbers.h"
#include "strided.h"

namespace sage::cpu {
namespace {

// The fp8 formats: E4M3FN has no infinity and one NaN pattern a sign, E5M2 is IEEE-like.
struct Small {
  int mantissa, bias;
  double largest;
  uint8_t infinity, nan;
};
constexpr Small kE4m3fn{3, 7, 448.0, 0x7f, 0x7f}, kE5m2{2, 15, 57344.0, 0x7c, 0x7e};

double FromSmall(const Small& format, uint8_t bits) {
  const int magnitude = bits & 0x7f, exponent = magnitude >> format.mantissa;
  const int fraction = magnitude & ((1 << format.mantissa) - 1);
  double value = 0.0;
  if (magnitude > format.infinity || (magnitude == format.nan))
    value = std::numeric_limits<double>::quiet_NaN();
  else if (magnitude == format.infinity)
    value = std::numeric_limits<double>::infinity();
  else if (exponent == 0)
    value = std::ldexp(fraction, 1 - format.bias - format.mantissa);
  else
    value = std::ldexp(fraction + (1 << format.mantissa), exponent - format.bias - format.mantissa);
  return (bits & 0x80) != 0 ? -value : value;
}

uint8_t ToSmall(const Small& format, double value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (value != value) return sign | format.nan;
  const double magnitude = std::fabs(value);
  if (magnitude > 2.0 * format.largest) return sign | format.infinity;
  const int power = magnitude == 0.0 ? 1 - format.bias : std::max(std::ilogb(magnitude), 1 - format.bias);
  const double steps = std::nearbyint(std::ldexp(magnitude, format.mantissa - power));
  if (std::ldexp(steps, power - format.mantissa) > format.largest) return sign | format.infinity;
  // The leading one of a normal number, and a carry, add themselves to the exponent field.
  const int field = ((power + format.bias - 1) << format.mantissa) + static_cast<int>(steps);
  return static_cast<uint8_t>(sign | field);
}

template <class T>
T ToInteger(double value) {
  if (value != value) return 0;
  const double rounded = std::nearbyint(value);
  constexpr double kEnd = 2.0 * static_cast<double>(T(1) << (std::numeric_limits<T>::digits - 1));  // max + 1
  if (rounded >= kEnd) return std::numeric_limits<T>::max();
  if (rounded <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  return static_cast<T>(rounded);
}

// Exact for all but the 64-bit integers, which CastWide takes.
double ReadNumber(sage_dtype dtype, const char* from) {
  switch (dtype) {
    case SAGE_I8:
      return ReadAs<int8_t>(from);
    case SAGE_I16:
      return ReadAs<int16_t>(from);
    case SAGE_I32:
      return ReadAs<int32_t>(from);
    case SAGE_U8:
      return ReadAs<uint8_t>(from);
    case SAGE_BOOL:
      return ReadAs<uint8_t>(from) != 0 ? 1.0 : 0.0;
    case SAGE_F8_E4M3FN:
      return FromSmall(kE4m3fn, ReadAs<uint8_t>(from));
    case SAGE_F8_E5M2:
      return FromSmall(kE5m2, ReadAs<uint8_t>(from));
    default:
      return ReadFloat(dtype, from);
  }
}

void WriteNumber(sage_dtype dtype, char* to, double value) {
  switch (dtype) {
    case SAGE_I8:
      return WriteAs(to, ToInteger<int8_t>(value));
    case SAGE_I16:
      return WriteAs(to, ToInteger<int16_t>(value));
    case SAGE_I32:
      return WriteAs(to, ToInteger<int32_t>(value));
    case SAGE_I64:
      return WriteAs(to, ToInteger<int64_t>(value));
    case SAGE_U8:
      return WriteAs(to, ToInteger<uint8_t>(value));
    case SAGE_U64:
      return WriteAs(to, ToInteger<uint64_t>(value));
    case SAGE_BOOL:
      return WriteAs(to, static_cast<uint8_t>(value != 0.0 ? 1 : 0));
    case SAGE_F8_E4M3FN:
      return WriteAs(to, ToSmall(kE4m3fn, value));
    case SAGE_F8_E5M2:
      return WriteAs(to, ToSmall(kE5m2, value));
    default:
      return WriteFloat(dtype, to, value);
  }
}

// A 64-bit integer, by sign and magnitude. To a narrower float: the low bits that a double has no room for are folded
// into one sticky bit, so that the one rounding that follows is that of the integer itself.
void CastWide(bool negative, uint64_t magnitude, sage_dtype to, char* target) {
  constexpr uint64_t kSign = 1ull << 63;
  if (to == SAGE_U64) return WriteAs(target, negative ? uint64_t{0} : magnitude);
  if (to == SAGE_I64) {
    if (negative) return WriteAs(target, static_cast<int64_t>(0 - magnitude));
    return WriteAs(target, static_cast<int64_t>(std::min(magnitude, kSign - 1)));
  }
  if (to != SAGE_F64 && (magnitude >> 52) != 0) magnitude = ((magnitude >> 12) | ((magnitude & 0xfff) != 0)) << 12;
  const double value = static_cast<double>(magnitude);
  WriteNumber(to, target, negative ? -value : value);
}

}  // namespace

void CastLine(const LineKernels& lines, sage_dtype from, const char* source, int64_t source_step, sage_dtype to,
              char* target, int64_t target_step, int64_t n) {
  const int64_t source_bytes = source_step * SizeOf(from), target_bytes = target_step * SizeOf(to);
  if (support::IsFloat(from) && support::IsFloat(to)) {
    alignas(64) double piece[kPiece];
    for (int64_t i = 0; i < n; i += kPiece) {
      const int64_t count = std::min(kPiece, n - i);
      LoadLine(lines, from, source + i * source_bytes, source_step, count, piece);
      StoreLine(lines, to, piece, count, target + i * target_bytes, target_step);
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i, source += source_bytes, target += target_bytes) {
    if (from == SAGE_I64) {
      const int64_t value = ReadAs<int64_t>(source);
      const uint64_t bits = static_cast<uint64_t>(value);
      CastWide(value < 0, value < 0 ? 0 - bits : bits, to, target);
    } else if (from == SAGE_U64) {
      CastWide(false, ReadAs<uint64_t>(source), to, target);
    } else {
      WriteNumber(to, target, ReadNumber(from, source));
    }
  }
}

}  // namespace sage::cpu
