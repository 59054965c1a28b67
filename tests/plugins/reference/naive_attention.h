// naive_attention.h: attention said a second time, otherwise than the oracle says it: sums of exp(s) in long double,
// not shifted by a maximum, over a caller's own idea of what is visible. For dense calls with scores of modest size.
#ifndef SAGE_TESTS_PLUGINS_REFERENCE_NAIVE_ATTENTION_H_
#define SAGE_TESTS_PLUGINS_REFERENCE_NAIVE_ATTENTION_H_

#include <cmath>
#include <functional>
#include <vector>

#include "support/attention_case.h"

namespace sage::test {

// (b, h, i, j)
using Visibility = std::function<bool(int64_t, int64_t, int64_t, int64_t)>;
using Addend = std::function<double(int64_t, int64_t, int64_t, int64_t)>;

struct Naive {
  Visibility visible = [](int64_t, int64_t, int64_t, int64_t) { return true; };
  Addend added = [](int64_t, int64_t, int64_t, int64_t) { return 0.0; };
  std::function<double(double)> capped = [](double s) { return s; };
  std::function<double(int64_t)> sink = [](int64_t) { return -HUGE_VAL; };
  double scale = NAN;  // NaN: 1/sqrt(d)

  std::vector<double> o, lse, weights;

  void Compute(const AttentionCase& c) {
    const OwnedTensor &q = c[SAGE_ATTN_Q], &k = c[SAGE_ATTN_K], &v = c[SAGE_ATTN_V];
    const std::vector<double> qs = q.Values(), ks = k.Values(), vs = v.Values();
    const int64_t batch = q.dim(0), heads = q.dim(1), rows = q.dim(2), dim = q.dim(3), keys = k.dim(2);
    const int64_t dim_v = v.dim(3);
    const double factor = std::isnan(scale) ? 1.0 / std::sqrt(static_cast<double>(dim)) : scale;
    const auto at = [](const std::vector<double>& x, int64_t i) { return x[static_cast<size_t>(i)]; };
    o.clear(), lse.clear(), weights.clear();
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t g = b * k.dim(1) + h / (heads / k.dim(1)), gv = b * v.dim(1) + h / (heads / v.dim(1));
        for (int64_t i = 0; i < rows; ++i) {
          std::vector<long double> e(static_cast<size_t>(keys), 0.0L), sums(static_cast<size_t>(dim_v), 0.0L);
          long double total = std::exp(static_cast<long double>(sink(h)));
          for (int64_t j = 0; j < keys; ++j) {
            if (!visible(b, h, i, j)) continue;
            double dot = 0;
            for (int64_t d = 0; d < dim; ++d)
              dot += at(qs, ((b * heads + h) * rows + i) * dim + d) * at(ks, (g * keys + j) * dim + d);
            const long double weight = std::exp(static_cast<long double>(capped(dot * factor) + added(b, h, i, j)));
            e[static_cast<size_t>(j)] = weight;
            total += weight;
            for (int64_t d = 0; d < dim_v; ++d)
              sums[static_cast<size_t>(d)] += weight * at(vs, (gv * keys + j) * dim_v + d);
          }
          for (const long double sum : sums) o.push_back(total > 0 ? static_cast<double>(sum / total) : 0.0);
          for (const long double weight : e) weights.push_back(total > 0 ? static_cast<double>(weight / total) : 0.0);
          lse.push_back(static_cast<double>(std::log(total)));
        }
      }
    }
  }
};

// The largest |tensor - expected|; infinite where one is NaN or an infinity the other is not.
inline double Error(const OwnedTensor& tensor, const std::vector<double>& expected) {
  if (tensor.size() != expected.size()) return HUGE_VAL;
  double largest = 0;
  for (uint64_t i = 0; i < expected.size(); ++i) {
    const double value = tensor.Get(i);
    if (value == expected[i]) continue;
    const double difference = std::fabs(value - expected[i]);
    if (!(difference <= largest)) largest = std::isnan(difference) ? HUGE_VAL : difference;
  }
  return largest;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_REFERENCE_NAIVE_ATTENTION_H_
