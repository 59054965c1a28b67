// Every feature bit of attention beyond the core and the sequences: masks, biases, outputs, dropout, scales.
#include <doctest/doctest.h>

#include <array>

#include "../../../plugins/common/philox.h"
#include "attention_cases.h"
#include "naive_attention.h"

using namespace sage::test;

TEST_CASE("P8 bool mask, bit mask and a bias of -inf agree to the bit, masked NaN and Inf stay out") {
  AttentionCase boolean(SAGE_F32, {2, 2, 1, 5, 19, 4, 3}, 31);
  boolean.WithLse();
  AttentionCase bits = boolean, bias = boolean;
  boolean.OverScores(SAGE_ATTN_MASK, SAGE_BOOL).FillIntegers(7, 0, 1);
  bits[SAGE_ATTN_BIT_MASK] = OwnedTensor(SAGE_U8, {2, 2, 5, 3});
  bias.OverScores(SAGE_ATTN_BIAS, SAGE_F32);
  const OwnedTensor& mask = boolean[SAGE_ATTN_MASK];
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t i = 0; i < 5; ++i) {
        for (int64_t j = 0; j < 19; ++j) {
          const bool keep = mask.At({b, h, i, j}) != 0;
          const double byte = bits[SAGE_ATTN_BIT_MASK].At({b, h, i, j / 8});
          bits[SAGE_ATTN_BIT_MASK].Set({b, h, i, j / 8}, byte + (keep ? 1 << (j % 8) : 0));
          if (!keep) bias[SAGE_ATTN_BIAS].Set({b, h, i, j}, -HUGE_VAL);
        }
      }
    }
  }
  Run(boolean), Run(bits), Run(bias);
  CHECK(BitwiseEqual(boolean.O(), bits.O()));
  CHECK(BitwiseEqual(boolean.O(), bias.O()));
  CHECK(BitwiseEqual(boolean[SAGE_ATTN_LSE], bias[SAGE_ATTN_LSE]));
  Naive naive;
  naive.visible = [&](int64_t b, int64_t h, int64_t i, int64_t j) { return mask.At({b, h, i, j}) != 0; };
  naive.Compute(boolean);
  CHECK(Error(boolean.O(), naive.o) < 1e-6);

  // A key no query may see holds anything.
  AttentionCase poisoned = boolean;
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t h = 0; h < 2; ++h) poisoned[SAGE_ATTN_MASK].Set({0, h, i, 6}, 0);
  AttentionCase clean = poisoned;
  poisoned.K().Set({0, 0, 6, 0}, NAN);
  poisoned.V().Set({0, 0, 6, 1}, -HUGE_VAL);
  Run(clean), Run(poisoned);
  CHECK(BitwiseEqual(clean.O(), poisoned.O()));
  CHECK(BitwiseEqual(clean[SAGE_ATTN_LSE], poisoned[SAGE_ATTN_LSE]));
}

TEST_CASE("P8 additive bias, repeated over batch and heads by stride 0, in f32 and in Q's dtype") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F16}) {
    AttentionCase c(SAGE_F16, {2, 2, 2, 3, 7, 4}, 32);
    c.O() = OwnedTensor(SAGE_F16, {2, 2, 3, 4});
    c[SAGE_ATTN_BIAS] = OwnedTensor(dtype, {2, 2, 3, 7}, {0, 0, 7, 1}).FillNormal(8);
    Run(c);
    Naive naive;
    naive.added = [&](int64_t b, int64_t h, int64_t i, int64_t j) { return c[SAGE_ATTN_BIAS].At({b, h, i, j}); };
    naive.Compute(c);
    CHECK(Error(c.O(), naive.o) < 2e-3);
  }
}

