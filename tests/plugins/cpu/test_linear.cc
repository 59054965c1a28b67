// LINEAR of the cpu backend: against the oracle, and the promises of gemm.h on bits.
#include "gemm_harness.h"
#include "support/heap_count.h"

namespace sage::test {
namespace {

constexpr uint32_t kX = 0, kW = 1, kBias = 2, kY = 3;

OpCase Linear(OwnedTensor x, OwnedTensor w, OwnedTensor bias, OwnedTensor y, uint32_t activation = SAGE_FN_IDENTITY,
              uint32_t dynamic = 0) {
  OpCase c{SAGE_OP_LINEAR,
           [=](TestOp& op) {
             op.Attributes(sage_linear_attributes{0, activation});
             op.DynamicAxes(dynamic);
           },
           {}};
  c.slots = {std::move(x), std::move(w), std::move(bias), std::move(y)};
  return c;
}

OpCase Plain(sage_dtype dtype, int64_t m, int64_t n, int64_t k, bool constant, uint64_t seed) {
  OwnedTensor w = OwnedTensor(dtype, {n, k}).FillNormal(seed + 1);
  if (constant) w.Constant();
  return Linear(OwnedTensor(dtype, {m, k}).FillNormal(seed), w, OwnedTensor(dtype, {n}).FillNormal(seed + 2),
                OwnedTensor(dtype, {m, n}));
}

void AskForExact(OpCase* c) {
  const auto attributes = c->attributes;
  c->attributes = [=](TestOp& op) {
    attributes(op);
    op.Accuracy(SAGE_ACCURACY_EXACT);
  };
}

// Prepacked and not the same bits.
void ExpectWithinBound(OpCase& c) {
  const GemmBound bound(c, kY, c.slots[kW].dim(1));
  const std::string what = Describe(c);
  for (const std::string& isa : GemmIsas()) {
    std::vector<OwnedTensor> first;
    for (const bool constant : {false, true}) {
      TestHost host(3, Threads::kSimulated);
      Instance cpu(Cpu(), host, isa.c_str());
      OpCase mine = c;
      mine.slots[kW].description().flags = constant ? SAGE_TENSOR_CONSTANT : 0;
      const RunResult result = RunCase(cpu, mine);
      REQUIRE_MESSAGE(result.status == SAGE_OK, isa, " ", result.message, " ", what);
      CHECK((result.info.prepack_bytes > 0) == constant);
      const OwnedTensor& got = mine.slots[kY];
      bound.Expect(got, isa + " " + what);
      CHECK(PaddingUntouched(got));
      if (constant) CHECK_MESSAGE(BitwiseEqual(first[0], got), isa, " prepacked and not differ ", what);
      first.push_back(got);
    }
    CHECK(TestHost().bytes_in_use() == 0);
  }
}

TEST_CASE("cpu LINEAR: seeded shapes, layouts and mixed dtypes within the bound, prepacked or not the same bits") {
  Random random(11);
  for (int repeat = 0; repeat < 60; ++repeat) {
    Shape shape = random.AnyShape(0, 3, 6);
    const int64_t k = random.Chance(15) ? 0 : random.Between(1, random.Chance(4) ? 400 : 40);
    const int64_t n = random.Between(1, random.Chance(3) ? 300 : 70);
    Shape x_shape = shape, y_shape = shape;
    x_shape.push_back(k), y_shape.push_back(n);
    const sage_dtype dtype = random.Float();
    const bool mixed = random.Chance(4);
    OpCase c = Linear(random.Tensor(dtype, x_shape), random.Tensor(mixed ? random.Float() : dtype, {n, k}),
                      random.Chance(3) ? OwnedTensor() : random.Tensor(mixed ? random.Float() : dtype, {n}),
                      random.Tensor(mixed ? random.Float() : dtype, y_shape, true));
    if (random.Chance(3)) AskForExact(&c);
    ExpectWithinBound(c);
  }
}

TEST_CASE("cpu LINEAR: sizes around every tile and block edge") {
  for (const int64_t m : {1, 2, 5, 6, 7, 13, 97})
    for (const int64_t n : {1, 16, 63, 65, 193})
      for (const int64_t k : {1, 127, 129, 260}) {
        OpCase c = Plain(m % 2 == 0 ? SAGE_F64 : n % 3 == 0 ? SAGE_BF16 : SAGE_F32, m, n, k, false, 17);
        ExpectWithinBound(c);
      }
}

TEST_CASE("cpu LINEAR: the activation is applied to the rounded sum in double, like UNARY behind it") {
  for (uint32_t function = 0; function <= SAGE_FN_NEG; ++function) {
    if (function == SAGE_FN_ELU) continue;
    CAPTURE(function);
    for (const std::string& isa : GemmIsas()) {
      TestHost host;
      Instance cpu(Cpu(), host, isa.c_str());
      for (const sage_dtype dtype : {SAGE_F32, SAGE_F64}) {
        OpCase plain = Plain(dtype, 7, 33, 50, true, 3);
        plain.slots[kBias] = OwnedTensor();
        OpCase fused = plain;
        fused.attributes = [=](TestOp& op) { op.Attributes(sage_linear_attributes{0, function}); };
        REQUIRE(RunCase(cpu, plain).status == SAGE_OK);
        REQUIRE(RunCase(cpu, fused).status == SAGE_OK);
        OpCase unary{SAGE_OP_UNARY, [=](TestOp& op) { op.Attributes(sage_unary_attributes{0, function, 0}); }, {}};
        unary.slots = {plain.slots[kY], OwnedTensor(dtype, {7, 33})};
        REQUIRE(RunCase(cpu, unary).status == SAGE_OK);
        CHECK(MaxDifference(unary.slots[1], fused.slots[kY]) == 0.0);
      }
    }
  }
}

TEST_CASE("cpu LINEAR: a double beside the middle of two 16-bit numbers is rounded once") {
  // A float does not tell these doubles from the middle: by way of one, half of them would go to the wrong side.
  for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16}) {
    const int64_t n = 63;
    const double half = HalfUnit(dtype);
    OwnedTensor one(SAGE_F64, {1, 1}), w(SAGE_F64, {n, 1});
    const auto above = [](uint64_t i) { return i / 2 % 2 == 0; };
    const auto sign = [](uint64_t i) { return i % 3 == 0 ? -1.0 : 1.0; };
    w.FillBy([&](uint64_t i) {
      return sign(i) * (1.0 + static_cast<double>(2 * i + 1) * half + (above(i) ? 0x1p-40 : -0x1p-40));
    });
    for (const std::string& isa : GemmIsas()) {
      TestHost host;
      Instance cpu(Cpu(), host, isa.c_str());
      OpCase c = Linear(one.Fill(1.0), w, OwnedTensor(), OwnedTensor(dtype, {1, n}));
      REQUIRE(RunCase(cpu, c).status == SAGE_OK);
      for (uint64_t i = 0; i < static_cast<uint64_t>(n); ++i)
        CHECK_MESSAGE(c.slots[kY].Get(i) == sign(i) * (1.0 + static_cast<double>(2 * i + (above(i) ? 2 : 0)) * half),
                      isa, " element ", i);
    }
  }
}

