// philox.h: Philox 4x32-10, the counter-based random function of Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011): no state, so a mask depends on a position only and never on threads or order.
#ifndef SAGE_PLUGINS_REFERENCE_PHILOX_H_
#define SAGE_PLUGINS_REFERENCE_PHILOX_H_

#include <array>
#include <cstdint>

namespace sage::reference {

constexpr std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xd2511f53} * counter[0], b = uint64_t{0xcd9e8d57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9e3779b9;
    key[1] += 0xbb67ae85;
  }
  return counter;
}

// The word that decides on element n of a stream: word n mod 4 at counter offset + n / 4, key = seed.
constexpr uint32_t PhiloxWord(uint64_t seed, uint64_t offset, uint64_t n) {
  const uint64_t at = offset + n / 4;
  return Philox4x32({static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), 0, 0},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)})[n % 4];
}

}  // namespace sage::reference

#endif  // SAGE_PLUGINS_REFERENCE_PHILOX_H_
