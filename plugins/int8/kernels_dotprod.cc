// kernels_dotprod.cc: products of codes by sdot (ARMv8.2, feature DotProd), four of them at a time, both sides signed.
// Entered only where HWCAP has it.
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
// The products.
#include "kernels.inc.h"

// kRows rows by one panel. Four groups of a row are one register, of whose lanes sdot takes one.
template <int kRows, class Emit>
void SdotTile(const char* left, int64_t row_bytes, const char* right, int64_t depth, int64_t row, int64_t panel,
              Emit emit) {
  int32x4_t sums[kRows][4];
  for (auto& line : sums)
    for (int32x4_t& sum : line) sum = vdupq_n_s32(0);
  const auto* codes = reinterpret_cast<const int8_t*>(right);
  for (int64_t k = 0; k < depth; k += 16, codes += 16 * kPanel) {
    int8x16_t factors[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) factors[r] = vld1q_s8(reinterpret_cast<const int8_t*>(left + r * row_bytes + k));
#define SAGE_INT8_GROUP(group)                                               \
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) {                      \
    const int8x16_t columns = vld1q_s8(codes + (group)*4 * kPanel + i * 16); \
    _Pragma("GCC unroll 8") for (int r = 0; r < kRows; ++r) sums[r][i] =     \
        vdotq_laneq_s32(sums[r][i], columns, factors[r], group);             \
  }
    SAGE_INT8_GROUP(0)
    SAGE_INT8_GROUP(1)
    SAGE_INT8_GROUP(2)
    SAGE_INT8_GROUP(3)
#undef SAGE_INT8_GROUP
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) emit(row + r, panel, Lanes16::Sums{{sums[r][0], sums[r][1], sums[r][2], sums[r][3]}});
}

template <int kRows, class Emit>
inline void SdotRows(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                     int64_t panels, int64_t depth, int64_t row, Emit emit) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return SdotRows<kRows - 1>(rows, left, row_bytes, right, panel_bytes, panels, depth, row, emit);
  }
  for (int64_t p = 0; p < panels; ++p) SdotTile<kRows>(left, row_bytes, right + p * panel_bytes, depth, row, p, emit);
}

struct Dotprod : Lanes16 {
  static constexpr CodeForm kForm = {.unit = 1, .group = 4, .depth_step = 16, .left_offset = 0, .weight_offset = -128};
  static constexpr int kRowGroup = 12, kRows = 6;
  static void StoreWeights(char* to, Reg codes) { StoreLess128(to, codes); }
  template <bool, class Emit>
  static void Products(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                       int64_t panels, int64_t depth, Emit emit) {
    for (int64_t r = 0; r < rows; r += kRows)
      SdotRows<kRows>(rows - r, left + r * row_bytes, row_bytes, right, panel_bytes, panels, depth, r, emit);
  }
};

}  // namespace

extern const Int8Kernels kDotprodKernels = MakeKernels<Dotprod>("dotprod");

}  // namespace sage::int8
