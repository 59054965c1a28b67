// attention_avx512.cc: the attention kernels on AVX-512. Entered only where CPUID and XGETBV allow it.
#include <immintrin.h>
#include <string.h>

#include "attention_kernels.h"

namespace sage::cpu {
namespace {
#include "vec_avx512.inc.h"
// Its registers, with what only attention asks of them.
#include "attention_vec_avx512.inc.h"
// The kernels are templates over these.
#include "attention_softmax.inc.h"
// The products.
#include "attention_kernels.inc.h"
// The same for a few rows; and the table of all.
#include "attention_in_place.inc.h"
}  // namespace

extern const AttentionKernels<float> kAttentionAvx512F32 = MakeKernels<LanesF>();
extern const AttentionKernels<double> kAttentionAvx512F64 = MakeKernels<LanesD>();

}  // namespace sage::cpu
