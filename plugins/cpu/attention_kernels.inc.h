// attention_kernels.inc.h: packing and the two products of attention in fused multiply-adds of the computing type,
// written once over a register type and instantiated per ISA.
//
// Included inside an anonymous namespace after an attention_vec_<isa>.inc.h and attention_softmax.inc.h. No header of
// the standard library with inline code is used here: the linker might keep this file's copy for everybody.
template <Stored kStored, class T>
constexpr int64_t StoredSize() {
  return kStored == Stored::kNative ? static_cast<int64_t>(sizeof(T)) : kStored == Stored::kI8 ? 1 : 2;
}

// Columns [c, length) of one row, fewer than a register: nothing is read past the row.
template <class V, Stored kStored>
inline typename V::Reg LoadTail(const char* row, int64_t c, int64_t length) {
  constexpr int64_t kSize = StoredSize<kStored, typename V::T>();
  alignas(64) char padded[V::kWidth * kSize] = {};
  memcpy(padded, row + c * kSize, static_cast<size_t>((length - c) * kSize));
  return V::template LoadStored<kStored>(padded);
}

// V::kWidth registers, rows before, columns after.
template <class V>
inline void Transpose(typename V::Reg* rows) {
  V::GatherLanes(rows);
#pragma GCC unroll 16
  for (int i = 0; i < V::kWidth; i += V::kTurned) V::TurnLane(rows + i);
}

template <class V, Stored kStored>
void PackRowsAs(const void* const* rows, int64_t count, int64_t length, typename V::T* out, int64_t ld,
                const void* const* ahead) {
  constexpr int64_t kSize = StoredSize<kStored, typename V::T>();
  for (int64_t r = 0; r < count; ++r) {
    const char* row = static_cast<const char*>(rows[r]);
    if (ahead != nullptr)
      for (int64_t at = 0; at < length * kSize; at += 64)
        __builtin_prefetch(static_cast<const char*>(ahead[r]) + at, 0, 2);
    int64_t c = 0;
    for (; c + V::kWidth <= length; c += V::kWidth)
      V::Store(out + r * ld + c, V::template LoadStored<kStored>(row + c * kSize));
    if (c < length) V::Store(out + r * ld + c, LoadTail<V, kStored>(row, c, length));
  }
}

template <class V, Stored kStored>
void PackKeysAs(const void* const* rows, int64_t count, int64_t length, typename V::T* out, const void* const* ahead) {
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
        if (ahead != nullptr && c * kSize % 64 == 0) {
          for (int i = 0; i < V::kWidth; ++i)
            __builtin_prefetch(static_cast<const char*>(ahead[k + i]) + c * kSize, 0, 2);
        }
        Transpose<V>(block);
#pragma GCC unroll 16
        for (int i = 0; i < V::kWidth; ++i) V::Store(panel + (c + i) * panel_width, block[i]);
      } else {
        for (int i = 0; i < V::kWidth; ++i)
          block[i] = LoadTail<V, kStored>(static_cast<const char*>(rows[k + i]), c, length);
        Transpose<V>(block);
        for (int64_t i = 0; i < length - c; ++i) V::Store(panel + (c + i) * panel_width, block[i]);
      }
    }
  }
}

template <class V>
void PackValues(Stored stored, const void* const* rows, int64_t count, int64_t length, void* packed, int64_t ld,
                const void* const* ahead) {
  auto* out = static_cast<typename V::T*>(packed);
  if constexpr (sizeof(typename V::T) == 4) {
    if (stored == Stored::kBf16) return PackRowsAs<V, Stored::kBf16>(rows, count, length, out, ld, ahead);
    if (stored == Stored::kF16) return PackRowsAs<V, Stored::kF16>(rows, count, length, out, ld, ahead);
  }
  PackRowsAs<V, Stored::kNative>(rows, count, length, out, ld, ahead);
}

template <class V>
void PackQueries(Stored stored, const void* const* rows, int64_t count, int64_t length, void* packed, int64_t ld) {
  PackValues<V>(stored, rows, count, length, packed, ld, nullptr);
}

template <class V>
void PackKeys(Stored stored, const void* const* rows, int64_t count, int64_t length, void* packed,
              const void* const* ahead) {
  auto* out = static_cast<typename V::T*>(packed);
  if constexpr (sizeof(typename V::T) == 4) {
    if (stored == Stored::kBf16) return PackKeysAs<V, Stored::kBf16>(rows, count, length, out, ahead);
    if (stored == Stored::kF16) return PackKeysAs<V, Stored::kF16>(rows, count, length, out, ahead);
  }
  PackKeysAs<V, Stored::kNative>(rows, count, length, out, ahead);
}

// One step of a sum of products; what a register of factors holds is V's matter.
template <class V>
inline typename V::Reg Product(typename V::Reg a, typename V::Reg b, typename V::Reg sum) {
  if constexpr (requires { V::Product(a, b, sum); })
    return V::Product(a, b, sum);
  else
    return V::Fma(a, b, sum);
}

