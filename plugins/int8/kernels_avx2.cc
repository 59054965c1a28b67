// kernels_avx2.cc: products of codes widened to 16 bits, by vpmaddwd on 256 bits: pairs of products are summed exactly
// in 32 bits, whatever the codes, where those of bytes (vpmaddubsw) saturate. Entered only where CPUID and XGETBV allow
// it.
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

namespace sage::int8 {
namespace {
using cpu::AttentionKernels;
using cpu::ScoreRow;
using cpu::Stored;
#include "cpu/vec_avx2.inc.h"
// Its registers, with what only attention asks of them.
#include "cpu/attention_vec_avx2.inc.h"
// Two of them.
#include "lanes16_of.inc.h"
// Softmax and products are templates over these.
#include "cpu/attention_softmax.inc.h"
// Sums of products.
#include "products.inc.h"
// The products.
#include "kernels.inc.h"

struct Avx2 : Lanes16Of<LanesF> {
  static constexpr CodeForm kForm = {.unit = 2, .group = 2, .depth_step = 2, .left_offset = 0, .weight_offset = 0};
  // Twelve sums of the sixteen registers; the others hold columns, a factor and a product.
  static constexpr int kRowGroup = 12, kRows = 4, kColumns = 1;
  static constexpr int64_t kGroupBytes = 4;
  struct Sums {
    __m256i part[2];
  };
  using Partial = Sums;
  using Left = __m256i;
  using Right = Sums;
  static Sums LoadSums(const void* p) {
    const auto* const at = static_cast<const __m256i*>(p);
    return {{_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)}};
  }
  static void StoreSums(int32_t* p, Sums v) {
    _mm256_storeu_si256((__m256i*)p, v.part[0]);
    _mm256_storeu_si256((__m256i*)(p + 8), v.part[1]);
  }
  static Reg ToFloats(Sums v) { return {{_mm256_cvtepi32_ps(v.part[0]), _mm256_cvtepi32_ps(v.part[1])}}; }
  static Partial Zero() { return {{_mm256_setzero_si256(), _mm256_setzero_si256()}}; }
  static Sums Final(Partial p) { return p; }
  static Left Broadcast(const char* p) {
    int32_t group;
    memcpy(&group, p, sizeof group);
    return _mm256_set1_epi32(group);
  }
  static Right LoadColumns(const char* p) { return LoadSums(p); }
  static Partial Step(Partial sum, Left left, Right right) {
    sum.part[0] = _mm256_add_epi32(sum.part[0], _mm256_madd_epi16(left, right.part[0]));
    sum.part[1] = _mm256_add_epi32(sum.part[1], _mm256_madd_epi16(left, right.part[1]));
    // One row after another: GCC else takes all factors and products first, and sums go to the stack.
    __asm__ volatile("" : "+x"(sum.part[0]));
    __asm__ volatile("" : "+x"(sum.part[1]));
    return sum;
  }
  static __m256i ToHalves(Reg v) {
    const __m256i lanes = _mm256_packs_epi32(_mm256_cvtps_epi32(v.part[0]), _mm256_cvtps_epi32(v.part[1]));
    return _mm256_permute4x64_epi64(lanes, 0xd8);
  }
  static void StoreWeights(char* to, Reg codes) { _mm256_storeu_si256((__m256i*)to, ToHalves(codes)); }
  static void StoreBytes(char* to, Reg v) {
    const __m256i low = _mm256_and_si256(ToHalves(v), _mm256_set1_epi16(0xff));
    _mm_storeu_si128((__m128i*)to, _mm_packus_epi16(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
  }
  template <bool, class Emit>
  static void Products(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                       int64_t panels, int64_t depth, Emit emit) {
    BroadcastProducts<Avx2>(rows, left, row_bytes, right, panel_bytes, panels, depth, emit);
  }
};

}  // namespace

extern const Int8Kernels kAvx2Kernels = MakeKernels<Avx2>("avx2");

}  // namespace sage::int8
