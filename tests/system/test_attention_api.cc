// The one-shot attention API through libsage.so: handles, callers at once, options, refusals, the cache, the fork.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "sage/sage.h"
#include "support/heap_count.h"

namespace {

struct Error : sage_error {
  Error() : sage_error{} { struct_size = sizeof(sage_error); }
  bool Says(const char* word) const { return std::string(message).find(word) != std::string::npos; }
};

struct OptionsOf {
  sage_options* handle = nullptr;
  OptionsOf(std::initializer_list<std::pair<const char*, const char*>> values) {
    REQUIRE(sage_options_create(&handle, nullptr) == SAGE_OK);
    for (const auto& [key, value] : values) REQUIRE(sage_options_set(handle, key, value, nullptr) == SAGE_OK);
  }
  ~OptionsOf() { sage_options_destroy(handle); }
};

// f32 attention of one shape with its memory; the fields are there to be changed.
struct Problem {
  std::array<int64_t, 4> shape;
  std::vector<float> q, k, v, o;
  std::array<sage_tensor, 4> tensors{};
  std::array<const sage_tensor*, 4> slots{};
  sage_attention_attributes attributes{};
  sage_op op{};

  explicit Problem(int64_t rows = 6, int64_t width = 8) : shape{1, 2, rows, width} {
    const size_t count = static_cast<size_t>(2 * rows * width);
    std::mt19937 random(5);
    for (auto* values : {&q, &k, &v, &o}) {
      values->resize(count);
      for (float& value : *values) value = static_cast<float>(random() % 1000) / 500.0f - 1.0f;
    }
    float* data[4] = {q.data(), k.data(), v.data(), o.data()};
    for (size_t slot = 0; slot < 4; ++slot) {
      sage_tensor_init(&tensors[slot], SAGE_F32, 4, shape.data(), data[slot]);
      slots[slot] = &tensors[slot];
    }
    attributes.struct_size = sizeof attributes;
    op.struct_size = sizeof op;
    op.kind = SAGE_OP_ATTENTION;
    op.num_slots = 4;
    op.attributes = &attributes;
    op.slots = slots.data();
  }
  bool Right() const {
    const int64_t rows = shape[2], width = shape[3];
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < rows; ++i) {
        std::vector<double> p(static_cast<size_t>(rows));
        double top = -INFINITY, sum = 0;
        const auto at = [&](const std::vector<float>& x, int64_t row, int64_t e) {
          return static_cast<double>(x[static_cast<size_t>((h * rows + row) * width + e)]);
        };
        for (int64_t j = 0; j < rows; ++j) {
          double s = 0;
          for (int64_t e = 0; e < width; ++e) s += at(q, i, e) * at(k, j, e);
          p[static_cast<size_t>(j)] = s /= std::sqrt(static_cast<double>(width));
          top = std::max(top, s);
        }
        for (double& s : p) sum += s = std::exp(s - top);
        for (int64_t e = 0; e < width; ++e) {
          double out = 0;
          for (int64_t j = 0; j < rows; ++j) out += p[static_cast<size_t>(j)] * at(v, j, e) / sum;
          if (!(std::abs(out - at(o, i, e)) < 1e-5)) return false;
        }
      }
    return true;
  }
};

sage_engine* MakeEngine(const sage_options* options = nullptr) {
  sage_engine* engine = nullptr;
  Error error;
  REQUIRE_MESSAGE(sage_engine_create(options, &engine, &error) == SAGE_OK, error.message);
  return engine;
}

sage_attention_context* MakeContext(sage_engine* engine, const Problem& problem, sage_attention_plan** plan,
                                    const sage_options* options = nullptr) {
  Error error;
  REQUIRE_MESSAGE(sage_attention_plan_create(engine, &problem.op, options, plan, &error) == SAGE_OK, error.message);
  sage_attention_context* context = nullptr;
  REQUIRE_MESSAGE(sage_attention_context_create(*plan, &context, &error) == SAGE_OK, error.message);
  return context;
}

