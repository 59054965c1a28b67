// cache_vnni.inc.h: queries and weights of f32 with K and V in 8 bits, read once where they lie, in integer products.
//
// A number on the float side is two or three digits of base 256 of its row's largest, whose products with 8-bit codes
// are summed exactly: three are 23 bits or more, so that what is left of rounding is that of f32; two are 15, enough
// for who brings 16-bit floats. Three products of four codes take less than widening the codes to floats, one by one.
//
// Included inside an anonymous namespace by kernels_avx512vnni.cc.
constexpr int64_t kMostRows = 8;        // few_rows of the float table beside it
constexpr int64_t kCacheKeys = 128;     // of a block of V: what other rows and channels read again stays in L1
constexpr int64_t kCacheLength = 1024;  // the longest head

inline __m512i LoadCodes(const char* from, int64_t count) {
  if (count >= 64) return _mm512_loadu_si512(from);
  return _mm512_maskz_loadu_epi8(((__mmask64)1 << count) - 1, from);
}

inline __m512 Lanes(const float* row, int64_t c, int64_t length) {
  const int64_t left = length - c;
  return _mm512_maskz_loadu_ps(left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1), row + c);
}

// The largest of a row, or infinity where some lane of `zeros`, the sum of 0 times its numbers, is not 0.
inline float LargestOr(__m512 zeros, __m512 largest) {
  const __mmask16 bad = _mm512_cmp_ps_mask(zeros, _mm512_setzero_ps(), _CMP_NEQ_UQ);
  return _mm512_reduce_max_ps(_mm512_mask_mov_ps(largest, bad, _mm512_set1_ps(__builtin_inff())));
}

// Factor of four unsigned codes, in all lanes, by four signed ones that lie at `digits`.
inline __m512i StepBroadcast(__m512i sum, __m512i codes, const int8_t* digits) {
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*reinterpret_cast<const int32_t*>(digits)));
  return sum;
}

// Rows of Q as digits from -128 to 127, the least significant first.
template <int kDigits>
struct QueryDigits {
  alignas(64) int8_t digits[kDigits][kMostRows][kCacheLength];
  int32_t corrections[kDigits][kMostRows];  // what K, 128 too large, adds
  float unit[kMostRows];                    // of the least digit

  void Take(int32_t rows, const float* q, int64_t ldq, int64_t length) {
    const int64_t padded = (length + 63) / 64 * 64;
    for (int32_t r = 0; r < rows; ++r) {
      const float* const row = q + r * ldq;
      __m512 largest = _mm512_setzero_ps(), finite = largest;
      for (int64_t c = 0; c < length; c += 16) {
        const __m512 x = Lanes(row, c, length);
        largest = _mm512_max_ps(_mm512_abs_ps(x), largest);
        finite = _mm512_fmadd_ps(x, _mm512_setzero_ps(), finite);
      }
      const float most = LargestOr(finite, largest);
      // Three digits hold 127 x 65536, two 127 x 256.
      constexpr float kSteps = kDigits == 3 ? 0x1p22f : 0x1p14f - 1;
      const bool tiny = !(most >= 0x1p-100f);
      const __m512 inverse = _mm512_set1_ps(tiny ? 0.0f : kSteps / most);
      unit[r] = most < __builtin_inff() ? most / kSteps : __builtin_nanf("");
      __m512i sums[kDigits] = {};
      for (int64_t c = 0; c < padded; c += 16) {
        __m512i number =
            c < length ? _mm512_cvtps_epi32(_mm512_mul_ps(Lanes(row, c, length), inverse)) : _mm512_setzero_si512();
        for (int i = 0; i < kDigits; ++i) {
          const __m512i digit = _mm512_srai_epi32(_mm512_slli_epi32(number, 24), 24);
          _mm_store_si128(reinterpret_cast<__m128i*>(digits[i][r] + c), _mm512_cvtepi32_epi8(digit));
          sums[i] = _mm512_add_epi32(sums[i], digit);
          number = _mm512_srai_epi32(_mm512_sub_epi32(number, digit), 8);
        }
      }
      for (int i = 0; i < kDigits; ++i) corrections[i][r] = -128 * _mm512_reduce_add_epi32(sums[i]);
    }
  }
};

