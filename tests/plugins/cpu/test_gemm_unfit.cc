// Numbers that bf16 parts cannot hold, in LINEAR and MATMUL: confined to their row or column, and otherwise the
// oracle's.
#include "gemm_harness.h"

namespace sage::test {
namespace {

constexpr int64_t kM = 19, kN = 71, kK = 150;

OpCase Linear(sage_dtype dtype, bool constant, bool exact) {
  OwnedTensor w = OwnedTensor(dtype, {kN, kK}).FillNormal(2);
  if (constant) w.Constant();
  OpCase c{SAGE_OP_LINEAR,
           [=](TestOp& op) {
             op.Attributes(sage_linear_attributes{0, SAGE_FN_IDENTITY});
             if (exact) op.Accuracy(SAGE_ACCURACY_EXACT);
           },
           {}};
  c.slots = {OwnedTensor(dtype, {kM, kK}).FillNormal(1), w, OwnedTensor(), OwnedTensor(SAGE_F32, {kM, kN})};
  return c;
}

// What a test plants: at one element of X, one of W, or both.
struct Planted {
  double value;
  bool in_x, in_w;
};

std::vector<Planted> AllPlanted() {
  std::vector<Planted> all;
  for (const double value : {0x1p-49, -0x1p-60, 0x1p-120, 0x1p-140, 0x1p56, -0x1p100, HUGE_VAL, -HUGE_VAL, double{NAN}})
    for (const int where : {1, 2, 3}) all.push_back({value, (where & 1) != 0, (where & 2) != 0});
  return all;
}

RunResult RunOn(const std::string& isa, OpCase* c) {
  TestHost host(3, Threads::kSimulated);
  Instance cpu(Cpu(), host, isa.c_str());
  const RunResult result = RunCase(cpu, *c);
  REQUIRE_MESSAGE(result.status == SAGE_OK, isa, " ", result.message);
  return result;
}

}  // namespace

TEST_CASE("cpu LINEAR: unfit numbers give what the oracle gives, in their row and column; no other element changes") {
  const int64_t row = 17, column = 66, at = 140;
  for (const std::string& isa : GemmIsas())
    for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16})
      for (const bool constant : {false, true}) {
        OpCase clean = Linear(dtype, constant, true);
        RunOn(isa, &clean);
        for (const Planted& planted : AllPlanted()) {
          OpCase c = Linear(dtype, constant, true);
          if (planted.in_x) c.slots[0].Set({row, at}, planted.value);
          if (planted.in_w) c.slots[1].Set({column, at}, planted.value);
          const std::string what = isa + " " + std::to_string(planted.value) + " in " + (planted.in_x ? "X " : "") +
                                   (planted.in_w ? "W " : "") + Describe(c);
          const GemmBound bound(c, 3, kK);
          const RunResult result = RunOn(isa, &c);
          CHECK(result.answer.accuracy == SAGE_ACCURACY_EXACT);
          bound.Expect(c.slots[3], what);
          bool same = true;
          for (int64_t i = 0; i < kM; ++i)
            for (int64_t j = 0; j < kN; ++j)
              if ((!planted.in_x || i != row) && (!planted.in_w || j != column))
                same = same && c.slots[3].At({i, j}) == clean.slots[3].At({i, j});
          CHECK_MESSAGE(same, "others changed: ", what);
        }
      }
}

TEST_CASE("cpu LINEAR: rows and columns with unfit numbers have the bits of plain floats, alone or among others") {
  for (const std::string& isa : GemmIsas()) {
    if (isa != "isa=amx") continue;
    for (const bool constant : {false, true}) {
      OpCase c = Linear(SAGE_F32, constant, true);
      for (const int64_t i : {0, 3, 18}) c.slots[0].Set({i, i + 130}, 0x1p70);
      for (const int64_t j : {0, 31, 32, 70}) c.slots[1].Set({j, j}, 0x1p-70);
      OpCase plain = c;
      RunOn(isa, &c);
      RunOn("isa=avx512", &plain);
      for (int64_t i = 0; i < kM; ++i)
        for (int64_t j = 0; j < kN; ++j)
          if (i == 0 || i == 3 || i == 18 || j == 0 || j == 31 || j == 32 || j == 70)
            CHECK(c.slots[3].At({i, j}) == plain.slots[3].At({i, j}));
    }
  }
}

TEST_CASE("cpu LINEAR: EXACT at every scale, and with numbers of many sizes side by side") {
  for (const std::string& isa : GemmIsas())
    for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16})
      for (const int scale : {-56, -47, -40, 0, 40, 53, 58}) {
        OpCase c = Linear(dtype, true, true);
        Random random(static_cast<uint64_t>(scale + 100));
        for (const size_t slot : {size_t{0}, size_t{1}})
          for (uint64_t i = 0; i < c.slots[slot].size(); ++i)
            c.slots[slot].Put(i, std::ldexp(c.slots[slot].Get(i), scale + static_cast<int>(random.Between(-4, 0))));
        const GemmBound bound(c, 3, kK);
        RunOn(isa, &c);
        bound.Expect(c.slots[3], isa + " scale " + std::to_string(scale));
      }
}

TEST_CASE("cpu MATMUL: unfit numbers in a batch, against the oracle") {
  for (const std::string& isa : GemmIsas()) {
    OpCase c{SAGE_OP_MATMUL, [](TestOp& op) { op.Accuracy(SAGE_ACCURACY_EXACT); }, {}};
    c.slots = {OwnedTensor(SAGE_F32, {2, 40, 70}).FillNormal(1), OwnedTensor(SAGE_F32, {2, 70, 100}).FillNormal(2),
               OwnedTensor(SAGE_F32, {2, 40, 100})};
    c.slots[0].Set({1, 33, 69}, 0x1p80), c.slots[0].Set({0, 5, 0}, NAN);
    c.slots[1].Set({0, 3, 99}, 0x1p-110), c.slots[1].Set({1, 69, 64}, -HUGE_VAL);
    const GemmBound bound(c, 2, 70);
    RunOn(isa, &c);
    bound.Expect(c.slots[2], isa);
  }
}

}  // namespace sage::test
