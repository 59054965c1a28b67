// test_session_shapes.cc: symbols, buckets, replans, bound layouts: whatever the bucket, the same bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>

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

// Attention [B,H,Sq,D] x [B,H,Skv,D], all three lengths open.
struct OpenAttention {
  static constexpr int64_t kHeads = 3, kWidth = 4;
  GraphBuilder g;
  explicit OpenAttention(int64_t max = 64) {
    const Dim b = g.Symbol("batch", 4), q = g.Symbol("queries", max), k = g.Symbol("keys", max);
    const int32_t tq = g.Input("q", SAGE_F32, {b, Fixed(kHeads), q, Fixed(kWidth)});
    const int32_t tk = g.Input("k", SAGE_F32, {b, Fixed(kHeads), k, Fixed(kWidth)});
    const int32_t tv = g.Input("v", SAGE_F32, {b, Fixed(kHeads), k, Fixed(kWidth)});
    g.Output(g.Attention("attn", tq, tk, tv));
  }
  static Status Run(Session& session, int64_t b, int64_t sq, int64_t skv, uint32_t seed) {
    const auto size = [](int64_t batch, int64_t rows) { return static_cast<size_t>(batch * kHeads * rows * kWidth); };
    SAGE_RETURN_IF_ERROR(Set(session, 0, {b, kHeads, sq, kWidth}, Random(size(b, sq), seed)));
    SAGE_RETURN_IF_ERROR(Set(session, 1, {b, kHeads, skv, kWidth}, Random(size(b, skv), seed + 1)));
    SAGE_RETURN_IF_ERROR(Set(session, 2, {b, kHeads, skv, kWidth}, Random(size(b, skv), seed + 2)));
    return session.Run();
  }
};

// The same problem with every length written into the graph: what any bucket must equal bit by bit.
std::vector<float> AtExactShape(int64_t b, int64_t sq, int64_t skv, uint32_t seed) {
  constexpr int64_t H = OpenAttention::kHeads, D = OpenAttention::kWidth;
  GraphBuilder g;
  const int32_t q = g.Input("q", SAGE_F32, {Fixed(b), Fixed(H), Fixed(sq), Fixed(D)});
  const int32_t k = g.Input("k", SAGE_F32, {Fixed(b), Fixed(H), Fixed(skv), Fixed(D)});
  const int32_t v = g.Input("v", SAGE_F32, {Fixed(b), Fixed(H), Fixed(skv), Fixed(D)});
  g.Output(g.Attention("attn", q, k, v));
  auto session = Open(g);
  REQUIRE(OpenAttention::Run(*session, b, sq, skv, seed).ok());
  return Get(*session, 0);
}

}  // namespace

TEST_CASE("S16 session: shapes inside a known bucket replay it: no plan, no heap, the same bits as at exact shapes") {
  OpenAttention open;
  auto session = Open(open.g);
  struct Case {
    int64_t b, sq, skv;
  };
  const Case cases[] = {{4, 33, 64}, {3, 40, 50}, {4, 64, 33}, {3, 64, 64}, {3, 47, 61}};
  REQUIRE(OpenAttention::Run(*session, 4, 64, 64, 1).ok());
  const uint64_t plans = session->counters().plans;
  for (const Case& c : cases) {
    REQUIRE(OpenAttention::Run(*session, c.b, c.sq, c.skv, 9).ok());
    CHECK(session->Output(0)->shape[2] == c.sq);
    CHECK(Get(*session, 0) == AtExactShape(c.b, c.sq, c.skv, 9));
  }
  CHECK(session->counters().plans == plans);
  CHECK(session->counters().heap_allocations > 0);  // the first run's buffers

  // All buffers have grown: from here on nothing is allocated, the shapes may change as they like within the bucket.
  const std::vector<float> values = Random(4 * 3 * 64 * 4, 5);
  const auto run = [&](const Case& c) {
    const int64_t q[] = {c.b, 3, c.sq, 4}, k[] = {c.b, 3, c.skv, 4};
    const auto bytes = [](const int64_t* s) { return static_cast<uint64_t>(s[0] * s[1] * s[2] * s[3] * 4); };
    return session->SetInput(0, SAGE_F32, q, values.data(), bytes(q)).ok() &&
           session->SetInput(1, SAGE_F32, k, values.data(), bytes(k)).ok() &&
           session->SetInput(2, SAGE_F32, k, values.data(), bytes(k)).ok() && session->Run().ok();
  };
  REQUIRE(run({4, 64, 64}));
  const uint64_t heap = HeapAllocations();
  bool all = true;
  for (const Case& c : cases) all = run(c) && all;
  CHECK(HeapAllocations() == heap);
  CHECK(all);
}

