// Attention layers with their projections, on every backend there is, against a formula written here and on its own.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>
#include <vector>

#include "engine.h"
#include "run/session.h"
#include "support/attention_layer.h"

using namespace sage;

namespace {

using Values = std::vector<double>;

Values Random(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(-0.5, 0.5);
  Values values(count);
  for (double& value : values) value = uniform(random);
  return values;
}

// Bytes of the dtype, and the values that they really hold.
struct Stored {
  std::shared_ptr<std::vector<uint8_t>> bytes = std::make_shared<std::vector<uint8_t>>();
  Values values;
  Stored(Values from, sage_dtype dtype) : values(std::move(from)) {
    bytes->resize(values.size() * (dtype == SAGE_F64 ? 8 : 4));
    for (size_t i = 0; i < values.size(); ++i) {
      if (dtype == SAGE_F64) {
        std::memcpy(bytes->data() + 8 * i, &values[i], 8);
      } else {
        const auto narrow = static_cast<float>(values[i]);
        std::memcpy(bytes->data() + 4 * i, &narrow, 4);
        values[i] = narrow;
      }
    }
  }
  Constant constant() const { return {bytes->data(), bytes->size(), bytes}; }
};

// y[r,o] = sum_i x[r,i] w[o,i] + b[o]
Values Project(const Values& x, const Values& w, const Values& b, size_t in, size_t out) {
  const size_t rows = x.size() / in;
  Values y(rows * out);
  for (size_t r = 0; r < rows; ++r)
    for (size_t o = 0; o < out; ++o) {
      double sum = b.empty() ? 0 : b[o];
      for (size_t i = 0; i < in; ++i) sum += x[r * in + i] * w[o * in + i];
      y[r * out + o] = sum;
    }
  return y;
}

struct Case {
  size_t d_model, query_heads, kv_heads, batch, queries, keys;
  bool causal, cross, bias;
  sage_dtype dtype;
  uint32_t alignment = SAGE_ALIGN_TOP_LEFT;
};

// The layer's result by the definition: softmax over all keys that are seen, in double.
Values Expected(const Case& c, const Values& x, const Values& context, const Stored* w, const Stored* b) {
  const size_t width = c.d_model / c.query_heads, group = c.query_heads / c.kv_heads;
  const size_t q_width = c.query_heads * width, kv_width = c.kv_heads * width;
  const auto bias = [&](size_t i) { return c.bias ? b[i].values : Values{}; };
  const Values q = Project(x, w[0].values, bias(0), c.d_model, q_width);
  const Values k = Project(context, w[1].values, bias(1), c.d_model, kv_width);
  const Values v = Project(context, w[2].values, bias(2), c.d_model, kv_width);
  Values heads(c.batch * c.queries * q_width, 0.0);
  const auto shift =
      c.alignment == SAGE_ALIGN_BOTTOM_RIGHT ? static_cast<int64_t>(c.keys) - static_cast<int64_t>(c.queries) : 0;
  for (size_t n = 0; n < c.batch; ++n)
    for (size_t h = 0; h < c.query_heads; ++h)
      for (size_t i = 0; i < c.queries; ++i) {
        Values weight(c.keys, 0.0);
        double largest = -HUGE_VAL, sum = 0;
        for (size_t j = 0; j < c.keys; ++j) {
          double score = 0;
          for (size_t d = 0; d < width; ++d)
            score += q[(n * c.queries + i) * q_width + h * width + d] *
                     k[(n * c.keys + j) * kv_width + h / group * width + d];
          const bool seen = !c.causal || static_cast<int64_t>(j) <= static_cast<int64_t>(i) + shift;
          weight[j] = seen ? score / std::sqrt(static_cast<double>(width)) : -HUGE_VAL;
          largest = std::max(largest, weight[j]);
        }
        for (double& value : weight) sum += value = std::exp(value - largest);
        for (size_t j = 0; j < c.keys; ++j)
          for (size_t d = 0; d < width; ++d)
            heads[(n * c.queries + i) * q_width + h * width + d] +=
                weight[j] / sum * v[(n * c.keys + j) * kv_width + h / group * width + d];
      }
  return Project(heads, w[3].values, bias(3), q_width, c.d_model);
}

std::shared_ptr<Engine> MakeEngine() {
  static const std::shared_ptr<Engine> engine = [] {
    Options options;
    options.values["threads"] = "2";
    auto made = Engine::Create(options);
    if (!made.ok()) FAIL(made.status().message());
    const std::string cpu = SAGE_BINARY_DIR "/lib/sage/plugins/libsage_cpu.so";
    if ((*made)->FindBackend("cpu") == nullptr && std::filesystem::exists(cpu)) {
      const Status status = (*made)->LoadPlugin(cpu);
      if (!status.ok()) FAIL(status.message());
    }
    return *made;
  }();
  return engine;
}

// The largest difference between the session's result and the formula.
double Difference(const Case& c, const char* backend, uint32_t algorithm, uint64_t seed, bool expert = false) {
  const size_t width = c.d_model / c.query_heads;
  const size_t rows[4] = {c.query_heads * width, c.kv_heads * width, c.kv_heads * width, c.d_model};
  const size_t columns[4] = {c.d_model, c.d_model, c.d_model, c.query_heads * width};
  std::vector<Stored> weights, biases;
  for (size_t i = 0; i < 4; ++i) {
    weights.emplace_back(Random(rows[i] * columns[i], seed + i), c.dtype);
    biases.emplace_back(Random(rows[i], seed + 10 + i), c.dtype);
  }
  AttentionLayer layer;
  layer.d_model = static_cast<int64_t>(c.d_model);
  layer.query_heads = static_cast<int64_t>(c.query_heads);
  layer.kv_heads = static_cast<int64_t>(c.kv_heads);
  layer.dtype = c.dtype;
  layer.causal = c.causal;
  layer.alignment = c.alignment;
  layer.cross = c.cross;
  layer.max_batch = static_cast<int64_t>(c.batch);
  layer.max_queries = static_cast<int64_t>(c.queries);
  layer.max_keys = static_cast<int64_t>(c.keys);
  LayerProjection* projections[4] = {&layer.q, &layer.k, &layer.v, &layer.o};
  for (size_t i = 0; i < 4; ++i) {
    projections[i]->weight = weights[i].constant();
    if (c.bias) projections[i]->bias = biases[i].constant();
  }
  auto graph = expert ? BuildGqaExpertAttention(layer) : BuildAttentionLayer(layer);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());

