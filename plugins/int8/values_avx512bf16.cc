// values_avx512bf16.cc: V of any float type for the cpu backend's kernels that multiply pairs of bf16. Entered only
// where CPUID and XGETBV allow it.
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

namespace sage::int8 {
namespace {
using cpu::Stored;

// Sixteen numbers of a row from c on as bf16, zeros from `length` on.
inline __m256i Sixteen(Stored stored, const char* row, int64_t c, int64_t length) {
  const int64_t left = length - c;
  if (left <= 0) return _mm256_setzero_si256();
  const __mmask16 mask = left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1);
  if (stored == Stored::kBf16) return _mm256_maskz_loadu_epi16(mask, row + c * 2);
  const __m512 numbers = stored == Stored::kF16 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + c * 2))
                                                : _mm512_maskz_loadu_ps(mask, row + c * 4);
  return (__m256i)_mm512_cvtneps_pbh(numbers);
}

}  // namespace

void PackValuesAsBf16(Stored stored, const void* const* rows, int64_t count, int64_t length, void* packed, int64_t ld,
                      const void* const* ahead) {
  char* out = static_cast<char*>(packed);
  const int64_t size = stored == Stored::kNative ? 4 : 2;
  for (int64_t k = 0; k < count; k += 2, out += ld * 4) {
    const char *even = static_cast<const char*>(rows[k]),
               *odd = k + 1 < count ? static_cast<const char*>(rows[k + 1]) : nullptr;
    for (int64_t c = 0; c < ld; c += 16) {
      const __m512i low = _mm512_cvtepu16_epi32(Sixteen(stored, even, c, length));
      const __m512i high =
          odd == nullptr ? _mm512_setzero_si512() : _mm512_cvtepu16_epi32(Sixteen(stored, odd, c, length));
      if (ahead != nullptr && c * size % 64 == 0) {
        __builtin_prefetch(static_cast<const char*>(ahead[k]) + c * size, 0, 2);
        if (odd != nullptr) __builtin_prefetch(static_cast<const char*>(ahead[k + 1]) + c * size, 0, 2);
      }
      _mm512_storeu_si512(out + c * 4, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
  }
}

}  // namespace sage::int8
