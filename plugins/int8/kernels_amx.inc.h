// kernels_amx.inc.h: products of codes in AMX tiles: of signed rows with signed columns, of unsigned weights with V.
//
// A tile on the left is 16 rows by 64 codes, one on the right 16 groups of four codes by 16 columns, which is how a
// panel has them. Blocks of 32 rows by two panels use all eight tiles: four sums, two factors of either side. The
// instructions are those of a struct Tiles, included before this; one shape for all, set at a task's start.
//
// Included inside an anonymous namespace after lanes16_avx512.inc.h, kernels.inc.h and a struct Tiles.
constexpr int64_t kTileRows = 16, kTileBytes = 1024, kTileDepth = 64;

// Rows on the left where they lie, or, of fewer than a tile has, step by step in a tile of their own: what lies behind
// the last row is nobody's to read.
class LeftTile {
 public:
  LeftTile(const char* left, int64_t row_bytes, int64_t rows) : left_(left), row_bytes_(row_bytes), rows_(rows) {
    if (rows < kTileRows) memset(own_, 0, sizeof own_);
  }
  template <int kTile>
  void Load(int64_t k) {
    if (rows_ >= kTileRows) return Tiles::Load<kTile>(left_ + k, row_bytes_);
    for (int64_t r = 0; r < rows_; ++r)
      _mm512_store_si512(own_ + r * 64, _mm512_loadu_si512(left_ + r * row_bytes_ + k));
    Tiles::Load<kTile>(own_, 64);
  }

 private:
  alignas(64) char own_[kTileBytes];
  const char* left_;
  int64_t row_bytes_, rows_;
};

template <bool kUnsigned, int kC, int kA, int kB>
inline void MultiplyCodes() {
  if constexpr (kUnsigned)
    Tiles::MultiplyUnsigned<kC, kA, kB>();
  else
    Tiles::MultiplySigned<kC, kA, kB>();
}

// Up to 32 rows, or 16, by two panels, or one.
template <bool kUnsigned, bool kBothRows, bool kBothPanels, class Emit>
void MultiplyTiles(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                   int64_t depth, int64_t row, int64_t panel, Emit emit) {
  constexpr int64_t kColumns = kBothPanels ? 2 * kPanel : kPanel;
  LeftTile upper(left, row_bytes, rows), lower(left + kTileRows * row_bytes, row_bytes, rows - kTileRows);
  Tiles::Zero<0>();
  if constexpr (kBothPanels) Tiles::Zero<1>();
  if constexpr (kBothRows) Tiles::Zero<2>();
  if constexpr (kBothRows && kBothPanels) Tiles::Zero<3>();
  for (int64_t k = 0; k < depth; k += kTileDepth) {
    const char* const columns = right + k * kPanel;
    upper.Load<4>(k);
    Tiles::Load<6>(columns, 64);
    MultiplyCodes<kUnsigned, 0, 4, 6>();
    if constexpr (kBothPanels) {
      Tiles::Load<7>(columns + panel_bytes, 64);
      MultiplyCodes<kUnsigned, 1, 4, 7>();
    }
    if constexpr (kBothRows) {
      lower.Load<5>(k);
      MultiplyCodes<kUnsigned, 2, 5, 6>();
      if constexpr (kBothPanels) MultiplyCodes<kUnsigned, 3, 5, 7>();
    }
  }
  alignas(64) int32_t sums[2 * kTileRows * kColumns];
  constexpr int64_t kSumBytes = kColumns * 4;
  Tiles::Store<0>(sums, kSumBytes);
  if constexpr (kBothPanels) Tiles::Store<1>(sums + kPanel, kSumBytes);
  if constexpr (kBothRows) Tiles::Store<2>(sums + kTileRows * kColumns, kSumBytes);
  if constexpr (kBothRows && kBothPanels) Tiles::Store<3>(sums + kTileRows * kColumns + kPanel, kSumBytes);
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* const line = sums + r * kColumns;
    emit(row + r, panel, _mm512_load_si512(line));
    if constexpr (kBothPanels) emit(row + r, panel + 1, _mm512_load_si512(line + kPanel));
  }
}

template <bool kUnsigned, bool kBothRows, class Emit>
inline void MultiplyRows(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                         int64_t panels, int64_t depth, int64_t row, Emit emit) {
  int64_t p = 0;
  for (; p + 2 <= panels; p += 2)
    MultiplyTiles<kUnsigned, kBothRows, true>(rows, left, row_bytes, right + p * panel_bytes, panel_bytes, depth, row,
                                              p, emit);
  if (p < panels)
    MultiplyTiles<kUnsigned, kBothRows, false>(rows, left, row_bytes, right + p * panel_bytes, panel_bytes, depth, row,
                                               p, emit);
}

struct Amx : Lanes16 {
  static constexpr CodeForm kForm = {
      .unit = 1, .group = 4, .depth_step = kTileDepth, .left_offset = 0, .weight_offset = 0};
  static constexpr int kRowGroup = 2 * kTileRows;
  static void StoreWeights(char* to, Reg codes) { StoreBytes(to, codes); }
  template <bool kUnsigned, class Emit>
  static void Products(int64_t rows, const char* left, int64_t row_bytes, const char* right, int64_t panel_bytes,
                       int64_t panels, int64_t depth, Emit emit) {
    for (int64_t r = 0; r < rows; r += kRowGroup) {
      const int64_t here = rows - r < kRowGroup ? rows - r : kRowGroup;
      const char* const first = left + r * row_bytes;
      if (here > kTileRows)
        MultiplyRows<kUnsigned, true>(here, first, row_bytes, right, panel_bytes, panels, depth, r, emit);
      else
        MultiplyRows<kUnsigned, false>(here, first, row_bytes, right, panel_bytes, panels, depth, r, emit);
    }
  }
};

// Unlike the other products, which run within a task, with the tiles set up around it.
void ProductOnItsOwn(int64_t rows, const void* left, int64_t row_bytes, const void* right, int64_t panel_bytes,
                     int64_t panels, int64_t depth, int32_t* y, int64_t ldy) {
  Tiles::Configure();
  Product<Amx>(rows, left, row_bytes, right, panel_bytes, panels, depth, y, ldy);
  Tiles::Release();
}

constexpr Int8Kernels MakeAmxKernels() {
  Int8Kernels table = MakeKernels<Amx>("amx");
  table.product = ProductOnItsOwn;
  table.attention.begin_task = Tiles::Configure, table.attention.end_task = Tiles::Release;
  return table;
}
