// test_attention_unfit.cc: which kernels AMX chooses, and numbers that bf16 parts cannot hold: right wherever they
// matter, and without any trace where they are not seen.
#include <doctest/doctest.h>

#include <limits>

#include "attention_testing.h"

namespace sage::test {
namespace {

bool Contains(const char* text, const char* part) { return std::string(text).find(part) != std::string::npos; }

bool SameRow(const AttentionCase& a, const AttentionCase& b, int64_t h, int64_t i) {
  for (int64_t c = 0; c < a.O().dim(3); ++c) {
    const double x = a.O().At({0, h, i, c}), y = b.O().At({0, h, i, c});
    if (x != y && !(std::isnan(x) && std::isnan(y))) return false;
  }
  return true;
}

constexpr double kUnfit[] = {1e30,     -1e30,    1e18, 1e-33, 1e-41, std::numeric_limits<double>::quiet_NaN(),
                             HUGE_VAL, -HUGE_VAL};

}  // namespace

TEST_CASE("amx serves f32, f16 and EXACT bf16 as EXACT, bf16 as NATIVE, f64 by avx512") {
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    const struct {
      sage_dtype dtype;
      uint32_t asked, got;
      const char* words;
    } cases[] = {
        {SAGE_F32, SAGE_ACCURACY_EXACT, SAGE_ACCURACY_EXACT, "amx kernels in f32 from products of bf16 parts"},
        {SAGE_F16, SAGE_ACCURACY_AUTO, SAGE_ACCURACY_EXACT, "amx kernels in f32 from products of bf16 parts"},
        {SAGE_BF16, SAGE_ACCURACY_EXACT, SAGE_ACCURACY_EXACT, "amx kernels in f32 from products of bf16 parts"},
        {SAGE_BF16, SAGE_ACCURACY_AUTO, SAGE_ACCURACY_NATIVE, "amx kernels in bf16 products"},
        {SAGE_F64, SAGE_ACCURACY_EXACT, SAGE_ACCURACY_EXACT, "avx512 kernels in f64"}};
    for (const auto& [dtype, asked, got, words] : cases) {
      AttentionCase attention(dtype, {1, 1, 1, 2, 40, 8}, 3);
      attention.accuracy = asked;
      const RunResult result = attention.Run(cpu.instance);
      REQUIRE(Failure(result) == "");
      CHECK(result.answer.accuracy == got);
      CHECK(Contains(result.answer.reason, words));
    }
    // Not named, a tile's worth of rows gets it, a few do not.
    CpuBackend chosen("auto");
    AttentionCase few(SAGE_F32, {1, 2, 2, 7, 40, 8}, 4), many(SAGE_F32, {1, 2, 1, 4, 40, 8}, 4);
    CHECK(Contains(few.Run(chosen.instance).answer.reason, "avx512 kernels"));
    CHECK(Contains(many.Run(chosen.instance).answer.reason, "amx kernels"));
  }
}

TEST_CASE("numbers that parts cannot hold: as the oracle has it, in Q, K and V, whole and block by block") {
  Oracle oracle;
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa, 2);
    for (const double value : {1e30, 1e-33, 1e-41, 0x1p56, -0x1p-101}) {
      for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) {
        for (const uint32_t algorithm : {SAGE_ALGORITHM_FLASH, SAGE_ALGORITHM_MATERIALISED}) {
          AttentionCase attention(SAGE_F32, {1, 4, 2, 40, 300, 24}, 5);
          attention.attributes.algorithm = algorithm;
          attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
          // One number among zeros: no sum of it and others is rounded away.
          for (int64_t c = 0; c < 24 && slot != SAGE_ATTN_V; ++c) attention[slot].Set({0, 1, 19, c}, 0);
          attention[slot].Set({0, 1, 19, 7}, value);
          if (slot != SAGE_ATTN_V && value > 1) attention.Scale(1 / value);
          CAPTURE(value);
          CAPTURE(slot);
          CHECK(Disagreement(attention, cpu.instance, oracle.instance) == "");
        }
      }
    }
    // Every row of everything.
    AttentionCase large(SAGE_F32, {1, 2, 1, 33, 130, 16}, 6), small = large;
    large.Scale(1e-36), small.Scale(1e60);
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) {
      const OwnedTensor from = large[slot];
      large[slot].FillBy([&](uint64_t n) { return from.Get(n) * 1e18; });
      small[slot].FillBy([&](uint64_t n) { return from.Get(n) * (slot == SAGE_ATTN_V ? 1e-36 : 1e-30); });
    }
    CHECK(Disagreement(large, cpu.instance, oracle.instance) == "");
    // Against V's own size, where the gate above is one of 1.
    AttentionCase want = AsDouble(small);
    small.Scale(1e30), want.Scale(1e30);
    REQUIRE(Failure(want.Run(oracle.instance)) == "");
    REQUIRE(RunOn(cpu, small) == "");
    CHECK(ErrorIn(small.O(), want.O(), 5e-6 * LargestMagnitude(want.V())) <= 1);
  }
}

