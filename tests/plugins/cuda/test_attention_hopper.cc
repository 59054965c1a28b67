// test_attention_hopper.cc: the Hopper kernel's own text, run by the emulation, against the float64 oracle: shapes with
// tails, masks, layouts, and what a caller may put into memory that no query sees.
#include <doctest/doctest.h>

#include <limits>

#include "hopper_testing.h"

namespace sage::test {

TEST_CASE("P2 Hopper attention is the oracle's under every seed of the emulation") {
  for (const sage_dtype dtype : kHalves) {
    AttentionCase call = HopperCall(dtype, 64, 300, 500, 2);
    CheckHopper(call, {1, 2, 3, 4, 5, 6, 7, 8});
    CheckHopper(call.Causal(SAGE_ALIGN_BOTTOM_RIGHT), {1, 2, 3, 4, 5, 6, 7, 8});
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
        AttentionCase call = HopperCall(kHalves[seed % 2], dim, seq_q, seq_kv);
        if (seed % 3 == 1) call.Causal(SAGE_ALIGN_TOP_LEFT);
        if (seed % 3 == 2) call.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
        CheckHopper(call, {seed});
      }
}

TEST_CASE("P2 Hopper attention of rows that fill no chunk of 64") {
  uint64_t seed = 0;
  for (const int64_t dim : {8, 40, 72, 96, 120, 136, 192, 256}) {
    CAPTURE(dim);
    AttentionCase call = HopperCall(kHalves[++seed % 2], dim, 70, 140, 2, 1);
    CheckHopper(call.Causal(SAGE_ALIGN_BOTTOM_RIGHT), {seed});
    AttentionCase differs(kHalves[seed % 2], {1, 2, 1, 40, 90, dim, dim == 8 ? 64 : dim - 8}, seed);
    CheckHopper(differs.WithLse(), {seed + 1});
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
        AttentionCase call = HopperCall(kHalves[++seed % 2], 64, 260, 390).Window(left, right, alignment);
        if (seed % 4 == 0) call.Causal(alignment);
        CHECK(HopperDisagreement(call, seed, oracle) == "");
        AttentionCase more_queries = HopperCall(kHalves[seed % 2], 64, 300, 100).Window(left, right, alignment);
        CHECK(HopperDisagreement(more_queries, seed, oracle) == "");
      }
}

TEST_CASE("P2 Hopper attention shares heads of K and of V") {
  for (const int64_t heads_v : {1, 2, 4}) {
    AttentionCase call(SAGE_BF16, {2, 8, 4, 130, 150, 64, 64, heads_v}, 3);
    CheckHopper(call.WithLse().Causal(SAGE_ALIGN_BOTTOM_RIGHT), {1, 2}, 3);
  }
}

TEST_CASE("P2 Hopper attention scales by zero and by less") {
  for (const double scale : {0.0, -0.2, 0.5, 1e-3}) {
    CAPTURE(scale);
    CheckHopper(HopperCall(SAGE_F16, 64, 70, 200).Scale(scale).Causal(SAGE_ALIGN_BOTTOM_RIGHT), {1, 2});
  }
}

TEST_CASE("P2 Hopper attention follows strides") {
  for (const sage_dtype dtype : kHalves) {
    AttentionCase call = HopperCall(dtype, 64, 140, 200, 4, 2, 2);
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
      const OwnedTensor& dense = call[slot];
      const std::vector<int64_t> shape{dense.dim(0), dense.dim(1), dense.dim(2), dense.dim(3)};
      call[slot] = OwnedTensor::Ordered(dtype, shape, {0, 2, 1, 3}).FillValues(dense.Values());
    }
    CheckHopper(call.Causal(SAGE_ALIGN_TOP_LEFT), {1, 2});
  }
}

TEST_CASE("P2 Hopper attention: a key that is not seen never touches the result") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V})
    for (const double poison : {kNan, kInf, -kInf}) {
      CAPTURE(slot);
      CAPTURE(poison);
      AttentionCase call = HopperCall(SAGE_BF16, 64, 40, 90);
      call.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      call[slot].Set({0, 0, 70, 5}, poison);  // seen by the last twenty queries
      if (slot == SAGE_ATTN_K) {
        // What those make of it is NaN or Inf in an order of their own: they are looked at as rows that see it.
        call.Window(3, 0, SAGE_ALIGN_BOTTOM_RIGHT);
        call[slot].Set({0, 0, 70, 5}, 0.5);
        call[slot].Set({0, 0, 10, 5}, poison);  // now seen by none
      }
      CheckHopper(call, {1, 2});
    }
  AttentionCase padded = HopperCall(SAGE_F16, 64, 33, 200, 2, 1, 2);
  padded.Integers(SAGE_ATTN_SEQUSED_K, {2}, {100, 0});
  for (int64_t j = 100; j < 200; ++j)
    for (int64_t d = 0; d < 64; ++d) padded.K().Set({0, 0, j, d}, kNan), padded.V().Set({0, 0, j, d}, kInf);
  padded.V().Set({1, 0, 0, 0}, kNan);
  CheckHopper(padded, {1, 2});
}

TEST_CASE("P2 the Hopper kernel says what it does not serve") {
  AttentionCase call = HopperCall(SAGE_BF16, 64, 20, 30);
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
  bad.o_strides.row = 65, says("pairs");
  bad.block_table = reinterpret_cast<const int32_t*>(&bad), bad.pages = 3, bad.page_shift = 2, says("8 keys");
  bad.seq_q = 1 << 27, says("2^26");
  bad.k = static_cast<const char*>(bad.k) + 2;
  CHECK(EmulateHopper(bad, 1, 1).find("no multiple of 16 bytes") != std::string::npos);
  bad = good, bad.o = static_cast<char*>(bad.o) + 2;
  CHECK(EmulateHopper(bad, 1, 1).find("no multiple of 4 bytes") != std::string::npos);
}

}  // namespace sage::test
