// Attention over sequences of different lengths: packed, padded, on pages, and with keys appended by the call.
#include <doctest/doctest.h>

#include <array>

#include "attention_cases.h"

using namespace sage::test;

namespace {

AttentionCase Packed(sage_dtype dtype, const std::vector<double>& q_starts, const std::vector<double>& k_starts) {
  AttentionCase c;
  const auto t_q = static_cast<int64_t>(q_starts.back()), t_k = static_cast<int64_t>(k_starts.back());
  c.Q() = OwnedTensor(dtype, {t_q, 4, 6}).FillNormal(1);
  c.K() = OwnedTensor(dtype, {t_k, 2, 6}).FillNormal(2);
  c.V() = OwnedTensor(dtype, {t_k, 2, 5}).FillNormal(3);
  c.O() = OwnedTensor(dtype, {t_q, 4, 5}).Fill(9);
  c.Integers(SAGE_ATTN_CU_SEQLENS_Q, {static_cast<int64_t>(q_starts.size())}, q_starts);
  c.Integers(SAGE_ATTN_CU_SEQLENS_K, {static_cast<int64_t>(k_starts.size())}, k_starts);
  return c.WithLse();
}

}  // namespace

TEST_CASE("P7 packed sequences equal each sequence alone, to the bit, empty ones and both alignments included") {
  const std::vector<double> q_starts = {0, 3, 3, 10, 11}, k_starts = {0, 5, 9, 13, 13};
  for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
    AttentionCase c = Packed(SAGE_F64, q_starts, k_starts);
    c.Causal(alignment);
    c[SAGE_ATTN_ALIBI] = OwnedTensor(SAGE_F64, {4}).FillUniform(4, 0, 1);
    c[SAGE_ATTN_SINKS] = OwnedTensor(SAGE_F64, {4}).FillNormal(5);
    Run(c);
    for (size_t s = 0; s + 1 < q_starts.size(); ++s) {
      const auto from = static_cast<int64_t>(q_starts[s]), length = static_cast<int64_t>(q_starts[s + 1]) - from;
      const auto k_from = static_cast<int64_t>(k_starts[s]), k_length = static_cast<int64_t>(k_starts[s + 1]) - k_from;
      AttentionCase one = Alone(c, 0, from, length, k_from, k_length, true);
      Run(one);
      for (int64_t h = 0; h < 4; ++h) {
        for (int64_t i = 0; i < length; ++i) {
          for (int64_t d = 0; d < 5; ++d) CHECK(c.O().At({from + i, h, d}) == one.O().At({0, h, i, d}));
          CHECK(c[SAGE_ATTN_LSE].At({h, from + i}) == one[SAGE_ATTN_LSE].At({0, h, i}));
        }
      }
    }
  }
}

TEST_CASE("P7 padding with lengths equals each sequence alone, padded rows are zero, padded NaN stays out") {
  for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
    AttentionCase c(SAGE_F32, {3, 4, 2, 6, 9, 6, 5}, 30);
    const std::array<int64_t, 3> q_used = {6, 2, 0}, k_used = {4, 9, 3};
    c.Integers(SAGE_ATTN_SEQUSED_Q, {3}, {6, 2, 0});
    c.Integers(SAGE_ATTN_SEQUSED_K, {3}, {4, 9, 3});
    c.Causal(alignment).WithLse();
    for (int64_t h = 0; h < 2; ++h) c.K().Set({0, h, 4, 1}, NAN), c.V().Set({2, h, 8, 0}, HUGE_VAL);
    Run(c);
    for (int64_t b = 0; b < 3; ++b) {
      const int64_t length = q_used[static_cast<size_t>(b)];
      AttentionCase one = Alone(c, b, 0, length, 0, k_used[static_cast<size_t>(b)], false);
      Run(one);
      for (int64_t h = 0; h < 4; ++h) {
        for (int64_t i = 0; i < 6; ++i) {
          for (int64_t d = 0; d < 5; ++d)
            CHECK(c.O().At({b, h, i, d}) == (i < length ? one.O().At({0, h, i, d}) : 0.0));
          CHECK(c[SAGE_ATTN_LSE].At({b, h, i}) == (i < length ? one[SAGE_ATTN_LSE].At({0, h, i}) : -HUGE_VAL));
        }
      }
    }
  }
}

