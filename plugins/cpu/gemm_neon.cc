// gemm_neon.cc: the matrix kernels on NEON, the baseline of aarch64.
#include <arm_neon.h>
#include <string.h>

#include "gemm_kernel.h"

namespace sage::cpu {
namespace {
#include "vec_neon.inc.h"
// The kernels are templates over these.
#include "gemm_kernel.inc.h"
#include "gemm_widen.inc.h"
}  // namespace

// Six rows by four registers: 24 of the 32 registers hold sums, and a factor is multiplied out of its lane.
extern const GemmKernel<float> kGemmNeonF32 = {6,
                                               16,
                                               Tile<VecF, 6, 4>,
                                               Row<VecF, 4, 4>,
                                               WidenF32,
                                               Transpose<float, 16>,
                                               {Tile<VecF, 6, 4, FromBf16<VecF>>, Row<VecF, 4, 4, FromBf16<VecF>>},
                                               {Tile<VecF, 6, 4, FromF16<VecF>>, Row<VecF, 4, 4, FromF16<VecF>>}};
extern const GemmKernel<double> kGemmNeonF64 = {
    6, 8, Tile<VecD, 6, 4>, Row<VecD, 4, 4>, WidenF64, Transpose<double, 8>, {}, {}};

}  // namespace sage::cpu
