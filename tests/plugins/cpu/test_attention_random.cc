// test_attention_random.cc: every mixture of features that a seed draws, under every instruction set, against the
// float64 oracle.
#include <doctest/doctest.h>

#include "attention_random.h"

namespace sage::test {
namespace {

void Sweep(sage_dtype dtype, uint64_t seeds) {
  Oracle oracle;
  for (const std::string& isa : Isas()) {
    CpuBackend one(isa, 1), several(isa, 3);
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
      AttentionCase drawn = RandomAttention(seed).Draw(dtype);
      CAPTURE(isa);
      CAPTURE(seed);
      CHECK(Disagreement(drawn, (seed % 2 == 0 ? one : several).instance, oracle.instance) == "");
    }
  }
}

}  // namespace

TEST_CASE("P1 P3 P4 P7 P8 N2 N11 random mixtures of features agree with the oracle in f32") { Sweep(SAGE_F32, 250); }
TEST_CASE("P5 N1 random mixtures of features agree with the oracle in f64") { Sweep(SAGE_F64, 150); }
TEST_CASE("P5 random mixtures of features agree with the oracle in bf16") { Sweep(SAGE_BF16, 100); }
TEST_CASE("P5 random mixtures of features agree with the oracle in f16") { Sweep(SAGE_F16, 100); }

}  // namespace sage::test
