// attention_vec_scalar.inc.h: what the attention kernels need beyond vec_scalar.inc.h, for one number.
//
// Included inside an anonymous namespace by attention_scalar.cc, after vec_scalar.inc.h.
template <class Number, class Word, int kMantissaBits>
struct Lane : VecOne<Number> {
  using T = Number;
  using Reg = Number;
  using Mask = bool;
  static constexpr int kRowGroup = 4, kFewRows = 4, kPanelVectors = 4;
  static constexpr int Vectors(int) { return 2; }
  static constexpr T kExp2Low = kMantissaBits == 23 ? T(-126) : T(-1022);
  static constexpr T kRounder = kMantissaBits == 23 ? T(0x1.8p23) : T(0x1.8p52);
  static Reg Sub(Reg a, Reg b) { return a - b; }
  static Reg Mul(Reg a, Reg b) { return a * b; }
  static Reg Div(Reg a, Reg b) { return a / b; }
  static Reg Max(Reg a, Reg b) { return a > b ? a : b; }  // b where either is NaN
  static Reg Min(Reg a, Reg b) { return a < b ? a : b; }
  static Reg Iota() { return T(0); }
  static Mask Less(Reg a, Reg b) { return a < b; }
  static Mask LessEqual(Reg a, Reg b) { return a <= b; }
  static Mask Equal(Reg a, Reg b) { return a == b; }
  static Mask Bits(uint64_t bits) { return (bits & 1) != 0; }
  static Mask And(Mask a, Mask b) { return a && b; }
  static Reg Select(Mask mask, Reg yes, Reg no) { return mask ? yes : no; }
  static Reg TimesPowerOfTwo(Reg p, Reg n) {
    const T shifted = n + kRounder;
    Word number = 0, shift = 0;
    memcpy(&number, &p, sizeof p);
    memcpy(&shift, &shifted, sizeof shifted);
    number += shift << kMantissaBits;
    memcpy(&p, &number, sizeof p);
    return p;
  }
  static Reg ClampExp2(Reg x) { return Max(kExp2Low, x); }  // keeps NaN
  static Reg CutExp2(Reg x, Reg result) { return x < kExp2Low ? T(0) : result; }
  static T Sum(Reg v) { return v; }
  static T Largest(Reg v) { return v; }
  template <Stored kStored>
  static Reg LoadStored(const void* p) {
    if constexpr (kStored == Stored::kNative) {
      T value;
      memcpy(&value, p, sizeof value);
      return value;
    } else if constexpr (kStored == Stored::kI8) {
      int8_t code = 0;
      memcpy(&code, p, sizeof code);
      return static_cast<T>(code);
    } else {
      uint16_t bits = 0;
      memcpy(&bits, p, sizeof bits);
      return static_cast<T>(kStored == Stored::kBf16 ? Bf16ToFloat(bits) : F16ToFloat(bits));
    }
  }
  static constexpr int kTurned = 1;
  static void GatherLanes(Reg*) {}
  static void TurnLane(Reg*) {}
};
using LanesF = Lane<float, uint32_t, 23>;
using LanesD = Lane<double, uint64_t, 52>;
