// test_fake_cudnn.cc: the fake cuDNN computes what graphs say: operations by hand, attention against a loop that knows
// no graph.
#include "doctest/doctest.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "fake_cudnn.h"
#include "graph_testing.h"
#include "support/owned_tensor.h"

namespace sage::cudnn::fake {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// A bf16 or f16 array and what its elements are.
struct Small {
  std::vector<uint16_t> bits;
  int exponent = 8, mantissa = 7;

  explicit Small(size_t count, int type = kBFloat16, double value = 0) {
    if (type == kHalf) exponent = 5, mantissa = 10;
    bits.assign(count, Encoded(value));
  }
  uint16_t Encoded(double value) const {
    return static_cast<uint16_t>(test::EncodeSmallFloat(value, exponent, mantissa));
  }
  double At(int64_t i) const { return test::DecodeSmallFloat(bits.at(static_cast<size_t>(i)), exponent, mantissa); }
  void Put(int64_t i, double value) { bits.at(static_cast<size_t>(i)) = Encoded(value); }
  void Fill(std::mt19937* random) {
    std::normal_distribution<double> normal;
    for (uint16_t& each : bits) each = Encoded(normal(*random));
  }
};

// Attention of one query row: keys and values by functions of (key, column). Returns the LSE.
template <class Key, class KeyValue>
double NaiveRow(int64_t keys, int64_t d, int64_t dv, double scale, const std::vector<double>& q, const Key& key,
                const KeyValue& value, const std::vector<bool>& kept, std::vector<double>* out) {
  std::vector<double> scores(static_cast<size_t>(keys));
  double maximum = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t j = 0; j < keys; ++j) {
    double score = 0;
    for (int64_t c = 0; c < d; ++c) score += q[static_cast<size_t>(c)] * key(j, c);
    score *= scale;
    if (!kept[static_cast<size_t>(j)]) score = -std::numeric_limits<double>::infinity();
    scores[static_cast<size_t>(j)] = score;
    maximum = std::max(maximum, score);
  }
  for (double& score : scores) sum += score = std::exp(score - maximum);
  out->assign(static_cast<size_t>(dv), 0);
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t c = 0; c < dv; ++c)
      (*out)[static_cast<size_t>(c)] +=
          kept[static_cast<size_t>(j)] ? scores[static_cast<size_t>(j)] / sum * value(j, c) : 0;
  return maximum + std::log(sum);
}

}  // namespace

TEST_CASE("fake cuDNN: pointwise broadcasts by hand") {
  Graphs g(Begin());
  std::vector<float> x{1, 2, 3, 4, 5, 6}, b{10, 20}, y(6, -1);
  const float two = 2;
  const Descriptor sum = g.Virtual(kFloat, {1, 1, 2, 3});
  g.Pointwise(kAdd, g.Tensor(1, kFloat, {1, 1, 2, 3}), g.Tensor(2, kFloat, {1, 1, 2, 1}), sum);
  g.Pointwise(kMultiply, sum, g.Scalar(3, kFloat), g.Tensor(4, kFloat, {1, 1, 2, 3}, {6, 6, 1, 2}));
  CHECK(g.Run({{1, x.data()}, {2, b.data()}, {3, const_cast<float*>(&two)}, {4, y.data()}}) == kSuccess);
  CHECK_MESSAGE(g.text() == "", g.text());
  CHECK(y == std::vector<float>{22, 48, 24, 50, 26, 52});  // columns first
  CHECK(The().Faults() == "");
}

