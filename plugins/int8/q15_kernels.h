// q15_kernels.h: what Q15 attention does with every number, by instruction set. Integers only: every table gives the
// same bits.
//
// Included by files compiled for an instruction set: it has declarations and constants, no function bodies.
#ifndef SAGE_PLUGINS_INT8_Q15_KERNELS_H_
#define SAGE_PLUGINS_INT8_Q15_KERNELS_H_

#include <stdint.h>

namespace sage::int8 {

constexpr int kQ15FractionBits = 26;  // of an exponent
constexpr int kQ15Halvings = 33;      // 2^-33 rounds to no weight at all; 33 x 2^26 has 32 bits
constexpr int kQ15WeightBits = 30;    // a weight is below 2^30

// Queries and keys are padded with zeros to a multiple of these codes, keys in groups of these rows.
constexpr int64_t kQ15DimStep = 16, kQ15KeyStep = 4;

// From a difference of scores to an exponent: min(difference, largest) >> drop, times multiplier, >> shift.
struct ScoreFactor {
  uint64_t largest;     // >> drop: below 2^32
  uint32_t multiplier;  // 0 or in [2^31, 2^32)
  uint32_t drop, shift;
  bool negative;  // the least score is the one that weighs most
};

struct Q15Kernels {
  // scores[i] = q . keys[i], exact. dim: a multiple of kQ15DimStep, at most 2^16; keys[count][dim], count a multiple of
  // kQ15KeyStep.
  void (*scores)(const int16_t* q, const int16_t* keys, int64_t dim, int64_t count, int64_t* scores);
  // Of count > 0 scores.
  int64_t (*largest)(const int64_t* scores, int64_t count);
  // scores become weights, in place; their sum. No score is above `largest`. factor.negative is not looked at.
  uint64_t (*weigh)(int64_t* scores, int64_t count, int64_t largest, const ScoreFactor& factor);
  // out[c] += sum of weights[i] x value[i][c], exact. values: of two keys after one another, code by code,
  // [pairs][dim][2]; dim a multiple of kQ15DimStep.
  void (*accumulate)(const int64_t* weights, const int16_t* values, int64_t pairs, int64_t dim, int64_t* out);
};

// What accumulate may read behind its weights, the value of which does not matter.
constexpr int64_t kQ15ReadsOn = 16;

extern const Q15Kernels kQ15Scalar;
#if defined(__x86_64__)
extern const Q15Kernels kQ15Avx2;
#elif defined(__aarch64__)
extern const Q15Kernels kQ15Neon;
#endif

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_Q15_KERNELS_H_
