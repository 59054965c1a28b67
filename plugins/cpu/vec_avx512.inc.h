// vec_avx512.inc.h: sixteen floats or eight doubles in a register, for the AVX-512 instances of the templated kernels.
//
// Included inside an anonymous namespace by files compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq.
struct VecF {
  using Scalar = float;
  using Reg = __m512;
  static constexpr int kWidth = 16;
  static Reg Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
  static Reg Zero() { return _mm512_setzero_ps(); }
  static Reg Set1(float x) { return _mm512_set1_ps(x); }
  static Reg Add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg Div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  static Reg Sqrt(Reg a) { return _mm512_sqrt_ps(a); }
  static Reg Fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg Min(Reg a, Reg b) { return _mm512_min_ps(a, b); }  // b where either is NaN
  static Reg Max(Reg a, Reg b) { return _mm512_max_ps(a, b); }  // b where either is NaN
  static Reg Abs(Reg a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
  static Reg Neg(Reg a) { return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a); }
  static Reg NanOr(Reg a, Reg b) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), b, a); }
  static Reg LoadBf16(const uint16_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  static Reg LoadF16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
};

struct VecD {
  using Scalar = double;
  using Reg = __m512d;
  using Mask = __mmask8;
  static constexpr int kWidth = 8;
  static Reg Load(const double* p) { return _mm512_loadu_pd(p); }
  static void Store(double* p, Reg v) { _mm512_storeu_pd(p, v); }
  static Reg Zero() { return _mm512_setzero_pd(); }
  static Reg Set1(double x) { return _mm512_set1_pd(x); }
  static Reg Add(Reg a, Reg b) { return _mm512_add_pd(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm512_sub_pd(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm512_mul_pd(a, b); }
  static Reg Div(Reg a, Reg b) { return _mm512_div_pd(a, b); }
  static Reg Sqrt(Reg a) { return _mm512_sqrt_pd(a); }
  static Reg Fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_pd(a, b, c); }
  static Reg Fnma(Reg a, Reg b, Reg c) { return _mm512_fnmadd_pd(a, b, c); }  // c - a*b
  static Reg Min(Reg a, Reg b) { return _mm512_min_pd(a, b); }                // b where either is NaN
  static Reg Max(Reg a, Reg b) { return _mm512_max_pd(a, b); }                // b where either is NaN
  static Reg Abs(Reg a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
  static Reg Neg(Reg a) { return _mm512_xor_pd(_mm512_set1_pd(-0.0), a); }
  static Reg CopySign(Reg magnitude, Reg sign) {
    const Reg bit = _mm512_set1_pd(-0.0);
    return _mm512_or_pd(_mm512_andnot_pd(bit, magnitude), _mm512_and_pd(bit, sign));
  }
  static Reg Round(Reg a) { return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Mask Less(Reg a, Reg b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
  static Mask Equal(Reg a, Reg b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
  static Mask IsNan(Reg a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q); }
  static Reg Select(Mask mask, Reg yes, Reg no) { return _mm512_mask_blend_pd(mask, no, yes); }
  static Reg NanOr(Reg a, Reg b) { return Select(IsNan(a), a, b); }
  static Reg Scale(Reg p, Reg n) { return _mm512_scalef_pd(p, n); }  // p * 2^n
  // x = m * 2^e with m in [1,2), for positive normal x.
  static void Split(Reg x, Reg* m, Reg* e) {
    *e = _mm512_getexp_pd(x);
    *m = _mm512_getmant_pd(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
  }
  static Reg LoadF32(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
  static Reg LoadBf16(const uint16_t* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
  }
  static Reg LoadF16(const uint16_t* p) {
    return _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static void StoreF32(float* p, Reg v) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(v)); }
  static void StoreBf16(uint16_t* p, Reg v) {
    const __m256 odd = ToOdd(v);
    const __m256i bits = _mm256_castps_si256(odd);
    const __m256i high = _mm256_srli_epi32(bits, 16);
    const __m256i even = _mm256_and_si256(high, _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff))), 16);
    const __mmask8 nan = _mm256_cmp_ps_mask(odd, odd, _CMP_UNORD_Q);
    const __m256i chosen = _mm256_mask_or_epi32(rounded, nan, high, _mm256_set1_epi32(0x40));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtepi32_epi16(chosen));
  }
  static void StoreF16(uint16_t* p, Reg v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(ToOdd(v), _MM_FROUND_TO_NEAREST_INT));
  }

 private:
  // To float, to odd: a second rounding, to a 16-bit type, then gives what one rounding would have given.
  static __m256 ToOdd(Reg v) {
    const __m256 toward_zero = _mm512_cvt_roundpd_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    const __mmask8 inexact = _mm512_cmp_pd_mask(_mm512_cvtps_pd(toward_zero), v, _CMP_NEQ_OQ);
    const __m256i bits = _mm256_castps_si256(toward_zero);
    return _mm256_castsi256_ps(_mm256_mask_or_epi32(bits, inexact, bits, _mm256_set1_epi32(1)));
  }
};
