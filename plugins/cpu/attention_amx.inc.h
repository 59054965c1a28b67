// attention_amx.inc.h: packing and the two products of attention in AMX tiles: bf16 numbers, summed in fp32.
//
// Numbers are split in parts as amx_products.inc.h says. FindUnfit tells which cannot be, and the caller keeps such
// rows away from here.
//
// A dword of a tile is a pair: elements c and c + 16 of each 32 along d, or keys k and k + 16 of each 32. Which two
// make a pair is free as long as both operands agree, and these need no shuffle. In blocks of 32 rows by 32 keys, or
// rows by columns, all eight tiles are in use: four sums, two factors of either side.
//
// Included inside an anonymous namespace after attention_vec_avx512.inc.h, attention_softmax.inc.h and a struct Tiles.
#include "amx_products.inc.h"

// Keys whose weights are split at once, counted from the tile's first: they lie on the stack.
constexpr int64_t kWeightKeys = 128;

inline void Transpose(__m512* rows) {
  LanesF::GatherLanes(rows);
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += LanesF::kTurned) LanesF::TurnLane(rows + i);
}

template <Stored kStored>
constexpr int64_t StoredBytes() {
  return kStored == Stored::kNative ? 4 : 2;
}

// Elements [c, c + 16) of a row as floats, zero from `length` on, where nothing is read.
template <Stored kStored>
inline __m512 LoadLanes(const char* row, int64_t c, int64_t length) {
  const int64_t left = length - c;
  const char* at = row + c * StoredBytes<kStored>();
  if (left >= 16) return LanesF::LoadStored<kStored>(at);
  if (left <= 0) return _mm512_setzero_ps();
  const __mmask16 mask = static_cast<__mmask16>((1u << left) - 1);
  if constexpr (kStored == Stored::kNative) {
    return _mm512_maskz_loadu_ps(mask, at);
  } else {
    const __m256i numbers = _mm256_maskz_loadu_epi16(mask, at);
    if constexpr (kStored == Stored::kF16) return _mm512_cvtph_ps(numbers);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(numbers), 16));
  }
}

inline void Ask(const void* const* ahead, int64_t row, int64_t bytes) {
  if (ahead == nullptr) return;
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(ahead[row]) + at, 0, 2);
}

template <Stored kStored>
int64_t FindUnfitAs(const void* const* rows, int64_t count, int64_t length, uint8_t* unfit) {
  // Bits of the magnitudes that fit: 2^-100, whose last part is a normal number still, to 2^56, whose products can be
  // summed over any head dimension; and 0.
  constexpr uint32_t kLeast = 0x0d800000, kEnd = 0x5b800000;
  int64_t found = 0;
  for (int64_t r = 0; r < count; ++r) {
    __mmask16 bad = 0;
    for (int64_t c = 0; c < length; c += 16) {
      bad |= OutOfRange(LoadLanes<kStored>(static_cast<const char*>(rows[r]), c, length), kLeast, kEnd);
    }
    unfit[r] = bad != 0;
    found += bad != 0;
  }
  return found;
}

int64_t FindUnfit(Stored stored, const void* const* rows, int64_t count, int64_t length, uint8_t* unfit) {
  if (stored == Stored::kBf16) return FindUnfitAs<Stored::kBf16>(rows, count, length, unfit);
  if (stored == Stored::kF16) return FindUnfitAs<Stored::kF16>(rows, count, length, unfit);
  return FindUnfitAs<Stored::kNative>(rows, count, length, unfit);
}

// Factors on the left: a row's parts one after another, ld pairs' elements each.
template <int kParts, Stored kStored>
void PackQueriesAs(const void* const* rows, int64_t count, int64_t length, char* out, int64_t ld) {
  for (int64_t r = 0; r < count; ++r, out += ld * 2 * kParts) {
    const char* row = static_cast<const char*>(rows[r]);
    for (int64_t c = 0; c < ld; c += kPairs) {
      __m512i parts[kParts];
      SplitPairs<kParts>(LoadLanes<kStored>(row, c, length), LoadLanes<kStored>(row, c + 16, length), parts);
#pragma GCC unroll 3
      for (int p = 0; p < kParts; ++p) _mm512_storeu_si512(out + (p * ld + c) * 2, parts[p]);
    }
  }
}

