// gemm_amx.cc: the matrix kernels on AMX tiles. Entered only where AmxUsable() said yes.
#include <immintrin.h>
#include <string.h>

#include "gemm_kernel.h"

namespace sage::cpu {
namespace {
#include "vec_avx512.inc.h"
// Its registers fill with numbers of any type.
#include "gemm_widen.inc.h"
// The instructions.
#include "amx_tile.inc.h"
// What all products in tiles share.
#include "amx_products.inc.h"
// The tables.
#include "gemm_amx.inc.h"
}  // namespace

extern const GemmKernel<float> kGemmAmxF32 = MakeAmxGemm<3>(&kGemmAvx512F32);
extern const GemmKernel<float> kGemmAmxBf16 = MakeAmxGemm<1>(&kGemmAvx512F32);
extern const GemmKernel<float> kGemmAmxBf16Native = MakeAmxGemm<1>(nullptr);

}  // namespace sage::cpu
