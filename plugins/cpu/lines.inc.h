// lines.inc.h: the source of the vector instances of LineKernels, over VecF and VecD of the including file.
//
// Included inside an anonymous namespace, and free of std templates (see gemm_kernel.inc.h).

using D = VecD::Reg;

inline D Const(double x) { return VecD::Set1(x); }

// exp(x) = 2^n exp(r), |r| <= ln2/2, by the Taylor polynomial of degree 13 (error 4e-18). less_one: exp(r) - 1.
inline D ExpPolynomial(D r, bool less_one) {
  D p = Const(1.0 / 6227020800.0);
  p = VecD::Fma(p, r, Const(1.0 / 479001600.0));
  p = VecD::Fma(p, r, Const(1.0 / 39916800.0));
  p = VecD::Fma(p, r, Const(1.0 / 3628800.0));
  p = VecD::Fma(p, r, Const(1.0 / 362880.0));
  p = VecD::Fma(p, r, Const(1.0 / 40320.0));
  p = VecD::Fma(p, r, Const(1.0 / 5040.0));
  p = VecD::Fma(p, r, Const(1.0 / 720.0));
  p = VecD::Fma(p, r, Const(1.0 / 120.0));
  p = VecD::Fma(p, r, Const(1.0 / 24.0));
  p = VecD::Fma(p, r, Const(1.0 / 6.0));
  p = VecD::Fma(p, r, Const(0.5));
  p = VecD::Fma(VecD::Mul(r, r), p, r);
  return less_one ? p : VecD::Add(p, Const(1.0));
}

// The bounds give 0 and infinity in the end; a NaN passes through both (second operand).
inline D Bound(D x) { return VecD::Max(Const(-800.0), VecD::Min(Const(800.0), x)); }

inline D Reduce(D x, D* n) {
  *n = VecD::Round(VecD::Mul(x, Const(1.4426950408889634)));
  const D r = VecD::Fnma(*n, Const(6.93147180369123816490e-01), x);  // ln 2 in two parts, the first with trailing zeros
  return VecD::Fnma(*n, Const(1.90821492927058770002e-10), r);
}

inline D Exp(D x) {
  D n;
  const D r = Reduce(Bound(x), &n);
  return VecD::Scale(ExpPolynomial(r, false), n);
}

// exp(x) - 1 without cancellation near 0.
inline D ExpM1(D x) {
  D n;
  const D r = Reduce(Bound(x), &n);
  const D power = VecD::Scale(Const(1.0), n);
  const D value = VecD::Fma(power, ExpPolynomial(r, true), VecD::Sub(power, Const(1.0)));
  // Past 709.78 the power may be infinite or about to be: there exp(x) is all that counts. -0 stays -0.
  const D large = VecD::Select(VecD::Less(Const(700.0), x), Exp(x), value);
  return VecD::Select(VecD::Equal(x, VecD::Zero()), x, large);
}

inline D Sigmoid(D x) {
  const D e = Exp(VecD::Neg(VecD::Abs(x)));
  const D top = VecD::Select(VecD::Less(x, VecD::Zero()), e, Const(1.0));
  return VecD::Div(top, VecD::Add(Const(1.0), e));
}

inline D Tanh(D x) {
  const D t = ExpM1(VecD::Min(Const(40.0), VecD::Mul(Const(2.0), VecD::Abs(x))));
  return VecD::CopySign(VecD::Div(t, VecD::Add(t, Const(2.0))), x);
}

