// test_fake_attention.cc: attention by graphs of the fake cuDNN, as the plugin builds them, against a loop that knows
// nothing of graphs.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "fake_cudnn.h"
#include "fake_graph.h"
#include "graph_testing.h"
#include "small_array.h"

namespace sage::cudnn::fake {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kScale = 0.125;

struct Shape {
  int64_t b = 2, hq = 4, hk = 2, sq = 200, skv = 200, d = 64;
};

// Where an element of an operand lies in its array, by batch, head, row and column.
using Place = std::function<int64_t(int64_t, int64_t, int64_t, int64_t)>;
Place RowMajor(int64_t heads, int64_t rows, int64_t d) {
  return [=](int64_t b, int64_t h, int64_t row, int64_t column) { return ((b * heads + h) * rows + row) * d + column; };
}
// Sequences one behind another, (token, head, column).
Place Ragged(const std::vector<int64_t>& begins, int64_t heads, int64_t d) {
  return [=](int64_t b, int64_t h, int64_t row, int64_t column) {
    return ((begins[static_cast<size_t>(b)] + row) * heads + h) * d + column;
  };
}

struct Operands {
  const SmallArray &q, &k, &v, &o;
  const std::vector<float>& lse;
  Place at_q, at_k, at_v, at_o;
};
struct Errors {
  double o = 0, lse = 0;
};

// The largest differences over the rows in use. kept: whether a query of a batch sees a key.
Errors Compare(const Shape& s, const Operands& operands, const std::vector<int32_t>& rows,
               const std::function<bool(int64_t, int64_t, int64_t)>& kept) {
  Errors worst;
  for (int64_t b = 0; b < s.b; ++b)
    for (int64_t h = 0; h < s.hq; ++h)
      for (int64_t row = 0; row < rows[static_cast<size_t>(b)]; ++row) {
        const int64_t in_kv = h / (s.hq / s.hk);
        std::vector<double> weights(static_cast<size_t>(s.skv), 0);
        double maximum = -kInfinity, sum = 0;
        for (int64_t key = 0; key < s.skv; ++key) {
          double& score = weights[static_cast<size_t>(key)] = -kInfinity;
          if (!kept(b, row, key)) continue;
          score = 0;
          for (int64_t c = 0; c < s.d; ++c)
            score += operands.q.At(operands.at_q(b, h, row, c)) * operands.k.At(operands.at_k(b, in_kv, key, c));
          maximum = std::max(maximum, score *= kScale);
        }
        for (double& weight : weights) sum += weight = std::exp(weight - maximum);
        for (int64_t c = 0; c < s.d; ++c) {
          double expected = 0;
          for (int64_t key = 0; key < s.skv; ++key)
            if (kept(b, row, key))
              expected += weights[static_cast<size_t>(key)] / sum * operands.v.At(operands.at_v(b, in_kv, key, c));
          worst.o = std::max(worst.o, std::fabs(expected - operands.o.At(operands.at_o(b, h, row, c))));
        }
        const auto in_lse = static_cast<size_t>((b * s.hq + h) * s.sq + row);
        const double difference = std::fabs(maximum + std::log(sum) - static_cast<double>(operands.lse[in_lse]));
        worst.lse = std::isnan(difference) ? kInfinity : std::max(worst.lse, difference);
      }
  return worst;
}

// P and O are in bf16, of values about 1; the LSE in f32.
void CheckErrors(const Errors& worst) {
  CHECK(worst.o < 0.03);
  CHECK(worst.o > 1e-4);  // which is to be seen
  CHECK(worst.lse < 1e-5);
}

// Masks and softmax as cuDNN's own graphs write them: lengths, then causal from the top left.
Descriptor Weights(Graphs* g, const Shape& s, Descriptor product, Descriptor len_q, Descriptor len_kv, bool causal,
                   Descriptor statistics) {
  const Dims p{s.b, s.hq, s.sq, s.skv}, row{s.b, s.hq, s.sq, 1};
  const Descriptor low = g->Scalar(9, kFloat);
  const auto then = [&](int mode, Descriptor x, Descriptor b, int type, const Dims& dims, Descriptor t = nullptr,
                        int64_t axis = -1) {
    const Descriptor y = g->Virtual(type, dims);
    g->Pointwise(mode, x, b, y, t, axis);
    return y;
  };
  Descriptor scores = then(kMultiply, product, g->Scalar(8, kFloat), kFloat, p);
  const Descriptor query = then(kIndex, scores, nullptr, kInt32, p, nullptr, 2);
  const Descriptor key = then(kIndex, scores, nullptr, kInt32, p, nullptr, 3);
  const Descriptor row_used = then(kLess, query, len_q, kBoolean, p), key_used = then(kLess, key, len_kv, kBoolean, p);
  scores = then(kSelect, scores, low, kFloat, p, then(kAnd, row_used, key_used, kBoolean, p));
  if (causal) scores = then(kSelect, scores, low, kFloat, p, then(kGreaterEqual, query, key, kBoolean, p));
  const Descriptor maximum = g->Virtual(kFloat, row), sum = g->Virtual(kFloat, row);
  g->Reduce(kReduceMaximum, scores, maximum);
  const Descriptor powers = then(kExponential, then(kSubtract, scores, maximum, kFloat, p), nullptr, kFloat, p);
  g->Reduce(kReduceAdd, powers, sum);
  g->Pointwise(kAdd, maximum, then(kLogarithm, sum, nullptr, kFloat, row), statistics);
  return then(kDivide, powers, sum, kBFloat16, p);
}

}  // namespace

