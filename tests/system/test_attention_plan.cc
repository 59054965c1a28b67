// The one-shot attention API through libsage.so, up to the plan: handles, null arguments, the flat call, explain,
// options.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "system/attention_api.h"

using namespace sage::test;

TEST_CASE("R1 P1 handles may be destroyed in any order, and null is allowed") {
  Problem problem;
  int order[3] = {0, 1, 2};
  do {
    sage_attention_plan* plan = nullptr;
    sage_engine* engine = MakeEngine();
    sage_attention_context* context = MakeContext(engine, problem, &plan);
    bool alive = true;
    for (const int which : order) {
      if (which == 0) sage_engine_destroy(engine);
      if (which == 1) sage_attention_plan_destroy(plan);
      if (which == 2) sage_attention_context_destroy(context), alive = false;
      if (!alive) continue;
      CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
      CHECK(problem.Right());
    }
  } while (std::next_permutation(order, order + 3));
  sage_engine_destroy(nullptr);
  sage_attention_plan_destroy(nullptr);
  sage_attention_context_destroy(nullptr);
  sage_attention_cancel(nullptr);
  sage_options_destroy(nullptr);
}

TEST_CASE("every function answers null arguments with INVALID_ARGUMENT and a sentence, never a crash") {
  Problem problem;
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  sage_attention_context* context = MakeContext(engine, problem, &plan);
  // Out-handles become null on failure.
  auto* no_plan = plan;
  auto* no_context = context;
  sage_options* options = nullptr;
  REQUIRE(sage_options_create(&options, nullptr) == SAGE_OK);
  Error e;
  char buffer[8];
  uint64_t needed = 0;
  const auto bad = [&e](sage_status status, const char* word) {
    CHECK(status == SAGE_E_INVALID_ARGUMENT);
    CHECK(e.status == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(e.Says(word), e.message);
  };
  bad(sage_options_create(nullptr, &e), "out");
  bad(sage_options_set(nullptr, "threads", "1", &e), "options");
  bad(sage_options_set(options, nullptr, "1", &e), "key");
  bad(sage_options_set(options, "threads", nullptr, &e), "value");
  bad(sage_options_set_log(nullptr, nullptr, nullptr, &e), "options");
  bad(sage_options_set_cancel(nullptr, nullptr, nullptr, &e), "options");
  bad(sage_options_set_allocator(nullptr, nullptr, nullptr, nullptr, &e), "options");
  bad(sage_options_set_allocator(
          options, [](void*, uint64_t, uint64_t) -> void* { return nullptr; }, nullptr, nullptr, &e),
      "come together");
  bad(sage_options_set_parallel_for(nullptr, nullptr, 0, nullptr, &e), "options");
  bad(sage_options_set_parallel_for(options, Gate::ParallelFor, 0, nullptr, &e), "num_workers");
  bad(sage_engine_create(nullptr, nullptr, &e), "out");
  bad(sage_engine_load_plugin(nullptr, "/x", &e), "engine");
  bad(sage_engine_load_plugin(engine, nullptr, &e), "absolute_path");
  bad(sage_engine_describe(nullptr, buffer, 8, &needed, &e), "engine");
  bad(sage_engine_describe(engine, buffer, 8, nullptr, &e), "needed");
  bad(sage_attention(nullptr, SAGE_F32, 0, 1, 1, 1, 1, 1, 1, 1, buffer, buffer, buffer, buffer, 0, 0, &e), "engine");
  bad(sage_attention(engine, SAGE_F32, 0, 1, 1, 1, 1, 1, 1, 1, nullptr, buffer, buffer, buffer, 0, 0, &e), "Q");
  bad(sage_attention(engine, SAGE_F32, 0, 1, 1, 1, 1, 1, 1, 1, buffer, buffer, buffer, nullptr, 0, 0, &e), "O");
  bad(sage_attention_plan_create(nullptr, &problem.op, nullptr, &no_plan, &e), "engine");
  CHECK(no_plan == nullptr);
  bad(sage_attention_plan_create(engine, nullptr, nullptr, &no_plan, &e), "op");
  bad(sage_attention_plan_create(engine, &problem.op, nullptr, nullptr, &e), "out");
  bad(sage_attention_plan_explain(nullptr, buffer, 8, &needed, &e), "plan");
  bad(sage_attention_context_create(nullptr, &no_context, &e), "plan");
  CHECK(no_context == nullptr);
  bad(sage_attention_plan_explain(plan, buffer, 8, nullptr, &e), "needed");
  bad(sage_attention_context_create(plan, nullptr, &e), "out");
  bad(sage_attention_run(nullptr, problem.slots.data(), 4, nullptr, &e), "context");
  bad(sage_attention_run(context, nullptr, 4, nullptr, &e), "slots");
  bad(sage_attention_run(context, problem.slots.data(), UINT32_MAX, nullptr, &e), "num_slots");
  bad(sage_attention_features(nullptr, &needed, &e), "op");
  bad(sage_attention_features(&problem.op, nullptr, &e), "out");
  CHECK(sage_engine_backend_count(nullptr) == 0);
  CHECK(sage_engine_backend_name(nullptr, 0) == nullptr);
  CHECK(sage_engine_backend_name(engine, 1000) == nullptr);
  CHECK(sage_attention_plan_backend(nullptr) == nullptr);
  // Without an error slot just the same.
  CHECK(sage_attention_run(nullptr, nullptr, 0, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  sage_options_destroy(options);
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
}

TEST_CASE("R3 P2 the flat call: layouts, causal, more shapes than the cache holds, many threads, refusals") {
  sage_engine* engine = MakeEngine();
  std::vector<std::thread> threads;
  std::atomic<uint32_t> wrong{0};
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (int64_t rows = 1; rows <= 90; ++rows) {
        Problem p((rows * 7 + t) % 90 + 1, 4);
        const int64_t n = p.shape[2];
        if (sage_attention(engine, SAGE_F32, 0, 1, 2, 2, n, n, 4, 4, p.q.data(), p.k.data(), p.v.data(), p.o.data(), 0,
                           0, nullptr) != SAGE_OK ||
            !p.Right())
          wrong.fetch_add(1);
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);

  // [B,S,H,D] of transposed inputs gives the transposed output.
  Problem p(6, 8);
  REQUIRE(sage_attention(engine, SAGE_F32, 0, 1, 2, 2, 6, 6, 8, 8, p.q.data(), p.k.data(), p.v.data(), p.o.data(),
                         SAGE_ALIGN_TOP_LEFT, 0.5, nullptr) == SAGE_OK);
  const auto transposed = [](const std::vector<float>& from) {
    std::vector<float> to(from.size());
    for (size_t h = 0; h < 2; ++h)
      for (size_t s = 0; s < 6; ++s)
        for (size_t d = 0; d < 8; ++d) to[(s * 2 + h) * 8 + d] = from[(h * 6 + s) * 8 + d];
    return to;
  };
  const std::vector<float> q = transposed(p.q), k = transposed(p.k), v = transposed(p.v);
  std::vector<float> o(p.o.size());
  REQUIRE(sage_attention(engine, SAGE_F32, 1, 1, 2, 2, 6, 6, 8, 8, q.data(), k.data(), v.data(), o.data(),
                         SAGE_ALIGN_TOP_LEFT, 0.5, nullptr) == SAGE_OK);
  const std::vector<float> expected = transposed(p.o);
  for (size_t i = 0; i < o.size(); ++i) CHECK(o[i] == doctest::Approx(expected[i]).epsilon(1e-5));
  for (size_t d = 0; d < 8; ++d) CHECK(o[d] == doctest::Approx(v[d]));  // the first row sees itself only

  Error e;
  const auto call = [&](sage_dtype dtype, uint32_t layout, int64_t heads_kv, int64_t rows, uint32_t causal,
                        double scale) {
    return sage_attention(engine, dtype, layout, 1, 2, heads_kv, rows, rows, 8, 8, p.q.data(), p.k.data(), p.v.data(),
                          p.o.data(), causal, scale, &e);
  };
  CHECK(call(SAGE_F32, 2, 2, 6, 0, 0) == SAGE_E_INVALID_ARGUMENT);
  CHECK(e.Says("layout is 2"));
  CHECK(call(SAGE_F32, 0, 2, 6, 3, 0) == SAGE_E_INVALID_ARGUMENT);
  CHECK(e.Says("causal is 3"));
  CHECK(call(SAGE_F32, 0, 2, -1, 0, 0) == SAGE_E_INVALID_ARGUMENT);
  CHECK(e.Says("seq_q is -1"));
  CHECK(call(SAGE_F32, 0, 2, INT64_MAX / 2, 0, 0) == SAGE_E_INVALID_ARGUMENT);
  CHECK(call(SAGE_F32, 0, 3, 6, 0, 0) == SAGE_E_INVALID_ARGUMENT);
  CHECK(call(SAGE_F32, 0, 2, 6, 0, std::nan("")) == SAGE_E_INVALID_ARGUMENT);
  CHECK(call(12345, 0, 2, 6, 0, 0) != SAGE_OK);
  CHECK(e.message[0] != '\0');
  CHECK(call(SAGE_F32, 0, 2, 0, 0, 0) == SAGE_OK);  // nothing to do is done
  sage_engine_destroy(engine);
}

TEST_CASE("P12 explain says the problem, every verdict, the choice and how to repeat it") {
  Problem problem;
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  sage_attention_context_destroy(MakeContext(engine, problem, &plan));
  const std::string text = Explain(plan);
  for (const char* word :
       {"\"problem\":\"", "sage-engine bench --attn", "\"verdicts\":[", "\"reference\"", "\"reason\"", "\"cost_ns\"",
        "\"cost_source\"", "\"accuracy\"", "\"workspace_bytes\"", "\"why\"", "\"policy\"", "\"flash_threshold\""})
    CHECK_MESSAGE(text.find(word) != std::string::npos, word << " in " << text);
  CHECK(text.find("\"chosen\":\"" + std::string(sage_attention_plan_backend(plan)) + "\"") != std::string::npos);
  char small[4] = {'x', 'x', 'x', 'x'};
  uint64_t needed = 0;
  CHECK(sage_attention_plan_explain(plan, small, 4, &needed, nullptr) == SAGE_E_BUFFER_TOO_SMALL);
  CHECK(needed == text.size() + 1);
  CHECK(small[0] == 'x');
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
}

TEST_CASE("S10 N8 plan options: the backend insisted on, wishes in explain, unknown and misplaced keys") {
  Problem problem;
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  Error e;
  {
    OptionsOf options({{"backend", "reference"}, {"algorithm", "flash"}, {"block_q", "16"}, {"use_simd", "false"}});
    sage_attention_context* context = MakeContext(engine, problem, &plan, options.handle);
    CHECK(sage_attention_plan_backend(plan) == std::string("reference"));
    const std::string text = Explain(plan);
    CHECK(text.find("\"algorithm\":\"flash\"") != std::string::npos);
    CHECK(text.find("\"block_q\":16") != std::string::npos);
    CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
    CHECK(problem.Right());
    sage_attention_context_destroy(context);
    sage_attention_plan_destroy(plan);
  }
  const auto refused = [&](const char* key, const char* value, sage_status status,
                           std::initializer_list<const char*> words) {
    OptionsOf options({{key, value}});
    CHECK(sage_attention_plan_create(engine, &problem.op, options.handle, &plan, &e) == status);
    CHECK(plan == nullptr);
    for (const char* word : words) CHECK_MESSAGE(e.Says(word), e.message);
  };
  refused("backend", "refrence", SAGE_E_UNSUPPORTED, {"'refrence'", "did you mean 'reference'", "loaded are"});
  refused("algoritm", "flash", SAGE_E_INVALID_ARGUMENT, {"unknown option 'algoritm'", "'algorithm'"});
  refused("algorithm", "fast", SAGE_E_INVALID_ARGUMENT, {"algorithm", "fast", "materialised"});
  refused("threads", "77", SAGE_E_INVALID_ARGUMENT, {"'threads' has no effect on a plan"});
  refused("cpu.isa", "scalar", SAGE_E_INVALID_ARGUMENT, {"'cpu.isa' has no effect on a plan"});
  sage_op linear = problem.op;
  linear.kind = SAGE_OP_LINEAR;
  linear.attributes = nullptr;
  CHECK(sage_attention_plan_create(engine, &linear, nullptr, &plan, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK(e.Says("SAGE_OP_ATTENTION is expected"));
  sage_engine_destroy(engine);
}

TEST_CASE(
    "a folder of plugins that is named and not searched is in the log, and in the error of a backend that is missed") {
  std::string log;
  OptionsOf options({{"plugin_folders", "false"}, {"log_level", "warning"}});
  REQUIRE(sage_options_set_log(
              options.handle,
              [](void* user, int32_t, const char* text, uint64_t length) {
                static_cast<std::string*>(user)->append(text, length).push_back('\n');
              },
              &log, nullptr) == SAGE_OK);
  REQUIRE(setenv("SAGE_PLUGIN_PATH", "some/where:/none/such", 1) == 0);
  sage_engine_destroy(MakeEngine(options.handle));
  CHECK_MESSAGE(
      log.find("plugins of some/where (SAGE_PLUGIN_PATH): not an absolute path, skipped") != std::string::npos, log);
  CHECK_MESSAGE(log.find("/none/such") == std::string::npos, log);  // not there: nothing is missed
  REQUIRE(sage_options_set(options.handle, "elsewhere.key", "1", nullptr) == SAGE_OK);
  sage_engine* engine = nullptr;
  Error e;
  CHECK(sage_engine_create(options.handle, &engine, &e) == SAGE_E_NOT_FOUND);
  CHECK_MESSAGE(
      e.Says("backend 'elsewhere' is not loaded; loaded are reference; plugins of some/where: not an absolute"),
      e.message);
  REQUIRE(unsetenv("SAGE_PLUGIN_PATH") == 0);
}
