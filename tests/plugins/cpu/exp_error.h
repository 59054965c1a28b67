// exp_error.h: how far a table's exponential is from e^x, over a range of floats taken one after the other or in steps.
#ifndef SAGE_TESTS_PLUGINS_CPU_EXP_ERROR_H_
#define SAGE_TESTS_PLUGINS_CPU_EXP_ERROR_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "attention_kernels.h"
#include "attention_testing.h"

namespace sage::test {

struct NamedKernels {
  std::string isa;
  const cpu::AttentionKernels<float>* kernels;
};

// Every table of this build that this machine runs.
inline std::vector<NamedKernels> ExpTables() {
  std::vector<NamedKernels> tables{{"scalar", &cpu::kAttentionScalarF32}};
  const cpu::Isa best = cpu::DetectCpu().best;
#if defined(__x86_64__)
  if (cpu::Runs(cpu::Isa::kAvx2, best)) tables.push_back({"avx2", &cpu::kAttentionAvx2F32});
  if (cpu::Runs(cpu::Isa::kAvx512, best)) tables.push_back({"avx512", &cpu::kAttentionAvx512F32});
#elif defined(__aarch64__)
  if (cpu::Runs(cpu::Isa::kNeon, best)) tables.push_back({"neon", &cpu::kAttentionNeonF32});
#endif
  return tables;
}

// The largest |computed - e^x| / (e^x * allowed(x)) of each table over x = 0, -denormal, ... down to -104, every
// `step`th float. allowed: one rounding of the result, one of the series, and what rounding x * log2(e) costs, which
// grows with x: half a unit of the product is |x| * 2^-24 of the result. Results below the smallest normal may be 0.
inline std::vector<double> ExpErrors(const std::vector<NamedKernels>& tables, uint32_t step) {
  constexpr size_t kBlock = 4096;
  const uint32_t last = std::bit_cast<uint32_t>(104.0f);
  std::vector<double> worst(tables.size(), 0.0), want(kBlock);
  std::vector<float> x(kBlock), got(kBlock);
  for (uint64_t bits = 0; bits <= last;) {
    size_t count = 0;
    for (; count < kBlock && bits <= last; ++count, bits += step) {
      x[count] = -std::bit_cast<float>(static_cast<uint32_t>(bits));
      want[count] = std::exp(static_cast<double>(x[count]));
    }
    std::fill(x.begin() + static_cast<int64_t>(count), x.end(), 0.0f);
    for (size_t t = 0; t < tables.size(); ++t) {
      got = x;
      tables[t].kernels->exponentiate(0.0f, 0, static_cast<int64_t>(kBlock), got.data());
      for (size_t i = 0; i < count; ++i) {
        const double value = static_cast<double>(got[i]);
        if (want[i] < 0x1p-125 && std::fabs(value - want[i]) <= 0x1p-125) continue;
        const double allowed = 0x1p-24 * (3.0 + 1.5 * std::fabs(static_cast<double>(x[i])));
        worst[t] = std::max(worst[t], std::fabs(value - want[i]) / (want[i] * allowed));
      }
    }
  }
  return worst;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_EXP_ERROR_H_
