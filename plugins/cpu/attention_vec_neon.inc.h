// attention_vec_neon.inc.h: what the attention kernels need beyond vec_neon.inc.h: masks, sums over lanes, the end of
// 2^x, transposes.
//
// Included inside an anonymous namespace by attention_neon.cc, after vec_neon.inc.h.
struct LanesF : VecF {
  using T = Scalar;
  using Mask = uint32x4_t;
  static constexpr int kRowGroup = 6, kFewRows = 8, kPanelVectors = 8;
  // Columns a tile keeps in registers: 24 of the 32 hold sums; of few rows enough of them to hide a multiply-add's
  // latency.
  static constexpr int Vectors(int rows) { return rows <= 2 ? 8 : 4; }
  static constexpr float kExp2Low = -126.0f;  // below it the exponent field may wrap: cut to 0
  static Reg Iota() { return Reg{0, 1, 2, 3}; }
  static Mask Less(Reg a, Reg b) { return vcltq_f32(a, b); }
  static Mask LessEqual(Reg a, Reg b) { return vcleq_f32(a, b); }
  static Mask Equal(Reg a, Reg b) { return vceqq_f32(a, b); }
  static Mask Bits(uint64_t bits) {  // lane i: bit i
    return vtstq_u32(vdupq_n_u32(static_cast<uint32_t>(bits)), Mask{1, 2, 4, 8});
  }
  static Mask And(Mask a, Mask b) { return vandq_u32(a, b); }
  static Reg Select(Mask mask, Reg yes, Reg no) { return vbslq_f32(mask, yes, no); }
  // n integral; p * 2^n must be normal.
  static Reg TimesPowerOfTwo(Reg p, Reg n) {
    const uint32x4_t shift = vshlq_n_u32(vreinterpretq_u32_f32(vaddq_f32(n, vdupq_n_f32(0x1.8p23f))), 23);
    return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p), shift));
  }
  static Reg ClampExp2(Reg x) { return Max(Set1(kExp2Low), x); }  // keeps NaN
  static Reg CutExp2(Reg x, Reg result) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(result), vcltq_f32(x, vdupq_n_f32(kExp2Low))));
  }
  static float Sum(Reg v) { return vaddvq_f32(v); }
  static float Largest(Reg v) { return vmaxnmvq_f32(v); }
  template <Stored kStored>
  static Reg LoadStored(const void* p) {
    if constexpr (kStored == Stored::kBf16)
      return LoadBf16((const uint16_t*)p);
    else if constexpr (kStored == Stored::kF16)
      return LoadF16((const uint16_t*)p);
    else if constexpr (kStored == Stored::kI8)
      return LoadI8(p);
    else
      return Load((const float*)p);
  }
  // A transposition is GatherLanes, then TurnLane for each kTurned registers; here it is one step.
  static constexpr int kTurned = 4;
  static void GatherLanes(Reg*) {}
  static void TurnLane(Reg* r) {
    const float64x2_t a = Pair(vtrn1q_f32(r[0], r[1])), b = Pair(vtrn2q_f32(r[0], r[1]));
    const float64x2_t c = Pair(vtrn1q_f32(r[2], r[3])), d = Pair(vtrn2q_f32(r[2], r[3]));
    r[0] = vreinterpretq_f32_f64(vtrn1q_f64(a, c));
    r[1] = vreinterpretq_f32_f64(vtrn1q_f64(b, d));
    r[2] = vreinterpretq_f32_f64(vtrn2q_f64(a, c));
    r[3] = vreinterpretq_f32_f64(vtrn2q_f64(b, d));
  }

 private:
  static Reg LoadI8(const void* p) {
    uint32_t codes = 0;
    memcpy(&codes, p, sizeof codes);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(codes))))));
  }
  static float64x2_t Pair(Reg v) { return vreinterpretq_f64_f32(v); }
};

struct LanesD : VecD {
  using T = Scalar;
  static constexpr int kRowGroup = 6, kFewRows = 8, kPanelVectors = 8;
  static constexpr int Vectors(int rows) { return rows <= 2 ? 8 : 4; }
  static constexpr double kExp2Low = -1022.0;
  static Reg Iota() { return Reg{0, 1}; }
  static Mask LessEqual(Reg a, Reg b) { return vcleq_f64(a, b); }
  static Mask Bits(uint64_t bits) { return vtstq_u64(vdupq_n_u64(bits), Mask{1, 2}); }
  static Mask And(Mask a, Mask b) { return vandq_u64(a, b); }
  static Reg TimesPowerOfTwo(Reg p, Reg n) {
    const uint64x2_t shift = vshlq_n_u64(vreinterpretq_u64_f64(vaddq_f64(n, vdupq_n_f64(0x1.8p52))), 52);
    return vreinterpretq_f64_u64(vaddq_u64(vreinterpretq_u64_f64(p), shift));
  }
  static Reg ClampExp2(Reg x) { return Max(Set1(kExp2Low), x); }  // keeps NaN
  static Reg CutExp2(Reg x, Reg result) {
    return vreinterpretq_f64_u64(vbicq_u64(vreinterpretq_u64_f64(result), vcltq_f64(x, vdupq_n_f64(kExp2Low))));
  }
  static double Sum(Reg v) { return vaddvq_f64(v); }
  static double Largest(Reg v) { return vmaxnmvq_f64(v); }
  template <Stored kStored>
  static Reg LoadStored(const void* p) {
    return Load((const double*)p);
  }
  static constexpr int kTurned = 2;
  static void GatherLanes(Reg*) {}
  static void TurnLane(Reg* r) {
    const Reg a = vtrn1q_f64(r[0], r[1]);
    r[1] = vtrn2q_f64(r[0], r[1]);
    r[0] = a;
  }
};
