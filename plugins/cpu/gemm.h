// gemm.h: C = fn(A B + bias) over strided operands of mixed float types: what LINEAR and MATMUL share.
//
// The sum over K is taken in fixed blocks of kGemmDepth, each in order from zero, the blocks added in order: so a
// result depends on its row of A and its column of B and on nothing else, not on how many rows there are, how many
// threads, or whether B was packed beforehand. Short chains also make the error smaller than one long chain's.
#ifndef SAGE_PLUGINS_CPU_GEMM_H_
#define SAGE_PLUGINS_CPU_GEMM_H_

#include <cstdint>

#include "family.h"
#include "gemm_kernel.h"
#include "lines.h"
#include "strided.h"

namespace sage::cpu {

constexpr int64_t kGemmDepth = 128;       // steps of K per block
constexpr int64_t kGemmColumns = 192;     // columns per task: a multiple of every kernel's panel
constexpr int64_t kGemmMostColumns = 64;  // of a panel
constexpr int64_t kGemmRows = 96;         // rows per task with B packed; twice that where the task packs B itself

// What two operands are multiplied with here, and how fast it is.
struct GemmChoice {
  Isa isa = Isa::kScalar;                     // whose kernel it is; the epilogue runs on VectorsOf(isa)
  const GemmKernel<float>* single = nullptr;  // one of the two
  const GemmKernel<double>* wide = nullptr;   // where any operand is f64
  sage_dtype packed_as = SAGE_F32;  // how a plain kernel's packed B keeps its numbers: SAGE_F64, _F32 or 16 bits
  uint32_t accuracy = SAGE_ACCURACY_EXACT;
  const char* arithmetic = "in f32";
  double products = 1;      // multiply-adds per nanosecond of one core
  double packed_bytes = 4;  // of a number of packed B
  int64_t row_step = 1;     // rows that cost the same as one

  template <class T>
  const GemmKernel<T>& Kernel() const;
};

// a, b: slots of the operands in view; rows: of A, the most there will be. Pure. accuracy is within what the op allows.
GemmChoice ChooseGemm(const Context& context, const OpView& view, uint32_t a, uint32_t b, int64_t rows);

// One product, or `batch` of them. Strides in elements. T is what is computed in: double if any operand is f64.
template <class T>
struct Gemm {
  const GemmKernel<T>* kernel = nullptr;
  const LineKernels* lines = nullptr;
  int64_t batch = 1, m = 0, n = 0, k = 0;
  // Element (i, p) of A lies at a_batch(b) + a_rows(i) + p * a_step, and so on.
  const char* a = nullptr;
  sage_dtype a_dtype = 0;
  Walk<1> a_batch, a_rows;
  int64_t a_step = 1;
  const char* packed = nullptr;     // (optional) all of B by PackGemm; b is read all the same where something is unfit
  sage_dtype packed_as = SAGE_F32;  // the numbers of `packed` where the kernel is a plain one
  const char* b = nullptr;
  sage_dtype b_dtype = 0;
  Walk<1> b_batch;
  int64_t b_k = 0, b_n = 0;
  const char* bias = nullptr;  // (optional) [n]
  sage_dtype bias_dtype = 0;
  int64_t bias_step = 1;
  uint32_t activation = SAGE_FN_IDENTITY;  // SAGE_FN_*
  char* y = nullptr;
  sage_dtype y_dtype = 0;
  Walk<1> y_batch, y_rows;
  int64_t y_step = 1;
};

// Scratch for every worker, at most these sizes. Bytes, a multiple of 64.
template <class T>
uint64_t GemmScratchBytes(const GemmKernel<T>& kernel, int64_t m, int64_t n, bool packed);

// Bytes that B packed takes; -1 where that overflows.
template <class T>
int64_t PackedBytes(const GemmKernel<T>& kernel, sage_dtype packed_as, int64_t n, int64_t k);

// Packs all of B (its fields of gemm) into `to`, of PackedBytes and aligned to 64 bytes.
template <class T>
void PackGemm(const Gemm<T>& gemm, char* to);

// workspace: GemmScratchBytes for every worker of the host. ns: what one worker alone would need.
template <class T>
sage_status RunGemm(const Gemm<T>& gemm, const sage_host* host, double ns, const sage_run_args& args, sage_error* err);

// What one worker needs for `batch` products, in nanoseconds.
double GemmNs(const GemmChoice& choice, double batch, double m, double n, double k, bool packed);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_GEMM_H_
