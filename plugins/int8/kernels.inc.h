// kernels.inc.h: attention's two products on codes, and the exact product, written once over 16 lanes and an integer
// product.
//
// Included inside an anonymous namespace after attention_softmax.inc.h and a struct V, which is a Lanes16 besides:
// kForm; kRowGroup; Products<unsigned>(rows, left, row_bytes, right, panel_bytes, panels, depth, emit) as
// BroadcastProducts says it; StoreWeights(address, 16 codes), in the form's units; StoreBytes(address, 16 floats): to
// nearest even, their low 8 bits.

constexpr int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

template <class V>
constexpr int64_t PanelBytes(int64_t depth) {
  return static_cast<int64_t>(sizeof(PanelHead)) + RoundUp(depth, V::kForm.depth_step) * kPanel * V::kForm.unit;
}

template <class V>
void Scores(int32_t rows, const void* q, int64_t ldq, const void* keys, int64_t, int64_t length, int64_t begin,
            int64_t end, float* s, int64_t lds) {
  const int64_t depth = RoundUp(length, V::kForm.depth_step), row_bytes = ldq * V::kForm.unit;
  const int64_t panel_bytes = PanelBytes<V>(length);
  const char* left = static_cast<const char*>(q);
  const char* first = static_cast<const char*>(keys) + begin / kPanel * panel_bytes;
  V::template Products<false>(
      rows, left, row_bytes, first + sizeof(PanelHead), panel_bytes, (end - begin) / kPanel,
      depth, [=](int64_t r, int64_t panel, typename V::Sums sums) __attribute__((always_inline)) {
        const PanelHead& head = *reinterpret_cast<const PanelHead*>(first + panel * panel_bytes);
        const RowTail& tail = *reinterpret_cast<const RowTail*>(left + r * row_bytes + depth * V::kForm.unit);
        if constexpr (V::kForm.left_offset != 0) sums = V::AddSums(sums, V::LoadSums(head.correction));
        const typename V::Reg scale = V::Mul(V::Set1(tail.scale), V::Load(head.scale));
        V::Store(s + r * lds + begin + panel * kPanel, V::Fma(V::ToFloats(sums), scale, V::Set1(tail.constant)));
      });
}

// A block's weights of one row: times the tokens' scales, as codes from 0 to 255 of a scale of their own, which is
// returned. Lanes outside [begin, end), whole registers, are 0. NaN where a key that the row sees has no finite V.
template <class V>
inline float QuantiseWeights(const float* p, const float* token, int64_t begin, int64_t end, bool finite, char* codes) {
  typename V::Reg weights[kWeightBlock / kPanel], best = V::Set1(0);
#pragma GCC unroll 8
  for (int i = 0; i < kWeightBlock / kPanel; ++i) {
    const int64_t k = i * kPanel;
    weights[i] = V::Set1(0);
    if (k < begin || k >= end) continue;
    weights[i] = V::Mul(V::Load(p + k), V::Load(token + k));
    best = V::Max(weights[i], best);
  }
  float largest = V::Largest(best);
  if (!finite) {
    for (int64_t k = begin; k < end; ++k)
      if (token[k] != token[k] && !(p[k] == 0 && __builtin_signbit(p[k]))) return __builtin_nanf("");
  }
  // Below it the inverse would be beyond a float, and the products beyond what any sum of weights sees.
  if (!(largest >= 0x1p-118f)) largest = __builtin_inff();
  const typename V::Reg inverse = V::Set1(255.0f / largest);
#pragma GCC unroll 8
  for (int i = 0; i < kWeightBlock / kPanel; ++i) {
    typename V::Reg code = V::Mul(weights[i], inverse);
    if (!finite) code = V::Select(V::LessEqual(V::Set1(0), code), code, V::Set1(0));  // NaN of a key that is not seen
    V::StoreWeights(codes + i * kPanel * V::kForm.unit, code);
  }
  return largest == __builtin_inff() ? 0.0f : largest * (1.0f / 255.0f);
}