std::string Explain(const sage_attention_plan* plan) {
  uint64_t needed = 0;
  REQUIRE(sage_attention_plan_explain(plan, nullptr, 0, &needed, nullptr) == SAGE_OK);
  std::string text(needed, '\0');
  REQUIRE(sage_attention_plan_explain(plan, text.data(), text.size(), &needed, nullptr) == SAGE_OK);
  text.pop_back();
  return text;
}

// A lent parallel_for that a test can hold in the middle of a run.
struct Gate {
  std::atomic<bool> hold{false}, inside{false};
  std::atomic<uint32_t> calls{0};
  static void ParallelFor(void* user, uint64_t n, uint64_t, sage_task_fn task, void* ctx) {
    auto* self = static_cast<Gate*>(user);
    self->calls.fetch_add(1);
    self->inside = true;
    while (self->hold) usleep(100);
    task(ctx, 0, n, 0);
  }
};

}  // namespace

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

TEST_CASE("a second caller of a context is BUSY, cancel stops the run, destroy waits for its end") {
  Problem problem;
  Gate gate;
  OptionsOf options({{"plugin_folders", "false"}, {"plugin_environment", "false"}});
  REQUIRE(sage_options_set_parallel_for(options.handle, Gate::ParallelFor, 2, &gate, nullptr) == SAGE_OK);
  sage_engine* engine = MakeEngine(options.handle);
  sage_attention_plan* plan = nullptr;
  sage_attention_context* context = MakeContext(engine, problem, &plan);
  std::atomic<sage_status> first{-1};
  const auto start = [&] {
    gate.inside = false, gate.hold = true;
    std::thread thread([&] { first = sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr); });
    while (!gate.inside) usleep(100);
    return thread;
  };
  std::thread running = start();
  Error error;
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, &error) == SAGE_E_BUSY);
  CHECK(error.Says("another call is in progress"));
  gate.hold = false;
  running.join();
  CHECK(first.load() == SAGE_OK);
  CHECK(problem.Right());

  running = start();
  sage_attention_cancel(context);
  gate.hold = false;
  running.join();
  CHECK(first.load() == SAGE_E_CANCELLED);
  sage_attention_cancel(context);  // nothing runs: later runs are not touched
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);

  running = start();
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
  gate.hold = false;
  running.join();
  CHECK(first.load() == SAGE_OK);
  CHECK(problem.Right());
}

TEST_CASE("contexts of one plan run at once, each with its own workspace") {
  Problem prototype(33, 16);
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  sage_attention_context_destroy(MakeContext(engine, prototype, &plan));
  std::atomic<uint32_t> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      Problem mine(33, 16);
      sage_attention_context* context = nullptr;
      if (sage_attention_context_create(plan, &context, nullptr) != SAGE_OK) wrong.fetch_add(1);
      for (int round = 0; round < 25; ++round) {
        std::fill(mine.o.begin(), mine.o.end(), 9.0f);
        if (sage_attention_run(context, mine.slots.data(), 4, nullptr, nullptr) != SAGE_OK || !mine.Right())
          wrong.fetch_add(1);
      }
      sage_attention_context_destroy(context);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
}

