// test_session_heap.cc: after warm-up a run takes nothing from the heap and nothing from the host: whole layers, calls
// under a fallback, and the one-shot context. Counted over every thread, plugins included.
#include <doctest/doctest.h>

#include <array>
#include <filesystem>

#include "attention_plan.h"
#include "graph_builder.h"
#include "model/sage_params.h"
#include "sage/program.h"
#include "support/attention_layer.h"
#include "support/heap_count.h"

using namespace sage;
using namespace sage::test;

namespace {

// With the cpu plugin where it is built, and more than one thread.
std::shared_ptr<Engine> LayerEngine() {
  auto engine = PlainEngine({{"threads", "2"}});
  const std::string cpu = SAGE_BINARY_DIR "/lib/sage/plugins/libsage_cpu.so";
  if (std::filesystem::exists(cpu)) REQUIRE(engine->LoadPlugin(cpu).ok());
  return engine;
}

std::vector<std::string> Backends(const Engine& engine) {
  std::vector<std::string> names = {"reference"};
  if (engine.FindBackend("cpu") != nullptr) names.emplace_back("cpu");
  return names;
}

// Calls step(n) until it is warm, then ten times more: heap allocations and host allocations of these.
template <class Step>
std::pair<uint64_t, uint64_t> AllocationsOf(const Engine& engine, Step step) {
  for (int n = 0; n < 4; ++n) step(n);
  const uint64_t heap = HeapAllocations(), host = engine.host()->allocations();
  for (int n = 0; n < 10; ++n) step(n);
  return {HeapAllocations() - heap, engine.host()->allocations() - host};
}

// A layer of d_model 96 with 12 query heads; the weights live as long as the graph.
std::shared_ptr<const Graph> Layer(bool expert, bool cross) {
  const auto constant = [](size_t count, uint32_t seed) {
    auto values = std::make_shared<std::vector<float>>(Random(count, seed));
    for (float& value : *values) value *= 0.1f;
    return Constant{values->data(), values->size() * sizeof(float), values};
  };
  AttentionLayer layer;
  layer.d_model = 96;
  layer.query_heads = 12, layer.kv_heads = expert ? 4 : 12;
  layer.causal = true, layer.cross = cross;
  layer.alignment = SAGE_ALIGN_BOTTOM_RIGHT;
  layer.max_batch = 4, layer.max_queries = 32, layer.max_keys = 64;
  const size_t kv = static_cast<size_t>(layer.kv_heads) * 8;
  layer.q = {constant(96 * 96, 1), constant(96, 5)}, layer.o = {constant(96 * 96, 4), constant(96, 8)};
  layer.k = {constant(kv * 96, 2), constant(kv, 6)}, layer.v = {constant(kv * 96, 3), constant(kv, 7)};
  auto graph = expert ? BuildGqaExpertAttention(layer) : BuildAttentionLayer(layer);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return *graph;
}

}  // namespace

TEST_CASE("S16 P10 P11 a multi-head layer and a GQAExpertAttention layer run without taking memory, at every length") {
  const auto engine = LayerEngine();
  for (const std::string& backend : Backends(*engine))
    for (const bool expert : {false, true})
      for (const bool cross : {false, true}) {
        CAPTURE(backend);
        CAPTURE(expert);
        CAPTURE(cross);
        SessionOptions options;
        options.policy.backend = backend;
        auto session = Session::Create(engine, Layer(expert, cross), options);
        REQUIRE_MESSAGE(session.ok(), session.status().message());
        const std::vector<float> x = Random(4 * 64 * 96, 11);
        std::vector<float> y(4 * 32 * 96);
        bool good = true;
        // Four shapes in turn: two buckets of queries, two of keys; warm after each was met once.
        const auto [heap, host] = AllocationsOf(*engine, [&](int n) {
          const int64_t rows = n % 2 == 0 ? 29 : 16, keys = n % 4 < 2 ? 64 : 31;
          const int64_t shape[] = {3, rows, 96}, context[] = {3, keys, 96};
          const auto bytes = [](const int64_t* s) { return static_cast<uint64_t>(s[0] * s[1] * s[2]) * 4; };
          good = (*session)->SetInput(0, SAGE_F32, shape, x.data(), bytes(shape)).ok() && good;
          if (cross) good = (*session)->SetInput(1, SAGE_F32, context, x.data(), bytes(context)).ok() && good;
          good = (*session)->Run().ok() && good;
          good = (*session)->GetOutput(0, y.data(), bytes(shape)).ok() && good;
        });
        CHECK(good);
        CHECK(heap == 0);
        CHECK(host == 0);
        // The session's own count, which a trace shows, has stood still since the shapes were new.
        const uint64_t counted = (*session)->counters().heap_allocations;
        CHECK((*session)->Run().ok());
        CHECK((*session)->counters().heap_allocations == counted);
      }
}

