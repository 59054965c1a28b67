// attention_bf16.inc.h: packing and the two products of attention in dot products of pairs of bf16, summed in fp32
// (vdpbf16ps), for Q, K and V that are stored so. Weights are rounded to bf16: class NATIVE.
//
// Packed, a number is a pair: of neighbours along d in Q and K, of neighbouring keys in weights and V. A pair takes the
// place of a float, so the tiles of attention_kernels.inc.h are used as they are, with another step of the sum.
//
// Included inside an anonymous namespace after attention_in_place.inc.h.
struct LanesBf16 : LanesF {
  // Error relative to 2^f 7.0e-6: a three-hundredth of what rounding a weight to bf16 makes.
  struct Exp2Series {
    static constexpr int kTerms = 4;
    static constexpr float kSeries[kTerms] = {0x1.62e2d2p-1f, 0x1.ebfb3ep-3f, 0x1.c96d5ep-5f, 0x1.3c6e5cp-7f};
  };
  static Reg Product(Reg a, Reg b, Reg sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
  }
};

// Keys that are multiplied together, counted from the tile's first: their weights lie on the stack as pairs.
constexpr int64_t kPairBlock = 256;

// Up to 64 bytes of a row; zeros behind.
inline __m512i LoadBytes(const char* from, int64_t bytes) {
  if (bytes >= 64) return _mm512_loadu_si512(from);
  return _mm512_maskz_loadu_epi8(((__mmask64)1 << bytes) - 1, from);
}

inline __m256i LoadHalf(const char* from, int64_t numbers) {
  if (numbers >= 16) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm256_maskz_loadu_epi16((__mmask16)((1 << numbers) - 1), from);
}

void PackQueriesBf16(Stored, const void* const* rows, int64_t count, int64_t length, void* packed, int64_t ld) {
  char* out = static_cast<char*>(packed);
  for (int64_t r = 0; r < count; ++r, out += ld * 2)
    for (int64_t c = 0; c < ld; c += 16) {
      const __m256i part =
          c < length ? LoadHalf(static_cast<const char*>(rows[r]) + c * 2, length - c) : _mm256_setzero_si256();
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + c * 2), part);
    }
}

void PackKeysBf16(Stored, const void* const* rows, int64_t count, int64_t length, void* packed,
                  const void* const* ahead) {
  constexpr int64_t kPanel = LanesF::kWidth * LanesF::kPanelVectors;
  const int64_t pairs = (length + 1) / 2;
  __m512 block[16];
  for (int64_t k = 0; k < count; k += 16) {
    const int64_t base = k / kPanel * kPanel;
    const int64_t panel_width = count - base < kPanel ? count - base : kPanel;
    float* panel = static_cast<float*>(packed) + base * pairs + (k - base);
    for (int64_t c = 0; c < pairs; c += 16) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const char* row = static_cast<const char*>(rows[k + i]);
        block[i] = _mm512_castsi512_ps(LoadBytes(row + c * 4, length * 2 - c * 4));
        if (ahead != nullptr) __builtin_prefetch(static_cast<const char*>(ahead[k + i]) + c * 4, 0, 2);
      }
      Transpose<LanesF>(block);
      const int64_t used = pairs - c < 16 ? pairs - c : 16;
      if (used == 16) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) _mm512_storeu_ps(panel + (c + i) * panel_width, block[i]);
      } else {
        for (int64_t i = 0; i < used; ++i) _mm512_storeu_ps(panel + (c + i) * panel_width, block[i]);
      }
    }
  }
}

void PackValuesBf16(Stored, const void* const* rows, int64_t count, int64_t length, void* packed, int64_t ld,
                    const void* const* ahead) {
  char* out = static_cast<char*>(packed);
  for (int64_t k = 0; k < count; k += 2, out += ld * 4) {
    const char *even = static_cast<const char*>(rows[k]),
               *odd = k + 1 < count ? static_cast<const char*>(rows[k + 1]) : nullptr;
    for (int64_t c = 0; c < ld; c += 16) {
      __m512i low = _mm512_setzero_si512(), high = low;
      if (c < length) {
        low = _mm512_cvtepu16_epi32(LoadHalf(even + c * 2, length - c));
        if (odd != nullptr) high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(LoadHalf(odd + c * 2, length - c)), 16);
        if (ahead != nullptr && c % 32 == 0) {
          __builtin_prefetch(static_cast<const char*>(ahead[k]) + c * 2, 0, 2);
          if (odd != nullptr) __builtin_prefetch(static_cast<const char*>(ahead[k + 1]) + c * 2, 0, 2);
        }
      }
      _mm512_storeu_si512(out + c * 4, _mm512_or_si512(low, high));
    }
  }
}

