// q15_avx2.cc: Q15 attention by AVX2's products of pairs of codes (vpmaddwd). Its sums have 32 bits, so one operand is
// split into parts so small that a run of them stays exact: then they join 64-bit sums.
#include <immintrin.h>

#include "q15_kernels.h"

namespace sage::int8 {
namespace {
#include "q15_weight.inc.h"

using Reg = __m256i;

inline Reg Load(const void* from) { return _mm256_loadu_si256(static_cast<const Reg*>(from)); }
inline void Store(void* to, Reg x) { _mm256_storeu_si256(static_cast<Reg*>(to), x); }
inline Reg AddPairs(Reg sums, Reg a, Reg b) { return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)); }

// The sums over the eight lanes of each of four registers.
inline __m128i SumsOf(const Reg x[4]) {
  const Reg halves = _mm256_hadd_epi32(_mm256_hadd_epi32(x[0], x[1]), _mm256_hadd_epi32(x[2], x[3]));
  return _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
}

// q = 256 high + low, high in [-128, 127], low in [0, 255]: over 256 codes sums of low x k stay within 255 x 2^15 x 256
// < 2^31.
constexpr int64_t kExactDims = 256;

void Scores(const int16_t* q, const int16_t* keys, int64_t dim, int64_t count, int64_t* scores) {
  const Reg low_bits = _mm256_set1_epi16(0xff);
  for (int64_t i = 0; i < count; i += kQ15KeyStep, keys += kQ15KeyStep * dim) {
    Reg total = _mm256_setzero_si256();
    for (int64_t begin = 0; begin < dim; begin += kExactDims) {
      const int64_t end = dim - begin < kExactDims ? dim : begin + kExactDims;
      Reg high[4] = {}, low[4] = {};
      for (int64_t c = begin; c < end; c += kQ15DimStep) {
        const Reg codes = Load(q + c);
        const Reg codes_high = _mm256_srai_epi16(codes, 8), codes_low = _mm256_and_si256(codes, low_bits);
        for (int key = 0; key < 4; ++key) {
          const Reg k = Load(keys + key * dim + c);
          high[key] = AddPairs(high[key], codes_high, k);
          low[key] = AddPairs(low[key], codes_low, k);
        }
      }
      const Reg upper = _mm256_slli_epi64(_mm256_cvtepi32_epi64(SumsOf(high)), 8);
      total = _mm256_add_epi64(total, _mm256_add_epi64(upper, _mm256_cvtepi32_epi64(SumsOf(low))));
    }
    Store(scores + i, total);
  }
}

inline Reg Max(Reg a, Reg b) { return _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(b, a)); }
inline Reg Min(Reg a, Reg b) { return _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(a, b)); }

int64_t Largest(const int64_t* scores, int64_t count) {
  int64_t largest = scores[0], i = 0;
  if (count >= 4) {
    Reg all = Load(scores);
    for (i = 4; i + 4 <= count; i += 4) all = Max(all, Load(scores + i));
    int64_t lanes[4];
    Store(lanes, all);
    for (const int64_t lane : lanes) largest = lane > largest ? lane : largest;
  }
  for (; i < count; ++i) largest = scores[i] > largest ? scores[i] : largest;
  return largest;
}

// Weight(), four at once: every product has factors of 32 bits.
uint64_t Weigh(int64_t* scores, int64_t count, int64_t largest, const ScoreFactor& factor) {
  const Reg top = _mm256_set1_epi64x(largest), most = _mm256_set1_epi64x(static_cast<int64_t>(factor.largest));
  const Reg multiplier = _mm256_set1_epi64x(factor.multiplier), two = _mm256_set1_epi64x(2);
  const Reg faintest = _mm256_set1_epi64x(static_cast<int64_t>(kFaintest));
  const Reg fraction_bits = _mm256_set1_epi64x(static_cast<int64_t>(kFraction));
  const __m128i drop = _mm_cvtsi32_si128(static_cast<int>(factor.drop));
  const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(factor.shift));
  Reg series[6];
  for (int i = 0; i < 6; ++i) series[i] = _mm256_set1_epi64x(static_cast<int64_t>(kSeries[i]));
  Reg sums = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const Reg difference = Min(_mm256_sub_epi64(top, Load(scores + i)), most);
    const Reg product = _mm256_mul_epu32(_mm256_srl_epi64(difference, drop), multiplier);
    // As signed numbers: the largest difference makes exponents below 2^33, shifted or not.
    const Reg exponent = Min(_mm256_srl_epi64(product, shift), faintest);
    const Reg fraction = _mm256_and_si256(exponent, fraction_bits);
    const Reg halvings = _mm256_srli_epi64(exponent, kQ15FractionBits);
    Reg sum = series[0];
    for (int term = 1; term < 6; ++term)
      sum = _mm256_sub_epi64(series[term], _mm256_srli_epi64(_mm256_mul_epu32(sum, fraction), kQ15FractionBits));
    const Reg rounded = _mm256_add_epi64(sum, _mm256_sllv_epi64(two, halvings));
    const Reg weight = _mm256_srlv_epi64(rounded, _mm256_add_epi64(halvings, two));
    Store(scores + i, weight);
    sums = _mm256_add_epi64(sums, weight);
  }
  uint64_t lanes[4];
  Store(lanes, sums);
  uint64_t sum = lanes[0] + lanes[1] + lanes[2] + lanes[3];
  for (; i < count; ++i) {
    const uint64_t weight = Weight(static_cast<uint64_t>(largest - scores[i]), factor);
    scores[i] = static_cast<int64_t>(weight);
    sum += weight;
  }
  return sum;
}

