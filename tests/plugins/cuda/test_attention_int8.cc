// test_attention_int8.cc: attention whose Q K^T is in 8 bits, its kernels' own text, against the float64 oracle:
// mixtures of everything that it takes, sizes round its blocks and tiles, and what is not a finite number.
#include <doctest/doctest.h>

#include <vector>

#include "attention_mixtures.h"
#include "int8_testing.h"

namespace sage::test {
namespace {

void CheckMixtures(sage_dtype dtype, uint64_t first, uint64_t count, int64_t largest_dim = 128) {
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionCase attention = AttentionMixture(seed).Draw(dtype, largest_dim, false);
    CHECK(Int8Disagreement(attention, {.seed = seed}) == "");
  }
}

TEST_CASE("P5 cuda int8 kernel: mixtures agree with the oracle in bf16") { CheckMixtures(SAGE_BF16, 1, 70); }
TEST_CASE("P5 cuda int8 kernel: mixtures agree with the oracle in f16") { CheckMixtures(SAGE_F16, 1001, 70); }
TEST_CASE("P5 cuda int8 kernel: mixtures of wide heads agree with the oracle") {
  CheckMixtures(SAGE_BF16, 2001, 20, 256);
  CheckMixtures(SAGE_F16, 3001, 20, 256);
}

TEST_CASE("P5 cuda int8 kernel: rows and keys round the edges of blocks and tiles") {
  for (const int64_t rows : {1, 7, 64, 127, 128, 129})
    for (const int64_t keys : {1, 63, 64, 65, 127, 128, 129, 300}) {
      CAPTURE(rows);
      CAPTURE(keys);
      const int64_t dim = (rows + keys) % 2 == 0 ? 64 : 128;
      AttentionCase attention(
          SAGE_BF16, {.heads_q = 2, .heads_k = 1, .seq_q = rows, .seq_kv = keys, .dim_qk = dim, .dim_v = 32}, 5);
      attention.WithLse();
      if (keys % 3 == 0) attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      CHECK(Int8Disagreement(attention, {.seed = 3}) == "");
    }
}

TEST_CASE("P5 cuda int8 kernel: every padded head dimension") {
  const struct {
    int64_t qk, v;
  } dims[] = {{7, 9},    {32, 32},   {33, 64},   {64, 64},  {80, 80},   {96, 96}, {128, 128},
              {64, 128}, {192, 128}, {136, 136}, {200, 64}, {256, 256}, {250, 33}};
  for (const auto& [qk, v] : dims)
    for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16}) {
      CAPTURE(qk);
      CAPTURE(v);
      CAPTURE(dtype);
      AttentionCase attention(dtype, {.heads_q = 2, .heads_k = 1, .seq_q = 37, .seq_kv = 130, .dim_qk = qk, .dim_v = v},
                              5);
      attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
      CHECK(Int8Disagreement(attention, {.seed = 9}) == "");
    }
}

TEST_CASE("P7 cuda int8 kernel: sequences without keys or queries and rows that see none") {
  AttentionCase padded(SAGE_BF16, {.batch = 3, .heads_q = 2, .seq_q = 40, .seq_kv = 150, .dim_qk = 64}, 21);
  padded.Integers(SAGE_ATTN_SEQUSED_K, {3}, {0, 150, 3}), padded.Integers(SAGE_ATTN_SEQUSED_Q, {3}, {40, 0, 39});
  padded.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
  CHECK(Int8Disagreement(padded, {}) == "");
  for (int64_t d = 0; d < 64; ++d) CHECK(padded.O().At({0, 1, 3, d}) == 0);
  AttentionCase none(SAGE_BF16, {.heads_q = 2, .seq_q = 5, .seq_kv = 0, .dim_qk = 64}, 22);
  none.WithLse();
  CHECK(Int8Disagreement(none, {}) == "");
  AttentionCase packed(SAGE_F16, {}, 23);
  packed.Q() = OwnedTensor(SAGE_F16, {300, 4, 64}).FillNormal(1), packed.O() = OwnedTensor(SAGE_F16, {300, 4, 64});
  packed.K() = OwnedTensor(SAGE_F16, {400, 2, 64}).FillNormal(2);
  packed.V() = OwnedTensor(SAGE_F16, {400, 2, 64}).FillNormal(3);
  packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {6}, {0, 1, 1, 130, 131, 300});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_K, {6}, {0, 127, 128, 128, 399, 400});
  packed.WithLse();
  CHECK(Int8Disagreement(packed, {}) == "");
}

