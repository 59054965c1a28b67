// attention_in_place.inc.h: the two products of attention for a few rows, with K and V read where they lie.
//
// For who reads K and V once, as decoding does: nothing is packed, registers that were turned are multiplied at once,
// and whatever the memory has to deliver is asked for ahead, evenly, while there is arithmetic to do. The chains are
// those of attention_kernels.inc.h, so are the bits.
//
// Included inside an anonymous namespace after attention_kernels.inc.h.

// Of K: how elements become a register of factors, of which each takes kTogether. c counts factors, length elements.
template <class V, Stored kStored>
struct KeyElements {
  static constexpr int64_t kTogether = 1, kBytes = StoredSize<kStored, typename V::T>();
  static typename V::Reg Load(const char* row, int64_t c) { return V::template LoadStored<kStored>(row + c * kBytes); }
  static typename V::Reg Tail(const char* row, int64_t c, int64_t length) {
    return LoadTail<V, kStored>(row, c, length);
  }
};

// A register's worth of keys, rows in `block`, `used` factors of each: sum[r] goes on, one factor after another. Each
// few of them are multiplied as soon as they are turned, so that the processor has both kinds of work at any time. Q as
// ScoresOf turned it.
template <class V, int kRows>
inline void Chain(const typename V::T* q, typename V::Reg* block, int64_t used, typename V::Reg* sum) {
  V::GatherLanes(block);
#pragma GCC unroll 16
  for (int first = 0; first < V::kWidth; first += V::kTurned) {
    V::TurnLane(block + first);
#pragma GCC unroll 8
    for (int i = first; i < first + V::kTurned; ++i) {
      if (i >= used) return;
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum[r] = Product<V>(V::Set1(q[i * kRows + r]), block[i], sum[r]);
    }
  }
}

template <class V, class Elements, int kRows>
void ScoresOf(const typename V::T* q, int64_t ldq, const void* const* keys, int64_t count, int64_t length,
              typename V::T* s, int64_t lds, const void* const* ahead) {
  constexpr int64_t kFactors = 256;
  const int64_t factors = (length + Elements::kTogether - 1) / Elements::kTogether;
  // Q with its rows beside each other: one address that moves, for all of them.
  alignas(64) typename V::T turned[kFactors * kRows];
  for (int64_t first = 0; first < factors; first += kFactors) {
    const int64_t past = factors - first < kFactors ? factors : first + kFactors;
    for (int r = 0; r < kRows; ++r)
      for (int64_t c = first; c < past; ++c) turned[(c - first) * kRows + r] = q[r * ldq + c];
    for (int64_t k = 0; k < count; k += V::kWidth) {
      typename V::Reg sum[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum[r] = first == 0 ? V::Set1(0) : V::Load(s + r * lds + k);
      for (int64_t c = first; c < past; c += V::kWidth) {
        typename V::Reg block[V::kWidth];
        if ((c + V::kWidth) * Elements::kTogether <= length) {
#pragma GCC unroll 16
          for (int i = 0; i < V::kWidth; ++i) block[i] = Elements::Load(static_cast<const char*>(keys[k + i]), c);
        } else {
          for (int i = 0; i < V::kWidth; ++i)
            block[i] = Elements::Tail(static_cast<const char*>(keys[k + i]), c, length);
        }
        if (ahead != nullptr && c * Elements::kBytes % 64 == 0) {
#pragma GCC unroll 16
          for (int i = 0; i < V::kWidth; ++i)
            __builtin_prefetch(static_cast<const char*>(ahead[k + i]) + c * Elements::kBytes, 0, 2);
        }
        const typename V::T* const from = turned + (c - first) * kRows;
        if (c + V::kWidth <= past)
          Chain<V, kRows>(from, block, V::kWidth, sum);
        else
          Chain<V, kRows>(from, block, past - c, sum);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) V::Store(s + r * lds + k, sum[r]);
    }
  }
}

template <class V, class Elements, int kRows = V::kFewRows>
void ScoresFrom(int32_t rows, const typename V::T* q, int64_t ldq, const void* const* keys, int64_t count,
                int64_t length, typename V::T* s, int64_t lds, const void* const* ahead) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return ScoresFrom<V, Elements, kRows - 1>(rows, q, ldq, keys, count, length, s, lds, ahead);
  }
  ScoresOf<V, Elements, kRows>(q, ldq, keys, count, length, s, lds, ahead);
}

