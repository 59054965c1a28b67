// kernels_avx512vnni.cc: products of codes by vpdpbusd on 512 bits, whose left side is unsigned. Entered only where
// CPUID and XGETBV allow it.
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
// Sums of products.
#include "products.inc.h"
// The products.
#include "kernels.inc.h"

struct Vnni : Lanes16 {
  static constexpr CodeForm kForm = {.unit = 1, .group = 4, .depth_step = 4, .left_offset = 128, .weight_offset = 0};
  static constexpr int kRowGroup = 12, kRows = 6, kColumns = 4;
  static constexpr int64_t kGroupBytes = 4;
  using Partial = __m512i;
  using Left = __m512i;
  using Right = __m512i;
  static Partial Zero() { return _mm512_setzero_si512(); }
  static Sums Final(Partial p) { return p; }
  static Left Broadcast(const char* p) {
    int32_t group;
    memcpy(&group, p, sizeof group);
    return _mm512_set1_epi32(group);
  }
  static Right LoadColumns(const char* p) { return _mm512_loadu_si512(p); }
  // For the assembler: GCC 12 moves every sum to another register and back around its own intrinsic.
  static Partial Step(Partial sum, Left left, Right right) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(left), "v"(right));
    return sum;
  }
  static void StoreWeights(char* to, Reg codes) { StoreBytes(to, codes); }
  template <bool, class Emit>
  static void Products(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                       int64_t panels, int64_t depth, Emit emit) {
    BroadcastProducts<Vnni>(rows, left, row_bytes, right, panel_bytes, panels, depth, emit);
  }
};

// A cache's rows where they lie.
#include "cache_vnni.inc.h"

constexpr Int8Kernels MakeVnniKernels() {
  Int8Kernels table = MakeKernels<Vnni>("avx512vnni");
  table.cache_exact = {CacheScores<3>, CacheAccumulate<3>};
  table.cache_native = {CacheScores<2>, CacheAccumulate<2>};
  return table;
}

}  // namespace

extern const Int8Kernels kAvx512VnniKernels = MakeVnniKernels();

}  // namespace sage::int8
