// test_amx_tiles.cc: the emulated tile instructions against arithmetic in float64 and against what Intel's manual says
// of the edges; and, where the processor has tiles, against it, bit for bit: instructions and whole tables of kernels.
#include <doctest/doctest.h>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "amx_usable.h"
#include "attention_kernels.h"
#include "cpu_features.h"

namespace sage::cpu {
// attention_amx_emulated.cc, built to lie beside the product's.
extern const AttentionKernels<float> kEmulatedAmxF32, kEmulatedAmxF16, kEmulatedAmxBf16, kEmulatedAmxBf16Native;
}  // namespace sage::cpu

namespace sage::test {
namespace {

namespace emulated {
#include "amx_emulation.inc.h"
}
namespace processor {
#include "amx_tile.inc.h"
}

float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
uint32_t BitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
float FromBf16(uint16_t bits) { return FromBits(static_cast<uint32_t>(bits) << 16); }
uint16_t ToBf16(float x) { return static_cast<uint16_t>(BitsOf(x) >> 16); }  // of numbers that bf16 holds

struct Operands {
  float c[16][16] = {};
  uint16_t a[16][32] = {}, b[16][32] = {};
};

template <class Tiles>
Operands Product(Operands x) {
  Tiles::Configure();
  Tiles::template Load<2>(x.c, 64);
  Tiles::template Load<5>(x.a, 64);
  Tiles::template Load<7>(x.b, 64);
  Tiles::template Multiply<2, 5, 7>();
  Tiles::template Store<2>(x.c, 64);
  Tiles::Release();
  return x;
}

// Of row 0 and column 0: a chain of pairs; the rest of the operands is 0.
float Chain(float c, const std::vector<float>& lower, const std::vector<float>& upper, float lower_b = 1,
            float upper_b = 1) {
  Operands x;
  x.c[0][0] = c;
  for (size_t k = 0; k < 16; ++k) {
    x.b[k][0] = ToBf16(lower_b), x.b[k][1] = ToBf16(upper_b);
    if (k < lower.size()) x.a[0][2 * k] = ToBf16(lower[k]);
    if (k < upper.size()) x.a[0][2 * k + 1] = ToBf16(upper[k]);
  }
  return Product<emulated::Tiles>(x).c[0][0];
}

Operands Random(std::mt19937& random, bool wild) {
  Operands x;
  std::normal_distribution<float> normal;
  const auto number = [&]() -> uint16_t {
    if (wild) return static_cast<uint16_t>(random());
    return static_cast<uint16_t>(BitsOf(normal(random)) >> 16);
  };
  for (auto& row : x.c)
    for (float& value : row) value = wild ? FromBits(static_cast<uint32_t>(random())) : normal(random);
  for (auto& row : x.a)
    for (uint16_t& value : row) value = number();
  for (auto& row : x.b)
    for (uint16_t& value : row) value = number();
  return x;
}

// Equal as bits; NaN of any payload are equal.
bool Same(float x, float y) { return (std::isnan(x) && std::isnan(y)) || BitsOf(x) == BitsOf(y); }

}  // namespace

TEST_CASE("emulated tiles multiply: pairs along a row by pairs down a column, as float64 does") {
  std::mt19937 random(1);
  for (int repetition = 0; repetition < 8; ++repetition) {
    const Operands x = Random(random, false), y = Product<emulated::Tiles>(x);
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 16; ++n) {
        double sum = static_cast<double>(x.c[m][n]), size = std::fabs(sum);
        for (int k = 0; k < 32; ++k) {
          const double term = static_cast<double>(FromBf16(x.a[m][k])) * FromBf16(x.b[k / 2][2 * n + k % 2]);
          sum += term, size += std::fabs(term);
        }
        REQUIRE(std::fabs(static_cast<double>(y.c[m][n]) - sum) <= size * 0x1p-24 * 18);
      }
  }
  Operands whole;  // whole numbers: exact in any order
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 32; ++j) {
      whole.a[i][j] = ToBf16(static_cast<float>((i * 7 + j * 3) % 11 - 5));
      whole.b[i][j] = ToBf16(static_cast<float>((i * 5 + j) % 9 - 4));
    }
  const Operands product = Product<emulated::Tiles>(whole);
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) {
      int sum = 0;
      for (int k = 0; k < 32; ++k) sum += ((m * 7 + k * 3) % 11 - 5) * ((k / 2 * 5 + 2 * n + k % 2) % 9 - 4);
      REQUIRE(product.c[m][n] == static_cast<float>(sum));
    }
}

TEST_CASE("emulated tiles sum as the manual says: two chains from zero, then their sum, then the destination") {
  const float big = 0x1p24f;
  const std::vector<float> ones(16, 1.0f);
  std::vector<float> big_first = ones;
  big_first[0] = big;
  CHECK(Chain(0, big_first, {}) == big);      // each 1 is lost: rounding to even
  CHECK(Chain(0, {big}, ones) == big + 16);   // the other chain is summed apart
  CHECK(Chain(big, ones, ones) == big + 32);  // the destination comes last
  CHECK(Chain(big, {1}, {}) == big);          // and is rounded to even
  CHECK(Chain(big + 2, {1}, {}) == big + 4);
  CHECK(Chain(0, {1, -1, 0x1p-20f}, {}) == 0x1p-20f);  // in order of k
  CHECK(Chain(0, {0x1p-20f, 1, -1}, {}) == 0x1p-20f);
  CHECK(Chain(0, {0x1p-30f, 1, -1}, {}) == 0.0f);
}

