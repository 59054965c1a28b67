// strided.h: walking tensors of any strides: axes merged where memory allows, lines read and written as doubles.
//
// Everything here works on the stack, so that a run allocates nothing.
#ifndef SAGE_PLUGINS_CPU_STRIDED_H_
#define SAGE_PLUGINS_CPU_STRIDED_H_

#include <cstdint>

#include "lines.h"
#include "numbers.h"
#include "sage/support/check_op.h"

namespace sage::cpu {

inline int64_t SizeOf(sage_dtype dtype) { return static_cast<int64_t>(support::DtypeSize(dtype)); }

inline const char* BytesOf(const sage_tensor& tensor) { return static_cast<const char*>(tensor.data); }
inline char* MutableBytesOf(const sage_tensor& tensor) { return static_cast<char*>(tensor.data); }

using support::ElementCount;

// An index space shared by N tensors: neighbouring axes are merged where all of them allow it, axes of length 1 fall
// away. The last axis is the line.
template <int N>
struct Walk {
  uint32_t rank = 0;
  int64_t shape[SAGE_MAX_RANK] = {};
  int64_t stride[N][SAGE_MAX_RANK] = {};

  // Appends an axis, outermost first.
  void Append(int64_t length, const int64_t (&steps)[N]) {
    if (length == 1) return;
    if (rank > 0) {
      bool merges = true;
      for (int t = 0; t < N; ++t) merges = merges && stride[t][rank - 1] == steps[t] * length;
      if (merges) {
        shape[rank - 1] *= length;
        for (int t = 0; t < N; ++t) stride[t][rank - 1] = steps[t];
        return;
      }
    }
    shape[rank] = length;
    for (int t = 0; t < N; ++t) stride[t][rank] = steps[t];
    ++rank;
  }
  int64_t LineLength() const { return rank == 0 ? 1 : shape[rank - 1]; }
  int64_t LineStep(int t) const { return rank == 0 ? 1 : stride[t][rank - 1]; }
  int64_t Lines() const {
    int64_t lines = 1;
    for (uint32_t i = 0; i + 1 < rank; ++i) lines *= shape[i];
    return lines;
  }
  int64_t Elements() const { return Lines() * LineLength(); }
  // Where a line starts, in elements, per tensor.
  void LineStart(int64_t line, int64_t (&offset)[N]) const {
    for (int t = 0; t < N; ++t) offset[t] = 0;
    for (uint32_t i = rank > 0 ? rank - 1 : 0; i-- > 0;) {
      const int64_t index = line % shape[i];
      line /= shape[i];
      for (int t = 0; t < N; ++t) offset[t] += index * stride[t][i];
    }
  }
  // Offset of an element by its place in row-major order.
  int64_t Offset(int64_t index) const {
    if (rank == 1) return index * stride[0][0];
    int64_t offset = 0;
    for (uint32_t i = rank; i-- > 0;) {
      offset += (index % shape[i]) * stride[0][i];
      index /= shape[i];
    }
    return offset;
  }
  // One axis at most: element i lies at i * LineStep.
  bool Regular() const { return rank <= 1; }
  void SwapAxes(uint32_t a, uint32_t b) {
    const int64_t length = shape[a];
    shape[a] = shape[b], shape[b] = length;
    for (int t = 0; t < N; ++t) {
      const int64_t step = stride[t][a];
      stride[t][a] = stride[t][b], stride[t][b] = step;
    }
  }
};

// n elements, `step` elements apart, as doubles; and back, rounded once. f64 f32 f16 bf16, any byte address.
inline void LoadLine(const LineKernels& lines, sage_dtype dtype, const char* from, int64_t step, int64_t n,
                     double* to) {
  if (step == 1) return lines.load(dtype, from, n, to);
  const int64_t size = SizeOf(dtype);
  if (step == 0) {
    const double value = ReadFloat(dtype, from);
    for (int64_t i = 0; i < n; ++i) to[i] = value;
    return;
  }
  for (int64_t i = 0; i < n; ++i) to[i] = ReadFloat(dtype, from + i * step * size);
}

inline void StoreLine(const LineKernels& lines, sage_dtype dtype, const double* from, int64_t n, char* to,
                      int64_t step) {
  if (step == 1) return lines.store(dtype, from, n, to);
  const int64_t size = SizeOf(dtype);
  for (int64_t i = 0; i < n; ++i) WriteFloat(dtype, to + i * step * size, from[i]);
}

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_STRIDED_H_
