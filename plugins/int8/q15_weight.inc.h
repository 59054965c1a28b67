// q15_weight.inc.h: one weight. Included inside a kernel file's anonymous namespace: its function must not be shared
// between files of different instruction sets.

// 2^-f = 1 - f (c[4] - f (c[3] - ...)) on [0, 1), the largest relative error being least (Remez): 2^-23.5. 32 fraction
// bits; the constant is 1 - 2^-30, so that a weight of 1 has no more than 30 bits.
constexpr uint64_t kSeries[6] = {0x3decda, 0x25b4fab, 0xe27f7ba, 0x3d7c7223, 0xb171ddee, 0xfffffffc};
constexpr uint64_t kFraction = (uint64_t{1} << kQ15FractionBits) - 1;
constexpr uint64_t kFaintest = uint64_t{kQ15Halvings} << kQ15FractionBits;

// difference: of the largest score and this one.
inline uint64_t Weight(uint64_t difference, const ScoreFactor& factor) {
  if (difference > factor.largest) difference = factor.largest;
  uint64_t exponent = (difference >> factor.drop) * factor.multiplier >> factor.shift;
  if (exponent > kFaintest) exponent = kFaintest;
  const uint64_t fraction = exponent & kFraction, halvings = exponent >> kQ15FractionBits;
  uint64_t sum = kSeries[0];
  for (int i = 1; i < 6; ++i) sum = kSeries[i] - (sum * fraction >> kQ15FractionBits);
  // From 32 fraction bits to 30, rounded.
  return (sum + (uint64_t{2} << halvings)) >> (halvings + 2);
}