// The sum of the digits' products, in units of the least.
template <int kDigits>
inline __m512 Together(const __m512i* sums) {
  const __m512 low = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[1]), _mm512_set1_ps(256), _mm512_cvtepi32_ps(sums[0]));
  if constexpr (kDigits == 2) return low;
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[2]), _mm512_set1_ps(65536), low);
}

// kWhole: length is a multiple of 64.
template <int kDigits, int kRows, bool kWhole>
void CacheScoresOf(const QueryDigits<kDigits>& q, const void* const* keys, int64_t count, int64_t length, float* s,
                   int64_t lds, const void* const* ahead) {
  // Of few rows several sums each: one alone would wait for itself.
  constexpr int kChains = kRows == 1 ? 4 : kRows == 2 ? 2 : 1;
  for (int64_t k = 0; k < count; k += 16) {
    __m512i sums[kRows][kDigits][kChains];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
      for (int i = 0; i < kDigits; ++i) {
        sums[r][i][0] = _mm512_set1_epi32(q.corrections[i][r]);
#pragma GCC unroll 4
        for (int chain = 1; chain < kChains; ++chain) sums[r][i][chain] = _mm512_setzero_si512();
      }
    for (int64_t c = 0; c < length; c += 64) {
      // Sixteen keys, whose groups of four codes become columns.
      __m512 block[16];
      const __m512i flip = _mm512_set1_epi8(-128);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const char* const at = static_cast<const char*>(keys[k + i]) + c;
        const __m512i codes = kWhole ? _mm512_loadu_si512(at) : LoadCodes(at, length - c);
        block[i] = _mm512_castsi512_ps(_mm512_xor_si512(codes, flip));
      }
      LanesF::GatherLanes(block);
#pragma GCC unroll 4
      for (int i = 0; i < 16; i += LanesF::kTurned) LanesF::TurnLane(block + i);
#pragma GCC unroll 16
      for (int g = 0; g < 16; ++g) {
        // Between the products, not all at once: a burst would keep this block's own loads waiting.
        if (ahead != nullptr) __builtin_prefetch(static_cast<const char*>(ahead[k + g]) + c, 0, 2);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
          for (int i = 0; i < kDigits; ++i)
            sums[r][i][g % kChains] =
                StepBroadcast(sums[r][i][g % kChains], _mm512_castps_si512(block[g]), q.digits[i][r] + c + 4 * g);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      __m512i of[kDigits];
#pragma GCC unroll 3
      for (int i = 0; i < kDigits; ++i) {
        of[i] = sums[r][i][0];
#pragma GCC unroll 4
        for (int chain = 1; chain < kChains; ++chain) of[i] = _mm512_add_epi32(of[i], sums[r][i][chain]);
      }
      _mm512_storeu_ps(s + r * lds + k, _mm512_mul_ps(Together<kDigits>(of), _mm512_set1_ps(q.unit[r])));
    }
  }
}

