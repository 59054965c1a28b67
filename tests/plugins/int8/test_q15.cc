// test_q15.cc: attention in 16-bit fixed point: its distance from float64, and the bits that must not depend on
// anything.
#include <doctest/doctest.h>

#include <numeric>
#include <random>

#include "../cpu/attention_random.h"
#include "q15_testing.h"

namespace sage::test {
namespace {

constexpr double kR20 = 0x1p-11;
constexpr double kHalfStep = 0x1p-16;

// What q15.h promises is far below R20.
void CheckNear(AttentionCase attention, int64_t keys) {
  Oracle oracle;
  for (const std::string& isa : Q15Isas()) {
    CAPTURE(isa);
    for (const uint32_t workers : {1u, 3u}) {
      Int8Backend q15(isa, "auto", workers);
      AttentionCase codes = attention, floats = WithFloatOutput(attention);
      const Q15Result of_codes = ErrorOf(codes, q15.instance, oracle.instance);
      REQUIRE(of_codes.failure == "");
      CHECK(of_codes.error <= kR20);
      CHECK(of_codes.error <= kHalfStep + Q15Error(keys));
      const Q15Result of_floats = ErrorOf(floats, q15.instance, oracle.instance);
      REQUIRE(of_floats.failure == "");
      CHECK(of_floats.error <= Q15Error(keys) + 0x1p-24);
    }
  }
}

// Each scale a float of its own, per tensor or per head: values stay within [-1, 1).
void DrawScales(AttentionCase* attention, uint64_t seed) {
  std::mt19937_64 random(seed);
  WithScales(*attention, 0x1p-15, 0x1p-15, 0x1p-15, 0x1p-15);
  const bool packed = attention->Q().rank() == 3;
  sage_attention_attributes& attributes = attention->attributes;
  const struct {
    uint32_t operand, slot;
    uint32_t* granularity;
  } operands[] = {{SAGE_ATTN_Q, SAGE_ATTN_SCALE_Q, &attributes.granularity_q},
                  {SAGE_ATTN_K, SAGE_ATTN_SCALE_K, &attributes.granularity_k},
                  {SAGE_ATTN_V, SAGE_ATTN_SCALE_V, &attributes.granularity_v},
                  {SAGE_ATTN_O, SAGE_ATTN_SCALE_O, &attributes.granularity_o}};
  for (const auto& [operand, slot, granularity] : operands) {
    const bool per_head = random() % 2 == 0;
    const int64_t batch = packed ? 1 : attention->Q().dim(0), heads = (*attention)[operand].dim(1);
    const std::vector<int64_t> shape =
        per_head ? std::vector<int64_t>{random() % 2 == 0 ? 1 : batch, heads} : std::vector<int64_t>{1};
    // O's are not below V's: saturation has a test of its own.
    const bool wide = slot == SAGE_ATTN_SCALE_O;
    (*attention)[slot] =
        OwnedTensor(SAGE_F32, shape).FillUniform(random(), wide ? 0x1p-15 : 0x1p-18, wide ? 0x1p-14 : 0x1p-15);
    *granularity = per_head ? SAGE_PER_HEAD : SAGE_PER_TENSOR;
  }
}

void ExpectSame(const AttentionCase& a, const AttentionCase& b) {
  for (const std::string& isa : Q15Isas()) {
    CAPTURE(isa);
    Int8Backend q15(isa, "auto", 3);
    AttentionCase first = a, second = b;
    REQUIRE(Failure(first.Run(q15.instance)) == "");
    REQUIRE(Failure(second.Run(q15.instance)) == "");
    CHECK(SameBits(first.O(), second.O()));
  }
}

}  // namespace

TEST_CASE("R20 Q15 attention is within 2^-11 of float64: shapes of every kind") {
  std::mt19937_64 random(20);
  const int64_t dims[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 40, 64, 65, 80, 127, 128, 192, 255, 256};
  uint64_t seed = 1;
  for (const int64_t dim : dims) {
    const int64_t keys = std::vector<int64_t>{1, 2, 3, 5, 63, 64, 65, 129, 300}[random() % 9];
    const int64_t queries = 1 + static_cast<int64_t>(random() % 20);
    AttentionCase attention = Q15Case({2, 4, 2, queries, keys, dim, 1 + static_cast<int64_t>(random() % 80)}, seed++);
    if (random() % 2 == 0) attention.Causal(random() % 2 == 0 ? SAGE_ALIGN_TOP_LEFT : SAGE_ALIGN_BOTTOM_RIGHT);
    CAPTURE(dim);
    CAPTURE(keys);
    CheckNear(attention, keys);
  }
}

TEST_CASE("R20 Q15 attention is within 2^-11 of float64: 4096 keys, and long heads") {
  CheckNear(Q15Case({1, 2, 1, 3, 4096, 64}, 1), 4096);
  CheckNear(Q15Case({1, 1, 1, 1, 4095, 17}, 2), 4095);
  // One weight of 1 and thousands that 16 bits would not show: together they are as much as it.
  AttentionCase faint = Q15Case({1, 1, 1, 1, 4096, 1}, 3).Scale(8.32);
  faint.Q().Fill(32767);
  faint.K().FillBy([](uint64_t i) { return i == 0 ? 32767.0 : 0.0; });
  faint.V().FillBy([](uint64_t i) { return i == 0 ? 32767.0 : -32768.0; });
  CheckNear(faint, 4096);
  for (const int64_t dim : {300, 512, 1000}) CheckNear(Q15Case({1, 1, 1, 3, 70, dim, 16}, 4), 70);
}

TEST_CASE("R20 Q15 attention is within 2^-11 of float64: random mixtures of what it serves") {
  Oracle oracle;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    AttentionCase attention = RandomAttention(seed).Draw(SAGE_F32);
    for (const uint32_t slot :
         {SAGE_ATTN_LSE, SAGE_ATTN_BIAS, SAGE_ATTN_MASK, SAGE_ATTN_BIT_MASK, SAGE_ATTN_BLOCK_MASK, SAGE_ATTN_CSR_INDPTR,
          SAGE_ATTN_CSR_INDICES, SAGE_ATTN_ALIBI, SAGE_ATTN_SINKS, SAGE_ATTN_WEIGHTS, SAGE_ATTN_SCORES})
      attention[slot] = OwnedTensor();
    attention.attributes.softcap = 0;
    attention.attributes.mask_block_q = attention.attributes.mask_block_kv = 0;
    attention.attributes.algorithm = SAGE_ALGORITHM_AUTO;
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O, SAGE_ATTN_K_NEW, SAGE_ATTN_V_NEW})
      if (attention[slot].present()) attention[slot] = CodesLike(attention[slot], seed * 8 + slot);
    DrawScales(&attention, seed);
    for (const std::string& isa : Q15Isas()) {
      CAPTURE(seed);
      CAPTURE(isa);
      Int8Backend q15(isa, "auto", seed % 2 == 0 ? 1 : 3);
      AttentionCase got = attention;
      const Q15Result result = ErrorOf(got, q15.instance, oracle.instance);
      REQUIRE(result.failure == "");
      CHECK(result.error <= kR20);
      CHECK(result.error <= 2 * kHalfStep + Q15Error(400));  // steps of O are up to 2^-14
    }
  }
}

