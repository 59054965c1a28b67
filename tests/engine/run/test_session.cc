// test_session.cc: graphs of every shape a session has to get right, at fixed sizes: results, memory, errors, cancel.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "graph_builder.h"
#include "support/heap_count.h"

using namespace sage;
using namespace sage::test;

namespace {

std::unique_ptr<Session> Open(const GraphBuilder& builder, const SessionOptions& options = {},
                              std::shared_ptr<Engine> engine = PlainEngine()) {
  auto session = Session::Create(std::move(engine), builder.Share(), options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

// softmax(q k^T / sqrt(d)) v, heads of kv repeated; everything row-major [B,H,S,D].
std::vector<float> NaiveAttention(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v,
                                  int64_t batch, int64_t hq, int64_t hkv, int64_t sq, int64_t skv, int64_t d) {
  std::vector<float> out(q.size());
  const auto at = [&](const std::vector<float>& t, int64_t heads, int64_t rows, int64_t b, int64_t h, int64_t i,
                      int64_t x) {
    return static_cast<double>(t[static_cast<size_t>(((b * heads + h) * rows + i) * d + x)]);
  };
  std::vector<double> p(static_cast<size_t>(skv));
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < hq; ++h)
      for (int64_t i = 0; i < sq; ++i) {
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < skv; ++j) {
          double s = 0;
          for (int64_t x = 0; x < d; ++x) s += at(q, hq, sq, b, h, i, x) * at(k, hkv, skv, b, h / (hq / hkv), j, x);
          p[static_cast<size_t>(j)] = s / std::sqrt(static_cast<double>(d));
          most = std::max(most, p[static_cast<size_t>(j)]);
        }
        for (double& value : p) sum += value = std::exp(value - most);
        for (int64_t x = 0; x < d; ++x) {
          double o = 0;
          for (int64_t j = 0; j < skv; ++j) o += p[static_cast<size_t>(j)] * at(v, hkv, skv, b, h / (hq / hkv), j, x);
          out[static_cast<size_t>(((b * hq + h) * sq + i) * d + x)] = static_cast<float>(o / sum);
        }
      }
  return out;
}

void CheckNear(const std::vector<float>& got, const std::vector<float>& expected, double tolerance) {
  REQUIRE(got.size() == expected.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(double(got[i]) - double(expected[i])));
  CHECK(worst <= tolerance);
}

}  // namespace

TEST_CASE("session: a chain of nodes gives each one's result to the next") {
  GraphBuilder g;
  int32_t x = g.Input("x", SAGE_F32, {Fixed(3), Fixed(5)});
  for (int i = 0; i < 6; ++i) x = g.Unary("node" + std::to_string(i), x, i % 2 == 0 ? SAGE_FN_NEG : SAGE_FN_ABS);
  g.Output(x);
  auto session = Open(g);
  const std::vector<float> values = Random(15, 1);
  REQUIRE(Set(*session, 0, {3, 5}, values).ok());
  REQUIRE(session->Run().ok());
  std::vector<float> expected = values;
  for (float& value : expected) value = std::fabs(value);
  CHECK(Get(*session, 0) == expected);
  CHECK(std::string(session->NodeBackend(0)) == "reference");
}

TEST_CASE("S16 session: intermediates of a chain share two places, and a replay allocates nothing") {
  GraphBuilder g;
  int32_t x = g.Input("x", SAGE_F32, {Fixed(64), Fixed(64)});
  for (int i = 0; i < 20; ++i) x = g.Unary("node" + std::to_string(i), x);
  g.Output(x);
  auto session = Open(g);
  CHECK(session->counters().arena_bytes == 2u * 64 * 64 * 4);
  const std::vector<float> values = Random(64 * 64, 2);
  REQUIRE(Set(*session, 0, {64, 64}, values).ok());
  REQUIRE(session->Run().ok());
  const std::vector<float> first = Get(*session, 0);
  const uint64_t before = HeapAllocations();
  for (int i = 0; i < 10; ++i) {
    const int64_t shape[] = {64, 64};
    REQUIRE(session->SetInput(0, SAGE_F32, shape, values.data(), values.size() * 4).ok());
    REQUIRE(session->Run().ok());
  }
  CHECK(HeapAllocations() == before);
  CHECK(session->counters().heap_allocations == 0);
  CHECK(session->counters().plans == 1);
  CHECK(Get(*session, 0) == first);
}