TEST_CASE("P1 fake cudnn: a composite graph with lengths and causal agrees with a loop") {
  const Shape s;
  std::mt19937 random(7);
  SmallArray q(s.b * s.hq * s.sq * s.d), k(s.b * s.hk * s.skv * s.d), v(k.size()), o(q.size());
  q.Fill(&random), k.Fill(&random), v.Fill(&random);
  std::vector<float> lse(static_cast<size_t>(s.b * s.hq * s.sq));
  std::vector<int32_t> rows{200, 131}, keys{177, 200};
  float scale = kScale, low = -std::numeric_limits<float>::infinity();
  Graphs g(Begin());
  const Dims kv{s.b, s.hk, s.skv, s.d}, kt{s.b, s.hk, s.d, s.skv}, one{1, 1, 1, 1};
  const Descriptor len_q = g.Tensor(6, kInt32, {s.b, 1, 1, 1}, one), len_kv = g.Tensor(7, kInt32, {s.b, 1, 1, 1}, one);
  const Descriptor product = g.Virtual(kFloat, {s.b, s.hq, s.sq, s.skv});
  g.Matmul(g.Tensor(1, kBFloat16, {s.b, s.hq, s.sq, s.d}),
           g.Tensor(2, kBFloat16, kt, {s.hk * s.skv * s.d, s.skv * s.d, 1, s.d}), product, len_q, len_kv);
  const Descriptor weights = Weights(&g, s, product, len_q, len_kv, true, g.Tensor(5, kFloat, {s.b, s.hq, s.sq, 1}));
  const Dims o_strides{s.hq * s.sq * s.d, s.d, s.hq * s.d, 1};  // (b,s,h,d) in memory
  g.Matmul(weights, g.Tensor(3, kBFloat16, kv), g.Tensor(4, kBFloat16, {s.b, s.hq, s.sq, s.d}, o_strides), len_q,
           nullptr, len_kv);
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE_MESSAGE(g.Run({{1, q.data()},
                         {2, k.data()},
                         {3, v.data()},
                         {4, o.data()},
                         {5, lse.data()},
                         {6, rows.data()},
                         {7, keys.data()},
                         {8, &scale},
                         {9, &low}}) == kSuccess,
                  g.text());
  MESSAGE(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), " s");
  CHECK(The().Faults() == "");
  const Place at_o = [&](int64_t b, int64_t h, int64_t row, int64_t c) {
    return ((b * s.sq + row) * s.hq + h) * s.d + c;
  };
  const Operands operands{
      q, k, v, o, lse, RowMajor(s.hq, s.sq, s.d), RowMajor(s.hk, s.skv, s.d), RowMajor(s.hk, s.skv, s.d), at_o};
  CheckErrors(Compare(s, operands, rows, [&](int64_t b, int64_t row, int64_t key) {
    return key <= row && key < keys[static_cast<size_t>(b)];
  }));
  // Padded rows are whatever a library leaves there.
  int64_t numbers = 0;
  for (int64_t h = 0; h < s.hq; ++h)
    for (int64_t row = rows[1]; row < s.sq; ++row) {
      for (int64_t c = 0; c < s.d; ++c) numbers += std::isnan(o.At(at_o(1, h, row, c))) ? 0 : 1;
      numbers += std::isnan(lse[static_cast<size_t>((s.hq + h) * s.sq + row)]) ? 0 : 1;
    }
  CHECK(numbers == 0);
  // A NaN behind the last key in use reaches every row of its batch and kv head, and no other.
  v.Put(((0 * s.hk + 1) * s.skv + keys[0]) * s.d + 5, std::numeric_limits<double>::quiet_NaN());
  REQUIRE(g.library().BackendExecute(g.handle(), g.Plan(g.Graph()),
                                     g.Pack({{1, q.data()},
                                             {2, k.data()},
                                             {3, v.data()},
                                             {4, o.data()},
                                             {5, lse.data()},
                                             {6, rows.data()},
                                             {7, keys.data()},
                                             {8, &scale},
                                             {9, &low}},
                                            g.workspace())) == kSuccess);
  CHECK(std::isnan(o.At(at_o(0, 2, 0, 5))));
  CHECK_FALSE(std::isnan(o.At(at_o(0, 2, 0, 4))));
  CHECK_FALSE(std::isnan(o.At(at_o(0, 1, 0, 5))));
}

