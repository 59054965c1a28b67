// attention_kernels.inc.h: the attention kernels, written once over a register type and instantiated per ISA.
//
// Included inside an anonymous namespace after an attention_vec_<isa>.inc.h. No header of the standard library with
// inline code is used here: the linker might keep this file's copy for everybody.
template <class V>
inline typename V::Reg Round(typename V::Reg x, typename V::T rounder) {
  return V::Sub(V::Add(x, V::Set1(rounder)), V::Set1(rounder));
}

// The two constants of e^x = 2^n e^r, ln 2 = high + low with room for n in high, and (e^r - 1 - r) / r^2 over
// |r| <= ln(2)/2 interpolated at Chebyshev nodes: relative error of e^r 1.1e-8 (float) and 2e-17 (double).
template <class T>
struct ExpTable;
template <>
struct ExpTable<float> {
  static constexpr float kRounder = 0x1.8p23f, kHigh = 0x1.62ep-1f, kLow = 0x1.0bfbe8p-15f, kLog2E = 0x1.715476p+0f;
  static constexpr int kTerms = 5;
  static constexpr float kSeries[kTerms] = {0x1p-1f, 0x1.5554dcp-3f, 0x1.55551ap-5f, 0x1.120ba2p-7f, 0x1.6d113cp-10f};
  static constexpr float kTanhOne = 20.0f;  // |2x| beyond which tanh(x) rounds to 1
};
template <>
struct ExpTable<double> {
  static constexpr double kRounder = 0x1.8p52, kHigh = 0x1.62e42fefp-1, kLow = 0x1.473de6af278edp-34;
  static constexpr double kLog2E = 0x1.71547652b82fep+0;
  static constexpr int kTerms = 10;
  static constexpr double kSeries[kTerms] = {0x1.0000000000001p-1,  0x1.5555555555556p-3,  0x1.5555555553d4fp-5,
                                             0x1.11111111109adp-7,  0x1.6c16c17893833p-10, 0x1.a01a01a7c8d47p-13,
                                             0x1.a019b8ef67c6cp-16, 0x1.71de0d9c145d0p-19, 0x1.2891a8c1d838dp-22,
                                             0x1.af38d53857513p-26};
  static constexpr double kTanhOne = 44.0;
};

// x = n ln 2 + r; returns e^r - 1, which is accurate near 0 too.
template <class V>
inline typename V::Reg ReducedExpm1(typename V::Reg x, typename V::Reg* n) {
  using Table = ExpTable<typename V::T>;
  *n = Round<V>(V::Mul(x, V::Set1(Table::kLog2E)), Table::kRounder);
  typename V::Reg r = V::Fma(*n, V::Set1(-Table::kHigh), x);
  r = V::Fma(*n, V::Set1(-Table::kLow), r);
  typename V::Reg q = V::Set1(Table::kSeries[Table::kTerms - 1]);
#pragma GCC unroll 16
  for (int i = Table::kTerms - 2; i >= 0; --i) q = V::Fma(q, r, V::Set1(Table::kSeries[i]));
  return V::Fma(V::Mul(r, r), q, r);
}

// x <= 0 or NaN, which stays NaN; -inf gives +0.
template <class V>
inline typename V::Reg Exp(typename V::Reg x) {
  typename V::Reg n;
  const typename V::Reg e = ReducedExpm1<V>(V::Max(V::Set1(V::kExpLow), x), &n);
  return V::CutExp(x, V::TimesPowerOfTwo(V::Add(V::Set1(1), e), n));
}

// t / (t + 2) with t = e^2x - 1: no cancellation for small x.
template <class V>
inline typename V::Reg Tanh(typename V::Reg x) {
  using Table = ExpTable<typename V::T>;
  typename V::Reg n, y = V::Add(x, x);
  y = V::Max(V::Set1(-Table::kTanhOne), V::Min(V::Set1(Table::kTanhOne), y));  // keeps NaN
  const typename V::Reg e = ReducedExpm1<V>(y, &n);
  const typename V::Reg power = V::TimesPowerOfTwo(V::Set1(1), n);
  const typename V::Reg t = V::Fma(power, e, V::Sub(power, V::Set1(1)));
  return V::Div(t, V::Add(t, V::Set1(2)));
}

