// NORM, SOFTMAX, REDUCE and POOL of the cpu backend, against the oracle.
#include "op_cases.h"
#include "ops_harness.h"

namespace sage::test {
namespace {

TEST_CASE("cpu NORM: layer and rms, any axis, layouts and mixed parameters") {
  Random random(41);
  for (int repeat = 0; repeat < 80; ++repeat) {
    const OpCase c = AnyNorm(random);
    ExpectExact(c, c.scale);
  }
}

TEST_CASE("cpu NORM: long lines, an offset that cancels, epsilon as given") {
  for (const int64_t length : {768, 2048, 2049, 5000}) {
    OwnedTensor x(SAGE_F32, {3, length});
    x.FillNormal(7);
    x.FillBy([&](uint64_t i) { return 1000.0 + x.Get(i); });
    for (const double epsilon : {0.0, 1e-5, 0.1})
      ExpectExact(
          Norm(SAGE_NORM_LAYER, 1, epsilon,
               {x, OwnedTensor(), OwnedTensor(), OwnedTensor(), OwnedTensor(), OwnedTensor(SAGE_F32, {3, length})}),
          1000.0);
  }
}

TEST_CASE("cpu NORM: batch statistics by channel, any axis") {
  Random random(42);
  for (int repeat = 0; repeat < 40; ++repeat) {
    const OpCase c = AnyBatchNorm(random);
    ExpectExact(c, c.scale);
  }
}

TEST_CASE("cpu SOFTMAX: seeded layouts and axes, rounded once") {
  Random random(43);
  for (int repeat = 0; repeat < 80; ++repeat) ExpectExact(AnySoftmax(random));
}

TEST_CASE("cpu SOFTMAX: a line of -inf gives zeros; masks, NaN and +inf stay in their line") {
  for (const sage_dtype dtype : kFloats)
    for (const int64_t length : {1, 5, 128, 2048, 2049, 6000}) ExpectExact(HardSoftmax(dtype, length));
}

TEST_CASE("cpu REDUCE: every function, any axes, with and without them, empty ones included") {
  Random random(44);
  for (int repeat = 0; repeat < 160; ++repeat) {
    const OpCase c = AnyReduce(random, static_cast<uint32_t>(repeat % 4) + 1);
    ExpectExact(c, c.scale);
  }
}

TEST_CASE("cpu REDUCE: a result does not depend on how many there are") {
  for (const std::string& isa : Isas()) {
    TestHost host;
    Instance cpu(Cpu(), host, isa.c_str());
    OwnedTensor x(SAGE_F64, {9, 1000}, {1, 9});  // columns lie in memory
    x.FillNormal(5);
    OpCase all = Reduce(SAGE_REDUCE_SUM, 2, x, OwnedTensor(SAGE_F64, {9}));
    REQUIRE(RunCase(cpu, all).status == SAGE_OK);
    OpCase one = all;
    TestOp op(SAGE_OP_REDUCE);
    one.attributes(op);
    op.DynamicAxes(SAGE_AXIS_M).Slot(0, one.slots[0]).Slot(1, one.slots[1]);
    PlannedOp plan(cpu, op);
    one.slots[0].description().shape[0] = one.slots[1].description().shape[0] = 1;
    std::string message;
    REQUIRE_MESSAGE(plan.Run(op.slots(), &message) == SAGE_OK, message);
    CHECK(one.slots[1].At({0}) == all.slots[1].At({0}));
  }
}

TEST_CASE("cpu POOL: mean, max, first, last, masked and windowed, nothing counted gives 0") {
  Random random(45);
  for (int repeat = 0; repeat < 120; ++repeat) {
    const OpCase c = AnyPool(random, static_cast<uint32_t>(repeat % 4) + 1);
    ExpectExact(c, c.scale);
  }
}

TEST_CASE("cpu statistics: threads 1 2 3 8 give the same bits") {
  const Shape shape = {60, 7, 400};
  const auto x = [&] { return OwnedTensor(SAGE_F32, shape).FillNormal(4); };
  const auto y = [&] { return OwnedTensor(SAGE_F32, shape); };
  ExpectSameBitsForThreads(Norm(SAGE_NORM_LAYER, 2, 1e-5,
                                {x(), OwnedTensor(SAGE_F32, {400}).FillNormal(1),
                                 OwnedTensor(SAGE_F32, {400}).FillNormal(2), OwnedTensor(), OwnedTensor(), y()}));
  ExpectSameBitsForThreads(Softmax(2, x(), y()));
  ExpectSameBitsForThreads(Reduce(SAGE_REDUCE_SUM, 2, x(), OwnedTensor(SAGE_F32, {60, 400})));
  ExpectSameBitsForThreads(Reduce(SAGE_REDUCE_MEAN, 4, x(), OwnedTensor(SAGE_F32, {60, 7})));
  ExpectSameBitsForThreads(Pool(sage_pool_attributes{0, SAGE_POOL_MEAN, 0, 0, 0, 0},
                                OwnedTensor(SAGE_F32, {30, 70, 300}).FillNormal(4), OwnedTensor(),
                                OwnedTensor(SAGE_F32, {30, 300})));
}

TEST_CASE("cpu statistics: capture into a CUDA graph is refused with a reason") {
  OpCase c = Softmax(0, OwnedTensor(SAGE_F32, {3}), OwnedTensor(SAGE_F32, {3}));
  const auto attributes = c.attributes;
  c.attributes = [=](TestOp& op) {
    attributes(op);
    op.Requirements(SAGE_REQUIRE_STREAM_CAPTURE);
  };
  ExpectRefused(c, "CPU");
}

}  // namespace
}  // namespace sage::test