// Factors on the right: of 16 keys and 32 elements a tile for each part, pairs down, keys across. What is transposed is
// the less: the numbers' two halves or their pairs.
template <int kParts, Stored kStored>
void PackKeysAs(const void* const* rows, int64_t count, int64_t length, char* out, const void* const* ahead) {
  __m512 block[2][16];
  for (int64_t k = 0; k < count; k += kTileRows) {
    for (int64_t i = k; i < k + kTileRows; ++i) Ask(ahead, i, length * StoredBytes<kStored>());
    for (int64_t c = 0; c < length; c += kPairs) {
      for (int64_t i = 0; i < kTileRows; ++i) {
        const char* row = static_cast<const char*>(rows[k + i]);
        const __m512 low = LoadLanes<kStored>(row, c, length), high = LoadLanes<kStored>(row, c + 16, length);
        if constexpr (kParts == 1) {
          __m512i pairs;
          SplitPairs<1>(low, high, &pairs);
          block[0][i] = _mm512_castsi512_ps(pairs);
        } else {
          block[0][i] = low, block[1][i] = high;
        }
      }
      Transpose(block[0]);
      if constexpr (kParts > 1) Transpose(block[1]);
      for (int64_t i = 0; i < kTileRows; ++i) {
        __m512i parts[kParts] = {_mm512_castps_si512(block[0][i])};
        if constexpr (kParts > 1) SplitPairs<kParts>(block[0][i], block[1][i], parts);
#pragma GCC unroll 3
        for (int p = 0; p < kParts; ++p) _mm512_storeu_si512(out + p * kTileBytes + i * 64, parts[p]);
      }
      out += kParts * kTileBytes;
    }
  }
}

// The same of 32 keys and 16 columns, for the product with weights; keys beyond `count` are zero.
template <int kParts, Stored kStored>
void PackValuesAs(const void* const* rows, int64_t count, int64_t length, char* out, int64_t ld,
                  const void* const* ahead) {
  for (int64_t k = 0; k < count; k += kPairs, out += kPairs * ld * 2 * kParts) {
    for (int64_t i = 0; i < kTileRows; ++i) {
      const int64_t first = k + i, second = first + kTileRows;
      if (first < count) Ask(ahead, first, length * StoredBytes<kStored>());
      if (second < count) Ask(ahead, second, length * StoredBytes<kStored>());
      for (int64_t c = 0; c < ld; c += 16) {
        const auto lanes = [&](int64_t key) {
          return key < count ? LoadLanes<kStored>(static_cast<const char*>(rows[key]), c, length) : _mm512_setzero_ps();
        };
        __m512i parts[kParts];
        SplitPairs<kParts>(lanes(first), lanes(second), parts);
#pragma GCC unroll 3
        for (int p = 0; p < kParts; ++p)
          _mm512_storeu_si512(out + (c / 16 * kParts + p) * kTileBytes + i * 64, parts[p]);
      }
    }
  }
}

template <int kParts>
void PackQueries(Stored stored, const void* const* rows, int64_t count, int64_t length, void* packed, int64_t ld) {
  char* out = static_cast<char*>(packed);
  if (stored == Stored::kBf16) return PackQueriesAs<kParts, Stored::kBf16>(rows, count, length, out, ld);
  if (stored == Stored::kF16) return PackQueriesAs<kParts, Stored::kF16>(rows, count, length, out, ld);
  PackQueriesAs<kParts, Stored::kNative>(rows, count, length, out, ld);
}

template <int kParts>
void PackKeys(Stored stored, const void* const* rows, int64_t count, int64_t length, void* packed,
              const void* const* ahead) {
  char* out = static_cast<char*>(packed);
  if (stored == Stored::kBf16) return PackKeysAs<kParts, Stored::kBf16>(rows, count, length, out, ahead);
  if (stored == Stored::kF16) return PackKeysAs<kParts, Stored::kF16>(rows, count, length, out, ahead);
  PackKeysAs<kParts, Stored::kNative>(rows, count, length, out, ahead);
}

template <int kParts>
void PackValues(Stored stored, const void* const* rows, int64_t count, int64_t length, void* packed, int64_t ld,
                const void* const* ahead) {
  char* out = static_cast<char*>(packed);
  if (stored == Stored::kBf16) return PackValuesAs<kParts, Stored::kBf16>(rows, count, length, out, ld, ahead);
  if (stored == Stored::kF16) return PackValuesAs<kParts, Stored::kF16>(rows, count, length, out, ld, ahead);
  PackValuesAs<kParts, Stored::kNative>(rows, count, length, out, ld, ahead);
}

