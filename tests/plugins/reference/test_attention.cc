// The core of attention: shapes, dtypes, layouts, causal, windows, scale and closed forms.
#include <doctest/doctest.h>

#include "naive_attention.h"
#include "reference_table.h"

using namespace sage::test;

namespace {

// f64 is held to what two orders of summation may differ by; the rest to half a step of O's dtype.
double Tolerance(sage_dtype dtype) {
  switch (dtype) {
    case SAGE_F64:
      return 1e-13;
    case SAGE_F32:
      return 5e-7;
    case SAGE_F16:
      return 2e-3;
    default:
      return 1.6e-2;
  }
}

double ErrorOf(AttentionCase& c, Naive naive = {}) {
  Reference reference;
  const RunResult result = c.Run(reference.instance);
  CHECK_MESSAGE(result.status == SAGE_OK, result.message);
  naive.Compute(c);
  return Error(c.O(), naive.o);
}

}  // namespace

TEST_CASE("P1 forward equals the formula for the listed shapes, P4 grouped heads and cross attention") {
  const AttentionShape shapes[] = {{2, 8, 8, 16, 16, 64},   {2, 12, 4, 16, 16, 64}, {1, 4, 4, 8, 8, 64},
                                   {1, 8, 8, 128, 128, 64}, {2, 12, 4, 16, 40, 64}, {2, 8, 8, 33, 17, 64},
                                   {1, 12, 4, 1, 128, 64}};
  for (const AttentionShape& shape : shapes) {
    CAPTURE(shape.heads_q);
    CAPTURE(shape.seq_q);
    CAPTURE(shape.seq_kv);
    AttentionCase c(SAGE_F32, shape, 11);
    CHECK(ErrorOf(c) < Tolerance(SAGE_F32));
  }
}

TEST_CASE("P5 N1 N2 every float dtype, d_v != d_qk, odd sizes and one shared V") {
  for (const sage_dtype dtype : {SAGE_F64, SAGE_F32, SAGE_F16, SAGE_BF16}) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      std::mt19937_64 random(seed);
      const auto up_to = [&](int64_t n) { return 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
      AttentionShape shape{up_to(2), 1, up_to(2), up_to(19), up_to(37), up_to(70), up_to(70)};
      shape.heads_q = shape.heads_k * up_to(3);
      if (seed % 3 == 0) shape.heads_v = 1;
      CAPTURE(dtype);
      CAPTURE(seed);
      AttentionCase c(dtype, shape, seed * 10);
      CHECK(ErrorOf(c) < Tolerance(dtype));
    }
  }
}

TEST_CASE("N1 the blocked kernel's float64 shapes, held to 1e-10") {
  const AttentionShape shapes[] = {{2, 1, 1, 64, 64, 32}, {2, 1, 1, 128, 128, 64}};
  for (const AttentionShape& shape : shapes) {
    AttentionCase c(SAGE_F64, shape, 5);
    CHECK(ErrorOf(c) < 1e-13);
  }
}

TEST_CASE("R1 R3 the seed's shapes: 16 x 16 of d 8, cross attention 8 on 16 of d 4") {
  AttentionCase square(SAGE_F32, {1, 1, 1, 16, 16, 8}, 1);
  CHECK(ErrorOf(square) < 1e-6);
  AttentionCase cross(SAGE_F32, {1, 1, 1, 8, 16, 4}, 2);
  CHECK(ErrorOf(cross) < 1e-6);
}

TEST_CASE("R1 causal with constant scores averages what came before: i/2 + 1") {
  AttentionCase c(SAGE_F32, {1, 1, 1, 8, 8, 4}, 3);
  c.Q().Fill(1.0);
  c.K().Fill(1.0);
  c.V().FillBy([](uint64_t i) { return static_cast<double>(i / 4 + 1); });
  c.Causal(SAGE_ALIGN_TOP_LEFT);
  Reference reference;
  REQUIRE(Failure(c.Run(reference.instance)) == "");
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t d = 0; d < 4; ++d)
      CHECK(c.O().At({0, 0, i, d}) == doctest::Approx((static_cast<double>(i) + 2) / 2).epsilon(1e-7));
}

