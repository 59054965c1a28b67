// amx_products.inc.h: numbers split in bf16 parts, and the steps of a product in AMX tiles: what attention, LINEAR and
// MATMUL share.
//
// A number that bf16 cannot hold is a sum of parts that it can: three hold the 24 bits of an fp32 number exactly, two
// the 11 of an f16 one. A product of numbers is then one of sums, of which the terms below 2^-24 of the whole are left
// out: part i of one times part j of the other where i + j > 2. The terms are added smallest first, each kind over the
// whole length before the next, so that the large ones meet what the small ones came to.
//
// Parts are rounded to nearest (halves away from zero), never cut: cut parts would all have their number's sign, and
// what is left out would add up. A number whose parts would leave the normal range cannot be split: it is unfit.
//
// Included inside an anonymous namespace after a struct Tiles.
constexpr int64_t kTileRows = 16, kTileBytes = 1024, kPairs = 32;
constexpr int64_t kRowGroup = 2 * kTileRows;
constexpr int kLeastOrder = 2;  // parts i and j are multiplied while i + j is no more

// Of parts kA and kB, the terms that there are: orders from the smallest terms to the largest.
template <int kA, int kB>
constexpr int LastOrder() {
  return kA + kB - 2 < kLeastOrder ? kA + kB - 2 : kLeastOrder;
}

// kParts registers of pairs: `low` in the lower halves, `high` in the upper ones.
template <int kParts>
inline void SplitPairs(__m512 low, __m512 high, __m512i* parts) {
  const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
#pragma GCC unroll 3
  for (int p = 0; p < kParts; ++p) {
    const __m512i a = _mm512_add_epi32(_mm512_castps_si512(low), half);
    const __m512i b = _mm512_add_epi32(_mm512_castps_si512(high), half);
    parts[p] = _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(a, 16), b);
    if (p + 1 == kParts) break;
    low = _mm512_sub_ps(low, _mm512_castsi512_ps(_mm512_and_si512(a, upper)));  // exact
    high = _mm512_sub_ps(high, _mm512_castsi512_ps(_mm512_and_si512(b, upper)));
  }
}

// Lanes whose number is unfit: magnitudes other than 0 outside [bits of `least`, bits of `end`), NaN and Inf.
inline __mmask16 OutOfRange(__m512 x, uint32_t least, uint32_t end) {
  const __m512i bits = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
  const __m512i above = _mm512_sub_epi32(bits, _mm512_set1_epi32(static_cast<int>(least)));
  return _mm512_mask_cmpge_epu32_mask(_mm512_test_epi32_mask(bits, bits), above,
                                      _mm512_set1_epi32(static_cast<int>(end - least)));
}

// One more step of four sums, or of the upper two.
template <bool kBoth>
inline void Step(const char* a, int64_t lda, const char* b0, const char* b1) {
  Tiles::Load<4>(a, lda);
  Tiles::Load<6>(b0, 64);
  Tiles::Load<7>(b1, 64);
  Tiles::Multiply<0, 4, 6>();
  Tiles::Multiply<1, 4, 7>();
  if constexpr (kBoth) {
    Tiles::Load<5>(a + kTileRows * lda, lda);
    Tiles::Multiply<2, 5, 6>();
    Tiles::Multiply<3, 5, 7>();
  }
}

template <bool kBoth>
inline void ZeroSums() {
  Tiles::Zero<0>();
  Tiles::Zero<1>();
  if constexpr (kBoth) {
    Tiles::Zero<2>();
    Tiles::Zero<3>();
  }
}

// Rows of 16 floats between a sum and memory that has only `rows` of them.
template <int kTile>
inline void StoreSum(float* to, int64_t ld, int64_t rows) {
  if (rows >= kTileRows) return Tiles::Store<kTile>(to, ld * 4);
  alignas(64) float whole[kTileRows * 16];
  Tiles::Store<kTile>(whole, 64);
  for (int64_t r = 0; r < rows; ++r) _mm512_storeu_ps(to + r * ld, _mm512_load_ps(whole + r * 16));
}

template <int kTile>
inline void LoadSum(const float* from, int64_t ld, int64_t rows) {
  if (rows >= kTileRows) return Tiles::Load<kTile>(from, ld * 4);
  alignas(64) float whole[kTileRows * 16] = {};
  for (int64_t r = 0; r < rows; ++r) _mm512_store_ps(whole + r * 16, _mm512_loadu_ps(from + r * ld));
  Tiles::Load<kTile>(whole, 64);
}

template <bool kBoth>
inline void StoreSums(float* to, int64_t ld, int64_t rows) {
  StoreSum<0>(to, ld, rows);
  StoreSum<1>(to + 16, ld, rows);
  if constexpr (kBoth) {
    StoreSum<2>(to + kTileRows * ld, ld, rows - kTileRows);
    StoreSum<3>(to + kTileRows * ld + 16, ld, rows - kTileRows);
  }
}

template <bool kBoth>
inline void LoadSums(const float* from, int64_t ld, int64_t rows) {
  LoadSum<0>(from, ld, rows);
  LoadSum<1>(from + 16, ld, rows);
  if constexpr (kBoth) {
    LoadSum<2>(from + kTileRows * ld, ld, rows - kTileRows);
    LoadSum<3>(from + kTileRows * ld + 16, ld, rows - kTileRows);
  }
}
