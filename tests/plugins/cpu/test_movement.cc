// GATHER, CONCAT, SLICE, PERMUTE, TOPK and ROPE of the cpu backend, against the oracle.
#include "op_cases.h"
#include "ops_harness.h"
#include "support/heap_count.h"

namespace sage::test {
namespace {

TEST_CASE("cpu PERMUTE: every dtype, seeded axes and layouts") {
  Random random(51);
  for (int repeat = 0; repeat < 120; ++repeat) ExpectExact(AnyPermute(random, kAll[repeat % 13]));
}

TEST_CASE("cpu PERMUTE: large transposes by tiles, threads 1 2 3 8") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16, SAGE_I8, SAGE_F64}) {
    // The last tile of a side may be any part of one, a single row or column too.
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{210, 333}, {225, 337}}) {
      const OpCase c = Transpose(dtype, rows, columns);
      ExpectSameBitsForThreads(c);
      ExpectExact(c);
    }
  }
}

TEST_CASE("cpu SLICE: begins, steps forwards and backwards") {
  Random random(52);
  for (int repeat = 0; repeat < 120; ++repeat) ExpectExact(AnySlice(random, kAll[repeat % 13]));
}

TEST_CASE("cpu CONCAT: any number, any axis, empty parts") {
  Random random(53);
  for (int repeat = 0; repeat < 80; ++repeat) ExpectExact(AnyConcat(random, kAll[repeat % 13]));
}

TEST_CASE("cpu GATHER: seeded ranks, axes, index dtypes and layouts") {
  Random random(54);
  for (int repeat = 0; repeat < 120; ++repeat) ExpectExact(AnyGather(random, kAll[repeat % 13]));
}

TEST_CASE("cpu GATHER: an index out of range is an error that names it, nothing is read") {
  for (const int64_t bad : {int64_t{5}, int64_t{-1}, int64_t{1} << 40}) {
    OwnedTensor indices(SAGE_I64, {3});
    indices.FillValues({0, static_cast<double>(bad), 4});
    OpCase c = Gather(0, OwnedTensor(SAGE_F32, {5, 2}), indices, OwnedTensor(SAGE_F32, {3, 2}));
    ExpectRunError(c, std::to_string(bad));
  }
}

TEST_CASE("cpu TOPK: seeded lines with many ties, largest and smallest, any k") {
  Random random(55);
  for (int repeat = 0; repeat < 120; ++repeat) ExpectExact(AnyTopk(random));
}

TEST_CASE("cpu TOPK: 8 of 128 in a batch; a NaN anywhere is an error that names its line") {
  OwnedTensor x(SAGE_F32, {40, 128});
  x.FillNormal(8);
  OpCase c = Topk(1, false, x, OwnedTensor(SAGE_F32, {40, 8}), OwnedTensor(SAGE_I32, {40, 8}));
  ExpectExact(c);
  c.slots[0].Set({17, 127}, std::nan(""));
  c.slots[0].Set({30, 0}, std::nan(""));
  ExpectRunError(c, "line 17");
}

TEST_CASE("cpu ROPE: both styles, partial dimensions, tables or angles, batched and packed") {
  Random random(56);
  for (int repeat = 0; repeat < 80; ++repeat) {
    const OpCase c = AnyRope(random);
    if (!c.slots.empty()) ExpectExact(c, c.scale);
  }
}

TEST_CASE("cpu ROPE: a position outside the tables is an error that names it") {
  for (const double bad : {30.0, -1.0}) {
    OwnedTensor positions(SAGE_I32, {1, 2});
    positions.FillValues({3, bad});
    OpCase c = Rope(SAGE_ROPE_HALVES, 0, 0,
                    {OwnedTensor(SAGE_F32, {1, 1, 2, 4}), positions, OwnedTensor(SAGE_F32, {30, 2}),
                     OwnedTensor(SAGE_F32, {30, 2}), OwnedTensor(SAGE_F32, {1, 1, 2, 4})});
    ExpectRunError(c, std::to_string(static_cast<int>(bad)));
  }
}

TEST_CASE("cpu TOPK, ROPE, GATHER: threads 1 2 3 8 give the same bits") {
  OwnedTensor x(SAGE_F32, {300, 400});
  x.FillNormal(8);
  ExpectSameBitsForThreads(Topk(1, false, x, OwnedTensor(SAGE_F32, {300, 20}), OwnedTensor(SAGE_I32, {300, 20})));
  OwnedTensor positions(SAGE_I32, {2, 60});
  positions.FillIntegers(3, 0, 1000);
  ExpectSameBitsForThreads(Rope(SAGE_ROPE_HALVES, 0, 0,
                                {OwnedTensor(SAGE_F32, {2, 8, 60, 64}).FillNormal(1), positions, OwnedTensor(),
                                 OwnedTensor(), OwnedTensor(SAGE_F32, {2, 8, 60, 64})}));
  OwnedTensor indices(SAGE_I64, {3000});
  indices.FillIntegers(3, 0, 299);
  ExpectSameBitsForThreads(Gather(0, x, indices, OwnedTensor(SAGE_F32, {3000, 400})));
}

