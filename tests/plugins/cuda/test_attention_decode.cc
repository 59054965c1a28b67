// test_attention_decode.cc: the decode kernel, its own text, against the float64 oracle: splits of the keys and their
// merge, pages, lengths, rows appended. How many splits there are is test_decode_plan.cc's.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "../cpu/attention_testing.h"
#include "attention_emulated.h"
#include "attention_mixtures.h"

namespace sage::test {
namespace {

std::string Disagreement(AttentionCase& attention, uint64_t seed, int32_t splits = 0) {
  return EmulatedDisagreement(Kernel::kDecode, attention, seed, 0, splits);
}

void CheckMixtures(sage_dtype dtype, uint64_t first, uint64_t count, int64_t largest_dim, bool appends) {
  uint64_t run = 0, appended = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionMixture mixture(seed);
    mixture.FewQueries();
    if (appends) mixture.Appends();
    AttentionCase attention = mixture.Draw(dtype, largest_dim, false);
    const auto splits = static_cast<int32_t>(seed % 9);  // 0: as many as pay
    CAPTURE(splits);
    const std::string text = Disagreement(attention, seed, splits);
    if (text.find("takes up to 64 rows") != std::string::npos) continue;
    CHECK(text == "");
    ++run, appended += attention.aliases != 0;
  }
  CHECK(run > count / 2);
  CHECK(appended >= (appends ? count / 2 : 0));
}

// One query of each sequence, of several lengths.
AttentionCase Decode(const std::vector<double>& lengths, int64_t capacity, int64_t heads_q, int64_t heads_k,
                     uint64_t seed, int64_t dim = 64) {
  const auto batch = static_cast<int64_t>(lengths.size());
  AttentionCase attention(
      SAGE_BF16,
      {.batch = batch, .heads_q = heads_q, .heads_k = heads_k, .seq_q = 1, .seq_kv = capacity, .dim_qk = dim}, seed);
  attention.Integers(SAGE_ATTN_SEQUSED_K, {batch}, lengths);
  attention.WithLse();
  return attention;
}

void Append(AttentionCase& attention, int64_t rows, uint64_t seed) {
  const OwnedTensor& q = attention.Q();
  const int64_t heads = attention.K().dim(1);
  attention[SAGE_ATTN_K_NEW] = OwnedTensor(SAGE_BF16, {q.dim(0), heads, rows, q.dim(3)}).FillNormal(seed);
  attention[SAGE_ATTN_V_NEW] = OwnedTensor(SAGE_BF16, {q.dim(0), heads, rows, q.dim(3)}).FillNormal(seed + 1);
  attention.aliases = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
}

// The same K and V in pages; their order is that of table, whose entries beyond the pool are no page.
void Page(AttentionCase& attention, int64_t page, const std::vector<double>& table) {
  const int64_t batch = attention.Q().dim(0), heads = attention.K().dim(1), dim = attention.K().dim(3);
  const auto entries = static_cast<int64_t>(table.size()) / batch;
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
    OwnedTensor pool(SAGE_BF16, {static_cast<int64_t>(table.size()) + 1, heads, page, dim});
    pool.Fill(std::nan(""));  // whatever is not in use
    for (int64_t n = 0; n < batch * entries; ++n)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t j = 0; j < page; ++j)
          for (int64_t d = 0; d < dim; ++d)
            if (table[static_cast<size_t>(n)] >= 0 && table[static_cast<size_t>(n)] < static_cast<double>(pool.dim(0)))
              pool.Set({static_cast<int64_t>(table[static_cast<size_t>(n)]), h, j, d},
                       attention[slot].At({n / entries, h, n % entries * page + j, d}));
    attention[slot] = pool;
  }
  attention.Integers(SAGE_ATTN_BLOCK_TABLE, {batch, entries}, table);
}

bool SameOutputs(const AttentionCase& a, const AttentionCase& b) {
  return a.O().bytes() == b.O().bytes() && a[SAGE_ATTN_LSE].bytes() == b[SAGE_ATTN_LSE].bytes();
}

}  // namespace