// Natural logarithm: m in [sqrt(1/2), sqrt(2)), 2 atanh((m-1)/(m+1)) as a series.
inline D Log(D x) {
  const VecD::Mask tiny = VecD::Less(x, Const(0x1p-1022));
  const D normal = VecD::Select(tiny, VecD::Mul(x, Const(0x1p54)), x);
  D m, e;
  VecD::Split(normal, &m, &e);
  e = VecD::Select(tiny, VecD::Sub(e, Const(54.0)), e);
  const VecD::Mask high = VecD::Less(Const(1.4142135623730951), m);
  m = VecD::Select(high, VecD::Mul(m, Const(0.5)), m);
  e = VecD::Select(high, VecD::Add(e, Const(1.0)), e);
  const D f = VecD::Sub(m, Const(1.0));
  const D s = VecD::Div(f, VecD::Add(m, Const(1.0)));
  const D z = VecD::Mul(s, s);
  D p = Const(2.0 / 23.0);
  p = VecD::Fma(p, z, Const(2.0 / 21.0));
  p = VecD::Fma(p, z, Const(2.0 / 19.0));
  p = VecD::Fma(p, z, Const(2.0 / 17.0));
  p = VecD::Fma(p, z, Const(2.0 / 15.0));
  p = VecD::Fma(p, z, Const(2.0 / 13.0));
  p = VecD::Fma(p, z, Const(2.0 / 11.0));
  p = VecD::Fma(p, z, Const(2.0 / 9.0));
  p = VecD::Fma(p, z, Const(2.0 / 7.0));
  p = VecD::Fma(p, z, Const(2.0 / 5.0));
  p = VecD::Fma(p, z, Const(2.0 / 3.0));
  // log m = 2s + s z p = f - s (f - z p): the larger part is exact.
  const D small = VecD::Mul(s, VecD::Sub(f, VecD::Mul(z, p)));
  const D low = VecD::Fma(e, Const(1.90821492927058770002e-10), VecD::Neg(small));
  D y = VecD::Fma(e, Const(6.93147180369123816490e-01), VecD::Add(f, low));
  const double infinity = __builtin_inf();
  y = VecD::Select(VecD::Equal(x, Const(infinity)), x, y);
  y = VecD::Select(VecD::Equal(x, VecD::Zero()), Const(-infinity), y);
  y = VecD::Select(VecD::Less(x, VecD::Zero()), Const(__builtin_nan("")), y);
  return VecD::NanOr(x, y);
}

// erfc(z), z >= 0: t exp(-z^2 + P(2t - 1)), t = 2/(2+z), P a Chebyshev series (fitted in 60 digits, error 3e-18).
constexpr double kErfc[] = {
    -0.6513268598908547171,    0.6419697923564902603,     0.01947647320418583631,    -0.009561514786808631642,
    -0.0009465953444820368663, 0.0003668394978527614519,  0.00004252332480690777164, -0.00002027857811253424315,
    -1.624290004647025513e-6,  1.303655835580523202e-6,   1.562644172206614318e-8,   -8.523809591492654253e-8,
    6.529054439098851496e-9,   5.059343495551468942e-9,   -9.913641564930330867e-10, -2.273651222931835856e-10,
    9.646791102015526802e-11,  2.394038083039114745e-12,  -6.886027526497553398e-12, 8.944879273090725717e-13,
    3.130921399342958078e-13,  -1.127082236136725237e-13, 3.810905255189232055e-16,  7.106097613609236988e-15,
    -1.523028201457104304e-15, -9.457494571291234e-17,    1.210237189224278992e-16,  -2.816663087747176972e-17};

inline D Erfc(D z) {
  const D t = VecD::Div(Const(2.0), VecD::Add(Const(2.0), z));
  const D y = VecD::Fma(t, Const(4.0), Const(-2.0));  // twice the argument, as Clenshaw wants it
  D b1 = VecD::Zero(), b2 = VecD::Zero();
  for (int i = static_cast<int>(sizeof kErfc / sizeof kErfc[0]) - 1; i > 0; --i) {
    const D b = VecD::Fma(y, b1, VecD::Sub(Const(kErfc[i]), b2));
    b2 = b1;
    b1 = b;
  }
  const D p = VecD::Fma(VecD::Mul(y, Const(0.5)), b1, VecD::Sub(Const(kErfc[0]), b2));
  const D square = VecD::Mul(z, z);
  const D lost = VecD::Fma(z, z, VecD::Neg(square));  // z^2 = square + lost
  // The argument of exp may be large: what its rounding loses comes back as a factor.
  const D rest = VecD::Sub(p, lost);
  const D argument = VecD::Sub(rest, square);
  const D error = VecD::Sub(rest, VecD::Add(argument, square));
  const D e = Exp(argument);
  return VecD::Mul(t, VecD::Fma(e, error, e));
}

// x/2 (1 + erf(x/sqrt 2)); by erfc there is no cancellation at negative x.
inline D Gelu(D x) {
  const D tail = Erfc(VecD::Mul(VecD::Min(Const(60.0), VecD::Abs(x)), Const(0.70710678118654752440)));
  const D weight = VecD::Select(VecD::Less(x, VecD::Zero()), tail, VecD::Sub(Const(2.0), tail));
  return VecD::Mul(VecD::Mul(Const(0.5), x), weight);
}

