// q15_scalar.cc: Q15 attention in portable C++.
#include "q15_kernels.h"

namespace sage::int8 {
namespace {
#include "q15_weight.inc.h"

void Scores(const int16_t* q, const int16_t* keys, int64_t dim, int64_t count, int64_t* scores) {
  for (int64_t i = 0; i < count; ++i, keys += dim) {
    int64_t sum = 0;
    for (int64_t c = 0; c < dim; ++c) sum += int64_t{q[c]} * keys[c];
    scores[i] = sum;
  }
}

int64_t Largest(const int64_t* scores, int64_t count) {
  int64_t largest = scores[0];
  for (int64_t i = 1; i < count; ++i) largest = scores[i] > largest ? scores[i] : largest;
  return largest;
}

uint64_t Weigh(int64_t* scores, int64_t count, int64_t largest, const ScoreFactor& factor) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t weight = Weight(static_cast<uint64_t>(largest - scores[i]), factor);
    scores[i] = static_cast<int64_t>(weight);
    sum += weight;
  }
  return sum;
}

void Accumulate(const int64_t* weights, const int16_t* values, int64_t pairs, int64_t dim, int64_t* out) {
  for (int64_t pair = 0; pair < pairs; ++pair, values += 2 * dim) {
    const int64_t first = weights[2 * pair], second = weights[2 * pair + 1];
    for (int64_t c = 0; c < dim; ++c) out[c] += first * values[2 * c] + second * values[2 * c + 1];
  }
}

}  // namespace

const Q15Kernels kQ15Scalar = {Scores, Largest, Weigh, Accumulate};

}  // namespace sage::int8
