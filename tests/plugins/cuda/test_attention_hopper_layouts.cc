// test_attention_hopper_layouts.cc: the Hopper kernel in the emulation on lengths in use, packed sequences, pages, and
// mixtures of all that it takes, against the float64 oracle.
#include <limits>

#include "hopper_mixtures.h"
#include "hopper_testing.h"

namespace sage::test {
namespace {

void CheckMixtures(sage_dtype dtype, uint64_t first, uint64_t count) {
  HopperOracle oracle;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    // All stages of the kernel, and in three of four cases only some.
    const auto change = [seed](cuda::AttentionArguments& a, cuda::HopperVariant*) {
      a.stages_off = seed % 4 == 0 ? 0 : static_cast<uint32_t>(seed * 2654435761u >> 7) & 63;
    };
    CHECK(HopperDisagreement(HopperMixture(seed).Draw(dtype), seed, oracle, 1 + seed % 4, change) == "");
  }
}

}  // namespace

TEST_CASE("P2 Hopper attention: mixtures agree with the oracle in bf16") { CheckMixtures(SAGE_BF16, 1, 60); }
TEST_CASE("P2 Hopper attention: mixtures agree with the oracle in f16") { CheckMixtures(SAGE_F16, 1001, 60); }

TEST_CASE("P2 Hopper attention of lengths in use, empty ones too") {
  for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
    AttentionCase call = HopperCall(SAGE_BF16, 64, 150, 260, 2, 1, 4);
    call.Integers(SAGE_ATTN_SEQUSED_Q, {4}, {150, 1, 0, 129});
    call.Integers(SAGE_ATTN_SEQUSED_K, {4}, {0, 260, 17, 128});
    CheckHopper(call, {1, 2}, 3);
    CheckHopper(call.Causal(alignment), {3, 4}, 3);
  }
  CheckHopper(HopperCall(SAGE_BF16, 64, 5, 0), {1});
}

TEST_CASE("P2 Hopper attention of packed sequences") {
  const std::vector<double> starts_q{0, 1, 130, 130, 400}, starts_k{0, 70, 200, 333, 500};
  for (const int64_t dim : {64, 128})
    for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
      AttentionCase call = HopperCall(kHalves[dim == 64], dim, 1, 1);
      call.Q() = OwnedTensor(call.Q().dtype(), {400, 4, dim}).FillNormal(1);
      call.K() = OwnedTensor(call.Q().dtype(), {500, 2, dim}).FillNormal(2);
      call.V() = OwnedTensor(call.Q().dtype(), {500, 2, dim}).FillNormal(3);
      call.O() = OwnedTensor(call.Q().dtype(), {400, 4, dim});
      call.Integers(SAGE_ATTN_CU_SEQLENS_Q, {5}, starts_q);
      call.Integers(SAGE_ATTN_CU_SEQLENS_K, {5}, starts_k);
      call.WithLse();
      CheckHopper(call, {1, 2});
      CheckHopper(call.Causal(alignment), {3, 4});
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
      AttentionCase call = HopperCall(kHalves[++seed % 2], dim, 100, 1, 4, 2, 2);
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
  AttentionCase call = HopperCall(SAGE_BF16, 64, 100, 150, 1, 1, 2);
  call.Integers(SAGE_ATTN_SEQUSED_K, {2}, {2e9, -2e9});
  call.Integers(SAGE_ATTN_SEQUSED_Q, {2}, {-5, 2e9});
  CHECK(EmulateHopper(ArgumentsOf(call), 2, 1) == "");

  AttentionCase packed = HopperCall(SAGE_BF16, 64, 1, 1);
  packed.Q() = OwnedTensor(SAGE_BF16, {90, 1, 64}).FillNormal(1);
  packed.K() = packed.V() = OwnedTensor(SAGE_BF16, {70, 1, 64}).FillNormal(2);
  packed.O() = OwnedTensor(SAGE_BF16, {90, 1, 64});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {3}, {-7, 2e9, 40});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_K, {3}, {2e9, -2e9, 60});
  packed.WithLse();
  CHECK(EmulateHopper(ArgumentsOf(packed), 2, 1) == "");

  AttentionCase paged = HopperCall(SAGE_BF16, 64, 20, 1);
  paged.K() = paged.V() = OwnedTensor(SAGE_BF16, {3, 1, 16, 64}).FillNormal(2);
  paged.V().Set({0, 0, 3, 3}, std::numeric_limits<double>::quiet_NaN());  // so that rows are made again
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {1, 4}, {-1, 0, 2e9, 3});
  paged.Integers(SAGE_ATTN_SEQUSED_K, {1}, {2e9});
  CHECK(EmulateHopper(ArgumentsOf(paged), 2, 1) == "");
}

}  // namespace sage::test