TEST_CASE("cpu LINEAR: the bias is added before the activation") {
  for (uint32_t function = 0; function <= SAGE_FN_NEG; ++function) {
    if (function == SAGE_FN_ELU) continue;
    CAPTURE(function);
    for (const std::string& isa : GemmIsas()) {
      TestHost host;
      Instance cpu(Cpu(), host, isa.c_str());
      for (const sage_dtype dtype : {SAGE_F32, SAGE_F64}) {
        // Small integers: the sum is exact, so that UNARY behind the biased product has the same bits.
        OpCase plain = Plain(dtype, 7, 33, 5, true, 3);
        for (const uint32_t slot : {kX, kW, kBias}) plain.slots[slot].FillIntegers(slot + 1, -4, 4);
        OpCase fused = plain;
        fused.attributes = [=](TestOp& op) { op.Attributes(sage_linear_attributes{0, function}); };
        REQUIRE(RunCase(cpu, plain).status == SAGE_OK);
        REQUIRE(RunCase(cpu, fused).status == SAGE_OK);
        OpCase unary{SAGE_OP_UNARY, [=](TestOp& op) { op.Attributes(sage_unary_attributes{0, function, 0}); }, {}};
        unary.slots = {plain.slots[kY], OwnedTensor(dtype, {7, 33})};
        REQUIRE(RunCase(cpu, unary).status == SAGE_OK);
        CHECK(MaxDifference(unary.slots[1], fused.slots[kY]) == 0.0);
      }
    }
  }
}