TEST_CASE("session: a GQA attention layer with projections, residual and reshapes equals the formula") {
  // x [2,7,24] -> q,k,v by LINEAR; [2,7,H,6] by a reshape view; attention over [B,S,H,D]; residual add.
  constexpr int64_t B = 2, S = 7, H = 4, HKV = 2, D = 6, E = H * D;
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(B), Fixed(S), Fixed(E)});
  const std::vector<float> wq = Random(E * E, 3), wk = Random(HKV * D * E, 4), wv = Random(HKV * D * E, 5);
  const int32_t q = g.Linear("q_proj", x, g.Constant("wq", {Fixed(E), Fixed(E)}, wq));
  const int32_t k = g.Linear("k_proj", x, g.Constant("wk", {Fixed(HKV * D), Fixed(E)}, wk));
  const int32_t v = g.Linear("v_proj", x, g.Constant("wv", {Fixed(HKV * D), Fixed(E)}, wv));
  AttentionNode bshd;
  bshd.layout = Layout::kBSHD;
  const int32_t o = g.Attention("attn", g.Reshape("split_q", q, {Fixed(B), Fixed(S), Fixed(H), Fixed(D)}),
                                g.Reshape("split_k", k, {Fixed(B), Fixed(S), Fixed(HKV), Fixed(D)}),
                                g.Reshape("split_v", v, {Fixed(B), Fixed(S), Fixed(HKV), Fixed(D)}), bshd);
  const int32_t merged = g.Reshape("merge", o, {Fixed(B), Fixed(S), Fixed(-1)});
  g.Output(g.Binary("residual", x, merged));
  g.Output(merged);
  auto session = Open(g);
  CHECK(std::string(session->NodeBackend(3)) == "view");
  CHECK(std::string(session->NodeBackend(7)) == "view");
  const std::vector<float> input = Random(B * S * E, 6);
  REQUIRE(Set(*session, 0, {B, S, E}, input).ok());
  REQUIRE(session->Run().ok());

  const auto project = [&](const std::vector<float>& w, int64_t heads) {  // to [B,heads,S,D]
    std::vector<float> out(static_cast<size_t>(B * heads * S * D));
    for (int64_t b = 0; b < B; ++b)
      for (int64_t s = 0; s < S; ++s)
        for (int64_t n = 0; n < heads * D; ++n) {
          double sum = 0;
          for (int64_t e = 0; e < E; ++e)
            sum += double(input[size_t((b * S + s) * E + e)]) * double(w[size_t(n * E + e)]);
          out[size_t(((b * heads + n / D) * S + s) * D + n % D)] = static_cast<float>(sum);
        }
    return out;
  };
  const std::vector<float> heads =
      NaiveAttention(project(wq, H), project(wk, HKV), project(wv, HKV), B, H, HKV, S, S, D);
  std::vector<float> expected(input.size()), sum(input.size());
  for (int64_t b = 0; b < B; ++b)
    for (int64_t s = 0; s < S; ++s)
      for (int64_t n = 0; n < E; ++n) {
        const auto i = size_t((b * S + s) * E + n);
        expected[i] = heads[size_t(((b * H + n / D) * S + s) * D + n % D)];
        sum[i] = expected[i] + input[i];
      }
  CheckNear(Get(*session, 1), expected, 1e-5);
  CheckNear(Get(*session, 0), sum, 1e-5);
}

