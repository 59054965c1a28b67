// number.cc: the 16-bit types by integer arithmetic, so that no ISA or compiler mode has a say in a rounding.
#include "sage/number.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace sage {
namespace {

// value rounded to `fraction` bits after the leading one, with exponents down to `lowest` (then subnormal): exact in
// double, so the narrowing that follows cannot round a second time.
double RoundTo(double value, int fraction, int lowest) {
  if (value == 0 || !std::isfinite(value)) return value;
  const int exponent = std::max(std::ilogb(value), lowest);
  return std::ldexp(std::nearbyint(std::ldexp(value, fraction - exponent)), exponent - fraction);
}

uint16_t ToBf16(double value) {
  const auto narrowed = static_cast<float>(RoundTo(value, 7, -126));
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(narrowed) >> 16 | (std::isnan(value) ? 0x40u : 0u));
}

uint16_t ToF16(double value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
  const double magnitude = std::fabs(RoundTo(value, 10, -14));
  if (magnitude > 65504) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x1p-14) return static_cast<uint16_t>(sign | static_cast<uint16_t>(magnitude * 0x1p24));
  const int exponent = std::ilogb(magnitude);
  const auto fraction = static_cast<uint16_t>(std::ldexp(magnitude, 10 - exponent) - 1024);
  return static_cast<uint16_t>(sign | static_cast<uint16_t>((exponent + 15) << 10) | fraction);
}

double FromF16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double value = 0;
  if (exponent == 31) {
    value = fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else {
    value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

template <class T>
void Put(void* base, int64_t index, T value) {
  std::memcpy(static_cast<char*>(base) + index * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

template <class T>
T Get(const void* base, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(base) + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

}  // namespace

double LargestFinite(sage_dtype dtype) {
  switch (dtype) {
    case SAGE_F64:
      return std::numeric_limits<double>::max();
    case SAGE_F32:
      return static_cast<double>(std::numeric_limits<float>::max());
    case SAGE_F16:
      return 65504;
    case SAGE_BF16:
      return 0x1.fep127;
    default:
      return 0;
  }
}

void StoreNumbers(sage_dtype dtype, void* base, int64_t first, std::span<const double> values) {
  const auto store = [&](auto convert) {
    // Without an index that the loop itself advances, the compiler converts several at once.
    const auto count = static_cast<int64_t>(values.size());
    for (int64_t i = 0; i < count; ++i) Put(base, first + i, convert(values[static_cast<size_t>(i)]));
  };
  switch (dtype) {
    case SAGE_F64:
      return store([](double value) { return value; });
    case SAGE_F32:
      return store([](double value) { return static_cast<float>(value); });
    case SAGE_F16:
      return store(ToF16);
    case SAGE_BF16:
      return store(ToBf16);
    default:
      return;
  }
}

double LoadNumber(sage_dtype dtype, const void* base, int64_t index) {
  switch (dtype) {
    case SAGE_F64:
      return Get<double>(base, index);
    case SAGE_F32:
      return static_cast<double>(Get<float>(base, index));
    case SAGE_F16:
      return FromF16(Get<uint16_t>(base, index));
    case SAGE_BF16:
      return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(Get<uint16_t>(base, index)) << 16));
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

void LoadNumbers(sage_dtype dtype, const void* base, int64_t first, std::span<double> out) {
  const auto count = static_cast<int64_t>(out.size());
  const auto load = [&](auto get) {
    for (int64_t i = 0; i < count; ++i) out[static_cast<size_t>(i)] = get(first + i);
  };
  switch (dtype) {
    case SAGE_F64:
      return load([&](int64_t i) { return Get<double>(base, i); });
    case SAGE_F32:
      return load([&](int64_t i) { return static_cast<double>(Get<float>(base, i)); });
    default:
      return load([&](int64_t i) { return LoadNumber(dtype, base, i); });
  }
}

}  // namespace sage
