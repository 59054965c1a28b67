// random.h: random numbers that are counted, not stored: a draw depends on what it is for, never on what was drawn
// before.
//
// Philox 4x32-10 (Salmon et al. 2011) keyed by the seed and counted by (tick, stream, item): replay, snapshots and any
// order of evaluation give the same bits. Mt19937 is here for one purpose, to reproduce NumPy's legacy seeds in LEGACY
// mode. Not for secrets.
#ifndef SAGE_ENGINE_SAGE_RANDOM_H_
#define SAGE_ENGINE_SAGE_RANDOM_H_

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <string_view>

namespace sage {

// What a draw is for; the numbers are part of what a replay reproduces and never change.
enum class RandomStream : uint32_t {
  kDreamDrop = 1,    // item: hash of the target's id
  kDreamEnter = 2,   // item: 0
  kExplore = 3,      // item: row of the batch
  kExplorePick = 4,  // item: row * 65536 + how many were picked before
  kWeights = 5,      // tick: index / 4 of the element, word: index mod 4; item: 0 q, 1 k, 2 v, 3 o
};

// The ten-round block function: 128 bits for a counter of four words (first word lowest) and a 64-bit key.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, uint64_t key);

// Two doubles in [0, 1) of 53 bits each, from one block.
std::array<double, 2> UniformPair(uint64_t seed, uint64_t tick, RandomStream stream, uint32_t item);
inline double Uniform(uint64_t seed, uint64_t tick, RandomStream stream, uint32_t item) {
  return UniformPair(seed, tick, stream, item)[0];
}

// The four words of the blocks counted tick, tick + 1, ..., in turn: out.size() is a multiple of 4. Many at once, for
// matrices of weights.
void PhiloxWords(uint64_t seed, uint64_t tick, RandomStream stream, uint32_t item, std::span<uint32_t> out);

// FNV-1a of 64 bits, folded to 32: the same on every machine.
uint32_t HashId(std::string_view id);

// numpy.random.seed(seed); numpy.random.random_sample(): the Mersenne Twister's words a, b give
// ((a >> 5) * 2^26 + (b >> 6)) / 2^53.
class NumpyRandom {
 public:
  explicit NumpyRandom(uint32_t seed) : engine_(seed) {}
  double Sample();
  double UniformBetween(double low, double high) { return low + (high - low) * Sample(); }

 private:
  std::mt19937 engine_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_RANDOM_H_