// Whatever looks at a score itself has to see what K's mean added to it: here several units, and other for each row.
TEST_CASE("P5 cuda int8 kernel: softcap and sinks and bias and scales of any sign see scores with the mean of K") {
  const auto offset = [](sage_dtype dtype) {
    AttentionCase attention(dtype, {.heads_q = 4, .heads_k = 2, .seq_q = 70, .seq_kv = 200, .dim_qk = 64}, 31);
    const std::vector<double> normal = attention.K().Values();
    attention.K().FillBy([&](uint64_t i) { return normal[i] + (i % 3 == 0 ? 4.0 : -2.0); });
    attention.WithLse();
    return attention;
  };
  for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16}) {
    CAPTURE(dtype);
    AttentionCase plain = offset(dtype), softcap = offset(dtype), sinks = offset(dtype), bias = offset(dtype),
                  alibi = offset(dtype), negative = offset(dtype), zero = offset(dtype), masked = offset(dtype);
    CHECK(Int8Disagreement(plain, {}) == "");
    softcap.attributes.softcap = 3;
    CHECK(Int8Disagreement(softcap, {}) == "");
    sinks[SAGE_ATTN_SINKS] = OwnedTensor(SAGE_F32, {4}).FillValues({-3, 0, 5, -HUGE_VAL});
    CHECK(Int8Disagreement(sinks, {}) == "");
    softcap[SAGE_ATTN_SINKS] = sinks[SAGE_ATTN_SINKS];
    CHECK(Int8Disagreement(softcap, {}) == "");
    bias.OverScores(SAGE_ATTN_BIAS, SAGE_F32).FillNormal(41);
    CHECK(Int8Disagreement(bias, {}) == "");
    alibi[SAGE_ATTN_ALIBI] = OwnedTensor(SAGE_F32, {4}).FillUniform(42, 0, 0.3);
    alibi.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
    CHECK(Int8Disagreement(alibi, {}) == "");
    negative.Scale(-0.1);
    CHECK(Int8Disagreement(negative, {}) == "");
    zero.Scale(0);
    CHECK(Int8Disagreement(zero, {}) == "");
    masked.OverScores(SAGE_ATTN_MASK, SAGE_BOOL).FillIntegers(43, 0, 1);
    masked[SAGE_ATTN_SINKS] = sinks[SAGE_ATTN_SINKS];
    CHECK(Int8Disagreement(masked, {}) == "");
  }
}

// One case, many orders of threads and times of landing.
TEST_CASE("S15 cuda int8 kernel: every order of threads gives the same bits") {
  AttentionCase first(SAGE_BF16, {.heads_q = 4, .heads_k = 2, .seq_q = 50, .seq_kv = 300, .dim_qk = 64}, 11);
  first.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
  CHECK(Int8Disagreement(first, {.seed = 1}) == "");
  for (uint64_t seed = 2; seed <= 6; ++seed) {
    CAPTURE(seed);
    AttentionCase again = first;
    again.O().Fill(7), again[SAGE_ATTN_LSE].Fill(7);
    CHECK(RunInt8(again, {.seed = seed}) == "");
    CHECK(again.O().bytes() == first.O().bytes());
    CHECK(again[SAGE_ATTN_LSE].bytes() == first[SAGE_ATTN_LSE].bytes());
  }
}

TEST_CASE("P5 cuda int8 kernel: NaN and Inf reach the rows that see them and no other") {
  constexpr int64_t kRows = 150, kBad = 100, kDim = 32;
  for (const double poison : {std::nan(""), HUGE_VAL, -HUGE_VAL})
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) {
      CAPTURE(poison);
      CAPTURE(slot);
      AttentionCase attention(SAGE_BF16, {.batch = 2, .heads_q = 2, .seq_q = kRows, .seq_kv = kRows, .dim_qk = kDim},
                              13);
      attention.Causal(SAGE_ALIGN_TOP_LEFT).WithLse();
      // A channel that has to be smoothed, and is: what is not finite counts in no mean.
      for (int64_t j = 0; j < kRows; ++j) attention.K().Set({0, 0, j, 3}, 600 + attention.K().At({0, 0, j, 3}));
      attention[slot].Set({0, 0, kBad, 3}, poison);
      AttentionCase bare = attention;
      const AttentionCase want = ExactOf(attention);
      CHECK(RunInt8(attention, {.seed = 3}) == "");
      CHECK(LossyDisagreement(attention, want) == "");
      // No row of another head or sequence, none before, and, of Q, none behind either.
      for (int64_t i = 0; i < kRows; ++i)
        for (int64_t d = 0; d < kDim; ++d) {
          CHECK(std::isfinite(attention.O().At({1, 0, i, d})));
          if (i < kBad || (i > kBad && slot == SAGE_ATTN_Q)) CHECK(std::isfinite(attention.O().At({0, 0, i, d})));
        }
      // Rows that are not made again: those that share no scale with it, of keys those that see none of its tile. They
      // are as near as without it.
      CHECK(RunInt8(bare, {.seed = 3, .repair = false}) == "");
      const auto rows = [](const AttentionCase& from) {
        AttentionCase first;
        first.O() = Part(Part(from.O(), 0, 0, 1), 2, 0, 64);
        first[SAGE_ATTN_LSE] = Part(Part(from[SAGE_ATTN_LSE], 0, 0, 1), 2, 0, 64);
        return first;
      };
      if (slot != SAGE_ATTN_V) CHECK(LossyDisagreement(rows(bare), rows(want)) == "");
    }
}