TEST_CASE("session: a reshape that strides cannot express is one copy by the engine, and counted") {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(4), Fixed(6)});
  const int32_t turned = g.Permute("turn", x, {1, 0});
  g.Output(g.Reshape("flat", turned, {Fixed(-1)}));
  g.Output(g.Reshape("again", x, {Fixed(3), Fixed(8)}));  // a view of an input, as an output
  auto session = Open(g);
  const std::vector<float> values = Random(24, 7);
  REQUIRE(Set(*session, 0, {4, 6}, values).ok());
  REQUIRE(session->Run().ok());
  std::vector<float> expected;
  for (size_t j = 0; j < 6; ++j)
    for (size_t i = 0; i < 4; ++i) expected.push_back(values[i * 6 + j]);
  CHECK(Get(*session, 0) == expected);
  CHECK(Get(*session, 1) == values);
  CHECK(session->Output(1)->shape[0] == 3);
  CHECK(std::string(session->NodeBackend(1)) == "view");  // PERMUTE is a backend's copy, so its result is row-major

  // Bound with strides that make the source of the reshape a broken line: then the engine copies.
  std::vector<float> wide(4 * 10);
  for (size_t i = 0; i < 4; ++i)
    std::copy_n(values.begin() + static_cast<long>(i * 6), 6, wide.begin() + static_cast<long>(i * 10));
  sage_tensor strided;
  const int64_t shape[] = {4, 6};
  sage_tensor_init(&strided, SAGE_F32, 2, shape, wide.data());
  strided.stride[0] = 10;
  REQUIRE(session->Bind(SAGE_INPUT, 0, &strided).ok());
  const Status status = session->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(Get(*session, 0) == expected);
  CHECK(Get(*session, 1) == values);
  CHECK(std::string(session->NodeBackend(2)) == "engine");
  CHECK(session->counters().bytes_copied == 24 * 4);
}

TEST_CASE("session: outputs may be an input, a constant, or a view") {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(2), Fixed(3)});
  const int32_t c = g.Constant("c", {Fixed(3)}, {7, 8, 9});
  const int32_t y = g.Binary("add", x, c);
  for (const int32_t output : {x, c, y}) g.Output(output);
  g.Output(g.Reshape("view", y, {Fixed(6)}));
  auto session = Open(g);
  REQUIRE(Set(*session, 0, {2, 3}, {1, 2, 3, 4, 5, 6}).ok());
  REQUIRE(session->Run().ok());
  const std::vector<float> in = {1, 2, 3, 4, 5, 6}, sum = {8, 10, 12, 11, 13, 15};
  CHECK(Get(*session, 0) == in);
  CHECK(Get(*session, 1) == std::vector<float>{7, 8, 9});
  for (const uint32_t i : {2u, 3u}) CHECK(Get(*session, i) == sum);
  CHECK(session->counters().bytes_copied == 0);

  // All of them bound: written in place where a node writes, copied where none does.
  std::vector<float> a(6), b(3), written(6), view(6);
  const auto bind = [&](uint32_t index, std::vector<float>& memory, std::vector<int64_t> shape) {
    sage_tensor tensor;
    sage_tensor_init(&tensor, SAGE_F32, static_cast<uint32_t>(shape.size()), shape.data(), memory.data());
    return session->Bind(SAGE_OUTPUT, index, &tensor);
  };
  REQUIRE(bind(0, a, {2, 3}).ok());
  REQUIRE(bind(1, b, {3}).ok());
  REQUIRE(bind(2, written, {2, 3}).ok());
  REQUIRE(bind(3, view, {6}).ok());
  const Status status = session->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(a == in);
  CHECK(b == std::vector<float>{7, 8, 9});
  CHECK(written == sum);
  CHECK(view == sum);
  CHECK(session->counters().bytes_copied == (6 + 3 + 6) * 4);
}

TEST_CASE("session: concat, and a tensor read by several nodes") {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(2), Fixed(2)});
  const int32_t negated = g.Unary("neg", x, SAGE_FN_NEG);
  const int32_t all = g.Concat("cat", {x, negated, g.Unary("abs", negated, SAGE_FN_ABS)}, 1);
  g.Output(g.Unary("id", all, SAGE_FN_IDENTITY));
  auto session = Open(g);
  REQUIRE(Set(*session, 0, {2, 2}, {1, -2, 3, -4}).ok());
  REQUIRE(session->Run().ok());
  CHECK(Get(*session, 0) == std::vector<float>{1, -2, -1, 2, 1, 2, 3, -4, -3, 4, 3, 4});
}

