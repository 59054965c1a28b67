// linear_epilogue.h: from exact sums of products to Y: scales, bias, function, one rounding.
#ifndef SAGE_PLUGINS_INT8_LINEAR_EPILOGUE_H_
#define SAGE_PLUGINS_INT8_LINEAR_EPILOGUE_H_

#include <cstdint>

#include "cpu/lines.h"
#include "cpu/strided.h"
#include "sage/plugin.h"

namespace sage::int8 {

constexpr int64_t kLinearColumns = 128;  // of a task, at most

// Of one run. Free-threaded.
class LinearEpilogue {
 public:
  // bias: null: none.
  LinearEpilogue(const cpu::LineKernels& lines, const sage_tensor* bias, uint32_t activation, const sage_tensor& y);

  // What the rows of one task share: columns [first, first + count); zeros up to whole panels.
  struct Columns {
    int64_t first, count;
    alignas(64) float scale[kLinearColumns];
    alignas(64) float bias[kLinearColumns];
    alignas(64) double wide_bias[kLinearColumns];
  };
  // All but the scales.
  void Begin(int64_t first, int64_t count, Columns* columns) const;

  // Whether sums of a row of this scale may be multiplied and added to in floats: Y is not wider, and no step is beyond
  // a float, nor below its normal range, where the result is not.
  bool InFloats(float scale) const { return !wide_ && (scale == 0 || (scale >= 0x1p-60f && scale <= 0x1p60f)); }
  // One row of Y: from sums that have their scales and bias; and from those that have not. line is overwritten.
  void StoreFloats(int64_t row, float* line, const Columns& columns) const;
  void StoreSums(int64_t row, const int32_t* sums, float scale, const Columns& columns) const;
  bool wide() const { return wide_; }

 private:
  char* At(int64_t row, const Columns& columns) const {
    return y_ + (rows_.Offset(row) + columns.first * step_) * size_;
  }
  void Store(double* piece, int64_t count, char* to) const;

  const cpu::LineKernels& lines_;
  const sage_tensor* bias_;
  uint32_t activation_;
  char* y_;
  sage_dtype dtype_;
  cpu::Walk<1> rows_;
  int64_t step_, size_;
  bool wide_;    // some type has more digits than a float
  bool direct_;  // floats one after the other, of a function that floats compute
};

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_LINEAR_EPILOGUE_H_
