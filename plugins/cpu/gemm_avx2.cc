// gemm_avx2.cc: the matrix kernels on AVX2 and FMA. Entered only where CPUID and XGETBV allow it.
#include <immintrin.h>
#include <string.h>

#include "gemm_kernel.h"

namespace sage::cpu {
namespace {
#include "vec_avx2.inc.h"
// The kernels are templates over these.
#include "gemm_kernel.inc.h"
#include "gemm_widen.inc.h"
}  // namespace

extern const GemmKernel<float> kGemmAvx2F32 = {6,
                                               16,
                                               Tile<VecF, 6, 2>,
                                               Row<VecF, 4, 2>,
                                               WidenF32,
                                               Transpose<float, 16>,
                                               {Tile<VecF, 6, 2, FromBf16<VecF>>, Row<VecF, 4, 2, FromBf16<VecF>>},
                                               {Tile<VecF, 6, 2, FromF16<VecF>>, Row<VecF, 4, 2, FromF16<VecF>>}};
extern const GemmKernel<double> kGemmAvx2F64 = {
    6, 8, Tile<VecD, 6, 2>, Row<VecD, 4, 2>, WidenF64, Transpose<double, 8>, {}, {}};

}  // namespace sage::cpu