TEST_CASE("R9 heads are independent: H S d equals each head alone, to the bit") {
  AttentionCase all(SAGE_F32, {1, 3, 3, 5, 7, 4}, 4);
  Reference reference;
  REQUIRE(Failure(all.Run(reference.instance)) == "");
  for (int64_t h = 0; h < 3; ++h) {
    AttentionCase one(SAGE_F32, {1, 1, 1, 5, 7, 4}, 0);
    one.Q().FillBy([&](uint64_t i) { return all.Q().Get(static_cast<uint64_t>(h) * 20 + i); });
    one.K().FillBy([&](uint64_t i) { return all.K().Get(static_cast<uint64_t>(h) * 28 + i); });
    one.V().FillBy([&](uint64_t i) { return all.V().Get(static_cast<uint64_t>(h) * 28 + i); });
    REQUIRE(Failure(one.Run(reference.instance)) == "");
    for (uint64_t i = 0; i < one.O().size(); ++i)
      CHECK(one.O().Get(i) == all.O().Get(static_cast<uint64_t>(h) * 20 + i));
  }
}

TEST_CASE("R10 closed form of softmax over 1,2,3 and then 2.5,1.5") {
  AttentionCase c(SAGE_F64, {1, 1, 1, 1, 5, 1, 4}, 0);
  c.Q().Fill(1.0);
  c.K().FillValues({1, 2, 3, 2.5, 1.5});
  c.V().FillValues({1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1});
  c.Scale(1.0).WithLse();
  Reference reference;
  REQUIRE(Failure(c.Run(reference.instance)) == "");
  const double expected[] = {0.1536, 0.2533, 0.5243, 0.3556};
  for (int64_t d = 0; d < 4; ++d) CHECK(std::fabs(c.O().At({0, 0, 0, d}) - expected[d]) < 1e-4);
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(3.0) + std::exp(2.5) + std::exp(1.5);
  CHECK(c.O().At({0, 0, 0, 0}) == doctest::Approx((std::exp(1.0) + std::exp(1.5)) / sum).epsilon(1e-14));
  CHECK(c[SAGE_ATTN_LSE].Get(0) == doctest::Approx(std::log(sum)).epsilon(1e-14));
}

TEST_CASE("P2 R4 causal: top-left and bottom-right, Sq shorter, equal and longer than Skv") {
  for (const auto& [rows, keys] : {std::pair{4, 9}, {6, 6}, {9, 4}, {1, 12}}) {
    for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
      CAPTURE(rows);
      CAPTURE(keys);
      CAPTURE(alignment);
      AttentionCase c(SAGE_F64, {2, 2, 1, rows, keys, 5}, 8);
      c.Causal(alignment).WithLse();
      const int64_t shift = alignment == SAGE_ALIGN_TOP_LEFT ? 0 : keys - rows;
      Naive naive;
      naive.visible = [&](int64_t, int64_t, int64_t i, int64_t j) { return j <= i + shift; };
      CHECK(ErrorOf(c, naive) < 1e-14);
      naive.Compute(c);
      CHECK(Error(c[SAGE_ATTN_LSE], naive.lse) < 1e-13);
    }
  }
  // One query on a cache: the first key alone, or all of them.
  AttentionCase decode(SAGE_F64, {1, 1, 1, 1, 6, 3}, 9);
  decode.V().FillBy([](uint64_t i) { return i < 3 ? 1.0 : 100.0; });
  Reference reference;
  decode.Causal(SAGE_ALIGN_TOP_LEFT);
  REQUIRE(Failure(decode.Run(reference.instance)) == "");
  CHECK(decode.O().Get(0) == 1.0);
  decode.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
  REQUIRE(Failure(decode.Run(reference.instance)) == "");
  CHECK(decode.O().Get(0) > 2.0);
}

TEST_CASE("N3 causal: row i keeps its bits when K and V after i change, to NaN as well") {
  AttentionCase before(SAGE_F64, {1, 2, 2, 9, 9, 4}, 12);
  before.Causal(SAGE_ALIGN_TOP_LEFT);
  AttentionCase after = before;
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t d = 0; d < 4; ++d) {
      for (int64_t j = 5; j < 9; ++j) {
        after.V().Set({0, h, j, d}, j == 5 ? 1e30 : NAN);
        after.K().Set({0, h, j, d}, j == 5 ? HUGE_VAL : NAN);
      }
    }
  }
  Reference reference;
  REQUIRE(Failure(before.Run(reference.instance)) == "");
  REQUIRE(Failure(after.Run(reference.instance)) == "");
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t i = 0; i < 5; ++i)
      for (int64_t d = 0; d < 4; ++d) CHECK(before.O().At({0, h, i, d}) == after.O().At({0, h, i, d}));
  CHECK(std::isnan(after.O().At({0, 0, 8, 0})));
}

