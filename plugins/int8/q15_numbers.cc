// q15_numbers.cc: see q15_numbers.h.
#include "q15_numbers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace sage::int8 {

ScoreFactor ScoreFactorOf(double per_unit, int64_t dim) {
  ScoreFactor factor{};
  factor.negative = per_unit < 0;
  // From 2^-31 down a weight is nothing: a unit that is worth more than 32 halvings is worth no less than 32.
  const double unit = std::min(std::fabs(per_unit), 32.0);
  if (unit == 0) return factor;
  // Differences beyond these are impossible, or have no weight.
  const double possible = static_cast<double>(dim) * 0x1p31, lightless = std::ceil((kQ15Halvings + 1) / unit);
  factor.largest = static_cast<uint64_t>(std::min(possible, lightless));
  factor.drop = static_cast<uint32_t>(std::max(0, static_cast<int>(std::bit_width(factor.largest)) - 32));
  int power = 0;
  const double mantissa = std::frexp(unit, &power);  // in [1/2, 1)
  const double rounded = std::nearbyint(std::ldexp(mantissa, 32));
  const bool carries = rounded >= 0x1p32;
  // unit x 2^(26 + drop) = multiplier x 2^-shift
  const int shift = 32 - power - kQ15FractionBits - static_cast<int>(factor.drop) - (carries ? 1 : 0);
  if (shift > 63) return ScoreFactor{};  // every difference there can be is worth nothing
  factor.multiplier = carries ? 0x80000000u : static_cast<uint32_t>(rounded);
  factor.shift = static_cast<uint32_t>(shift);
  return factor;
}

OutputFactor OutputFactorOf(double ratio) {
  int power = 0;
  const double mantissa = std::frexp(ratio, &power);
  const double rounded = std::nearbyint(std::ldexp(mantissa, 31));
  if (rounded >= 0x1p31) return {1u << 30, 30 - power};
  return {static_cast<uint32_t>(rounded), 31 - power};
}

RowDivisor::RowDivisor(uint64_t sum, const OutputFactor& factor) {
  // To [2^30, 2^31], rounded: a divisor of 32 bits.
  const int width = static_cast<int>(std::bit_width(sum));
  const uint64_t divisor = width <= 31 ? sum << (31 - width) : ((sum >> (width - 32)) + 1) >> 1;
  factor_ = (uint64_t{factor.multiplier} << 31) / divisor;
  // x / sum x factor = x factor_ 2^-31 2^(31 - width) 2^-shift
  shift_ = width + factor.shift - 32;
}

int16_t RowDivisor::Code(int64_t x) const {
  constexpr int64_t kLeast = std::numeric_limits<int16_t>::min(), kMost = std::numeric_limits<int16_t>::max();
  const int64_t mantissa = Mantissa(x);
  if (shift_ > 62) return 0;
  if (shift_ > 0) return static_cast<int16_t>(std::clamp(((mantissa >> (shift_ - 1)) + 1) >> 1, kLeast, kMost));
  // Beyond 16 bits to the left nothing but 0 is in range.
  const int64_t small = std::clamp(mantissa, kLeast, kMost);
  return static_cast<int16_t>(std::clamp(small * (int64_t{1} << std::min(-shift_, 16)), kLeast, kMost));
}

}  // namespace sage::int8
