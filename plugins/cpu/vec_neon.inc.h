// vec_neon.inc.h: four floats or two doubles in a register, for the NEON instances of the templated kernels.
//
// Included inside an anonymous namespace by files compiled for aarch64, whose baseline (ARMv8.0) has all of this. Min
// and Max are a comparison and a selection: NEON's own propagate a NaN from either side, where the kernels count on the
// second operand. Vectors narrower than a register are read and written by their bytes alone.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "lanes are taken from memory as little-endian numbers");

struct VecF {
  using Scalar = float;
  using Reg = float32x4_t;
  static constexpr int kWidth = 4;
  static Reg Load(const float* p) { return vreinterpretq_f32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p))); }
  static void Store(float* p, Reg v) { vst1q_u8(reinterpret_cast<uint8_t*>(p), vreinterpretq_u8_f32(v)); }
  static Reg Zero() { return vdupq_n_f32(0.0f); }
  static Reg Set1(float x) { return vdupq_n_f32(x); }
  static Reg Add(Reg a, Reg b) { return vaddq_f32(a, b); }
  static Reg Sub(Reg a, Reg b) { return vsubq_f32(a, b); }
  static Reg Mul(Reg a, Reg b) { return vmulq_f32(a, b); }
  static Reg Div(Reg a, Reg b) { return vdivq_f32(a, b); }
  static Reg Sqrt(Reg a) { return vsqrtq_f32(a); }
  static Reg Fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
  static Reg Min(Reg a, Reg b) { return vbslq_f32(vcltq_f32(a, b), a, b); }  // b where either is NaN
  static Reg Max(Reg a, Reg b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }  // b where either is NaN
  static Reg Abs(Reg a) { return vabsq_f32(a); }
  static Reg Neg(Reg a) { return vnegq_f32(a); }
  static Reg NanOr(Reg a, Reg b) { return vbslq_f32(vceqq_f32(a, a), b, a); }
  static Reg LoadBf16(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(LoadHalves(p), 16)); }
  static Reg LoadF16(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(LoadHalves(p))); }

 private:
  static uint16x4_t LoadHalves(const uint16_t* p) {
    return vreinterpret_u16_u8(vld1_u8(reinterpret_cast<const uint8_t*>(p)));
  }
};

