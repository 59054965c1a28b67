// MATMUL of the cpu backend: batches, transposes by strides, bits.
#include "gemm_harness.h"

namespace sage::test {
namespace {

OpCase Matmul(OwnedTensor a, OwnedTensor b, OwnedTensor c, uint32_t dynamic = 0) {
  OpCase op_case{SAGE_OP_MATMUL, [=](TestOp& op) { op.DynamicAxes(dynamic); }, {}};
  op_case.slots = {std::move(a), std::move(b), std::move(c)};
  return op_case;
}

void ExpectWithinBound(const OpCase& c) {
  const GemmBound bound(c, 2, c.slots[0].dim(c.slots[0].rank() - 1));
  for (const std::string& isa : GemmIsas()) {
    TestHost host(3, Threads::kSimulated);
    Instance cpu(Cpu(), host, isa.c_str());
    OpCase mine = c;
    const RunResult result = RunCase(cpu, mine);
    REQUIRE_MESSAGE(result.status == SAGE_OK, isa, " ", result.message, " ", Describe(c));
    bound.Expect(mine.slots[2], isa + " " + Describe(c));
    CHECK(PaddingUntouched(mine.slots[2]));
  }
}

TEST_CASE("cpu MATMUL: seeded batches, layouts and mixed dtypes within the bound") {
  Random random(31);
  for (int repeat = 0; repeat < 80; ++repeat) {
    const Shape batch = random.AnyShape(0, 2, 4);
    const int64_t m = random.Between(0, random.Chance(3) ? 60 : 8), n = random.Between(1, random.Chance(3) ? 220 : 40);
    const int64_t k = random.Chance(15) ? 0 : random.Between(1, random.Chance(4) ? 300 : 40);
    const auto with = [&](int64_t rows, int64_t columns) {
      Shape shape = batch;
      shape.push_back(rows), shape.push_back(columns);
      return shape;
    };
    const sage_dtype dtype = random.Float();
    const bool mixed = random.Chance(4);
    ExpectWithinBound(Matmul(random.Tensor(dtype, with(m, k)),
                             random.Tensor(mixed ? random.Float() : dtype, with(k, n)),
                             random.Tensor(mixed ? random.Float() : dtype, with(m, n), true)));
  }
}

TEST_CASE("cpu MATMUL: B read in place, packed by rows, and packed by columns give the same bits") {
  for (const std::string& isa : GemmIsas())
    for (const int64_t m : {1, 5, 40, 200}) {
      const int64_t n = 150, k = 300;
      std::vector<OwnedTensor> results;
      // Row-major; row-major off its alignment; column-major; with gaps between the columns.
      for (int layout = 0; layout < 4; ++layout) {
        OwnedTensor b = layout == 0   ? OwnedTensor(SAGE_F32, {k, n})
                        : layout == 1 ? OwnedTensor(SAGE_F32, {k, n}, {n, 1}, 1)
                        : layout == 2 ? OwnedTensor(SAGE_F32, {k, n}, {1, k})
                                      : OwnedTensor(SAGE_F32, {k, n}, {2 * n, 2});
        OpCase c = Matmul(OwnedTensor(SAGE_F32, {m, k}).FillNormal(1), b.FillNormal(2), OwnedTensor(SAGE_F32, {m, n}));
        TestHost host;
        Instance cpu(Cpu(), host, isa.c_str());
        REQUIRE(RunCase(cpu, c).status == SAGE_OK);
        results.push_back(c.slots[2]);
        CHECK_MESSAGE(BitwiseEqual(results[0], c.slots[2]), isa, " m ", m, " layout ", layout);
      }
    }
}

TEST_CASE("cpu MATMUL: rows and batches do not depend on how many there are") {
  for (const std::string& isa : GemmIsas()) {
    TestHost host;
    Instance cpu(Cpu(), host, isa.c_str());
    const int64_t n = 70, k = 140;
    OpCase all = Matmul(OwnedTensor(SAGE_F32, {3, 50, k}).FillNormal(1), OwnedTensor(SAGE_F32, {3, k, n}).FillNormal(2),
                        OwnedTensor(SAGE_F32, {3, 50, n}), SAGE_AXIS_B | SAGE_AXIS_M);
    OpCase part = all;
    REQUIRE(RunCase(cpu, all).status == SAGE_OK);
    TestOp op(SAGE_OP_MATMUL);
    op.DynamicAxes(SAGE_AXIS_B | SAGE_AXIS_M);
    for (uint32_t s = 0; s < 3; ++s) op.Slot(s, part.slots[s]);
    PlannedOp plan(cpu, op);
    REQUIRE(plan.status() == SAGE_OK);
    for (const int64_t m : {1, 7, 49}) {
      for (uint32_t s = 0; s < 3; ++s) part.slots[s].description().shape[0] = 2;
      part.slots[0].description().shape[1] = part.slots[2].description().shape[1] = m;
      std::string message;
      REQUIRE_MESSAGE(plan.Run(op.slots(), &message) == SAGE_OK, message);
      bool same = true;
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) same = same && part.slots[2].At({b, i, j}) == all.slots[2].At({b, i, j});
      CHECK_MESSAGE(same, isa, " m ", m);
    }
  }
}

TEST_CASE("cpu MATMUL: threads 1 2 3 8 give the same bits") {
  ExpectSameBitsForThreads(
      Matmul(OwnedTensor(SAGE_F32, {4, 100, 130}).FillNormal(1), OwnedTensor(SAGE_F32, {4, 130, 300}).FillNormal(2),
             OwnedTensor(SAGE_F32, {4, 100, 300})),
      GemmIsas());
}

}  // namespace
}  // namespace sage::test
