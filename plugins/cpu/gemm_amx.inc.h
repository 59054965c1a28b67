// gemm_amx.inc.h: packing and the tiles of LINEAR and MATMUL in AMX: bf16 parts of numbers, summed in fp32 over a block
// of depth, the blocks' sums added in order.
//
// A step is 32 numbers of K, elements c and c + 16 of them a pair. A packed row has its parts one after another, a
// packed panel of 32 columns for each step two halves of 16 columns, a tile for each part.
//
// Included inside an anonymous namespace after vec_avx512.inc.h, gemm_widen.inc.h and amx_products.inc.h.

// Magnitudes that are split: 2^-48, of which every term of a product that counts is a normal number still, to 2^56,
// whose products can be summed over any depth; and 0. The tiles take denormals for zeros.
constexpr uint32_t kLeastFit = 0x27800000, kEndFit = 0x5b800000;
constexpr int kPanelColumns = 32;

// 16 numbers from c on, zero from `length` on, where nothing is read.
inline __m512 LoadNumbers(const float* from, int64_t c, int64_t length) {
  const int64_t left = length - c;
  if (left >= 16) return _mm512_loadu_ps(from + c);
  return left <= 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << left) - 1), from + c);
}

template <int kParts, bool kChecked>
int32_t PackRow(int64_t depth, const float* from, float* to) {
  const int64_t whole = (depth + kPairs - 1) / kPairs * kPairs;
  char* const out = reinterpret_cast<char*>(to);
  int unfit = 0;
  for (int64_t c = 0; c < depth; c += kPairs) {
    const __m512 low = LoadNumbers(from, c, depth), high = LoadNumbers(from, c + 16, depth);
    if constexpr (kChecked) {
      const int bad = OutOfRange(low, kLeastFit, kEndFit) | OutOfRange(high, kLeastFit, kEndFit);
      unfit |= bad;
    }
    __m512i parts[kParts];
    SplitPairs<kParts>(low, high, parts);
#pragma GCC unroll 3
    for (int p = 0; p < kParts; ++p) _mm512_storeu_si512(out + (p * whole + c) * 2, parts[p]);
  }
  return unfit != 0;
}

template <int kParts, bool kChecked>
void PackPanel(int64_t depth, const float* from, float* to, uint8_t* unfit) {
  char* out = reinterpret_cast<char*>(to);
  uint32_t found = 0;
  for (int64_t k = 0; k < depth; k += kPairs)
    for (int half = 0; half < 2; ++half, out += kParts * kTileBytes)
      for (int64_t i = 0; i < kTileRows; ++i) {
        const auto numbers = [&](int64_t row) {
          return row < depth ? _mm512_loadu_ps(from + row * kPanelColumns + half * 16) : _mm512_setzero_ps();
        };
        const __m512 low = numbers(k + i), high = numbers(k + i + kTileRows);
        if constexpr (kChecked) {
          const int bad = OutOfRange(low, kLeastFit, kEndFit) | OutOfRange(high, kLeastFit, kEndFit);
          found |= static_cast<uint32_t>(bad) << half * 16;
        }
        __m512i parts[kParts];
        SplitPairs<kParts>(low, high, parts);
#pragma GCC unroll 3
        for (int p = 0; p < kParts; ++p) _mm512_storeu_si512(out + p * kTileBytes + i * 64, parts[p]);
      }
  if constexpr (kChecked)
    for (int j = 0; j < kPanelColumns; ++j)
      if ((found >> j & 1u) != 0) unfit[j] = 1;
}

template <int kParts, bool kBoth>
inline void TileOf(int64_t steps, int32_t rows, const char* a, int64_t row_bytes, const char* b, float* c, int64_t ldc,
                   bool accumulate) {
  ZeroSums<kBoth>();
  for (int order = LastOrder<kParts, kParts>(); order >= 0; --order)
    for (int i = 0; i <= order; ++i) {
      const int j = order - i;
      if (i >= kParts || j >= kParts) continue;
      for (int64_t step = 0; step < steps; ++step) {
        const char* tile = b + (step * 2 * kParts + j) * kTileBytes;
        Step<kBoth>(a + (i * steps + step) * kPairs * 2, row_bytes, tile, tile + kParts * kTileBytes);
      }
    }
  if (!accumulate) return StoreSums<kBoth>(c, ldc, rows);
  alignas(64) float sums[kRowGroup * kPanelColumns];
  StoreSums<kBoth>(sums, kPanelColumns, kBoth ? kRowGroup : kTileRows);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < kPanelColumns; j += 16) {
      float* const to = c + r * ldc + j;
      _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), _mm512_load_ps(sums + r * kPanelColumns + j)));
    }
}

template <int kParts>
void Tile(int64_t steps, int32_t rows_used, const float* a, int64_t lda, const float* b, int64_t, float* c, int64_t ldc,
          int32_t accumulate) {
  const auto *left = reinterpret_cast<const char*>(a), *right = reinterpret_cast<const char*>(b);
  if (rows_used > kTileRows)
    TileOf<kParts, true>(steps, rows_used, left, lda * 4, right, c, ldc, accumulate != 0);
  else
    TileOf<kParts, false>(steps, rows_used, left, lda * 4, right, c, ldc, accumulate != 0);
}

void TransposePanel(const float* from, int64_t step, int64_t k, int32_t columns, float* to) {
  for (int64_t p = 0; p < k; ++p)
    for (int32_t j = 0; j < columns; ++j) to[p * kPanelColumns + j] = from[j * step + p];
}

// otherwise: for what is unfit; null where nothing is held to be.
template <int kParts>
constexpr GemmKernel<float> MakeAmxGemm(const GemmKernel<float>* otherwise) {
  GemmKernel<float> table = {kRowGroup, kPanelColumns, Tile<kParts>, nullptr, WidenF32, TransposePanel, {}, {}};
  table.step = kPairs, table.words = 16 * kParts;
  table.pack_row = otherwise != nullptr ? PackRow<kParts, true> : PackRow<kParts, false>;
  table.pack_panel = otherwise != nullptr ? PackPanel<kParts, true> : PackPanel<kParts, false>;
  table.otherwise = otherwise;
  table.begin_task = Tiles::Configure, table.end_task = Tiles::Release;
  return table;
}