template <Stored kStored, class T>
constexpr int64_t StoredSize() {
  return kStored == Stored::kNative ? static_cast<int64_t>(sizeof(T)) : 2;
}

// Columns [c, length) of one row, fewer than a register: nothing is read past the row.
template <class V, Stored kStored>
inline typename V::Reg LoadTail(const char* row, int64_t c, int64_t length) {
  constexpr int64_t kSize = StoredSize<kStored, typename V::T>();
  alignas(64) char padded[V::kWidth * kSize] = {};
  memcpy(padded, row + c * kSize, static_cast<size_t>((length - c) * kSize));
  return V::template LoadStored<kStored>(padded);
}

template <class V, Stored kStored>
void PackRowsAs(const void* const* rows, int64_t count, int64_t length, typename V::T* out, int64_t ld) {
  constexpr int64_t kSize = StoredSize<kStored, typename V::T>();
  for (int64_t r = 0; r < count; ++r) {
    const char* row = static_cast<const char*>(rows[r]);
    int64_t c = 0;
    for (; c + V::kWidth <= length; c += V::kWidth)
      V::Store(out + r * ld + c, V::template LoadStored<kStored>(row + c * kSize));
    if (c < length) V::Store(out + r * ld + c, LoadTail<V, kStored>(row, c, length));
  }
}

template <class V, Stored kStored>
void PackKeysAs(const void* const* rows, int64_t count, int64_t length, typename V::T* out) {
  constexpr int64_t kSize = StoredSize<kStored, typename V::T>();
  constexpr int64_t kPanel = V::kWidth * V::kPanelVectors;
  typename V::Reg block[V::kWidth];
  for (int64_t k = 0; k < count; k += V::kWidth) {
    const int64_t base = k / kPanel * kPanel;
    const int64_t panel_width = count - base < kPanel ? count - base : kPanel;
    typename V::T* panel = out + base * length + (k - base);
    for (int64_t c = 0; c < length; c += V::kWidth) {
      if (c + V::kWidth <= length) {
#pragma GCC unroll 16
        for (int i = 0; i < V::kWidth; ++i)
          block[i] = V::template LoadStored<kStored>(static_cast<const char*>(rows[k + i]) + c * kSize);
        V::Transpose(block);
#pragma GCC unroll 16
        for (int i = 0; i < V::kWidth; ++i) V::Store(panel + (c + i) * panel_width, block[i]);
      } else {
        for (int i = 0; i < V::kWidth; ++i)
          block[i] = LoadTail<V, kStored>(static_cast<const char*>(rows[k + i]), c, length);
        V::Transpose(block);
        for (int64_t i = 0; i < length - c; ++i) V::Store(panel + (c + i) * panel_width, block[i]);
      }
    }
  }
}

template <class V>
void PackRows(Stored stored, const void* const* rows, int64_t count, int64_t length, typename V::T* out, int64_t ld) {
  if constexpr (sizeof(typename V::T) == 4) {
    if (stored == Stored::kBf16) return PackRowsAs<V, Stored::kBf16>(rows, count, length, out, ld);
    if (stored == Stored::kF16) return PackRowsAs<V, Stored::kF16>(rows, count, length, out, ld);
  }
  PackRowsAs<V, Stored::kNative>(rows, count, length, out, ld);
}

template <class V>
void PackKeys(Stored stored, const void* const* rows, int64_t count, int64_t length, typename V::T* out) {
  if constexpr (sizeof(typename V::T) == 4) {
    if (stored == Stored::kBf16) return PackKeysAs<V, Stored::kBf16>(rows, count, length, out);
    if (stored == Stored::kF16) return PackKeysAs<V, Stored::kF16>(rows, count, length, out);
  }
  PackKeysAs<V, Stored::kNative>(rows, count, length, out);
}

