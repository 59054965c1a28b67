// kernels_neon.cc: products of codes on NEON as every aarch64 processor has it (ARMv8.0): 16-bit products of pairs,
// added to 32-bit sums two at a time.
#include <arm_neon.h>
#include <string.h>

#include "kernels.h"

namespace sage::int8 {
namespace {
using cpu::AttentionKernels;
using cpu::ScoreRow;
using cpu::Stored;
#include "cpu/vec_neon.inc.h"
// Its registers, with what only attention asks of them.
#include "cpu/attention_vec_neon.inc.h"
// Four of them,
#include "lanes16_of.inc.h"
// and of integers.
#include "lanes16_neon.inc.h"
// Softmax and products are templates over these.
#include "cpu/attention_softmax.inc.h"
// Sums of products.
#include "products.inc.h"
// The products.
#include "kernels.inc.h"

struct Neon : Lanes16 {
  static constexpr CodeForm kForm = {.unit = 1, .group = 2, .depth_step = 4, .left_offset = 0, .weight_offset = -128};
  static constexpr int kRowGroup = 12, kRows = 4, kColumns = 1;
  static constexpr int64_t kGroupBytes = 2;
  using Partial = Sums;
  using Left = int8x16_t;
  struct Right {
    int8x16_t half[2];  // of columns
  };
  static Sums Final(Partial p) { return p; }
  static Left Broadcast(const char* p) {
    int16_t group;
    memcpy(&group, p, sizeof group);
    return vreinterpretq_s8_s16(vdupq_n_s16(group));
  }
  static Right LoadColumns(const char* p) {
    const auto* const at = reinterpret_cast<const int8_t*>(p);
    return {{vld1q_s8(at), vld1q_s8(at + 16)}};
  }
  // Each product goes to its sum at once: two of -128 x -128 together would be beyond 16 bits.
  static Partial Step(Partial sum, Left left, Right right) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      sum.part[2 * i] = vpadalq_s16(sum.part[2 * i], vmull_s8(vget_low_s8(left), vget_low_s8(right.half[i])));
      sum.part[2 * i + 1] = vpadalq_s16(sum.part[2 * i + 1], vmull_high_s8(left, right.half[i]));
    }
    return sum;
  }
  static void StoreWeights(char* to, Reg codes) { StoreLess128(to, codes); }
  template <bool, class Emit>
  static void Products(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                       int64_t panels, int64_t depth, Emit emit) {
    BroadcastProducts<Neon>(rows, left, row_bytes, right, panel_bytes, panels, depth, emit);
  }
};

}  // namespace

extern const Int8Kernels kNeonKernels = MakeKernels<Neon>("neon");

}  // namespace sage::int8