TEST_CASE("emulated tiles take denormals for zero and make none, and keep NaN and Inf") {
  const float least = FLT_MIN, denormal = FromBits(0x00400000);
  CHECK(Chain(0, {denormal}, {}, 0x1p120f) == 0.0f);
  CHECK(Chain(denormal, {}, {}) == 0.0f);
  CHECK(std::signbit(Chain(-denormal, {}, {})) == false);  // -0 + +0
  CHECK(Chain(0, {0x1p-70f}, {}, 0x1p-70f) == 0.0f);       // a product
  CHECK(Chain(0, {least}, {}) == least);
  CHECK(Chain(0, {least * 1.5f, -least}, {}) == 0.0f);  // a difference
  CHECK(Chain(-least, {least * 1.5f}, {}) == 0.0f);     // with the destination
  CHECK(std::isnan(Chain(0, {INFINITY}, {}, 0.0f)));
  CHECK(std::isnan(Chain(0, {INFINITY}, {-INFINITY})));
  CHECK(std::isnan(Chain(NAN, {1}, {})));
  CHECK(Chain(0, {INFINITY}, {1}) == INFINITY);
  CHECK(Chain(0, {0x1p127f, 0x1p127f}, {}) == INFINITY);
  Operands x;
  x.c[3][4] = NAN, x.a[5][6] = ToBf16(INFINITY), x.b[2][9] = 0x7fc0;
  const Operands y = Product<emulated::Tiles>(x);
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) REQUIRE(std::isnan(y.c[m][n]) == ((m == 3 && n == 4) || m == 5 || n == 4));
}

TEST_CASE("emulated tiles are poison where a processor would trap or a kernel forgot something") {
  using emulated::Tiles;
  float numbers[16][16] = {}, out[16][16] = {};
  Tiles::Release();
  Tiles::Load<0>(numbers, 64);
  Tiles::Store<0>(out, 64);
  CHECK(std::isnan(out[0][0]));
  Tiles::Configure();
  Tiles::Store<1>(out, 64);
  CHECK(std::isnan(out[15][15]));
  Tiles::Zero<1>();
  Tiles::Store<1>(out, 64);
  CHECK(out[15][15] == 0.0f);
  Tiles::Release();
  Tiles::Store<1>(out, 64);
  CHECK(std::isnan(out[7][7]));
}

TEST_CASE("three bf16 parts hold an fp32 number exactly, two an f16 one; what cannot be split is found") {
  if (!cpu::Runs(cpu::Isa::kAvx512, cpu::DetectCpu().best)) {
    MESSAGE("this machine lacks avx512: the splitting was not tested here");
    return;
  }
  std::mt19937 random(7);
  alignas(64) uint16_t packed[33 * 3 * 32];
  const auto split = [&](const cpu::AttentionKernels<float>& kernels, cpu::Stored stored, const void* row, int parts) {
    kernels.pack_queries(stored, &row, 1, 32, packed, 32);
    std::vector<double> sums(32);
    for (int p = 0; p < parts; ++p)
      for (int i = 0; i < 32; ++i)  // elements i and i + 16 are a pair
        sums[static_cast<size_t>(i / 2 + i % 2 * 16)] += static_cast<double>(FromBf16(packed[p * 32 + i]));
    return sums;
  };
  for (int repetition = 0; repetition < 2000; ++repetition) {
    float x[32];
    uint16_t narrow[32];
    for (int i = 0; i < 32; ++i) {
      const uint32_t exponent = 27 + static_cast<uint32_t>(random()) % (183 - 27);  // 2^-100 to 2^56
      x[i] = FromBits((static_cast<uint32_t>(random()) & 0x807fffffu) | exponent << 23);
      narrow[i] = static_cast<uint16_t>((random() & 0x83ffu) | (1 + random() % 30) << 10);
    }
    uint8_t unfit = 1;
    const void *row = x, *narrow_row = narrow;
    REQUIRE(cpu::kEmulatedAmxF32.find_unfit(cpu::Stored::kNative, &row, 1, 32, &unfit) == 0);
    REQUIRE(unfit == 0);
    const std::vector<double> sums = split(cpu::kEmulatedAmxF32, cpu::Stored::kNative, x, 3);
    for (size_t i = 0; i < 32; ++i) REQUIRE(sums[i] == static_cast<double>(x[i]));
    REQUIRE(cpu::kEmulatedAmxF16.find_unfit(cpu::Stored::kF16, &narrow_row, 1, 32, &unfit) == 0);
    const std::vector<double> halves = split(cpu::kEmulatedAmxF16, cpu::Stored::kF16, narrow, 2);
    for (size_t i = 0; i < 32; ++i) {
      const int exponent = narrow[i] >> 10 & 31, sign = narrow[i] >> 15;
      const double want = std::ldexp(1024 + (narrow[i] & 1023), exponent - 25) * (sign != 0 ? -1 : 1);
      REQUIRE(halves[i] == want);
    }
  }
  for (const auto& [value, fits] : {std::pair<float, bool>{0.0f, true},
                                    {-0.0f, true},
                                    {0x1p-100f, true},
                                    {-0x1.fffffep-101f, false},
                                    {0x1p-149f, false},
                                    {0x1.fffffep55f, true},
                                    {-0x1p56f, false},
                                    {FLT_MAX, false},
                                    {INFINITY, false},
                                    {NAN, false}}) {
    for (const int64_t at : {0, 15, 16, 18}) {
      float x[2][19] = {};
      x[1][at] = value;
      const void* rows[2] = {x[0], x[1]};
      uint8_t unfit[2] = {7, 7};
      CHECK(cpu::kEmulatedAmxF32.find_unfit(cpu::Stored::kNative, rows, 2, 19, unfit) == (fits ? 0 : 1));
      CHECK(unfit[0] == 0);
      CHECK(unfit[1] == (fits ? 0 : 1));
    }
  }
}

