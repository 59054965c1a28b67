// attention_softmax.inc.h: scores on their way to weights: softcap, bias, masks, maximum and 2^x, written once over a
// register type and instantiated per ISA.
//
// A weight is 2^((x - maximum) log2(e)): the difference first, so that scores that are huge but exact keep theirs, and
// the range reduction of 2^x is exact. Every path multiplies by the scale, rounds, and goes on from there: a row that
// needs no mask has the bits of one that has a mask which hides nothing.
//
// Included inside an anonymous namespace after an attention_vec_<isa>.inc.h.

// 2^f = 1 + f q(f) over |f| <= 1/2; q interpolates (2^f - 1) / f at Chebyshev nodes. Error relative to 2^f: 5.1e-9
// (float), 8.4e-18 (double), before rounding.
template <class T>
struct Exp2Table;
template <>
struct Exp2Table<float> {
  static constexpr float kRounder = 0x1.8p23f, kLog2E = 0x1.715476p+0f;
  static constexpr int kTerms = 6;
  static constexpr float kSeries[kTerms] = {0x1.62e43p-1f,  0x1.ebfbep-3f,  0x1.c6af6cp-5f,
                                            0x1.3b2a54p-7f, 0x1.5f089p-10f, 0x1.44138ap-13f};
  static constexpr float kTanhOne = 29.0f;  // |2x| log2(e) beyond which tanh(x) rounds to 1
};
template <>
struct Exp2Table<double> {
  static constexpr double kRounder = 0x1.8p52, kLog2E = 0x1.71547652b82fep+0;
  static constexpr int kTerms = 11;
  static constexpr double kSeries[kTerms] = {0x1.62e42fefa39efp-1,  0x1.ebfbdff82c598p-3,  0x1.c6b08d704a0c2p-5,
                                             0x1.3b2ab6fba1ddap-7,  0x1.5d87fe78a5276p-10, 0x1.430913096fd9fp-13,
                                             0x1.ffcbfc670dcd4p-17, 0x1.62bfd47773353p-20, 0x1.b524fae627834p-24,
                                             0x1.e6063f7217bc6p-28, 0x1.e9d3fe3952179p-32};
  static constexpr double kTanhOne = 64.0;
};

// x = n + f; returns 2^f - 1, which is accurate near 0 too.
template <class V>
inline typename V::Reg ReducedExp2m1(typename V::Reg x, typename V::Reg* n) {
  using Table = Exp2Table<typename V::T>;
  *n = V::Sub(V::Add(x, V::Set1(Table::kRounder)), V::Set1(Table::kRounder));
  const typename V::Reg f = V::Sub(x, *n);
  typename V::Reg q = V::Set1(Table::kSeries[Table::kTerms - 1]);
#pragma GCC unroll 16
  for (int i = Table::kTerms - 2; i >= 0; --i) q = V::Fma(q, f, V::Set1(Table::kSeries[i]));
  return V::Mul(q, f);
}

// The series of weights: that of T, or V's own where they are rounded to less anyway.
template <class V>
struct SeriesOf : Exp2Table<typename V::T> {};
template <class V>
requires requires { typename V::Exp2Series; }
struct SeriesOf<V> : V::Exp2Series {};

// x <= 0, or as little above it as rounding makes, or NaN, which stays NaN; -inf gives +0.
template <class V>
inline __attribute__((always_inline)) typename V::Reg Exp2(typename V::Reg x) {
  using Table = Exp2Table<typename V::T>;
  const typename V::Reg clamped = V::ClampExp2(x);
  const typename V::Reg n = V::Sub(V::Add(clamped, V::Set1(Table::kRounder)), V::Set1(Table::kRounder));
  const typename V::Reg f = V::Sub(clamped, n);
  using Series = SeriesOf<V>;
  typename V::Reg q = V::Set1(Series::kSeries[Series::kTerms - 1]);
#pragma GCC unroll 16
  for (int i = Series::kTerms - 2; i >= 0; --i) q = V::Fma(q, f, V::Set1(Series::kSeries[i]));
  return V::CutExp2(x, V::TimesPowerOfTwo(V::Fma(q, f, V::Set1(1)), n));
}