TEST_CASE("fake cuDNN: bf16 attention with lengths and causal agrees with a loop") {
  const int64_t b = 2, h = 4, hk = 2, s = 200, d = 64;
  const Dims p{b, h, s, s}, row{b, h, s, 1}, one{1, 1, 1, 1}, per_batch{b, 1, 1, 1};
  std::mt19937 random(7);
  Small q(static_cast<size_t>(b * h * s * d)), k(static_cast<size_t>(b * hk * s * d)), v(k.bits.size()),
      o(q.bits.size());
  q.Fill(&random), k.Fill(&random), v.Fill(&random);
  std::vector<float> lse(static_cast<size_t>(b * h * s));
  std::vector<int32_t> lengths_q{200, 131}, lengths_kv{177, 200};
  float scale = 0.125f, minus = kMinusInfinity;
  Graphs g(Begin());
  const Descriptor len_q = g.Tensor(6, kInt32, per_batch, one), len_kv = g.Tensor(7, kInt32, per_batch, one);
  const Descriptor low = g.Scalar(9, kFloat);
  const auto scores = [&] { return g.Virtual(kFloat, p); };
  const auto index = [&] { return g.Virtual(kInt32, p); };
  const auto mask = [&] { return g.Virtual(kBoolean, p); };
  const Descriptor s0 = scores(), s1 = scores(), s2 = scores(), s3 = scores(), less = scores(), e = scores();
  const Descriptor ri = index(), ci = index(), rm = mask(), cm = mask(), pm = mask(), ge = mask();
  const Descriptor maximum = g.Virtual(kFloat, row), sum = g.Virtual(kFloat, row), log = g.Virtual(kFloat, row);
  const Descriptor probabilities = g.Virtual(kBFloat16, p);
  g.Matmul(g.Tensor(1, kBFloat16, {b, h, s, d}), g.Tensor(2, kBFloat16, {b, hk, d, s}, {hk * s * d, s * d, 1, d}), s0,
           len_q, len_kv);
  g.Pointwise(kMultiply, s0, g.Scalar(8, kFloat), s1);
  g.Pointwise(kIndex, s1, nullptr, ri, nullptr, 2);
  g.Pointwise(kIndex, s1, nullptr, ci, nullptr, 3);
  g.Pointwise(kLess, ri, len_q, rm);
  g.Pointwise(kLess, ci, len_kv, cm);
  g.Pointwise(kAnd, rm, cm, pm);
  g.Pointwise(kSelect, s1, low, s2, pm);
  g.Pointwise(kGreaterEqual, ri, ci, ge);
  g.Pointwise(kSelect, s2, low, s3, ge);
  g.Reduce(kReduceMaximum, s3, maximum);
  g.Pointwise(kSubtract, s3, maximum, less);
  g.Pointwise(kExponential, less, nullptr, e);
  g.Reduce(kReduceAdd, e, sum);
  g.Pointwise(kLogarithm, sum, nullptr, log);
  g.Pointwise(kAdd, maximum, log, g.Tensor(5, kFloat, row));
  g.Pointwise(kDivide, e, sum, probabilities);
  // O as (b,s,h,d)
  g.Matmul(probabilities, g.Tensor(3, kBFloat16, {b, hk, s, d}),
           g.Tensor(4, kBFloat16, {b, h, s, d}, {h * s * d, d, h * d, 1}), len_q, nullptr, len_kv);
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(g.Run({{1, q.bits.data()},
                 {2, k.bits.data()},
                 {3, v.bits.data()},
                 {4, o.bits.data()},
                 {5, lse.data()},
                 {6, lengths_q.data()},
                 {7, lengths_kv.data()},
                 {8, &scale},
                 {9, &minus}}) == kSuccess);
  MESSAGE(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), " s");
  CHECK(The().Faults() == "");
  double worst = 0, worst_lse = 0;
  for (int64_t i = 0; i < b; ++i)
    for (int64_t head = 0; head < h; ++head)
      for (int64_t at = 0; at < s; ++at) {
        const auto in_kv = [&](const Small& from) {
          return
              [&, i, head](int64_t key, int64_t c) { return from.At(((i * hk + head / (h / hk)) * s + key) * d + c); };
        };
        const int64_t o_row = ((i * s + at) * h + head) * d, stat = (i * h + head) * s + at;
        if (at >= lengths_q[static_cast<size_t>(i)]) {
          CHECK(std::isnan(o.At(o_row)));
          CHECK(std::isnan(lse[static_cast<size_t>(stat)]));
          continue;
        }
        std::vector<bool> kept(static_cast<size_t>(s));
        for (int64_t key = 0; key < s; ++key)
          kept[static_cast<size_t>(key)] = key <= at && key < lengths_kv[static_cast<size_t>(i)];
        std::vector<double> query, expected;
        for (int64_t c = 0; c < d; ++c) query.push_back(q.At(stat * d + c));
        const double expected_lse = NaiveRow(s, d, d, 0.125, query, in_kv(k), in_kv(v), kept, &expected);
        worst_lse = std::max(worst_lse, std::fabs(expected_lse - static_cast<double>(lse[static_cast<size_t>(stat)])));
        for (int64_t c = 0; c < d; ++c)
          worst = std::max(worst, std::fabs(expected[static_cast<size_t>(c)] - o.At(o_row + c)));
      }
  CHECK(worst < 0.02);    // P and O in bf16
  CHECK(worst > 0.0005);  // which is to be seen
  CHECK(worst_lse < 1e-5);
}

}  // namespace sage::cudnn::fake