TEST_CASE("P5 cuda decode kernel: mixtures agree with the oracle in bf16") {
  CheckMixtures(SAGE_BF16, 1, 100, 128, false);
}
TEST_CASE("P5 cuda decode kernel: mixtures agree with the oracle in f16") {
  CheckMixtures(SAGE_F16, 1001, 100, 128, false);
}
TEST_CASE("P5 cuda decode kernel: mixtures with appended rows agree with the oracle") {
  CheckMixtures(SAGE_BF16, 2001, 80, 128, true);
  CheckMixtures(SAGE_F16, 3001, 40, 128, true);
}
TEST_CASE("P5 cuda decode kernel: mixtures of wide heads agree with the oracle") {
  CheckMixtures(SAGE_BF16, 4001, 40, 256, false);
  CheckMixtures(SAGE_F16, 5001, 40, 256, true);
}

TEST_CASE("P5 cuda decode kernel: every padded head dimension in splits") {
  const struct {
    int64_t qk, v;
  } dims[] = {{8, 8},     {32, 32},   {40, 64},  {96, 96},   {128, 128}, {64, 128}, {136, 136},
              {192, 128}, {192, 192}, {200, 64}, {256, 256}, {64, 256},  {250, 33}};
  for (const auto& [qk, v] : dims) {
    for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16}) {
      CAPTURE(qk);
      CAPTURE(v);
      AttentionCase attention(dtype, {.heads_q = 6, .heads_k = 2, .seq_q = 2, .seq_kv = 450, .dim_qk = qk, .dim_v = v},
                              5);
      attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
      CHECK(Disagreement(attention, 9, 3) == "");
    }
  }
}

TEST_CASE("P7 cuda decode kernel: lengths round the edges of slices and tiles in any number of splits") {
  for (int32_t splits = 0; splits <= 8; ++splits) {
    CAPTURE(splits);
    AttentionCase attention = Decode({0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 300}, 300, 2, 1, 21, 32);
    CHECK(Disagreement(attention, static_cast<uint64_t>(splits) + 1, splits) == "");
    for (int64_t h = 0; h < 2; ++h) {
      CHECK(attention.O().At({0, h, 0, 5}) == 0);
      CHECK(attention[SAGE_ATTN_LSE].At({0, h, 0}) == -HUGE_VAL);
    }
  }
}

TEST_CASE("P4 cuda decode kernel: heads that share a head of K are packed") {
  for (const int64_t group : {1, 3, 4, 8, 16, 20, 64}) {
    CAPTURE(group);
    AttentionCase attention = Decode({130, 70}, 140, 2 * group, 2, 23, 32);
    CHECK(Disagreement(attention, 4, 2) == "");
  }
}

TEST_CASE("cuda decode kernel: with splits asked for a sequence has the same bits in any batch") {
  for (const int32_t splits : {1, 3, 4, 7}) {
    CAPTURE(splits);
    AttentionCase three = Decode({517, 290, 33}, 600, 4, 2, 25);
    CHECK(Disagreement(three, 1, splits) == "");
    for (int64_t b = 0; b < 3; ++b) {
      CAPTURE(b);
      AttentionCase alone = Decode({three[SAGE_ATTN_SEQUSED_K].At({b})}, 600, 4, 2, 25);
      for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) alone[slot] = Part(three[slot], 0, b, 1);
      CHECK(RunEmulated(Kernel::kDecode, alone, 7, splits) == "");
      CHECK(SameBits(alone.O(), Part(three.O(), 0, b, 1)));
      CHECK(SameBits(alone[SAGE_ATTN_LSE], Part(three[SAGE_ATTN_LSE], 0, b, 1)));
    }
  }
}

