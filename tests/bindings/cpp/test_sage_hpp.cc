// test_sage_hpp.cc: attention through sage.hpp: the same bits as through the C API, and its errors as exceptions.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <optional>
#include <random>

#include "sage.hpp"

namespace {

std::vector<float> Normal(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = std::normal_distribution<float>()(random);
  return values;
}

// What `call` throws.
template <class Call>
sage::Error Thrown(Call&& call) {
  try {
    call();
  } catch (const sage::Error& error) {
    return error;
  }
  return {SAGE_OK, 0, "nothing was thrown"};
}

struct Arrays {
  sage::AttentionShape shape;
  std::vector<float> q, k, v, o;
  explicit Arrays(unsigned seed = 1) {
    shape.batch = 2, shape.heads_q = 4, shape.heads_kv = 2, shape.seq_q = 5, shape.seq_kv = 7, shape.dim_qk = 8;
    q = Normal(2 * 4 * 5 * 8, seed), k = Normal(2 * 2 * 7 * 8, seed + 1), v = Normal(2 * 2 * 7 * 8, seed + 2);
    o.resize(q.size());
  }
  sage::AttentionOp Op() {
    return {sage::Tensor(q, {2, 4, 5, 8}), sage::Tensor(k, {2, 2, 7, 8}), sage::Tensor(v, {2, 2, 7, 8}),
            sage::Tensor(o, {2, 4, 5, 8})};
  }
};

TEST_CASE("sage.hpp: the plain call and a plan have the bits of the C API") {
  const sage::Engine engine;
  const std::vector<std::string> backends = engine.backends();
  REQUIRE(!backends.empty());
  CHECK(backends[0] == "reference");
  CHECK(engine.describe().find("\"reference\"") != std::string::npos);
  Arrays a;
  std::vector<float> want(a.o.size());
  REQUIRE(sage_attention(engine.raw(), SAGE_F32, 0, 2, 4, 2, 5, 7, 8, 8, a.q.data(), a.k.data(), a.v.data(),
                         want.data(), SAGE_ALIGN_BOTTOM_RIGHT, 0.25, nullptr) == SAGE_OK);
  a.shape.causal = sage::Causal::kBottomRight, a.shape.scale = 0.25;
  engine.attention<float>(a.shape, a.q, a.k, a.v, a.o);
  CHECK(a.o == want);

  std::fill(a.o.begin(), a.o.end(), 0.0f);
  sage::AttentionOp op = a.Op();
  op.causal(sage::Causal::kBottomRight).scale(0.25);
  CHECK((op.features() & (SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA)) ==
        (SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA));
  const sage::AttentionPlan plan(engine, op);
  CHECK(!plan.backend().empty());
  CHECK(plan.explain().find("\"chosen\"") != std::string::npos);
  CHECK(plan.memory().q_bytes == a.q.size() * 4);
  sage::AttentionContext context(plan);
  context.run(op);
  CHECK(a.o == want);
}

TEST_CASE("sage.hpp: slots, windows, dynamic axes and double") {
  const sage::Engine engine;
  Arrays a(7);
  const auto run = [&](sage::AttentionOp& op) {
    std::fill(a.o.begin(), a.o.end(), 9.0f);
    sage::AttentionContext(sage::AttentionPlan(engine, op)).run(op);  // the context holds its plan
    return a.o;
  };
  sage::AttentionOp windowed = a.Op();
  windowed.align(sage::Causal::kBottomRight).window(1, 0);
  const std::vector<float> by_window = run(windowed);
  // The same as a mask: key j of query i where i+2-1 <= j <= i+2.
  std::vector<uint8_t> keep(5 * 7);
  for (size_t i = 0; i < 5; ++i)
    for (size_t j = 0; j < 7; ++j) keep[i * 7 + j] = j + 1 >= i + 2 && j <= i + 2;
  sage::AttentionOp masked = a.Op();
  sage::Tensor mask(SAGE_BOOL, {2, 4, 5, 7}, keep.data());
  mask.strides({0, 0, 7, 1});
  masked.slot(SAGE_ATTN_MASK, mask);
  CHECK(run(masked) == by_window);

  std::vector<double> q(6, 0.5), o(6);
  sage::AttentionShape shape;
  shape.seq_q = shape.seq_kv = 3, shape.dim_qk = 2;
  engine.attention<double>(shape, q, q, q, o);
  for (const double x : o) CHECK(x == doctest::Approx(0.5));
}

TEST_CASE("sage.hpp: appended keys, and the masks of a partition") {
  const sage::Engine engine;
  const int64_t seq = 32;
  std::vector<float> q = Normal(static_cast<size_t>(seq) * 8, 3), by_mask(q.size()), by_csr(q.size());
  const auto op = [&](std::vector<float>& o) {
    return sage::AttentionOp(sage::Tensor(q, {1, 1, seq, 8}), sage::Tensor(q, {1, 1, seq, 8}),
                             sage::Tensor(q, {1, 1, seq, 8}), sage::Tensor(o, {1, 1, seq, 8}));
  };
  const std::vector<uint8_t> mask = sage::mincut_mask(seq, 4);
  sage::AttentionOp first = op(by_mask);
  first.slot(SAGE_ATTN_MASK, sage::Tensor(SAGE_BOOL, {1, 1, seq, seq}, mask.data()));
  sage::AttentionContext(sage::AttentionPlan(engine, first)).run(first);
  const sage::CsrMask csr = sage::mincut_csr(seq, 4);
  sage::AttentionOp second = op(by_csr);
  second.slot(SAGE_ATTN_CSR_INDPTR, sage::Tensor(SAGE_I32, {1, 1, seq + 1}, csr.indptr.data()))
      .slot(SAGE_ATTN_CSR_INDICES,
            sage::Tensor(SAGE_I32, {static_cast<int64_t>(csr.indices.size())}, csr.indices.data()));
  second.attributes().mask_block_q = second.attributes().mask_block_kv = 1;
  sage::AttentionContext(sage::AttentionPlan(engine, second)).run(second);
  for (size_t i = 0; i < by_mask.size(); ++i) CHECK(by_csr[i] == doctest::Approx(by_mask[i]).epsilon(1e-5));
  const std::vector<uint8_t> blocks = sage::mincut_blocks(seq, 4, 8, 8);
  CHECK(blocks.size() == 16);
  CHECK(blocks[0] == 1);

  sage_gate_packet packet{};
  packet.lambda = packet.lambda_prev = 100;
  const sage_gate_decision decision = sage::gate_decide(packet);
  CHECK(decision.verdict == SAGE_GATE_ALLOW);
  first.align(sage::Causal::kTopLeft);
  sage::gate_apply(decision, first);
  CHECK(first.attributes().window_left == decision.window - 1);

  // Two keys are in use, one is appended: the third row of K becomes the new one.
  std::vector<float> k(4 * 8), v(4 * 8), token = Normal(8, 5), o(8);
  std::vector<int32_t> used{2};
  sage::AttentionOp step(sage::Tensor(token, {1, 1, 1, 8}), sage::Tensor(k, {1, 1, 4, 8}),
                         sage::Tensor(v, {1, 1, 4, 8}), sage::Tensor(o, {1, 1, 1, 8}));
  step.append(sage::Tensor(token, {1, 1, 1, 8}), sage::Tensor(token, {1, 1, 1, 8}))
      .slot(SAGE_ATTN_SEQUSED_K, sage::Tensor(used, {1}));
  sage::AttentionContext(sage::AttentionPlan(engine, step)).run(step);
  CHECK(std::equal(token.begin(), token.end(), k.begin() + 16));
  CHECK(std::all_of(k.begin() + 24, k.end(), [](float x) { return x == 0; }));
}

TEST_CASE("sage.hpp: what is wrong is said by an exception, with the library's code and words") {
  const sage::Engine engine;
  Arrays a;
  const auto short_v = [&] { engine.attention<float>(a.shape, a.q, a.k, std::span<const float>(a.v).first(3), a.o); };
  CHECK(Thrown(short_v).status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(std::string(Thrown(short_v).what()).find("v has 3 elements") != std::string::npos);
  a.shape.batch = int64_t{1} << 62;
  CHECK(Thrown([&] { engine.attention<float>(a.shape, a.q, a.k, a.v, a.o); }).status() == SAGE_E_INVALID_ARGUMENT);

  const sage::Error missing = Thrown([&] { const sage::Model none(engine, "/nowhere/at/all.fbs"); });
  CHECK(missing.status() == SAGE_E_NOT_FOUND);
  CHECK(std::string(missing.status_name()) == "SAGE_E_NOT_FOUND");
  CHECK(std::string(missing.what()).find("/nowhere/at/all.fbs") != std::string::npos);
  CHECK(Thrown([&] { sage::Engine(sage::Options().set("no_such_key", "1")); }).status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Thrown([&] { sage::Tensor(SAGE_F32, {1, 1, 1, 1, 1, 1, 1, 1, 1}); }).status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Thrown([&] { const sage::Tensor wrong(a.q, {3, -1}); }).status() == SAGE_E_INVALID_ARGUMENT);
  sage::AttentionOp op = Arrays().Op();
  CHECK(Thrown([&] { op.slot(SAGE_ATTN_NUM_SLOTS, sage::Tensor(SAGE_F32, {1})); }).status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Thrown([&] { op.window(1, 1), sage::AttentionPlan(engine, op); }).status() == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("sage.hpp: a text that grows between two calls is asked for again; a library of another ABI is refused") {
  std::string text = "short";
  int calls = 0;
  const auto get = [&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error*) -> sage_status {
    if (++calls == 2) text = "much longer than before";
    *needed = text.size() + 1;
    if (buffer == nullptr) return SAGE_OK;
    if (capacity < *needed) return SAGE_E_BUFFER_TOO_SMALL;
    std::copy_n(text.c_str(), *needed, buffer);
    return SAGE_OK;
  };
  CHECK(sage::detail::FetchText(get) == "much longer than before");
  CHECK(calls == 3);

  sage::detail::RequireAbi(sage_abi_version());
  sage::detail::RequireAbi(sage_abi_version() + 1);  // a newer minor
  const sage::Error other = Thrown([] { sage::detail::RequireAbi(uint32_t{SAGE_ABI_MAJOR + 1} << 16 | 3); });
  CHECK(other.status() == SAGE_E_ABI_MISMATCH);
  CHECK(std::string(other.what()).find("has ABI " + std::to_string(SAGE_ABI_MAJOR + 1) + ".3") != std::string::npos);
}

TEST_CASE("sage.hpp: callbacks live as long as what may call them, and may throw") {
  auto captured = std::make_shared<int>(0);
  const std::weak_ptr<int> alive = captured;
  Arrays a;
  sage::AttentionOp op = a.Op();
  std::optional<sage::AttentionPlan> plan;
  {
    sage::Options options;
    // A plugin that cannot be used is reported and left out.
    options.set("plugins", "/nowhere/libsage_none.so").log([captured](int32_t, std::string_view) {
      ++*captured;
      throw 1;
    });
    captured.reset();
    const sage::Engine engine(options);
    options.log([](int32_t, std::string_view) { FAIL("options are copied where they are used"); });
    plan.emplace(engine, op);
  }
  REQUIRE(!alive.expired());
  CHECK(*alive.lock() > 0);
  {
    sage::AttentionContext context(*plan);
    plan.reset();
    context.run(op);
    CHECK(a.o[0] != 0);
    CHECK(!alive.expired());
  }
  CHECK(alive.expired());
}

}  // namespace
