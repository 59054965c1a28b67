// lanes16_of.inc.h: 16 floats in several registers of V, or in an array: with the bits that one register of 16 gives.
//
// Included inside an anonymous namespace after a struct of lanes. Sums over lanes halve: lane i with i + 8, then with
// i + 4, i + 2, i + 1.
template <class V>
struct Lanes16Of {
  using T = float;
  using Scalar = float;
  static constexpr int kWidth = 16, kParts = 16 / V::kWidth;
  struct Reg {
    typename V::Reg part[kParts];
  };
  struct Mask {
    typename V::Mask part[kParts];
  };
  struct Exp2Series {  // as in lanes16_avx512.inc.h
    static constexpr int kTerms = 4;
    static constexpr float kSeries[kTerms] = {0x1.62e2d2p-1f, 0x1.ebfb3ep-3f, 0x1.c96d5ep-5f, 0x1.3c6e5cp-7f};
  };

  template <class Out, class F>
  static inline __attribute__((always_inline)) Out Each(F f) {
    Out out;
#pragma GCC unroll 16
    for (int i = 0; i < kParts; ++i) out.part[i] = f(i);
    return out;
  }
#define SAGE_INT8_BINARY(Name)                                              \
  static Reg Name(Reg a, Reg b) {                                           \
    return Each<Reg>([&](int i) { return V::Name(a.part[i], b.part[i]); }); \
  }
  SAGE_INT8_BINARY(Add)
  SAGE_INT8_BINARY(Sub)
  SAGE_INT8_BINARY(Mul)
  SAGE_INT8_BINARY(Div)
  SAGE_INT8_BINARY(Max)
  SAGE_INT8_BINARY(Min)
  SAGE_INT8_BINARY(TimesPowerOfTwo)
  SAGE_INT8_BINARY(CutExp2)
#undef SAGE_INT8_BINARY
  static Reg Load(const float* p) {
    return Each<Reg>([&](int i) { return V::Load(p + i * V::kWidth); });
  }
  static void Store(float* p, Reg v) {
#pragma GCC unroll 16
    for (int i = 0; i < kParts; ++i) V::Store(p + i * V::kWidth, v.part[i]);
  }
  static Reg Set1(float x) {
    return Each<Reg>([&](int) { return V::Set1(x); });
  }
  static Reg Fma(Reg a, Reg b, Reg c) {
    return Each<Reg>([&](int i) { return V::Fma(a.part[i], b.part[i], c.part[i]); });
  }
  static Reg ClampExp2(Reg x) {
    return Each<Reg>([&](int i) { return V::ClampExp2(x.part[i]); });
  }
  static Reg Iota() {
    return Each<Reg>([](int i) { return V::Add(V::Iota(), V::Set1(static_cast<float>(i * V::kWidth))); });
  }
  static Mask Less(Reg a, Reg b) {
    return Each<Mask>([&](int i) { return V::Less(a.part[i], b.part[i]); });
  }
  static Mask LessEqual(Reg a, Reg b) {
    return Each<Mask>([&](int i) { return V::LessEqual(a.part[i], b.part[i]); });
  }
  static Mask Equal(Reg a, Reg b) {
    return Each<Mask>([&](int i) { return V::Equal(a.part[i], b.part[i]); });
  }
  static Mask And(Mask a, Mask b) {
    return Each<Mask>([&](int i) { return V::And(a.part[i], b.part[i]); });
  }
  static Mask Bits(uint64_t bits) {
    return Each<Mask>([&](int i) { return V::Bits(bits >> (i * V::kWidth)); });
  }
  static Reg Select(Mask mask, Reg yes, Reg no) {
    return Each<Reg>([&](int i) { return V::Select(mask.part[i], yes.part[i], no.part[i]); });
  }
  // The parts first, then the lanes of the one that is left: V's own sums over lanes must halve in that order too.
  static float Sum(Reg v) {
#pragma GCC unroll 4
    for (int half = kParts / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) v.part[i] = V::Add(v.part[i], v.part[i + half]);
    return V::Sum(v.part[0]);
  }
  static float Largest(Reg v) {
#pragma GCC unroll 4
    for (int half = kParts / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) v.part[i] = V::Max(v.part[i], v.part[i + half]);
    return V::Largest(v.part[0]);
  }
};
