// naive_attention.h: the plain kernel that error classes are counted by (SAGE_ACCURACY_*), and errors. Dense calls with
// a scale and a bool mask at most.
#ifndef SAGE_TESTS_PLUGINS_CPU_NAIVE_ATTENTION_H_
#define SAGE_TESTS_PLUGINS_CPU_NAIVE_ATTENTION_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/attention_case.h"

namespace sage::test {

// The naive two-pass kernel in T: sums in order, every operation rounded to T, weights and outputs to `stored` besides.
template <class T>
std::vector<double> NaiveAttention(const AttentionCase& attention, sage_dtype stored = SAGE_F64) {
  OwnedTensor cell(stored, {1});
  const auto rounded = [&](T value) {
    cell.Set({0}, static_cast<double>(value));
    return static_cast<T>(cell.At({0}));
  };
  const OwnedTensor &q = attention[SAGE_ATTN_Q], &k = attention[SAGE_ATTN_K], &v = attention[SAGE_ATTN_V];
  const OwnedTensor& mask = attention[SAGE_ATTN_MASK];
  const bool scaled = (attention.attributes.features & SAGE_ATTN_F_SCALE) != 0;
  const auto scale =
      static_cast<T>(scaled ? attention.attributes.scale : 1.0 / std::sqrt(static_cast<double>(q.dim(3))));
  const int64_t share = q.dim(1) / k.dim(1);
  std::vector<T> keys, values;
  for (const double value : k.Values()) keys.push_back(static_cast<T>(value));
  for (const double value : v.Values()) values.push_back(static_cast<T>(value));
  std::vector<double> out;
  for (int64_t h = 0; h < q.dim(1); ++h) {
    for (int64_t i = 0; i < q.dim(2); ++i) {
      std::vector<T> s(static_cast<size_t>(k.dim(2))), o(static_cast<size_t>(v.dim(3)), T(0)), row;
      for (int64_t c = 0; c < q.dim(3); ++c) row.push_back(static_cast<T>(q.At({0, h, i, c})));
      T largest = -HUGE_VALF, sum = 0;
      for (int64_t j = 0; j < k.dim(2); ++j) {
        const T* key = &keys[static_cast<size_t>((h / share * k.dim(2) + j) * k.dim(3))];
        T dot = 0;
        for (size_t c = 0; c < row.size(); ++c) dot += row[c] * key[c];
        const bool seen = !mask.present() || mask.At({0, h, i, j}) != 0;
        s[static_cast<size_t>(j)] = seen ? dot * scale : -HUGE_VALF;
        largest = std::max(largest, s[static_cast<size_t>(j)]);
      }
      for (T& score : s) sum += score = std::exp(score - largest);
      for (int64_t j = 0; j < k.dim(2); ++j) {
        const T* value = &values[static_cast<size_t>((h / share * k.dim(2) + j) * v.dim(3))];
        for (size_t c = 0; c < o.size(); ++c) o[c] += rounded(s[static_cast<size_t>(j)] / sum) * value[c];
      }
      for (const T value : o) out.push_back(static_cast<double>(rounded(value)));
    }
  }
  return out;
}

struct Errors {
  double rms = 0, largest = 0;
};

inline Errors ErrorsOf(const std::vector<double>& got, const std::vector<double>& want) {
  Errors errors;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(got[i] - want[i]);
    errors.rms += error * error;
    errors.largest = std::max(errors.largest, error);
  }
  errors.rms = std::sqrt(errors.rms / static_cast<double>(got.size()));
  return errors;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_NAIVE_ATTENTION_H_