TEST_CASE("session: dimensions of no elements") {
  GraphBuilder g;
  const Dim n = g.Symbol("n", 4);
  const int32_t x = g.Input("x", SAGE_F32, {n, Fixed(3)});
  const int32_t y = g.Input("y", SAGE_F32, {Fixed(0), Fixed(3)});
  g.Output(g.Unary("relu", x));
  g.Output(g.Concat("cat", {x, y}, 0));
  g.Output(g.Reshape("none", y, {Fixed(3), Fixed(0)}));
  auto session = Open(g);
  REQUIRE(Set(*session, 0, {0, 3}, {}).ok());
  REQUIRE(Set(*session, 1, {0, 3}, {}).ok());
  const Status status = session->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(session->Output(0)->shape[0] == 0);
  CHECK(session->Output(2)->shape[1] == 0);
  REQUIRE(Set(*session, 0, {2, 3}, {1, -1, 2, -2, 3, -3}).ok());
  REQUIRE(session->Run().ok());
  CHECK(Get(*session, 0) == std::vector<float>{1, 0, 2, 0, 3, 0});
  CHECK(Get(*session, 1) == std::vector<float>{1, -1, 2, -2, 3, -3});
}

TEST_CASE("session: what is wrong with an input is said with its name, what was given and what is wanted") {
  GraphBuilder g;
  const Dim n = g.Symbol("seq", 16);
  const int32_t x = g.Input("tokens", SAGE_F32, {n, Fixed(4)});
  g.Output(g.Unary("relu", x));
  auto session = Open(g);
  const std::vector<float> values(64);
  const auto message = [&](const Status& status, sage_status code) {
    CHECK(status.code() == code);
    return status.message();
  };
  CHECK(message(session->Run(), SAGE_E_INVALID_ARGUMENT) ==
        "input 0 \"tokens\" is not set; set or bind every input before the run");
  CHECK(message(Set(*session, 0, {17, 4}, std::vector<float>(68)), SAGE_E_INVALID_ARGUMENT) ==
        "input 0 \"tokens\": shape [17, 4] was given, the model wants [seq (0 to 16), 4]");
  CHECK(message(Set(*session, 0, {2, 4, 1}, std::vector<float>(8)), SAGE_E_INVALID_ARGUMENT).find("[2, 4, 1]") !=
        std::string::npos);
  CHECK(message(Set(*session, 0, {-1, 4}, {}), SAGE_E_INVALID_ARGUMENT).find("[-1, 4]") != std::string::npos);
  CHECK(message(Set(*session, 0, {2, 4}, std::vector<float>(7)), SAGE_E_INVALID_ARGUMENT).find("28 bytes") !=
        std::string::npos);
  const int64_t shape[] = {2, 4};
  CHECK(message(session->SetInput(0, SAGE_F64, shape, values.data(), 64), SAGE_E_INVALID_ARGUMENT) ==
        "input 0 \"tokens\": f64 was given, the model wants f32");
  CHECK(message(session->SetInput(0, SAGE_F32, shape, nullptr, 32), SAGE_E_INVALID_ARGUMENT).find("null") !=
        std::string::npos);
  CHECK(message(session->SetInput(3, SAGE_F32, shape, values.data(), 32), SAGE_E_NOT_FOUND) ==
        "input 3 was given, the model has 1");
  CHECK(message(session->Output(0).status(), SAGE_E_INVALID_ARGUMENT).find("no run yet") != std::string::npos);
  CHECK(message(session->Output(1).status(), SAGE_E_NOT_FOUND).find("the model has 1") != std::string::npos);
  CHECK(session->Bind(7, 0, nullptr).code() == SAGE_E_INVALID_ARGUMENT);
  REQUIRE(Set(*session, 0, {2, 4}, std::vector<float>(8)).ok());
  CHECK(session->Run().ok());  // nothing of that broke it
}