TEST_CASE("P3 fake cudnn: ragged sequences in a composite graph agree with a loop") {
  const Shape s{3, 4, 2, 33, 41, 16};
  std::mt19937 random(8);
  const std::vector<int64_t> begins_q{0, 33, 33}, begins_kv{0, 5, 46};
  std::vector<int32_t> rows{33, 0, 7}, keys{5, 41, 18};
  const int64_t tokens_q = 40, tokens_kv = 64;
  SmallArray q(tokens_q * s.hq * s.d), o(q.size()), k(tokens_kv * s.hk * s.d), v(k.size());
  q.Fill(&random), k.Fill(&random), v.Fill(&random);
  std::vector<int32_t> offsets_q, offsets_kv;
  for (const int64_t begin : {int64_t{0}, int64_t{33}, int64_t{33}, tokens_q})
    offsets_q.push_back(static_cast<int32_t>(begin * s.hq * s.d));
  for (const int64_t begin : {int64_t{0}, int64_t{5}, int64_t{46}, tokens_kv})
    offsets_kv.push_back(static_cast<int32_t>(begin * s.hk * s.d));
  std::vector<float> lse(static_cast<size_t>(s.b * s.hq * s.sq));
  float scale = kScale, low = -std::numeric_limits<float>::infinity();
  Graphs g(Begin());
  const Dims one{1, 1, 1, 1};
  const Descriptor len_q = g.Tensor(6, kInt32, {s.b, 1, 1, 1}, one), len_kv = g.Tensor(7, kInt32, {s.b, 1, 1, 1}, one);
  const Descriptor at_q = g.Tensor(10, kInt32, {s.b + 1, 1, 1, 1}, one);
  const Descriptor at_kv = g.Tensor(11, kInt32, {s.b + 1, 1, 1, 1}, one);
  const Dims steps_q{1, s.d, s.hq * s.d, 1}, steps_kv{1, s.d, s.hk * s.d, 1}, steps_kt{1, s.d, 1, s.hk * s.d};
  const Descriptor product = g.Virtual(kFloat, {s.b, s.hq, s.sq, s.skv});
  g.Matmul(g.Tensor(1, kBFloat16, {s.b, s.hq, s.sq, s.d}, steps_q, Graphs::kBound, at_q),
           g.Tensor(2, kBFloat16, {s.b, s.hk, s.d, s.skv}, steps_kt, Graphs::kBound, at_kv), product, len_q, len_kv);
  const Descriptor weights = Weights(&g, s, product, len_q, len_kv, false, g.Tensor(5, kFloat, {s.b, s.hq, s.sq, 1}));
  g.Matmul(weights, g.Tensor(3, kBFloat16, {s.b, s.hk, s.skv, s.d}, steps_kv, Graphs::kBound, at_kv),
           g.Tensor(4, kBFloat16, {s.b, s.hq, s.sq, s.d}, steps_q, Graphs::kBound, at_q), len_q, nullptr, len_kv);
  REQUIRE_MESSAGE(g.Run({{1, q.data()},
                         {2, k.data()},
                         {3, v.data()},
                         {4, o.data()},
                         {5, lse.data()},
                         {6, rows.data()},
                         {7, keys.data()},
                         {8, &scale},
                         {9, &low},
                         {10, offsets_q.data()},
                         {11, offsets_kv.data()}}) == kSuccess,
                  g.text());
  CHECK_MESSAGE(The().Faults() == "", The().Faults());
  const Operands operands{q,
                          k,
                          v,
                          o,
                          lse,
                          Ragged(begins_q, s.hq, s.d),
                          Ragged(begins_kv, s.hk, s.d),
                          Ragged(begins_kv, s.hk, s.d),
                          Ragged(begins_q, s.hq, s.d)};
  CheckErrors(
      Compare(s, operands, rows, [&](int64_t b, int64_t, int64_t key) { return key < keys[static_cast<size_t>(b)]; }));
}