TEST_CASE("cpu LINEAR: a row's bits do not depend on how many rows there are, nor on the bucket it was planned for") {
  for (const std::string& isa : GemmIsas()) {
    for (const sage_dtype dtype : kFloats) {
      TestHost host;
      Instance cpu(Cpu(), host, isa.c_str());
      const int64_t most = 230, n = 133, k = 301;
      OpCase all = Plain(dtype, most, n, k, true, 21);
      REQUIRE(RunCase(cpu, all).status == SAGE_OK);
      OpCase planned = Plain(dtype, most, n, k, true, 21);
      TestOp op(SAGE_OP_LINEAR);
      op.DynamicAxes(SAGE_AXIS_M);
      for (uint32_t s = 0; s < 4; ++s) op.Slot(s, planned.slots[s]);
      PlannedOp plan(cpu, op);
      REQUIRE(plan.status() == SAGE_OK);
      for (const int64_t m : {int64_t{1}, int64_t{2}, int64_t{6}, int64_t{95}, int64_t{97}, int64_t{229}}) {
        planned.slots[kX].description().shape[0] = m;
        planned.slots[kY].description().shape[0] = m;
        std::string message;
        REQUIRE_MESSAGE(plan.Run(op.slots(), &message) == SAGE_OK, message);
        bool same = true;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) same = same && planned.slots[kY].At({i, j}) == all.slots[kY].At({i, j});
        CHECK_MESSAGE(same, isa, " ", support::DtypeName(dtype), " m = ", m);
      }
    }
  }
}

TEST_CASE("cpu LINEAR: f32 is no worse than a naive loop, against f64") {
  // EXACT: over a seeded grid the RMS error is at most that of floats summed in order, the largest at most 1.25 times.
  for (const std::string& isa : GemmIsas()) {
    double ours_square = 0, naive_square = 0, ours_worst = 0, naive_worst = 0;
    for (const int64_t k : {16, 64, 100, 256, 768, 2048}) {
      TestHost host;
      Instance cpu(Cpu(), host, isa.c_str());
      OpCase c = Plain(SAGE_F32, 12, 96, k, true, static_cast<uint64_t>(k));
      REQUIRE(RunCase(cpu, c).status == SAGE_OK);
      const double norm = std::sqrt(static_cast<double>(k));
      for (int64_t i = 0; i < 12; ++i)
        for (int64_t j = 0; j < 96; ++j) {
          float naive = 0;
          double exact = 0;
          for (int64_t p = 0; p < k; ++p) {
            const double a = c.slots[kX].At({i, p}), b = c.slots[kW].At({j, p});
            naive += static_cast<float>(a) * static_cast<float>(b);
            exact += a * b;
          }
          naive += static_cast<float>(c.slots[kBias].At({j}));
          exact += c.slots[kBias].At({j});
          const double ours = std::fabs(c.slots[kY].At({i, j}) - exact) / norm;
          const double plain = std::fabs(static_cast<double>(naive) - exact) / norm;
          ours_square += ours * ours, naive_square += plain * plain;
          ours_worst = std::max(ours_worst, ours), naive_worst = std::max(naive_worst, plain);
        }
    }
    CHECK_MESSAGE(ours_square <= naive_square, isa, " rms ", std::sqrt(ours_square / naive_square));
    CHECK_MESSAGE(ours_worst <= 1.25 * naive_worst, isa, " max ", ours_worst / naive_worst);
  }
}