TEST_CASE("session: leaving a bucket makes a plan, coming back does not, and bits do not depend on the way") {
  OpenAttention open;
  auto session = Open(open.g);
  CHECK(session->counters().plans == 0);
  std::mt19937 generator(7);
  const auto pick = [&](int64_t max) { return static_cast<int64_t>(generator() % static_cast<uint32_t>(max)) + 1; };
  for (uint32_t i = 0; i < 40; ++i) {
    const int64_t b = pick(4), sq = pick(64), skv = pick(64);
    REQUIRE(OpenAttention::Run(*session, b, sq, skv, i).ok());
    CHECK(Get(*session, 0) == AtExactShape(b, sq, skv, i));
  }
  const uint64_t plans = session->counters().plans;
  CHECK(plans <= 3u * 7u * 7u);
  CHECK(session->counters().replans == plans);
  generator.seed(7);
  for (uint32_t i = 0; i < 5; ++i) {
    const int64_t b = pick(4), sq = pick(64), skv = pick(64);
    REQUIRE(OpenAttention::Run(*session, b, sq, skv, i).ok());
  }
  CHECK(session->counters().plans == plans);
}

TEST_CASE("session: more shapes than plans are kept drops the oldest and stays right") {
  GraphBuilder g;
  const Dim n = g.Symbol("n", 200);
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {Fixed(2), n})));  // an inner axis: planned at each exact size
  auto session = Open(g);
  for (int round = 0; round < 2; ++round) {
    for (int64_t size = 1; size <= 100; ++size) {
      std::vector<float> values = Random(static_cast<size_t>(2 * size), static_cast<uint32_t>(size));
      REQUIRE(Set(*session, 0, {2, size}, values).ok());
      REQUIRE(session->Run().ok());
      for (float& value : values) value = std::max(value, 0.0f);
      CHECK(Get(*session, 0) == values);
    }
  }
  CHECK(session->counters().plans == 200);
}

