// vec_scalar.inc.h: a vector of one number, for the portable instance of the templated kernels.
//
// Included inside an anonymous namespace. Multiply and add round separately: the baseline has no fused instruction, and
// emulating it costs a library call.
template <class T>
struct VecOne {
  using Scalar = T;
  using Reg = T;
  static constexpr int kWidth = 1;
  static Reg Load(const T* p) { return *p; }
  static void Store(T* p, Reg v) { *p = v; }
  static Reg Zero() { return T(0); }
  static Reg Set1(T x) { return x; }
  static Reg Add(Reg a, Reg b) { return a + b; }
  static Reg Fma(Reg a, Reg b, Reg c) { return a * b + c; }
};
