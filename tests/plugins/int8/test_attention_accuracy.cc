// test_attention_accuracy.cc: how far each mode is from exact attention, over five distributions: docs/accuracy.md has
// the bars and where they come from.
#include <doctest/doctest.h>

#include "accuracy_bars.h"

namespace sage::test {

TEST_CASE("R5 mode qk8_pv16 meets its bars on five distributions") { MeetsBars("qk8_pv16", kQk8Pv16, {128, 1024}); }
TEST_CASE("R5 mode full meets its bars on five distributions") { MeetsBars("full", kFull, {128, 1024}); }
TEST_CASE("R5 mode per_tensor: relative L2 of normal inputs is at most 2 percent") {
  Oracle oracle;
  for (const std::string& isa : Int8Isas()) {
    Int8Backend backend(isa, "per_tensor");
    AttentionCase got(SAGE_F32, {1, 2, 2, 64, 256, 64}, 5);
    std::string failure;
    const AttentionCase want = Expected(got, oracle.instance, &failure);
    REQUIRE(Failure(got.Run(backend.instance)) == "");
    CHECK(DistanceOf(got.O(), want.O()).relative_l2 <= 0.02);
  }
}

// As a caller of one scale a tensor does it: quantised by hand, dots and weights of the codes.
TEST_CASE("R5 codes with a fixed scale of 0.01 are within 0.1 of the floats, with absmax within 0.005") {
  Oracle oracle;
  const std::vector<int64_t> shape{1, 1, 64, 32};
  AttentionCase floats(SAGE_F32, {1, 1, 1, 64, 64, 32}, 1);
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) floats[slot].FillUniform(slot + 1, -1, 1);
  std::string failure;
  const AttentionCase want = Expected(floats, oracle.instance, &failure);
  REQUIRE(failure == "");
  for (const std::string& isa : Int8Isas())
    for (const bool absmax : {false, true}) {
      AttentionCase codes = floats;
      const struct {
        uint32_t slot, scale;
        uint32_t* granularity;
      } operands[] = {{SAGE_ATTN_Q, SAGE_ATTN_SCALE_Q, &codes.attributes.granularity_q},
                      {SAGE_ATTN_K, SAGE_ATTN_SCALE_K, &codes.attributes.granularity_k},
                      {SAGE_ATTN_V, SAGE_ATTN_SCALE_V, &codes.attributes.granularity_v}};
      for (const auto& [slot, scale_slot, granularity] : operands) {
        const double scale = absmax ? LargestMagnitude(floats[slot]) / 127 : 0.01;
        codes[scale_slot] = OwnedTensor(SAGE_F32, {1}).Fill(scale);
        *granularity = SAGE_PER_TENSOR;
        const OwnedTensor& from = floats[slot];
        codes[slot] = OwnedTensor(SAGE_I8, shape).FillBy([&](uint64_t at) {
          return std::clamp(std::nearbyint(from.Get(at) / scale), -127.0, 127.0);
        });
      }
      Int8Backend int8(isa, "per_tensor");
      REQUIRE(Failure(codes.Run(int8.instance)) == "");
      CHECK(DistanceOf(codes.O(), want.O()).largest <= (absmax ? 0.005 : 0.1));
    }
}

}  // namespace sage::test
