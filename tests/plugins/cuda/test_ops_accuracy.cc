// test_ops_accuracy.cc: how exact the small kinds are, beside a naive kernel and where a careless formula cancels.
#include <cmath>

#include "ops_emulated.h"

namespace sage::test {
namespace {

// Root of the mean square and the largest of the distances to what is exact.
struct Errors {
  double rms = 0, largest = 0;
  void Add(double got, double exact) {
    const double off = std::fabs(got - exact);
    rms += off * off, largest = std::max(largest, off);
  }
};

}  // namespace

TEST_CASE("P1 cuda ops: sums of class EXACT are no less exact than the naive kernel's in f32") {
  EmulatedOps device;
  for (const int64_t length : {1000, 5000, 20001}) {
    CAPTURE(length);
    OwnedTensor x(SAGE_F32, {4, length});
    x.FillNormal(9);
    x.FillBy([&](uint64_t i) { return 3 + x.Get(i); });
    Errors sum, naive_sum, norm, naive_norm, soft, naive_soft;
    OpCase reduced = Reduce(SAGE_REDUCE_SUM, 2, x, OwnedTensor(SAGE_F32, {4}));
    OpCase normed = LayerNorm(x, OwnedTensor(SAGE_F32, {4, length}));
    OpCase shared = Softmax(1, x, OwnedTensor(SAGE_F32, {4, length}));
    const OpCase exact_sum = Exact(reduced), exact_norm = Exact(normed), exact_soft = Exact(shared);
    REQUIRE(device.Run(reduced).status == SAGE_OK);
    REQUIRE(device.Run(normed).status == SAGE_OK);
    REQUIRE(device.Run(shared).status == SAGE_OK);
    for (int64_t row = 0; row < 4; ++row) {
      const auto at = [&](int64_t i) { return static_cast<float>(x.At({row, i})); };
      float total = 0, squares = 0, weights = 0, largest = at(0);
      for (int64_t i = 0; i < length; ++i) total += at(i), largest = std::max(largest, at(i));
      const float mean = total / static_cast<float>(length);
      for (int64_t i = 0; i < length; ++i) {
        squares += (at(i) - mean) * (at(i) - mean);
        weights += std::exp(at(i) - largest);
      }
      const float deviation = std::sqrt(squares / static_cast<float>(length) + 1e-5f);
      sum.Add(reduced.slots[1].At({row}), exact_sum.slots[1].At({row}));
      naive_sum.Add(static_cast<double>(total), exact_sum.slots[1].At({row}));
      for (int64_t i = 0; i < length; ++i) {
        norm.Add(normed.slots[5].At({row, i}), exact_norm.slots[5].At({row, i}));
        naive_norm.Add(static_cast<double>((at(i) - mean) / deviation), exact_norm.slots[5].At({row, i}));
        soft.Add(shared.slots[1].At({row, i}), exact_soft.slots[1].At({row, i}));
        naive_soft.Add(static_cast<double>(std::exp(at(i) - largest) / weights), exact_soft.slots[1].At({row, i}));
      }
    }
    for (const auto& [mine, naive] : {std::pair{sum, naive_sum}, {norm, naive_norm}, {soft, naive_soft}}) {
      CHECK(mine.rms <= naive.rms);
      CHECK(mine.largest <= 1.25 * naive.largest);
    }
  }
}

TEST_CASE("P1 cuda UNARY: GELU_TANH does not cancel in its tail and casts round once") {
  EmulatedOps device;
  OwnedTensor x(SAGE_F64, {401});
  x.FillBy([](uint64_t i) { return (static_cast<double>(i) - 200.0) / 25.0; });
  OpCase c = Unary(SAGE_FN_GELU_TANH, 0, x, OwnedTensor(SAGE_F64, {401}));
  REQUIRE(device.Run(c).status == SAGE_OK);
  for (uint64_t i = 0; i < 401; ++i) {
    const long double v = x.Get(i), u = std::sqrt(2.0L / 3.14159265358979323846L) * (v + 0.044715L * v * v * v);
    const double exact = static_cast<double>(v / (1.0L + std::exp(-2.0L * u)));
    CHECK(std::fabs(c.slots[1].Get(i) - exact) <= 2e-14 * std::fabs(exact));
  }
  // Just above the middle of two bf16, by less than a float can see; and an integer whose lowest bit decides.
  OpCase d = Unary(SAGE_FN_IDENTITY, 0, OwnedTensor(SAGE_F64, {2}), OwnedTensor(SAGE_BF16, {2}));
  d.slots[0].FillValues({1.0 + 0x1p-8 + 0x1p-40, 1.0 + 0x1p-8 - 0x1p-40});
  REQUIRE(device.Run(d).status == SAGE_OK);
  CHECK(d.slots[1].Get(0) == 1.0 + 0x1p-7);
  CHECK(d.slots[1].Get(1) == 1.0);
  OpCase e = Unary(SAGE_FN_IDENTITY, 0, OwnedTensor(SAGE_I64, {1}), OwnedTensor(SAGE_F32, {1}));
  const int64_t odd = (int64_t{1} << 60) + (int64_t{1} << 36) + 1;
  std::memcpy(e.slots[0].description().data, &odd, sizeof odd);
  REQUIRE(device.Run(e).status == SAGE_OK);
  CHECK(e.slots[1].Get(0) == 0x1p60 + 0x1p37);
}

TEST_CASE("P1 cuda ROPE: angles of far positions are those of double in every type") {
  EmulatedOps device;
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64}) {
    OwnedTensor positions(SAGE_I32, {4});
    positions.FillValues({1, 131071, 1 << 20, 2147483647.0});
    OwnedTensor x(dtype, {4, 1, 128});
    x.FillNormal(3);
    OpCase c = Rope(SAGE_ROPE_INTERLEAVED, 0, 0,
                    {x, positions, OwnedTensor(), OwnedTensor(), OwnedTensor(dtype, {4, 1, 128})});
    REQUIRE(device.Run(c).status == SAGE_OK);
    for (int64_t place = 0; place < 4; ++place)
      for (int64_t pair = 0; pair < 64; ++pair) {
        const long double frequency = std::pow(10000.0L, -2.0L * static_cast<long double>(pair) / 128.0L);
        const long double angle = static_cast<long double>(positions.At({place})) * frequency;
        const long double a = x.At({place, 0, 2 * pair}), b = x.At({place, 0, 2 * pair + 1});
        const auto exact = static_cast<double>(a * std::cos(angle) - b * std::sin(angle));
        // A long double has eleven bits more than a double: of an angle of 2^31, 33 behind the point.
        const double allowed = dtype == SAGE_F64 ? 3e-10 * 0x1p-31 * static_cast<double>(angle) + 1e-15 : 1e-6;
        CHECK(std::fabs(c.slots[4].At({place, 0, 2 * pair}) - exact) <= allowed * 4);
      }
  }
}

}  // namespace sage::test
