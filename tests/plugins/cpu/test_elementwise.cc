// UNARY, BINARY and casts of the cpu backend, against the oracle.
#include "op_cases.h"
#include "ops_harness.h"

namespace sage::test {
namespace {

TEST_CASE("cpu UNARY: functions over hard values and seeded layouts are rounded once") {
  Random random(1);
  for (uint32_t function = SAGE_FN_RELU; function <= SAGE_FN_NEG; ++function)
    for (const sage_dtype dtype : kFloats) {
      CAPTURE(function);
      if (function == SAGE_FN_GELU_TANH) continue;  // the oracle's own form cancels at large negative x: below
      ExpectExact(HardUnary(function, dtype));
      ExpectExact(AnyUnary(random, function, dtype));
    }
}

TEST_CASE("cpu UNARY: GELU_TANH is x sigmoid(2u), without cancellation in the tail") {
  for (const std::string& isa : Isas()) {
    TestHost host;
    Instance cpu(Cpu(), host, isa.c_str());
    OwnedTensor x(SAGE_F64, {401}), y(SAGE_F64, {401});
    x.FillBy([](uint64_t i) { return (static_cast<double>(i) - 200.0) / 25.0; });
    OpCase c = Unary(SAGE_FN_GELU_TANH, 0, x, y);
    REQUIRE(RunCase(cpu, c).status == SAGE_OK);
    for (uint64_t i = 0; i < 401; ++i) {
      const long double v = c.slots[0].Get(i),
                        u = std::sqrt(2.0L / 3.14159265358979323846L) * (v + 0.044715L * v * v * v);
      const double exact = static_cast<double>(v / (1.0L + std::exp(-2.0L * u)));
      CHECK(std::fabs(c.slots[1].Get(i) - exact) <= 1e-14 * std::fabs(exact));
    }
  }
}

TEST_CASE("cpu UNARY: f64 functions within a few units of the C library over their whole range") {
  Random random(2);
  for (const std::string& isa : Isas()) {
    TestHost host;
    Instance cpu(Cpu(), host, isa.c_str());
    for (const uint32_t function : {SAGE_FN_GELU, SAGE_FN_SILU, SAGE_FN_SIGMOID, SAGE_FN_TANH, SAGE_FN_ELU, SAGE_FN_EXP,
                                    SAGE_FN_LOG, SAGE_FN_SQRT}) {
      OwnedTensor x(SAGE_F64, {4000}), y(SAGE_F64, {4000});
      x.FillBy([&](uint64_t i) {
        const double magnitude = std::exp2(static_cast<double>(random.Between(-300, 94)) / 10.0);
        if (function == SAGE_FN_LOG || function == SAGE_FN_SQRT)
          return std::exp2(static_cast<double>(random.Between(-10700, 10200)) / 10.0);
        return i % 2 == 0 ? magnitude : -magnitude;
      });
      OpCase c = Unary(function, 1.0, x, y);
      const OpCase exact = Exact(c);
      REQUIRE(RunCase(cpu, c).status == SAGE_OK);
      double worst = 0;
      for (uint64_t i = 0; i < 4000; ++i) {
        const double want = exact.slots[1].Get(i), got = c.slots[1].Get(i);
        if (want == got || std::fabs(want) < 1e-290 || (std::isnan(want) && std::isnan(got))) continue;
        worst = std::max(worst, std::fabs(got / want - 1.0));
      }
      CHECK_MESSAGE(worst <= 2e-15, isa, " function ", function, " worst relative error ", worst);
    }
  }
}

TEST_CASE("cpu BINARY: seeded layouts, broadcasts and hard values are rounded once, NaN wins") {
  Random random(3);
  for (uint32_t function = SAGE_BINARY_ADD; function <= SAGE_BINARY_MAX; ++function)
    for (const sage_dtype dtype : kFloats) {
      CAPTURE(function);
      for (int repeat = 0; repeat < 6; ++repeat) ExpectExact(AnyBinary(random, function, dtype));
      ExpectExact(HardBinary(function, dtype));
    }
}

TEST_CASE("cpu UNARY: a cast between any two dtypes is the oracle's, bit by bit") {
  Random random(4);
  TestHost oracle_host;
  Instance oracle(Oracle(), oracle_host);
  for (const sage_dtype from : kAll)
    for (const sage_dtype to : kAll) {
      OpCase want = AnyCast(random, from, to);
      REQUIRE(RunCase(oracle, want).status == SAGE_OK);
      for (const std::string& isa : Isas()) {
        TestHost host(2, Threads::kSimulated);
        Instance cpu(Cpu(), host, isa.c_str());
        OpCase got = want;
        got.slots[1] = random.Tensor(to, {3, 67}, true);
        const RunResult result = RunCase(cpu, got);
        REQUIRE_MESSAGE(result.status == SAGE_OK, result.message);
        CHECK_MESSAGE(MaxDifference(got.slots[1], want.slots[1]) == 0.0, isa, " ", support::DtypeName(from), " to ",
                      support::DtypeName(to));
      }
    }
}

TEST_CASE("cpu casts round once: what two roundings would get wrong") {
  // Just above the middle of two bf16, by less than a float can see; and integers whose low bits decide.
  OwnedTensor x(SAGE_F64, {2}), y(SAGE_BF16, {2});
  x.FillValues({1.0 + 0x1p-8 + 0x1p-40, 1.0 + 0x1p-8 - 0x1p-40});
  OwnedTensor i(SAGE_I64, {1}), f(SAGE_F32, {1});
  for (const std::string& isa : Isas()) {
    TestHost host;
    Instance cpu(Cpu(), host, isa.c_str());
    OpCase c = Unary(SAGE_FN_IDENTITY, 0, x, y);
    REQUIRE(RunCase(cpu, c).status == SAGE_OK);
    CHECK(c.slots[1].Get(0) == 1.0 + 0x1p-7);
    CHECK(c.slots[1].Get(1) == 1.0);
    const int64_t odd = (int64_t{1} << 60) + (int64_t{1} << 36) + 1;  // above the middle by one
    std::memcpy(i.description().data, &odd, sizeof odd);
    OpCase d = Unary(SAGE_FN_IDENTITY, 0, i, f);
    REQUIRE(RunCase(cpu, d).status == SAGE_OK);
    CHECK(d.slots[1].Get(0) == 0x1p60 + 0x1p37);
  }
}

TEST_CASE("cpu elementwise: lines of several pieces of work, and of a rest of one element") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64, SAGE_BF16})
    for (const int64_t length : {2048, 2049, 5000}) {
      CAPTURE(length);
      const auto made = [&](uint64_t seed) { return OwnedTensor(dtype, {3, length}).FillNormal(seed); };
      const auto y = [&] { return OwnedTensor(dtype, {3, length}, {length + 3, 1}); };  // the rows do not merge
      for (const uint32_t function : {SAGE_FN_NEG, SAGE_FN_SILU}) ExpectExact(Unary(function, 0, made(1), y()));
      ExpectExact(Unary(SAGE_FN_IDENTITY, 0, made(1), OwnedTensor(SAGE_F16, {3, length}, {length + 3, 1})));
      ExpectExact(Binary(SAGE_BINARY_SUB, made(2), made(3), y()));
    }
}

TEST_CASE("cpu elementwise: threads 1 2 3 8 give the same bits") {
  Random random(5);
  const Shape shape = {37, 5, 900};
  ExpectSameBitsForThreads(
      Unary(SAGE_FN_GELU, 0, OwnedTensor(SAGE_F32, shape).FillNormal(1), OwnedTensor(SAGE_F32, shape)));
  ExpectSameBitsForThreads(Binary(SAGE_BINARY_MUL, OwnedTensor(SAGE_BF16, shape).FillNormal(1),
                                  OwnedTensor(SAGE_BF16, shape).FillNormal(2), OwnedTensor(SAGE_BF16, shape)));
}

TEST_CASE("cpu UNARY: requirements it cannot meet are refused with a reason") {
  OpCase c = Unary(SAGE_FN_EXP, 0, OwnedTensor(SAGE_F32, {3}), OwnedTensor(SAGE_F32, {3}));
  const auto attributes = c.attributes;
  c.attributes = [=](TestOp& op) {
    attributes(op);
    op.Requirements(SAGE_REQUIRE_STREAM_CAPTURE);
  };
  ExpectRefused(c, "CPU");
}

}  // namespace
}  // namespace sage::test
