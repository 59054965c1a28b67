// attention_amx_emulated.cc: the attention kernels of plugins/cpu/attention_amx.cc over emulated tiles. Needs AVX-512
// as they do.
//
// By default under the product's names, to be linked in their place; with SAGE_EMULATED_BESIDE under names of their
// own.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "attention_kernels.h"

namespace sage::cpu {
namespace {
#include "vec_avx512.inc.h"
// As in the product, but for the tiles.
#include "attention_vec_avx512.inc.h"
//
#include "attention_softmax.inc.h"
//
#include "amx_emulation.inc.h"
//
#include "attention_amx.inc.h"
}  // namespace

#ifdef SAGE_EMULATED_BESIDE
#define SAGE_TABLE(name) kEmulated##name
#else
#define SAGE_TABLE(name) kAttention##name
#endif

extern const AttentionKernels<float> SAGE_TABLE(AmxF32), SAGE_TABLE(AmxF16), SAGE_TABLE(AmxBf16),
    SAGE_TABLE(AmxBf16Native);
const AttentionKernels<float> SAGE_TABLE(AmxF32) = MakeAmxKernels<3, 3>(&kAttentionAvx512F32);
const AttentionKernels<float> SAGE_TABLE(AmxF16) = MakeAmxKernels<2, 3>(&kAttentionAvx512F32);
const AttentionKernels<float> SAGE_TABLE(AmxBf16) = MakeAmxKernels<1, 3>(&kAttentionAvx512F32);
const AttentionKernels<float> SAGE_TABLE(AmxBf16Native) = MakeAmxKernels<1, 1>(&kAttentionAvx512F32);

}  // namespace sage::cpu