TEST_CASE("R17 block and CSR masks equal the dense mask they stand for, element-wise CSR too") {
  for (const auto& [tile_q, tile_kv] : {std::pair{4, 3}, {1, 1}, {16, 64}}) {
    AttentionCase dense(SAGE_F64, {2, 3, 3, 9, 11, 4}, 33);
    AttentionCase block = dense, csr = dense;
    const int64_t rows = (9 + tile_q - 1) / tile_q, columns = (11 + tile_kv - 1) / tile_kv;
    OwnedTensor tiles = OwnedTensor(SAGE_U8, {1, 3, rows, columns}).FillIntegers(9, 0, 1);
    std::vector<double> starts, indices;
    for (int64_t h = 0; h < 3; ++h) {
      for (int64_t r = 0; r < rows; ++r) {
        starts.push_back(static_cast<double>(indices.size()));
        for (int64_t t = 0; t < columns; ++t)
          if (tiles.At({0, h, r, t}) != 0) indices.push_back(static_cast<double>(t));
      }
      starts.push_back(static_cast<double>(indices.size()));
    }
    dense.OverScores(SAGE_ATTN_MASK, SAGE_BOOL);
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < 3; ++h)
        for (int64_t i = 0; i < 9; ++i)
          for (int64_t j = 0; j < 11; ++j)
            dense[SAGE_ATTN_MASK].Set({b, h, i, j}, tiles.At({0, h, i / tile_q, j / tile_kv}));
    for (AttentionCase* c : {&block, &csr}) {
      c->attributes.mask_block_q = static_cast<uint32_t>(tile_q);
      c->attributes.mask_block_kv = static_cast<uint32_t>(tile_kv);
    }
    block[SAGE_ATTN_BLOCK_MASK] = tiles.FillBy([&](uint64_t i) { return tiles.Get(i) * 5; });  // not 0 = keep
    csr.Integers(SAGE_ATTN_CSR_INDPTR, {1, 3, rows + 1}, starts);
    csr.Integers(SAGE_ATTN_CSR_INDICES, {static_cast<int64_t>(indices.size())}, indices);
    Run(dense), Run(block), Run(csr);
    CHECK(BitwiseEqual(dense.O(), block.O()));
    CHECK(BitwiseEqual(dense.O(), csr.O()));
  }
}

TEST_CASE("attention: softcap comes before bias and ALiBi") {
  AttentionCase c(SAGE_F64, {1, 2, 2, 5, 8, 4}, 34);
  c.Q().FillNormal(1, 6.0);
  c.attributes.softcap = 2.5;
  c.attributes.alignment = SAGE_ALIGN_BOTTOM_RIGHT;
  c.OverScores(SAGE_ATTN_BIAS, SAGE_F64).FillNormal(2, 3.0);
  c[SAGE_ATTN_ALIBI] = OwnedTensor(SAGE_F64, {2}).FillValues({0.5, 0.0625});
  c.WithLse().OverScores(SAGE_ATTN_SCORES, SAGE_F64);
  Run(c);
  const auto added = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    const double slope = h == 0 ? 0.5 : 0.0625;
    return c[SAGE_ATTN_BIAS].At({b, h, i, j}) - slope * std::fabs(static_cast<double>(i + 3 - j));
  };
  Naive naive;
  naive.capped = [](double s) { return 2.5 * std::tanh(s / 2.5); };
  naive.added = added;
  naive.Compute(c);
  CHECK(Error(c.O(), naive.o) < 1e-13);
  CHECK(Error(c[SAGE_ATTN_LSE], naive.lse) < 1e-12);
  // SCORES are the capped, biased scores, before anything is masked.
  double dot = 0;
  for (int64_t d = 0; d < 4; ++d) dot += c.Q().At({0, 1, 2, d}) * c.K().At({0, 1, 7, d});
  CHECK(c[SAGE_ATTN_SCORES].At({0, 1, 2, 7}) ==
        doctest::Approx(2.5 * std::tanh(dot / 2 / 2.5) + added(0, 1, 2, 7)).epsilon(1e-13));
}

TEST_CASE("attention: sinks join the denominator only, a row with nothing else to see is 0 with the sink as LSE") {
  AttentionCase c(SAGE_F32, {2, 3, 3, 4, 6, 5}, 35);
  c[SAGE_ATTN_SINKS] = OwnedTensor(SAGE_F32, {3}).FillValues({0.5, -4.0, 30.0});
  c.WithLse().OverScores(SAGE_ATTN_MASK, SAGE_BOOL).Fill(1);
  c.OverScores(SAGE_ATTN_WEIGHTS, SAGE_F32);
  for (int64_t j = 0; j < 6; ++j) c[SAGE_ATTN_MASK].Set({1, 0, 3, j}, 0);
  Run(c);
  Naive naive;
  naive.visible = [](int64_t b, int64_t h, int64_t i, int64_t) { return !(b == 1 && h == 0 && i == 3); };
  naive.sink = [&](int64_t h) { return c[SAGE_ATTN_SINKS].At({h}); };
  naive.Compute(c);
  CHECK(Error(c.O(), naive.o) < 1e-6);
  CHECK(Error(c[SAGE_ATTN_LSE], naive.lse) < 4e-6);
  CHECK(Error(c[SAGE_ATTN_WEIGHTS], naive.weights) < 1e-7);
  CHECK(c.O().At({1, 0, 3, 0}) == 0);
  CHECK(c[SAGE_ATTN_LSE].At({1, 0, 3}) == 0.5);
  // A sink of -inf is no sink.
  AttentionCase without = c;
  without[SAGE_ATTN_SINKS] = OwnedTensor();
  c[SAGE_ATTN_SINKS].Fill(-HUGE_VAL);
  Run(c), Run(without);
  CHECK(BitwiseEqual(c.O(), without.O()));
  CHECK(BitwiseEqual(c[SAGE_ATTN_LSE], without[SAGE_ATTN_LSE]));
}