TEST_CASE("session: a graph that is not one is refused with its errors") {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(4)});
  g.Unary("relu", x);
  g.last_node().slots[0] = 99;
  g.Output(1);
  const auto session = Session::Create(PlainEngine(), g.Share(), {});
  REQUIRE_FALSE(session.ok());
  CHECK(session.status().message().find("relu") != std::string::npos);
}

TEST_CASE("session: more than max_memory is refused before anything is allocated, with the figures") {
  GraphBuilder g;
  const Dim n = g.Symbol("n", int64_t{1} << 40);
  const int32_t x = g.Input("x", SAGE_F32, {n, Fixed(1024)});
  g.Output(g.Unary("relu", x));
  auto engine = PlainEngine();
  const uint64_t before = engine->host()->allocations();
  SessionOptions options;
  options.max_memory = 1 << 20;
  const auto session = Session::Create(engine, g.Share(), options);
  REQUIRE_FALSE(session.ok());
  CHECK(session.status().code() == SAGE_E_OUT_OF_MEMORY);
  CHECK(session.status().message().find("max_memory is 1048576") != std::string::npos);
  CHECK(engine->host()->allocations() == before);

  SUBCASE("the file can lower the caller's limit, never raise it") {
    GraphBuilder small;
    small.Output(small.Unary("relu", small.Input("x", SAGE_F32, {Fixed(1024)})));
    small.graph().policy.max_memory = 4096;
    CHECK(Session::Create(engine, small.Share(), options).status().code() == SAGE_E_OUT_OF_MEMORY);
    small.graph().policy.max_memory = 1 << 30;
    CHECK(Session::Create(engine, small.Share(), options).ok());
    options.max_memory = 4096;
    CHECK(Session::Create(engine, small.Share(), options).status().code() == SAGE_E_OUT_OF_MEMORY);
  }
}

TEST_CASE("session: an append to a cache that is a constant or a node's result is refused") {
  for (const bool constant : {true, false}) {
    GraphBuilder g;
    const std::vector<Dim> cache = {Fixed(1), Fixed(1), Fixed(4), Fixed(2)},
                           fresh = {Fixed(1), Fixed(1), Fixed(1), Fixed(2)};
    const int32_t q = g.Input("q", SAGE_F32, fresh), kn = g.Input("k_new", SAGE_F32, fresh);
    const int32_t vn = g.Input("v_new", SAGE_F32, fresh), used = g.Input("used", SAGE_I32, {Fixed(1)});
    const int32_t k =
        constant ? g.Constant("k", cache, std::vector<float>(8)) : g.Unary("made", g.Input("made_of", SAGE_F32, cache));
    const int32_t v = g.Input("v", SAGE_F32, cache);
    g.Output(
        g.Attention("attn", q, k, v, {}, {{SAGE_ATTN_K_NEW, kn}, {SAGE_ATTN_V_NEW, vn}, {SAGE_ATTN_SEQUSED_K, used}}));
    const auto session = Session::Create(PlainEngine(), g.Share(), {});
    REQUIRE_FALSE(session.ok());
    CHECK(session.status().message().find("attn.k: is written in place by k_new and v_new") != std::string::npos);
  }
}