TEST_CASE("session: one name bound to two sizes is an error that names both inputs and sizes") {
  OpenAttention open;
  auto session = Open(open.g);
  REQUIRE(Set(*session, 0, {2, 3, 5, 4}, Random(120, 1)).ok());
  REQUIRE(Set(*session, 1, {2, 3, 6, 4}, Random(144, 1)).ok());
  REQUIRE(Set(*session, 2, {2, 3, 7, 4}, Random(168, 1)).ok());
  const Status status = session->Run();
  CHECK(status.code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(status.message() ==
        "dimension \"keys\" is 6 in input 1 \"k\" and 7 in input 2 \"v\"; one name has one size a run");
  REQUIRE(Set(*session, 2, {2, 3, 6, 4}, Random(144, 1)).ok());
  CHECK(session->Run().ok());
}

TEST_CASE("session: reshapes that merge open axes, at every size") {
  // [b,s,6] -> [b*s,6] -> relu -> [b,s,2,3]
  GraphBuilder g;
  const Dim b = g.Symbol("b", 4), s = g.Symbol("s", 8);
  const int32_t x = g.Input("x", SAGE_F32, {b, s, Fixed(6)});
  const int32_t rows = g.Reshape("rows", x, {Fixed(-1), Fixed(6)});
  const int32_t y = g.Unary("relu", rows);
  g.Output(g.Reshape("back", y, {b, s, Fixed(2), Fixed(3)}));
  g.Output(rows);
  auto session = Open(g);
  for (const auto& [batch, length] :
       {std::pair<int64_t, int64_t>{3, 5}, {4, 8}, {1, 7}, {2, 1}, {4, 3}, {3, 8}, {0, 4}}) {
    std::vector<float> values = Random(static_cast<size_t>(batch * length * 6), static_cast<uint32_t>(batch));
    REQUIRE(Set(*session, 0, {batch, length, 6}, values).ok());
    const Status status = session->Run();
    REQUIRE_MESSAGE(status.ok(), status.message());
    CHECK(Get(*session, 1) == values);
    for (float& value : values) value = std::max(value, 0.0f);
    CHECK(Get(*session, 0) == values);
    CHECK(session->Output(0)->shape[1] == length);
  }
}

TEST_CASE("session: bound tensors are used in place, whatever their strides, and nothing is copied") {
  OpenAttention open;
  auto session = Open(open.g);
  constexpr int64_t B = 2, H = 3, SQ = 5, SKV = 6, D = 4;
  // [B,S,H,D] memory seen as [B,H,S,D]; keys backwards in memory; the output with room between its rows.
  const std::vector<float> q = Random(B * SQ * H * D, 1), k = Random(B * SKV * H * D, 2),
                           v = Random(B * SKV * H * D, 3);
  std::vector<float> k_backwards(k.size()), wide(B * H * SQ * 7, -1.0f);
  const auto heads_inside = [&](int64_t rows, float* data) {
    sage_tensor tensor;
    const int64_t shape[] = {B, H, rows, D};
    sage_tensor_init(&tensor, SAGE_F32, 4, shape, data);
    tensor.stride[0] = rows * H * D, tensor.stride[1] = D, tensor.stride[2] = H * D;
    return tensor;
  };
  for (int64_t b = 0; b < B; ++b)
    for (int64_t j = 0; j < SKV; ++j)
      std::copy_n(&k[size_t((b * SKV + j) * H * D)], H * D, &k_backwards[size_t((b * SKV + SKV - 1 - j) * H * D)]);
  const sage_tensor tq = heads_inside(SQ, const_cast<float*>(q.data())),
                    tv = heads_inside(SKV, const_cast<float*>(v.data()));
  sage_tensor tk = heads_inside(SKV, k_backwards.data() + (SKV - 1) * H * D), out;
  tk.stride[2] = -H * D;
  const int64_t shape[] = {B, H, SQ, D};
  sage_tensor_init(&out, SAGE_F32, 4, shape, wide.data());
  out.stride[0] = H * SQ * 7, out.stride[1] = SQ * 7, out.stride[2] = 7;
  REQUIRE(session->Bind(SAGE_INPUT, 0, &tq).ok());
  REQUIRE(session->Bind(SAGE_INPUT, 1, &tk).ok());
  REQUIRE(session->Bind(SAGE_INPUT, 2, &tv).ok());
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &out).ok());
  const Status status = session->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(session->counters().bytes_copied == 0);

  const auto row_major = [&](const std::vector<float>& from, int64_t rows) {
    std::vector<float> to(from.size());
    for (int64_t b = 0; b < B; ++b)
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t h = 0; h < H; ++h)
          std::copy_n(&from[size_t(((b * rows + i) * H + h) * D)], D, &to[size_t(((b * H + h) * rows + i) * D)]);
    return to;
  };
  auto plain = Open(open.g);
  REQUIRE(Set(*plain, 0, {B, H, SQ, D}, row_major(q, SQ)).ok());
  REQUIRE(Set(*plain, 1, {B, H, SKV, D}, row_major(k, SKV)).ok());
  REQUIRE(Set(*plain, 2, {B, H, SKV, D}, row_major(v, SKV)).ok());
  REQUIRE(plain->Run().ok());
  CHECK(Get(*session, 0) == Get(*plain, 0));
  CHECK(wide[D] == -1.0f);  // between the rows nothing was touched
  CHECK(session->Output(0)->data == wide.data());

  // The same layout again is a known plan; another pointer is only a pointer.
  const uint64_t plans = session->counters().plans;
  std::vector<float> elsewhere(wide.size(), -1.0f);
  out.data = elsewhere.data();
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &out).ok());
  const uint64_t heap = HeapAllocations();
  const bool ran = session->Run().ok();
  CHECK(HeapAllocations() == heap);
  CHECK(ran);
  CHECK(elsewhere == wide);
  CHECK(session->counters().plans == plans);

  // Unbound again: the session's own memory.
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, nullptr).ok());
  REQUIRE(session->Run().ok());
  CHECK(session->Output(0)->data != elsewhere.data());
  CHECK(Get(*session, 0) == Get(*plain, 0));
}

