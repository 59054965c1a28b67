// attention_avx512bf16.cc: the attention kernels of bf16 tensors on AVX-512 with its bf16 dot products. Entered only
// where CPUID and XGETBV allow it.
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
// Those of pairs of bf16 instead.
#include "attention_bf16.inc.h"
}  // namespace

extern const AttentionKernels<float> kAttentionAvx512Bf16 = MakeBf16Kernels();

}  // namespace sage::cpu
