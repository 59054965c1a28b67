// attention_scalar.cc: the attention kernels in portable C++.
#include <string.h>

#include "attention_kernels.h"
#include "numbers.h"

namespace sage::cpu {
namespace {
#include "vec_scalar.inc.h"
// Its register, with what only attention asks of it.
#include "attention_vec_scalar.inc.h"
// The kernels are templates over these.
#include "attention_softmax.inc.h"
// The products.
#include "attention_kernels.inc.h"
// The same for a few rows; and the table of all.
#include "attention_in_place.inc.h"
}  // namespace

extern const AttentionKernels<float> kAttentionScalarF32 = MakeKernels<LanesF>();
extern const AttentionKernels<double> kAttentionScalarF64 = MakeKernels<LanesD>();

}  // namespace sage::cpu
