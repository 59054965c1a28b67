// distributions.h: Q, K and V as they trouble 8 bits: channels of K that stand off from zero, a sink that all queries
// look at and whose V is small, channels of V that differ by orders of magnitude.
#ifndef SAGE_TESTS_PLUGINS_INT8_DISTRIBUTIONS_H_
#define SAGE_TESTS_PLUGINS_INT8_DISTRIBUTIONS_H_

#include <cmath>
#include <vector>

#include "support/attention_case.h"

namespace sage::test {

enum class Distribution { kIid, kKeyBias, kSink, kValueSpread, kAll };
constexpr const char* kDistributionNames[] = {"iid", "K channel bias", "sink", "V channel spread", "all together"};

// One head of f32, [1,1,queries,d] by [1,1,keys,d].
inline AttentionCase DrawDistribution(Distribution which, int64_t queries, int64_t keys, int64_t d, uint64_t seed) {
  AttentionCase drawn(SAGE_F32, {1, 1, 1, queries, keys, d}, seed);
  const bool all = which == Distribution::kAll;
  const auto change = [](OwnedTensor& tensor, int64_t row, int64_t c, double times, double plus) {
    tensor.Set({0, 0, row, c}, tensor.At({0, 0, row, c}) * times + plus);
  };
  const auto normals = [&](uint64_t salt, int64_t count) {
    return OwnedTensor(SAGE_F64, {count}).FillNormal(seed + salt).Values();
  };
  if (which == Distribution::kKeyBias || all) {
    const int64_t channels[] = {3 * d / 64, 17 * d / 64, 40 * d / 64, 59 * d / 64};
    const double biases[] = {12, -12, 9, -15};
    for (int i = 0; i < 4; ++i) {
      for (int64_t j = 0; j < keys; ++j) change(drawn.K(), j, channels[i], 1, biases[i]);
      for (int64_t j = 0; j < queries; ++j) change(drawn.Q(), j, channels[i], 1.5, 0);
    }
  }
  if (all) {  // a hundredth of the tokens are three times as large
    const OwnedTensor draw = OwnedTensor(SAGE_F64, {queries + keys}).FillUniform(seed + 20, 0, 1);
    for (int64_t j = 0; j < queries + keys; ++j) {
      if (draw.Get(static_cast<uint64_t>(j)) >= 0.01) continue;
      for (int64_t c = 0; c < d; ++c) {
        if (j < queries)
          change(drawn.Q(), j, c, 3, 0);
        else
          change(drawn.K(), j - queries, c, 3, 0);
      }
    }
  }
  if (which == Distribution::kSink || all) {
    std::vector<double> direction = normals(30, d);
    double square = 0;
    for (const double x : direction) square += x * x;
    for (int64_t c = 0; c < d; ++c) {
      const double unit = direction[static_cast<size_t>(c)] / std::sqrt(square);
      for (int64_t j = 0; j < queries; ++j) change(drawn.Q(), j, c, 1, 4 * unit);
      change(drawn.K(), 0, c, 1, 16 * unit);
      change(drawn.V(), 0, c, 0.05, 0);
    }
  }
  if (which == Distribution::kValueSpread || all) {
    const std::vector<double> sizes = normals(40, d), offsets = normals(41, d);
    for (int64_t c = 0; c < d; ++c) {
      const auto i = static_cast<size_t>(c);
      const double times = std::exp(1.2 * sizes[i]);
      for (int64_t j = 0; j < keys; ++j) change(drawn.V(), j, c, times, 2 * offsets[i] * times);
    }
  }
  return drawn;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_INT8_DISTRIBUTIONS_H_
