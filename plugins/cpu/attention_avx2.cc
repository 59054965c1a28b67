// attention_avx2.cc: the attention kernels on AVX2, FMA and F16C. Entered only where CPUID and XGETBV allow it.
#include <immintrin.h>
#include <string.h>

#include "attention_kernels.h"

namespace sage::cpu {
namespace {
#include "vec_avx2.inc.h"
// Its registers, with what only attention asks of them.
#include "attention_vec_avx2.inc.h"
// The kernels are templates over these.
#include "attention_softmax.inc.h"
// The products.
#include "attention_kernels.inc.h"
// The same for a few rows; and the table of all.
#include "attention_in_place.inc.h"
}  // namespace

extern const AttentionKernels<float> kAttentionAvx2F32 = MakeKernels<LanesF>();
extern const AttentionKernels<double> kAttentionAvx2F64 = MakeKernels<LanesD>();

}  // namespace sage::cpu
