// lines.h: what the ops other than the matrix products do to a line of numbers, one table an instruction set.
//
// Everything is computed in double and rounded once: f32 and 16-bit results are then as good as they can be, f64 and
// the statistics of all types share one code, and the price is small, since these ops wait for memory. The few
// functions for which float arithmetic gives the same bits have a direct float path.
#ifndef SAGE_PLUGINS_CPU_LINES_H_
#define SAGE_PLUGINS_CPU_LINES_H_

#include <stdint.h>

#include "cpu_features.h"
#include "sage/ops.h"

namespace sage::cpu {

// A line is worked on in pieces of this many doubles, in a buffer on the stack.
constexpr int64_t kPiece = 256;

// Buffers of doubles have room up to the next multiple of 8 elements and are aligned to double; what lies past n is
// overwritten with anything. Sources and targets of load and store may lie at any byte address and are touched exactly.
struct LineKernels {
  // n consecutive f64, f32, bf16 or f16 from memory, or to memory, rounded once to nearest even.
  void (*load)(sage_dtype dtype, const void* from, int64_t n, double* to);
  void (*store)(sage_dtype dtype, const double* from, int64_t n, void* to);
  void (*unary)(uint32_t function, double alpha, double* x, int64_t n);                       // SAGE_FN_*, in place
  void (*binary)(uint32_t function, const double* a, const double* b, double* y, int64_t n);  // y may be a or b
  double (*sum)(const double* x, int64_t n);
  double (*sum_squares)(const double* x, int64_t n, double about);   // of x - about
  double (*extreme)(const double* x, int64_t n, int32_t smallest);   // NaN if there is one; n >= 1
  double (*exp_sum)(double* x, int64_t n, double shift);             // x = exp(x - shift), and their sum
  void (*affine)(double* x, int64_t n, double shift, double scale);  // x = (x - shift) * scale
  // Straight on floats at any byte address; false where the function is not one that float arithmetic computes alike.
  // A step of 0 repeats an operand.
  int32_t (*unary_f32)(uint32_t function, const void* x, void* y, int64_t n);
  int32_t (*binary_f32)(uint32_t function, const void* a, int32_t a_step, const void* b, int32_t b_step, void* y,
                        int64_t n);
};

extern const LineKernels kLinesScalar, kLinesAvx2, kLinesAvx512, kLinesNeon;

inline const LineKernels& LinesFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kLinesAvx512;
  if (isa == Isa::kAvx2) return kLinesAvx2;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kLinesNeon;
#endif
  (void)isa;
  return kLinesScalar;
}

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_LINES_H_
