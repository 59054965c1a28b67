// test_base64.cc: decoding against an encoder written here, and every way to be wrong.
#include "sage/base64.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string Encode(const std::vector<float>& values) {
  std::string bytes, text;
  for (const float value : values) {
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>(std::bit_cast<uint32_t>(value) >> (8 * i) & 0xff);
  }
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) word = word << 8 | (k < left ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) text += k <= left ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace

TEST_CASE("base64: what was encoded comes back, for each length of padding") {
  std::mt19937 random(5);
  for (size_t n = 0; n < 40; ++n) {
    std::vector<float> values(n);
    for (float& value : values) value = std::bit_cast<float>(static_cast<uint32_t>(random()) & 0xff7fffffu);  // finite
    const std::string text = Encode(values);
    CHECK(sage::Base64Bytes(text) == 4 * n);
    CHECK(sage::IsBase64(text));
    std::vector<double> out(n, -1);
    REQUIRE(sage::Base64ToFloats(text, out));
    for (size_t i = 0; i < n; ++i) CHECK(out[i] == static_cast<double>(values[i]));
  }
}

TEST_CASE("base64: a foreign byte at any place is found") {
  const std::string text = Encode({1, 2, 3, 4, 5});
  for (size_t at = 0; at < text.size(); ++at) {
    for (int c = 0; c < 256; ++c) {
      std::string wrong = text;
      wrong[at] = static_cast<char>(c);
      // 20 bytes: the last character is '=', the one before it has two bits to spare. A digit in place of either '=' or
      // another digit may be base64 too, of other bytes.
      const size_t digit = std::string_view(kDigits, 64).find(static_cast<char>(c));
      if (digit != std::string_view::npos && (at != text.size() - 2 || digit % 4 == 0)) continue;
      if (wrong == text) continue;
      CAPTURE(at);
      CAPTURE(c);
      CHECK_FALSE(sage::IsBase64(wrong));
    }
  }
}

TEST_CASE("base64: lengths, missing padding and bits left over") {
  for (const char* wrong : {"A", "AA", "AAA", "AAAAA", "AAAA=", "=", "==", "===", "====", "A===", "AA=A",
                            "AB==", "AAB=", "AAAA\n", "AA-_", "AAAA===="}) {
    CAPTURE(wrong);
    CHECK_FALSE(sage::IsBase64(wrong));
  }
  CHECK(sage::IsBase64(""));
  CHECK(sage::Base64Bytes("AA==") == 1);
  CHECK(sage::Base64Bytes("AAA=") == 2);
}
