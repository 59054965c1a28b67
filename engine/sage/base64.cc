// base64.cc: a table lookup a character, four characters to three bytes, sixteen to three floats.
//
// No SIMD: the core is baseline code.
#include "sage/base64.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace sage {
namespace {

constexpr uint32_t kInvalid = 1u << 31;

// What a character is worth at each of the four places of its group: bits of three bytes, the first byte lowest.
struct Digits {
  uint32_t at[4][256];
};

constexpr Digits kDigits = [] {
  Digits digits{};
  for (auto& place : digits.at) {
    for (uint32_t& value : place) value = kInvalid;
  }
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (uint32_t i = 0; i < 64; ++i) {
    const auto c = static_cast<unsigned char>(kAlphabet[i]);
    digits.at[0][c] = i << 2;
    digits.at[1][c] = i >> 4 | (i & 15) << 12;
    digits.at[2][c] = i >> 2 << 8 | (i & 3) << 22;
    digits.at[3][c] = i << 16;
  }
  return digits;
}();

// Three bytes, or something with kInvalid in it.
inline uint32_t Group(const char* s) {
  const auto digit = [&](size_t i) { return kDigits.at[i][static_cast<unsigned char>(s[i])]; };
  return digit(0) | digit(1) | digit(2) | digit(3);
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
    seen |= bits | ((bits & (padding == 2 ? 0xffff00u : 0xff0000u)) != 0 ? kInvalid : 0);
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
  const auto number = [](uint32_t bits) { return static_cast<double>(std::bit_cast<float>(bits)); };
  // Four groups are three floats. The last group may be padded, so it is left to what follows.
  uint32_t seen = 0;
  size_t next = 0;
  for (; text.size() > 16; text.remove_prefix(16), next += 3) {
    const char* s = text.data();
    const uint32_t a = Group(s), b = Group(s + 4), c = Group(s + 8), d = Group(s + 12);
    seen |= a | b | c | d;
    out[next] = number((a & 0xffffff) | b << 24);
    out[next + 1] = number((b >> 8 & 0xffff) | c << 16);
    out[next + 2] = number((c >> 16 & 0xff) | d << 8);
  }
  uint64_t pending = 0;  // bytes not yet a float, the first lowest
  uint32_t held = 0;     // bits of them
  const bool rest = Decode(text, [&](uint32_t bits, size_t bytes) {
    pending |= static_cast<uint64_t>(bits & 0xffffff) << held;
    held += 8 * static_cast<uint32_t>(bytes);
    if (held < 32) return;
    out[next++] = number(static_cast<uint32_t>(pending));
    pending >>= 32;
    held -= 32;
  });
  return rest && (seen & kInvalid) == 0;
}

}  // namespace sage
