// kernels_i8mm.cc: products of codes by smmla and usmmla (ARMv8.6, feature I8MM): two rows by two columns by eight
// codes an instruction. Entered only where HWCAP has it.
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

// Up to 2 * kPairs rows by one panel: a register holds eight codes of two rows, or of two columns, and a sum the four
// of two rows and two columns. Of an odd number of rows the last is its own neighbour.
template <bool kUnsigned, int kPairs, class Emit>
void MatrixTile(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t depth, int64_t row,
                int64_t panel, Emit emit) {
  int32x4_t sums[kPairs][8];
  for (auto& line : sums)
    for (int32x4_t& sum : line) sum = vdupq_n_s32(0);
  const char* const last = left + (rows - 1) * row_bytes;
  const auto* codes = reinterpret_cast<const int8_t*>(right);
  for (int64_t k = 0; k < depth; k += 8, codes += 8 * kPanel) {
    int8x16_t factors[kPairs];
#pragma GCC unroll 4
    for (int p = 0; p < kPairs; ++p) {
      const char* const first = left + 2 * p * row_bytes;
      const char* const second = p + 1 < kPairs ? first + row_bytes : last;
      factors[p] = vcombine_s8(vld1_s8(reinterpret_cast<const int8_t*>(first + k)),
                               vld1_s8(reinterpret_cast<const int8_t*>(second + k)));
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const int8x16_t columns = vld1q_s8(codes + i * 16);
#pragma GCC unroll 4
      for (int p = 0; p < kPairs; ++p) {
        if constexpr (kUnsigned)
          sums[p][i] = vusmmlaq_s32(sums[p][i], vreinterpretq_u8_s8(factors[p]), columns);
        else
          sums[p][i] = vmmlaq_s32(sums[p][i], factors[p], columns);
      }
    }
  }
  const auto lower = [](int32x4_t a, int32x4_t b) { return vcombine_s32(vget_low_s32(a), vget_low_s32(b)); };
  const auto upper = [](int32x4_t a, int32x4_t b) { return vcombine_s32(vget_high_s32(a), vget_high_s32(b)); };
#pragma GCC unroll 4
  for (int p = 0; p < kPairs; ++p) {
    const int32x4_t* const s = sums[p];
    emit(row + 2 * p, panel,
         Lanes16::Sums{{lower(s[0], s[1]), lower(s[2], s[3]), lower(s[4], s[5]), lower(s[6], s[7])}});
    if (2 * p + 1 < rows)
      emit(row + 2 * p + 1, panel,
           Lanes16::Sums{{upper(s[0], s[1]), upper(s[2], s[3]), upper(s[4], s[5]), upper(s[6], s[7])}});
  }
}

template <bool kUnsigned, int kPairs, class Emit>
inline void MatrixRows(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                       int64_t panels, int64_t depth, int64_t row, Emit emit) {
  if constexpr (kPairs > 1) {
    if (rows <= 2 * (kPairs - 1))
      return MatrixRows<kUnsigned, kPairs - 1>(rows, left, row_bytes, right, panel_bytes, panels, depth, row, emit);
  }
  if (rows > 2 * kPairs) rows = 2 * kPairs;
  for (int64_t p = 0; p < panels; ++p)
    MatrixTile<kUnsigned, kPairs>(rows, left, row_bytes, right + p * panel_bytes, depth, row, p, emit);
}

struct I8mm : Lanes16 {
  static constexpr CodeForm kForm = {.unit = 1, .group = 8, .depth_step = 8, .left_offset = 0, .weight_offset = 0};
  static constexpr int kRowGroup = 12, kPairs = 3;
  static void StoreWeights(char* to, Reg codes) { StoreBytes(to, codes); }
  template <bool kUnsigned, class Emit>
  static void Products(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                       int64_t panels, int64_t depth, Emit emit) {
    for (int64_t r = 0; r < rows; r += 2 * kPairs)
      MatrixRows<kUnsigned, kPairs>(rows - r, left + r * row_bytes, row_bytes, right, panel_bytes, panels, depth, r,
                                    emit);
  }
};

}  // namespace

extern const Int8Kernels kI8mmKernels = MakeKernels<I8mm>("i8mm");

}  // namespace sage::int8
