// distance.h: how far a tensor is from the one it should be, in the numbers that papers on quantised attention use.
#ifndef SAGE_ENGINE_RUN_DISTANCE_H_
#define SAGE_ENGINE_RUN_DISTANCE_H_

#include <cstdint>

#include "sage/types.h"

namespace sage {

// Of o' (got) from o (exact). Elements where both are finite make the sums, in double; where both are NaN, or the same
// infinity, they agree and make none; every other pair counts as `non_finite` and makes none either.
struct Distance {
  int64_t elements = 0;
  int64_t non_finite = 0;
  double cosine = 1;         // of the two as vectors, at most 1; both all zero: 1, one of them: 0
  double rel_l1 = 0;         // sum |o - o'| / sum |o|; infinite where o is all zero and o' is not
  double rmse = 0;           // sqrt(mean (o - o')^2)
  double max_abs_error = 0;  // max |o - o'|
  double largest = 0;        // max |o'|
  double largest_exact = 0;  // max |o|
  uint32_t rank = 0;
  int64_t worst[SAGE_MAX_RANK] = {};  // where max_abs_error is first met; of use where it is above 0
};

// Two tensors of the same shape, in CPU memory, with data unless they are empty. Dtypes and strides are free.
// Magnitudes near the ends of double's range neither overflow nor vanish. Allocates nothing.
Distance DistanceOf(const sage_tensor& got, const sage_tensor& exact);

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_DISTANCE_H_