TEST_CASE("cpu plain kinds: after planning, a run takes no memory from the heap or the host") {
  std::vector<OpCase> cases;
  const auto tensor = [](const Shape& shape) { return OwnedTensor(SAGE_F32, shape).FillNormal(3); };
  const Shape shape = {40, 60, 64};
  const auto add = [&](uint32_t kind, std::function<void(TestOp&)> attributes, std::vector<OwnedTensor> slots) {
    cases.push_back({kind, std::move(attributes), std::move(slots)});
  };
  add(SAGE_OP_UNARY,
      [](TestOp& op) {
        op.Attributes(sage_unary_attributes{0, SAGE_FN_TANH, 0});
      },
      {tensor(shape), OwnedTensor(SAGE_F32, shape)});
  add(SAGE_OP_BINARY,
      [](TestOp& op) {
        op.Attributes(sage_binary_attributes{0, SAGE_BINARY_ADD});
      },
      {tensor(shape), tensor(shape), OwnedTensor(SAGE_F32, shape)});
  add(SAGE_OP_SOFTMAX,
      [](TestOp& op) {
        op.Attributes(sage_softmax_attributes{0, 2});
      },
      {tensor(shape), OwnedTensor(SAGE_F32, shape)});
  add(SAGE_OP_NORM,
      [](TestOp& op) {
        op.Attributes(sage_norm_attributes{0, SAGE_NORM_LAYER, 2, 0, 1e-5});
      },
      {tensor(shape), tensor({64}), tensor({64}), OwnedTensor(), OwnedTensor(), OwnedTensor(SAGE_F32, shape)});
  add(SAGE_OP_REDUCE,
      [](TestOp& op) {
        op.Attributes(sage_reduce_attributes{0, SAGE_REDUCE_MEAN, 1, 0});
      },
      {tensor(shape), OwnedTensor(SAGE_F32, {60, 64})});
  add(SAGE_OP_CONCAT,
      [](TestOp& op) {
        op.Attributes(sage_concat_attributes{0, 1});
      },
      {OwnedTensor(SAGE_F32, {40, 120, 64}), tensor(shape), tensor(shape)});
  add(SAGE_OP_SLICE, [](TestOp& op) { op.Attributes(sage_slice_attributes{}); },
      {tensor(shape), OwnedTensor(SAGE_F32, {20, 60, 64})});
  add(SAGE_OP_PERMUTE,
      [](TestOp& op) {
        op.Attributes(sage_permute_attributes{0, 0, {2, 0, 1}});
      },
      {tensor(shape), OwnedTensor(SAGE_F32, {64, 40, 60})});
  add(SAGE_OP_POOL,
      [](TestOp& op) {
        op.Attributes(sage_pool_attributes{0, SAGE_POOL_MAX, 0, 0, 0, 0});
      },
      {tensor(shape), OwnedTensor(), OwnedTensor(SAGE_F32, {40, 64})});
  cases.push_back(
      Topk(2, false, tensor(shape), OwnedTensor(SAGE_F32, {40, 60, 8}), OwnedTensor(SAGE_I32, {40, 60, 8})));
  cases.push_back(Gather(1, tensor(shape), OwnedTensor(SAGE_I32, {60}), OwnedTensor(SAGE_F32, shape)));
  cases.push_back(
      Rope(SAGE_ROPE_HALVES, 0, 0,
           {tensor(shape), OwnedTensor(SAGE_I32, {40}), OwnedTensor(), OwnedTensor(), OwnedTensor(SAGE_F32, shape)}));
  TestHost host(2);
  Instance cpu(Cpu(), host);
  for (OpCase& c : cases) {
    TestOp op(c.kind);
    c.attributes(op);
    for (size_t s = 0; s < c.slots.size(); ++s)
      if (c.slots[s].present()) op.Slot(static_cast<uint32_t>(s), c.slots[s]);
    PlannedOp plan(cpu, op);
    std::string message;
    REQUIRE_MESSAGE(plan.Run(op.slots(), &message) == SAGE_OK, support::KindName(c.kind), ": ", plan.message(),
                    message);
    const uint64_t heap = HeapAllocations(), from_host = host.allocations();
    const sage_status status = plan.Run(op.slots());
    CHECK_MESSAGE(HeapAllocations() == heap, support::KindName(c.kind));
    CHECK_MESSAGE(host.allocations() == from_host, support::KindName(c.kind));
    CHECK(status == SAGE_OK);
  }
}

TEST_CASE("cpu plain kinds: SAGE_REQUIRE_SCALAR gives the bits of the forced scalar backend") {
  if (Isas().size() < 2) {
    MESSAGE("skipped: this machine has the scalar path only");
    return;
  }
  OpCase c{SAGE_OP_LINEAR, [](TestOp&) {}, {}};
  c.slots = {OwnedTensor(SAGE_F32, {5, 200}).FillNormal(1), OwnedTensor(SAGE_F32, {40, 200}).FillNormal(2),
             OwnedTensor(), OwnedTensor(SAGE_F32, {5, 40})};
  OpCase forced = c, required = c, free = c;
  required.attributes = [](TestOp& op) { op.Requirements(SAGE_REQUIRE_SCALAR | SAGE_REQUIRE_DETERMINISTIC); };
  TestHost host;
  Instance scalar(Cpu(), host, "isa=scalar"), best(Cpu(), host);
  REQUIRE(RunCase(scalar, forced).status == SAGE_OK);
  REQUIRE(RunCase(best, required).status == SAGE_OK);
  REQUIRE(RunCase(best, free).status == SAGE_OK);
  CHECK(BitwiseEqual(forced.slots[3], required.slots[3]));
  CHECK_FALSE(BitwiseEqual(free.slots[3], required.slots[3]));
}

}  // namespace
}  // namespace sage::test