// kRows x kVectors sums in registers: out[r][c] = sum over i in [begin,end) of a[r*lda + i] * b[i*ldb + c], then
// out = out_before * alpha[r] + sum where kScaled.
template <class V, int kRows, int kVectors, bool kScaled>
inline void Tile(const typename V::T* a, int64_t lda, const typename V::T* b, int64_t ldb, int64_t begin, int64_t end,
                 const typename V::T* alpha, typename V::T* out, int64_t ldo) {
  typename V::Reg sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = V::Set1(0);
  b += begin * ldb;
  for (int64_t i = begin; i < end; ++i, b += ldb) {
    typename V::Reg column[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) column[v] = V::Load(b + v * V::kWidth);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename V::Reg factor = V::Set1(a[r * lda + i]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = V::Fma(factor, column[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      typename V::T* to = out + r * ldo + v * V::kWidth;
      if constexpr (kScaled)
        V::Store(to, V::Fma(V::Load(to), V::Set1(alpha[r]), sum[r][v]));
      else
        V::Store(to, sum[r][v]);
    }
}

// All columns of kRows rows, widest tiles first.
template <class V, int kRows, bool kScaled>
inline void Columns(const typename V::T* a, int64_t lda, const typename V::T* b, int64_t ldb, int64_t begin,
                    int64_t end, int64_t columns, const typename V::T* alpha, typename V::T* out, int64_t ldo) {
  constexpr int kVectors = V::Vectors(kRows);
  int64_t c = 0;
  for (; c + kVectors * V::kWidth <= columns; c += kVectors * V::kWidth)
    Tile<V, kRows, kVectors, kScaled>(a, lda, b + c, ldb, begin, end, alpha, out + c, ldo);
  if constexpr (kVectors > 2)
    for (; c + 2 * V::kWidth <= columns; c += 2 * V::kWidth)
      Tile<V, kRows, 2, kScaled>(a, lda, b + c, ldb, begin, end, alpha, out + c, ldo);
  for (; c < columns; c += V::kWidth) Tile<V, kRows, 1, kScaled>(a, lda, b + c, ldb, begin, end, alpha, out + c, ldo);
}

template <class V, bool kScaled>
inline void Rows(int32_t rows, const typename V::T* a, int64_t lda, const typename V::T* b, int64_t ldb, int64_t begin,
                 int64_t end, int64_t columns, const typename V::T* alpha, typename V::T* out, int64_t ldo) {
  switch (rows) {
    case 1:
      return Columns<V, 1, kScaled>(a, lda, b, ldb, begin, end, columns, alpha, out, ldo);
    case 2:
      return Columns<V, 2, kScaled>(a, lda, b, ldb, begin, end, columns, alpha, out, ldo);
    case 3:
      return Columns<V, 3, kScaled>(a, lda, b, ldb, begin, end, columns, alpha, out, ldo);
    case 4:
      return Columns<V, 4, kScaled>(a, lda, b, ldb, begin, end, columns, alpha, out, ldo);
    default:
      break;
  }
  if constexpr (V::kRowGroup > 4) {
    if (rows == 5) return Columns<V, 5, kScaled>(a, lda, b, ldb, begin, end, columns, alpha, out, ldo);
    return Columns<V, 6, kScaled>(a, lda, b, ldb, begin, end, columns, alpha, out, ldo);
  }
}

template <class V>
void Scores(int32_t rows, const typename V::T* q, int64_t ldq, const typename V::T* panels, int64_t count,
            int64_t length, int64_t begin, int64_t end, typename V::T* s, int64_t lds) {
  constexpr int64_t kPanel = V::kWidth * V::kPanelVectors;
  for (int64_t base = begin / kPanel * kPanel; base < end; base += kPanel) {
    const int64_t panel_width = count - base < kPanel ? count - base : kPanel;
    const int64_t first = begin > base ? begin - base : 0;
    const int64_t last = end - base < panel_width ? end - base : panel_width;
    Rows<V, false>(rows, q, ldq, panels + base * length + first, panel_width, 0, length, last - first, nullptr,
                   s + base + first, lds);
  }
}

template <class V>
void Accumulate(int32_t rows, const typename V::T* p, int64_t ldp, const typename V::T* v, int64_t ldv, int64_t begin,
                int64_t end, int64_t dv_padded, const typename V::T* alpha, typename V::T* o, int64_t ldo) {
  Rows<V, true>(rows, p, ldp, v, ldv, begin, end, dv_padded, alpha, o, ldo);
}

template <class V>
void AccumulateVisible(const typename V::T* p, const typename V::T* v, int64_t ldv, int64_t begin, int64_t end,
                       int64_t dv_padded, typename V::T alpha, typename V::T* o) {
  for (int64_t c = 0; c < dv_padded; c += V::kWidth) {
    typename V::Reg sum = V::Set1(0);
    for (int64_t k = begin; k < end; ++k) {
      if (p[k] == 0 && __builtin_signbit(p[k])) continue;
      sum = V::Fma(V::Set1(p[k]), V::Load(v + k * ldv + c), sum);
    }
    V::Store(o + c, V::Fma(V::Load(o + c), V::Set1(alpha), sum));
  }
}

template <class V>
int32_t AllFinite(const typename V::T* v, int64_t ldv, int64_t begin, int64_t end, int64_t dv_padded) {
  typename V::Reg sum = V::Set1(0);  // 0 * x is NaN exactly where x is not finite
  for (int64_t k = begin; k < end; ++k)
    for (int64_t c = 0; c < dv_padded; c += V::kWidth) sum = V::Fma(V::Load(v + k * ldv + c), V::Set1(0), sum);
  return V::Sum(sum) == 0;
}

template <class V>
typename V::T Prepare(const ScoreRow<typename V::T>& row, typename V::T* s) {
  using T = typename V::T;
  const typename V::Reg scale = V::Set1(row.scale), lowest = V::Set1(-__builtin_inf());
  typename V::Reg best = lowest;
  const bool plain = row.softcap == 0 && row.alibi_slope == 0 && row.bias == nullptr && row.keep == nullptr;
  if (plain && row.low <= row.begin && row.high >= row.end) {
    for (int64_t k = row.begin; k < row.end; k += V::kWidth) {
      const typename V::Reg x = V::Mul(V::Load(s + k), scale);
      best = V::Max(x, best);
      V::Store(s + k, x);
    }
    return V::Largest(best);
  }
  const typename V::Reg low = V::Set1(static_cast<T>(row.low)), high = V::Set1(static_cast<T>(row.high));
  for (int64_t k = row.begin; k < row.end; k += V::kWidth) {
    typename V::Reg x = V::Mul(V::Load(s + k), scale);
    const typename V::Reg lane = V::Add(V::Iota(), V::Set1(static_cast<T>(k)));
    typename V::Mask visible = V::And(V::LessEqual(low, lane), V::Less(lane, high));
    if (row.softcap != 0) {
      const typename V::Reg cap = V::Set1(row.softcap);
      x = V::Mul(cap, Tanh<V>(V::Div(x, cap)));
    }
    if (row.bias != nullptr) x = V::Add(x, V::Load(row.bias + k));
    if (row.alibi_slope != 0) {
      const typename V::Reg away = V::Sub(lane, V::Set1(row.alibi_origin));
      x = V::Fma(V::Set1(-row.alibi_slope), V::Max(away, V::Sub(V::Set1(0), away)), x);
    }
    if (row.keep != nullptr) visible = V::And(visible, V::NotEqual(V::Load(row.keep + k), V::Set1(0)));
    x = V::Select(visible, x, lowest);
    best = V::Max(x, best);
    V::Store(s + k, x);
  }
  return V::Largest(best);
}

template <class V>
typename V::T Exponentiate(typename V::T maximum, int64_t begin, int64_t end, typename V::T* s) {
  const typename V::Reg lowest = V::Set1(-__builtin_inf()), unseen = V::Set1(typename V::T(-0.0));
  // While nothing was visible the maximum is -inf, and -inf - -inf would be NaN.
  const typename V::Reg m = V::Set1(maximum == -__builtin_inf() ? typename V::T(0) : maximum);
  typename V::Reg sum = V::Set1(0);
  for (int64_t k = begin; k < end; k += V::kWidth) {
    const typename V::Reg x = V::Load(s + k);
    const typename V::Reg p = V::Select(V::Equal(x, lowest), unseen, Exp<V>(V::Sub(x, m)));
    sum = V::Add(sum, p);
    V::Store(s + k, p);
  }
  return V::Sum(sum);
}

template <class V>
typename V::T ExpOne(typename V::T x) {
  typename V::T lanes[V::kWidth];
  V::Store(lanes, Exp<V>(V::Set1(x)));
  return lanes[0];
}

template <class V>
constexpr AttentionKernels<typename V::T> MakeKernels() {
  return {
      V::kWidth,       V::kRowGroup,  V::kWidth * V::kPanelVectors, PackRows<V>,  PackKeys<V>, Scores<V>, Prepare<V>,
      Exponentiate<V>, Accumulate<V>, AccumulateVisible<V>,         AllFinite<V>, ExpOne<V>};
}