struct VecD {
  using Scalar = double;
  using Reg = float64x2_t;
  using Mask = uint64x2_t;
  static constexpr int kWidth = 2;
  static Reg Load(const double* p) { return vreinterpretq_f64_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p))); }
  static void Store(double* p, Reg v) { vst1q_u8(reinterpret_cast<uint8_t*>(p), vreinterpretq_u8_f64(v)); }
  static Reg Zero() { return vdupq_n_f64(0.0); }
  static Reg Set1(double x) { return vdupq_n_f64(x); }
  static Reg Add(Reg a, Reg b) { return vaddq_f64(a, b); }
  static Reg Sub(Reg a, Reg b) { return vsubq_f64(a, b); }
  static Reg Mul(Reg a, Reg b) { return vmulq_f64(a, b); }
  static Reg Div(Reg a, Reg b) { return vdivq_f64(a, b); }
  static Reg Sqrt(Reg a) { return vsqrtq_f64(a); }
  static Reg Fma(Reg a, Reg b, Reg c) { return vfmaq_f64(c, a, b); }
  static Reg Fnma(Reg a, Reg b, Reg c) { return vfmsq_f64(c, a, b); }        // c - a*b
  static Reg Min(Reg a, Reg b) { return vbslq_f64(vcltq_f64(a, b), a, b); }  // b where either is NaN
  static Reg Max(Reg a, Reg b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }  // b where either is NaN
  static Reg Abs(Reg a) { return vabsq_f64(a); }
  static Reg Neg(Reg a) { return vnegq_f64(a); }
  static Reg CopySign(Reg magnitude, Reg sign) { return vbslq_f64(vdupq_n_u64(0x8000000000000000), sign, magnitude); }
  static Reg Round(Reg a) { return vrndnq_f64(a); }
  static Mask Less(Reg a, Reg b) { return vcltq_f64(a, b); }
  static Mask Equal(Reg a, Reg b) { return vceqq_f64(a, b); }
  static Mask IsNan(Reg a) { return Not(vceqq_f64(a, a)); }
  static Reg Select(Mask mask, Reg yes, Reg no) { return vbslq_f64(mask, yes, no); }
  static Reg NanOr(Reg a, Reg b) { return vbslq_f64(vceqq_f64(a, a), b, a); }
  // p * 2^n for integral n within +-2000; two steps, so that results below the normal range are rounded, not lost.
  static Reg Scale(Reg p, Reg n) {
    const Reg half = Round(Mul(n, Set1(0.5)));
    return Mul(Mul(p, Exp2(half)), Exp2(Sub(n, half)));
  }
  // x = m * 2^e with m in [1,2), for positive normal x.
  static void Split(Reg x, Reg* m, Reg* e) {
    const uint64x2_t bits = vreinterpretq_u64_f64(x);
    *e = Sub(vcvtq_f64_u64(vshrq_n_u64(bits, 52)), Set1(1023));
    const uint64x2_t mantissa = vandq_u64(bits, vdupq_n_u64(0x000fffffffffffff));
    *m = vreinterpretq_f64_u64(vorrq_u64(mantissa, vdupq_n_u64(0x3ff0000000000000)));
  }
  static Reg LoadF32(const float* p) {
    return vcvt_f64_f32(vreinterpret_f32_u8(vld1_u8(reinterpret_cast<const uint8_t*>(p))));
  }
  static Reg LoadBf16(const uint16_t* p) {
    return vcvt_f64_f32(vget_low_f32(vreinterpretq_f32_u32(vshll_n_u16(LoadTwoHalves(p), 16))));
  }
  static Reg LoadF16(const uint16_t* p) {
    return vcvt_f64_f32(vget_low_f32(vcvt_f32_f16(vreinterpret_f16_u16(LoadTwoHalves(p)))));
  }
  static void StoreF32(float* p, Reg v) {
    vst1_u8(reinterpret_cast<uint8_t*>(p), vreinterpret_u8_f32(vcvt_f32_f64(v)));
  }
  // Both go by way of a float rounded to odd: the second rounding then gives what one would have given.
  static void StoreBf16(uint16_t* p, Reg v) {
    const float32x2_t odd = vcvtx_f32_f64(v);
    const uint32x2_t bits = vreinterpret_u32_f32(odd), high = vshr_n_u32(bits, 16);
    const uint32x2_t even = vand_u32(high, vdup_n_u32(1));
    const uint32x2_t rounded = vshr_n_u32(vadd_u32(bits, vadd_u32(even, vdup_n_u32(0x7fff))), 16);
    const uint32x2_t quiet = vorr_u32(high, vdup_n_u32(0x40));
    const uint32x2_t chosen = vbsl_u32(vceq_f32(odd, odd), rounded, quiet);
    StoreTwoHalves(p, vmovn_u32(vcombine_u32(chosen, chosen)));
  }
  static void StoreF16(uint16_t* p, Reg v) {
    const float32x2_t odd = vcvtx_f32_f64(v);
    StoreTwoHalves(p, vreinterpret_u16_f16(vcvt_f16_f32(vcombine_f32(odd, odd))));
  }

 private:
  static Mask Not(Mask mask) { return vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(mask))); }
  static Reg Exp2(Reg n) {
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(Add(n, Set1(0x1.8p52 + 1023))), 52));
  }
  static uint16x4_t LoadTwoHalves(const uint16_t* p) {
    uint32_t both = 0;
    memcpy(&both, p, sizeof both);
    return vreinterpret_u16_u32(vdup_n_u32(both));
  }
  static void StoreTwoHalves(uint16_t* p, uint16x4_t halves) {
    const uint32_t both = vget_lane_u32(vreinterpret_u32_u16(halves), 0);
    memcpy(p, &both, sizeof both);
  }
};
