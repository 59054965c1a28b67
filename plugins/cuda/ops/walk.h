// walk.h: an index space that several tensors share: its places are counted by one number, from which each tensor's
// offset follows. Built by the host, read by every thread.
//
// Neighbouring axes are merged where all tensors allow it, and axes of length 1 fall away, so that most tensors come
// out with one axis or two and a thread divides once or not at all. Divisions are of 32 bits wherever the places fit
// those: of 64 they cost more than what they find.
#ifndef SAGE_PLUGINS_CUDA_OPS_WALK_H_
#define SAGE_PLUGINS_CUDA_OPS_WALK_H_

#include "common/cuda/kernels/primitives.h"
#include "sage/types.h"

namespace sage::cuda {

// N: the tensors. Offsets and strides in elements. Row-major: the last axis varies fastest.
template <int N>
struct Walk {
  int32_t rank = 0;
  bool wide = false;  // more than 2^31 - 1 places
  int64_t count = 1;  // places
  int64_t shape[SAGE_MAX_RANK] = {};
  int64_t stride[N][SAGE_MAX_RANK] = {};

  // --- by the host: Append each axis, outermost first, then Finish ---------------------------------------------------
  void Append(int64_t length, const int64_t (&steps)[N]) {
    if (length == 1) return;
    shape[rank] = length;
    for (int t = 0; t < N; ++t) stride[t][rank] = steps[t];
    ++rank;
  }

  // by >= 0: the axes are taken in the order of that tensor's memory first, which the order of places does not matter
  // to. Counts and merges.
  void Finish(int by = -1) {
    for (int32_t i = 1; by >= 0 && i < rank; ++i)
      for (int32_t j = i; j > 0 && Magnitude(stride[by][j - 1]) < Magnitude(stride[by][j]); --j) SwapAxes(j - 1, j);
    int32_t merged = 0;
    for (int32_t axis = 0; axis < rank; ++axis) {
      bool joins = merged > 0;
      for (int t = 0; t < N && joins; ++t) joins = stride[t][merged - 1] == stride[t][axis] * shape[axis];
      const int32_t to = joins ? merged - 1 : merged++;
      shape[to] = joins ? shape[to] * shape[axis] : shape[axis];
      for (int t = 0; t < N; ++t) stride[t][to] = stride[t][axis];
    }
    rank = merged;
    CountPlaces();
  }

  int64_t last_length() const { return rank == 0 ? 1 : shape[rank - 1]; }
  // A tensor that has one element only has any step.
  int64_t last_step(int t) const { return rank == 0 ? 1 : stride[t][rank - 1]; }

  // Counts the last axis in packs of `width` elements, where the length and the tensors' strides allow it: those of
  // which in_packs says so get their offsets in packs.
  bool PacksOf(int64_t width, const bool (&in_packs)[N]) const {
    if (rank == 0 || last_length() % width != 0) return false;
    for (int t = 0; t < N; ++t) {
      if (!in_packs[t]) continue;
      if (stride[t][rank - 1] != 1) return false;
      for (int32_t axis = 0; axis + 1 < rank; ++axis)
        if (stride[t][axis] % width != 0) return false;
    }
    return true;
  }
  void CountInPacks(int64_t width, const bool (&in_packs)[N]) {
    shape[rank - 1] /= width;
    for (int t = 0; t < N; ++t) {
      if (in_packs[t])
        for (int32_t axis = 0; axis + 1 < rank; ++axis) stride[t][axis] /= width;
      else
        stride[t][rank - 1] *= width;
    }
    CountPlaces();
  }

 private:
  static int64_t Magnitude(int64_t value) { return value < 0 ? -value : value; }
  void CountPlaces() {
    count = 1;
    for (int32_t axis = 0; axis < rank; ++axis) count *= shape[axis];
    wide = count > INT32_MAX;
  }
  void SwapAxes(int32_t a, int32_t b) {
    const int64_t length = shape[a];
    shape[a] = shape[b], shape[b] = length;
    for (int t = 0; t < N; ++t) {
      const int64_t step = stride[t][a];
      stride[t][a] = stride[t][b], stride[t][b] = step;
    }
  }
};

// place: below walk.count.
template <int N>
SAGE_DEVICE void OffsetsAt(const Walk<N>& walk, int64_t place, int64_t (&at)[N]) {
  int32_t axis = walk.rank - 1;
  SAGE_UNROLL
  for (int t = 0; t < N; ++t) at[t] = 0;
  if (walk.wide) {
    SAGE_NO_UNROLL
    for (; axis > 0; --axis) {
      const int64_t rest = place / walk.shape[axis], index = place - rest * walk.shape[axis];
      SAGE_UNROLL
      for (int t = 0; t < N; ++t) at[t] += index * walk.stride[t][axis];
      place = rest;
    }
  } else {
    auto small = static_cast<uint32_t>(place);
    SAGE_NO_UNROLL
    for (; axis > 0; --axis) {
      const auto length = static_cast<uint32_t>(walk.shape[axis]);
      const uint32_t rest = small / length, index = small - rest * length;
      SAGE_UNROLL
      for (int t = 0; t < N; ++t) at[t] += static_cast<int64_t>(index) * walk.stride[t][axis];
      small = rest;
    }
    place = static_cast<int64_t>(small);
  }
  SAGE_UNROLL
  for (int t = 0; t < N; ++t) at[t] += place * walk.stride[t][0];
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_WALK_H_