TEST_CASE("R10 partials of a split over keys merge by their LSE into the whole, the sink added once") {
  AttentionCase whole(SAGE_F64, {1, 2, 2, 3, 13, 4}, 36);
  whole.WithLse();
  AttentionCase sunk = whole;
  sunk[SAGE_ATTN_SINKS] = OwnedTensor(SAGE_F64, {2}).FillValues({0.7, -1.0});
  Run(whole), Run(sunk);
  for (const int64_t split : {1, 5, 12}) {
    AttentionCase left = Alone(whole, 0, 0, 3, 0, split, false),
                  right = Alone(whole, 0, 0, 3, split, 13 - split, false);
    Run(left), Run(right);
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t i = 0; i < 3; ++i) {
        const double a = left[SAGE_ATTN_LSE].At({0, h, i}), b = right[SAGE_ATTN_LSE].At({0, h, i});
        const double sink = sunk[SAGE_ATTN_SINKS].At({h});
        const double lse = std::log(std::exp(a) + std::exp(b)), with_sink = std::log(std::exp(lse) + std::exp(sink));
        CHECK(whole[SAGE_ATTN_LSE].At({0, h, i}) == doctest::Approx(lse).epsilon(1e-13));
        CHECK(sunk[SAGE_ATTN_LSE].At({0, h, i}) == doctest::Approx(with_sink).epsilon(1e-13));
        for (int64_t d = 0; d < 4; ++d) {
          const double sum = std::exp(a) * left.O().At({0, h, i, d}) + std::exp(b) * right.O().At({0, h, i, d});
          CHECK(std::fabs(whole.O().At({0, h, i, d}) - sum / std::exp(lse)) < 1e-13);
          CHECK(std::fabs(sunk.O().At({0, h, i, d}) - sum / std::exp(with_sink)) < 1e-13);
        }
      }
    }
  }
}

TEST_CASE("attention: WEIGHTS sum to one, are 0 where masked and times V give O, SCORES keep masked scores") {
  AttentionCase c(SAGE_F64, {1, 4, 2, 6, 6, 5, 3, 1}, 37);
  c.Causal(SAGE_ALIGN_TOP_LEFT);
  c.OverScores(SAGE_ATTN_WEIGHTS, SAGE_F64);
  c.OverScores(SAGE_ATTN_SCORES, SAGE_F64);
  Run(c);
  for (int64_t h = 0; h < 4; ++h) {
    for (int64_t i = 0; i < 6; ++i) {
      double sum = 0, first = 0;
      for (int64_t j = 0; j < 6; ++j) {
        const double weight = c[SAGE_ATTN_WEIGHTS].At({0, h, i, j});
        CHECK((j > i ? weight == 0 : weight > 0));
        CHECK(c[SAGE_ATTN_SCORES].At({0, h, i, j}) != 0);
        sum += weight;
        first += weight * c.V().At({0, 0, j, 0});
      }
      CHECK(sum == doctest::Approx(1.0).epsilon(1e-14));
      CHECK(std::fabs(first - c.O().At({0, h, i, 0})) < 1e-14);
    }
  }
  // What one layer gives out as SCORES, the next takes as BIAS.
  AttentionCase next = c;
  next[SAGE_ATTN_BIAS] = c[SAGE_ATTN_SCORES];
  Run(next);
  CHECK(next[SAGE_ATTN_SCORES].At({0, 1, 2, 4}) ==
        doctest::Approx(2 * c[SAGE_ATTN_SCORES].At({0, 1, 2, 4})).epsilon(1e-14));
}

