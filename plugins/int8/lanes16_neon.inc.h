// lanes16_neon.inc.h: 16 floats and 16 sums in four registers each.
//
// Included inside an anonymous namespace after attention_vec_neon.inc.h and lanes16_of.inc.h.

// Sums over lanes halve, as those of the other widths do; NEON's own adds neighbours.
struct HalvingLanes : LanesF {
  static float Sum(Reg v) {
    const float32x2_t half = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(half, 0) + vget_lane_f32(half, 1);
  }
};

struct Lanes16 : Lanes16Of<HalvingLanes> {
  struct Sums {
    int32x4_t part[4];
  };
  static Sums LoadSums(const int32_t* p) {
    return {{vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12)}};
  }
  static void StoreSums(int32_t* p, Sums v) {
    for (int i = 0; i < 4; ++i) vst1q_s32(p + i * 4, v.part[i]);
  }
  static Sums AddSums(Sums a, Sums b) {
    for (int i = 0; i < 4; ++i) a.part[i] = vaddq_s32(a.part[i], b.part[i]);
    return a;
  }
  static Reg ToFloats(Sums v) {
    return Each<Reg>([&](int i) { return vcvtq_f32_s32(v.part[i]); });
  }
  static Sums Zero() { return {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}}; }
  // To nearest even, the low 8 bits.
  static int8x16_t ToBytes(Reg v) {
    const auto halves = [&v](int i) {
      return vcombine_s16(vmovn_s32(vcvtnq_s32_f32(v.part[i])), vmovn_s32(vcvtnq_s32_f32(v.part[i + 1])));
    };
    return vcombine_s8(vmovn_s16(halves(0)), vmovn_s16(halves(2)));
  }
  static void StoreBytes(char* to, Reg v) { vst1q_s8(reinterpret_cast<int8_t*>(to), ToBytes(v)); }
  // The same less 128: weights' codes of 0 to 255 where only signed ones are multiplied.
  static void StoreLess128(char* to, Reg v) {
    vst1q_s8(reinterpret_cast<int8_t*>(to), veorq_s8(ToBytes(v), vdupq_n_s8(-128)));
  }
};
