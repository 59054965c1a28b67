// attention_neon.cc: the attention kernels on NEON, the baseline of aarch64.
#include <arm_neon.h>
#include <string.h>

#include "attention_kernels.h"

namespace sage::cpu {
namespace {
#include "vec_neon.inc.h"
// Its registers, with what only attention asks of them.
#include "attention_vec_neon.inc.h"
// The kernels are templates over these.
#include "attention_softmax.inc.h"
// The products.
#include "attention_kernels.inc.h"
// The same for a few rows; and the table of all.
#include "attention_in_place.inc.h"
}  // namespace

extern const AttentionKernels<float> kAttentionNeonF32 = MakeKernels<LanesF>();
extern const AttentionKernels<double> kAttentionNeonF64 = MakeKernels<LanesD>();

}  // namespace sage::cpu
