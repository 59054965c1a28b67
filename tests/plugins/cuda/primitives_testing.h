// primitives_testing.h: what tests of single primitives share.
#ifndef SAGE_TESTS_PLUGINS_CUDA_PRIMITIVES_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDA_PRIMITIVES_TESTING_H_

#include <random>
#include <string>

#include "common/cuda/kernels/primitives_hopper.h"

namespace sage::cuda {

using emu::Launch;

inline emu::LaunchOptions Threads(uint32_t threads, size_t shared_bytes, uint64_t seed) {
  emu::LaunchOptions options;
  options.threads = threads, options.shared_bytes = shared_bytes, options.seed = seed;
  return options;
}

inline bool Says(const std::string& sentence, const char* words) { return sentence.find(words) != std::string::npos; }

// Small multiples of 1/8: their sums of products are exact in any order.
inline float Eighths(std::mt19937& random) { return static_cast<float>(static_cast<int>(random() % 65) - 32) / 8; }

}  // namespace sage::cuda

#endif  // SAGE_TESTS_PLUGINS_CUDA_PRIMITIVES_TESTING_H_