template <class V>
void ScoresInPlace(Stored stored, int32_t rows, const void* packed_q, int64_t ldq, const void* const* keys,
                   int64_t count, int64_t length, typename V::T* s, int64_t lds, const void* const* ahead) {
  const auto* q = static_cast<const typename V::T*>(packed_q);
  if constexpr (sizeof(typename V::T) == 4) {
    if (stored == Stored::kBf16)
      return ScoresFrom<V, KeyElements<V, Stored::kBf16>>(rows, q, ldq, keys, count, length, s, lds, ahead);
    if (stored == Stored::kF16)
      return ScoresFrom<V, KeyElements<V, Stored::kF16>>(rows, q, ldq, keys, count, length, s, lds, ahead);
    if (stored == Stored::kI8)
      return ScoresFrom<V, KeyElements<V, Stored::kI8>>(rows, q, ldq, keys, count, length, s, lds, ahead);
  }
  ScoresFrom<V, KeyElements<V, Stored::kNative>>(rows, q, ldq, keys, count, length, s, lds, ahead);
}

// Of V: one row a step, kVectors registers of it from column c on.
template <class V, Stored kStored>
struct ValueElements {
  static constexpr int64_t kBytes = StoredSize<kStored, typename V::T>(), kRowsAStep = 1;
  template <int kVectors>
  static void Load(const void* const* rows, int64_t c, typename V::Reg* factors) {
    const char* at = static_cast<const char*>(rows[0]) + c * kBytes;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) factors[v] = V::template LoadStored<kStored>(at + v * V::kWidth * kBytes);
  }
};

