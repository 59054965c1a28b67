// roofline.cc: two loops the compiler vectorises for each instruction set; the loader picks the machine's.
#include "report/roofline.h"

#include <time.h>

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

#if defined(__x86_64__)
// 12 chains of dot products: two bf16 multiply-adds a lane.
__attribute__((target("avx512f,avx512bf16"))) void DotProducts(float* chains, size_t rounds) {
  __m512 sums[12];
  for (size_t i = 0; i < 12; ++i) sums[i] = _mm512_loadu_ps(chains);
  const __m512bh a = _mm512_cvtne2ps_pbh(sums[0], sums[1]), b = _mm512_cvtne2ps_pbh(sums[2], sums[3]);
  for (size_t round = 0; round < rounds; ++round)
    for (size_t i = 0; i < 12; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
  for (size_t i = 1; i < 12; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  _mm512_storeu_ps(chains, sums[0]);
}
#endif

double Bf16Gflops() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx512bf16")) return 0;
  float chains[16] = {};
  double best = 0;
  constexpr size_t kRounds = 200000;
  for (int attempt = 0; attempt < 5; ++attempt) {
    const double begin = Now();
    DotProducts(chains, kRounds);
    best = std::max(best, 12.0 * 16 * 4 * kRounds / (Now() - begin) / 1e9);
  }
  return best;
#else
  return 0;
#endif
}

double FmaGflops() {
  std::vector<float> chains(kLanes, 1.0f);
  constexpr size_t kRounds = 100000;
  double best = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    const double begin = Now();
    MultiplyAdd(chains.data(), 0.999f, 0.001f, kRounds);
    best = std::max(best, 2.0 * kLanes * kRounds / (Now() - begin) / 1e9);
  }
  return best;
}

// work(thread) on every thread at once; returns the sum of what each returned.
template <class Work>
double OnThreads(uint64_t threads, Work&& work) {
  std::barrier together(static_cast<std::ptrdiff_t>(threads));
  std::vector<double> results(threads);
  const auto one = [&](uint64_t thread) {
    together.arrive_and_wait();
    results[thread] = work(thread);
  };
  std::vector<std::thread> others;
  for (uint64_t thread = 1; thread < threads; ++thread) others.emplace_back(one, thread);
  one(0);
  for (std::thread& other : others) other.join();
  return std::accumulate(results.begin(), results.end(), 0.0);
}

void MeasureFootprint(Roofline* roofline) {
  const auto words_each = static_cast<size_t>(roofline->footprint_bytes) / sizeof(uint64_t) / roofline->threads;
  if (words_each == 0) return;
  const std::vector<uint64_t> words(words_each * roofline->threads, 1);
  constexpr int kSamples = 9;
  constexpr double kBytesASample = 64e6;  // some milliseconds, so that the clock and a wake-up do not count
  const auto passes = std::max<size_t>(1, static_cast<size_t>(kBytesASample / roofline->footprint_bytes));
  std::vector<double> samples;
  for (int sample = 0; sample <= kSamples; ++sample) {
    const double gbps = OnThreads(roofline->threads, [&](uint64_t thread) {
      volatile uint64_t sink = 0;
      const double begin = Now();
      for (size_t pass = 0; pass < passes; ++pass) sink = sink + Sum(words.data() + thread * words_each, words_each);
      return static_cast<double>(words_each * sizeof(uint64_t) * passes) / (Now() - begin) / 1e9;
    });
    if (sample > 0) samples.push_back(gbps);  // the first finds the caches as they were
  }
  std::sort(samples.begin(), samples.end());
  roofline->footprint_gbps = samples[kSamples / 2], roofline->footprint_gbps_best = samples.back();
}

}  // namespace

Roofline MeasureRoofline(uint64_t threads, double footprint_bytes) {
  Roofline roofline;
  roofline.threads = std::max<uint64_t>(threads, 1), roofline.footprint_bytes = footprint_bytes;
  roofline.fma_gflops = roofline.threads_fma_gflops = FmaGflops();
  roofline.bf16_gflops = roofline.threads_bf16_gflops = Bf16Gflops();
  if (roofline.threads > 1) {
    roofline.threads_fma_gflops = OnThreads(roofline.threads, [](uint64_t) { return FmaGflops(); });
    roofline.threads_bf16_gflops = OnThreads(roofline.threads, [](uint64_t) { return Bf16Gflops(); });
  }
  const std::vector<uint64_t> words((128u << 20) / sizeof(uint64_t), 1);
  volatile uint64_t sink = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const double begin = Now();
    sink = sink + Sum(words.data(), words.size());
    const double seconds = Now() - begin;
    roofline.stream_gbps =
        std::max(roofline.stream_gbps, static_cast<double>(words.size() * sizeof(uint64_t)) / seconds / 1e9);
  }
  MeasureFootprint(&roofline);
  return roofline;
}

}  // namespace sage::tool