TEST_CASE("a row that may not see such a key has the bits that it has without it, one that may has what it should") {
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16, SAGE_F16}) {
      for (const double value : kUnfit) {
        if (dtype == SAGE_F16 && std::isfinite(value)) continue;
        for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
          AttentionCase clean(dtype, {1, 2, 1, 60, 60, 20}, 7), dirty;
          // By position (below 41), by the mask (rows of every third query).
          clean.Causal(SAGE_ALIGN_TOP_LEFT).OverScores(SAGE_ATTN_MASK, SAGE_BOOL).FillBy([](uint64_t n) {
            return n / 60 % 60 % 3 == 0 && n % 60 == 41 ? 0.0 : 1.0;
          });
          dirty = clean;
          dirty[slot].Set({0, 0, 41, 3}, value);
          CAPTURE(value);
          REQUIRE(RunOn(cpu, clean) == "");
          REQUIRE(RunOn(cpu, dirty) == "");
          for (int64_t h = 0; h < 2; ++h)
            for (int64_t i = 0; i < 60; ++i) {
              const bool hidden = i < 41 || i % 3 == 0;
              if (hidden) REQUIRE(SameRow(clean, dirty, h, i));
              if (!hidden && !std::isfinite(value) && slot == SAGE_ATTN_V)
                REQUIRE_FALSE(std::isfinite(dirty.O().At({0, h, i, 3})));
              if (!hidden && std::isnan(value)) REQUIRE(std::isnan(dirty.O().At({0, h, i, 3})));
            }
        }
      }
    }
  }
}

TEST_CASE("a query that parts cannot hold stays in its row") {
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    for (const double value : kUnfit) {
      AttentionCase clean(SAGE_F32, {1, 2, 1, 50, 140, 20}, 8), dirty = clean;
      dirty.Q().Set({0, 1, 17, 5}, value);
      REQUIRE(RunOn(cpu, clean) == "");
      REQUIRE(RunOn(cpu, dirty) == "");
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t i = 0; i < 50; ++i)
          if (h != 1 || i != 17) REQUIRE(SameRow(clean, dirty, h, i));
      CHECK(std::isnan(dirty.O().At({0, 1, 17, 0})) == !std::isfinite(value));
    }
  }
}

TEST_CASE("SCORES has what it should for keys that parts cannot hold and nobody may see") {
  Oracle oracle;
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    AttentionCase attention(SAGE_F32, {1, 2, 2, 9, 40, 16}, 9);
    attention.Causal(SAGE_ALIGN_TOP_LEFT);
    attention[SAGE_ATTN_SCORES] = OwnedTensor(SAGE_F32, {1, 2, 9, 40}).Fill(7);
    for (int64_t c = 0; c < 16; ++c) attention.K().Set({0, 0, 30, c}, c == 2 ? 0x1p57 : 0);
    attention.Scale(0x1p-50);
    CHECK(Disagreement(attention, cpu.instance, oracle.instance) == "");
    AttentionCase plain = attention;
    plain[SAGE_ATTN_SCORES] = OwnedTensor();
    plain.attributes.algorithm = SAGE_ALGORITHM_MATERIALISED;
    REQUIRE(RunOn(cpu, plain) == "");
    CHECK(BitwiseEqual(plain.O(), attention.O()));
  }
}

TEST_CASE("numbers that parts cannot hold: any number of threads and every repetition give the same bits") {
  for (const std::string& isa : Isas()) {
    AttentionCase one(SAGE_F32, {2, 4, 2, 130, 200, 32}, 10);
    one.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
    for (int64_t j = 0; j < 200; j += 23) one.K().Set({0, 0, j, 3}, 1e-33), one.V().Set({1, 1, j, 5}, 1e30);
    for (int64_t i = 0; i < 130; i += 11) one.Q().Set({1, 3, i, 0}, 1e-33);
    CpuBackend alone(isa);
    REQUIRE(RunOn(alone, one) == "");
    for (const uint32_t workers : {1u, 2u, 3u}) {
      AttentionCase many = one;
      many.O().Fill(7);
      CpuBackend cpu(isa, workers, Threads::kReal);
      REQUIRE(RunOn(cpu, many) == "");
      CHECK(BitwiseEqual(one.O(), many.O()));
    }
  }
}

TEST_CASE("a machine without AVX-512 leaves AMX untested here") {
  if (Isas().empty()) MESSAGE("this machine lacks avx512: AMX was not tested here, not even emulated");
}

}  // namespace sage::test
