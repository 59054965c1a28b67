// gemm_avx512bf16.cc: the matrix kernels of bf16 operands in dot products of pairs, summed in float (vdpbf16ps).
// Entered only where CPUID and XGETBV allow it.
//
// A pair of neighbours along K takes the place of a float, so the tiles are those of gemm_kernel.inc.h with another
// step of the sum, and consecutive bf16 numbers are a packed row as they lie. The instruction takes denormals for
// zeros: class NATIVE.
#include <immintrin.h>
#include <string.h>

#include "gemm_kernel.h"

namespace sage::cpu {
namespace {
#include "vec_avx512.inc.h"
// The kernels are templates over these.
#include "gemm_kernel.inc.h"
#include "gemm_widen.inc.h"

struct VecPairs : VecF {
  static Reg Fma(Reg a, Reg b, Reg c) {
    return _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
  }
};

constexpr int kColumns = 64;

inline __m512i Bits(const float* from) { return _mm512_castps_si512(_mm512_loadu_ps(from)); }

// The numbers were bf16 before they were widened, so their upper halves are all of them.
int32_t PackRow(int64_t depth, const float* from, float* to) {
  char* out = reinterpret_cast<char*>(to);
  int64_t i = 0;
  for (; i + 16 <= depth; i += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i * 2),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(Bits(from + i), 16)));
  if (i == depth) return 0;
  const __mmask16 rest = static_cast<__mmask16>((1u << (depth - i)) - 1);
  const __m512i numbers = _mm512_castps_si512(_mm512_maskz_loadu_ps(rest, from + i));
  const __mmask16 whole = static_cast<__mmask16>((1u << ((depth - i + 1) / 2 * 2)) - 1);
  _mm256_mask_storeu_epi16(out + i * 2, whole, _mm512_cvtepi32_epi16(_mm512_srli_epi32(numbers, 16)));
  return 0;
}

void PackPanel(int64_t depth, const float* from, float* to, uint8_t*) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  for (int64_t p = 0; p < depth; p += 2, from += 2 * kColumns, to += kColumns)
    for (int c = 0; c < kColumns; c += 16) {
      const __m512i second = p + 1 < depth ? Bits(from + kColumns + c) : _mm512_setzero_si512();
      const __m512i pair = _mm512_or_si512(_mm512_srli_epi32(Bits(from + c), 16), _mm512_and_si512(second, upper));
      _mm512_storeu_si512(to + c, pair);
    }
}

constexpr GemmKernel<float> MakeBf16() {
  GemmKernel<float> table = {
      6, kColumns, Tile<VecPairs, 6, 4>, Row<VecPairs, 3, 4>, WidenF32, Transpose<float, kColumns>, {}, {}};
  table.step = 2, table.rows_as = SAGE_BF16;
  table.pack_row = PackRow, table.pack_panel = PackPanel;
  return table;
}
}  // namespace

extern const GemmKernel<float> kGemmAvx512Bf16 = MakeBf16();

}  // namespace sage::cpu
