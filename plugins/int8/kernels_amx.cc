// kernels_amx.cc: the kernels on AMX tiles, with softmax on 512 bits. Entered only where AmxInt8Usable() said yes.
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

namespace sage::int8 {
namespace {
using cpu::AttentionKernels;
using cpu::ScoreRow;
using cpu::Stored;
#include "cpu/vec_avx512.inc.h"
// Its registers, with what only attention asks of them.
#include "cpu/attention_vec_avx512.inc.h"
// With the bits of other widths.
#include "lanes16_avx512.inc.h"
// Softmax and products are templates over these.
#include "cpu/attention_softmax.inc.h"
// The products.
#include "kernels.inc.h"
// The instructions.
#include "cpu/amx_tile.inc.h"
// Sums of products, and the table of all.
#include "kernels_amx.inc.h"
}  // namespace

extern const Int8Kernels kAmxKernels = MakeAmxKernels();

}  // namespace sage::int8