TEST_CASE("cpu LINEAR: bf16 operands are multiplied in bf16 where class NATIVE is accepted, in f32 for EXACT") {
  TestHost host;
  Instance native(Cpu(), host, "isa=avx512bf16");
  if (native.status() != SAGE_OK) {
    MESSAGE("skipped: ", native.message());
    return;
  }
  Instance plain(Cpu(), host, "isa=avx512");
  for (const bool constant : {false, true}) {
    OpCase automatic = Plain(SAGE_BF16, 9, 70, 131, constant, 31);
    automatic.slots[kY] = OwnedTensor(SAGE_F32, {9, 70});
    OpCase exact = automatic, in_f32 = automatic, mixed = automatic;
    const RunResult as_native = RunCase(native, automatic);
    CHECK(as_native.answer.accuracy == SAGE_ACCURACY_NATIVE);
    CHECK_MESSAGE(std::string(as_native.answer.reason).find("bf16 products") != std::string::npos,
                  as_native.answer.reason);
    AskForExact(&exact);
    const RunResult as_exact = RunCase(native, exact);
    CHECK(as_exact.answer.accuracy == SAGE_ACCURACY_EXACT);
    CHECK(RunCase(plain, in_f32).answer.accuracy == SAGE_ACCURACY_EXACT);
    CHECK(BitwiseEqual(exact.slots[kY], in_f32.slots[kY]));
    mixed.slots[kX] = Widened(mixed.slots[kX]);
    CHECK(RunCase(native, mixed).answer.accuracy == SAGE_ACCURACY_EXACT);
  }
}

TEST_CASE("cpu LINEAR: bf16 rows do not meet what another left in the last pair of an odd K") {
  for (const std::string& isa : GemmIsas()) {
    TestHost host;
    Instance cpu(Cpu(), host, isa.c_str());
    OpCase c = Plain(SAGE_BF16, 8, 70, 129, true, 41);
    c.slots[kX].Set({0, 1}, HUGE_VAL), c.slots[kX].Set({0, 3}, HUGE_VAL), c.slots[kX].Set({0, 5}, NAN);
    c.slots[kX].Set({7, 1}, HUGE_VAL), c.slots[kX].Set({7, 17}, NAN);
    REQUIRE(RunCase(cpu, c).status == SAGE_OK);
    for (int64_t i = 0; i < 8; ++i)
      for (int64_t j = 0; j < 70; ++j) CHECK(std::isfinite(c.slots[kY].At({i, j})) == (i != 0 && i != 7));
  }
}

TEST_CASE("cpu LINEAR: 16-bit weights of an f32 product stay 16 bits when packed, with the bits of widened ones") {
  for (const std::string& isa : Isas())
    for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16})
      for (const int64_t m : {1, 2, 9}) {
        TestHost host;
        Instance cpu(Cpu(), host, isa.c_str());
        OpCase stored = Plain(SAGE_F32, m, 150, 300, true, 51), widened = stored;
        OwnedTensor w = OwnedTensor(dtype, {150, 300}).FillNormal(52), wide(SAGE_F32, {150, 300});
        for (uint64_t i = 0; i < w.size(); ++i) wide.Put(i, w.Get(i));
        stored.slots[kW] = w.Constant(), widened.slots[kW] = wide.Constant();
        const RunResult narrow = RunCase(cpu, stored), full = RunCase(cpu, widened);
        REQUIRE(narrow.status == SAGE_OK);
        REQUIRE(full.status == SAGE_OK);
        CHECK(narrow.answer.accuracy == SAGE_ACCURACY_EXACT);
        if (isa != "isa=scalar") CHECK(narrow.info.prepack_bytes * 2 == full.info.prepack_bytes);
        CHECK_MESSAGE(BitwiseEqual(stored.slots[kY], widened.slots[kY]), isa, " ", support::DtypeName(dtype), " m ", m);
      }
}

TEST_CASE("cpu LINEAR: packed weights are shared with `like`, counted, and outlive any order of destruction") {
  TestHost host;
  // Left to itself, a machine with tiles has other kernels for few rows than for many.
  Instance cpu(Cpu(), host, GemmIsas().back().c_str());
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
  auto first = std::make_unique<PlannedOp>(cpu, big_op);
  REQUIRE(first->status() == SAGE_OK);
  CHECK(first->info().prepack_bytes >= 100 * 80 * 4);
  const uint64_t held = host.bytes_in_use();
  auto second = std::make_unique<PlannedOp>(cpu, small_op, first.get());
  REQUIRE(second->status() == SAGE_OK);
  CHECK(second->info().prepack_bytes == 0);
  CHECK(host.bytes_in_use() == held);
  auto third = std::make_unique<PlannedOp>(cpu, other_op, first.get());  // another weight is not shared
  REQUIRE(third->status() == SAGE_OK);
  CHECK(third->info().prepack_bytes > 0);
  third.reset();
  first.reset();
  CHECK(host.bytes_in_use() == held);
  REQUIRE(second->Run(small_op.slots()) == SAGE_OK);
  OpCase alone = small;
  alone.slots[kY] = OwnedTensor(SAGE_F32, {3, 100});
  REQUIRE(RunCase(cpu, alone).status == SAGE_OK);
  CHECK(BitwiseEqual(alone.slots[kY], small.slots[kY]));
  second.reset();
  CHECK(host.bytes_in_use() == 0);
}

