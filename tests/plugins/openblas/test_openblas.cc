// The plugin as built, against the reference.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include "support/run_op.h"

extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

using namespace sage::test;

namespace {

const sage_plugin* Table() {
  void* handle = dlopen(OPENBLAS_PLUGIN, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  REQUIRE_MESSAGE(handle != nullptr, dlerror());
  sage_plugin_query_fn query = nullptr;
  void* symbol = dlsym(handle, SAGE_PLUGIN_QUERY_SYMBOL);
  std::memcpy(&query, &symbol, sizeof symbol);
  REQUIRE(symbol != nullptr);
  return query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR);
}

bool Installed() {
  TestHost host;
  uint32_t count = 0;
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  REQUIRE(Table()->probe(host.table(), 0, &count, &answer, nullptr) == SAGE_OK);
  REQUIRE(answer.reason[0] != '\0');
  if (answer.verdict != SAGE_YES) MESSAGE("skipped: " << answer.reason);
  return answer.verdict == SAGE_YES;
}

struct Both {
  TestHost host{2};
  Instance openblas{Table(), host}, reference{reference_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host};
};

struct LinearCase {
  OwnedTensor x, w, b, y;
  uint32_t activation = SAGE_FN_IDENTITY;

  RunResult Run(Instance& instance, uint32_t requirements = 0) {
    sage_linear_attributes attributes{};
    attributes.activation = activation;
    TestOp op(SAGE_OP_LINEAR);
    op.Attributes(attributes).Slot(0, x).Slot(1, w).Slot(2, b).Slot(3, y).Requirements(requirements);
    return RunOp(instance, op);
  }
};

double Tolerance(sage_dtype dtype, int64_t depth) {
  return (dtype == SAGE_F64 ? 1e-15 : 6e-7) * (4 + static_cast<double>(depth));
}

// Runs on both; the result is the largest difference, infinite if one refuses.
double Difference(LinearCase c, Both& both) {
  LinearCase expected = c;
  const RunResult ours = c.Run(both.openblas), oracle = expected.Run(both.reference);
  CHECK_MESSAGE(ours.status == SAGE_OK, ours.message);
  CHECK_MESSAGE(oracle.status == SAGE_OK, oracle.message);
  return ours.status == SAGE_OK ? MaxDifference(c.y, expected.y) : HUGE_VAL;
}

std::string Refusal(LinearCase c, uint32_t requirements = 0) {
  Both both;
  const RunResult result = c.Run(both.openblas, requirements);
  CHECK(result.status == SAGE_E_UNSUPPORTED);
  return result.message;
}

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("openblas: the table declares its foreign threads and serves LINEAR and MATMUL only") {
  const sage_plugin* table = Table();
  REQUIRE(table != nullptr);
  CHECK(std::string(table->name) == "openblas");
  REQUIRE(table->foreign_threads != nullptr);
  CHECK(Contains(table->foreign_threads, "OpenBLAS"));
  CHECK(table->kinds == (SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_MATMUL)));
  CHECK(table->features == 0);
}

TEST_CASE("openblas: LINEAR equals the reference over sizes, layouts, biases and activations") {
  if (!Installed()) return;
  Both both;
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64}) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
      std::mt19937_64 random(seed);
      const auto up_to = [&](uint64_t n) { return 1 + static_cast<int64_t>(random() % n); };
      const int64_t batch = up_to(3), rows = up_to(33), depth = up_to(70), columns = up_to(65);
      LinearCase c;
      c.x = seed % 3 == 0   ? OwnedTensor::Ordered(dtype, {batch, rows, depth}, {0, 2, 1})
            : seed % 3 == 1 ? OwnedTensor(dtype, {batch, rows, depth}, {rows * (depth + 3) + 5, depth + 3, 1})
                            : OwnedTensor(dtype, {batch, rows, depth});
      c.w =
          seed % 2 == 0 ? OwnedTensor(dtype, {columns, depth}) : OwnedTensor::Ordered(dtype, {columns, depth}, {1, 0});
      c.y = seed % 5 == 0 ? OwnedTensor::Ordered(dtype, {batch, rows, columns}, {0, 2, 1})
                          : OwnedTensor(dtype, {batch, rows, columns});
      c.x.FillNormal(seed * 3), c.w.FillNormal(seed * 3 + 1), c.y.Fill(NAN);
      if (seed % 4 != 0) c.b = OwnedTensor(dtype, {columns}, {-1}).FillNormal(seed * 3 + 2);
      constexpr uint32_t kFunctions[] = {SAGE_FN_IDENTITY,  SAGE_FN_RELU, SAGE_FN_GELU,
                                         SAGE_FN_GELU_TANH, SAGE_FN_SILU, SAGE_FN_TANH,
                                         SAGE_FN_SIGMOID,   SAGE_FN_ABS,  SAGE_FN_NEG};
      c.activation = kFunctions[seed % std::size(kFunctions)];
      CAPTURE(dtype);
      CAPTURE(seed);
      CHECK(Difference(c, both) < Tolerance(dtype, depth));
    }
  }
}

