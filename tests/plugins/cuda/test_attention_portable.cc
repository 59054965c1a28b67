// test_attention_portable.cc: the tensor core kernel of sm_80 and later, its own text, against the float64 oracle.
#include <doctest/doctest.h>

#include "attention_emulated.h"
#include "attention_mixtures.h"

namespace sage::test {
namespace {

void CheckMixtures(sage_dtype dtype, uint64_t first, uint64_t count, int64_t largest_dim = 128) {
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionCase attention = AttentionMixture(seed).Draw(dtype, largest_dim, false);
    CHECK(EmulatedDisagreement(Kernel::kPortable, attention, seed) == "");
  }
}

TEST_CASE("P5 cuda portable kernel: mixtures agree with the oracle in bf16") { CheckMixtures(SAGE_BF16, 1, 150); }
TEST_CASE("P5 cuda portable kernel: mixtures agree with the oracle in f16") { CheckMixtures(SAGE_F16, 1001, 150); }

TEST_CASE("P5 cuda portable kernel: mixtures of wide heads agree with the oracle") {
  CheckMixtures(SAGE_BF16, 2001, 40, 256);
  CheckMixtures(SAGE_F16, 3001, 40, 256);
}

TEST_CASE("P5 cuda portable kernel: every padded head dimension") {
  const struct {
    int64_t qk, v;
  } dims[] = {{8, 8},     {32, 32},   {40, 64},  {96, 96},   {128, 128}, {64, 128}, {136, 136},
              {192, 128}, {192, 192}, {200, 64}, {256, 256}, {64, 256},  {250, 33}};
  for (const auto& [qk, v] : dims) {
    for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16}) {
      CAPTURE(qk);
      CAPTURE(v);
      CAPTURE(dtype);
      AttentionCase attention(dtype, {.heads_q = 2, .heads_k = 1, .seq_q = 37, .seq_kv = 130, .dim_qk = qk, .dim_v = v},
                              5);
      attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
      CHECK(EmulatedDisagreement(Kernel::kPortable, attention, 9) == "");
    }
  }
}

// One case, many orders of threads and times of landing.
TEST_CASE("P5 cuda portable kernel: every order of threads gives the same bits") {
  AttentionCase first(SAGE_BF16, {.heads_q = 4, .heads_k = 2, .seq_q = 50, .seq_kv = 200, .dim_qk = 64}, 11);
  first.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
  CHECK(EmulatedDisagreement(Kernel::kPortable, first, 1) == "");
  for (uint64_t seed = 2; seed <= 10; ++seed) {
    CAPTURE(seed);
    AttentionCase again = first;
    again.O().Fill(7), again[SAGE_ATTN_LSE].Fill(7);
    CHECK(RunEmulated(Kernel::kPortable, again, seed) == "");
    CHECK(again.O().bytes() == first.O().bytes());
    CHECK(again[SAGE_ATTN_LSE].bytes() == first[SAGE_ATTN_LSE].bytes());
  }
}

TEST_CASE("P5 cuda portable kernel: NaN and Inf behind a key that is not seen touch nothing") {
  for (const double poison : {std::nan(""), HUGE_VAL}) {
    AttentionCase attention(SAGE_BF16, {.heads_q = 2, .seq_q = 70, .seq_kv = 70, .dim_qk = 32}, 13);
    attention.Causal(SAGE_ALIGN_TOP_LEFT).WithLse();
    for (int64_t d = 0; d < 32; ++d) {
      attention.K().Set({0, 0, 40, d}, poison);
      attention.V().Set({0, 0, 40, d}, poison);
    }
    AttentionCase early = attention;
    CHECK(RunEmulated(Kernel::kPortable, attention, 3) == "");
    for (int64_t i = 0; i < 40; ++i)
      for (int64_t d = 0; d < 32; ++d) CHECK(std::isfinite(attention.O().At({0, 1, i, d})));
    CHECK(std::isnan(attention.O().At({0, 0, 41, 5})));
    CHECK(EmulatedDisagreement(Kernel::kPortable, early, 3) == "");
  }
}

TEST_CASE("P5 cuda portable kernel: lengths and pages out of range are not followed") {
  AttentionCase attention(SAGE_F16, {.batch = 2, .seq_q = 5, .seq_kv = 64, .dim_qk = 16}, 17);
  attention.Integers(SAGE_ATTN_SEQUSED_K, {2}, {1000, -5}).FillValues({1000, -5});
  CHECK(RunEmulated(Kernel::kPortable, attention, 1) == "");
  CHECK(attention.O().At({1, 0, 3, 3}) == 0.0);
  AttentionCase paged;
  paged.Q() = OwnedTensor(SAGE_F16, {1, 1, 5, 16}).FillNormal(1);
  paged.K() = OwnedTensor(SAGE_F16, {4, 1, 16, 16}).FillNormal(2);
  paged.V() = OwnedTensor(SAGE_F16, {4, 1, 16, 16}).FillNormal(3);
  paged.O() = OwnedTensor(SAGE_F16, {1, 1, 5, 16}).Fill(7);
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {1, 3}, {2, 1000000, -3});
  paged.Integers(SAGE_ATTN_SEQUSED_K, {1}, {48});
  CHECK(RunEmulated(Kernel::kPortable, paged, 1) == "");
  CHECK(std::fabs(paged.O().At({0, 0, 0, 0})) < 4);
}

TEST_CASE("P5 cuda portable kernel: what it does not take has a reason") {
  cuda::AttentionArguments a;
  CHECK(cuda::PortableRefusal(a) == nullptr);
  a.dim_v = 257;
  CHECK(std::string(cuda::PortableRefusal(a)).find("up to 256") != std::string::npos);
  a = {}, a.type = cuda::AttentionType::kF32;
  CHECK(std::string(cuda::PortableRefusal(a)).find("plain") != std::string::npos);
  float weights = 0;
  a = {}, a.weights = &weights;
  CHECK(std::string(cuda::PortableRefusal(a)).find("WEIGHTS") != std::string::npos);
}

}  // namespace
}  // namespace sage::test
