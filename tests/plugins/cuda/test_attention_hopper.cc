// test_attention_hopper.cc: the Hopper kernel's own text, run by the emulation, against the float64 oracle: shapes with
// tails, masks, layouts, and what a caller may put into memory that no query sees.
#include <doctest/doctest.h>

#include <limits>

#include "hopper_testing.h"

namespace sage::test {
namespace {

constexpr sage_dtype kTypes[] = {SAGE_BF16, SAGE_F16};

// Under several seeds of the emulation: what lands when differs.
void CheckUnder(const AttentionCase& call, std::initializer_list<uint64_t> seeds, uint32_t blocks = 2) {
  HopperOracle oracle;
  for (const uint64_t seed : seeds) {
    CAPTURE(seed);
    CHECK(HopperDisagreement(call, seed, oracle, blocks) == "");
  }
}

AttentionCase Call(sage_dtype dtype, int64_t dim, int64_t seq_q, int64_t seq_kv, int64_t heads_q = 1,
                   int64_t heads_k = 1, int64_t batch = 1) {
  return AttentionCase(dtype, {batch, heads_q, heads_k, seq_q, seq_kv, dim}, 17).WithLse();
}

}  // namespace

TEST_CASE("P2 Hopper attention is the oracle's under every seed of the emulation") {
  for (const sage_dtype dtype : kTypes) {
    AttentionCase call = Call(dtype, 64, 300, 500, 2);
    CheckUnder(call, {1, 2, 3, 4, 5, 6, 7, 8});
    CheckUnder(call.Causal(SAGE_ALIGN_BOTTOM_RIGHT), {1, 2, 3, 4, 5, 6, 7, 8});
  }
}

TEST_CASE("P2 Hopper attention of odd lengths") {
  uint64_t seed = 0;
  for (const int64_t dim : {64, 128})
    for (const int64_t seq_q : {1, 7, 64, 127, 128, 129})
      for (const int64_t seq_kv : {1, 63, 128, 129, 257}) {
        CAPTURE(dim);
        CAPTURE(seq_q);
        CAPTURE(seq_kv);
        ++seed;
        AttentionCase call = Call(kTypes[seed % 2], dim, seq_q, seq_kv);
        if (seed % 3 == 1) call.Causal(SAGE_ALIGN_TOP_LEFT);
        if (seed % 3 == 2) call.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
        CheckUnder(call, {seed});
      }
}

TEST_CASE("P2 Hopper attention of rows that fill no chunk of 64") {
  uint64_t seed = 0;
  for (const int64_t dim : {8, 40, 72, 96, 120, 136, 192, 256}) {
    CAPTURE(dim);
    AttentionCase call = Call(kTypes[++seed % 2], dim, 70, 140, 2, 1);
    CheckUnder(call.Causal(SAGE_ALIGN_BOTTOM_RIGHT), {seed});
    AttentionCase differs(kTypes[seed % 2], {1, 2, 1, 40, 90, dim, dim == 8 ? 64 : dim - 8}, seed);
    CheckUnder(differs.WithLse(), {seed + 1});
  }
}

TEST_CASE("P2 Hopper attention under windows") {
  HopperOracle oracle;
  uint64_t seed = 0;
  for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT})
    for (const int64_t left : {-1, 0, 30, 128, 200})
      for (const int64_t right : {-1, 0, 17}) {
        CAPTURE(alignment);
        CAPTURE(left);
        CAPTURE(right);
        AttentionCase call = Call(kTypes[++seed % 2], 64, 260, 390).Window(left, right, alignment);
        if (seed % 4 == 0) call.Causal(alignment);
        CHECK(HopperDisagreement(call, seed, oracle) == "");
        AttentionCase more_queries = Call(kTypes[seed % 2], 64, 300, 100).Window(left, right, alignment);
        CHECK(HopperDisagreement(more_queries, seed, oracle) == "");
      }
}

TEST_CASE("P2 Hopper attention shares heads of K and of V") {
  for (const int64_t heads_v : {1, 2, 4}) {
    AttentionCase call(SAGE_BF16, {2, 8, 4, 130, 150, 64, 64, heads_v}, 3);
    CheckUnder(call.WithLse().Causal(SAGE_ALIGN_BOTTOM_RIGHT), {1, 2}, 3);
  }
}

TEST_CASE("P2 Hopper attention scales by zero and by less") {
  for (const double scale : {0.0, -0.2, 0.5, 1e-3}) {
    CAPTURE(scale);
    CheckUnder(Call(SAGE_F16, 64, 70, 200).Scale(scale).Causal(SAGE_ALIGN_BOTTOM_RIGHT), {1, 2});
  }
}