template <int kDigits>
void CacheScores(Stored, int32_t rows, const void* q, int64_t ldq, const void* const* keys, int64_t count,
                 int64_t length, float* s, int64_t lds, const void* const* ahead) {
  QueryDigits<kDigits> digits;
  digits.Take(rows, static_cast<const float*>(q), ldq, length);
  using Kernel =
      void (*)(const QueryDigits<kDigits>&, const void* const*, int64_t, int64_t, float*, int64_t, const void* const*);
  static constexpr Kernel kWhole[kMostRows] = {CacheScoresOf<kDigits, 1, true>, CacheScoresOf<kDigits, 2, true>,
                                               CacheScoresOf<kDigits, 3, true>, CacheScoresOf<kDigits, 4, true>,
                                               CacheScoresOf<kDigits, 5, true>, CacheScoresOf<kDigits, 6, true>,
                                               CacheScoresOf<kDigits, 7, true>, CacheScoresOf<kDigits, 8, true>};
  static constexpr Kernel kAny[kMostRows] = {CacheScoresOf<kDigits, 1, false>, CacheScoresOf<kDigits, 2, false>,
                                             CacheScoresOf<kDigits, 3, false>, CacheScoresOf<kDigits, 4, false>,
                                             CacheScoresOf<kDigits, 5, false>, CacheScoresOf<kDigits, 6, false>,
                                             CacheScoresOf<kDigits, 7, false>, CacheScoresOf<kDigits, 8, false>};
  (length % 64 == 0 ? kWhole : kAny)[rows - 1](digits, keys, count, length, s, lds, ahead);
}

// Weights of a block of keys as digits from 0 to 255, four keys' together.
template <int kDigits>
struct WeightDigits {
  alignas(64) uint8_t digits[kDigits][kMostRows][kCacheKeys];
  float unit[kMostRows];

  void Take(int32_t rows, const float* p, int64_t ldp, int64_t count) {
    const int64_t padded = (count + 63) / 64 * 64;
    for (int32_t r = 0; r < rows; ++r) {
      const float* const row = p + r * ldp;
      __m512 largest = _mm512_setzero_ps(), finite = largest;
      for (int64_t k = 0; k < count; k += 16) {
        const __m512 x = Lanes(row, k, count);
        largest = _mm512_max_ps(x, largest);
        finite = _mm512_fmadd_ps(x, _mm512_setzero_ps(), finite);
      }
      const float most = LargestOr(finite, largest);
      constexpr float kSteps = kDigits == 3 ? 0x1p24f - 1 : 0x1p16f - 1;
      const __m512 inverse = _mm512_set1_ps(most >= 0x1p-100f ? kSteps / most : 0.0f);
      unit[r] = most < __builtin_inff() ? most / kSteps : __builtin_nanf("");
      const __m512i limit = _mm512_set1_epi32(kDigits == 3 ? 0xffffff : 0xffff);
      for (int64_t k = 0; k < padded; k += 16) {
        __m512i number =
            k < count ? _mm512_cvtps_epi32(_mm512_mul_ps(Lanes(row, k, count), inverse)) : _mm512_setzero_si512();
        number = _mm512_min_epu32(number, limit);
        for (int i = 0; i < kDigits; ++i) {
          _mm_store_si128(reinterpret_cast<__m128i*>(digits[i][r] + k), _mm512_cvtepi32_epi8(number));
          number = _mm512_srli_epi32(number, 8);
        }
      }
    }
  }
};