TEST_CASE("the processor's tiles and the emulated ones agree bit for bit, instruction by instruction") {
  if (!cpu::AmxUsable()) {
    MESSAGE("this machine lacks amx: its tiles were not held against the emulated ones here");
    return;
  }
  std::mt19937 random(11);
  for (int repetition = 0; repetition < 2000; ++repetition) {
    const Operands x = Random(random, repetition % 2 == 1);
    const Operands want = Product<emulated::Tiles>(x), got = Product<processor::Tiles>(x);
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 16; ++n) REQUIRE(Same(got.c[m][n], want.c[m][n]));
  }
}

TEST_CASE("kernels on the processor's tiles and on emulated ones agree bit for bit") {
  if (!cpu::AmxUsable()) {
    MESSAGE("this machine lacks amx: its kernels were not held against the emulated ones here");
    return;
  }
  using Table = cpu::AttentionKernels<float>;
  const std::pair<const Table*, const Table*> tables[] = {
      {&cpu::kAttentionAmxF32, &cpu::kEmulatedAmxF32},
      {&cpu::kAttentionAmxF16, &cpu::kEmulatedAmxF16},
      {&cpu::kAttentionAmxBf16, &cpu::kEmulatedAmxBf16},
      {&cpu::kAttentionAmxBf16Native, &cpu::kEmulatedAmxBf16Native}};
  std::mt19937 random(13);
  std::normal_distribution<float> normal;
  for (const auto& [real, emulation] : tables) {
    for (const int32_t count : {1, 16, 17, 32}) {
      constexpr int64_t kDim = 80, kPadded = 96, kKeys = 256;
      std::vector<float> q(32 * kDim), k(kKeys * kDim), p(32 * kKeys);
      for (std::vector<float>* numbers : {&q, &k})
        for (float& x : *numbers) x = FromBits(BitsOf(normal(random)) & 0xffff0000u);  // of any storage
      for (float& x : p) x = std::exp2(-std::fabs(normal(random)) * 20);
      std::vector<const void*> q_rows, k_rows;
      for (int64_t r = 0; r < count; ++r) q_rows.push_back(&q[static_cast<size_t>(r * kDim)]);
      for (int64_t r = 0; r < kKeys; ++r) k_rows.push_back(&k[static_cast<size_t>(r * kDim)]);
      std::vector<float> results[2];
      for (const Table* table : {real, emulation}) {
        std::vector<float>& out = results[table == emulation];
        const auto room = [&](int64_t rows) {
          return std::vector<float>(static_cast<size_t>(rows * kPadded * 2) + 16);
        };
        std::vector<float> packed_q = room(64), packed_k = room(kKeys), packed_v = room(kKeys);
        const auto aligned = [](std::vector<float>& from) {
          return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(from.data()) + 63) / 64 * 64);
        };
        table->pack_queries(cpu::Stored::kNative, q_rows.data(), count, kDim, aligned(packed_q), kPadded);
        table->pack_keys(cpu::Stored::kNative, k_rows.data(), kKeys, kDim, aligned(packed_k), nullptr);
        table->pack_values(cpu::Stored::kNative, k_rows.data(), kKeys, kDim, aligned(packed_v), kPadded, nullptr);
        std::vector<float> scores(32 * kKeys), o(32 * kPadded, 0.25f), alpha(32, 0.75f);
        table->begin_task();
        table->scores(count, aligned(packed_q), kPadded, aligned(packed_k), kKeys, kDim, 0, kKeys, scores.data(),
                      kKeys);
        table->accumulate(count, p.data(), kKeys, aligned(packed_v), kPadded, 5, 250, kPadded, alpha.data(), o.data(),
                          kPadded);
        table->end_task();
        out = scores;
        out.insert(out.end(), o.begin(), o.end());
      }
      for (size_t i = 0; i < results[0].size(); ++i) REQUIRE(Same(results[0][i], results[1][i]));
    }
  }
}

}  // namespace sage::test