TEST_CASE("attention: SCORES and WEIGHTS are 0 past the keys in use") {
  AttentionCase c(SAGE_F32, {1, 1, 1, 2, 5, 4}, 38);
  c.Integers(SAGE_ATTN_SEQUSED_K, {1}, {3});
  c.K().Set({0, 0, 4, 0}, NAN);
  c.OverScores(SAGE_ATTN_WEIGHTS, SAGE_F32).Fill(5);
  c.OverScores(SAGE_ATTN_SCORES, SAGE_F32).Fill(5);
  Run(c);
  for (const uint32_t slot : {SAGE_ATTN_WEIGHTS, SAGE_ATTN_SCORES}) {
    CHECK(c[slot].At({0, 0, 1, 2}) != 0);
    CHECK(c[slot].At({0, 0, 1, 3}) == 0);
    CHECK(c[slot].At({0, 0, 1, 4}) == 0);
  }
}

TEST_CASE("attention: Philox 4x32-10 gives the published words") {
  using sage::plugins::Philox4x32;
  using Words = sage::plugins::PhiloxBlock;
  CHECK(Philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  CHECK(sage::plugins::PhiloxWord(0, 0, 2) == 0xbc57ac4c);
}

TEST_CASE("P9 dropout keeps what Philox says, scaled, WEIGHTS and LSE are those before it, a seed repeats") {
  AttentionCase c(SAGE_F64, {2, 2, 1, 3, 9, 4}, 41);
  c.WithLse().OverScores(SAGE_ATTN_WEIGHTS, SAGE_F64);
  AttentionCase plain = c;
  c.attributes.dropout_p = 0.3;
  c[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2}).FillValues({1234567, 5});
  Run(plain), Run(c);
  CHECK(BitwiseEqual(plain[SAGE_ATTN_WEIGHTS], c[SAGE_ATTN_WEIGHTS]));
  CHECK(BitwiseEqual(plain[SAGE_ATTN_LSE], c[SAGE_ATTN_LSE]));
  int dropped = 0;
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t i = 0; i < 3; ++i) {
        double expected = 0;
        for (int64_t j = 0; j < 9; ++j) {
          const auto n = static_cast<uint64_t>(((b * 2 + h) * 3 + i) * 9 + j);
          const sage::plugins::PhiloxBlock words =
              sage::plugins::Philox4x32({static_cast<uint32_t>(5 + n / 4), 0, 0, 0}, {1234567, 0});
          const bool kept = words.word[n % 4] >= 0.3 * 4294967296.0;
          dropped += !kept;
          if (kept) expected += c[SAGE_ATTN_WEIGHTS].At({b, h, i, j}) / 0.7 * c.V().At({b, 0, j, 2});
        }
        CHECK(std::fabs(c.O().At({b, h, i, 2}) - expected) < 1e-14);
      }
    }
  }
  CHECK(dropped > 15);
  CHECK(dropped < 50);
  AttentionCase again = c;
  Run(again);
  CHECK(BitwiseEqual(again.O(), c.O()));
  AttentionCase other = c;
  other[SAGE_ATTN_PHILOX].FillValues({1234568, 5});
  Run(other);
  CHECK(!BitwiseEqual(other.O(), c.O()));
}

