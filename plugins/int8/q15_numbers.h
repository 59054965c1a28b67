// q15_numbers.h: the factors of Q15 attention: scales, which are floats, as integers and shifts; and the one division.
//
// ScoreFactorOf and OutputFactorOf are all that needs floating point, once a call and head. Their results are plain
// integers: whoever has no floats computes them elsewhere and keeps them.
#ifndef SAGE_PLUGINS_INT8_Q15_NUMBERS_H_
#define SAGE_PLUGINS_INT8_Q15_NUMBERS_H_

#include <cstdint>

#include "q15_kernels.h"

namespace sage::int8 {

// Of a head's scores. per_unit: what one unit of the integer score is worth in powers of two, that is scale x SCALE_Q x
// SCALE_K x log2(e); any double but NaN. dim: the head dimension, up to kQ15LongestHead.
ScoreFactor ScoreFactorOf(double per_unit, int64_t dim);

// multiplier x 2^-shift, multiplier in [2^30, 2^31).
struct OutputFactor {
  uint32_t multiplier;
  int32_t shift;
};
// ratio: SCALE_V / SCALE_O, or SCALE_V where O is a float; finite and above 0.
OutputFactor OutputFactorOf(double ratio);

// x -> x / sum x factor for all the sums of one row: one division a row, two multiplications a number.
class RowDivisor {
 public:
  // sum: of a row's weights, in [2^29, 2^48].
  RowDivisor(uint64_t sum, const OutputFactor& factor);

  // As an integer, to nearest, ties up, saturated.
  int16_t Code(int64_t x) const;
  // The result is Mantissa(x) x 2^-shift(): to 2^-29 of itself, rounded down.
  int64_t Mantissa(int64_t x) const {
    const auto high = x >> 32;
    const auto low = static_cast<uint64_t>(x) & 0xffffffffu;
    return high * static_cast<int64_t>(factor_) + static_cast<int64_t>(low * factor_ >> 32);
  }
  int32_t shift() const { return shift_; }

 private:
  uint64_t factor_;  // in [2^30, 2^32)
  int32_t shift_;
};

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_Q15_NUMBERS_H_