TEST_CASE("P4 fake cudnn: the unified operation agrees with a loop by rows and by pages") {
  for (const bool paged : {false, true}) {
    const Shape s{2, 6, 3, 9, 40, 24};
    constexpr int64_t kPage = 8, kPages = 13;
    const int64_t columns = s.skv / kPage;
    std::mt19937 random(9);
    SmallArray q(s.b * s.hq * s.sq * s.d), o(q.size());
    SmallArray k((paged ? kPages * kPage : s.b * s.skv) * s.hk * s.d), v(k.size());
    q.Fill(&random), k.Fill(&random), v.Fill(&random);
    std::vector<int32_t> rows{9, 4}, keys{40, 17}, table{3, 12, 0, 7, 5, 1, 2, 11, -1, 99};
    std::vector<float> lse(static_cast<size_t>(s.b * s.hq * s.sq));
    float scale = kScale;
    Graphs g(Begin());
    const Dims one{1, 1, 1, 1}, query{s.b, s.hq, s.sq, s.d};
    const Dims cache = paged ? Dims{kPages, s.hk, kPage, s.d} : Dims{s.b, s.hk, s.skv, s.d};
    const Descriptor op = g.Make(kOperationSdpaForward);
    g.Refer(op, kSdpaQ, g.Tensor(1, kBFloat16, query));
    g.Refer(op, kSdpaK, g.Tensor(2, kBFloat16, cache));
    g.Refer(op, kSdpaV, g.Tensor(3, kBFloat16, cache));
    g.Refer(op, kSdpaO, g.Tensor(4, kBFloat16, query));
    g.Refer(op, kSdpaStatistics, g.Tensor(5, kFloat, {s.b, s.hq, s.sq, 1}));
    g.Refer(op, kSdpaScale, g.Scalar(8, kFloat));
    g.Refer(op, kSdpaLengthsQ, g.Tensor(6, kInt32, {s.b, 1, 1, 1}, one));
    g.Refer(op, kSdpaLengthsKv, g.Tensor(7, kInt32, {s.b, 1, 1, 1}, one));
    if (paged) g.Refer(op, kSdpaPageTableK, g.Tensor(10, kInt32, {s.b, 1, columns, 1}));
    if (paged) g.Refer(op, kSdpaPageTableV, g.Tensor(11, kInt32, {s.b, 1, columns, 1}));
    g.Add(g.Finalize(op));
    std::vector<std::pair<int64_t, void*>> bound{{1, q.data()},   {2, k.data()},    {3, v.data()},    {4, o.data()},
                                                 {5, lse.data()}, {6, rows.data()}, {7, keys.data()}, {8, &scale}};
    if (paged) bound.emplace_back(10, table.data()), bound.emplace_back(11, table.data());
    REQUIRE_MESSAGE(g.Run(bound) == kSuccess, g.text());
    CHECK_MESSAGE(The().Faults() == "", The().Faults());
    const Place by_rows = RowMajor(s.hk, s.skv, s.d), in_pages = RowMajor(s.hk, kPage, s.d);
    const Place at_kv = [&](int64_t b, int64_t h, int64_t row, int64_t c) {
      if (!paged) return by_rows(b, h, row, c);
      return in_pages(table[static_cast<size_t>(b * columns + row / kPage)], h, row % kPage, c);
    };
    const Operands operands{q, k, v, o, lse, RowMajor(s.hq, s.sq, s.d), at_kv, at_kv, RowMajor(s.hq, s.sq, s.d)};
    CheckErrors(Compare(s, operands, rows,
                        [&](int64_t b, int64_t, int64_t key) { return key < keys[static_cast<size_t>(b)]; }));
    CHECK(std::isnan(o.At(RowMajor(s.hq, s.sq, s.d)(1, 0, 4, 0))));
    CHECK(std::isnan(lse[static_cast<size_t>(s.hq * s.sq + 4)]));
  }
}

}  // namespace sage::cudnn::fake
