// random.cc: the generators. Integer arithmetic only up to the last line, so no rounding mode or ISA can change a draw.
#include "sage/random.h"

namespace sage {

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, uint64_t key) {
  constexpr uint64_t kMultiplier0 = 0xd2511f53, kMultiplier1 = 0xcd9e8d57;
  auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = kMultiplier0 * counter[0], b = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ low, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ high, static_cast<uint32_t>(a)};
    low += 0x9e3779b9u;
    high += 0xbb67ae85u;
  }
  return counter;
}

std::array<double, 2> UniformPair(uint64_t seed, uint64_t tick, RandomStream stream, uint32_t item) {
  const auto word = Philox4x32(
      {static_cast<uint32_t>(tick), static_cast<uint32_t>(tick >> 32), static_cast<uint32_t>(stream), item}, seed);
  const auto unit = [](uint32_t high, uint32_t low) {
    return static_cast<double>((static_cast<uint64_t>(high) << 32 | low) >> 11) * 0x1p-53;
  };
  return {unit(word[0], word[1]), unit(word[2], word[3])};
}

uint32_t HashId(std::string_view id) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return static_cast<uint32_t>(hash ^ hash >> 32);
}

double NumpyRandom::Sample() {
  const auto a = static_cast<uint32_t>(engine_()) >> 5, b = static_cast<uint32_t>(engine_()) >> 6;
  return (a * 67108864.0 + b) / 9007199254740992.0;
}

}  // namespace sage