// Sixty-four channels from c on of o = o * alpha + weights * V, rows [row, row + kRows) of at most two. Of each
// `passes` times four keys that are ahead, this is the pass that asks for the `pass`-th four.
template <int kDigits, int kRows, bool kWhole>
void CacheColumns(const WeightDigits<kDigits>& p, int64_t row, const void* const* values, int64_t count, int64_t c,
                  int64_t length, const float* alpha, float* o, int64_t ldo, const void* const* ahead, int32_t pass,
                  int32_t passes) {
  __m512i sums[kRows][kDigits][4];
  int32_t turn = pass;
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
    for (int i = 0; i < kDigits; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[r][i][v] = _mm512_setzero_si512();
  const int64_t left = length - c;
  const auto four = [&](int64_t k, const int64_t* keys) __attribute__((always_inline)) {
    __m512i rows[4];
#pragma GCC unroll 4
    for (int64_t i = 0; i < 4; ++i) {
      const char* const at = static_cast<const char*>(values[keys[i]]) + c;
      rows[i] = kWhole ? _mm512_loadu_si512(at) : LoadCodes(at, left);
    }
    if (ahead != nullptr && turn == 0) {
#pragma GCC unroll 4
      for (int64_t i = 0; i < 4; ++i) __builtin_prefetch(static_cast<const char*>(ahead[keys[i]]) + c, 0, 2);
    }
    turn = turn == 0 ? passes - 1 : turn - 1;
    // Four keys of a channel together: the part v has the channels 4 v to 4 v + 3 of each sixteen.
    const __m512i low01 = _mm512_unpacklo_epi8(rows[0], rows[1]), high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(rows[2], rows[3]), high23 = _mm512_unpackhi_epi8(rows[2], rows[3]);
    const __m512i parts[4] = {_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
                              _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
      for (int i = 0; i < kDigits; ++i) {
        const __m512i digit = Vnni::Broadcast(reinterpret_cast<const char*>(p.digits[i][row + r] + k));
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) sums[r][i][v] = Vnni::Step(sums[r][i][v], digit, parts[v]);
      }
  };
  int64_t k = 0;
  for (; k + 4 <= count; k += 4) {
    const int64_t keys[4] = {k, k + 1, k + 2, k + 3};
    four(k, keys);
  }
  if (k < count) {  // what is not there weighs nothing
    const int64_t last = count - 1;
    const int64_t keys[4] = {k, k + 1 < count ? k + 1 : last, k + 2 < count ? k + 2 : last, last};
    four(k, keys);
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    __m512 of[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      __m512i together[kDigits];
#pragma GCC unroll 3
      for (int i = 0; i < kDigits; ++i) together[i] = sums[r][i][v];
      of[v] = _mm512_mul_ps(Together<kDigits>(together), _mm512_set1_ps(p.unit[row + r]));
    }
    // Lane L of part v are the channels 16 L + 4 v: sixteen channels are the lanes L of all parts.
    const __m512 a = _mm512_shuffle_f32x4(of[0], of[1], 0x44), b = _mm512_shuffle_f32x4(of[0], of[1], 0xee);
    const __m512 d = _mm512_shuffle_f32x4(of[2], of[3], 0x44), e = _mm512_shuffle_f32x4(of[2], of[3], 0xee);
    const __m512 channels[4] = {_mm512_shuffle_f32x4(a, d, 0x88), _mm512_shuffle_f32x4(a, d, 0xdd),
                                _mm512_shuffle_f32x4(b, e, 0x88), _mm512_shuffle_f32x4(b, e, 0xdd)};
    const __m512 factor = _mm512_set1_ps(alpha[row + r]);
    float* const to = o + (row + r) * ldo + c;
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v)
      if (v * 16 < left)
        _mm512_storeu_ps(to + v * 16, _mm512_fmadd_ps(_mm512_loadu_ps(to + v * 16), factor, channels[v]));
  }
}

template <int kDigits>
void CacheAccumulate(Stored, int32_t rows, const float* p, int64_t ldp, const void* const* values, int64_t begin,
                     int64_t end, int64_t length, const float* alpha, float* o, int64_t ldo, const void* const* ahead) {
  static constexpr float kOnes[kMostRows] = {1, 1, 1, 1, 1, 1, 1, 1};
  WeightDigits<kDigits> digits;
  for (int64_t block = begin; block < end; block += kCacheKeys, alpha = kOnes) {
    const int64_t count = end - block < kCacheKeys ? end - block : kCacheKeys;
    digits.Take(rows, p + block, ldp, count);
    const void* const* const next = ahead == nullptr ? nullptr : ahead + block;
    for (int64_t c = 0; c < length; c += 64)
      for (int32_t r = 0; r < rows; r += 2) {
        const auto columns =
            r + 1 < rows ? (length - c >= 64 ? CacheColumns<kDigits, 2, true> : CacheColumns<kDigits, 2, false>)
                         : (length - c >= 64 ? CacheColumns<kDigits, 1, true> : CacheColumns<kDigits, 1, false>);
        columns(digits, r, values + block, count, c, length, alpha, o, ldo, next, r / 2, (rows + 1) / 2);
      }
  }
}
