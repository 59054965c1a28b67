// lanes16_avx512.inc.h: 16 floats in one register, with the bits that every other width gives.
//
// Included inside an anonymous namespace after attention_vec_avx512.inc.h.
struct Lanes16 : LanesF {
  // Weights become codes of 8 bits, or stand beside products of such: an error of 7.0e-6 relative to 2^f is not seen.
  struct Exp2Series {
    static constexpr int kTerms = 4;
    static constexpr float kSeries[kTerms] = {0x1.62e2d2p-1f, 0x1.ebfb3ep-3f, 0x1.c96d5ep-5f, 0x1.3c6e5cp-7f};
  };
  // scalef would give numbers below the normal range, which the other widths cut to 0.
  static Reg ClampExp2(Reg x) { return _mm512_max_ps(_mm512_set1_ps(-126.0f), x); }  // keeps NaN
  static Reg CutExp2(Reg x, Reg result) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ), result);
  }
  using Sums = __m512i;
  static Sums LoadSums(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void StoreSums(int32_t* p, Sums v) { _mm512_storeu_si512(p, v); }
  static Sums AddSums(Sums a, Sums b) { return _mm512_add_epi32(a, b); }
  static Reg ToFloats(Sums v) { return _mm512_cvtepi32_ps(v); }
  // To nearest even, the low 8 bits.
  static void StoreBytes(char* to, Reg v) {
    _mm_storeu_si128((__m128i*)to, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
  }
};