// A weight has three parts of 10 bits: over 64 keys sums of a part x a code stay within 1023 x 2^15 x 64 < 2^31.
constexpr int kPartBits = 10, kParts = kQ15WeightBits / kPartBits;
constexpr int64_t kExactPairs = 32;

// Eight weights as 32-bit numbers.
inline Reg Narrow(const int64_t* weights) {
  const __m256 low = _mm256_castsi256_ps(Load(weights)), high = _mm256_castsi256_ps(Load(weights + 4));
  return _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88)), 0xd8);
}

// Up to 64 weights, in sixteens, as 16-bit parts: the upper first.
void Split(const int64_t* weights, int64_t count, int16_t parts[kParts][2 * kExactPairs]) {
  const Reg part = _mm256_set1_epi32((1 << kPartBits) - 1);
  for (int64_t i = 0; i < count; i += 16) {
    Reg first = Narrow(weights + i), second = Narrow(weights + i + 8);
    for (int p = kParts - 1; p >= 0; --p) {
      const Reg packed = _mm256_packus_epi32(_mm256_and_si256(first, part), _mm256_and_si256(second, part));
      Store(parts[p] + i, _mm256_permute4x64_epi64(packed, 0xd8));
      first = _mm256_srli_epi32(first, kPartBits);
      second = _mm256_srli_epi32(second, kPartBits);
    }
  }
}

// The pair of weights' parts in all lanes.
inline Reg PairOf(const int16_t* parts) {
  int32_t both;
  __builtin_memcpy(&both, parts, sizeof both);
  return _mm256_set1_epi32(both);
}

// Four sums of parts onto four 64-bit sums.
inline void Join(__m128i upper, __m128i middle, __m128i lower, int64_t* out) {
  const Reg a = _mm256_slli_epi64(_mm256_cvtepi32_epi64(upper), 2 * kPartBits);
  const Reg b = _mm256_slli_epi64(_mm256_cvtepi32_epi64(middle), kPartBits);
  const Reg sum = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_cvtepi32_epi64(lower));
  Store(out, _mm256_add_epi64(Load(out), sum));
}

void Accumulate(const int64_t* weights, const int16_t* values, int64_t pairs, int64_t dim, int64_t* out) {
  for (int64_t begin = 0; begin < pairs; begin += kExactPairs) {
    const int64_t count = pairs - begin < kExactPairs ? pairs - begin : kExactPairs;
    int16_t parts[kParts][2 * kExactPairs];
    Split(weights + 2 * begin, 2 * count, parts);
    for (int64_t c = 0; c < dim; c += kQ15DimStep) {
      Reg sums[kParts][2] = {};
      const int16_t* at = values + 2 * (begin * dim + c);
      for (int64_t pair = 0; pair < count; ++pair, at += 2 * dim) {
        const Reg left = Load(at), right = Load(at + 16);
        for (int p = 0; p < kParts; ++p) {
          const Reg weight = PairOf(parts[p] + 2 * pair);
          sums[p][0] = AddPairs(sums[p][0], weight, left);
          sums[p][1] = AddPairs(sums[p][1], weight, right);
        }
      }
      for (int side = 0; side < 2; ++side) {
        const Reg upper = sums[0][side], middle = sums[1][side], lower = sums[2][side];
        Join(_mm256_castsi256_si128(upper), _mm256_castsi256_si128(middle), _mm256_castsi256_si128(lower),
             out + c + 8 * side);
        Join(_mm256_extracti128_si256(upper, 1), _mm256_extracti128_si256(middle, 1),
             _mm256_extracti128_si256(lower, 1), out + c + 8 * side + 4);
      }
    }
  }
}

}  // namespace

const Q15Kernels kQ15Avx2 = {Scores, Largest, Weigh, Accumulate};

}  // namespace sage::int8
