// test_attention_plain.cc: the plain kernel against the float64 oracle: exact types over mixtures of everything.
#include <doctest/doctest.h>

#include "attention_emulated.h"
#include "attention_mixtures.h"

namespace sage::test {
namespace {

void CheckMixtures(sage_dtype dtype, uint64_t count) {
  for (uint64_t seed = 1; seed <= count; ++seed) {
    CAPTURE(seed);
    AttentionCase attention = AttentionMixture(seed).Draw(dtype, 128, true);
    CHECK(EmulatedDisagreement(Kernel::kPlain, attention, seed) == "");
  }
}

TEST_CASE("P5 cuda plain kernel: mixtures agree with the oracle in f64") { CheckMixtures(SAGE_F64, 60); }
TEST_CASE("P5 cuda plain kernel: mixtures agree with the oracle in f32") { CheckMixtures(SAGE_F32, 60); }
TEST_CASE("P5 cuda plain kernel: mixtures agree with the oracle in bf16") { CheckMixtures(SAGE_BF16, 20); }
TEST_CASE("P5 cuda plain kernel: mixtures agree with the oracle in f16") { CheckMixtures(SAGE_F16, 20); }

TEST_CASE("P5 cuda plain kernel: heads wider than a lane's columns") {
  AttentionCase attention(SAGE_F32, {.heads_q = 2, .seq_q = 3, .seq_kv = 70, .dim_qk = 300, .dim_v = 600}, 3);
  attention.WithLse();
  CHECK(EmulatedDisagreement(Kernel::kPlain, attention, 1) == "");
}

}  // namespace
}  // namespace sage::test