TEST_CASE("R19 windows: i-W+1 to i, two-sided, one-sided, shifted, and too large to matter") {
  const struct {
    int64_t left, right;
    uint32_t alignment;
  } cases[] = {{3, 0, SAGE_ALIGN_TOP_LEFT},        {2, 1, SAGE_ALIGN_BOTTOM_RIGHT},
               {-1, 2, SAGE_ALIGN_TOP_LEFT},       {4, -1, SAGE_ALIGN_BOTTOM_RIGHT},
               {0, 0, SAGE_ALIGN_BOTTOM_RIGHT},    {INT64_MAX, INT64_MAX, SAGE_ALIGN_BOTTOM_RIGHT},
               {INT64_MAX, 0, SAGE_ALIGN_TOP_LEFT}};
  for (const auto& w : cases) {
    for (const auto& [rows, keys] : {std::pair{7, 11}, {11, 7}}) {
      CAPTURE(w.left);
      CAPTURE(w.right);
      CAPTURE(rows);
      AttentionCase c(SAGE_F64, {1, 2, 2, rows, keys, 6}, 14);
      c.Window(w.left, w.right, w.alignment);
      const int64_t shift = w.alignment == SAGE_ALIGN_TOP_LEFT ? 0 : keys - rows;
      Naive naive;
      naive.visible = [&](int64_t, int64_t, int64_t i, int64_t j) {
        const int64_t behind = i + shift - j;
        return (w.left < 0 || behind <= w.left) && (w.right < 0 || -behind <= w.right);
      };
      CHECK(ErrorOf(c, naive) < 1e-14);
    }
  }
}

TEST_CASE("P3 scale: .1, .125, a true 0 and a negative one are meant as given") {
  for (const double scale : {0.1, 0.125, 0.0, -0.5}) {
    AttentionCase c(SAGE_F64, {1, 2, 2, 3, 5, 7}, 15);
    c.Scale(scale);
    Naive naive;
    naive.scale = scale;
    CHECK(ErrorOf(c, naive) < 1e-14);
  }
}

TEST_CASE("P1 any strides: B S H D, packed QKV, reversed, repeated, unaligned") {
  AttentionCase plain(SAGE_F32, {2, 3, 3, 5, 6, 4}, 16);
  AttentionCase strange = plain;
  strange.Q() = OwnedTensor::Ordered(SAGE_F32, {2, 3, 5, 4}, {0, 2, 1, 3}, 1);
  strange.K() = OwnedTensor(SAGE_F32, {2, 3, 6, 4}, {-72, 24, -4, 1}, 3);
  strange.V() = OwnedTensor(SAGE_F32, {2, 3, 6, 4}, {1, 48, 2, 12}, 2);
  strange.O() = OwnedTensor::Ordered(SAGE_F32, {2, 3, 5, 4}, {3, 2, 1, 0}, 1);
  strange.Q().FillValues(plain.Q().Values());
  strange.K().FillValues(plain.K().Values());
  strange.V().FillValues(plain.V().Values());
  Reference reference;
  REQUIRE(Failure(plain.Run(reference.instance)) == "");
  REQUIRE(Failure(strange.Run(reference.instance)) == "");
  CHECK(MaxDifference(plain.O(), strange.O()) == 0);

  AttentionCase repeated = plain;  // one head of K for all, by stride 0
  repeated.K() = OwnedTensor(SAGE_F32, {2, 3, 6, 4}, {24, 0, 4, 1}).FillNormal(3);
  plain.K().FillValues(repeated.K().Values());
  REQUIRE(Failure(plain.Run(reference.instance)) == "");
  REQUIRE(Failure(repeated.Run(reference.instance)) == "");
  CHECK(MaxDifference(plain.O(), repeated.O()) == 0);
}