TEST_CASE("cpu LINEAR: threads 1 2 3 8 give the same bits") {
  ExpectSameBitsForThreads(Plain(SAGE_F32, 150, 400, 300, true, 7), GemmIsas());
  ExpectSameBitsForThreads(Plain(SAGE_BF16, 1, 1500, 1200, false, 8), GemmIsas());
  ExpectSameBitsForThreads(Plain(SAGE_F64, 300, 200, 128, false, 9), GemmIsas());
}

TEST_CASE("cpu LINEAR: a run allocates nothing, neither on the heap nor from the host") {
  TestHost host(2);
  Instance cpu(Cpu(), host);
  for (const bool constant : {true, false}) {
    OpCase c = Plain(SAGE_F32, 40, 800, 700, constant, 3);
    TestOp op(SAGE_OP_LINEAR);
    for (uint32_t s = 0; s < 4; ++s) op.Slot(s, c.slots[s]);
    PlannedOp plan(cpu, op);
    REQUIRE(plan.Run(op.slots()) == SAGE_OK);
    const uint64_t heap = HeapAllocations(), from_host = host.allocations();
    const sage_status status = plan.Run(op.slots());
    CHECK(HeapAllocations() == heap);
    CHECK(host.allocations() == from_host);
    CHECK(status == SAGE_OK);
  }
}

TEST_CASE("cpu LINEAR: small products stay on the calling thread, large ones do not; prices grow with the work") {
  TestHost host(2);
  Instance cpu(Cpu(), host);
  OpCase small = Plain(SAGE_F32, 1, 64, 64, true, 3), large = Plain(SAGE_F32, 256, 512, 512, true, 3);
  const RunResult cheap = RunCase(cpu, small);
  REQUIRE(cheap.status == SAGE_OK);
  CHECK(host.parallel_calls() == 0);
  const RunResult dear = RunCase(cpu, large);
  REQUIRE(dear.status == SAGE_OK);
  CHECK(host.parallel_calls() == 1);
  CHECK(cheap.answer.cost_ns > 0);
  CHECK(dear.answer.cost_ns > 20 * cheap.answer.cost_ns);
  CHECK(cheap.answer.cost_source == SAGE_COST_MODEL);
  CHECK(cheap.answer.accuracy == SAGE_ACCURACY_EXACT);
}

TEST_CASE("cpu LINEAR: a failed allocation at plan is an error, and nothing is leaked") {
  TestHost host;
  Instance cpu(Cpu(), host);
  OpCase c = Plain(SAGE_F32, 2, 10, 10, true, 3);
  TestOp op(SAGE_OP_LINEAR);
  for (uint32_t s = 0; s < 4; ++s) op.Slot(s, c.slots[s]);
  host.FailAllocation(0);
  PlannedOp plan(cpu, op);
  CHECK(plan.status() == SAGE_E_OUT_OF_MEMORY);
  CHECK(host.bytes_in_use() == 0);
}

TEST_CASE("cpu LINEAR: cancelled while it runs") {
  TestHost host;
  Instance cpu(Cpu(), host);
  OpCase c = Plain(SAGE_F32, 300, 500, 100, true, 3);
  host.CancelAtPoll(2);
  const RunResult result = RunCase(cpu, c);
  CHECK(result.status == SAGE_E_CANCELLED);
}

TEST_CASE("cpu LINEAR: quantised operands are refused with a reason") {
  OpCase c =
      Linear(OwnedTensor(SAGE_I8, {2, 4}), OwnedTensor(SAGE_I8, {3, 4}), OwnedTensor(), OwnedTensor(SAGE_F32, {2, 3}));
  ExpectRefused(c, "i8");
  c.slots.push_back(OwnedTensor(SAGE_F32, {1}).Fill(1));
  ExpectRefused(c, "quantised");
}

}  // namespace
}  // namespace sage::test