// t / (t + 2) with t = e^2x - 1: no cancellation for small x.
template <class V>
inline typename V::Reg Tanh(typename V::Reg x) {
  using Table = Exp2Table<typename V::T>;
  typename V::Reg n, y = V::Mul(x, V::Set1(2 * Table::kLog2E));
  y = V::Max(V::Set1(-Table::kTanhOne), V::Min(V::Set1(Table::kTanhOne), y));  // keeps NaN
  const typename V::Reg e = ReducedExp2m1<V>(y, &n);
  const typename V::Reg power = V::TimesPowerOfTwo(V::Set1(1), n);
  const typename V::Reg t = V::Fma(power, e, V::Sub(power, V::Set1(1)));
  return V::Div(t, V::Add(t, V::Set1(2)));
}

template <class V>
typename V::T Prepare(const ScoreRow<typename V::T>& row, typename V::T* s) {
  using T = typename V::T;
  const typename V::Reg factor = V::Set1(row.factor), lowest = V::Set1(-__builtin_inf());
  const typename V::Reg low = V::Set1(static_cast<T>(row.low)), high = V::Set1(static_cast<T>(row.high));
  const bool whole = row.keep == nullptr && row.low <= row.begin && row.high >= row.end;
  typename V::Reg best = lowest;
  for (int64_t k = row.begin; k < row.end; k += V::kWidth) {
    typename V::Reg x = V::Mul(V::Load(s + k), factor);
    const typename V::Reg lane = V::Add(V::Iota(), V::Set1(static_cast<T>(k)));
    if (row.softcap != 0) {
      const typename V::Reg cap = V::Set1(row.softcap);
      x = V::Mul(cap, Tanh<V>(V::Div(x, cap)));
    }
    if (row.bias != nullptr) x = V::Add(V::Load(row.bias + k), x);
    if (row.alibi_slope != 0) {
      const typename V::Reg away = V::Sub(lane, V::Set1(row.alibi_origin));
      x = V::Fma(V::Set1(-row.alibi_slope), V::Max(away, V::Sub(V::Set1(0), away)), x);
    }
    if (!whole) {
      typename V::Mask visible = V::And(V::LessEqual(low, lane), V::Less(lane, high));
      if (row.keep != nullptr) visible = V::And(visible, V::Bits(row.keep[k / 64] >> (k % 64)));
      x = V::Select(visible, x, lowest);
    }
    best = V::Max(x, best);
    V::Store(s + k, x);
  }
  return V::Largest(best);
}

template <class V, bool kPlain>
inline typename V::T ExponentiateAs(typename V::T factor, typename V::T maximum, int64_t begin, int64_t end,
                                    typename V::T* s) {
  const typename V::Reg lowest = V::Set1(-__builtin_inf()), unseen = V::Set1(typename V::T(-0.0));
  // While nothing was visible the maximum is -inf, and -inf - -inf would be NaN.
  const typename V::Reg m = V::Set1(maximum == -__builtin_inf() ? typename V::T(0) : maximum);
  const typename V::Reg unit = V::Set1(Exp2Table<typename V::T>::kLog2E);
  typename V::Reg sum = V::Set1(0);
  for (int64_t k = begin; k < end; k += V::kWidth) {
    typename V::Reg x = V::Load(s + k), p;
    if constexpr (kPlain)
      p = Exp2<V>(V::Mul(V::Sub(V::Mul(x, V::Set1(factor)), m), unit));
    else
      p = V::Select(V::Equal(x, lowest), unseen, Exp2<V>(V::Mul(V::Sub(x, m), unit)));
    sum = V::Add(sum, p);
    V::Store(s + k, p);
  }
  return V::Sum(sum);
}

template <class V>
typename V::T Exponentiate(typename V::T maximum, int64_t begin, int64_t end, typename V::T* s) {
  return ExponentiateAs<V, false>(0, maximum, begin, end, s);
}

