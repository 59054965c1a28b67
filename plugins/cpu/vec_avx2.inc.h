// vec_avx2.inc.h: eight floats or four doubles in a register, for the AVX2 instances of the templated kernels.
//
// Included inside an anonymous namespace by files compiled with -mavx2 -mfma -mf16c.
struct VecF {
  using Scalar = float;
  using Reg = __m256;
  static constexpr int kWidth = 8;
  static Reg Load(const float* p) { return _mm256_loadu_ps(p); }
  static void Store(float* p, Reg v) { _mm256_storeu_ps(p, v); }
  static Reg Zero() { return _mm256_setzero_ps(); }
  static Reg Set1(float x) { return _mm256_set1_ps(x); }
  static Reg Add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg Div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
  static Reg Sqrt(Reg a) { return _mm256_sqrt_ps(a); }
  static Reg Fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Reg Min(Reg a, Reg b) { return _mm256_min_ps(a, b); }  // b where either is NaN
  static Reg Max(Reg a, Reg b) { return _mm256_max_ps(a, b); }  // b where either is NaN
  static Reg Abs(Reg a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static Reg Neg(Reg a) { return _mm256_xor_ps(_mm256_set1_ps(-0.0f), a); }
  static Reg NanOr(Reg a, Reg b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q)); }
  static Reg LoadBf16(const uint16_t* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  static Reg LoadF16(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};

struct VecD {
  using Scalar = double;
  using Reg = __m256d;
  using Mask = __m256d;
  static constexpr int kWidth = 4;
  static Reg Load(const double* p) { return _mm256_loadu_pd(p); }
  static void Store(double* p, Reg v) { _mm256_storeu_pd(p, v); }
  static Reg Zero() { return _mm256_setzero_pd(); }
  static Reg Set1(double x) { return _mm256_set1_pd(x); }
  static Reg Add(Reg a, Reg b) { return _mm256_add_pd(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm256_sub_pd(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm256_mul_pd(a, b); }
  static Reg Div(Reg a, Reg b) { return _mm256_div_pd(a, b); }
  static Reg Sqrt(Reg a) { return _mm256_sqrt_pd(a); }
  static Reg Fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_pd(a, b, c); }
  static Reg Fnma(Reg a, Reg b, Reg c) { return _mm256_fnmadd_pd(a, b, c); }  // c - a*b
  static Reg Min(Reg a, Reg b) { return _mm256_min_pd(a, b); }                // b where either is NaN
  static Reg Max(Reg a, Reg b) { return _mm256_max_pd(a, b); }                // b where either is NaN
  static Reg Abs(Reg a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
  static Reg Neg(Reg a) { return _mm256_xor_pd(_mm256_set1_pd(-0.0), a); }
  static Reg CopySign(Reg magnitude, Reg sign) {
    const Reg bit = _mm256_set1_pd(-0.0);
    return _mm256_or_pd(_mm256_andnot_pd(bit, magnitude), _mm256_and_pd(bit, sign));
  }
  static Reg Round(Reg a) { return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Mask Less(Reg a, Reg b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
  static Mask Equal(Reg a, Reg b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
  static Mask IsNan(Reg a) { return _mm256_cmp_pd(a, a, _CMP_UNORD_Q); }
  static Reg Select(Mask mask, Reg yes, Reg no) { return _mm256_blendv_pd(no, yes, mask); }
  static Reg NanOr(Reg a, Reg b) { return Select(IsNan(a), a, b); }
  // p * 2^n for integral n within +-2000; two steps, so that results below the normal range are rounded, not lost.
  static Reg Scale(Reg p, Reg n) {
    const Reg half = Round(Mul(n, Set1(0.5)));
    return Mul(Mul(p, Exp2(half)), Exp2(Sub(n, half)));
  }
  // x = m * 2^e with m in [1,2), for positive normal x.
  static void Split(Reg x, Reg* m, Reg* e) {
    const __m256i bits = _mm256_castpd_si256(x);
    const __m256i biased = _mm256_or_si256(_mm256_srli_epi64(bits, 52), _mm256_set1_epi64x(0x4330000000000000));
    *e = Sub(_mm256_castsi256_pd(biased), Set1(0x1p52 + 1023));
    const __m256i mantissa = _mm256_and_si256(bits, _mm256_set1_epi64x(0x000fffffffffffff));
    *m = _mm256_castsi256_pd(_mm256_or_si256(mantissa, _mm256_set1_epi64x(0x3ff0000000000000)));
  }
  static Reg LoadF32(const float* p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
  static Reg LoadBf16(const uint16_t* p) {
    const __m128i wide = _mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return _mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(wide, 16)));
  }
  static Reg LoadF16(const uint16_t* p) {
    return _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static void StoreF32(float* p, Reg v) { _mm_storeu_ps(p, _mm256_cvtpd_ps(v)); }
  static void StoreBf16(uint16_t* p, Reg v) {
    const __m128 odd = ToOdd(v);
    const __m128i bits = _mm_castps_si128(odd);
    const __m128i even = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
    const __m128i rounded = _mm_srli_epi32(_mm_add_epi32(bits, _mm_add_epi32(even, _mm_set1_epi32(0x7fff))), 16);
    const __m128i quiet = _mm_or_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(0x40));
    const __m128 nan = _mm_cmpunord_ps(odd, odd);
    const __m128i chosen = _mm_blendv_epi8(rounded, quiet, _mm_castps_si128(nan));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(chosen, chosen));
  }
  static void StoreF16(uint16_t* p, Reg v) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_cvtps_ph(ToOdd(v), _MM_FROUND_TO_NEAREST_INT));
  }

 private:
  static Reg Exp2(Reg n) {
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(Add(n, Set1(0x1.8p52 + 1023))), 52));
  }
  // To float, to odd: a second rounding, to a 16-bit type, then gives what one rounding would have given.
  static __m128 ToOdd(Reg v) {
    const __m128 nearest = _mm256_cvtpd_ps(v);
    const Reg back = _mm256_cvtps_pd(nearest);
    const __m128i away = Narrow(_mm256_cmp_pd(Abs(back), Abs(v), _CMP_GT_OQ));
    const __m128i inexact = Narrow(_mm256_cmp_pd(back, v, _CMP_NEQ_OQ));
    __m128i bits = _mm_add_epi32(_mm_castps_si128(nearest), away);  // away is -1: one step back towards zero
    bits = _mm_or_si128(bits, _mm_and_si128(inexact, _mm_set1_epi32(1)));
    return _mm_castsi128_ps(bits);
  }
  static __m128i Narrow(Mask mask) {
    const __m256i lanes =
        _mm256_permutevar8x32_epi32(_mm256_castpd_si256(mask), _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    return _mm256_castsi256_si128(lanes);
  }
};