template <class V>
void Accumulate(int32_t rows, const float* p, int64_t ldp, const void* v, int64_t keys, int64_t begin, int64_t end,
                int64_t dv_padded, const float* alpha, float* o, int64_t ldo) {
  const int64_t block_bytes = kWeightBlock * kPanel * V::kForm.unit + kPanel * 4;
  const int64_t panel_bytes = keys / kWeightBlock * block_bytes + kPanel * 4, panels = dv_padded / kPanel;
  const char* const tile = static_cast<const char*>(v);
  const bool finite = reinterpret_cast<const ValueHead*>(tile)->finite != 0;
  const float* const tokens = reinterpret_cast<const float*>(tile + sizeof(ValueHead));
  const char* const columns = reinterpret_cast<const char*>(tokens + keys);
  alignas(64) char codes[V::kRowGroup * kWeightBlock * V::kForm.unit];
  float scales[V::kRowGroup];
  begin = begin / kPanel * kPanel, end = RoundUp(end, kPanel);
  bool first = true;
  for (int64_t block = begin / kWeightBlock * kWeightBlock; block < end; block += kWeightBlock, first = false) {
    const int64_t from = begin > block ? begin - block : 0,
                  to = end - block < kWeightBlock ? end - block : kWeightBlock;
    for (int32_t r = 0; r < rows; ++r)
      scales[r] = QuantiseWeights<V>(p + r * ldp + block, tokens + block, from, to, finite,
                                     codes + r * kWeightBlock * V::kForm.unit);
    const char* const right = columns + kPanel * 4 + block / kWeightBlock * block_bytes;
    V::template Products<true>(
        rows, codes, kWeightBlock * V::kForm.unit, right + kPanel * 4, panel_bytes, panels, kWeightBlock,
        [ =, &scales ](int64_t r, int64_t panel, typename V::Sums sums) __attribute__((always_inline)) {
          if constexpr (V::kForm.weight_offset != 0)
            sums = V::AddSums(sums, V::LoadSums(reinterpret_cast<const int32_t*>(right + panel * panel_bytes)));
          const auto* channel = reinterpret_cast<const float*>(columns + panel * panel_bytes);
          float* const to_o = o + r * ldo + panel * kPanel;
          typename V::Reg before = V::Load(to_o);
          if (first) before = V::Mul(before, V::Set1(alpha[r]));
          const typename V::Reg part = V::Mul(V::ToFloats(sums), V::Load(channel));
          V::Store(to_o, V::Fma(part, V::Set1(scales[r]), before));
        });
  }
}

// Rows with a NaN are NaN by their scales.
int32_t AllFinite(const void*, int64_t, int64_t, int64_t, int64_t) { return 1; }

template <class V>
float PrepareRow(const float* x, const float* less, const float* times, int64_t n, float* y) {
  typename V::Reg largest = V::Set1(0), finite = V::Set1(0);
  for (int64_t i = 0; i < n; i += kPanel) {
    typename V::Reg value = V::Load(x + i);
    finite = V::Fma(value, V::Set1(0), finite);  // 0 * x is NaN exactly where x is not finite
    if (less != nullptr) value = V::Sub(value, V::Load(less + i));
    if (times != nullptr) value = V::Mul(value, V::Load(times + i));
    V::Store(y + i, value);
    largest = V::Max(V::Max(value, V::Sub(V::Set1(0), value)), largest);
  }
  const typename V::Reg zero = V::Set1(0);
  return V::Largest(V::Select(V::Equal(finite, zero), largest, V::Set1(__builtin_inff())));
}

template <class V>
int32_t AllPositive(const float* x, int64_t n) {
  const typename V::Reg zero = V::Set1(0), most = V::Set1(__FLT_MAX__);
  typename V::Reg worst = zero;
  for (int64_t i = 0; i < n; i += kPanel) {
    const typename V::Reg value = V::Load(x + i);
    worst = V::Max(V::Select(V::And(V::Less(zero, value), V::LessEqual(value, most)), zero, V::Set1(1)), worst);
  }
  return V::Largest(worst) == 0 ? 1 : 0;
}