// x/2 (1 + tanh(u)) = x sigmoid(2u).
inline D GeluTanh(D x) {
  const D cube = VecD::Mul(VecD::Mul(x, x), x);
  const D u = VecD::Mul(Const(0.79788456080286535588), VecD::Fma(Const(0.044715), cube, x));
  return VecD::Mul(x, Sigmoid(VecD::Mul(Const(2.0), u)));
}

template <class Function>
inline void Map(double* x, int64_t n, Function function) {
  for (int64_t i = 0; i < n; i += VecD::kWidth) VecD::Store(x + i, function(VecD::Load(x + i)));
}

void LineUnary(uint32_t function, double alpha, double* x, int64_t n) {
  switch (function) {
    case SAGE_FN_RELU:
      return Map(x, n, [](D v) { return VecD::Max(VecD::Zero(), v); });
    case SAGE_FN_GELU:
      return Map(x, n, [](D v) { return Gelu(v); });
    case SAGE_FN_GELU_TANH:
      return Map(x, n, [](D v) { return GeluTanh(v); });
    case SAGE_FN_SILU:
      return Map(x, n, [](D v) { return VecD::Mul(v, Sigmoid(v)); });
    case SAGE_FN_SIGMOID:
      return Map(x, n, [](D v) { return Sigmoid(v); });
    case SAGE_FN_TANH:
      return Map(x, n, [](D v) { return Tanh(v); });
    case SAGE_FN_ELU: {
      const D a = Const(alpha);
      return Map(x, n, [a](D v) {
        return VecD::Select(VecD::Less(VecD::Zero(), v), v, VecD::Mul(a, ExpM1(VecD::Min(VecD::Zero(), v))));
      });
    }
    case SAGE_FN_EXP:
      return Map(x, n, [](D v) { return Exp(v); });
    case SAGE_FN_LOG:
      return Map(x, n, [](D v) { return Log(v); });
    case SAGE_FN_SQRT:
      return Map(x, n, [](D v) { return VecD::Sqrt(v); });
    case SAGE_FN_ABS:
      return Map(x, n, [](D v) { return VecD::Abs(v); });
    case SAGE_FN_NEG:
      return Map(x, n, [](D v) { return VecD::Neg(v); });
    default:  // identity
      return;
  }
}

template <class Function>
inline void Zip(const double* a, const double* b, double* y, int64_t n, Function function) {
  for (int64_t i = 0; i < n; i += VecD::kWidth) VecD::Store(y + i, function(VecD::Load(a + i), VecD::Load(b + i)));
}

void LineBinary(uint32_t function, const double* a, const double* b, double* y, int64_t n) {
  switch (function) {
    case SAGE_BINARY_ADD:
      return Zip(a, b, y, n, [](D u, D v) { return VecD::Add(u, v); });
    case SAGE_BINARY_SUB:
      return Zip(a, b, y, n, [](D u, D v) { return VecD::Sub(u, v); });
    case SAGE_BINARY_MUL:
      return Zip(a, b, y, n, [](D u, D v) { return VecD::Mul(u, v); });
    case SAGE_BINARY_DIV:
      return Zip(a, b, y, n, [](D u, D v) { return VecD::Div(u, v); });
    case SAGE_BINARY_MIN:
      return Zip(a, b, y, n, [](D u, D v) { return VecD::NanOr(u, VecD::Min(u, v)); });
    default:  // max
      return Zip(a, b, y, n, [](D u, D v) { return VecD::NanOr(u, VecD::Max(u, v)); });
  }
}

// The last, partial vector, filled up with what changes nothing.
inline D LoadRest(const double* x, int64_t n, double fill) {
  double rest[VecD::kWidth];
  for (int i = 0; i < VecD::kWidth; ++i) rest[i] = i < n ? x[i] : fill;
  return VecD::Load(rest);
}