TEST_CASE("session: a bound output may be larger than the run's, not smaller") {
  GraphBuilder g;
  const Dim n = g.Symbol("n", 16);
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {n, Fixed(2)})));
  auto session = Open(g);
  std::vector<float> memory(16, -1.0f);
  const int64_t room[] = {8, 2};
  sage_tensor out;
  sage_tensor_init(&out, SAGE_F32, 2, room, memory.data());
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &out).ok());
  REQUIRE(Set(*session, 0, {3, 2}, {1, 2, 3, 4, 5, 6}).ok());
  REQUIRE(session->Run().ok());
  CHECK(session->Output(0)->shape[0] == 3);
  CHECK(std::vector<float>(memory.begin(), memory.begin() + 7) == std::vector<float>{1, 2, 3, 4, 5, 6, -1});
  REQUIRE(Set(*session, 0, {9, 2}, std::vector<float>(18)).ok());
  const Status status = session->Run();
  CHECK(status.code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(status.message() == "output 0 \"relu.out\": axis 0 has 9 elements in this run, 8 were bound");
}

TEST_CASE("session: the output's shape is known before the run, at the inputs set so far") {
  OpenAttention open;
  auto session = Open(open.g);
  CHECK(session->OutputShape(0)->shape[2] == 64);
  REQUIRE(Set(*session, 0, {2, 3, 5, 4}, Random(120, 1)).ok());
  const Result<sage_tensor> shape = session->OutputShape(0);
  REQUIRE(shape.ok());
  CHECK(shape->shape[0] == 2);
  CHECK(shape->shape[2] == 5);
  CHECK(shape->dtype == SAGE_F32);
  CHECK(session->OutputShape(1).status().code() == SAGE_E_NOT_FOUND);
}

TEST_CASE("session: warmup = all plans every bucket, so that no run has to") {
  OpenAttention open(8);
  SessionOptions options;
  options.warmup_all = true;
  auto session = Open(open.g, options);
  CHECK(session->counters().plans == 3 * 4 * 4);
  for (const int64_t size : {1, 2, 3, 5, 8}) REQUIRE(OpenAttention::Run(*session, 3, size, 9 - size, 1).ok());
  CHECK(session->counters().replans == 0);

  OpenAttention many(1 << 20);
  const auto refused = Session::Create(PlainEngine(), many.g.Share(), options);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().message().find("more than 64 plans for 3 symbols") != std::string::npos);
}

TEST_CASE("session: one thread and three give the same bits") {
  OpenAttention open;
  std::vector<float> results[2];
  for (const int threads : {1, 3}) {
    auto session = Open(open.g, {}, PlainEngine({{"threads", std::to_string(threads)}}));
    REQUIRE(OpenAttention::Run(*session, 4, 61, 53, 11).ok());
    results[threads == 3] = Get(*session, 0);
  }
  CHECK(results[0] == results[1]);
  CHECK_FALSE(results[0].empty());
}