template <class V>
void AddRow(const float* x, int32_t magnitudes, int64_t n, float* sums) {
  for (int64_t i = 0; i < n; i += kPanel) {
    typename V::Reg value = V::Load(x + i);
    if (magnitudes != 0) value = V::Max(value, V::Sub(V::Set1(0), value));
    V::Store(sums + i, V::Add(V::Load(sums + i), value));
  }
}

template <class V>
void EncodeRow(const float* x, float inverse, int64_t n, int8_t* codes) {
  for (int64_t i = 0; i < n; i += kPanel)
    V::StoreBytes(reinterpret_cast<char*>(codes + i), V::Mul(V::Load(x + i), V::Set1(inverse)));
}

template <class V>
float DotRows(const float* x, const float* y, int64_t n) {
  typename V::Reg sum = V::Set1(0);
  for (int64_t i = 0; i < n; i += kPanel) sum = V::Fma(V::Load(x + i), V::Load(y + i), sum);
  return V::Sum(sum);
}

template <class V>
void Product(int64_t rows, const void* left, int64_t row_bytes, const void* right, int64_t panel_bytes, int64_t panels,
             int64_t depth, int32_t* y, int64_t ldy) {
  const char* const first = static_cast<const char*>(right);
  V::template Products<false>(
      rows, static_cast<const char*>(left), row_bytes, first + sizeof(PanelHead), panel_bytes, panels,
      RoundUp(depth, V::kForm.depth_step),
      [=](int64_t r, int64_t panel, typename V::Sums sums) __attribute__((always_inline)) {
        if constexpr (V::kForm.left_offset != 0) {
          const PanelHead& head = *reinterpret_cast<const PanelHead*>(first + panel * panel_bytes);
          sums = V::AddSums(sums, V::LoadSums(head.correction));
        }
        V::StoreSums(y + r * ldy + panel * kPanel, sums);
      });
}

template <class V>
void ScaledProduct(int64_t rows, const void* left, int64_t row_bytes, const void* right, int64_t panel_bytes,
                   int64_t panels, int64_t length, const float* scales, const float* bias, float* y, int64_t ldy) {
  const int64_t depth = RoundUp(length, V::kForm.depth_step);
  const char *const from = static_cast<const char*>(left), *const first = static_cast<const char*>(right);
  V::template Products<false>(
      rows, from, row_bytes, first + sizeof(PanelHead), panel_bytes, panels,
      depth, [=](int64_t r, int64_t panel, typename V::Sums sums) __attribute__((always_inline)) {
        const PanelHead& head = *reinterpret_cast<const PanelHead*>(first + panel * panel_bytes);
        const RowTail& tail = *reinterpret_cast<const RowTail*>(from + r * row_bytes + depth * V::kForm.unit);
        if constexpr (V::kForm.left_offset != 0) sums = V::AddSums(sums, V::LoadSums(head.correction));
        const typename V::Reg of_row = V::Mul(V::ToFloats(sums), V::Set1(tail.scale));
        const typename V::Reg scaled = V::Mul(of_row, V::Load(scales + panel * kPanel));
        V::Store(y + r * ldy + panel * kPanel, V::Add(scaled, V::Load(bias + panel * kPanel)));
      });
}

template <class V>
constexpr Int8Kernels MakeKernels(const char* name) {
  Int8Kernels table{};
  table.name = name, table.form = V::kForm, table.product = Product<V>;
  table.scaled_product = ScaledProduct<V>;
  table.prepare_row = PrepareRow<V>, table.add_row = AddRow<V>, table.all_positive = AllPositive<V>,
  table.encode_row = EncodeRow<V>, table.dot_rows = DotRows<V>;
  cpu::AttentionKernels<float>& attention = table.attention;
  attention.width = kPanel, attention.row_group = V::kRowGroup, attention.panel = kPanel;
  attention.element = V::kForm.unit, attention.dim_step = V::kForm.depth_step;
  attention.value_element = V::kForm.unit, attention.value_dim_step = kPanel, attention.value_step = kPanel;
  attention.row_tail = sizeof(RowTail) / V::kForm.unit;
  attention.scores = Scores<V>, attention.accumulate = Accumulate<V>, attention.all_finite = AllFinite;
  SetSoftmax<V>(&attention);
  return table;
}