// kRows x kVectors sums in registers go on over steps [begin, end) of V, columns from c; p[r*ldp + i] is the factor of
// step i.
template <class V, class Elements, int kRows, int kVectors>
inline void Steps(const typename V::T* p, int64_t ldp, const void* const* values, int64_t begin, int64_t end, int64_t c,
                  typename V::T* sums, int64_t ld, const void* const* ahead) {
  typename V::Reg sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = V::Load(sums + r * ld + v * V::kWidth);
  for (int64_t i = begin; i < end; ++i) {
    typename V::Reg factors[kVectors];
    Elements::template Load<kVectors>(values + i * Elements::kRowsAStep, c, factors);
    if (ahead != nullptr) {
#pragma GCC unroll 2
      for (int64_t row = i * Elements::kRowsAStep; row < (i + 1) * Elements::kRowsAStep; ++row)
#pragma GCC unroll 4
        for (int64_t at = 0; at < kVectors * V::kWidth * Elements::kBytes; at += 64)
          __builtin_prefetch(static_cast<const char*>(ahead[row]) + c * Elements::kBytes + at, 0, 2);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename V::Reg factor = V::Set1(p[r * ldp + i]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = Product<V>(factor, factors[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) V::Store(sums + r * ld + v * V::kWidth, sum[r][v]);
}

// o = o * alpha + the sums over steps [begin, end), of kRows rows. V's rows are read in the order in which they lie, a
// few at a time over all their columns; sums go on from these to those.
template <class V, class Elements, int kRows>
void AccumulateOf(const typename V::T* p, int64_t ldp, const void* const* values, int64_t begin, int64_t end,
                  int64_t length, const typename V::T* alpha, typename V::T* o, int64_t ldo, const void* const* ahead) {
  constexpr int64_t kColumns = 256, kSteps = 16;
  constexpr int kVectors = V::Vectors(kRows);
  alignas(64) typename V::T sums[kRows * kColumns];
  for (int64_t first = 0; first < length; first += kColumns) {
    const int64_t past = length - first < kColumns ? length : first + kColumns;
    for (int r = 0; r < kRows; ++r)
      for (int64_t c = first; c < past; c += V::kWidth) V::Store(sums + r * kColumns + c - first, V::Set1(0));
    for (int64_t i = begin; i < end; i += kSteps) {
      const int64_t last = i + kSteps < end ? i + kSteps : end;
      int64_t c = first;
      for (; c + kVectors * V::kWidth <= past; c += kVectors * V::kWidth)
        Steps<V, Elements, kRows, kVectors>(p, ldp, values, i, last, c, sums + c - first, kColumns, ahead);
      for (; c < past; c += V::kWidth)
        Steps<V, Elements, kRows, 1>(p, ldp, values, i, last, c, sums + c - first, kColumns, ahead);
    }
    for (int r = 0; r < kRows; ++r)
      for (int64_t c = first; c < past; c += V::kWidth) {
        typename V::T* const out = o + r * ldo + c;
        V::Store(out, V::Fma(V::Load(out), V::Set1(alpha[r]), V::Load(sums + r * kColumns + c - first)));
      }
  }
}

template <class V, class Elements, int kRows = V::kFewRows>
void AccumulateFrom(int32_t rows, const typename V::T* p, int64_t ldp, const void* const* values, int64_t begin,
                    int64_t end, int64_t length, const typename V::T* alpha, typename V::T* o, int64_t ldo,
                    const void* const* ahead) {
  if constexpr (kRows > 1) {
    if (rows < kRows)
      return AccumulateFrom<V, Elements, kRows - 1>(rows, p, ldp, values, begin, end, length, alpha, o, ldo, ahead);
  }
  AccumulateOf<V, Elements, kRows>(p, ldp, values, begin, end, length, alpha, o, ldo, ahead);
}

template <class V>
void AccumulateInPlace(Stored stored, int32_t rows, const typename V::T* p, int64_t ldp, const void* const* values,
                       int64_t begin, int64_t end, int64_t length, const typename V::T* alpha, typename V::T* o,
                       int64_t ldo, const void* const* ahead) {
  if constexpr (sizeof(typename V::T) == 4) {
    if (stored == Stored::kBf16)
      return AccumulateFrom<V, ValueElements<V, Stored::kBf16>>(rows, p, ldp, values, begin, end, length, alpha, o, ldo,
                                                                ahead);
    if (stored == Stored::kF16)
      return AccumulateFrom<V, ValueElements<V, Stored::kF16>>(rows, p, ldp, values, begin, end, length, alpha, o, ldo,
                                                               ahead);
    if (stored == Stored::kI8)
      return AccumulateFrom<V, ValueElements<V, Stored::kI8>>(rows, p, ldp, values, begin, end, length, alpha, o, ldo,
                                                              ahead);
  }
  AccumulateFrom<V, ValueElements<V, Stored::kNative>>(rows, p, ldp, values, begin, end, length, alpha, o, ldo, ahead);
}

template <class V>
constexpr AttentionKernels<typename V::T> MakeKernels() {
  AttentionKernels<typename V::T> table{};
  table.width = V::kWidth, table.row_group = V::kRowGroup, table.few_rows = V::kFewRows,
  table.panel = V::kWidth * V::kPanelVectors;
  table.element = table.value_element = sizeof(typename V::T), table.dim_step = table.value_dim_step = V::kWidth,
  table.value_step = 1, table.values_in_place = 1;
  table.pack_queries = PackQueries<V>, table.pack_keys = PackKeys<V>, table.pack_values = PackValues<V>;
  table.scores = Scores<V>, table.accumulate = Accumulate<V>, table.accumulate_visible = AccumulateVisible<V>;
  table.all_finite = AllFinite<V>;
  table.scores_in_place = ScoresInPlace<V>, table.accumulate_in_place = AccumulateInPlace<V>;
  SetSoftmax<V>(&table);
  return table;
}