// Many tickets, and many rows to write before each: a block that is told too early that it is the last finds NaN.
TEST_CASE("S15 cuda decode kernel: every order of blocks and threads gives the same bits") {
  const auto check = [](AttentionCase first, int32_t splits) {
    CHECK(Disagreement(first, 1, splits) == "");
    for (uint64_t seed = 2; seed <= 8; ++seed) {
      CAPTURE(seed);
      AttentionCase again = first;
      again.O().Fill(7), again[SAGE_ATTN_LSE].Fill(7);
      CHECK(RunEmulated(Kernel::kDecode, again, seed, splits) == "");
      CHECK(SameOutputs(again, first));
    }
  };
  check(Decode({500, 499, 64}, 500, 6, 2, 27), 5);
  check(Decode(std::vector<double>(16, 120), 128, 16, 1, 27, 32), 2);
}

TEST_CASE("P7 cuda decode kernel: pages in any order have the bits of one piece") {
  for (const int64_t page : {1, 16, 64}) {
    CAPTURE(page);
    const int64_t capacity = 256, entries = capacity / page;
    AttentionCase whole = Decode({250, 129}, capacity, 4, 2, 29, 32), paged = whole;
    CHECK(Disagreement(whole, 3, 3) == "");
    std::vector<double> table(static_cast<size_t>(2 * entries));
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<double>(i);
    std::mt19937_64 random(5);
    std::shuffle(table.begin(), table.end(), random);
    Page(paged, page, table);
    CHECK(RunEmulated(Kernel::kDecode, paged, 4, 3) == "");
    CHECK(SameOutputs(paged, whole));
  }
}

TEST_CASE("P7 cuda decode kernel: a page that is not there is zeros and lengths are not believed") {
  AttentionCase whole = Decode({180}, 192, 2, 1, 31, 32), paged = whole;
  Page(paged, 16, {3, 0, -1, 5, 1, 12, 4, 7, 8, 1000000, 10, 11});
  for (int64_t j = 0; j < 16; ++j)
    for (int64_t d = 0; d < 32; ++d)
      for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
        whole[slot].Set({0, 0, 32 + j, d}, 0), whole[slot].Set({0, 0, 144 + j, d}, 0);
      }
  CHECK(Disagreement(whole, 3, 2) == "");
  CHECK(RunEmulated(Kernel::kDecode, paged, 4, 2) == "");
  CHECK(SameOutputs(paged, whole));

  AttentionCase wild = Decode({0, 0}, 100, 2, 1, 33, 16);
  wild[SAGE_ATTN_SEQUSED_K].FillValues({100000, -5});
  CHECK(RunEmulated(Kernel::kDecode, wild, 1, 2) == "");
  AttentionCase tame = Decode({100, 0}, 100, 2, 1, 33, 16);
  CHECK(Disagreement(tame, 1, 2) == "");
  CHECK(SameOutputs(wild, tame));
}

TEST_CASE("P7 cuda decode kernel: appended rows are seen and written once, with pages and without") {
  for (const int32_t splits : {1, 4}) {
    for (const int64_t rows : {1, 5, 70}) {
      CAPTURE(splits);
      CAPTURE(rows);
      AttentionCase attention = Decode({0, 63, 150}, 220, 4, 2, 35, 32);
      Append(attention, rows, 37);
      AttentionCase paged = attention;
      CHECK(Disagreement(attention, 3, splits) == "");
      std::vector<double> table(3 * 14);
      for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<double>((i * 5) % table.size());
      // Of a capacity that pages of 16 fill.
      AttentionCase wide = Decode({0, 63, 150}, 224, 4, 2, 35, 32);
      Append(wide, rows, 37);
      paged = wide;
      Page(paged, 16, table);
      CHECK(Disagreement(paged, 5, splits) == "");
      CHECK(Disagreement(wide, 5, splits) == "");
      CHECK(SameOutputs(paged, wide));
    }
  }
}