TEST_CASE("R5 R20 integer and fp8 operands with scales of every granularity equal their dequantised values") {
  for (const sage_dtype dtype : {SAGE_I8, SAGE_I16, SAGE_F8_E4M3FN, SAGE_F8_E5M2}) {
    for (const uint32_t granularity :
         {SAGE_PER_TENSOR, SAGE_PER_HEAD, SAGE_PER_TOKEN, SAGE_PER_CHANNEL, SAGE_PER_BLOCK}) {
      CAPTURE(dtype);
      CAPTURE(granularity);
      AttentionCase c(dtype, {2, 2, 2, 3, 5, 4}, 42);
      for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) c[slot].FillIntegers(slot + 1, -14, 14);
      AttentionCase real(SAGE_F64, {2, 2, 2, 3, 5, 4}, 42);
      c.attributes.granularity_q = c.attributes.granularity_k = c.attributes.granularity_v = granularity;
      if (granularity == SAGE_PER_BLOCK) c.attributes.scale_block = 2;
      for (const auto& [slot, scale_slot] : {std::pair{SAGE_ATTN_Q, SAGE_ATTN_SCALE_Q},
                                             {SAGE_ATTN_K, SAGE_ATTN_SCALE_K},
                                             {SAGE_ATTN_V, SAGE_ATTN_SCALE_V}}) {
        const int64_t rows = c[slot].dim(2);
        const int64_t last = granularity == SAGE_PER_TOKEN     ? rows
                             : granularity == SAGE_PER_CHANNEL ? 4
                                                               : (rows + 1) / 2;
        const int64_t front = slot == SAGE_ATTN_Q ? 2 : 1;  // [B,..] and [1,..]
        if (granularity == SAGE_PER_TENSOR)
          c[scale_slot] = OwnedTensor(SAGE_F32, {1});
        else if (granularity == SAGE_PER_HEAD)
          c[scale_slot] = OwnedTensor(SAGE_F32, {front, 2});
        else
          c[scale_slot] = OwnedTensor(SAGE_F32, {front, 2, last});
        c[scale_slot].FillUniform(scale_slot, 0.02, 0.1);
        for (int64_t b = 0; b < 2; ++b)
          for (int64_t h = 0; h < 2; ++h)
            for (int64_t s = 0; s < rows; ++s)
              for (int64_t d = 0; d < 4; ++d) {
                const int64_t f = front == 1 ? 0 : b;
                double scale = 0;
                if (granularity == SAGE_PER_TENSOR) scale = c[scale_slot].At({0});
                if (granularity == SAGE_PER_HEAD) scale = c[scale_slot].At({f, h});
                if (granularity == SAGE_PER_TOKEN) scale = c[scale_slot].At({f, h, s});
                if (granularity == SAGE_PER_CHANNEL) scale = c[scale_slot].At({f, h, d});
                if (granularity == SAGE_PER_BLOCK) scale = c[scale_slot].At({f, h, s / 2});
                real[slot].Set({b, h, s, d}, scale * c[slot].At({b, h, s, d}));
              }
      }
      // Scaled on the way out as well: O = value / scale.
      c.attributes.granularity_o = SAGE_PER_TENSOR;
      c[SAGE_ATTN_SCALE_O] = OwnedTensor(SAGE_F32, {1}).Fill(0.25);
      c.attributes.granularity_p = SAGE_PER_TENSOR;
      c[SAGE_ATTN_SCALE_P] = OwnedTensor(SAGE_F32, {1}).Fill(1.0 / 127);
      Run(c), Run(real);
      for (uint64_t i = 0; i < c.O().size(); ++i) CHECK(std::fabs(c.O().Get(i) * 0.25 - real.O().Get(i)) < 1e-6);
    }
  }
}

TEST_CASE("R5 the seed's INT8 case: error of quantisation only") {
  AttentionCase real(SAGE_F32, {1, 1, 1, 8, 8, 4}, 43);
  AttentionCase quantised(SAGE_I8, {1, 1, 1, 8, 8, 4}, 0);
  quantised.attributes.granularity_q = quantised.attributes.granularity_k = quantised.attributes.granularity_v =
      SAGE_PER_TENSOR;
  for (const auto& [slot, scale] : {std::pair{SAGE_ATTN_Q, SAGE_ATTN_SCALE_Q},
                                    {SAGE_ATTN_K, SAGE_ATTN_SCALE_K},
                                    {SAGE_ATTN_V, SAGE_ATTN_SCALE_V}}) {
    double largest = 0;
    for (const double value : real[slot].Values()) largest = std::max(largest, std::fabs(value));
    quantised[scale] = OwnedTensor(SAGE_F32, {1}).Fill(largest / 127);
    const OwnedTensor& source = real[slot];
    quantised[slot].FillBy([&](uint64_t i) { return std::nearbyint(source.Get(i) / largest * 127); });
  }
  Run(real), Run(quantised);
  CHECK(MaxDifference(real.O(), quantised.O()) < 0.02);
  CHECK(MaxDifference(real.O(), quantised.O()) > 0);
}

TEST_CASE("attention: K and V narrower than Q") {
  AttentionCase c(SAGE_F32, {1, 2, 2, 3, 5, 4}, 44);
  AttentionCase same = c;
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
    c[slot] = OwnedTensor(SAGE_BF16, {1, 2, 5, 4}).FillValues(same[slot].Values());
    same[slot].FillValues(c[slot].Values());
  }
  Run(c), Run(same);
  CHECK(BitwiseEqual(c.O(), same.O()));
}