TEST_CASE("openblas: LINEAR large enough for its threads, one row, one column, a vector, no depth, nothing") {
  if (!Installed()) return;
  Both both;
  for (const auto& [rows, depth, columns] :
       {std::tuple{200, 150, 180}, {1, 768, 768}, {64, 64, 1}, {5, 0, 3}, {0, 4, 4}, {4, 4, 0}}) {
    CAPTURE(rows);
    CAPTURE(depth);
    LinearCase c;
    c.x = OwnedTensor(SAGE_F32, {rows, depth}).FillNormal(1);
    c.w = OwnedTensor(SAGE_F32, {columns, depth}).FillNormal(2).Constant();
    c.b = OwnedTensor(SAGE_F32, {columns}).FillNormal(3);
    c.y = OwnedTensor(SAGE_F32, {rows, columns}).Fill(NAN);
    CHECK(Difference(c, both) < Tolerance(SAGE_F32, depth));
  }
  LinearCase vector;
  vector.x = OwnedTensor(SAGE_F64, {9}).FillNormal(1);
  vector.w = OwnedTensor(SAGE_F64, {4, 9}).FillNormal(2);
  vector.y = OwnedTensor(SAGE_F64, {4});
  CHECK(Difference(vector, both) < 1e-14);
}

TEST_CASE("openblas: data off its alignment is computed, not handed to BLAS") {
  if (!Installed()) return;
  Both both;
  for (const uint32_t crooked : {0u, 1u, 2u}) {
    LinearCase c;
    c.x = OwnedTensor(SAGE_F32, {3, 5}, {5, 1}, crooked == 0 ? 1 : 0).FillNormal(1);
    c.w = OwnedTensor(SAGE_F32, {4, 5}, {5, 1}, crooked == 1 ? 2 : 0).FillNormal(2);
    c.y = OwnedTensor(SAGE_F32, {3, 4}, {4, 1}, crooked == 2 ? 3 : 0);
    c.b = OwnedTensor(SAGE_F32, {4}, {1}, 1).FillNormal(3);
    CHECK(Difference(c, both) < 1e-5);
  }
}

TEST_CASE("openblas: MATMUL equals the reference, batched, transposed, with a repeated operand") {
  if (!Installed()) return;
  Both both;
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64}) {
    for (uint64_t seed = 0; seed < 12; ++seed) {
      std::mt19937_64 random(seed + 100);
      const auto up_to = [&](uint64_t n) { return 1 + static_cast<int64_t>(random() % n); };
      const int64_t m = up_to(40), k = up_to(40), n = up_to(40);
      OwnedTensor a =
          seed % 2 ? OwnedTensor::Ordered(dtype, {2, 3, m, k}, {1, 0, 3, 2}) : OwnedTensor(dtype, {2, 3, m, k});
      OwnedTensor b = seed % 3 ? OwnedTensor(dtype, {2, 3, k, n}, {0, k * n, n, 1})
                               : OwnedTensor::Ordered(dtype, {2, 3, k, n}, {0, 1, 3, 2});
      OwnedTensor c = OwnedTensor(dtype, {2, 3, m, n}).Fill(NAN), expected = c;
      a.FillNormal(seed), b.FillNormal(seed + 1);
      TestOp ours(SAGE_OP_MATMUL), oracle(SAGE_OP_MATMUL);
      ours.Slot(0, a).Slot(1, b).Slot(2, c);
      oracle.Slot(0, a).Slot(1, b).Slot(2, expected);
      const RunResult result = RunOp(both.openblas, ours);
      CHECK_MESSAGE(result.status == SAGE_OK, result.message);
      CHECK(RunOp(both.reference, oracle).status == SAGE_OK);
      CHECK(MaxDifference(c, expected) < Tolerance(dtype, k));
    }
  }
}

