// test_attention_decode.cc: few queries against many keys: K and V are read where they lie there, and everything has
// the bits that it has where they are packed for many queries.
#include <doctest/doctest.h>

#include <random>

#include "attention_testing.h"

namespace sage::test {
TEST_CASE("a decoded token has the bits of prefill, split over any number of workers or not, in every cache") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64, SAGE_BF16, SAGE_F16}) {
    // Three chunks of keys and a bit; enough of them that workers are worth waking.
    AttentionCase prefill(dtype, {1, 16, 4, 50, 1700, 64}, 61);
    prefill.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
    AttentionCase token = prefill;
    token.Q() = Part(prefill.Q(), 2, 49, 1), token.O() = Part(prefill.O(), 2, 49, 1);
    token[SAGE_ATTN_LSE] = OwnedTensor(token.StatisticsDtype(), {1, 16, 1});
    AttentionCase paged = token;
    std::vector<double> table;
    for (int64_t i = 0; i < 17; ++i) table.push_back(static_cast<double>((i * 5 + 3) % 17));
    for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
      OwnedTensor pages(dtype, {17, 4, 100, 64});
      for (int64_t h = 0; h < 4; ++h)
        for (int64_t j = 0; j < 1700; ++j)
          for (int64_t c = 0; c < 64; ++c)
            pages.Set({static_cast<int64_t>(table[static_cast<size_t>(j / 100)]), h, j % 100, c},
                      token[slot].At({0, h, j, c}));
      paged[slot] = pages;
    }
    paged.Integers(SAGE_ATTN_BLOCK_TABLE, {1, 17}, table);
    for (const std::string& isa : Isas()) {
      CAPTURE(isa);
      CAPTURE(dtype);
      CpuBackend alone(isa);
      REQUIRE(RunOn(alone, prefill) == "");
      const OwnedTensor want = Part(prefill.O(), 2, 49, 1), lse = Part(prefill[SAGE_ATTN_LSE], 2, 49, 1);
      for (const uint32_t workers : {1u, 2u, 5u}) {
        CpuBackend cpu(isa, workers, workers == 2 ? Threads::kReal : Threads::kSimulated);
        for (AttentionCase* attention : {&token, &paged}) {
          attention->O().Fill(7);
          REQUIRE(RunOn(cpu, *attention) == "");
          CHECK(SameBits(want, attention->O()));
          CHECK(SameBits(lse, (*attention)[SAGE_ATTN_LSE]));
        }
        if (workers > 1) CHECK(cpu.host.parallel_calls() == 2);
      }
    }
  }
}

TEST_CASE("R14 R15 few rows, with K and V read where they lie, have the bits of the same rows among many") {
  std::mt19937 random(17);
  const auto one_of = [&](std::initializer_list<int64_t> list) { return *(list.begin() + random() % list.size()); };
  for (int round = 0; round < 40; ++round) {
    const sage_dtype dtype =
        std::initializer_list<sage_dtype>{SAGE_F32, SAGE_BF16, SAGE_F16, SAGE_F64}.begin()[round % 4];
    const int64_t group = one_of({1, 2, 3, 4, 5, 6, 7, 8}), heads = one_of({1, 2}),
                  few = group <= 2 ? one_of({1, 2, 3}) : 1;
    // More than 256 columns are taken in parts; those of 24 and 300 end within a register of some instruction set.
    const int64_t dim_qk = one_of({7, 24, 64, 65, 128, 300}), dim_v = one_of({8, 24, 64, 96, 128, 272, 520});
    const int64_t keys = one_of({1, 2, 31, 40, 257, 513, 700}), queries = 41;
    CAPTURE(round);
    AttentionCase many(dtype, {1, heads * group, heads, queries, keys, dim_qk, dim_v},
                       100 + static_cast<uint64_t>(round));
    many.WithLse();
    if (round % 3 == 1) many.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
    if (round % 5 == 2) many.attributes.softcap = 3;
    AttentionCase last = many;
    last.Q() = Part(many.Q(), 2, queries - few, few), last.O() = Part(many.O(), 2, queries - few, few);
    last[SAGE_ATTN_LSE] = OwnedTensor(last.StatisticsDtype(), {1, heads * group, few});
    for (const std::string& isa : Isas()) {
      CAPTURE(isa);
      CpuBackend cpu(isa);
      REQUIRE(RunOn(cpu, many) == "");
      REQUIRE(RunOn(cpu, last) == "");
      CHECK(SameBits(Part(many.O(), 2, queries - few, few), last.O()));
      CHECK(SameBits(Part(many[SAGE_ATTN_LSE], 2, queries - few, few), last[SAGE_ATTN_LSE]));
    }
  }
}

TEST_CASE("R11 few rows: NaN and Inf behind masks and lengths do not leak") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16, SAGE_F16, SAGE_F64}) {
    AttentionCase clean(dtype, {2, 6, 2, 1, 150, 32}, 63);
    clean.OverScores(SAGE_ATTN_MASK, SAGE_BOOL).FillBy([](uint64_t n) { return n % 150 % 3 == 0 ? 0.0 : 1.0; });
    clean.Integers(SAGE_ATTN_SEQUSED_K, {2}, {140, 33});
    AttentionCase dirty = clean;
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t j = 0; j < 150; ++j)
          for (int64_t c = 0; c < 32; ++c)
            if (j % 3 == 0 || j >= (b == 0 ? 140 : 33)) {
              dirty.K().Set({b, h, j, c}, j % 2 == 0 ? NAN : -HUGE_VAL);
              dirty.V().Set({b, h, j, c}, j % 2 == 0 ? HUGE_VAL : NAN);
            }
    for (const std::string& isa : Isas()) {
      CAPTURE(isa);
      CpuBackend cpu(isa);
      REQUIRE(RunOn(cpu, clean) == "");
      REQUIRE(RunOn(cpu, dirty) == "");
      CHECK(SameBits(clean.O(), dirty.O()));
      CHECK(std::isfinite(LargestMagnitude(dirty.O())));
    }
  }
}

}  // namespace sage::test
