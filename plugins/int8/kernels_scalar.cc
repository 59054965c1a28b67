// kernels_scalar.cc: products of codes in portable C++, for machines without any of the others, and to compare with.
#include <stdint.h>
#include <string.h>

#include "kernels.h"

namespace sage::int8 {
namespace {
using cpu::AttentionKernels;
using cpu::ScoreRow;
using cpu::Stored;

// Narrow floats are read by the cpu's kernels only.
inline float Bf16ToFloat(uint16_t) { return 0; }
inline float F16ToFloat(uint16_t) { return 0; }
#include "cpu/vec_scalar.inc.h"
// Its one number, with what only attention asks of it.
#include "cpu/attention_vec_scalar.inc.h"
// Sixteen of them.
#include "lanes16_of.inc.h"
// Softmax and products are templates over these.
#include "cpu/attention_softmax.inc.h"
// The products.
#include "kernels.inc.h"

// One number, multiplied and added with one rounding, as everywhere else.
struct FusedLane : LanesF {
  static Reg Fma(Reg a, Reg b, Reg c) { return __builtin_fmaf(a, b, c); }
};

struct Scalar16 : Lanes16Of<FusedLane> {
  static constexpr CodeForm kForm = {.unit = 1, .group = 4, .depth_step = 4, .left_offset = 0, .weight_offset = 0};
  static constexpr int kRowGroup = 4;
  struct Sums {
    int32_t lane[16];
  };
  static int32_t Signed(const char* p) { return static_cast<signed char>(*p); }
  static Reg ToFloats(const Sums& sums) {
    return Each<Reg>([&](int i) { return static_cast<float>(sums.lane[i]); });
  }
  static void StoreSums(int32_t* p, const Sums& sums) { memcpy(p, sums.lane, sizeof sums.lane); }
  static void StoreWeights(char* to, Reg codes) { StoreBytes(to, codes); }
  static void StoreBytes(char* to, Reg codes) {
    for (int i = 0; i < 16; ++i) {
      const float rounded = codes.part[i] + 0x1.8p23f;  // to nearest even
      int32_t bits;
      memcpy(&bits, &rounded, sizeof bits);
      to[i] = static_cast<char>(bits & 0xff);
    }
  }
  // Weights are unsigned, queries are not.
  template <bool kUnsigned>
  static void AddProducts(Sums* sums, const char* left, const char* right) {
    for (int i = 0; i < 4; ++i) {
      const int32_t factor = kUnsigned ? static_cast<unsigned char>(left[i]) : Signed(left + i);
      for (int lane = 0; lane < 16; ++lane) sums->lane[lane] += factor * Signed(right + lane * 4 + i);
    }
  }
  template <bool kUnsigned, class Emit>
  static void Products(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                       int64_t panels, int64_t depth, Emit emit) {
    for (int64_t panel = 0; panel < panels; ++panel)
      for (int64_t r = 0; r < rows; ++r) {
        Sums sums{};
        for (int64_t k = 0; k < depth; k += 4)
          AddProducts<kUnsigned>(&sums, left + r * row_bytes + k, right + panel * panel_bytes + k * 16);
        emit(r, panel, sums);
      }
  }
};

}  // namespace

extern const Int8Kernels kScalarKernels = MakeKernels<Scalar16>("scalar");

}  // namespace sage::int8