  const Stored x(Random(c.batch * c.queries * c.d_model, seed + 20), c.dtype);
  const Stored context(Random(c.batch * c.keys * c.d_model, seed + 21), c.dtype);
  SessionOptions options;
  options.policy.algorithm = algorithm;
  if (backend != nullptr) options.policy.backend = backend;
  auto session = Session::Create(MakeEngine(), *graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const auto set = [&](uint32_t index, const Stored& values, size_t length) {
    const int64_t shape[3] = {static_cast<int64_t>(c.batch), static_cast<int64_t>(length),
                              static_cast<int64_t>(c.d_model)};
    const Status status = (*session)->SetInput(index, c.dtype, shape, values.bytes->data(), values.bytes->size());
    REQUIRE_MESSAGE(status.ok(), status.message());
  };
  set(0, x, c.queries);
  if (c.cross) set(1, context, c.keys);
  const Status status = (*session)->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  const auto y = (*session)->Output(0);
  REQUIRE(y.ok());
  const Values expected = Expected(c, x.values, c.cross ? context.values : x.values, weights.data(), biases.data());
  REQUIRE(y->shape[0] * y->shape[1] * y->shape[2] == static_cast<int64_t>(expected.size()));
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    double got = 0;
    if (c.dtype == SAGE_F64) {
      std::memcpy(&got, static_cast<const char*>(y->data) + 8 * i, 8);
    } else {
      float narrow = 0;
      std::memcpy(&narrow, static_cast<const char*>(y->data) + 4 * i, 4);
      got = narrow;
    }
    worst = std::max(worst, std::fabs(got - expected[i]));
    if (std::isnan(got)) worst = HUGE_VAL;
  }
  return worst;
}

std::vector<const char*> Backends() {
  std::vector<const char*> names = {"reference"};
  if (MakeEngine()->FindBackend("cpu") != nullptr) names.push_back("cpu");
  return names;
}

}  // namespace

TEST_CASE("P10 an attention layer with q, k, v and output projections, causal or not, with and without biases") {
  for (const char* backend : Backends()) {
    CAPTURE(backend);
    for (const bool causal : {false, true})
      for (const bool bias : {false, true}) {
        CAPTURE(causal);
        CHECK(Difference({40, 5, 5, 2, 19, 19, causal, false, bias, SAGE_F64}, backend, SAGE_ALGORITHM_AUTO, 1) <
              1e-10);
        CHECK(Difference({48, 6, 2, 3, 33, 33, causal, false, bias, SAGE_F32}, backend, SAGE_ALGORITHM_AUTO, 2) < 1e-4);
      }
  }
}

TEST_CASE("P11 GQAExpertAttention: 12 query heads over 4 groups, head_dim = d_model / 12, self and cross") {
  for (const char* backend : Backends()) {
    CAPTURE(backend);
    CHECK(Difference({96, 12, 4, 2, 17, 17, false, false, false, SAGE_F64}, backend, SAGE_ALGORITHM_AUTO, 3, true) <
          1e-10);
    CHECK(Difference({96, 12, 4, 1, 5, 29, false, true, true, SAGE_F64}, backend, SAGE_ALGORITHM_AUTO, 4, true) <
          1e-10);
    CHECK(Difference({96, 12, 4, 2, 5, 29, true, true, false, SAGE_F64, SAGE_ALIGN_BOTTOM_RIGHT}, backend,
                     SAGE_ALGORITHM_AUTO, 5, true) < 1e-10);
    CHECK(Difference({768, 12, 4, 1, 9, 9, true, false, false, SAGE_F32}, backend, SAGE_ALGORITHM_AUTO, 6, true) <
          1e-2);
  }
}

TEST_CASE("N7 multi-head layers of 256 and 512 with 8 heads: flash and standard agree with the formula to 1e-8") {
  for (const char* backend : Backends()) {
    CAPTURE(backend);
    for (const size_t d_model : {size_t{256}, size_t{512}})
      for (const uint32_t algorithm : {SAGE_ALGORITHM_FLASH, SAGE_ALGORITHM_MATERIALISED}) {
        CAPTURE(d_model);
        CAPTURE(algorithm);
        CHECK(Difference({d_model, 8, 8, 1, 37, 37, true, false, false, SAGE_F64}, backend, algorithm, 7) < 1e-8);
      }
  }
}
