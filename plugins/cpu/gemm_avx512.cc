// gemm_avx512.cc: the matrix kernels on AVX-512. Entered only where CPUID and XGETBV allow it.
#include <immintrin.h>
#include <string.h>

#include "gemm_kernel.h"

namespace sage::cpu {
namespace {
#include "vec_avx512.inc.h"
// The kernels are templates over these.
#include "gemm_kernel.inc.h"
#include "gemm_widen.inc.h"
}  // namespace

extern const GemmKernel<float> kGemmAvx512F32 = {6,
                                                 64,
                                                 Tile<VecF, 6, 4>,
                                                 Row<VecF, 3, 4>,
                                                 WidenF32,
                                                 Transpose<float, 64>,
                                                 {Tile<VecF, 6, 4, FromBf16<VecF>>, Row<VecF, 3, 4, FromBf16<VecF>>},
                                                 {Tile<VecF, 6, 4, FromF16<VecF>>, Row<VecF, 3, 4, FromF16<VecF>>}};
extern const GemmKernel<double> kGemmAvx512F64 = {
    6, 32, Tile<VecD, 6, 4>, Row<VecD, 3, 4>, WidenF64, Transpose<double, 32>, {}, {}};

}  // namespace sage::cpu