TEST_CASE("session: a KV cache that the caller binds is appended to in place") {
  GraphBuilder g;
  const std::vector<Dim> cache = {Fixed(1), Fixed(1), Fixed(4), Fixed(2)},
                         fresh = {Fixed(1), Fixed(1), Fixed(1), Fixed(2)};
  const int32_t q = g.Input("q", SAGE_F32, fresh), k = g.Input("k", SAGE_F32, cache), v = g.Input("v", SAGE_F32, cache);
  const int32_t kn = g.Input("k_new", SAGE_F32, fresh), vn = g.Input("v_new", SAGE_F32, fresh);
  const int32_t used = g.Input("used", SAGE_I32, {Fixed(1)});
  g.Output(
      g.Attention("attn", q, k, v, {}, {{SAGE_ATTN_K_NEW, kn}, {SAGE_ATTN_V_NEW, vn}, {SAGE_ATTN_SEQUSED_K, used}}));
  auto session = Open(g);
  std::vector<float> keys(8), values(8);
  const int64_t shape[] = {1, 1, 4, 2};
  sage_tensor tensor;
  sage_tensor_init(&tensor, SAGE_F32, 4, shape, keys.data());
  REQUIRE(session->Bind(SAGE_INPUT, 1, &tensor).ok());
  tensor.data = values.data();
  REQUIRE(session->Bind(SAGE_INPUT, 2, &tensor).ok());
  // Memory that may not be written, or that is read besides, is no place to append to.
  tensor.flags = SAGE_TENSOR_READ_ONLY;
  CHECK(session->Bind(SAGE_INPUT, 2, &tensor).message() ==
        "input 2 \"v\": the memory given is read-only, and node \"attn\" appends to it");
  CHECK(session->Bind(SAGE_OUTPUT, 0, &tensor).message().find("is written, and the memory given is read-only") !=
        std::string::npos);
  {
    const int64_t rows[] = {1, 1, 1, 2};
    sage_tensor fresh_keys;
    sage_tensor_init(&fresh_keys, SAGE_F32, 4, rows, keys.data() + 6);
    fresh_keys.flags = SAGE_TENSOR_READ_ONLY;  // read only it is
    REQUIRE(session->Bind(SAGE_INPUT, 3, &fresh_keys).ok());
    REQUIRE(Set(*session, 0, {1, 1, 1, 2}, {0, 0}).ok());
    REQUIRE(Set(*session, 4, {1, 1, 1, 2}, {0, 0}).ok());
    const int64_t one[] = {1};
    const int32_t zero = 0;
    REQUIRE(session->SetInput(5, SAGE_I32, one, &zero, 4).ok());
    CHECK(session->Run().message() ==
          "input 1 \"k\" is appended to and overlaps input 3 \"k_new\" in memory; bind them apart");
  }
  for (int32_t step = 0; step < 4; ++step) {
    const float f = static_cast<float>(step);
    REQUIRE(Set(*session, 0, {1, 1, 1, 2}, {0, 0}).ok());
    REQUIRE(Set(*session, 3, {1, 1, 1, 2}, {f, f}).ok());
    REQUIRE(Set(*session, 4, {1, 1, 1, 2}, {f, 2 * f}).ok());
    const int64_t one[] = {1};
    REQUIRE(session->SetInput(5, SAGE_I32, one, &step, 4).ok());
    const Status status = session->Run();
    REQUIRE_MESSAGE(status.ok(), status.message());
    CheckNear(Get(*session, 0), {f / 2, f}, 1e-6);  // a zero query: the mean of what is there
    CHECK(keys[static_cast<size_t>(2 * step)] == f);
    CHECK(values[static_cast<size_t>(2 * step + 1)] == 2 * f);
  }
}

