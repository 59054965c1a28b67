// LINEAR in 8 bits: the promises around the numbers: refusals, errors, packed weights, rows that come and go, threads,
// memory.
#include <initializer_list>

#include "linear_testing.h"
#include "support/heap_count.h"

namespace sage::test {
namespace {

void ExpectNo(OpCase c, std::initializer_list<const char*> parts) {
  Int8 backend;
  const RunResult result = backend.Run(c);
  CHECK_MESSAGE(result.status == SAGE_E_UNSUPPORTED, Describe(c), " ", result.message);
  for (const char* part : parts) CHECK_MESSAGE(result.message.find(part) != std::string::npos, result.message);
}

TEST_CASE("int8 LINEAR: what it does not serve is refused with the reason") {
  const auto of = [](sage_dtype x, sage_dtype w, sage_dtype y) {
    return Linear(OwnedTensor(x, {2, 4}), OwnedTensor(w, {3, 4}), OwnedTensor(), OwnedTensor(y, {2, 3}));
  };
  ExpectNo(of(SAGE_F64, SAGE_F32, SAGE_F32), {"f64", "i8"});
  ExpectNo(of(SAGE_F32, SAGE_I16, SAGE_F32), {"i16"});
  ExpectNo(of(SAGE_F8_E4M3FN, SAGE_I8, SAGE_F32), {"e4m3"});
  ExpectNo(of(SAGE_I8, SAGE_I8, SAGE_F32), {"X is i8 without SCALE_X"});
  ExpectNo(of(SAGE_F32, SAGE_I8, SAGE_F32), {"W is i8 without SCALE_W"});
  ExpectNo(of(SAGE_I8, SAGE_F32, SAGE_F32), {"X is i8 without SCALE_X"});
  ExpectNo(WithScales(of(SAGE_I8, SAGE_I8, SAGE_F32), Scales(1, 1), OwnedTensor()), {"W is i8 without SCALE_W"});
  ExpectNo(WithScales(of(SAGE_I8, SAGE_I8, SAGE_I32), Scales(1, 1), OwnedTensor()), {"SCALE_X and SCALE_W"});
  ExpectNo(Linear(OwnedTensor(SAGE_I8, {1, 131072}), OwnedTensor(SAGE_I8, {1, 131072}), OwnedTensor(),
                  OwnedTensor(SAGE_I32, {1, 1})),
           {"131072", "131071"});
  // By the rules of the op itself.
  ExpectNo(WithScales(of(SAGE_F32, SAGE_F32, SAGE_F32), Scales(1, 1), OwnedTensor()), {"not quantised"});
  ExpectNo(WithScales(of(SAGE_I8, SAGE_I8, SAGE_F32), Scales(3, 1), Scales(1, 1)), {"SCALE_X"});
  ExpectNo(of(SAGE_F32, SAGE_F32, SAGE_I32), {"Y is i32"});
}

TEST_CASE("int8 LINEAR: a scale that is none is an error that names it") {
  for (const double bad : {0.0, -0.5, static_cast<double>(NAN), HUGE_VAL, -HUGE_VAL})
    for (const uint32_t slot : {kScaleX, kScaleW})
      for (const bool constant : {false, true}) {
        Int8 backend;
        OpCase c = OfCodes(5, 7, 12, true, 3);
        if (constant) c.slots[kW].Constant();
        c.slots[slot].Put(4, bad);
        const RunResult result = backend.Run(c);
        CHECK(result.status == SAGE_E_INVALID_ARGUMENT);
        CHECK_MESSAGE(
            result.message.find(slot == kScaleX ? "number 4 of SCALE_X" : "number 4 of SCALE_W") != std::string::npos,
            result.message);
        OpCase one = OfCodes(5, 7, 12, false, 3);
        one.slots[slot].Put(0, bad);
        CHECK(backend.Run(one).status == SAGE_E_INVALID_ARGUMENT);
      }
}

TEST_CASE("int8 LINEAR: the answer says how, and what is packed") {
  Int8 backend("isa=scalar");
  const auto reason = [&](OpCase c) {
    const RunResult result = backend.Run(c);
    REQUIRE(result.status == SAGE_OK);
    CHECK(result.answer.cost_ns > 0);
    CHECK(result.answer.cost_source == SAGE_COST_MODEL);
    return std::string(result.answer.reason);
  };
  const std::string floats = reason(Plain(SAGE_F32, 2, 20, 30, true, 1)), codes = reason(OfCodes(2, 20, 30, true, 1));
  CHECK_MESSAGE(floats == "scalar kernel in 8 bits, X quantised per row, W per channel, W packed once at plan", floats);
  CHECK_MESSAGE(codes == "scalar kernel in 8 bits, codes of X and W as given, W packed per run, as it is not constant",
                codes);
  OpCase scalar = Plain(SAGE_F32, 2, 20, 30, true, 1);
  scalar.attributes = [](TestOp& op) { op.Requirements(SAGE_REQUIRE_SCALAR); };
  Int8 best;
  CHECK(std::string(best.Run(scalar).answer.reason).find("scalar kernel") == 0);
}

TEST_CASE("int8 LINEAR: no rows or columns or depth") {
  for (const bool constant : {false, true}) {
    Int8 backend("", 2);
    OpCase deep = Plain(SAGE_F32, 3, 5, 0, constant, 1);
    REQUIRE(backend.Run(deep).status == SAGE_OK);
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 5; ++j) CHECK(deep.slots[kY].At({i, j}) == deep.slots[kBias].At({j}));
    OpCase nowhere = Plain(SAGE_F32, 3, 5, 0, constant, 1);
    nowhere.slots[kX].description().data = nowhere.slots[kW].description().data = nullptr;
    REQUIRE(backend.Run(nowhere).status == SAGE_OK);
    CHECK(BitwiseEqual(nowhere.slots[kY], deep.slots[kY]));
    OpCase wide = Plain(SAGE_F32, 3, 0, 4, constant, 1), high = Plain(SAGE_F32, 0, 5, 4, constant, 1);
    CHECK(backend.Run(wide).status == SAGE_OK);
    CHECK(backend.Run(high).status == SAGE_OK);
    OpCase codes = OfCodes(0, 5, 4, true, 1);
    CHECK(backend.Run(codes).status == SAGE_OK);
  }
}

TEST_CASE("int8 LINEAR: a row's bits do not depend on how many rows there are, nor on the bucket it was planned for") {
  for (const std::string& isa : LinearIsas())
    for (const bool codes : {false, true})
      for (const bool constant : {false, true}) {
        Int8 backend(isa, 3);
        const int64_t most = 1100, n = 133, k = 71;  // more rows than are codes at once
        OpCase all = codes ? OfCodes(most, n, k, true, 21) : Plain(SAGE_F32, most, n, k, false, 21);
        if (constant) all.slots[kW].Constant();
        REQUIRE(backend.Run(all).status == SAGE_OK);
        OpCase planned = all;
        planned.slots[kY] = OwnedTensor(SAGE_F32, {most, n});
        TestOp op(SAGE_OP_LINEAR);
        op.DynamicAxes(SAGE_AXIS_M);
        for (uint32_t s = 0; s < planned.slots.size(); ++s) op.Slot(s, planned.slots[s]);
        PlannedOp plan(backend.instance, op);
        REQUIRE_MESSAGE(plan.status() == SAGE_OK, plan.message());
        for (const int64_t m : {int64_t{1}, int64_t{7}, int64_t{47}, int64_t{49}, int64_t{1025}}) {
          planned.slots[kX].description().shape[0] = m;
          planned.slots[kY].description().shape[0] = m;
          if (codes) planned.slots[kScaleX].description().shape[0] = m;
          std::string message;
          REQUIRE_MESSAGE(plan.Run(op.slots(), &message) == SAGE_OK, message);
          bool same = true;
          for (int64_t i = 0; i < m; i += 1 + m / 50)
            for (int64_t j = 0; j < n; ++j) same = same && planned.slots[kY].At({i, j}) == all.slots[kY].At({i, j});
          CHECK_MESSAGE(same, isa, " m = ", m);
        }
        if (!codes) continue;
        planned.slots[kScaleX].description().shape[0] = 3;  // not as many as rows
        CHECK(plan.Run(op.slots()) == SAGE_E_INVALID_ARGUMENT);
      }
}

TEST_CASE("int8 LINEAR: packed weights are shared with like; counted; and outlive any order of destruction") {
  TestHost host;
  Instance backend(int8_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host);
  OpCase big = Plain(SAGE_F32, 64, 100, 80, true, 5), small = big, other = Plain(SAGE_F32, 64, 100, 80, true, 6);
  small.slots[kX] = OwnedTensor(SAGE_F32, {3, 80}).FillNormal(9);
  small.slots[kY] = OwnedTensor(SAGE_F32, {3, 100});
  small.slots[kW].description().data = big.slots[kW].description().data;  // the same weight, not a copy of it
  TestOp big_op(SAGE_OP_LINEAR), small_op(SAGE_OP_LINEAR), other_op(SAGE_OP_LINEAR);
  for (uint32_t s = 0; s < 4; ++s) {
    big_op.Slot(s, big.slots[s]);
    small_op.Slot(s, small.slots[s]);
    other_op.Slot(s, other.slots[s]);
  }
  auto first = std::make_unique<PlannedOp>(backend, big_op);
  REQUIRE(first->status() == SAGE_OK);
  CHECK(first->info().prepack_bytes >= 100 * 80);
  CHECK(first->info().prepack_bytes < 2 * 2 * 112 * 80);  // codes, of at most two bytes, and scales: not floats
  const uint64_t held = host.bytes_in_use();
  auto second = std::make_unique<PlannedOp>(backend, small_op, first.get());
  REQUIRE(second->status() == SAGE_OK);
  CHECK(second->info().prepack_bytes == 0);
  CHECK(host.bytes_in_use() == held);
  auto third = std::make_unique<PlannedOp>(backend, other_op, first.get());  // another weight is not shared
  REQUIRE(third->status() == SAGE_OK);
  CHECK(third->info().prepack_bytes > 0);
  REQUIRE(third->Run(other_op.slots()) == SAGE_OK);
  OpCase again = other;
  again.slots[kY] = OwnedTensor(SAGE_F32, {64, 100});
  REQUIRE(RunCase(backend, again).status == SAGE_OK);
  CHECK(BitwiseEqual(again.slots[kY], other.slots[kY]));
  third.reset();
  first.reset();
  CHECK(host.bytes_in_use() == held);
  REQUIRE(second->Run(small_op.slots()) == SAGE_OK);
  OpCase alone = small;
  alone.slots[kY] = OwnedTensor(SAGE_F32, {3, 100});
  REQUIRE(RunCase(backend, alone).status == SAGE_OK);
  CHECK(BitwiseEqual(alone.slots[kY], small.slots[kY]));
  second.reset();
  CHECK(host.bytes_in_use() == 0);
}

TEST_CASE("int8 LINEAR: a constant whose data comes at the run is packed then") {
  Int8 backend;
  OpCase c = Plain(SAGE_F32, 5, 40, 30, true, 3), want = c;
  REQUIRE(backend.Run(want).status == SAGE_OK);
  TestOp op(SAGE_OP_LINEAR);
  for (uint32_t s = 0; s < 4; ++s) op.Slot(s, c.slots[s]);
  void* const data = c.slots[kW].description().data;
  c.slots[kW].description().data = nullptr;
  const sage_answer answer = backend.instance.Ask(op);
  REQUIRE(answer.verdict == SAGE_YES);
  PlannedOp plan(backend.instance, op);
  REQUIRE_MESSAGE(plan.status() == SAGE_OK, plan.message());
  CHECK(plan.info().prepack_bytes == 0);
  CHECK(plan.info().workspace_bytes <= answer.workspace_bytes);
  c.slots[kW].description().data = data;
  REQUIRE(plan.Run(op.slots()) == SAGE_OK);
  CHECK(BitwiseEqual(c.slots[kY], want.slots[kY]));
}

TEST_CASE("int8 LINEAR: threads 1 2 3 8 give the same bits") {
  for (const std::string& isa : LinearIsas())
    for (const bool constant : {true, false}) {
      OwnedTensor first;
      for (const uint32_t workers : {1u, 2u, 3u, 8u}) {
        Int8 backend(isa, workers, Threads::kReal);
        OpCase c = Plain(SAGE_F32, 200, 700, 500, constant, 7);
        REQUIRE(backend.Run(c).status == SAGE_OK);
        if (workers == 1) {
          first = c.slots[kY];
          continue;
        }
        CHECK(backend.host.parallel_calls() > 0);
        CHECK_MESSAGE(BitwiseEqual(first, c.slots[kY]), isa, " ", workers, " threads");
      }
    }
}

TEST_CASE("int8 LINEAR: a run allocates nothing; neither on the heap nor from the host") {
  Int8 backend("", 2, Threads::kReal);
  for (const bool constant : {true, false}) {
    OpCase c = Plain(SAGE_F32, 40, 800, 700, constant, 3);
    TestOp op(SAGE_OP_LINEAR);
    for (uint32_t s = 0; s < 4; ++s) op.Slot(s, c.slots[s]);
    PlannedOp plan(backend.instance, op);
    REQUIRE(plan.Run(op.slots()) == SAGE_OK);
    const uint64_t heap = HeapAllocations(), from_host = backend.host.allocations();
    const sage_status status = plan.Run(op.slots());
    CHECK(HeapAllocations() == heap);
    CHECK(backend.host.allocations() == from_host);
    CHECK(status == SAGE_OK);
  }
}

TEST_CASE("int8 LINEAR: prices grow with the work; small products stay on the calling thread") {
  Int8 backend("", 2, Threads::kReal);
  OpCase small = Plain(SAGE_F32, 1, 64, 64, true, 3), large = Plain(SAGE_F32, 256, 512, 512, true, 3);
  const RunResult cheap = backend.Run(small);
  REQUIRE(cheap.status == SAGE_OK);
  CHECK(backend.host.parallel_calls() == 0);
  const RunResult dear = backend.Run(large);
  REQUIRE(dear.status == SAGE_OK);
  CHECK(backend.host.parallel_calls() > 0);
  CHECK(dear.answer.cost_ns > 20 * cheap.answer.cost_ns);
  large.slots[kW].description().flags = 0;
  CHECK(backend.Run(large).answer.cost_ns > dear.answer.cost_ns);
}

TEST_CASE("int8 LINEAR: a failed allocation at plan is an error; nothing is leaked") {
  Int8 backend;
  OpCase c = Plain(SAGE_F32, 2, 10, 10, true, 3);
  TestOp op(SAGE_OP_LINEAR);
  for (uint32_t s = 0; s < 4; ++s) op.Slot(s, c.slots[s]);
  backend.host.FailAllocation(0);
  PlannedOp plan(backend.instance, op);
  CHECK(plan.status() == SAGE_E_OUT_OF_MEMORY);
  CHECK(backend.host.bytes_in_use() == 0);
}

TEST_CASE("int8 LINEAR: cancelled while it runs") {
  for (const bool constant : {true, false})
    for (const int64_t poll : {1, 2, 4}) {
      Int8 backend;
      OpCase c = Plain(SAGE_F32, 300, 500, 100, constant, 3);
      backend.host.CancelAtPoll(poll);
      CHECK(backend.Run(c).status == SAGE_E_CANCELLED);
    }
}

}  // namespace
}  // namespace sage::test
