// products.inc.h: the integer product for instructions that multiply one group of a row, in all lanes, with a group of
// each of 16 columns.
//
// Included inside an anonymous namespace after a struct V with: Sums, 16 int32; Partial, what a step adds to, Zero and
// Final(Partial) -> Sums; Left, Broadcast(address); Right, LoadColumns(address); Step(Partial, Left, Right);
// kGroupBytes, of a group; kRows x kColumns partial sums are held in registers.

// emit(row, panel, sums) once for each, whatever the order. right: the first panel's codes.
template <class V, int kRows, int kColumns, class Emit>
inline void ProductTile(const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes, int64_t groups,
                        int64_t row, int64_t panel, Emit emit) {
  typename V::Partial sums[kRows][kColumns];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) sums[r][c] = V::Zero();
  for (int64_t g = 0; g < groups; ++g) {
    typename V::Right columns[kColumns];
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) columns[c] = V::LoadColumns(right + c * panel_bytes + g * 16 * V::kGroupBytes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const typename V::Left factor = V::Broadcast(left + r * row_bytes + g * V::kGroupBytes);
#pragma GCC unroll 16
      for (int c = 0; c < kColumns; ++c) sums[r][c] = V::Step(sums[r][c], factor, columns[c]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) emit(row + r, panel + c, V::Final(sums[r][c]));
}

template <class V, int kRows, class Emit>
inline void ProductColumns(const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes, int64_t panels,
                           int64_t groups, int64_t row, Emit emit) {
  int64_t p = 0;
  for (; p + V::kColumns <= panels; p += V::kColumns)
    ProductTile<V, kRows, V::kColumns>(left, row_bytes, right + p * panel_bytes, panel_bytes, groups, row, p, emit);
  for (; p < panels; ++p)
    ProductTile<V, kRows, 1>(left, row_bytes, right + p * panel_bytes, panel_bytes, groups, row, p, emit);
}

// kRows or fewer rows.
template <class V, int kRows, class Emit>
inline void ProductRows(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                        int64_t panels, int64_t groups, int64_t row, Emit emit) {
  if constexpr (kRows > 1) {
    if (rows < kRows)
      return ProductRows<V, kRows - 1>(rows, left, row_bytes, right, panel_bytes, panels, groups, row, emit);
  }
  ProductColumns<V, kRows>(left, row_bytes, right, panel_bytes, panels, groups, row, emit);
}

template <class V, class Emit>
inline void BroadcastProducts(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                              int64_t panels, int64_t depth, Emit emit) {
  const int64_t groups = depth / V::kForm.group;
  for (int64_t r = 0; r < rows; r += V::kRows) {
    const int64_t left_rows = rows - r;
    ProductRows<V, V::kRows>(left_rows < V::kRows ? left_rows : V::kRows, left + r * row_bytes, row_bytes, right,
                             panel_bytes, panels, groups, r, emit);
  }
}
