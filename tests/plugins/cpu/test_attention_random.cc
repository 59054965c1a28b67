// test_attention_random.cc: every mixture of features that a seed draws, under every instruction set, against the
// float64 oracle.
#include <doctest/doctest.h>

#include "attention_random.h"

namespace sage::test {
namespace {

void Sweep(sage_dtype dtype, uint64_t seeds) {
  Oracle oracle;
  std::vector<std::unique_ptr<CpuBackend>> backends;
  for (const std::string& isa : Isas())
    for (const uint32_t workers : {1u, 3u}) backends.push_back(std::make_unique<CpuBackend>(isa, workers));
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const AttentionCase drawn = RandomAttention(seed).Draw(dtype);
    CAPTURE(seed);
    std::string failure;
    const AttentionCase want = Expected(drawn, oracle.instance, &failure);
    REQUIRE(failure == "");
    for (size_t isa = 0; isa < backends.size() / 2; ++isa) {
      AttentionCase got = drawn;
      CAPTURE(Isas()[isa]);
      CHECK(DisagreementWith(want, got, backends[2 * isa + seed % 2]->instance) == "");
    }
  }
}

}  // namespace

TEST_CASE("P1 P3 P4 P7 P8 N2 N11 random mixtures of features agree with the oracle in f32") { Sweep(SAGE_F32, 250); }
TEST_CASE("P5 N1 random mixtures of features agree with the oracle in f64") { Sweep(SAGE_F64, 150); }
TEST_CASE("P5 random mixtures of features agree with the oracle in bf16") { Sweep(SAGE_BF16, 100); }
TEST_CASE("P5 random mixtures of features agree with the oracle in f16") { Sweep(SAGE_F16, 100); }

}  // namespace sage::test
