// The one-shot attention API through libsage.so, from the plan on: callers at once, the heap, refusals of a run,
// dynamic axes, the fork, what the caller lends, verify.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support/heap_count.h"
#include "system/attention_api.h"

using namespace sage::test;

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
  const uint64_t before = HeapAllocations();
  for (int round = 0; round < 100; ++round) {
    (void)sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr);
    (void)flat();
  }
  CHECK(HeapAllocations() == before);
  CHECK(problem.Right());
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
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

TEST_CASE("memory that may not be written is refused where it would be, and taken where it is read") {
  Problem problem;
  sage_engine* engine = MakeEngine();
  sage_attention_plan* plan = nullptr;
  Error e;
  for (const size_t slot : {0u, 1u, 2u}) problem.tensors[slot].flags = SAGE_TENSOR_READ_ONLY;
  problem.tensors[3].flags = SAGE_TENSOR_READ_ONLY;
  CHECK(sage_attention_plan_create(engine, &problem.op, nullptr, &plan, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("O is written, and its memory is read-only"), e.message);
  problem.tensors[3].flags = 0;
  sage_attention_context* context = MakeContext(engine, problem, &plan);
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, &e) == SAGE_OK);
  CHECK(problem.Right());
  problem.tensors[3].flags = SAGE_TENSOR_READ_ONLY;
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("is written, and its memory is read-only: O"), e.message);
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
}

TEST_CASE("run refuses results that lie on what is read, and takes those that lie between its rows") {
  // q and o are rows of 8 in one buffer of rows of 16, o behind q or, moved, on it.
  const Problem apart;
  Problem problem;
  sage_engine* engine = MakeEngine();
  std::vector<float> wide(2 * problem.q.size());
  for (size_t i = 0; i < problem.q.size(); ++i) wide[i / 8 * 16 + i % 8] = problem.q[i];
  for (const size_t slot : {0u, 3u}) {
    sage_tensor& tensor = problem.tensors[slot];
    tensor.stride[2] = 16, tensor.stride[1] = 16 * 6, tensor.stride[0] = 16 * 12;
    tensor.data = wide.data() + (slot == 0 ? 0 : 8);
  }
  sage_attention_plan* plan = nullptr;
  sage_attention_context* context = MakeContext(engine, problem, &plan);
  Error e;
  REQUIRE_MESSAGE(sage_attention_run(context, problem.slots.data(), 4, nullptr, &e) == SAGE_OK, e.message);
  for (size_t i = 0; i < problem.o.size(); ++i) problem.o[i] = wide[i / 8 * 16 + 8 + i % 8];
  CHECK(problem.Right());
  problem.tensors[3].data = wide.data();
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("O is written and overlaps Q in memory; give them memory apart"), e.message);
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);

  // The short call: on the last element of v, and on the first of k.
  std::vector<float> memory(3 * 96);
  const auto call = [&](float* v, float* o) {
    return sage_attention(engine, SAGE_F32, 0, 1, 2, 2, 6, 6, 8, 8, apart.q.data(), apart.k.data(), v, o, 0, 0, &e);
  };
  CHECK(call(memory.data(), memory.data() + 96) == SAGE_OK);
  CHECK(call(memory.data(), memory.data() + 95) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("O is written and overlaps V in memory"), e.message);
  CHECK(call(memory.data() + 96, memory.data() + 1) == SAGE_E_INVALID_ARGUMENT);
  CHECK(call(memory.data() + 96, memory.data()) == SAGE_OK);
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

  // The engine's own serves a plan without one, and the short call; a plan's own goes before it.
  engine = MakeEngine(cancelling.handle);
  context = MakeContext(engine, problem, &plan);
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_E_CANCELLED);
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  const std::vector<float> one(8, 1);
  std::vector<float> out(8);
  CHECK(sage_attention(engine, SAGE_F32, 0, 1, 1, 1, 1, 1, 8, 8, one.data(), one.data(), one.data(), out.data(), 0, 0,
                       nullptr) == SAGE_E_CANCELLED);
  OptionsOf going({});
  REQUIRE(sage_options_set_cancel(
              going.handle, [](void*) -> int32_t { return 0; }, nullptr, nullptr) == SAGE_OK);
  context = MakeContext(engine, problem, &plan, going.handle);
  CHECK(sage_attention_run(context, problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);

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