TEST_CASE("P7 cuda decode kernel: rows beyond the cache are neither written nor seen") {
  // Room for 3 of 5; behind it another sequence's rows.
  AttentionCase attention = Decode({61, 10}, 64, 2, 1, 39, 16);
  Append(attention, 5, 41);
  AttentionCase fits = Decode({61, 10}, 64, 2, 1, 39, 16), after = fits;
  CHECK(RunEmulated(Kernel::kDecode, attention, 3, 2) == "");
  for (int64_t j = 0; j < 64; ++j) {
    const bool fresh = j >= 61;
    CHECK(attention.K().At({0, 0, j, 7}) ==
          (fresh ? attention[SAGE_ATTN_K_NEW].At({0, 0, j - 61, 7}) : fits.K().At({0, 0, j, 7})));
    CHECK(attention.V().At({1, 0, j, 7}) ==
          (j >= 10 && j < 15 ? attention[SAGE_ATTN_V_NEW].At({1, 0, j - 10, 7}) : fits.V().At({1, 0, j, 7})));
  }
  // As if all of them had been there.
  after.K() = attention.K(), after.V() = attention.V();
  after.Integers(SAGE_ATTN_SEQUSED_K, {2}, {64, 15});
  CHECK(Disagreement(after, 3, 2) == "");
  CHECK(SameOutputs(attention, after));
}

// Without a second look at rows that are not finite: what no row of a tile sees is never multiplied.
TEST_CASE("P5 cuda decode kernel: NaN beyond a length or a window is not even read") {
  AttentionCase attention = Decode({100}, 130, 2, 1, 43, 32);
  attention.Window(20, 0, SAGE_ALIGN_BOTTOM_RIGHT);
  for (int64_t j = 0; j < 130; ++j) {
    if (j >= 79 && j < 100) continue;
    for (int64_t d = 0; d < 32; ++d)
      attention.K().Set({0, 0, j, d}, std::nan("")), attention.V().Set({0, 0, j, d}, HUGE_VAL);
  }
  cuda::AttentionArguments a = ArgumentsOf(attention);
  CHECK(LaunchDecodeEmulated(a, cuda::Properties(), nullptr, 3, false) == "");
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t d = 0; d < 32; ++d) CHECK(std::isfinite(attention.O().At({0, h, 0, d})));
  CHECK(Disagreement(attention, 3, 1) == "");
}

TEST_CASE("P5 cuda decode kernel: NaN and Inf behind a key that a row does not see touch nothing") {
  for (const double poison : {std::nan(""), HUGE_VAL})
    for (const int32_t splits : {1, 3}) {
      for (const bool appended : {false, true}) {
        CAPTURE(poison);
        CAPTURE(splits);
        CAPTURE(appended);
        AttentionCase attention(SAGE_BF16, {.heads_q = 4, .heads_k = 2, .seq_q = 6, .seq_kv = 300, .dim_qk = 32}, 45);
        attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
        if (appended) {
          attention.Integers(SAGE_ATTN_SEQUSED_K, {1}, {294});
          Append(attention, 6, 47);
        }
        // The fourth query sees it, those before do not.
        OwnedTensor &k = appended ? attention[SAGE_ATTN_K_NEW] : attention.K(),
                    &v = appended ? attention[SAGE_ATTN_V_NEW] : attention.V();
        for (int64_t d = 0; d < 32; ++d) {
          k.Set({0, 0, appended ? 3 : 297, d}, poison);
          v.Set({0, 1, appended ? 3 : 297, d}, poison);
        }
        CHECK(Disagreement(attention, 3, splits) == "");
        for (int64_t h = 0; h < 4; ++h)
          for (int64_t i = 0; i < 3; ++i) CHECK(std::isfinite(attention.O().At({0, h, i, 7})));
      }
    }
}

TEST_CASE("P5 cuda decode kernel: what it does not take has a reason") {
  cuda::AttentionArguments a;
  a.seq_q = 16, a.heads_q = 8, a.heads_k = a.heads_v = 2;
  CHECK(cuda::DecodeRefusal(a) == nullptr);
  a.seq_q = 17;
  CHECK(std::string(cuda::DecodeRefusal(a)).find("takes up to 64 rows") != std::string::npos);
  a.seq_q = 1, a.dim_v = 257;
  CHECK(std::string(cuda::DecodeRefusal(a)).find("up to 256") != std::string::npos);
}

}  // namespace sage::test
