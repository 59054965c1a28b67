// gemm_kernel.h: the innermost loops of LINEAR and MATMUL, one table an instruction set and number type.
//
// A tile sums k products in order, by fused multiply-adds where the instruction set has them, from zero; what the sum
// is for one row and one column does not depend on how many rows or columns are computed beside it. That is what makes
// results the same for every batch size, thread count and packing.
#ifndef SAGE_PLUGINS_CPU_GEMM_KERNEL_H_
#define SAGE_PLUGINS_CPU_GEMM_KERNEL_H_

#include <stdint.h>

#include "sage/types.h"

namespace sage::cpu {

// T: float or double. Every pointer may be unaligned to the vector width, but is aligned to T.
template <class T>
struct GemmKernel {
  int32_t rows;  // of the largest tile
  int32_t cols;  // of a panel of B: cols consecutive columns, one row of the panel after the other

  // C[rows_used][cols] = (accumulate ? C : 0) + A B over k steps, 1 <= rows_used <= rows. A (i,k) at a[i*lda + k],
  // B (k,j) at b[k*ldb + j], C (i,j) at c[i*ldc + j].
  void (*tile)(int64_t k, int32_t rows_used, const T* a, int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc,
               int32_t accumulate);
  // The same for one row and several panels, panel p at b + p*panel_step: what a matrix times a vector is made of.
  void (*row)(int64_t k, const T* a, const T* b, int64_t ldb, int64_t panel_step, int64_t panels, T* c,
              int32_t accumulate);
  // n consecutive elements of a float dtype no wider than T become T. Any byte address.
  void (*widen)(sage_dtype dtype, const void* from, int64_t n, T* to);
  // Panel from B's columns: to[k*cols + j] = from[j*step + k], j < columns; the other columns are left alone.
  void (*transpose)(const T* from, int64_t step, int64_t k, int32_t columns, T* to);
};

extern const GemmKernel<float> kGemmScalarF32, kGemmAvx2F32, kGemmAvx512F32, kGemmNeonF32;
extern const GemmKernel<double> kGemmScalarF64, kGemmAvx2F64, kGemmAvx512F64, kGemmNeonF64;

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_GEMM_KERNEL_H_