// e^x of one number, through the lanes of a register: the same bits as in a row.
template <class V>
inline typename V::T ExpOne(typename V::T x) {
  typename V::T lanes[V::kWidth];
  V::Store(lanes, Exp2<V>(V::Set1(x * Exp2Table<typename V::T>::kLog2E)));
  return lanes[0];
}

// The online step of one row (Milakov and Gimelshein, arXiv 1805.02867): best is the maximum of its new scores.
template <class V>
inline void MoveMaximum(typename V::T best, typename V::T* maximum, typename V::T* alpha) {
  const typename V::T before = *maximum, after = best > before ? best : before;
  // An unmoved maximum rescales by exactly 1; before the first one there is nothing to rescale.
  *alpha = after == before              ? typename V::T(1)
           : before == -__builtin_inf() ? typename V::T(0)
                                        : ExpOne<V>(before - after);
  *maximum = after;
}

template <class V>
void OnlinePrepared(typename V::T best, int64_t begin, int64_t end, typename V::T* s, typename V::T* maximum,
                    typename V::T* sum, typename V::T* alpha) {
  MoveMaximum<V>(best, maximum, alpha);
  *sum = *sum * *alpha + ExponentiateAs<V, false>(0, *maximum, begin, end, s);
}

template <class V>
void OnlinePlain(int32_t rows, typename V::T factor, int64_t begin, int64_t end, typename V::T* s, int64_t lds,
                 typename V::T* maximum, typename V::T* sum, typename V::T* alpha) {
  // All maxima first: their chains overlap.
  for (int32_t r = 0; r < rows; ++r) {
    typename V::Reg best = V::Set1(-__builtin_inf());
    for (int64_t k = begin; k < end; k += V::kWidth) best = V::Max(V::Load(s + r * lds + k), best);
    // Rounding keeps the order: the largest product is that of the largest dot.
    MoveMaximum<V>(V::Largest(best) * factor, maximum + r, alpha + r);
  }
  for (int32_t r = 0; r < rows; ++r)
    sum[r] = sum[r] * alpha[r] + ExponentiateAs<V, true>(factor, maximum[r], begin, end, s + r * lds);
}

template <class V>
void MultiplyRows(int32_t rows, const typename V::T* factors, int64_t begin, int64_t end, typename V::T* s,
                  int64_t lds) {
  for (int32_t r = 0; r < rows; ++r)
    for (int64_t k = begin; k < end; k += V::kWidth)
      V::Store(s + r * lds + k, V::Mul(V::Load(s + r * lds + k), V::Load(factors + k)));
}

// A chunk's state of one row added to that of the chunks before it.
template <class V>
void Merge(int64_t dv_padded, typename V::T maximum, typename V::T sum, const typename V::T* o,
           typename V::T* total_maximum, typename V::T* total_sum, typename V::T* total_o) {
  // A sum of 0: nothing seen. (A maximum of -inf would not tell: where all scores are NaN it is that too.)
  if (sum == 0) return;
  if (*total_sum == 0) {
    *total_maximum = maximum, *total_sum = sum;
    for (int64_t c = 0; c < dv_padded; c += V::kWidth) V::Store(total_o + c, V::Load(o + c));
    return;
  }
  const typename V::T before = *total_maximum, after = maximum > before ? maximum : before;
  const typename V::T old_part = ExpOne<V>(before - after), new_part = ExpOne<V>(maximum - after);
  *total_maximum = after;
  *total_sum = *total_sum * old_part + sum * new_part;
  const typename V::Reg a = V::Set1(old_part), b = V::Set1(new_part);
  for (int64_t c = 0; c < dv_padded; c += V::kWidth)
    V::Store(total_o + c, V::Fma(V::Load(o + c), b, V::Mul(V::Load(total_o + c), a)));
}

template <class V>
constexpr void SetSoftmax(AttentionKernels<typename V::T>* table) {
  table->prepare = Prepare<V>, table->exponentiate = Exponentiate<V>;
  table->online_prepared = OnlinePrepared<V>, table->online_plain = OnlinePlain<V>, table->merge = Merge<V>;
  table->multiply_rows = MultiplyRows<V>;
}
