// shortest.cc: the shortest decimal within a double's rounding interval, from products with exact powers of ten (after
// Raffaello Giulietti's Schubfach, which rounds the powers and so serves every exponent; these need no rounding).
//
// A double c 2^q stands for all numbers nearer to it than to its neighbours. 10^k is the largest power of ten that is
// no larger than that interval, so one multiple of it at least lies inside, and one of 10^(k+1) at most: that one is
// shorter and taken, else the multiple of 10^k next to the double. Compared are four times these numbers over 10^k.
#include "shortest.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>

namespace sage {
namespace {

__extension__ typedef unsigned __int128 Wide;

constexpr int kBias = 1075, kLeastExponent = -120;  // of q: 10^-k then stays below 2^127
constexpr auto kTens = [] {
  std::array<Wide, 39> tens{};
  tens[0] = 1;
  for (size_t i = 1; i < tens.size(); ++i) tens[i] = 10 * tens[i - 1];
  return tens;
}();

// The whole part of n ten 2^-shift, which is below 2^64, with bit 0 set where a fraction was cut off. shift <= 120.
uint64_t Scaled(uint64_t n, Wide ten, int shift) {
  const Wide low = static_cast<Wide>(static_cast<uint64_t>(ten)) * n;
  const Wide high = static_cast<Wide>(static_cast<uint64_t>(ten >> 64)) * n + static_cast<uint64_t>(low >> 64);
  const auto last = static_cast<uint64_t>(low);  // the product is high 2^64 + last
  if (shift >= 64) {
    const auto whole = static_cast<uint64_t>(high >> (shift - 64));
    const bool cut = last != 0 || static_cast<Wide>(whole) << (shift - 64) != high;
    return whole | (cut ? 1 : 0);
  }
  if (shift == 0) return last;
  const uint64_t whole = static_cast<uint64_t>(high) << (64 - shift) | last >> shift;
  return whole | (last << (64 - shift) != 0 ? 1 : 0);
}

struct Decimal {
  uint64_t digits;  // without zeros at the end
  int exponent;
};

Decimal WithoutZeros(uint64_t digits, int exponent) {
  for (; digits % 100000000 == 0; digits /= 100000000) exponent += 8;
  for (; digits % 10 == 0; digits /= 10) ++exponent;
  return {digits, exponent};
}

// Of c 2^q, 2^52 <= c < 2^53, kLeastExponent <= q <= 0.
Decimal Shortest(uint64_t c, int q) {
  const bool power = c == uint64_t{1} << 52;  // its neighbour below is half as far
  // floor(log10(2^q)), and of 3/4 2^q: 1262611 / 2^22 and 524031 / 2^22 are near enough for so few q.
  const int k = (q * 1262611 - (power ? 524031 : 0)) >> 22;
  const Wide ten = kTens[static_cast<size_t>(-k)];
  const uint64_t middle = Scaled(4 * c, ten, -q);
  const uint64_t below = Scaled(4 * c - (power ? 1 : 2), ten, -q), above = Scaled(4 * c + 2, ten, -q);
  const uint64_t open = c & 1;  // an odd double's ends round to its neighbours
  const uint64_t whole = middle / 4, tens = whole / 10;
  const bool down = below + open <= 40 * tens, up = 40 * tens + 40 + open <= above;
  if (down != up) return WithoutZeros(down ? tens : tens + 1, k + 1);
  const bool at = below + open <= 4 * whole, next = 4 * whole + 4 + open <= above;
  if (at != next) return {at ? whole : whole + 1, k};
  const uint64_t half = 4 * whole + 2;
  return {middle > half || (middle == half && whole % 2 == 1) ? whole + 1 : whole, k};
}

// Decimal digits of value, the last one before `end`; returns the first.
char* WriteDigits(uint64_t value, char* end) {
  static constexpr auto kPairs = [] {
    std::array<char, 200> pairs{};
    for (size_t i = 0; i < 100; ++i) {
      pairs[2 * i] = static_cast<char>('0' + i / 10);
      pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
    }
    return pairs;
  }();
  const auto pair = [&end](uint64_t two) { std::memcpy(end -= 2, &kPairs[2 * two], 2); };
  while (value >= 100000000) {  // eight at a time, whose divisions do not wait for one another
    const uint64_t low = value % 100000000, a = low / 10000, b = low % 10000;
    value /= 100000000;
    pair(b % 100), pair(b / 100), pair(a % 100), pair(a / 100);
  }
  for (; value >= 100; value /= 100) std::memcpy(end -= 2, &kPairs[2 * (value % 100)], 2);
  if (value >= 10) {
    std::memcpy(end -= 2, &kPairs[2 * value], 2);
  } else {
    *--end = static_cast<char>('0' + value);
  }
  return end;
}

}  // namespace

char* WriteShortest(double value, char* to) {
  const auto bits = std::bit_cast<uint64_t>(value);
  const int q = static_cast<int>(bits >> 52 & 0x7ff) - kBias;
  if (q < kLeastExponent || q > 0) return std::to_chars(to, to + kShortestRoom, value).ptr;
  const Decimal decimal = Shortest((bits & ((uint64_t{1} << 52) - 1)) | uint64_t{1} << 52, q);
  char text[24];
  const char* const digits = WriteDigits(decimal.digits, text + sizeof text);
  const int count = static_cast<int>(text + sizeof text - digits), point = count + decimal.exponent;
  // As long as with an exponent, or shorter: "0.00012" is, "0.0001" and "100000" are not.
  const int plain = decimal.exponent >= 0 ? point : point > 0 ? count + 1 : 2 - point + count;
  if (plain > count + (count > 1 ? 5 : 4)) return std::to_chars(to, to + kShortestRoom, value).ptr;
  char* out = to;
  if ((bits >> 63) != 0) *out++ = '-';
  const auto put = [&](const char* from, int n) {
    std::memcpy(out, from, static_cast<size_t>(n));
    out += n;
  };
  const auto zeros = [&](int n) {
    std::memset(out, '0', static_cast<size_t>(n));
    out += n;
  };
  if (point <= 0) {
    put("0.", 2), zeros(-point), put(digits, count);
  } else if (decimal.exponent >= 0) {
    put(digits, count), zeros(decimal.exponent);
  } else {
    put(digits, point), *out++ = '.', put(digits + point, count - point);
  }
  return out;
}

}  // namespace sage