// What becomes of the sums: stored, or added to out * alpha.
enum class Sums { kStored, kScaled };

// kRows x kVectors sums in registers: out[r][c] = sum over i in [begin,end) of a[r*lda + i] * b[i*ldb + c].
template <class V, int kRows, int kVectors, Sums kSums>
inline void Tile(const typename V::T* a, int64_t lda, const typename V::T* b, int64_t ldb, int64_t begin, int64_t end,
                 const typename V::T* alpha, typename V::T* out, int64_t ldo) {
  typename V::Reg sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = V::Set1(0);
  b += begin * ldb;
  for (int64_t i = begin; i < end; ++i, b += ldb) {
    typename V::Reg factors[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) factors[v] = V::Load(b + v * V::kWidth);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename V::Reg factor = V::Set1(a[r * lda + i]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = Product<V>(factor, factors[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      typename V::T* to = out + r * ldo + v * V::kWidth;
      if constexpr (kSums == Sums::kScaled)
        V::Store(to, V::Fma(V::Load(to), V::Set1(alpha[r]), sum[r][v]));
      else
        V::Store(to, sum[r][v]);
    }
}

// All columns of kRows rows, widest tiles first.
template <class V, int kRows, Sums kSums>
inline void Columns(const typename V::T* a, int64_t lda, const typename V::T* b, int64_t ldb, int64_t begin,
                    int64_t end, int64_t columns, const typename V::T* alpha, typename V::T* out, int64_t ldo) {
  constexpr int kVectors = V::Vectors(kRows);
  int64_t c = 0;
  for (; c + kVectors * V::kWidth <= columns; c += kVectors * V::kWidth)
    Tile<V, kRows, kVectors, kSums>(a, lda, b + c, ldb, begin, end, alpha, out + c, ldo);
  if constexpr (kVectors > 2)
    for (; c + 2 * V::kWidth <= columns; c += 2 * V::kWidth)
      Tile<V, kRows, 2, kSums>(a, lda, b + c, ldb, begin, end, alpha, out + c, ldo);
  for (; c < columns; c += V::kWidth) Tile<V, kRows, 1, kSums>(a, lda, b + c, ldb, begin, end, alpha, out + c, ldo);
}

// kRows or fewer rows.
template <class V, int kRows, Sums kSums>
inline void Rows(int32_t rows, const typename V::T* a, int64_t lda, const typename V::T* b, int64_t ldb, int64_t begin,
                 int64_t end, int64_t columns, const typename V::T* alpha, typename V::T* out, int64_t ldo) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return Rows<V, kRows - 1, kSums>(rows, a, lda, b, ldb, begin, end, columns, alpha, out, ldo);
  }
  Columns<V, kRows, kSums>(a, lda, b, ldb, begin, end, columns, alpha, out, ldo);
}

template <class V>
void Scores(int32_t rows, const void* packed_q, int64_t ldq, const void* packed_k, int64_t count, int64_t length,
            int64_t begin, int64_t end, typename V::T* s, int64_t lds) {
  const auto* q = static_cast<const typename V::T*>(packed_q);
  const auto* panels = static_cast<const typename V::T*>(packed_k);
  constexpr int64_t kPanel = V::kWidth * V::kPanelVectors;
  for (int64_t base = begin / kPanel * kPanel; base < end; base += kPanel) {
    const int64_t panel_width = count - base < kPanel ? count - base : kPanel;
    const int64_t first = begin > base ? begin - base : 0;
    const int64_t last = end - base < panel_width ? end - base : panel_width;
    Rows<V, V::kRowGroup, Sums::kStored>(rows, q, ldq, panels + base * length + first, panel_width, 0, length,
                                         last - first, nullptr, s + base + first, lds);
  }
}

template <class V>
void Accumulate(int32_t rows, const typename V::T* p, int64_t ldp, const void* packed_v, int64_t ldv, int64_t begin,
                int64_t end, int64_t dv_padded, const typename V::T* alpha, typename V::T* o, int64_t ldo) {
  const auto* v = static_cast<const typename V::T*>(packed_v);
  Rows<V, V::kRowGroup, Sums::kScaled>(rows, p, ldp, v, ldv, begin, end, dv_padded, alpha, o, ldo);
}

template <class V>
void AccumulateVisible(const typename V::T* p, const void* packed_v, int64_t ldv, int64_t begin, int64_t end,
                       int64_t dv_padded, typename V::T alpha, typename V::T* o) {
  const auto* v = static_cast<const typename V::T*>(packed_v);
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
int32_t AllFinite(const void* packed_v, int64_t ldv, int64_t begin, int64_t end, int64_t dv_padded) {
  const auto* v = static_cast<const typename V::T*>(packed_v);
  typename V::Reg sum = V::Set1(0);  // 0 * x is NaN exactly where x is not finite
  for (int64_t k = begin; k < end; ++k)
    for (int64_t c = 0; c < dv_padded; c += V::kWidth) sum = V::Fma(V::Load(v + k * ldv + c), V::Set1(0), sum);
  return V::Sum(sum) == 0;
}