TEST_CASE("session: a KV cache that the session holds keeps what was appended, at any capacity") {
  GraphBuilder g;
  const std::vector<Dim> cache = {Fixed(1), Fixed(2), g.Symbol("capacity", 8), Fixed(2)},
                         fresh = {Fixed(1), Fixed(2), Fixed(1), Fixed(2)};
  const int32_t q = g.Input("q", SAGE_F32, fresh), k = g.Input("k", SAGE_F32, cache), v = g.Input("v", SAGE_F32, cache);
  const int32_t kn = g.Input("k_new", SAGE_F32, fresh), vn = g.Input("v_new", SAGE_F32, fresh);
  const int32_t used = g.Input("used", SAGE_I32, {Fixed(1)});
  g.Output(
      g.Attention("attn", q, k, v, {}, {{SAGE_ATTN_K_NEW, kn}, {SAGE_ATTN_V_NEW, vn}, {SAGE_ATTN_SEQUSED_K, used}}));
  auto session = Open(g);
  for (const int64_t capacity : {5, 8}) {
    for (const uint32_t input : {1u, 2u})
      REQUIRE(Set(*session, input, {1, 2, capacity, 2}, std::vector<float>(static_cast<size_t>(4 * capacity))).ok());
    REQUIRE(Set(*session, 0, {1, 2, 1, 2}, {0, 0, 0, 0}).ok());
    REQUIRE(Set(*session, 3, {1, 2, 1, 2}, {0, 0, 0, 0}).ok());
    for (int32_t step = 0; step < 5; ++step) {
      const float f = static_cast<float>(step);
      REQUIRE(Set(*session, 4, {1, 2, 1, 2}, {f, 2 * f, 3 * f, 4 * f}).ok());
      const int64_t one[] = {1};
      REQUIRE(session->SetInput(5, SAGE_I32, one, &step, 4).ok());
      const Status status = session->Run();
      REQUIRE_MESSAGE(status.ok(), status.message());
      CheckNear(Get(*session, 0), {f / 2, f, 3 * f / 2, 2 * f}, 1e-6);  // the mean of all that was appended so far
    }
  }
}

TEST_CASE("session: overlapping bindings are refused, apart ones are not") {
  GraphBuilder g;
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {Fixed(8)})));
  auto session = Open(g);
  std::vector<float> memory(16, 1.0f);
  const int64_t shape[] = {8};
  sage_tensor in, out;
  sage_tensor_init(&in, SAGE_F32, 1, shape, memory.data());
  sage_tensor_init(&out, SAGE_F32, 1, shape, memory.data() + 7);
  REQUIRE(session->Bind(SAGE_INPUT, 0, &in).ok());
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &out).ok());
  const Status status = session->Run();
  CHECK(status.code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(status.message() == "output 0 \"relu.out\" and input 0 \"x\" overlap in memory; bind them apart");
  out.data = memory.data() + 8;
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &out).ok());
  CHECK(session->Run().ok());
  // From the far end back: what the strides reach is compared, not what the shape counts.
  out.data = memory.data() + 15;
  out.stride[0] = -1;
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &out).ok());
  const Status backwards = session->Run();
  REQUIRE_MESSAGE(backwards.ok(), backwards.message());
  out.data = memory.data() + 14;
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &out).ok());
  CHECK(session->Run().code() == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("session: bound tensors that cannot be are refused") {
  GraphBuilder g;
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {Fixed(4), Fixed(4)})));
  auto session = Open(g);
  std::vector<float> memory(16);
  const int64_t shape[] = {4, 4};
  sage_tensor tensor;
  sage_tensor_init(&tensor, SAGE_F32, 2, shape, memory.data());
  tensor.device_type = SAGE_CUDA;
  CHECK(session->Bind(SAGE_INPUT, 0, &tensor).code() == SAGE_E_UNSUPPORTED);
  tensor.device_type = 0;  // unset means CPU
  CHECK(session->Bind(SAGE_INPUT, 0, &tensor).ok());
  tensor.stride[0] = INT64_MAX / 2;
  CHECK(session->Bind(SAGE_INPUT, 0, &tensor).code() == SAGE_E_INVALID_ARGUMENT);
  tensor.stride[0] = 0;
  CHECK(session->Bind(SAGE_OUTPUT, 0, &tensor).code() == SAGE_E_INVALID_ARGUMENT);
  tensor.struct_size = 7;
  CHECK(session->Bind(SAGE_INPUT, 0, &tensor).code() == SAGE_E_INVALID_ARGUMENT);
  tensor.struct_size = sizeof tensor, tensor.rank = 9;
  CHECK(session->Bind(SAGE_INPUT, 0, &tensor).code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(session->Bind(SAGE_INPUT, 0, nullptr).ok());
  CHECK(session->Run().code() == SAGE_E_INVALID_ARGUMENT);  // unbound again
}