void ScoresBf16(int32_t rows, const void* q, int64_t ldq, const void* keys, int64_t count, int64_t length,
                int64_t begin, int64_t end, float* s, int64_t lds) {
  Scores<LanesBf16>(rows, q, ldq / 2, keys, count, (length + 1) / 2, begin, end, s, lds);
}

// Lanes [begin, end) of a row of weights as pairs; even and at most kPairBlock apart.
inline void PairWeights(const float* p, int64_t begin, int64_t end, float* pairs) {
  for (int64_t k = begin; k < end; k += 32) {
    const __mmask16 low = (__mmask16)(end - k >= 16 ? 0xffff : (1 << (end - k)) - 1);
    const __mmask16 high = (__mmask16)(end - k >= 32 ? 0xffff : end - k <= 16 ? 0 : (1 << (end - k - 16)) - 1);
    const __m512bh both =
        _mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, p + k + 16), _mm512_maskz_loadu_ps(low, p + k));
    _mm512_storeu_si512(pairs + (k - begin) / 2, (__m512i)both);
  }
}

constexpr float kOnes[LanesF::kFewRows] = {1, 1, 1, 1, 1, 1, 1, 1};

void AccumulateBf16(int32_t rows, const float* p, int64_t ldp, const void* packed_v, int64_t ldv, int64_t begin,
                    int64_t end, int64_t dv_padded, const float* alpha, float* o, int64_t ldo) {
  alignas(64) float pairs[LanesF::kRowGroup][kPairBlock / 2 + 16];
  const auto* v = static_cast<const float*>(packed_v);
  begin = begin / 2 * 2, end = (end + 1) / 2 * 2;
  for (int64_t block = begin / kPairBlock * kPairBlock; block < end; block += kPairBlock) {
    const int64_t from = begin > block ? begin : block, to = end < block + kPairBlock ? end : block + kPairBlock;
    for (int32_t r = 0; r < rows; ++r) PairWeights(p + r * ldp, from, to, pairs[r]);
    Rows<LanesBf16, LanesF::kRowGroup, Sums::kScaled>(rows, pairs[0], kPairBlock / 2 + 16, v + from / 2 * ldv, ldv, 0,
                                                      (to - from) / 2, dv_padded, alpha, o, ldo);
    alpha = kOnes;
  }
}

// In the sense of attention_in_place.inc.h: a factor is a pair of elements of a row of K, or of two rows of V.
struct KeyPairs {
  static constexpr int64_t kTogether = 2, kBytes = 4;
  static __m512 Load(const char* row, int64_t c) { return _mm512_loadu_ps(row + c * kBytes); }
  static __m512 Tail(const char* row, int64_t c, int64_t length) {
    return _mm512_castsi512_ps(LoadBytes(row + c * kBytes, length * 2 - c * kBytes));
  }
};

struct ValuePairs {
  static constexpr int64_t kBytes = 2, kRowsAStep = 2;
  template <int kVectors>
  static void Load(const void* const* rows, int64_t c, __m512* factors) {
    const char *even = static_cast<const char*>(rows[0]) + c * 2, *odd = static_cast<const char*>(rows[1]) + c * 2;
    if constexpr (kVectors == 1) {
      const __m512i low = _mm512_cvtepu16_epi32(LoadHalf(even, 16)), high = _mm512_cvtepu16_epi32(LoadHalf(odd, 16));
      factors[0] = _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    } else {
      // Number i of the one row beside number i of the other.
      const __m512i counting = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      const __m512i first =
          _mm512_or_si512(counting, _mm512_slli_epi32(_mm512_add_epi32(counting, _mm512_set1_epi32(32)), 16));
      const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v += 2) {
        const __m512i a = _mm512_loadu_si512(even + v * 32), b = _mm512_loadu_si512(odd + v * 32);
        factors[v] = _mm512_castsi512_ps(_mm512_permutex2var_epi16(a, first, b));
        factors[v + 1] = _mm512_castsi512_ps(_mm512_permutex2var_epi16(a, second, b));
      }
    }
  }
};

void ScoresInPlaceBf16(Stored, int32_t rows, const void* q, int64_t ldq, const void* const* keys, int64_t count,
                       int64_t length, float* s, int64_t lds, const void* const* ahead) {
  ScoresFrom<LanesBf16, KeyPairs>(rows, static_cast<const float*>(q), ldq / 2, keys, count, length, s, lds, ahead);
}

