// attention_vec_avx512.inc.h: what the attention kernels need beyond vec_avx512.inc.h: masks, sums over lanes, the end
// of e^x, transposes.
//
// Included inside an anonymous namespace by attention_avx512.cc, after vec_avx512.inc.h.
struct LanesF : VecF {
  using T = Scalar;
  using Mask = __mmask16;
  static constexpr int kRowGroup = 6, kPanelVectors = 4;
  static constexpr int Vectors(int) { return 4; }  // columns a tile of that many rows keeps in registers
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
    else
      return Load((const float*)p);
  }
  static void Transpose(Reg* r) {
    Reg t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
      t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 1]);
      const __m512d c = _mm512_castps_pd(t[4 * i + 2]), d = _mm512_castps_pd(t[4 * i + 3]);
      r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
      r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
      r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
      r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    // 128-bit lane L of r[4i+c] now has column 4L+c of rows 4i..4i+3.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const Reg even_low = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
      const Reg odd_low = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
      const Reg even_high = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
      const Reg odd_high = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
      t[c] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
      t[4 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
      t[8 + c] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
      t[12 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = t[i];
  }
};

struct LanesD : VecD {
  using T = Scalar;
  static constexpr int kRowGroup = 6, kPanelVectors = 4;
  static constexpr int Vectors(int) { return 4; }
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
  static void Transpose(Reg* r) {
    Reg t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      t[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);
      t[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      const Reg even_low = _mm512_shuffle_f64x2(t[c], t[2 + c], 0x88);
      const Reg odd_low = _mm512_shuffle_f64x2(t[c], t[2 + c], 0xdd);
      const Reg even_high = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0x88);
      const Reg odd_high = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0xdd);
      r[c] = _mm512_shuffle_f64x2(even_low, even_high, 0x88);
      r[2 + c] = _mm512_shuffle_f64x2(odd_low, odd_high, 0x88);
      r[4 + c] = _mm512_shuffle_f64x2(even_low, even_high, 0xdd);
      r[6 + c] = _mm512_shuffle_f64x2(odd_low, odd_high, 0xdd);
    }
  }
};
