// philox.h: Philox 4x32-10, the counter-based random function of Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011): no state, so a mask depends on a position only and never on threads or order.
//
// The one text of sage/attention.h's dropout: for the oracle, and for kernels, whose compiler takes it as it is.
#ifndef SAGE_PLUGINS_COMMON_PHILOX_H_
#define SAGE_PLUGINS_COMMON_PHILOX_H_

#include <cstdint>

#ifdef __CUDACC__
#define SAGE_ANYWHERE __host__ __device__
#else
#define SAGE_ANYWHERE
#endif

namespace sage::plugins {

struct PhiloxBlock {
  uint32_t word[4];
  friend bool operator==(const PhiloxBlock&, const PhiloxBlock&) = default;
};
struct PhiloxKey {
  uint32_t word[2];
};

SAGE_ANYWHERE constexpr PhiloxBlock Philox4x32(PhiloxBlock counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xd2511f53} * counter.word[0], b = uint64_t{0xcd9e8d57} * counter.word[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.word[1] ^ key.word[0], static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.word[3] ^ key.word[1], static_cast<uint32_t>(a)}};
    key.word[0] += 0x9e3779b9;
    key.word[1] += 0xbb67ae85;
  }
  return counter;
}

// The words that decide on elements 4 block to 4 block + 3 of a stream: counter offset + block, key = seed.
SAGE_ANYWHERE constexpr PhiloxBlock PhiloxWords(uint64_t seed, uint64_t offset, uint64_t block) {
  const uint64_t at = offset + block;
  return Philox4x32({{static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), 0, 0}},
                    {{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}});
}

// The word of element n among those of its block. By choices and not by an index, for which a device would need memory.
SAGE_ANYWHERE constexpr uint32_t WordOf(const PhiloxBlock& words, uint64_t n) {
  const uint32_t low = n % 2 == 0 ? words.word[0] : words.word[1], high = n % 2 == 0 ? words.word[2] : words.word[3];
  return n % 4 < 2 ? low : high;
}

// The word that decides on element n.
SAGE_ANYWHERE constexpr uint32_t PhiloxWord(uint64_t seed, uint64_t offset, uint64_t n) {
  return WordOf(PhiloxWords(seed, offset, n / 4), n);
}

}  // namespace sage::plugins

#endif  // SAGE_PLUGINS_COMMON_PHILOX_H_