TEST_CASE("R20 Q15 attention is within 2^-11 of float64: the ends of the codes") {
  const double ends[] = {-32768, 32767};
  for (const double q : ends) {
    for (const double k : ends) {
      for (const double v : ends) {
        AttentionCase attention = Q15Case({1, 1, 1, 2, 65, 300, 33}, 1);
        attention.Q().Fill(q), attention.K().Fill(k), attention.V().Fill(v);
        CheckNear(attention, 65);
        Int8Backend q15;
        REQUIRE(Failure(attention.Run(q15.instance)) == "");
        CHECK(attention.O().Get(0) == v);  // all keys are equal, and so are all values
      }
    }
  }
  std::mt19937_64 random(3);
  AttentionCase mixed = Q15Case({1, 2, 1, 9, 200, 64}, 1);
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V})
    mixed[slot].FillBy([&](uint64_t) { return ends[random() % 2]; });
  CheckNear(mixed, 200);
}

TEST_CASE("R20 Q15 equal keys give the mean of the values, one key above all others gives its value") {
  AttentionCase equal = Q15Case({1, 1, 1, 1, 1000, 32}, 5);
  equal.K().Fill(-12345);
  CheckNear(equal, 1000);
  AttentionCase single = Q15Case({1, 1, 1, 1, 1000, 32}, 6);
  single.Scale(100);
  single.Q().Fill(30000);
  single.K().FillBy([](uint64_t i) { return i / 32 == 617 ? 30000.0 : -30000.0; });
  for (const std::string& isa : Q15Isas()) {
    Int8Backend q15(isa);
    REQUIRE(Failure(single.Run(q15.instance)) == "");
    for (int64_t c = 0; c < 32; ++c) CHECK(single.O().At({0, 0, 0, c}) == single.V().At({0, 0, 617, c}));
  }
}

TEST_CASE("R20 Q15 any scale: none, below 0, and far beyond what a weight shows") {
  for (const double scale : {0.0, -0.125, -3.0, 1e-12, 1e-40, 1e-300, 50.0, 1e6, 1e30, 1e300, -1e300}) {
    CAPTURE(scale);
    CheckNear(Q15Case({1, 1, 1, 3, 130, 24}, 7).Scale(scale), 130);
  }
}

