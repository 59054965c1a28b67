// test_memory_report.cc: what explain says of an attention's memory, against what is really allocated; and what grouped
// queries save, in parameters and bytes.
#include "c_api.h"

#include <atomic>
#include <cmath>
#include <cstdlib>

using namespace sage::test;

namespace {

// The caller's allocator, which knows how much of it is in use.
struct Counted {
  std::atomic<int64_t> live{0};
  static void* Alloc(void* self, uint64_t bytes, uint64_t align) {
    void* out = nullptr;
    if (posix_memalign(&out, align, bytes) != 0) return nullptr;
    static_cast<Counted*>(self)->live += static_cast<int64_t>(bytes);
    return out;
  }
  static void Free(void* self, void* memory, uint64_t bytes) {
    static_cast<Counted*>(self)->live -= static_cast<int64_t>(bytes);
    free(memory);
  }
};

sage_attention_memory MemoryOf(const sage_attention_plan* plan) {
  sage_attention_memory memory{};
  memory.struct_size = sizeof memory;
  Error error;
  REQUIRE_MESSAGE(sage_attention_plan_memory(plan, &memory, &error) == SAGE_OK, error.message);
  return memory;
}

}  // namespace

TEST_CASE("N10 memory report: scratch is what a context allocates, for every algorithm, backend and size") {
  Counted counted;
  ApiOptions options;
  REQUIRE(sage_options_set_allocator(options.get(), Counted::Alloc, Counted::Free, &counted, nullptr) == SAGE_OK);
  {
    const ApiEngine engine = MakeEngine(options.get());
    for (const char* backend : {"reference", "cpu"}) {
      if (!HasBackend(engine.get(), backend)) continue;
      for (const char* algorithm : {"materialised", "flash"})
        for (const int64_t rows : {5, 512}) {
          INFO(std::string(backend));
          INFO(std::string(algorithm));
          CAPTURE(rows);
          AttentionProblem problem(1, 2, 1, rows, rows + 3, 32);
          const Settings base = {{"backend", backend}, {"algorithm", algorithm}};
          for (const auto& [guard, bands] : {std::pair("off", 0), std::pair("on", 2 * 64)}) {
            Settings settings = base;
            settings.emplace_back("guard", guard);
            const ApiPlan plan = problem.Plan(engine.get(), settings);
            const int64_t before = counted.live;
            ApiContext context;
            REQUIRE(sage_attention_context_create(plan.get(), context.out(), nullptr) == SAGE_OK);
            const json memory = ExplainOf(plan.get())["memory"];
            CHECK(counted.live - before == memory["scratch_bytes"].get<int64_t>() + bands);
            CHECK(memory["scratch_bytes"] == ExplainOf(plan.get())["workspace_bytes"]);
            const sage_attention_memory report = MemoryOf(plan.get());
            CHECK(report.scratch_bytes == memory["scratch_bytes"].get<uint64_t>());
            CHECK(report.working_set_bytes + report.packed_kv_bytes + report.partials_bytes == report.scratch_bytes);
            REQUIRE(sage_attention_run(context.get(), problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
            CHECK(counted.live - before == memory["scratch_bytes"].get<int64_t>() + bands);
          }
        }
    }
  }
  CHECK(counted.live == 0);
}

TEST_CASE("N10 memory report: scores avoided, totals with Q, K, V and O, and N over block under its own name") {
  const ApiEngine engine = MakeEngine();
  const int64_t batch = 4, heads = 3, rows = 1024, keys = 4096, dim = 64;
  // Described only: the shapes of a long sequence without its memory.
  AttentionProblem problem(1, 1, 1, 1, 1, 1);
  const auto describe = [&](int64_t queries, int64_t length) {
    for (size_t slot = 0; slot < 4; ++slot) {
      const bool of_keys = slot == 1 || slot == 2;
      const int64_t shape[] = {batch, heads, of_keys ? length : queries, dim};
      sage_tensor_init(&problem.tensors[slot], SAGE_F32, 4, shape, nullptr);
    }
  };
  describe(rows, keys);
  const ApiPlan plan = problem.Plan(engine.get(), {{"algorithm", "flash"}, {"block_kv", "64"}});
  const json memory = ExplainOf(plan.get())["memory"];
  const int64_t q = batch * heads * rows * dim * 4, k = batch * heads * keys * dim * 4;
  const int64_t scores = batch * heads * rows * keys * 4, scratch = memory["scratch_bytes"];
  CHECK(memory["q_bytes"] == q);
  CHECK(memory["k_bytes"] == k);
  CHECK(memory["v_bytes"] == k);
  CHECK(memory["o_bytes"] == q);
  CHECK(memory["other_bytes"] == 0);
  CHECK(memory["scores_bytes"] == scores);
  CHECK(memory["scores_avoided_bytes"] == scores - scratch);
  CHECK(memory["total_bytes"] == 2 * q + 2 * k + scratch);
  CHECK(memory["total_with_scores_bytes"] == 2 * q + 2 * k + scores);
  CHECK(memory["keys_over_block_kv"] == 64);
  CHECK(memory["scores_over_scratch"].get<double>() ==
        doctest::Approx(static_cast<double>(scores) / static_cast<double>(scratch)));
  CHECK(memory["totals_ratio"].get<double>() ==
        doctest::Approx(static_cast<double>(2 * q + 2 * k + scores) / static_cast<double>(2 * q + 2 * k + scratch)));
  // The three ratios are three numbers: that of the tiles is not the memory saved.
  CHECK(memory["totals_ratio"].get<double>() < memory["scores_over_scratch"].get<double>());
  CHECK(memory["keys_over_block_kv"] != memory["totals_ratio"]);

  // A tile of the backend's choice has no ratio; f64 scores are twice as wide; bias and LSE are counted apart.
  const ApiPlan automatic = problem.Plan(engine.get(), {{"algorithm", "flash"}});
  CHECK(ExplainOf(automatic.get())["memory"]["keys_over_block_kv"].is_null());
  for (sage_tensor& tensor : problem.tensors) tensor.dtype = SAGE_F64;
  const ApiPlan wide = problem.Plan(engine.get());
  CHECK(ExplainOf(wide.get())["memory"]["scores_bytes"] == 2 * scores);
  CHECK(ExplainOf(wide.get())["memory"]["q_bytes"] == 2 * q);
  for (sage_tensor& tensor : problem.tensors) tensor.dtype = SAGE_F32;
  sage_tensor bias, lse;
  const int64_t whole[] = {batch, heads, rows, keys}, line[] = {batch, heads, rows};
  sage_tensor_init(&bias, SAGE_F32, 4, whole, nullptr);
  bias.stride[0] = bias.stride[1] = 0;  // one for all batches and heads
  sage_tensor_init(&lse, SAGE_F32, 3, line, nullptr);
  const sage_tensor* slots[] = {problem.slots[0], problem.slots[1], problem.slots[2], problem.slots[3], &lse, &bias};
  problem.op.slots = slots, problem.op.num_slots = 6;
  const ApiPlan biased = problem.Plan(engine.get());
  CHECK(ExplainOf(biased.get())["memory"]["other_bytes"] == rows * keys * 4 + batch * heads * rows * 4);
}

TEST_CASE("N10 P13 memory report: the same scratch at 512 and 8192 keys by flash, in a plan and in a session") {
  const ApiEngine engine = MakeEngine();
  if (!HasBackend(engine.get(), "cpu")) {
    MESSAGE("skipped: the cpu plugin is not built");
    return;
  }
  const auto at = [&](int64_t length) {
    AttentionModel model;
    model.rows = model.keys = length;
    model.dim = 64;
    model.policy = {{"algorithm", "FLASH"}, {"block_q", 64}, {"block_kv", 64}};
    const ApiModel loaded = MakeModel(engine.get(), model.Json());
    const ApiSession session = MakeSession(loaded.get(), {{"backend", "cpu"}});
    return ExplainOf(session.get())["nodes"][0]["memory"];
  };
  const json small = at(512), large = at(8192);
  CHECK(small["working_set_bytes"] == large["working_set_bytes"]);
  CHECK(large["scores_bytes"] == 256 * small["scores_bytes"].get<int64_t>());
  CHECK(large["keys_over_block_kv"] == 128);
  CHECK(large["scratch_bytes"].get<double>() * 100 < large["scores_bytes"].get<double>());
}

TEST_CASE(
    "R12 N6 by the API: the working set at 512 and 8192 keys is one, at 4096 less than a hundredth of the scores") {
  const ApiEngine engine = MakeEngine();
  if (!HasBackend(engine.get(), "cpu")) {
    MESSAGE("skipped: the cpu plugin is not built");
    return;
  }
  const auto at = [&](int64_t batch, int64_t length, sage_dtype dtype) {
    AttentionProblem problem(1, 1, 1, 1, 1, 1);  // described only
    const int64_t shape[] = {batch, 1, length, 64};
    for (sage_tensor& tensor : problem.tensors) sage_tensor_init(&tensor, dtype, 4, shape, nullptr);
    return MemoryOf(problem.Plan(engine.get(), {{"backend", "cpu"}, {"algorithm", "flash"}}).get());
  };
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64, SAGE_BF16, SAGE_F16}) {
    CAPTURE(dtype);
    const sage_attention_memory small = at(8, 512, dtype), large = at(8, 8192, dtype);
    CHECK(small.working_set_bytes == large.working_set_bytes);
    CHECK(large.scores_bytes == 256 * small.scores_bytes);
  }
  const sage_attention_memory long_one = at(4, 4096, SAGE_F64);
  CHECK(long_one.scores_bytes == 4ull * 4096 * 4096 * 8);
  CHECK(long_one.scratch_bytes * 100 < long_one.scores_bytes);
  CHECK(long_one.scores_avoided_bytes == long_one.scores_bytes - long_one.scratch_bytes);
  // Q, K, V and O counted: a ratio of two digits, where scratch alone has one of four.
  CHECK(long_one.totals_ratio == doctest::Approx(static_cast<double>(long_one.total_with_scores_bytes) /
                                                 static_cast<double>(long_one.total_bytes)));
  CHECK(long_one.totals_ratio < 18);

  AttentionProblem run(4, 1, 1, 4096, 4096, 64);
  const ApiPlan plan = run.Plan(engine.get(), {{"backend", "cpu"}, {"algorithm", "flash"}});
  CHECK(MemoryOf(plan.get()).scratch_bytes * 100 < MemoryOf(plan.get()).scores_bytes);
  double sum = 0;
  for (const float value : run.Run(plan.get())) sum += std::abs(value);
  CHECK(std::isfinite(sum));

  sage_attention_memory unset{};
  Error error;
  CHECK(sage_attention_plan_memory(plan.get(), &unset, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_attention_plan_memory(plan.get(), nullptr, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_attention_plan_memory(nullptr, &unset, &error) == SAGE_E_INVALID_ARGUMENT);
  unset.struct_size = 24;  // an older caller
  CHECK(sage_attention_plan_memory(plan.get(), &unset, &error) == SAGE_OK);
  CHECK(unset.k_bytes == MemoryOf(plan.get()).k_bytes);
  CHECK(unset.v_bytes == 0);
}

namespace {

// An attention layer of d_model 768 with 12 query heads, its projections and their shapes as a person writes them.
json LayerModel(int64_t heads_kv) {
  const int64_t rows = 16, width = 64, d_model = 768, kv = heads_kv * width;
  const auto tensor = [](const char* name, std::vector<int64_t> sizes) {
    json shape = json::array();
    for (const int64_t size : sizes) shape.push_back({{"size", size}});
    return json{{"name", name}, {"dtype", "F32"}, {"shape", shape}};
  };
  const auto linear = [](const char* name, const char* x, const char* w, const char* out) {
    return json{{"name", name}, {"op_type", "Linear"}, {"op", {{"x", x}, {"weight", w}, {"out", out}}}};
  };
  const json attention = {{"name", "attn"},
                          {"op_type", "Attention"},
                          {"op",
                           {{"q", "q"},
                            {"k", "k"},
                            {"v", "v"},
                            {"out", "heads"},
                            {"layout", "BSE"},
                            {"query_heads", 12},
                            {"kv_heads", heads_kv}}}};
  return {{"graph_type", "OpGraph"},
          {"graph",
           {{"tensors",
             {tensor("x", {1, rows, d_model}), tensor("wq", {d_model, d_model}), tensor("wk", {kv, d_model}),
              tensor("wv", {kv, d_model}), tensor("wo", {d_model, d_model})}},
            {"nodes",
             {linear("q_proj", "x", "wq", "q"), linear("k_proj", "x", "wk", "k"), linear("v_proj", "x", "wv", "v"),
              attention, linear("o_proj", "heads", "wo", "y")}},
            {"inputs", {"x", "wq", "wk", "wv", "wo"}},
            {"outputs", {"y"}}}}};
}

}  // namespace

TEST_CASE("G10 12 query heads over 4 key heads: K and V projections, their work and their bytes are a third") {
  const ApiEngine engine = MakeEngine();
  const ApiModel grouped_model = MakeModel(engine.get(), LayerModel(4)),
                 full_model = MakeModel(engine.get(), LayerModel(12));
  const auto parameters = [](const sage_model* model, uint32_t input) {
    int64_t shape[SAGE_MAX_RANK];
    REQUIRE(sage_model_io_info(model, SAGE_INPUT, input, nullptr, nullptr, nullptr, shape, nullptr) == SAGE_OK);
    return shape[0] * shape[1];
  };
  for (const uint32_t input : {2u, 3u})
    CHECK(3 * parameters(grouped_model.get(), input) == parameters(full_model.get(), input));
  for (const uint32_t input : {1u, 4u})  // those of Q and of the output stay
    CHECK(parameters(grouped_model.get(), input) == parameters(full_model.get(), input));

  const ApiSession grouped_session = MakeSession(grouped_model.get()), full_session = MakeSession(full_model.get());
  const json grouped = ExplainOf(grouped_session.get())["nodes"], full = ExplainOf(full_session.get())["nodes"];
  for (const size_t node : {1u, 2u}) {
    CHECK(3 * grouped[node]["flops"].get<double>() == full[node]["flops"].get<double>());
    CHECK(2.5 * grouped[node]["bytes"].get<double>() < full[node]["bytes"].get<double>());  // x itself is the same
  }
  const json& memory = grouped[3]["memory"];
  CHECK(3 * memory["k_bytes"].get<int64_t>() == full[3]["memory"]["k_bytes"].get<int64_t>());
  CHECK(3 * memory["v_bytes"].get<int64_t>() == full[3]["memory"]["v_bytes"].get<int64_t>());
  CHECK(memory["q_bytes"] == full[3]["memory"]["q_bytes"]);
  // The attention itself does the same work: "3x" is of projections and caches, not of one query's time.
  CHECK(grouped[3]["flops"] == full[3]["flops"]);
  CHECK(grouped[3]["memory"]["scores_bytes"] == full[3]["memory"]["scores_bytes"]);
}