template <int kParts, bool kBoth>
void ScoresOf(int32_t rows, const char* q, int64_t ldq, const char* keys, int64_t begin, int64_t end, float* s,
              int64_t lds) {
  const int64_t row_bytes = ldq * 2 * kParts, chunks = ldq / kPairs, block_bytes = chunks * kParts * kTileBytes;
  for (int64_t k = begin; k < end; k += kPairs) {
    const char* b = keys + k / kTileRows * block_bytes;
    ZeroSums<kBoth>();
    for (int order = LastOrder<kParts, kParts>(); order >= 0; --order) {
      for (int i = 0; i <= order; ++i) {
        const int j = order - i;
        if (i >= kParts || j >= kParts) continue;
        for (int64_t c = 0; c < chunks; ++c) {
          const char* tile = b + (c * kParts + j) * kTileBytes;
          Step<kBoth>(q + (i * ldq + c * kPairs) * 2, row_bytes, tile, tile + block_bytes);
        }
      }
    }
    StoreSums<kBoth>(s + k, lds, rows);
  }
}

template <int kParts>
void Scores(int32_t rows, const void* q, int64_t ldq, const void* keys, int64_t, int64_t, int64_t begin, int64_t end,
            float* s, int64_t lds) {
  const auto *left = static_cast<const char*>(q), *right = static_cast<const char*>(keys);
  if (rows > kTileRows)
    ScoresOf<kParts, true>(rows, left, ldq, right, begin, end, s, lds);
  else
    ScoresOf<kParts, false>(rows, left, ldq, right, begin, end, s, lds);
}

// Weights of up to kWeightKeys keys as factors on the left: a tile for 16 rows, 32 keys and each part.
template <int kWeightParts>
struct WeightTiles {
  alignas(64) char tiles[kWeightParts][kWeightKeys / kPairs][kRowGroup][64];

  // Lanes [begin, end) of p, both multiples of kPairs; the first tile is that of lane `begin`. Lanes from `last` on,
  // which may be another tile's, weigh nothing.
  void Split(int64_t rows, const float* p, int64_t ldp, int64_t begin, int64_t end, int64_t last) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = begin; k < end; k += kPairs) {
        const char* at = reinterpret_cast<const char*>(p + r * ldp + k);
        __m512i parts[kWeightParts];
        SplitPairs<kWeightParts>(LoadLanes<Stored::kNative>(at, 0, last - k),
                                 LoadLanes<Stored::kNative>(at, 16, last - k), parts);
#pragma GCC unroll 3
        for (int i = 0; i < kWeightParts; ++i) _mm512_store_si512(tiles[i][(k - begin) / kPairs][r], parts[i]);
      }
    }
    // The other rows of their tiles are multiplied as well, whatever for.
    const int64_t whole = (rows + kTileRows - 1) / kTileRows * kTileRows;
    for (int64_t r = rows; r < whole; ++r)
      for (int i = 0; i < kWeightParts; ++i)
        for (int64_t k = 0; k < (end - begin) / kPairs; ++k) _mm512_store_si512(tiles[i][k][r], _mm512_setzero_si512());
  }
};

inline void ScaleRows(int64_t rows, const float* alpha, int64_t columns, float* o, int64_t ldo) {
  for (int64_t r = 0; r < rows; ++r) {
    if (alpha[r] == 1) continue;
    const __m512 factor = _mm512_set1_ps(alpha[r]);
    for (int64_t c = 0; c < columns; c += 16)
      _mm512_storeu_ps(o + r * ldo + c, _mm512_mul_ps(_mm512_loadu_ps(o + r * ldo + c), factor));
  }
}

// Columns [c, c + 32) of o += weights * values of `blocks` times 32 keys. Weights in one part are summed on top of o,
// which was rescaled; else the block's sum is rounded into o once, with the rescaling, as exactly as a sum of
// multiply-adds.
template <int kParts, int kWeightParts, bool kBoth>
inline void AddProducts(int32_t rows, const WeightTiles<kWeightParts>& weights, const char* v, int64_t block_bytes,
                        int64_t blocks, const float* alpha, float* o, int64_t ldo) {
  constexpr bool kOnTop = kWeightParts == 1;
  if constexpr (kOnTop)
    LoadSums<kBoth>(o, ldo, rows);
  else
    ZeroSums<kBoth>();
  for (int order = LastOrder<kWeightParts, kParts>(); order >= 0; --order) {
    for (int i = 0; i <= order; ++i) {
      const int j = order - i;
      if (i >= kWeightParts || j >= kParts) continue;
      for (int64_t k = 0; k < blocks; ++k) {
        const char* tile = v + k * block_bytes + j * kTileBytes;
        Step<kBoth>(weights.tiles[i][k][0], 64, tile, tile + kParts * kTileBytes);
      }
    }
  }
  if constexpr (kOnTop) {
    StoreSums<kBoth>(o, ldo, rows);
  } else {
    alignas(64) float sums[kRowGroup * kPairs];
    StoreSums<kBoth>(sums, kPairs, kBoth ? kRowGroup : kTileRows);
    for (int64_t r = 0; r < rows; ++r) {
      const __m512 factor = _mm512_set1_ps(alpha[r]);
      for (int64_t c = 0; c < kPairs; c += 16) {
        float* to = o + r * ldo + c;
        _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_loadu_ps(to), factor, _mm512_load_ps(sums + r * kPairs + c)));
      }
    }
  }
}

