// random.cc: the generators. Integer arithmetic only up to the last line, so no rounding mode or ISA can change a draw.
#include "sage/random.h"

namespace sage {

namespace {

// N blocks side by side: word w of block i is counter[w][i]. The loops over i are what a compiler vectorises.
template <size_t N>
void Rounds(uint32_t (&counter)[4][N], uint64_t key) {
  constexpr uint64_t kMultiplier0 = 0xd2511f53, kMultiplier1 = 0xcd9e8d57;
  auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (size_t i = 0; i < N; ++i) {
      const uint64_t a = kMultiplier0 * counter[0][i], b = kMultiplier1 * counter[2][i];
      counter[0][i] = static_cast<uint32_t>(b >> 32) ^ counter[1][i] ^ low;
      counter[1][i] = static_cast<uint32_t>(b);
      counter[2][i] = static_cast<uint32_t>(a >> 32) ^ counter[3][i] ^ high;
      counter[3][i] = static_cast<uint32_t>(a);
    }
    low += 0x9e3779b9u;
    high += 0xbb67ae85u;
  }
}

// Blocks counted tick, tick + 1, ... : 4 N words.
template <size_t N>
void Blocks(uint64_t seed, uint64_t tick, RandomStream stream, uint32_t item, uint32_t* out) {
  uint32_t words[4][N];
  for (size_t i = 0; i < N; ++i) {
    words[0][i] = static_cast<uint32_t>(tick + i);
    words[1][i] = static_cast<uint32_t>((tick + i) >> 32);
    words[2][i] = static_cast<uint32_t>(stream);
    words[3][i] = item;
  }
  Rounds(words, seed);
  for (size_t i = 0; i < N; ++i) {
    for (size_t w = 0; w < 4; ++w) out[4 * i + w] = words[w][i];
  }
}

}  // namespace

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, uint64_t key) {
  uint32_t words[4][1] = {{counter[0]}, {counter[1]}, {counter[2]}, {counter[3]}};
  Rounds(words, key);
  return {words[0][0], words[1][0], words[2][0], words[3][0]};
}

std::array<double, 2> UniformPair(uint64_t seed, uint64_t tick, RandomStream stream, uint32_t item) {
  uint32_t word[4];
  Blocks<1>(seed, tick, stream, item, word);
  const auto unit = [](uint32_t high, uint32_t low) {
    return static_cast<double>((static_cast<uint64_t>(high) << 32 | low) >> 11) * 0x1p-53;
  };
  return {unit(word[0], word[1]), unit(word[2], word[3])};
}

void PhiloxWords(uint64_t seed, uint64_t tick, RandomStream stream, uint32_t item, std::span<uint32_t> out) {
  constexpr size_t kBlocks = 8;
  size_t i = 0;
  for (; out.size() - i >= 4 * kBlocks; i += 4 * kBlocks) Blocks<kBlocks>(seed, tick + i / 4, stream, item, &out[i]);
  for (; i + 3 < out.size(); i += 4) Blocks<1>(seed, tick + i / 4, stream, item, &out[i]);
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
