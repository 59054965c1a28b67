// distance.h: how far a result is from the expected one as a whole, for what is not right to the last bit by design.
#ifndef SAGE_TESTS_SUPPORT_DISTANCE_H_
#define SAGE_TESTS_SUPPORT_DISTANCE_H_

#include <algorithm>
#include <cmath>

#include "support/owned_tensor.h"

namespace sage::test {

// How far two tensors are apart, all elements together.
struct Distance {
  double cosine = 1, relative_l1 = 0, relative_l2 = 0, largest = 0;
};
inline Distance DistanceOf(const OwnedTensor& got, const OwnedTensor& want) {
  double dot = 0, got2 = 0, want2 = 0, off1 = 0, want1 = 0, off2 = 0;
  Distance distance;
  for (uint64_t i = 0, n = got.size(); i < n; ++i) {
    const double x = got.Get(i), y = want.Get(i);
    dot += x * y, got2 += x * x, want2 += y * y;
    off1 += std::fabs(x - y), want1 += std::fabs(y), off2 += (x - y) * (x - y);
    distance.largest = std::max(distance.largest, std::isnan(x) == std::isnan(y) ? std::fabs(x - y) : HUGE_VAL);
  }
  if (want2 == 0 && got2 == 0) return distance;
  distance.cosine = dot / std::sqrt(got2 * want2);
  distance.relative_l1 = off1 / want1, distance.relative_l2 = std::sqrt(off2 / want2);
  return distance;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_DISTANCE_H_
