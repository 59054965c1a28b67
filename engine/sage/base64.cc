// base64.cc: a table lookup a character, four characters to three bytes.
//
// No SIMD: the core is baseline code, and at a nanosecond for four characters it is not what a tick waits for.
#include "sage/base64.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace sage {
namespace {

constexpr uint32_t kInvalid = 1u << 31;

constexpr std::array<uint32_t, 256> kDigits = [] {
  std::array<uint32_t, 256> digits{};
  digits.fill(kInvalid);
  for (uint32_t i = 0; i < 26; ++i) digits['A' + i] = i, digits['a' + i] = 26 + i;
  for (uint32_t i = 0; i < 10; ++i) digits['0' + i] = 52 + i;
  digits['+'] = 62, digits['/'] = 63;
  return digits;
}();

// 24 bits, or something with kInvalid in it.
uint32_t Group(const char* s) {
  const auto digit = [&](size_t i) { return kDigits[static_cast<unsigned char>(s[i])]; };
  const uint32_t a = digit(0), b = digit(1), c = digit(2), d = digit(3);
  return a << 18 | b << 12 | c << 6 | d | ((a | b | c | d) & kInvalid);
}

size_t Padding(std::string_view text) { return text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0; }

// Calls put(bytes, n) for each group in turn; false at the end when one of them was not base64.
template <class Put>
bool Decode(std::string_view text, Put put) {
  if (text.size() % 4 != 0) return false;
  const size_t padding = Padding(text), whole = text.size() / 4 - (padding > 0 ? 1 : 0);
  uint32_t seen = 0;
  for (size_t i = 0; i < whole; ++i) {
    const uint32_t bits = Group(text.data() + 4 * i);
    seen |= bits;
    put(bits, 3);
  }
  if (padding > 0) {
    char last[4] = {text[4 * whole], text[4 * whole + 1], padding == 2 ? 'A' : text[4 * whole + 2], 'A'};
    const uint32_t bits = Group(last);
    // The bits that the padding leaves over are 0 in a text that was encoded from bytes.
    seen |= bits | ((bits & (padding == 2 ? 0xffffu : 0xffu)) != 0 ? kInvalid : 0);
    put(bits, 3 - padding);
  }
  return (seen & kInvalid) == 0;
}

}  // namespace

size_t Base64Bytes(std::string_view text) {
  const size_t bytes = text.size() / 4 * 3;
  return bytes == 0 ? 0 : bytes - Padding(text);
}

bool IsBase64(std::string_view text) {
  return Decode(text, [](uint32_t, size_t) {});
}

bool Base64ToFloats(std::string_view text, std::span<double> out) {
  uint64_t pending = 0;  // bytes not yet a float, the first lowest
  uint32_t held = 0;     // bits of them
  size_t next = 0;
  return Decode(text, [&](uint32_t bits, size_t bytes) {
    const uint32_t swapped = (bits >> 16 & 0xff) | (bits & 0xff00) | (bits & 0xff) << 16;
    pending |= static_cast<uint64_t>(swapped) << held;
    held += 8 * static_cast<uint32_t>(bytes);
    if (held < 32) return;
    out[next++] = static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(pending)));
    pending >>= 32;
    held -= 32;
  });
}

}  // namespace sage
