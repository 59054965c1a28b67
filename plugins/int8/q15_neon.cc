// q15_neon.cc: Q15 attention by the widening products of Advanced SIMD: 16 x 16 bits pairwise onto 64, 32 x 32 onto 64.
// Nothing is split: no sum on the way is narrower than the exact one.
#include <arm_neon.h>

#include "q15_kernels.h"

namespace sage::int8 {
namespace {
#include "q15_weight.inc.h"

void Scores(const int16_t* q, const int16_t* keys, int64_t dim, int64_t count, int64_t* scores) {
  for (int64_t i = 0; i < count; i += kQ15KeyStep, keys += kQ15KeyStep * dim) {
    int64x2_t sums[kQ15KeyStep];
    for (int64x2_t& sum : sums) sum = vdupq_n_s64(0);
    for (int64_t c = 0; c < dim; c += 8) {
      const int16x8_t codes = vld1q_s16(q + c);
      for (int key = 0; key < kQ15KeyStep; ++key) {
        const int16x8_t k = vld1q_s16(keys + key * dim + c);
        sums[key] = vpadalq_s32(sums[key], vmull_s16(vget_low_s16(codes), vget_low_s16(k)));
        sums[key] = vpadalq_s32(sums[key], vmull_high_s16(codes, k));
      }
    }
    for (int key = 0; key < kQ15KeyStep; ++key) scores[i + key] = vaddvq_s64(sums[key]);
  }
}

int64_t Largest(const int64_t* scores, int64_t count) {
  int64_t largest = scores[0];
  for (int64_t i = 1; i < count; ++i) largest = scores[i] > largest ? scores[i] : largest;
  return largest;
}

inline uint64x2_t Min(uint64x2_t a, uint64x2_t b) { return vbslq_u64(vcgtq_u64(a, b), b, a); }
// Of numbers below 2^32.
inline uint64x2_t Product(uint64x2_t a, uint32x2_t b) { return vmull_u32(vmovn_u64(a), b); }

// Weight(), two at once.
uint64_t Weigh(int64_t* scores, int64_t count, int64_t largest, const ScoreFactor& factor) {
  const int64x2_t top = vdupq_n_s64(largest);
  const int64x2_t drop = vdupq_n_s64(-static_cast<int64_t>(factor.drop));  // to the left is to the right
  const int64x2_t shift = vdupq_n_s64(-static_cast<int64_t>(factor.shift));
  const uint64x2_t most = vdupq_n_u64(factor.largest), faintest = vdupq_n_u64(kFaintest);
  const uint32x2_t multiplier = vdup_n_u32(factor.multiplier);
  uint64x2_t sums = vdupq_n_u64(0);
  int64_t i = 0;
  for (; i + 2 <= count; i += 2) {
    const uint64x2_t difference = Min(vreinterpretq_u64_s64(vsubq_s64(top, vld1q_s64(scores + i))), most);
    const uint64x2_t product = Product(vshlq_u64(difference, drop), multiplier);
    const uint64x2_t exponent = Min(vshlq_u64(product, shift), faintest);
    const uint32x2_t fraction = vmovn_u64(vandq_u64(exponent, vdupq_n_u64(kFraction)));
    const int64x2_t halvings = vreinterpretq_s64_u64(vshrq_n_u64(exponent, kQ15FractionBits));
    uint64x2_t sum = vdupq_n_u64(kSeries[0]);
    for (int term = 1; term < 6; ++term)
      sum = vsubq_u64(vdupq_n_u64(kSeries[term]), vshrq_n_u64(Product(sum, fraction), kQ15FractionBits));
    const uint64x2_t rounded = vaddq_u64(sum, vshlq_u64(vdupq_n_u64(2), halvings));
    const uint64x2_t weight = vshlq_u64(rounded, vsubq_s64(vdupq_n_s64(-2), halvings));
    vst1q_s64(scores + i, vreinterpretq_s64_u64(weight));
    sums = vaddq_u64(sums, weight);
  }
  uint64_t sum = vaddvq_u64(sums);
  for (; i < count; ++i) {
    const uint64_t weight = Weight(static_cast<uint64_t>(largest - scores[i]), factor);
    scores[i] = static_cast<int64_t>(weight);
    sum += weight;
  }
  return sum;
}

void Accumulate(const int64_t* weights, const int16_t* values, int64_t pairs, int64_t dim, int64_t* out) {
  for (int64_t c = 0; c < dim; c += 8) {
    int64x2_t sums[4];
    for (int part = 0; part < 4; ++part) sums[part] = vld1q_s64(out + c + 2 * part);
    const int16_t* at = values + 2 * c;
    for (int64_t pair = 0; pair < pairs; ++pair, at += 2 * dim) {
      const int16x8x2_t both = vld2q_s16(at);
      for (int key = 0; key < 2; ++key) {
        const auto weight = static_cast<int32_t>(weights[2 * pair + key]);
        const int32x4_t low = vmovl_s16(vget_low_s16(both.val[key])), high = vmovl_high_s16(both.val[key]);
        sums[0] = vmlal_n_s32(sums[0], vget_low_s32(low), weight);
        sums[1] = vmlal_high_n_s32(sums[1], low, weight);
        sums[2] = vmlal_n_s32(sums[2], vget_low_s32(high), weight);
        sums[3] = vmlal_high_n_s32(sums[3], high, weight);
      }
    }
    for (int part = 0; part < 4; ++part) vst1q_s64(out + c + 2 * part, sums[part]);
  }
}

}  // namespace

const Q15Kernels kQ15Neon = {Scores, Largest, Weigh, Accumulate};

}  // namespace sage::int8
