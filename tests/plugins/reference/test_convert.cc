// The conversions, against an implementation of their own (support/owned_tensor.h) and known values.
#include <doctest/doctest.h>

#include "../../../plugins/reference/convert.h"
#include "support/owned_tensor.h"

namespace {

using sage::reference::CastElement;
using sage::reference::DecodeSmallFloat;
using sage::reference::EncodeSmallFloat;
using sage::reference::Read;
using sage::reference::SmallFloat;
using sage::reference::Write;

struct Format {
  const char* name;
  SmallFloat format;
};
const Format kFormats[] = {{"f16", sage::reference::kF16},
                           {"bf16", sage::reference::kBf16},
                           {"e4m3fn", sage::reference::kE4m3fn},
                           {"e5m2", sage::reference::kE5m2}};

template <class T>
T Cast(sage_dtype from, const void* at, sage_dtype to) {
  T out{};
  CastElement(from, at, to, &out);
  return out;
}

}  // namespace

TEST_CASE("convert: every small float decodes as its formula says and encodes back to itself") {
  for (const Format& f : kFormats) {
    CAPTURE(f.name);
    const int e = f.format.exponent_bits, m = f.format.mantissa_bits;
    int wrong = 0;
    for (uint32_t bits = 0; bits < 1u << (1 + e + m); ++bits) {
      const double value = DecodeSmallFloat(bits, f.format);
      const double expected = sage::test::DecodeSmallFloat(bits, e, m, f.format.finite_only);
      const bool same =
          std::isnan(expected) ? std::isnan(value) : value == expected && std::signbit(value) == std::signbit(expected);
      const uint32_t back = EncodeSmallFloat(value, f.format);
      wrong += !same || (std::isnan(value) ? !std::isnan(DecodeSmallFloat(back, f.format)) : back != bits);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("convert: rounding is to nearest even at and beside every midpoint") {
  for (const Format& f : kFormats) {
    CAPTURE(f.name);
    const int e = f.format.exponent_bits, m = f.format.mantissa_bits;
    int wrong = 0;
    for (uint32_t bits = 0; bits + 1 < ((1u << e) - 1) << m; ++bits) {
      const double low = DecodeSmallFloat(bits, f.format), high = DecodeSmallFloat(bits + 1, f.format);
      const double middle = (low + high) / 2;
      const uint32_t even = (bits & 1) == 0 ? bits : bits + 1;
      wrong += EncodeSmallFloat(middle, f.format) != even;
      wrong += EncodeSmallFloat(std::nextafter(middle, 0.0), f.format) != bits;
      wrong += EncodeSmallFloat(std::nextafter(middle, HUGE_VAL), f.format) != bits + 1;
      wrong += EncodeSmallFloat(-middle, f.format) != (even | 1u << (e + m));
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("convert: overflow, underflow and NaN") {
  using sage::reference::kBf16;
  using sage::reference::kE4m3fn;
  using sage::reference::kE5m2;
  using sage::reference::kF16;
  CHECK(EncodeSmallFloat(65504.0, kF16) == 0x7bff);
  CHECK(EncodeSmallFloat(65519.99, kF16) == 0x7bff);
  CHECK(EncodeSmallFloat(65520.0, kF16) == 0x7c00);
  CHECK(EncodeSmallFloat(-1e300, kF16) == 0xfc00);
  CHECK(EncodeSmallFloat(0x1p-25, kF16) == 0);
  CHECK(EncodeSmallFloat(0x1.8p-25, kF16) == 1);
  CHECK(EncodeSmallFloat(-0.0, kF16) == 0x8000);
  CHECK(EncodeSmallFloat(5e-324, kBf16) == 0);
  CHECK(EncodeSmallFloat(448.0, kE4m3fn) == 0x7e);
  CHECK(EncodeSmallFloat(464.0, kE4m3fn) == 0x7e);  // the tie between 448 and what would be 480
  CHECK(EncodeSmallFloat(465.0, kE4m3fn) == 0x7f);
  CHECK(EncodeSmallFloat(HUGE_VAL, kE4m3fn) == 0x7f);
  CHECK(EncodeSmallFloat(HUGE_VAL, kE5m2) == 0x7c);
  CHECK(EncodeSmallFloat(57344.0, kE5m2) == 0x7b);
  CHECK(std::isnan(DecodeSmallFloat(EncodeSmallFloat(NAN, kF16), kF16)));
}

TEST_CASE("convert: integers round to even, saturate and take NaN as 0") {
  const struct {
    double value;
    int64_t i8, u8, i64;
  } cases[] = {{2.5, 2, 2, 2},
               {3.5, 4, 4, 4},
               {-2.5, -2, 0, -2},
               {127.6, 127, 128, 128},
               {-1e9, -128, 0, -1000000000},
               {1e30, 127, 255, INT64_MAX},
               {-1e30, -128, 0, INT64_MIN},
               {NAN, 0, 0, 0},
               {HUGE_VAL, 127, 255, INT64_MAX}};
  for (const auto& c : cases) {
    CAPTURE(c.value);
    int8_t i8 = 99;
    uint8_t u8 = 99;
    int64_t i64 = 99;
    Write(SAGE_I8, &i8, c.value);
    Write(SAGE_U8, &u8, c.value);
    Write(SAGE_I64, &i64, c.value);
    CHECK(i8 == c.i8);
    CHECK(u8 == c.u8);
    CHECK(i64 == c.i64);
  }
  uint64_t u64 = 0;
  Write(SAGE_U64, &u64, 1e30);
  CHECK(u64 == UINT64_MAX);
  uint8_t flag = 9;
  Write(SAGE_BOOL, &flag, NAN);
  CHECK(flag == 1);
  Write(SAGE_BOOL, &flag, -0.0);
  CHECK(flag == 0);
  flag = 200;
  CHECK(Read(SAGE_BOOL, &flag) == 1.0);
}

TEST_CASE("convert: 64-bit integers are cast with one rounding") {
  // 2^53 + 2^29 + 1 rounds up to float; through a double, 2^53 + 2^29 would be a tie and round down.
  const int64_t above_tie = (int64_t{1} << 53) + (int64_t{1} << 29) + 1;
  CHECK(Cast<float>(SAGE_I64, &above_tie, SAGE_F32) == static_cast<float>(above_tie));
  const int64_t negative = -above_tie;
  CHECK(Cast<float>(SAGE_I64, &negative, SAGE_F32) == static_cast<float>(negative));
  const uint64_t large = UINT64_MAX - 5;
  CHECK(Cast<float>(SAGE_U64, &large, SAGE_F32) == static_cast<float>(large));
  CHECK(Cast<double>(SAGE_U64, &large, SAGE_F64) == static_cast<double>(large));
  CHECK(Cast<int64_t>(SAGE_U64, &large, SAGE_I64) == INT64_MAX);
  CHECK(Cast<uint64_t>(SAGE_I64, &negative, SAGE_U64) == 0);
  const int64_t odd = (int64_t{1} << 62) + 1, lowest = INT64_MIN;
  CHECK(Cast<uint64_t>(SAGE_I64, &odd, SAGE_U64) == static_cast<uint64_t>(odd));
  CHECK(Cast<int32_t>(SAGE_I64, &odd, SAGE_I32) == INT32_MAX);
  CHECK(Cast<int8_t>(SAGE_I64, &lowest, SAGE_I8) == -128);
  CHECK(Cast<uint8_t>(SAGE_I64, &lowest, SAGE_BOOL) == 1);
}