TEST_CASE("S16 a run takes nothing from the heap, nor does the flat call once its shape is known") {
  Problem problem(17, 8);
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  sage_attention_context* context = MakeContext(engine, problem, &plan);
  const auto flat = [&] {
    return sage_attention(engine, SAGE_F32, 0, 1, 2, 2, 17, 17, 8, 8, problem.q.data(), problem.k.data(),
                          problem.v.data(), problem.o.data(), 0, 0, nullptr);
  };
  for (int round = 0; round < 3; ++round) {
    REQUIRE(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
    REQUIRE(flat() == SAGE_OK);
  }
  const uint64_t before = sage::test::HeapAllocations();
  for (int round = 0; round < 100; ++round) {
    (void)sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr);
    (void)flat();
  }
  CHECK(sage::test::HeapAllocations() == before);
  CHECK(problem.Right());
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

TEST_CASE("run refuses tensors that are not the planned ones, and a stream on the CPU") {
  Problem problem;
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  sage_attention_context* context = MakeContext(engine, problem, &plan);
  Error e;
  const auto refused = [&](auto change, const char* word, sage_status status = SAGE_E_INVALID_ARGUMENT) {
    Problem other;
    change(other);
    CHECK(sage_attention_run(context, other.slots.data(), 4, nullptr, &e) == status);
    CHECK_MESSAGE(e.Says(word), e.message);
  };
  refused([](Problem& p) { p.tensors[0].dtype = SAGE_F64; }, "Q is f64, f32 was planned");
  refused([](Problem& p) { p.tensors[1].shape[2] = 5; }, "K's axis 2 has length 5, 6 was planned");
  refused([](Problem& p) { p.tensors[2].stride[2] = 9; }, "V's stride of axis 2 is 9, 8 was planned");
  refused([](Problem& p) { p.tensors[3].data = nullptr; }, "O has no data");
  refused([](Problem& p) { p.tensors[0].struct_size = 0; }, "Q: its struct_size");
  refused([](Problem& p) { p.tensors[0].device_type = SAGE_CUDA; }, "Q is on cuda 0, cpu 0 was planned");
  refused([](Problem& p) { p.slots[2] = nullptr; }, "V was planned and is not given");
  int stream = 0;
  CHECK(sage_attention_run(context, problem.slots.data(), 4, &stream, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK(e.Says("stream"));
  std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS + 1> many{};
  std::copy(problem.slots.begin(), problem.slots.end(), many.begin());
  CHECK(sage_attention_run(context, many.data(), SAGE_ATTN_NUM_SLOTS + 1, nullptr, &e) == SAGE_OK);
  many[SAGE_ATTN_NUM_SLOTS] = &problem.tensors[0];
  CHECK(sage_attention_run(context, many.data(), SAGE_ATTN_NUM_SLOTS + 1, nullptr, &e) == SAGE_E_UNKNOWN_FIELD);
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, &e) == SAGE_OK);
  CHECK(e.status == SAGE_OK);
  CHECK(e.message[0] == '\0');
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
}

TEST_CASE("N14 dynamic axes: smaller runs of one plan equal plans of their own") {
  Problem big(12, 8);
  big.op.dynamic_axes = SAGE_AXIS_SQ | SAGE_AXIS_SKV;
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  sage_attention_context* context = MakeContext(engine, big, &plan);
  for (const int64_t rows : {12, 7, 1}) {
    Problem exact(12, 8);
    for (sage_tensor& tensor : exact.tensors) tensor.shape[2] = rows;
    sage_attention_plan* own = nullptr;
    sage_attention_context* alone = MakeContext(engine, exact, &own);
    REQUIRE(sage_attention_run(alone, exact.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
    for (sage_tensor& tensor : big.tensors) tensor.shape[2] = rows;
    Error e;
    REQUIRE_MESSAGE(sage_attention_run(context, big.slots.data(), 4, nullptr, &e) == SAGE_OK, e.message);
    for (size_t h = 0; h < 2; ++h)
      for (size_t i = 0; i < static_cast<size_t>(rows) * 8; ++i)
        CHECK(big.o[h * 96 + i] == doctest::Approx(exact.o[h * 96 + i]).epsilon(1e-6));
    sage_attention_context_destroy(alone);
    sage_attention_plan_destroy(own);
  }
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
}

TEST_CASE("a child of fork gets FORKED from the parent's handles, and works with an engine of its own") {
  Problem problem;
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  sage_attention_context* context = MakeContext(engine, problem, &plan);
  REQUIRE(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);
    int wrong = 0;
    uint64_t needed = 0;
    sage_attention_plan* other = nullptr;
    wrong |= sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) != SAGE_E_FORKED ? 1 : 0;
    wrong |= sage_attention_plan_create(engine, &problem.op, nullptr, &other, nullptr) != SAGE_E_FORKED ? 2 : 0;
    wrong |= sage_engine_describe(engine, nullptr, 0, &needed, nullptr) != SAGE_E_FORKED ? 4 : 0;
    wrong |= sage_engine_backend_count(engine) != 0 ? 8 : 0;
    sage_attention_context_destroy(context);
    sage_attention_plan_destroy(plan);
    sage_engine_destroy(engine);
    sage_engine* mine = nullptr;
    wrong |= sage_engine_create(nullptr, &mine, nullptr) != SAGE_OK ? 16 : 0;
    wrong |= sage_attention(mine, SAGE_F32, 0, 1, 2, 2, 6, 6, 8, 8, problem.q.data(), problem.k.data(),
                            problem.v.data(), problem.o.data(), 0, 0, nullptr) != SAGE_OK ||
                     !problem.Right()
                 ? 32
                 : 0;
    sage_engine_destroy(mine);
    _exit(wrong);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
}

TEST_CASE("the caller's allocator, cancel callback and log are used; memory above max_memory is refused") {
  struct Lent {
    std::atomic<int64_t> live{0}, calls{0};
  } lent;
  Problem problem(64, 8);
  OptionsOf options({{"log_level", "debug"}});
  REQUIRE(sage_options_set_allocator(
              options.handle,
              [](void* user, uint64_t bytes, uint64_t align) -> void* {
                void* out = nullptr;
                if (posix_memalign(&out, align, bytes) != 0) return nullptr;
                static_cast<Lent*>(user)->live += static_cast<int64_t>(bytes), ++static_cast<Lent*>(user)->calls;
                return out;
              },
              [](void* user, void* ptr, uint64_t bytes) {
                static_cast<Lent*>(user)->live -= static_cast<int64_t>(bytes);
                free(ptr);
              },
              &lent, nullptr) == SAGE_OK);
  sage_engine* engine = MakeEngine(options.handle);
  sage_attention_plan* plan = nullptr;
  OptionsOf cancelling({});
  REQUIRE(sage_options_set_cancel(
              cancelling.handle, [](void*) -> int32_t { return 1; }, nullptr, nullptr) == SAGE_OK);
  sage_attention_context* context = MakeContext(engine, problem, &plan, cancelling.handle);
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_E_CANCELLED);
  CHECK(lent.calls.load() > 0);
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
  CHECK(lent.live.load() == 0);

  OptionsOf small({{"max_memory", "64"}, {"plugin_folders", "false"}});
  Error e;
  engine = nullptr;
  const sage_status made = sage_engine_create(small.handle, &engine, &e);
  if (made == SAGE_OK) {
    CHECK(sage_attention_plan_create(engine, &problem.op, nullptr, &plan, &e) != SAGE_OK);
    CHECK_MESSAGE(e.Says("max_memory"), e.message);
  } else {
    CHECK(made == SAGE_E_OUT_OF_MEMORY);
  }
  sage_engine_destroy(engine);
}

TEST_CASE("verify: first compares once, always every time, off never; the difference is in the log") {
  std::string log;
  Problem problem;
  OptionsOf engine_options({{"log_level", "info"}});
  REQUIRE(sage_options_set_log(
              engine_options.handle,
              [](void* user, int32_t, const char* text, uint64_t length) {
                static_cast<std::string*>(user)->append(text, length).push_back('\n');
              },
              &log, nullptr) == SAGE_OK);
  sage_engine* engine = MakeEngine(engine_options.handle);
  for (const auto& [verify, lines] : {std::pair("off", 0), std::pair("first", 1), std::pair("always", 3)}) {
    OptionsOf options({{"verify", verify}});
    sage_attention_plan* plan = nullptr;
    sage_attention_context* context = MakeContext(engine, problem, &plan, options.handle);
    log.clear();
    for (int round = 0; round < 3; ++round)
      CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
    CHECK(problem.Right());
    int found = 0;
    for (size_t at = 0; (at = log.find("differs from reference by", at)) != std::string::npos; ++at) ++found;
    CHECK_MESSAGE(found == lines, log);
    sage_attention_context_destroy(context);
    sage_attention_plan_destroy(plan);
  }
  sage_engine_destroy(engine);
}
