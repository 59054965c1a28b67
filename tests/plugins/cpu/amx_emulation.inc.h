// amx_emulation.inc.h: the tile instructions of amx_tile.inc.h in portable C++, for tests on machines without AMX.
//
// As Intel's manual (Software Developer's Manual, volume 2, TDPBF16PS) has them: of each row and column two chains of
// fused multiply-adds over k, one of the lower and one of the upper halves, both from +0; their sum is added to the
// destination. Every operation rounds to nearest, takes denormals for zeros of their sign and makes zeros of results
// that are denormal once rounded. Payloads of NaN are not modelled.
//
// Stricter than a processor where a kernel could go wrong unseen: a register that was not written since Configure is
// NaN, not zero, and without Configure nothing is loaded, multiplied or zeroed and only NaN is stored.
//
// Included inside an anonymous namespace, after string.h and stdint.h. State belongs to the thread, as registers do.
struct Tiles {
  struct State {
    bool configured = false;
    float numbers[8][16][16];
  };
  static State& Registers() {
    static thread_local State state;
    return state;
  }

  static void Configure() {
    State& state = Registers();
    state.configured = true;
    for (auto& tile : state.numbers)
      for (auto& row : tile)
        for (float& x : row) x = __builtin_nanf("");
  }
  static void Release() { Registers().configured = false; }

  template <int kTile>
  static void Zero() {
    State& state = Registers();
    if (state.configured) memset(state.numbers[kTile], 0, sizeof state.numbers[kTile]);
  }
  template <int kTile>
  static void Load(const void* from, int64_t stride) {
    State& state = Registers();
    if (!state.configured) return;
    for (int64_t r = 0; r < 16; ++r) memcpy(state.numbers[kTile][r], static_cast<const char*>(from) + r * stride, 64);
  }
  template <int kTile>
  static void Store(void* to, int64_t stride) {
    State& state = Registers();
    float poison[16];
    for (float& x : poison) x = __builtin_nanf("");
    for (int64_t r = 0; r < 16; ++r)
      memcpy(static_cast<char*>(to) + r * stride, state.configured ? state.numbers[kTile][r] : poison, 64);
  }

  // Denormals to zeros of their sign.
  static float Flush(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
    memcpy(&x, &bits, 4);
    return x;
  }
  // The lower and upper bf16 of a dword, as floats.
  static float Lower(uint32_t pair) {
    pair <<= 16;
    float x;
    memcpy(&x, &pair, 4);
    return Flush(x);
  }
  static float Upper(uint32_t pair) {
    pair &= 0xffff0000u;
    float x;
    memcpy(&x, &pair, 4);
    return Flush(x);
  }

  template <int kC, int kA, int kB>
  static void Multiply() {
    static_assert(kC != kA && kC != kB && kA != kB, "the processor refuses operands that are one register");
    State& state = Registers();
    if (!state.configured) return;
    uint32_t a[16][16], b[16][16];
    memcpy(a, state.numbers[kA], sizeof a);
    memcpy(b, state.numbers[kB], sizeof b);
    float lower_b[16][16], upper_b[16][16];
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 16; ++n) lower_b[k][n] = Lower(b[k][n]), upper_b[k][n] = Upper(b[k][n]);
    for (int m = 0; m < 16; ++m) {
      float lower[16] = {}, upper[16] = {};
      for (int k = 0; k < 16; ++k) {
        const float lower_a = Lower(a[m][k]), upper_a = Upper(a[m][k]);
        for (int n = 0; n < 16; ++n) {
          lower[n] = Flush(__builtin_fmaf(lower_a, lower_b[k][n], lower[n]));
          upper[n] = Flush(__builtin_fmaf(upper_a, upper_b[k][n], upper[n]));
        }
      }
      float* c = state.numbers[kC][m];
      for (int n = 0; n < 16; ++n) c[n] = Flush(Flush(c[n]) + Flush(lower[n] + upper[n]));
    }
  }

  // As TDPBSSD and TDPBUSD: products of bytes, four to a sum, all exact, sums modulo 2^32.
  template <bool kUnsigned, int kC, int kA, int kB>
  static void MultiplyBytes() {
    static_assert(kC != kA && kC != kB && kA != kB, "the processor refuses operands that are one register");
    State& state = Registers();
    if (!state.configured) return;
    uint8_t a[16][64], b[16][64];
    uint32_t c[16][16];
    memcpy(a, state.numbers[kA], sizeof a);
    memcpy(b, state.numbers[kB], sizeof b);
    memcpy(c, state.numbers[kC], sizeof c);
    for (int m = 0; m < 16; ++m)
      for (int k = 0; k < 64; ++k) {
        const int32_t factor = kUnsigned ? a[m][k] : static_cast<int8_t>(a[m][k]);
        for (int n = 0; n < 16; ++n)
          c[m][n] += static_cast<uint32_t>(factor * static_cast<int8_t>(b[k / 4][4 * n + k % 4]));
      }
    memcpy(state.numbers[kC], c, sizeof c);
  }
  template <int kC, int kA, int kB>
  static void MultiplySigned() {
    MultiplyBytes<false, kC, kA, kB>();
  }
  template <int kC, int kA, int kB>
  static void MultiplyUnsigned() {
    MultiplyBytes<true, kC, kA, kB>();
  }
};
