// gemm_scalar.cc: the matrix kernels in portable C++, for use_simd = false and for machines without a vector path.
//
// Compiled without the compiler's own vectoriser: scalar means scalar.
#include <cstring>

#include "gemm_kernel.h"
#include "numbers.h"

namespace sage::cpu {
namespace {
#include "vec_scalar.inc.h"
// The kernels are templates over it.
#include "gemm_kernel.inc.h"

void WidenF32(sage_dtype dtype, const void* from, int64_t n, float* to) {
  const char* bytes = static_cast<const char*>(from);
  if (dtype == SAGE_BF16)
    for (int64_t i = 0; i < n; ++i) to[i] = Bf16ToFloat(ReadAs<uint16_t>(bytes + 2 * i));
  else if (dtype == SAGE_F16)
    for (int64_t i = 0; i < n; ++i) to[i] = F16ToFloat(ReadAs<uint16_t>(bytes + 2 * i));
  else
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

void WidenF64(sage_dtype dtype, const void* from, int64_t n, double* to) {
  const int64_t size = dtype == SAGE_F64 ? 8 : dtype == SAGE_F32 ? 4 : 2;
  for (int64_t i = 0; i < n; ++i) to[i] = ReadFloat(dtype, static_cast<const char*>(from) + i * size);
}
}  // namespace

extern const GemmKernel<float> kGemmScalarF32 = {
    2, 4, Tile<VecOne<float>, 2, 4>, Row<VecOne<float>, 2, 4>, WidenF32, Transpose<float, 4>, {}, {}};
extern const GemmKernel<double> kGemmScalarF64 = {
    2, 4, Tile<VecOne<double>, 2, 4>, Row<VecOne<double>, 2, 4>, WidenF64, Transpose<double, 4>, {}, {}};

}  // namespace sage::cpu