inline double AddLanes(D v) {
  double lane[VecD::kWidth];
  VecD::Store(lane, v);
  for (int step = VecD::kWidth / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lane[i] += lane[i + step];
  return lane[0];
}

double LineSumSquares(const double* x, int64_t n, double about) {
  const D shift = Const(about);
  D s0 = VecD::Zero(), s1 = VecD::Zero();
  int64_t i = 0;
  for (; i + 2 * VecD::kWidth <= n; i += 2 * VecD::kWidth) {
    const D u = VecD::Sub(VecD::Load(x + i), shift), v = VecD::Sub(VecD::Load(x + i + VecD::kWidth), shift);
    s0 = VecD::Fma(u, u, s0);
    s1 = VecD::Fma(v, v, s1);
  }
  for (; i < n; i += VecD::kWidth) {
    const D u = VecD::Sub(n - i < VecD::kWidth ? LoadRest(x + i, n - i, about) : VecD::Load(x + i), shift);
    s0 = VecD::Fma(u, u, s0);
  }
  return AddLanes(VecD::Add(s0, s1));
}

double LineSum(const double* x, int64_t n) {
  D s0 = VecD::Zero(), s1 = VecD::Zero();
  int64_t i = 0;
  for (; i + 2 * VecD::kWidth <= n; i += 2 * VecD::kWidth) {
    s0 = VecD::Add(s0, VecD::Load(x + i));
    s1 = VecD::Add(s1, VecD::Load(x + i + VecD::kWidth));
  }
  for (; i < n; i += VecD::kWidth)
    s0 = VecD::Add(s0, n - i < VecD::kWidth ? LoadRest(x + i, n - i, 0.0) : VecD::Load(x + i));
  return AddLanes(VecD::Add(s0, s1));
}

double LineExtreme(const double* x, int64_t n, int32_t smallest) {
  D best = Const(x[0]);
  for (int64_t i = 0; i < n; i += VecD::kWidth) {
    const D v = n - i < VecD::kWidth ? LoadRest(x + i, n - i, x[0]) : VecD::Load(x + i);
    best = VecD::NanOr(best, smallest != 0 ? VecD::Min(best, v) : VecD::Max(best, v));
  }
  double lane[VecD::kWidth];
  VecD::Store(lane, best);
  double result = lane[0];
  for (int i = 1; i < VecD::kWidth; ++i) {
    if (result != result) break;
    if (lane[i] != lane[i] || (smallest != 0 ? lane[i] < result : lane[i] > result)) result = lane[i];
  }
  return result;
}

double LineExpSum(double* x, int64_t n, double shift) {
  const D s = Const(shift);
  Map(x, n, [s](D v) { return Exp(VecD::Sub(v, s)); });
  return LineSum(x, n);
}

void LineAffine(double* x, int64_t n, double shift, double scale) {
  const D s = Const(shift), f = Const(scale);
  Map(x, n, [s, f](D v) { return VecD::Mul(VecD::Sub(v, s), f); });
}

template <class From, class Load>
inline void LoadBy(const void* from, int64_t n, double* to, Load load) {
  constexpr int64_t size = static_cast<int64_t>(sizeof(From));
  const char* bytes = static_cast<const char*>(from);
  int64_t i = 0;
  for (; i + VecD::kWidth <= n; i += VecD::kWidth)
    VecD::Store(to + i, load(reinterpret_cast<const From*>(bytes + i * size)));
  if (i == n) return;
  From rest[VecD::kWidth] = {};
  memcpy(rest, bytes + i * size, static_cast<size_t>((n - i) * size));
  VecD::Store(to + i, load(rest));
}

void LineLoad(sage_dtype dtype, const void* from, int64_t n, double* to) {
  if (dtype == SAGE_F32)
    LoadBy<float>(from, n, to, [](const float* p) { return VecD::LoadF32(p); });
  else if (dtype == SAGE_BF16)
    LoadBy<uint16_t>(from, n, to, [](const uint16_t* p) { return VecD::LoadBf16(p); });
  else if (dtype == SAGE_F16)
    LoadBy<uint16_t>(from, n, to, [](const uint16_t* p) { return VecD::LoadF16(p); });
  else
    memcpy(to, from, static_cast<size_t>(n) * sizeof(double));
}

template <class To, class Save>
inline void StoreBy(const double* from, int64_t n, void* to, Save save) {
  constexpr int64_t size = static_cast<int64_t>(sizeof(To));
  char* bytes = static_cast<char*>(to);
  int64_t i = 0;
  for (; i + VecD::kWidth <= n; i += VecD::kWidth) save(reinterpret_cast<To*>(bytes + i * size), VecD::Load(from + i));
  if (i == n) return;
  To rest[VecD::kWidth];
  save(rest, VecD::Load(from + i));
  memcpy(bytes + i * size, rest, static_cast<size_t>((n - i) * size));
}

void LineStore(sage_dtype dtype, const double* from, int64_t n, void* to) {
  if (dtype == SAGE_F32)
    StoreBy<float>(from, n, to, [](float* p, D v) { VecD::StoreF32(p, v); });
  else if (dtype == SAGE_BF16)
    StoreBy<uint16_t>(from, n, to, [](uint16_t* p, D v) { VecD::StoreBf16(p, v); });
  else if (dtype == SAGE_F16)
    StoreBy<uint16_t>(from, n, to, [](uint16_t* p, D v) { VecD::StoreF16(p, v); });
  else
    memcpy(to, from, static_cast<size_t>(n) * sizeof(double));
}

using F = VecF::Reg;

template <class Function>
inline int32_t MapF32(const void* x, void* y, int64_t n, Function function) {
  const float* from = static_cast<const float*>(x);
  float* to = static_cast<float*>(y);
  int64_t i = 0;
  for (; i + VecF::kWidth <= n; i += VecF::kWidth) VecF::Store(to + i, function(VecF::Load(from + i)));
  if (i < n) {
    float rest[VecF::kWidth] = {};
    memcpy(rest, from + i, static_cast<size_t>(n - i) * sizeof(float));
    VecF::Store(rest, function(VecF::Load(rest)));
    memcpy(to + i, rest, static_cast<size_t>(n - i) * sizeof(float));
  }
  return 1;
}

int32_t LineUnaryF32(uint32_t function, const void* x, void* y, int64_t n) {
  switch (function) {
    case SAGE_FN_RELU:
      return MapF32(x, y, n, [](F v) { return VecF::Max(VecF::Zero(), v); });
    case SAGE_FN_SQRT:
      return MapF32(x, y, n, [](F v) { return VecF::Sqrt(v); });
    case SAGE_FN_ABS:
      return MapF32(x, y, n, [](F v) { return VecF::Abs(v); });
    case SAGE_FN_NEG:
      return MapF32(x, y, n, [](F v) { return VecF::Neg(v); });
    default:
      return 0;
  }
}

inline F LoadStep(const float* p, int32_t step, int64_t i, int64_t n) {
  float rest[VecF::kWidth] = {};
  if (step == 0) {
    memcpy(rest, p, sizeof(float));
    return VecF::Set1(rest[0]);
  }
  if (n - i >= VecF::kWidth) return VecF::Load(p + i);
  memcpy(rest, p + i, static_cast<size_t>(n - i) * sizeof(float));
  return VecF::Load(rest);
}

template <class Function>
inline int32_t ZipF32(const void* a, int32_t a_step, const void* b, int32_t b_step, void* y, int64_t n,
                      Function function) {
  float* to = static_cast<float*>(y);
  for (int64_t i = 0; i < n; i += VecF::kWidth) {
    const F value = function(LoadStep(static_cast<const float*>(a), a_step, i, n),
                             LoadStep(static_cast<const float*>(b), b_step, i, n));
    if (n - i >= VecF::kWidth) {
      VecF::Store(to + i, value);
    } else {
      float rest[VecF::kWidth];
      VecF::Store(rest, value);
      memcpy(to + i, rest, static_cast<size_t>(n - i) * sizeof(float));
    }
  }
  return 1;
}

int32_t LineBinaryF32(uint32_t function, const void* a, int32_t a_step, const void* b, int32_t b_step, void* y,
                      int64_t n) {
  switch (function) {
    case SAGE_BINARY_ADD:
      return ZipF32(a, a_step, b, b_step, y, n, [](F u, F v) { return VecF::Add(u, v); });
    case SAGE_BINARY_SUB:
      return ZipF32(a, a_step, b, b_step, y, n, [](F u, F v) { return VecF::Sub(u, v); });
    case SAGE_BINARY_MUL:
      return ZipF32(a, a_step, b, b_step, y, n, [](F u, F v) { return VecF::Mul(u, v); });
    case SAGE_BINARY_DIV:
      return ZipF32(a, a_step, b, b_step, y, n, [](F u, F v) { return VecF::Div(u, v); });
    case SAGE_BINARY_MIN:
      return ZipF32(a, a_step, b, b_step, y, n, [](F u, F v) { return VecF::NanOr(u, VecF::Min(u, v)); });
    case SAGE_BINARY_MAX:
      return ZipF32(a, a_step, b, b_step, y, n, [](F u, F v) { return VecF::NanOr(u, VecF::Max(u, v)); });
    default:
      return 0;
  }
}
