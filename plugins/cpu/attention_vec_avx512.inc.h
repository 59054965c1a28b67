// attention_vec_avx512.inc.h: what the attention kernels need beyond vec_avx512.inc.h: masks, sums over lanes, the end
// of e^x, transposes.
//
// Included inside an anonymous namespace by attention_avx512.cc, after vec_avx512.inc.h.
struct LanesF : VecF {
  using T = Scalar;
  using Mask = __mmask16;
  static constexpr int kRowGroup = 6, kFewRows = 8, kPanelVectors = 4;
  // Columns that a tile of that many rows keeps in registers.
  static constexpr int Vectors(int rows) { return rows <= 6 ? 4 : 2; }
  static Reg Iota() { return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
  static Mask Less(Reg a, Reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static Mask LessEqual(Reg a, Reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
  static Mask Equal(Reg a, Reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  static Mask Bits(uint64_t bits) { return static_cast<Mask>(bits); }  // lane i: bit i
  static Mask And(Mask a, Mask b) { return static_cast<Mask>(a & b); }
  static Reg Select(Mask mask, Reg yes, Reg no) { return _mm512_mask_blend_ps(mask, no, yes); }
  static Reg TimesPowerOfTwo(Reg p, Reg n) { return _mm512_scalef_ps(p, n); }
  // Any x will do: scalef rounds to 0 what is far below, and gives 0 for the exponent -inf, of NaN too (that is -inf
  // less -inf).
  static Reg ClampExp2(Reg x) { return x; }
  static Reg CutExp2(Reg, Reg result) { return result; }
  static float Sum(Reg v) { return _mm512_reduce_add_ps(v); }
  static float Largest(Reg v) { return _mm512_reduce_max_ps(v); }
  template <Stored kStored>
  static Reg LoadStored(const void* p) {
    if constexpr (kStored == Stored::kBf16)
      return LoadBf16((const uint16_t*)p);
    else if constexpr (kStored == Stored::kF16)
      return LoadF16((const uint16_t*)p);
    else if constexpr (kStored == Stored::kI8)
      return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
    else
      return Load((const float*)p);
  }
  // A transposition is GatherLanes, then TurnLane for each kTurned registers: columns in order, a few at a time.
  static constexpr int kTurned = 4;
  // r[4*L + i] = the L-th 128 bits of rows i, i + 4, i + 8, i + 12.
  static void GatherLanes(Reg* r) {
    Reg t[16];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Reg low = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x44),
                low2 = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x44);
      const Reg high = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xee),
                high2 = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xee);
      t[i] = _mm512_shuffle_f32x4(low, low2, 0x88);
      t[4 + i] = _mm512_shuffle_f32x4(low, low2, 0xdd);
      t[8 + i] = _mm512_shuffle_f32x4(high, high2, 0x88);
      t[12 + i] = _mm512_shuffle_f32x4(high, high2, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = t[i];
  }
  static void TurnLane(Reg* r) {
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1])),
                  b = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3])),
                  d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
    r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
};

struct LanesD : VecD {
  using T = Scalar;
  static constexpr int kRowGroup = 6, kFewRows = 8, kPanelVectors = 4;
  static constexpr int Vectors(int rows) { return rows <= 6 ? 4 : 2; }
  static Reg Iota() { return _mm512_setr_pd(0, 1, 2, 3, 4, 5, 6, 7); }
  static Mask LessEqual(Reg a, Reg b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
  static Mask Bits(uint64_t bits) { return static_cast<Mask>(bits); }
  static Mask And(Mask a, Mask b) { return static_cast<Mask>(a & b); }
  static Reg TimesPowerOfTwo(Reg p, Reg n) { return _mm512_scalef_pd(p, n); }
  static Reg ClampExp2(Reg x) { return x; }
  static Reg CutExp2(Reg, Reg result) { return result; }
  static double Sum(Reg v) { return _mm512_reduce_add_pd(v); }
  static double Largest(Reg v) { return _mm512_reduce_max_pd(v); }
  template <Stored kStored>
  static Reg LoadStored(const void* p) {
    return _mm512_loadu_pd(p);
  }
  static constexpr int kTurned = 2;
  // r[2*L + i] = the L-th 128 bits of rows i, i + 2, i + 4, i + 6.
  static void GatherLanes(Reg* r) {
    Reg t[8];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const Reg low = _mm512_shuffle_f64x2(r[i], r[i + 2], 0x44), low2 = _mm512_shuffle_f64x2(r[i + 4], r[i + 6], 0x44);
      const Reg high = _mm512_shuffle_f64x2(r[i], r[i + 2], 0xee),
                high2 = _mm512_shuffle_f64x2(r[i + 4], r[i + 6], 0xee);
      t[i] = _mm512_shuffle_f64x2(low, low2, 0x88);
      t[2 + i] = _mm512_shuffle_f64x2(low, low2, 0xdd);
      t[4 + i] = _mm512_shuffle_f64x2(high, high2, 0x88);
      t[6 + i] = _mm512_shuffle_f64x2(high, high2, 0xdd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) r[i] = t[i];
  }
  static void TurnLane(Reg* r) {
    const Reg a = _mm512_unpacklo_pd(r[0], r[1]);
    r[1] = _mm512_unpackhi_pd(r[0], r[1]);
    r[0] = a;
  }
};
