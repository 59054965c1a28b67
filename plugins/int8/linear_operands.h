// linear_operands.h: X and W of LINEAR as codes and scales, laid out for the kernels (panels.h).
#ifndef SAGE_PLUGINS_INT8_LINEAR_OPERANDS_H_
#define SAGE_PLUGINS_INT8_LINEAR_OPERANDS_H_

#include <cstdint>

#include "cpu/strided.h"
#include "kernels.h"

namespace sage::int8 {

// A matrix by rows, in elements: W, or X with its leading axes as one. Element (i, p) lies at rows(i) + p * step.
struct CodeSource {
  CodeSource() = default;
  explicit CodeSource(const sage_tensor& tensor);

  const char* Row(int64_t i) const { return data + rows.Offset(i) * cpu::SizeOf(dtype); }
  int64_t StepBytes() const { return step * cpu::SizeOf(dtype); }

  const char* data = nullptr;
  sage_dtype dtype = 0;  // f32, f16, bf16: quantised here; i8: codes
  cpu::Walk<1> rows;
  int64_t length = 0, step = 1;
};

// A caller's scales, f32 [1] or one a row; absent: 1.
class LinearScales {
 public:
  LinearScales() = default;
  explicit LinearScales(const sage_tensor& tensor);

  float At(int64_t i) const;
  // What is not a finite number above 0 is an error that names the slot and the index.
  sage_status Check(const char* name, sage_error* err) const;

 private:
  const char* data_ = nullptr;
  int64_t count_ = 0, step_ = 0;  // bytes; 0: one for all
};

// Scratch of a worker for either of the two below, `length` numbers a row. A multiple of 64.
int64_t QuantiseScratchBytes(int64_t length);

// Rows [first, first + count) of X on the left: RowBytes each, the scale in the tail. scales: of codes.
void LayLinearRows(const Int8Kernels& kernels, const CodeSource& x, const LinearScales& scales, int64_t first,
                   int64_t count, char* scratch, char* to);
float ScaleOfRow(const CodeForm& form, const char* row, int64_t length);

// Bytes of W, packed for all of its n rows; -1 where that overflows.
int64_t WeightBytes(const CodeForm& form, int64_t n, int64_t length);

// Rows [first, first + count) of W as panels of 16, first a multiple of 16. The heads have the scales of what is
// quantised here, 1 for codes.
void LayWeights(const Int8Kernels& kernels, const CodeSource& w, int64_t first, int64_t count, char* scratch, char* to);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_LINEAR_OPERANDS_H_