TEST_CASE("P2 Hopper attention follows strides") {
  for (const sage_dtype dtype : kTypes) {
    AttentionCase call = Call(dtype, 64, 140, 200, 4, 2, 2);
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
      const OwnedTensor& dense = call[slot];
      const std::vector<int64_t> shape{dense.dim(0), dense.dim(1), dense.dim(2), dense.dim(3)};
      call[slot] = OwnedTensor::Ordered(dtype, shape, {0, 2, 1, 3}).FillValues(dense.Values());
    }
    CheckUnder(call.Causal(SAGE_ALIGN_TOP_LEFT), {1, 2});
  }
}

TEST_CASE("P2 Hopper attention: a key that is not seen never touches the result") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V})
    for (const double poison : {kNan, kInf, -kInf}) {
      CAPTURE(slot);
      CAPTURE(poison);
      AttentionCase call = Call(SAGE_BF16, 64, 40, 90);
      call.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      call[slot].Set({0, 0, 70, 5}, poison);  // seen by the last twenty queries
      if (slot == SAGE_ATTN_K) {
        // What those make of it is NaN or Inf in an order of their own: they are looked at as rows that see it.
        call.Window(3, 0, SAGE_ALIGN_BOTTOM_RIGHT);
        call[slot].Set({0, 0, 70, 5}, 0.5);
        call[slot].Set({0, 0, 10, 5}, poison);  // now seen by none
      }
      CheckUnder(call, {1, 2});
    }
  AttentionCase padded = Call(SAGE_F16, 64, 33, 200, 2, 1, 2);
  padded.Integers(SAGE_ATTN_SEQUSED_K, {2}, {100, 0});
  for (int64_t j = 100; j < 200; ++j)
    for (int64_t d = 0; d < 64; ++d) padded.K().Set({0, 0, j, d}, kNan), padded.V().Set({0, 0, j, d}, kInf);
  padded.V().Set({1, 0, 0, 0}, kNan);
  CheckUnder(padded, {1, 2});
}

TEST_CASE("P2 Hopper attention of lengths in use, empty ones too") {
  for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
    AttentionCase call = Call(SAGE_BF16, 64, 150, 260, 2, 1, 4);
    call.Integers(SAGE_ATTN_SEQUSED_Q, {4}, {150, 1, 0, 129});
    call.Integers(SAGE_ATTN_SEQUSED_K, {4}, {0, 260, 17, 128});
    CheckUnder(call, {1, 2}, 3);
    CheckUnder(call.Causal(alignment), {3, 4}, 3);
  }
  CheckUnder(Call(SAGE_BF16, 64, 5, 0), {1});
}

TEST_CASE("P2 Hopper attention of packed sequences") {
  const std::vector<double> starts_q{0, 1, 130, 130, 400}, starts_k{0, 70, 200, 333, 500};
  for (const int64_t dim : {64, 128})
    for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
      AttentionCase call = Call(kTypes[dim == 64], dim, 1, 1);
      call.Q() = OwnedTensor(call.Q().dtype(), {400, 4, dim}).FillNormal(1);
      call.K() = OwnedTensor(call.Q().dtype(), {500, 2, dim}).FillNormal(2);
      call.V() = OwnedTensor(call.Q().dtype(), {500, 2, dim}).FillNormal(3);
      call.O() = OwnedTensor(call.Q().dtype(), {400, 4, dim});
      call.Integers(SAGE_ATTN_CU_SEQLENS_Q, {5}, starts_q);
      call.Integers(SAGE_ATTN_CU_SEQLENS_K, {5}, starts_k);
      call.WithLse();
      CheckUnder(call, {1, 2});
      CheckUnder(call.Causal(alignment), {3, 4});
    }
}

