// gemm_amx_emulated.cc: the matrix kernels of plugins/cpu/gemm_amx.cc over emulated tiles, under the product's names,
// to be linked in their place. Needs AVX-512 as they do.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "gemm_kernel.h"

namespace sage::cpu {
namespace {
#include "vec_avx512.inc.h"
// As in the product, but for the tiles.
#include "gemm_widen.inc.h"
//
#include "amx_emulation.inc.h"
//
#include "amx_products.inc.h"
//
#include "gemm_amx.inc.h"
}  // namespace

extern const GemmKernel<float> kGemmAmxF32 = MakeAmxGemm<3>(&kGemmAvx512F32);
extern const GemmKernel<float> kGemmAmxBf16 = MakeAmxGemm<1>(&kGemmAvx512F32);
extern const GemmKernel<float> kGemmAmxBf16Native = MakeAmxGemm<1>(nullptr);

}  // namespace sage::cpu
