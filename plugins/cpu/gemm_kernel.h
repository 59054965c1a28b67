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

// `tile` and `row` of GemmKernel with B in 16 bits.
template <class T>
struct GemmNarrow {
  void (*tile)(int64_t k, int32_t rows_used, const T* a, int64_t lda, const uint16_t* b, int64_t ldb, T* c, int64_t ldc,
               int32_t accumulate);
  void (*row)(int64_t k, const T* a, const uint16_t* b, int64_t ldb, int64_t panel_step, int64_t panels, T* c,
              int32_t accumulate);
};

// T: float or double. Every pointer may be unaligned to the vector width, but is aligned to T.
//
// A plain kernel multiplies T. Others pack several numbers of K together, a step, in a form of their own that only has
// T's alignment: pairs of bf16, or tiles. What they cannot hold is `unfit`, and computed by a plain kernel instead.
template <class T>
struct GemmKernel {
  int32_t rows;  // of the largest tile
  int32_t cols;  // of a panel of B: cols consecutive columns, one row of the panel after the other

  // C[rows_used][cols] = (accumulate ? C : 0) + A B over k steps, 1 <= rows_used <= rows. A (i,k) at a[i*lda + k],
  // B (k,j) at b[k*ldb + j], C (i,j) at c[i*ldc + j]. Where a step is not a number A and B are packed, and `rows` rows
  // of A can be read.
  void (*tile)(int64_t k, int32_t rows_used, const T* a, int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc,
               int32_t accumulate);
  // (optional) The same for one row and several panels, panel p at b + p*panel_step: a matrix times a vector.
  void (*row)(int64_t k, const T* a, const T* b, int64_t ldb, int64_t panel_step, int64_t panels, T* c,
              int32_t accumulate);
  // n consecutive elements of a float dtype no wider than T become T. Any byte address.
  void (*widen)(sage_dtype dtype, const void* from, int64_t n, T* to);
  // Panel from B's columns: to[k*cols + j] = from[j*step + k], j < columns; the other columns are left alone.
  void (*transpose)(const T* from, int64_t step, int64_t k, int32_t columns, T* to);
  // (optional) Both with panels of 16-bit numbers, widened on their way: half the bytes, the same bits.
  GemmNarrow<T> bf16, f16;

  int32_t step = 1;        // numbers of K in a step; the last one is filled up with zeros
  int32_t words = 1;       // elements of T that a step of one row or column takes
  sage_dtype rows_as = 0;  // (optional) besides T: consecutive elements of this type are a packed row already
  // Where a step is not a number: `depth` numbers of a row; returns 1 if one of them is unfit, else 0.
  int32_t (*pack_row)(int64_t depth, const T* from, T* to) = nullptr;
  // And `depth` rows of a panel of numbers; unfit[j] becomes 1 if one of column j is, else stays.
  void (*pack_panel)(int64_t depth, const T* from, T* to, uint8_t* unfit) = nullptr;
  const GemmKernel* otherwise = nullptr;  // (optional) a plain one, for rows and columns that have something unfit
  // (optional) Around what a task does, on its thread.
  void (*begin_task)() = nullptr;
  void (*end_task)() = nullptr;
};

extern const GemmKernel<float> kGemmScalarF32, kGemmAvx2F32, kGemmAvx512F32, kGemmNeonF32;
// Pairs of bf16, multiplied by an instruction for them and summed in float.
extern const GemmKernel<float> kGemmAvx512Bf16;
// Three bf16 parts of floats in tiles, and bf16 in tiles: with whatever is unfit in floats, and without.
extern const GemmKernel<float> kGemmAmxF32, kGemmAmxBf16, kGemmAmxBf16Native;
extern const GemmKernel<double> kGemmScalarF64, kGemmAvx2F64, kGemmAvx512F64, kGemmNeonF64;

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_GEMM_KERNEL_H_
