// test_attention_int8_accuracy.cc: how far attention with Q K^T in 8 bits is from exact on inputs that trouble 8 bits,
// with scales by the thread and by the block. Prints what it measures: docs/cuda.md quotes it.
#include <doctest/doctest.h>

#include <cstdio>

#include "../int8/distributions.h"
#include "int8_testing.h"

namespace sage::test {
namespace {

// Those of plugins/int8, and channels of Q and K that are larger than the rest but stand off from nothing.
constexpr int kOutliers = 5, kDistributions = 6;
const char* NameOf(int which) { return which == kOutliers ? "outlier channels" : kDistributionNames[which]; }

AttentionCase Drawn(int which, int64_t d, sage_dtype dtype) {
  const auto base = which == kOutliers ? Distribution::kIid : static_cast<Distribution>(which);
  AttentionCase wide = DrawDistribution(base, 128, 1024, d, static_cast<uint64_t>(2024 + d)), drawn = wide;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
    const OwnedTensor& from = wide[slot];
    std::vector<double> values = from.Values();
    const auto channels = static_cast<size_t>(d);
    for (size_t i = 0; which == kOutliers && slot <= SAGE_ATTN_K && i < values.size(); ++i)
      if (i % channels % 32 == 5) values[i] *= slot == SAGE_ATTN_Q ? 2 : 6;
    drawn[slot] = OwnedTensor(dtype, {1, 1, from.dim(2), from.dim(3)}).FillValues(values);
  }
  drawn.WithLse();
  return drawn;
}

LossyOff Measure(int which, int64_t d, sage_dtype dtype, cuda::Int8Scales scales) {
  AttentionCase attention = Drawn(which, d, dtype);
  const AttentionCase want = ExactOf(attention);
  CHECK(RunInt8(attention, {.scales = scales}) == "");
  CHECK(LossyDisagreement(attention, want) == "");
  return LossyOffBy(attention, want);
}

}  // namespace

TEST_CASE("P5 cuda int8 accuracy: gates on six distributions and scales by the thread are the better ones") {
  double sum_thread = 0, sum_block = 0;
  for (int which = 0; which < kDistributions; ++which)
    for (const int64_t d : {64, 128}) {
      CAPTURE(NameOf(which));
      CAPTURE(d);
      const LossyOff thread = Measure(which, d, SAGE_BF16, cuda::Int8Scales::kThread);
      const LossyOff block = Measure(which, d, SAGE_BF16, cuda::Int8Scales::kBlock);
      std::printf("int8 bf16 %-16s d %3d: by thread cosine %.6f relative L1 %.4f LSE %.5f, by block %.6f %.4f %.5f\n",
                  NameOf(which), static_cast<int>(d), thread.o.cosine, thread.o.relative_l1, thread.lse, block.o.cosine,
                  block.o.relative_l1, block.lse);
      sum_thread += thread.o.relative_l1, sum_block += block.o.relative_l1;
      // What the cpu's 8 bits with 16-bit weights keep (tests/plugins/int8/accuracy_bars.h), but for the outliers.
      if (which == kOutliers) continue;
      CHECK(thread.o.cosine >= 0.9999);
      CHECK(thread.o.relative_l1 <= 0.012);
    }
  CHECK(sum_thread < 0.9 * sum_block);
}

TEST_CASE("P5 cuda int8 accuracy: f16 is no worse than bf16") {
  for (const int which : {0, 1, kOutliers}) {
    CAPTURE(NameOf(which));
    const LossyOff half = Measure(which, 64, SAGE_F16, cuda::Int8Scales::kThread);
    CHECK(half.o.relative_l1 <= Measure(which, 64, SAGE_BF16, cuda::Int8Scales::kThread).o.relative_l1);
  }
}

}  // namespace sage::test