void AccumulateInPlaceBf16(Stored, int32_t rows, const float* p, int64_t ldp, const void* const* values, int64_t begin,
                           int64_t end, int64_t length, const float* alpha, float* o, int64_t ldo,
                           const void* const* ahead) {
  alignas(64) float pairs[LanesF::kFewRows][kPairBlock / 2 + 16];
  for (int64_t block = begin / kPairBlock * kPairBlock; block < end; block += kPairBlock) {
    const int64_t from = begin > block ? begin : block, to = end < block + kPairBlock ? end : block + kPairBlock;
    for (int32_t r = 0; r < rows; ++r) PairWeights(p + r * ldp, from, to, pairs[r]);
    AccumulateFrom<LanesBf16, ValuePairs>(rows, pairs[0], kPairBlock / 2 + 16, values + from, 0, (to - from) / 2,
                                          length, alpha, o, ldo, ahead == nullptr ? nullptr : ahead + from);
    alpha = kOnes;
  }
}

void AccumulateVisibleBf16(const float* p, const void* packed_v, int64_t ldv, int64_t begin, int64_t end,
                           int64_t dv_padded, float alpha, float* o) {
  const auto* v = static_cast<const float*>(packed_v);
  alignas(64) float pairs[kPairBlock / 2 + 16];
  begin = begin / 2 * 2, end = (end + 1) / 2 * 2;
  for (int64_t block = begin / kPairBlock * kPairBlock; block < end; block += kPairBlock) {
    const int64_t from = begin > block ? begin : block, to = end < block + kPairBlock ? end : block + kPairBlock;
    PairWeights(p, from, to, pairs);
    for (int64_t c = 0; c < dv_padded; c += 16) {
      __m512 sum = _mm512_setzero_ps();
      for (int64_t k = from; k < to; k += 2) {
        const auto hidden = [&](int64_t lane) { return p[lane] == 0 && __builtin_signbit(p[lane]); };
        const uint32_t seen = (hidden(k) ? 0u : 0xffffu) | (hidden(k + 1) ? 0u : 0xffff0000u);
        const __m512i values = _mm512_and_si512(_mm512_castps_si512(_mm512_loadu_ps(v + k / 2 * ldv + c)),
                                                _mm512_set1_epi32(static_cast<int>(seen)));
        sum = LanesBf16::Product(_mm512_set1_ps(pairs[(k - from) / 2]), _mm512_castsi512_ps(values), sum);
      }
      _mm512_storeu_ps(o + c, _mm512_fmadd_ps(_mm512_loadu_ps(o + c), _mm512_set1_ps(alpha), sum));
    }
    alpha = 1;
  }
}

int32_t AllFiniteBf16(const void* packed_v, int64_t ldv, int64_t begin, int64_t end, int64_t dv_padded) {
  const auto* v = static_cast<const float*>(packed_v);
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __mmask32 found = 0;
  for (int64_t pair = begin / 2; pair < (end + 1) / 2; ++pair)
    for (int64_t c = 0; c < dv_padded; c += 16)
      found |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(_mm512_loadu_si512(v + pair * ldv + c), exponent), exponent);
  return found == 0;
}

// In integers, since the instruction takes denormals for zero.
void StoreBf16(const float* o, float denominator, int64_t length, void* to) {
  const __m512 divisor = _mm512_set1_ps(denominator);
  for (int64_t c = 0; c < length; c += 16) {  // o is padded to whole registers
    const __m512 x = _mm512_div_ps(_mm512_loadu_ps(o + c), divisor);
    const __m512i bits = _mm512_castps_si512(x), high = _mm512_srli_epi32(bits, 16);
    const __m512i even = _mm512_and_si512(high, _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff))), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m256i half = _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(rounded, nan, high, _mm512_set1_epi32(0x40)));
    char* const at = static_cast<char*>(to) + c * 2;
    if (length - c >= 16)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), half);
    else
      _mm256_mask_storeu_epi16(at, static_cast<__mmask16>((1 << (length - c)) - 1), half);
  }
}

constexpr AttentionKernels<float> MakeBf16Kernels() {
  AttentionKernels<float> table = MakeKernels<LanesF>();
  table.element = table.value_element = 2, table.value_step = 2, table.values_in_place = 0;
  table.pack_queries = PackQueriesBf16, table.pack_keys = PackKeysBf16, table.pack_values = PackValuesBf16;
  table.scores = ScoresBf16, table.accumulate = AccumulateBf16, table.accumulate_visible = AccumulateVisibleBf16;
  table.scores_in_place = ScoresInPlaceBf16, table.accumulate_in_place = AccumulateInPlaceBf16;
  table.all_finite = AllFiniteBf16, table.store_bf16 = StoreBf16;
  SetSoftmax<LanesBf16>(&table);
  return table;
}