TEST_CASE("R20 Q15 saturates O where its scale is too small for the values") {
  AttentionCase attention = Q15Case({1, 1, 1, 1, 3, 8, 4}, 1);
  attention.K().Fill(0);
  attention.V().FillBy([](uint64_t i) { return std::array<double, 4>{32767, -32768, 3, 0}[i % 4]; });
  WithScales(attention, 0x1p-15, 0x1p-15, 0x1p-15, 0x1p-17);
  for (const std::string& isa : Q15Isas()) {
    Int8Backend q15(isa);
    REQUIRE(Failure(attention.Run(q15.instance)) == "");
    CHECK(attention.O().Values() == std::vector<double>{32767, -32768, 12, 0});
    AttentionCase extreme = attention;
    WithScales(extreme, 0x1p-15, 0x1p-15, 1e30, 1e-30);
    REQUIRE(Failure(extreme.Run(q15.instance)) == "");
    CHECK(extreme.O().Values() == std::vector<double>{32767, -32768, 32767, 0});
    WithScales(extreme, 0x1p-15, 0x1p-15, 1e-30, 1e30);
    REQUIRE(Failure(extreme.Run(q15.instance)) == "");
    CHECK(extreme.O().Values() == std::vector<double>{0, 0, 0, 0});
  }
}

TEST_CASE("R20 Q15 every instruction set and any number of threads give the same bits") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    AttentionCase attention =
        Q15Case({2, 6, 2, 37, 150 + static_cast<int64_t>(seed), 40 + static_cast<int64_t>(seed)}, seed);
    if (seed % 2 == 0) attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
    OwnedTensor first;
    for (const std::string& isa : Q15Isas()) {
      for (const uint32_t workers : {1u, 2u, 3u, 8u}) {
        Int8Backend q15(isa, "auto", workers, workers == 2 ? Threads::kReal : Threads::kSimulated);
        REQUIRE(Failure(attention.Run(q15.instance)) == "");
        if (!first.present()) first = attention.O();
        CHECK(SameBits(attention.O(), first));
      }
    }
    AttentionCase plain = attention;
    plain.requirements = SAGE_REQUIRE_SCALAR;
    Int8Backend q15;
    const RunResult result = plain.Run(q15.instance);
    CHECK(std::string(result.answer.reason).find("scalar") != std::string::npos);
    CHECK(SameBits(plain.O(), first));
  }
}

TEST_CASE("R20 Q15 keys in any order and tiles of any size give the same bits") {
  const AttentionCase attention = Q15Case({1, 4, 2, 5, 333, 48, 20}, 9);
  std::vector<int64_t> order(333);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  AttentionCase shuffled = attention;
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V})
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t j = 0; j < 333; ++j)
        for (int64_t c = 0; c < attention[slot].dim(3); ++c)
          shuffled[slot].Set({0, h, j, c}, attention[slot].At({0, h, order[static_cast<size_t>(j)], c}));
  ExpectSame(attention, shuffled);
  for (const uint32_t rows : {1u, 3u, 64u, 65536u}) {
    for (const uint32_t keys : {1u, 7u, 64u, 100u, 65536u}) {
      AttentionCase tiled = attention;
      tiled.attributes.block_q = rows, tiled.attributes.block_kv = keys;
      ExpectSame(attention, tiled);
    }
  }
}

TEST_CASE("R20 Q15 a causal row keeps its bits when later keys change") {
  AttentionCase attention = Q15Case({1, 2, 1, 90, 90, 16}, 11), changed = attention;
  attention.Causal(SAGE_ALIGN_TOP_LEFT), changed.Causal(SAGE_ALIGN_TOP_LEFT);
  for (int64_t j = 50; j < 90; ++j)
    for (int64_t c = 0; c < 16; ++c) changed.K().Set({0, 0, j, c}, -32768), changed.V().Set({0, 0, j, c}, 32767);
  for (const std::string& isa : Q15Isas()) {
    Int8Backend q15(isa);
    REQUIRE(Failure(attention.Run(q15.instance)) == "");
    REQUIRE(Failure(changed.Run(q15.instance)) == "");
    CHECK(SameBits(Part(attention.O(), 2, 0, 50), Part(changed.O(), 2, 0, 50)));
    CHECK_FALSE(SameBits(Part(attention.O(), 2, 50, 40), Part(changed.O(), 2, 50, 40)));
  }
}

TEST_CASE("R20 R19 Q15 keys outside of a window are not computed") {
  Int8Backend q15;
  AttentionCase attention = Q15Case({1, 1, 1, 512, 512, 16}, 12);
  attention.Causal(SAGE_ALIGN_TOP_LEFT).Window(15, 0, SAGE_ALIGN_TOP_LEFT);
  REQUIRE(Failure(attention.Run(q15.instance)) == "");
  // 64 blocks of 8 rows see 23 keys each: one tile of 64 or two.
  CHECK(q15.host.counted("tiles_computed") < 2 * 64);
  CHECK(q15.host.counted("tiles_computed") + q15.host.counted("tiles_skipped") == 64 * 8);
}

}  // namespace sage::test