TEST_CASE("attention: paged keys equal contiguous ones, to the bit, whatever the order of pages") {
  constexpr int64_t kPage = 4;
  AttentionCase dense(SAGE_F16, {3, 4, 2, 2, 12, 6}, 39);
  dense.Integers(SAGE_ATTN_SEQUSED_K, {3}, {12, 5, 0});
  dense.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
  AttentionCase paged = dense;
  const double table[3][3] = {{7, 2, 9}, {0, 5, -1}, {1 << 30, -9, 3}};  // past the length anything may stand
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {3, 3}, {7, 2, 9, 0, 5, -1, 1 << 30, -9, 3});
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
    paged[slot] = OwnedTensor(SAGE_F16, {10, 2, kPage, 6}).Fill(NAN);
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t j = 0; j < (b == 0 ? 12 : 5); ++j)
          for (int64_t d = 0; d < 6; ++d)
            paged[slot].Set({static_cast<int64_t>(table[b][j / kPage]), h, j % kPage, d}, dense[slot].At({b, h, j, d}));
  }
  Run(dense), Run(paged);
  CHECK(BitwiseEqual(dense.O(), paged.O()));
  CHECK(BitwiseEqual(dense[SAGE_ATTN_LSE], paged[SAGE_ATTN_LSE]));

  paged[SAGE_ATTN_BLOCK_TABLE].Set({1, 1}, 10);
  Reference reference;
  const RunResult outside = paged.Run(reference.instance);
  CHECK(outside.status == SAGE_E_INVALID_ARGUMENT);
  CHECK(outside.message.find("BLOCK_TABLE") != std::string::npos);
}

TEST_CASE("attention: appended keys equal keys that were there, dense, paged and packed on pages") {
  AttentionCase full(SAGE_F32, {2, 2, 1, 3, 8, 4}, 40);  // the last three of 5 and of 8 keys are new
  full.Integers(SAGE_ATTN_SEQUSED_K, {2}, {5, 8});
  full.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
  AttentionCase dense = full;
  dense.Integers(SAGE_ATTN_SEQUSED_K, {2}, {2, 5});
  dense.aliases = 1u << SAGE_ATTN_K | 1u << SAGE_ATTN_V;
  AttentionCase paged = dense, packed;
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {2, 4}, {3, 0, 6, -1, 1, 5, 4, 2});
  const double pages[2][4] = {{3, 0, 6, -1}, {1, 5, 4, 2}};
  for (const auto& [slot, fresh] : {std::pair{SAGE_ATTN_K, SAGE_ATTN_K_NEW}, {SAGE_ATTN_V, SAGE_ATTN_V_NEW}}) {
    dense[fresh] = OwnedTensor::Ordered(SAGE_F32, {2, 1, 3, 4}, {0, 2, 1, 3});
    paged[slot] = OwnedTensor(SAGE_F32, {7, 1, 2, 4}).Fill(NAN);
    packed[fresh] = OwnedTensor(SAGE_F32, {6, 1, 4});
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t d = 0; d < 4; ++d) {
        const int64_t used = b == 0 ? 2 : 5;
        for (int64_t j = 0; j < used; ++j)
          paged[slot].Set({static_cast<int64_t>(pages[b][j / 2]), 0, j % 2, d}, full[slot].At({b, 0, j, d}));
        for (int64_t j = used; j < 8; ++j) dense[slot].Set({b, 0, j, d}, NAN);
        for (int64_t t = 0; t < 3; ++t) {
          dense[fresh].Set({b, 0, t, d}, full[slot].At({b, 0, used + t, d}));
          packed[fresh].Set({b * 3 + t, 0, d}, full[slot].At({b, 0, used + t, d}));
        }
      }
    }
    paged[fresh] = dense[fresh];
    packed[slot] = paged[slot];
  }
  packed.Q() = OwnedTensor(SAGE_F32, {6, 2, 4});
  packed.O() = OwnedTensor(SAGE_F32, {6, 2, 4});
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < 3; ++i)
        for (int64_t d = 0; d < 4; ++d) packed.Q().Set({b * 3 + i, h, d}, full.Q().At({b, h, i, d}));
  packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {3}, {0, 3, 6});
  packed[SAGE_ATTN_BLOCK_TABLE] = paged[SAGE_ATTN_BLOCK_TABLE];
  packed[SAGE_ATTN_SEQUSED_K] = dense[SAGE_ATTN_SEQUSED_K];
  packed.aliases = dense.aliases;
  packed.Causal(SAGE_ALIGN_BOTTOM_RIGHT);

  Run(full), Run(dense), Run(paged), Run(packed);
  CHECK(BitwiseEqual(full.O(), dense.O()));
  CHECK(BitwiseEqual(full.O(), paged.O()));
  CHECK(BitwiseEqual(full[SAGE_ATTN_LSE], dense[SAGE_ATTN_LSE]));
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t d = 0; d < 4; ++d) {
      for (int64_t i = 0; i < 3; ++i) CHECK(packed.O().At({b * 3 + i, 1, d}) == full.O().At({b, 1, i, d}));
      const int64_t last = b == 0 ? 4 : 7;
      CHECK(dense.K().At({b, 0, last, d}) == full.K().At({b, 0, last, d}));
      CHECK(paged.V().At({static_cast<int64_t>(pages[b][last / 2]), 0, last % 2, d}) == full.V().At({b, 0, last, d}));
    }
  }

  Reference reference;
  dense.Integers(SAGE_ATTN_SEQUSED_K, {2}, {2, 6});
  CHECK(dense.Run(reference.instance).status == SAGE_E_INVALID_ARGUMENT);  // 6 + 3 keys in 8 places
}
