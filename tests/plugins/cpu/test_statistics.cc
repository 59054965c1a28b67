// NORM, SOFTMAX, REDUCE and POOL of the cpu backend, against the oracle.
#include "ops_harness.h"

namespace sage::test {
namespace {

Shape Without(const Shape& shape, uint32_t axes) {
  Shape rest;
  for (size_t i = 0; i < shape.size(); ++i)
    if (((axes >> i) & 1) == 0) rest.push_back(shape[i]);
  return rest;
}

OpCase Norm(uint32_t mode, int32_t axis, double epsilon, std::vector<OwnedTensor> slots) {
  OpCase c{SAGE_OP_NORM, [=](TestOp& op) { op.Attributes(sage_norm_attributes{0, mode, axis, 0, epsilon}); }, {}};
  c.slots = std::move(slots);
  return c;
}

TEST_CASE("cpu NORM: layer and rms, any axis, layouts and mixed parameters") {
  Random random(41);
  for (int repeat = 0; repeat < 80; ++repeat) {
    const Shape shape = random.AnyShape(1, 4, 7);
    const auto axis = static_cast<int32_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
    const Shape region(shape.begin() + axis, shape.end());
    const sage_dtype dtype = random.Float();
    const auto parameter = [&] { return random.Chance(3) ? OwnedTensor() : random.Tensor(random.Float(), region); };
    const OwnedTensor gamma = parameter(), beta = parameter();
    ExpectExact(Norm(random.Chance(2) ? SAGE_NORM_LAYER : SAGE_NORM_RMS, axis, 1e-5,
                     {random.Tensor(dtype, shape), gamma, beta, OwnedTensor(), OwnedTensor(),
                      random.Tensor(dtype, shape, true)}),
                10.0);
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
    const Shape shape = random.AnyShape(1, 4, 7);
    const auto axis = static_cast<size_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
    const Shape channel = {shape[axis]};
    const sage_dtype dtype = random.Float();
    OwnedTensor var = random.Tensor(random.Float(), channel);
    var.FillUniform(random.Seed(), 0.1, 3.0);
    const auto parameter = [&] { return random.Chance(3) ? OwnedTensor() : random.Tensor(random.Float(), channel); };
    const OwnedTensor gamma = parameter(), beta = parameter();
    ExpectExact(Norm(SAGE_NORM_BATCH, static_cast<int32_t>(axis), 1e-3,
                     {random.Tensor(dtype, shape), gamma, beta, random.Tensor(random.Float(), channel), var,
                      random.Tensor(dtype, shape, true)}),
                10.0);
  }
}

OpCase Softmax(int32_t axis, OwnedTensor x, OwnedTensor y) {
  OpCase c{SAGE_OP_SOFTMAX, [=](TestOp& op) { op.Attributes(sage_softmax_attributes{0, axis}); }, {}};
  c.slots = {std::move(x), std::move(y)};
  return c;
}

TEST_CASE("cpu SOFTMAX: seeded layouts and axes, rounded once") {
  Random random(43);
  for (int repeat = 0; repeat < 80; ++repeat) {
    const Shape shape = random.AnyShape(1, 4, 7);
    const auto axis = static_cast<int32_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
    const sage_dtype dtype = random.Float();
    OwnedTensor x = random.Tensor(dtype, shape);
    if (random.Chance(2)) x.FillNormal(random.Seed(), 30.0);
    ExpectExact(Softmax(axis, x, random.Tensor(dtype, shape, true)));
  }
}

TEST_CASE("cpu SOFTMAX: a line of -inf gives zeros; masks, NaN and +inf stay in their line") {
  for (const sage_dtype dtype : kFloats)
    for (const int64_t length : {1, 5, 128, 2048, 2049, 6000}) {
      OwnedTensor x(dtype, {6, length});
      x.FillNormal(3);
      for (int64_t i = 0; i < length; ++i) {
        x.Set({1, i}, -HUGE_VAL);
        if (i % 3 != 0) x.Set({2, i}, -HUGE_VAL);
        if (i == length - 1) x.Set({3, i}, std::nan(""));
        if (i == length / 2) x.Set({4, i}, HUGE_VAL);
        if (i == length - 1) x.Set({5, i}, 2000);  // far above the rest: exp overflows unless it is the one taken off
      }
      ExpectExact(Softmax(1, x, OwnedTensor(dtype, {6, length})));
    }
}

OpCase Reduce(uint32_t function, uint32_t axes, OwnedTensor x, OwnedTensor y) {
  OpCase c{SAGE_OP_REDUCE, [=](TestOp& op) { op.Attributes(sage_reduce_attributes{0, function, axes, 0}); }, {}};
  c.slots = {std::move(x), std::move(y)};
  return c;
}

TEST_CASE("cpu REDUCE: every function, any axes, with and without them, empty ones included") {
  Random random(44);
  for (int repeat = 0; repeat < 160; ++repeat) {
    const Shape shape = random.AnyShape(1, 4, 7);
    const uint32_t all = (1u << shape.size()) - 1;
    const auto axes = static_cast<uint32_t>(random.Between(1, all));
    const sage_dtype dtype = random.Float();
    Shape kept = shape;
    for (size_t i = 0; i < shape.size(); ++i)
      if (((axes >> i) & 1) != 0) kept[i] = 1;
    OwnedTensor x = random.Tensor(dtype, shape);
    if (random.Chance(5) && x.size() > 0)
      x.Put(static_cast<uint64_t>(random.Between(0, static_cast<int64_t>(x.size()) - 1)), std::nan(""));
    ExpectExact(Reduce(static_cast<uint32_t>(repeat % 4) + 1, axes, x,
                       random.Tensor(dtype, random.Chance(2) ? kept : Without(shape, axes), true)),
                100.0);
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

OpCase Pool(sage_pool_attributes attributes, OwnedTensor x, OwnedTensor mask, OwnedTensor y) {
  OpCase c{SAGE_OP_POOL, [=](TestOp& op) { op.Attributes(attributes); }, {}};
  c.slots = {std::move(x), std::move(mask), std::move(y)};
  return c;
}

TEST_CASE("cpu POOL: mean, max, first, last, masked and windowed, nothing counted gives 0") {
  Random random(45);
  for (int repeat = 0; repeat < 120; ++repeat) {
    const int64_t batch = random.Between(1, 4), sequence = random.Between(0, 20);
    const int64_t channels = random.Chance(4) ? random.Between(250, 300) : random.Between(1, 20);
    const sage_dtype dtype = random.Float();
    sage_pool_attributes attributes{};
    attributes.function = static_cast<uint32_t>(repeat % 4) + 1;
    Shape y_shape = {batch, channels};
    if (random.Chance(2)) {
      attributes.window = static_cast<uint32_t>(random.Between(1, 6));
      attributes.stride = static_cast<uint32_t>(random.Between(0, 5));
      attributes.pad_begin = static_cast<uint32_t>(random.Between(0, 8));
      attributes.pad_end = static_cast<uint32_t>(random.Between(0, 8));
      const int64_t padded = sequence + attributes.pad_begin + attributes.pad_end, window = attributes.window;
      const int64_t step = attributes.stride == 0 ? window : attributes.stride;
      y_shape = {batch, padded < window ? 0 : (padded - window) / step + 1, channels};
    }
    OwnedTensor mask;
    if (random.Chance(2)) {
      mask = random.Tensor(SAGE_BOOL, {batch, sequence});
      mask.FillIntegers(random.Seed(), 0, 1);
    }
    ExpectExact(
        Pool(attributes, random.Tensor(dtype, {batch, sequence, channels}), mask, random.Tensor(dtype, y_shape, true)),
        10.0);
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