TEST_CASE("P5 cuda int8 kernel: zeros and numbers at the ends of the range") {
  AttentionCase zeros(SAGE_BF16, {.heads_q = 2, .seq_q = 20, .seq_kv = 100, .dim_qk = 64}, 15);
  zeros.WithLse();
  AttentionCase same = zeros, small = zeros, large = zeros;
  zeros.Q().Fill(0), zeros.K().Fill(0);
  CHECK(Int8Disagreement(zeros, {}) == "");
  same.K().Fill(3);  // K less its mean is nothing
  CHECK(Int8Disagreement(same, {}) == "");
  small.Q().FillNormal(1, 1e-37), small.K().FillNormal(2, 1e-37);
  CHECK(Int8Disagreement(small, {}) == "");
  // The sum over keys is beyond f32: there is no mean then.
  large.Q().FillNormal(3, 1e-36), large.K().FillNormal(4, 3e37);
  for (int64_t j = 0; j < 100; ++j) large.K().Set({0, 0, j, 5}, 3e38);
  large.Scale(0.002);
  CHECK(Int8Disagreement(large, {}) == "");
}

TEST_CASE("P5 cuda int8 kernel: lengths and pages out of range are not followed") {
  AttentionCase attention(SAGE_F16, {.batch = 2, .seq_q = 5, .seq_kv = 64, .dim_qk = 16}, 17);
  attention.Integers(SAGE_ATTN_SEQUSED_K, {2}, {1000, -5});
  CHECK(RunInt8(attention, {}) == "");
  CHECK(attention.O().At({1, 0, 3, 3}) == 0.0);
  AttentionCase paged;
  paged.Q() = OwnedTensor(SAGE_F16, {1, 1, 5, 16}).FillNormal(1);
  paged.K() = OwnedTensor(SAGE_F16, {4, 1, 16, 16}).FillNormal(2);
  paged.V() = OwnedTensor(SAGE_F16, {4, 1, 16, 16}).FillNormal(3);
  paged.O() = OwnedTensor(SAGE_F16, {1, 1, 5, 16}).Fill(7);
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {1, 3}, {2, 1000000, -3});
  paged.Integers(SAGE_ATTN_SEQUSED_K, {1}, {48});
  CHECK(RunInt8(paged, {}) == "");
  CHECK(std::fabs(paged.O().At({0, 0, 0, 0})) < 4);
  // Starts of packed sequences that go back: what comes out is nobody's business, where it is written is.
  AttentionCase packed;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    packed[slot] = OwnedTensor(SAGE_F16, {200, 1, 16}).FillNormal(slot + 1);
  packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {5}, {150, 200, -7, 5000, 200});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_K, {5}, {199, 200, 0, 3000, 200});
  CHECK(RunInt8(packed, {}) == "");
}

TEST_CASE("P1 cuda int8 kernel: what it does not take has a reason and the workspace grows with the sizes") {
  cuda::AttentionArguments a;
  CHECK(cuda::Int8Refusal(a, UINT64_MAX) == nullptr);
  CHECK(std::string(cuda::Int8Refusal(a, 100)).find("more than the device's memory") != std::string::npos);
  a.dim_v = 257;
  CHECK(std::string(cuda::Int8Refusal(a, UINT64_MAX)).find("up to 256") != std::string::npos);
  a = {}, a.type = cuda::AttentionType::kF32;
  CHECK(std::string(cuda::Int8Refusal(a, UINT64_MAX)).find("bf16 and f16") != std::string::npos);
  a = {}, a.seq_q = 1 << 28, a.heads_q = 64;
  CHECK(std::string(cuda::Int8Refusal(a, UINT64_MAX)).find("more rows") != std::string::npos);
  const int32_t starts[2] = {};
  for (const int32_t* packed : {static_cast<const int32_t*>(nullptr), starts}) {
    uint64_t before = 0;
    for (int32_t rows = 1; rows < 20000; rows = rows * 9 / 8 + 1) {
      a = {}, a.batch = 2, a.heads_q = 4, a.cu_seqlens_q = a.cu_seqlens_k = packed;
      a.seq_q = a.seq_kv = a.total_q = a.total_k = rows;
      const uint64_t bytes = cuda::Int8WorkspaceBytes(a);
      CHECK(bytes >= before);
      before = bytes;
    }
  }
}

}  // namespace
}  // namespace sage::test
