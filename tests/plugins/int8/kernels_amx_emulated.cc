// kernels_amx_emulated.cc: the kernels of plugins/int8/kernels_amx.cc over emulated tiles, under the product's name, to
// be linked in their place. Needs AVX-512 as they do.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

namespace sage::int8 {
namespace {
using cpu::AttentionKernels;
using cpu::ScoreRow;
using cpu::Stored;
#include "cpu/vec_avx512.inc.h"
// As in the product, but for the tiles.
#include "cpu/attention_vec_avx512.inc.h"
//
#include "lanes16_avx512.inc.h"
//
#include "cpu/attention_softmax.inc.h"
//
#include "kernels.inc.h"
//
#include "../cpu/amx_emulation.inc.h"
//
#include "kernels_amx.inc.h"
}  // namespace

extern const Int8Kernels kAmxKernels = MakeAmxKernels();

}  // namespace sage::int8
