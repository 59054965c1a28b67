// attention_amx.cc: the attention kernels on AMX tiles. Entered only where AmxUsable() said yes.
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
// The instructions.
#include "amx_tile.inc.h"
// The products, which end with the table of all.
#include "attention_amx.inc.h"
}  // namespace

extern const AttentionKernels<float> kAttentionAmxF32 = MakeAmxKernels<3, 3>(&kAttentionAvx512F32);
extern const AttentionKernels<float> kAttentionAmxF16 = MakeAmxKernels<2, 3>(&kAttentionAvx512F32);
extern const AttentionKernels<float> kAttentionAmxBf16 = MakeAmxKernels<1, 3>(&kAttentionAvx512F32);
extern const AttentionKernels<float> kAttentionAmxBf16Native = MakeAmxKernels<1, 1>(&kAttentionAvx512F32);

}  // namespace sage::cpu