TEST_CASE("S16 S6 a run under a fallback takes no memory either: a wish dropped, and a backend that could not plan") {
  const auto engine = LayerEngine();
  if (engine->FindBackend("cpu") == nullptr) {
    MESSAGE("skipped: the cpu plugin is not built");
    return;
  }
  GraphBuilder g;
  const std::vector<Dim> shape = {Fixed(1), Fixed(2), Fixed(9), Fixed(8)};
  const int32_t q = g.Input("q", SAGE_F32, shape), k = g.Input("k", SAGE_F32, shape), v = g.Input("v", SAGE_F32, shape);
  const int32_t weights = g.Add("weights");
  g.Output(g.Attention("attn", q, k, v, {}, {{SAGE_ATTN_WEIGHTS, weights}}));
  g.Output(weights);
  SessionOptions options;
  options.policy.algorithm = SAGE_ALGORITHM_FLASH;  // which has no whole rows of weights to give
  auto session = Session::Create(engine, g.Share(), options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const std::vector<float> x = Random(144, 3);
  bool good = true;
  const auto [heap, host] = AllocationsOf(*engine, [&](int) {
    const int64_t sizes[] = {1, 2, 9, 8};
    for (uint32_t input = 0; input < 3; ++input)
      good = (*session)->SetInput(input, SAGE_F32, sizes, x.data(), 576).ok() && good;
    good = (*session)->Run().ok() && good;
  });
  CHECK(good);
  CHECK(std::string((*session)->FallbackReason()).find("algorithm flash") != std::string::npos);
  CHECK(heap == 0);
  CHECK(host == 0);

  GraphBuilder relu;
  relu.Output(relu.Unary("relu", relu.Input("x", SAGE_F32, {Fixed(4)})));
  const auto toy = PlainEngine({{"plugins", SAGE_TOY_PLUGIN}, {"toy.mode", "fail_plan"}});
  auto fallen = Session::Create(toy, relu.Share(), {});
  REQUIRE(fallen.ok());
  const auto [toy_heap, toy_host] = AllocationsOf(*toy, [&](int) {
    const int64_t sizes[] = {4};
    good = (*fallen)->SetInput(0, SAGE_F32, sizes, x.data(), 16).ok() && (*fallen)->Run().ok() && good;
  });
  CHECK(good);
  CHECK(std::string((*fallen)->NodeBackend(0)) == "reference");
  CHECK(toy_heap == 0);
  CHECK(toy_host == 0);
}

TEST_CASE("S16 a one-shot context takes no memory: dynamic sizes, a fallback, a bad call in between") {
  const auto engine = LayerEngine();
  const std::vector<float> data = Random(2 * 40 * 16, 5);
  std::vector<float> o(data.size()), w(2 * 40 * 40);
  const int64_t shape[] = {1, 2, 40, 16}, scores[] = {1, 2, 40, 40};
  std::array<sage_tensor, SAGE_ATTN_NUM_SLOTS> tensors{};
  std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS> slots{};
  for (uint32_t slot = 0; slot < 4; ++slot) {
    sage_tensor_init(&tensors[slot], SAGE_F32, 4, shape,
                     slot == SAGE_ATTN_O ? o.data() : const_cast<float*>(data.data()));
    slots[slot] = &tensors[slot];
  }
  sage_attention_attributes attributes{};
  attributes.struct_size = sizeof attributes;
  sage_op op{};
  op.struct_size = sizeof op, op.kind = SAGE_OP_ATTENTION;
  op.num_slots = SAGE_ATTN_NUM_SLOTS, op.slots = slots.data(), op.attributes = &attributes;
  op.dynamic_axes = SAGE_AXIS_SQ | SAGE_AXIS_SKV;
  for (const bool fallback : {false, true}) {
    CAPTURE(fallback);
    Options options;
    if (fallback) {
      sage_tensor_init(&tensors[SAGE_ATTN_WEIGHTS], SAGE_F32, 4, scores, w.data());
      slots[SAGE_ATTN_WEIGHTS] = &tensors[SAGE_ATTN_WEIGHTS];
      options.values["algorithm"] = "flash";
      op.dynamic_axes = 0;
    }
    auto plan = AttentionPlan::Create(engine, &op, options);
    REQUIRE_MESSAGE(plan.ok(), plan.status().message());
    auto context = AttentionContext::Create(*plan);
    REQUIRE_MESSAGE(context.ok(), context.status().message());
    bool good = true;
    const auto [heap, host] = AllocationsOf(*engine, [&](int n) {
      if (!fallback)
        for (uint32_t slot = 0; slot < 4; ++slot) tensors[slot].shape[2] = n % 2 == 0 ? 40 : 13;
      good = (*context)->Run(slots.data(), SAGE_ATTN_NUM_SLOTS, nullptr).ok() && good;
    });
    CHECK(good);
    CHECK(heap == 0);
    CHECK(host == 0);
    for (uint32_t slot = 0; slot < 4; ++slot) tensors[slot].shape[2] = 40;
    // An error may take memory for its sentence; what comes after it does not.
    tensors[0].data = nullptr;
    CHECK_FALSE((*context)->Run(slots.data(), SAGE_ATTN_NUM_SLOTS, nullptr).ok());
    tensors[0].data = const_cast<float*>(data.data());
    const uint64_t before = HeapAllocations();
    CHECK((*context)->Run(slots.data(), SAGE_ATTN_NUM_SLOTS, nullptr).ok());
    CHECK(HeapAllocations() == before);
  }
}

TEST_CASE("S16 S6 a tick under a fallback takes no memory, and says the fallback every time") {
  const auto engine = LayerEngine();
  if (engine->FindBackend("cpu") == nullptr) {
    MESSAGE("skipped: the cpu plugin is not built");
    return;
  }
  ExpertParams params;
  params.attention.d_model = 8, params.attention.query_heads = 4, params.attention.kv_heads = 2;
  params.attention.head_dim = 2;
  params.num_experts = 6, params.top_k = 2;
  SessionOptions options;
  options.policy.algorithm = SAGE_ALGORITHM_FLASH;  // the graph asks for weights, which flash does not have
  auto program = Program::Create(engine, std::make_shared<const Model>(Model::Content(params)), options);
  REQUIRE_MESSAGE(program.ok(), program.status().message());
  const std::string tick = R"({"ts":1,"router_logits":[1,2,3,4,5,6],"trust":[0.1,0.2,0.3,0.4,0.5,0.6]})";
  bool good = true, said = true;
  const auto [heap, host] = AllocationsOf(*engine, [&](int) {
    good = (*program)->Tick(tick).ok() && good;
    said = (*program)->Decision().find("\"fallback\"") != std::string_view::npos && said;
  });
  CHECK(good);
  CHECK(said);
  CHECK(heap == 0);
  CHECK(host == 0);
}