TEST_CASE("openblas: fewer rows at run than planned") {
  if (!Installed()) return;
  Both both;
  LinearCase c;
  c.x = OwnedTensor(SAGE_F32, {3, 6, 8}).FillNormal(1);
  c.w = OwnedTensor(SAGE_F32, {5, 8}).FillNormal(2);
  c.y = OwnedTensor(SAGE_F32, {3, 6, 5}).Fill(7);
  LinearCase whole = c;
  REQUIRE(whole.Run(both.openblas).status == SAGE_OK);
  TestOp op(SAGE_OP_LINEAR);
  op.Slot(0, c.x).Slot(1, c.w).Slot(3, c.y).DynamicAxes(SAGE_AXIS_M);
  PlannedOp plan(both.openblas, op);
  REQUIRE_MESSAGE(plan.status() == SAGE_OK, plan.message());
  c.x.description().shape[0] = c.y.description().shape[0] = 2;
  c.x.description().shape[1] = c.y.description().shape[1] = 4;
  REQUIRE(plan.Run(op.slots()) == SAGE_OK);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t n = 0; n < 5; ++n) CHECK(c.y.At({b, i, n}) == doctest::Approx(whole.y.At({b, i, n})).epsilon(1e-6));
  c.y.description().shape[0] = 3;
  c.y.description().shape[1] = 6;
  CHECK(c.y.At({0, 4, 0}) == 7);  // rows that were not asked for stay as they were
  CHECK(c.y.At({2, 0, 0}) == 7);
}

TEST_CASE("openblas: every NO has its reason") {
  LinearCase c;
  c.x = OwnedTensor(SAGE_F32, {3, 5}), c.w = OwnedTensor(SAGE_F32, {4, 5}), c.y = OwnedTensor(SAGE_F32, {3, 4});
  CHECK(Contains(Refusal(c, SAGE_REQUIRE_DETERMINISTIC), "DETERMINISTIC"));
  CHECK(Contains(Refusal(c, SAGE_REQUIRE_SCALAR), "SCALAR"));
  CHECK(Contains(Refusal(c, SAGE_REQUIRE_STREAM_CAPTURE), "STREAM_CAPTURE"));
  LinearCase half = c;
  half.x = OwnedTensor(SAGE_F16, {3, 5}), half.w = OwnedTensor(SAGE_F16, {4, 5}),
  half.y = OwnedTensor(SAGE_F16, {3, 4});
  CHECK(Contains(Refusal(half), "f16"));
  LinearCase mixed = c;
  mixed.w = OwnedTensor(SAGE_F64, {4, 5});
  CHECK(Contains(Refusal(mixed), "mixes no dtypes"));
  LinearCase spread = c;
  spread.x = OwnedTensor(SAGE_F32, {3, 5}, {10, 2});
  CHECK(Contains(Refusal(spread), "X has strides (10, 2)"));
  LinearCase repeated = c;
  repeated.w = OwnedTensor(SAGE_F32, {4, 5}, {0, 1});
  CHECK(Contains(Refusal(repeated), "W has strides"));
  LinearCase misfit = c;
  misfit.w = OwnedTensor(SAGE_F32, {4, 6});
  CHECK(!Refusal(misfit).empty());
  Both both;
  TestOp other(SAGE_OP_UNARY);
  OwnedTensor x(SAGE_F32, {2}), y(SAGE_F32, {2});
  other.Slot(0, x).Slot(1, y);
  CHECK(Contains(RunOp(both.openblas, other).message, "UNARY"));
}

TEST_CASE("openblas: eight threads on one plan, one after the other inside") {
  if (!Installed()) return;
  Both both;
  LinearCase c;
  c.x = OwnedTensor(SAGE_F32, {70, 80}).FillNormal(1);
  c.w = OwnedTensor(SAGE_F32, {60, 80}).FillNormal(2);
  c.y = OwnedTensor(SAGE_F32, {70, 60});
  TestOp op(SAGE_OP_LINEAR);
  op.Slot(0, c.x).Slot(1, c.w).Slot(3, c.y);
  PlannedOp plan(both.openblas, op);
  REQUIRE(plan.status() == SAGE_OK);
  LinearCase expected = c;
  REQUIRE(expected.Run(both.reference).status == SAGE_OK);
  std::vector<OwnedTensor> results(8, c.y);
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (OwnedTensor& y : results) {
    threads.emplace_back([&] {
      const sage_tensor* slots[] = {c.x.tensor(), c.w.tensor(), nullptr, y.tensor()};
      sage_run_args args{};
      args.struct_size = sizeof args;
      args.slots = slots, args.num_slots = 4;
      for (int i = 0; i < 50; ++i)
        if (both.openblas.table()->run(plan.handle(), &args, nullptr) != SAGE_OK) ++failed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  for (const OwnedTensor& y : results) CHECK(MaxDifference(y, expected.y) < Tolerance(SAGE_F32, 80));
}