TEST_CASE("P4 grouped heads equal repeated heads, to the bit") {
  AttentionCase grouped(SAGE_F32, {2, 12, 4, 5, 9, 8}, 17);
  AttentionCase repeated(SAGE_F32, {2, 12, 12, 5, 9, 8}, 17);
  const auto repeat = [&](uint32_t slot) {
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < 12; ++h)
        for (int64_t j = 0; j < 9; ++j)
          for (int64_t d = 0; d < 8; ++d) repeated[slot].Set({b, h, j, d}, grouped[slot].At({b, h / 3, j, d}));
  };
  repeat(SAGE_ATTN_K);
  repeat(SAGE_ATTN_V);
  Reference reference;
  REQUIRE(Failure(grouped.Run(reference.instance)) == "");
  REQUIRE(Failure(repeated.Run(reference.instance)) == "");
  CHECK(BitwiseEqual(grouped.O(), repeated.O()));
}

TEST_CASE("N5 large logits stay finite and exact") {
  AttentionCase c(SAGE_F64, {1, 1, 1, 4, 16, 8}, 18);
  c.Q().FillUniform(1, 0, 10);  // scores up to 6e3: long double still holds their exp
  c.K().FillUniform(2, 0, 100);
  c.K().Set({0, 0, 3, 2}, 1000.0);
  c.WithLse();
  Reference reference;
  REQUIRE(Failure(c.Run(reference.instance)) == "");
  Naive naive;
  naive.Compute(c);
  CHECK(Error(c.O(), naive.o) < 1e-10);
  AttentionCase opposite = c;  // logits of -1e4 and less
  opposite.Q().FillBy([&](uint64_t i) { return -10 * c.Q().Get(i); });
  REQUIRE(Failure(opposite.Run(reference.instance)) == "");
  for (const double value : opposite.O().Values()) CHECK(std::isfinite(value));
  CHECK(opposite[SAGE_ATTN_LSE].Get(0) < -1e3);
}

TEST_CASE("R11 no key to see: zeros, and LSE of -inf") {
  Reference reference;
  AttentionCase empty(SAGE_F32, {2, 2, 2, 3, 0, 4}, 19);
  empty.WithLse();
  REQUIRE(Failure(empty.Run(reference.instance)) == "");
  for (const double value : empty.O().Values()) CHECK(value == 0);
  for (const double value : empty[SAGE_ATTN_LSE].Values()) CHECK(value == -HUGE_VAL);

  AttentionCase masked(SAGE_F32, {1, 2, 2, 3, 5, 4}, 20);
  masked.WithLse().OverScores(SAGE_ATTN_MASK, SAGE_BOOL).Fill(1);
  masked.OverScores(SAGE_ATTN_WEIGHTS, SAGE_F32).Fill(7);
  for (int64_t j = 0; j < 5; ++j) masked[SAGE_ATTN_MASK].Set({0, 1, 2, j}, 0);
  REQUIRE(Failure(masked.Run(reference.instance)) == "");
  for (int64_t d = 0; d < 4; ++d) CHECK(masked.O().At({0, 1, 2, d}) == 0);
  CHECK(masked[SAGE_ATTN_LSE].At({0, 1, 2}) == -HUGE_VAL);
  CHECK(masked[SAGE_ATTN_WEIGHTS].At({0, 1, 2, 0}) == 0);
  CHECK(std::isfinite(masked[SAGE_ATTN_LSE].At({0, 1, 1})));
  CHECK(masked.O().At({0, 1, 1, 0}) != 0);
}

TEST_CASE("R11 empty shapes run: no queries, no batch, no width of V") {
  Reference reference;
  AttentionCase no_queries(SAGE_F32, {1, 2, 2, 0, 4, 4}, 21);
  CHECK(Failure(no_queries.Run(reference.instance)) == "");
  AttentionCase no_batch(SAGE_F32, {0, 2, 2, 3, 4, 4}, 21);
  CHECK(Failure(no_batch.Run(reference.instance)) == "");
}

TEST_CASE("R23 any number of workers gives the same bits") {
  AttentionCase c(SAGE_F32, {2, 4, 2, 65, 129, 16}, 22);
  c.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
  Reference one;
  REQUIRE(Failure(c.Run(one.instance)) == "");
  for (const uint32_t workers : {2u, 3u, 8u}) {
    for (const Threads threads : {Threads::kReal, Threads::kSimulated}) {
      AttentionCase again = c;
      Reference many(workers, threads);
      again.O().Fill(-3);
      REQUIRE(Failure(again.Run(many.instance)) == "");
      CHECK(BitwiseEqual(c.O(), again.O()));
      CHECK(BitwiseEqual(c[SAGE_ATTN_LSE], again[SAGE_ATTN_LSE]));
    }
  }
}