TEST_CASE("P2 Hopper attention of pages") {
  HopperOracle oracle;
  uint64_t seed = 0;
  for (const int64_t page : {8, 16, 64, 128, 256}) {
    const int64_t per_sequence = 512 / page, pages = 2 * per_sequence + 3;
    for (const int64_t dim : {64, 128}) {
      CAPTURE(page);
      CAPTURE(dim);
      AttentionCase call = Call(kTypes[++seed % 2], dim, 100, 1, 4, 2, 2);
      const sage_dtype dtype = call.Q().dtype();
      call.K() = OwnedTensor(dtype, {pages, 2, page, dim}).FillNormal(seed + 10);
      call.V() = OwnedTensor(dtype, {pages, 2, page, dim}).FillNormal(seed + 20);
      std::vector<double> table;  // backwards, and what lies past the lengths names no page
      const double used[] = {static_cast<double>(512 - page / 2), 129};
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t i = 0; i < per_sequence; ++i)
          table.push_back(static_cast<double>(i * page) < used[b] ? static_cast<double>(pages - 1 - 2 * i - b) : 1e9);
      call.Integers(SAGE_ATTN_BLOCK_TABLE, {2, per_sequence}, table);
      call.Integers(SAGE_ATTN_SEQUSED_K, {2}, {used[0], used[1]});
      CHECK(HopperDisagreement(call, seed, oracle) == "");
      call.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      CHECK(HopperDisagreement(call, seed + 1, oracle) == "");
      if (page != 16 || dim != 64) continue;
      // The last page is in use by half: what lies behind is seen by nobody, and rows it spoils are made again.
      call.V().Set({pages - 1 - 2 * (per_sequence - 1), 1, page - 1, 3}, std::numeric_limits<double>::quiet_NaN());
      CHECK(HopperDisagreement(call, seed + 2, oracle) == "");
    }
  }
}

TEST_CASE("P2 Hopper attention does not follow lengths or pages out of its operands") {
  AttentionCase call = Call(SAGE_BF16, 64, 100, 150, 1, 1, 2);
  call.Integers(SAGE_ATTN_SEQUSED_K, {2}, {2e9, -2e9});
  call.Integers(SAGE_ATTN_SEQUSED_Q, {2}, {-5, 2e9});
  CHECK(EmulateHopper(ArgumentsOf(call), 2, 1) == "");

  AttentionCase packed = Call(SAGE_BF16, 64, 1, 1);
  packed.Q() = OwnedTensor(SAGE_BF16, {90, 1, 64}).FillNormal(1);
  packed.K() = packed.V() = OwnedTensor(SAGE_BF16, {70, 1, 64}).FillNormal(2);
  packed.O() = OwnedTensor(SAGE_BF16, {90, 1, 64});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {3}, {-7, 2e9, 40});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_K, {3}, {2e9, -2e9, 60});
  CHECK(EmulateHopper(ArgumentsOf(packed.WithLse()), 2, 1) == "");

  AttentionCase paged = Call(SAGE_BF16, 64, 20, 1);
  paged.K() = paged.V() = OwnedTensor(SAGE_BF16, {3, 1, 16, 64}).FillNormal(2);
  paged.V().Set({0, 0, 3, 3}, std::numeric_limits<double>::quiet_NaN());  // so that rows are made again
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {1, 4}, {-1, 0, 2e9, 3});
  paged.Integers(SAGE_ATTN_SEQUSED_K, {1}, {2e9});
  CHECK(EmulateHopper(ArgumentsOf(paged), 2, 1) == "");
}

TEST_CASE("P2 the Hopper kernel says what it does not serve") {
  AttentionCase call = Call(SAGE_BF16, 64, 20, 30);
  const auto refusal = [](const cuda::AttentionArguments& arguments) -> std::string {
    const char* text = cuda::HopperRefusal(arguments);
    return text == nullptr ? "" : text;
  };
  cuda::AttentionArguments good = ArgumentsOf(call), bad = good;
  CHECK(refusal(good) == "");
  const auto says = [&](const char* words) {
    CAPTURE(words);
    CHECK(refusal(bad).find(words) != std::string::npos);
    bad = good;
  };
  bad.type = cuda::AttentionType::kF32, says("f16 and bf16");
  bad.dim_qk = 264, says("256");
  bad.dim_v = 60, says("multiples of 8");
  bad.softcap = 3, says("softcap");
  bad.sinks = &bad, says("sinks");
  bad.mask = reinterpret_cast<const uint8_t*>(&bad), says("masks");
  bad.k_strides.column = 2, says("contiguous");
  bad.k_strides.row = 0, says("zero or negative");
  bad.v_strides.row = -64, says("zero or negative");
  bad.q_strides.row = 65, says("multiples of 16 bytes");
  bad.k = static_cast<const char*>(bad.k) + 2, says("multiples of 16 bytes");
  bad.o_strides.row = 65, says("pairs");
  bad.block_table = reinterpret_cast<const int32_t*>(&bad), bad.pages = 3, bad.page_shift = 2, says("8 keys");
  bad.seq_q = 1 << 27, says("2^26");
}

}  // namespace sage::test
