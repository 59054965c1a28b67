// slice_range.h: NumPy's start:end:step on an axis of n elements, as a first element and a count.
#ifndef SAGE_ENGINE_MODEL_SLICE_RANGE_H_
#define SAGE_ENGINE_MODEL_SLICE_RANGE_H_

#include <algorithm>
#include <cstdint>

#include "model/graph.h"

namespace sage {

struct SliceRange {
  int64_t begin = 0, count = 0, step = 1;  // begin + i*step lies in [0,n) for every i < count
};

// slice.step must not be 0, n >= 0. Any other numbers are answered as NumPy does: clamped.
inline SliceRange RangeOf(const SliceNode& slice, int64_t n) {
  const int64_t step = std::max(slice.step, -INT64_MAX);
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
  const auto place = [&](int64_t index) { return std::clamp(index < 0 ? index + n : index, low, high); };
  const int64_t begin = place(slice.start);
  const int64_t end = slice.end ? place(*slice.end) : (step > 0 ? high : low);
  const int64_t distance = step > 0 ? end - begin : begin - end;
  if (distance <= 0) return {0, 0, step};
  return {begin, (distance - 1) / (step > 0 ? step : -step) + 1, step};
}

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_SLICE_RANGE_H_
