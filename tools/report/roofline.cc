// roofline.cc: two loops the compiler vectorises for each instruction set; the loader picks the machine's.
#include "report/roofline.h"

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sage::tool {
namespace {

double Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

constexpr size_t kLanes = 128;  // 8 vectors of 16: enough independent chains to hide the latency of an FMA

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SAGE_EACH_ISA __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SAGE_EACH_ISA
#endif

SAGE_EACH_ISA void MultiplyAdd(float* chains, float factor, float addend, size_t rounds) {
  float local[kLanes];
  for (size_t i = 0; i < kLanes; ++i) local[i] = chains[i];
  for (size_t round = 0; round < rounds; ++round)
    for (size_t i = 0; i < kLanes; ++i) local[i] = local[i] * factor + addend;
  for (size_t i = 0; i < kLanes; ++i) chains[i] = local[i];
}

SAGE_EACH_ISA uint64_t Sum(const uint64_t* words, size_t count) {
  uint64_t sum[16] = {};
  for (size_t i = 0; i + 16 <= count; i += 16)
    for (size_t lane = 0; lane < 16; ++lane) sum[lane] += words[i + lane];
  uint64_t total = 0;
  for (uint64_t lane : sum) total += lane;
  return total;
}

}  // namespace

Roofline MeasureRoofline() {
  Roofline roofline;
  std::vector<float> chains(kLanes, 1.0f);
  constexpr size_t kRounds = 100000;
  for (int attempt = 0; attempt < 5; ++attempt) {
    const double begin = Now();
    MultiplyAdd(chains.data(), 0.999f, 0.001f, kRounds);
    const double seconds = Now() - begin;
    roofline.fma_gflops = std::max(roofline.fma_gflops, 2.0 * kLanes * kRounds / seconds / 1e9);
  }
  std::vector<uint64_t> words((128u << 20) / sizeof(uint64_t), 1);
  volatile uint64_t sink = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const double begin = Now();
    sink = sink + Sum(words.data(), words.size());
    const double seconds = Now() - begin;
    roofline.stream_gbps =
        std::max(roofline.stream_gbps, static_cast<double>(words.size() * sizeof(uint64_t)) / seconds / 1e9);
  }
  return roofline;
}

}  // namespace sage::tool
