// attention_vec_avx2.inc.h: what the attention kernels need beyond vec_avx2.inc.h: masks, sums over lanes, the end of
// e^x, transposes.
//
// Included inside an anonymous namespace by attention_avx2.cc, after vec_avx2.inc.h.
struct LanesF : VecF {
  using T = Scalar;
  using Mask = __m256;
  static constexpr int kRowGroup = 6, kFewRows = 6, kPanelVectors = 4;
  // Columns a tile keeps in registers: twelve of the sixteen hold sums.
  static constexpr int Vectors(int rows) { return rows <= 3 ? 4 : 2; }
  static constexpr float kExp2Low = -126.0f;  // below it the exponent field may wrap: cut to 0
  static Reg Iota() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }
  static Mask Less(Reg a, Reg b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  static Mask LessEqual(Reg a, Reg b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
  static Mask Equal(Reg a, Reg b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
  static Mask Bits(uint64_t bits) {  // lane i: bit i
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits & 0xff)), lane), lane));
  }
  static Mask And(Mask a, Mask b) { return _mm256_and_ps(a, b); }
  static Reg Select(Mask mask, Reg yes, Reg no) { return _mm256_blendv_ps(no, yes, mask); }
  // n integral; p * 2^n must be normal.
  static Reg TimesPowerOfTwo(Reg p, Reg n) {
    const __m256i shift = _mm256_slli_epi32(_mm256_castps_si256(_mm256_add_ps(n, _mm256_set1_ps(0x1.8p23f))), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), shift));
  }
  static Reg ClampExp2(Reg x) { return Max(Set1(kExp2Low), x); }  // keeps NaN
  static Reg CutExp2(Reg x, Reg result) {
    return _mm256_and_ps(result, _mm256_cmp_ps(x, _mm256_set1_ps(kExp2Low), _CMP_NLT_UQ));
  }
  static float Sum(Reg v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
  static float Largest(Reg v) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }
  template <Stored kStored>
  static Reg LoadStored(const void* p) {
    if constexpr (kStored == Stored::kBf16)
      return LoadBf16((const uint16_t*)p);
    else if constexpr (kStored == Stored::kF16)
      return LoadF16((const uint16_t*)p);
    else if constexpr (kStored == Stored::kI8)
      return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
    else
      return Load((const float*)p);
  }
  // A transposition is GatherLanes, then TurnLane for each kTurned registers: columns in order, a few at a time.
  static constexpr int kTurned = 4;
  // r[4*L + i] = the L-th 128 bits of rows i and i + 4.
  static void GatherLanes(Reg* r) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Reg low = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
      r[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
      r[i] = low;
    }
  }
  static void TurnLane(Reg* r) {
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(r[0], r[1])),
                  b = _mm256_castps_pd(_mm256_unpackhi_ps(r[0], r[1]));
    const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(r[2], r[3])),
                  d = _mm256_castps_pd(_mm256_unpackhi_ps(r[2], r[3]));
    r[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
    r[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
    r[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
    r[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
  }
};

struct LanesD : VecD {
  using T = Scalar;
  static constexpr int kRowGroup = 6, kFewRows = 6, kPanelVectors = 4;
  static constexpr int Vectors(int rows) { return rows <= 3 ? 4 : 2; }
  static constexpr double kExp2Low = -1022.0;
  static Reg Iota() { return _mm256_setr_pd(0, 1, 2, 3); }
  static Mask LessEqual(Reg a, Reg b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
  static Mask Bits(uint64_t bits) {
    const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
    return _mm256_castsi256_pd(
        _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(static_cast<long long>(bits & 0xf)), lane), lane));
  }
  static Mask And(Mask a, Mask b) { return _mm256_and_pd(a, b); }
  static Reg TimesPowerOfTwo(Reg p, Reg n) {
    const __m256i shift = _mm256_slli_epi64(_mm256_castpd_si256(_mm256_add_pd(n, _mm256_set1_pd(0x1.8p52))), 52);
    return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(p), shift));
  }
  static Reg ClampExp2(Reg x) { return Max(Set1(kExp2Low), x); }  // keeps NaN
  static Reg CutExp2(Reg x, Reg result) {
    return _mm256_and_pd(result, _mm256_cmp_pd(x, _mm256_set1_pd(kExp2Low), _CMP_NLT_UQ));
  }
  static double Sum(Reg v) {
    const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
  }
  static double Largest(Reg v) {
    const __m128d half = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(half, _mm_unpackhi_pd(half, half)));
  }
  template <Stored kStored>
  static Reg LoadStored(const void* p) {
    return _mm256_loadu_pd((const double*)p);
  }
  static constexpr int kTurned = 2;
  // r[2*L + i] = the L-th 128 bits of rows i and i + 2.
  static void GatherLanes(Reg* r) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const Reg low = _mm256_permute2f128_pd(r[i], r[i + 2], 0x20);
      r[i + 2] = _mm256_permute2f128_pd(r[i], r[i + 2], 0x31);
      r[i] = low;
    }
  }
  static void TurnLane(Reg* r) {
    const Reg a = _mm256_unpacklo_pd(r[0], r[1]);
    r[1] = _mm256_unpackhi_pd(r[0], r[1]);
    r[0] = a;
  }
};