template <int kParts, int kWeightParts, bool kBoth>
void AccumulateOf(int32_t rows, const float* p, int64_t ldp, const char* v, int64_t ldv, int64_t begin, int64_t end,
                  int64_t columns, const float* alpha, float* o, int64_t ldo) {
  static constexpr float kOnes[kRowGroup] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                             1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const int64_t block_bytes = kPairs * ldv * 2 * kParts;
  WeightTiles<kWeightParts> weights;
  const int64_t last_lane = end;
  begin = begin / kPairs * kPairs, end = (end + kPairs - 1) / kPairs * kPairs;
  for (int64_t block = begin / kWeightKeys * kWeightKeys; block < end; block += kWeightKeys) {
    const int64_t from = begin > block ? begin : block, last = block + kWeightKeys, to = end < last ? end : last;
    weights.Split(rows, p, ldp, from, to, last_lane);
    if constexpr (kWeightParts == 1) ScaleRows(rows, alpha, columns, o, ldo);
    for (int64_t c = 0; c < columns; c += kPairs)
      AddProducts<kParts, kWeightParts, kBoth>(rows, weights,
                                               v + from / kPairs * block_bytes + c / 16 * kParts * kTileBytes,
                                               block_bytes, (to - from) / kPairs, alpha, o + c, ldo);
    alpha = kOnes;
  }
}

template <int kParts, int kWeightParts>
void Accumulate(int32_t rows, const float* p, int64_t ldp, const void* v, int64_t ldv, int64_t begin, int64_t end,
                int64_t dv_padded, const float* alpha, float* o, int64_t ldo) {
  const auto* values = static_cast<const char*>(v);
  if (rows > kTileRows)
    AccumulateOf<kParts, kWeightParts, true>(rows, p, ldp, values, ldv, begin, end, dv_padded, alpha, o, ldo);
  else
    AccumulateOf<kParts, kWeightParts, false>(rows, p, ldp, values, ldv, begin, end, dv_padded, alpha, o, ldo);
}

// What is packed is finite: the rest was unfit.
int32_t AllFinite(const void*, int64_t, int64_t, int64_t, int64_t) { return 1; }

template <int kParts, int kWeightParts>
void AccumulateVisible(const float* p, const void* v, int64_t ldv, int64_t begin, int64_t end, int64_t dv_padded,
                       float alpha, float* o) {
  Accumulate<kParts, kWeightParts>(1, p, 0, v, ldv, begin, end, dv_padded, &alpha, o, 0);
}

// Q, K and V in kParts parts, weights in kWeightParts. otherwise: for what is unfit.
template <int kParts, int kWeightParts>
constexpr AttentionKernels<float> MakeAmxKernels(const AttentionKernels<float>* otherwise) {
  AttentionKernels<float> table{};
  table.width = kPairs, table.row_group = kRowGroup, table.panel = kPairs;
  table.element = table.value_element = 2 * kParts, table.dim_step = table.value_dim_step = kPairs,
  table.value_step = kPairs, table.values_in_place = 0;
  table.pack_queries = PackQueries<kParts>, table.pack_keys = PackKeys<kParts>, table.pack_values = PackValues<kParts>;
  table.scores = Scores<kParts>, table.accumulate = Accumulate<kParts, kWeightParts>;
  table.accumulate_visible = AccumulateVisible<kParts, kWeightParts>, table.all_finite = AllFinite;
  table.find_unfit = FindUnfit, table.otherwise = otherwise;
  table.begin_task = Tiles::Configure, table.end_task = Tiles::Release;
  SetSoftmax<LanesF>(&table);
  return table;
}
