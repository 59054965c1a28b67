// test_amx_int8_tiles.cc: the emulated tile instructions on codes against plain sums, and, where the processor has
// them, against it.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>

#include "amx_int8_usable.h"

namespace sage::test {
namespace {

namespace emulated {
#include "../cpu/amx_emulation.inc.h"
}
namespace processor {
#include "cpu/amx_tile.inc.h"
}

struct Operands {
  int32_t c[16][16] = {};
  uint8_t a[16][64] = {}, b[16][64] = {};
};

Operands Random(std::mt19937& random) {
  Operands x;
  // Sums wrap around: any will do.
  for (auto& row : x.c)
    for (int32_t& value : row) value = static_cast<int32_t>(random());
  for (auto* side : {x.a, x.b})
    for (int i = 0; i < 16 * 64; ++i) side[i / 64][i % 64] = static_cast<uint8_t>(random());
  return x;
}

template <class Tiles, bool kUnsigned>
Operands Product(Operands x) {
  Tiles::Configure();
  Tiles::template Load<3>(x.c, 64);
  Tiles::template Load<4>(x.a, 64);
  Tiles::template Load<7>(x.b, 64);
  if constexpr (kUnsigned)
    Tiles::template MultiplyUnsigned<3, 4, 7>();
  else
    Tiles::template MultiplySigned<3, 4, 7>();
  Tiles::template Store<3>(x.c, 64);
  Tiles::Release();
  return x;
}

int32_t SumOf(const Operands& x, bool is_unsigned, int m, int n) {
  int64_t sum = x.c[m][n];
  for (int k = 0; k < 64; ++k) {
    const int left = is_unsigned ? int{x.a[m][k]} : int{static_cast<int8_t>(x.a[m][k])};
    sum += left * static_cast<int8_t>(x.b[k / 4][4 * n + k % 4]);
  }
  return static_cast<int32_t>(static_cast<uint32_t>(sum));
}

}  // namespace

TEST_CASE("emulated tiles multiply codes: groups of four along a row by groups down a column") {
  std::mt19937 random(3);
  for (int repetition = 0; repetition < 20; ++repetition) {
    const Operands x = Random(random), both = Product<emulated::Tiles, false>(x),
                   left = Product<emulated::Tiles, true>(x);
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 16; ++n) {
        REQUIRE(both.c[m][n] == SumOf(x, false, m, n));
        REQUIRE(left.c[m][n] == SumOf(x, true, m, n));
      }
  }
  // Without their shape registers multiply nothing, and what they store is poison.
  Operands x;
  emulated::Tiles::Release();
  emulated::Tiles::MultiplySigned<0, 1, 2>();
  emulated::Tiles::Store<0>(x.c, 64);
  float poison;
  std::memcpy(&poison, &x.c[0][0], sizeof poison);
  CHECK(std::isnan(poison));
}

TEST_CASE("the processor's tiles and the emulated ones agree on codes bit for bit") {
  if (!int8::AmxInt8Usable()) {
    MESSAGE("this machine lacks amx-int8: its tiles were not held against the emulated ones here");
    return;
  }
  std::mt19937 random(5);
  for (int repetition = 0; repetition < 500; ++repetition) {
    const Operands x = Random(random);
    const Operands want[] = {Product<emulated::Tiles, false>(x), Product<emulated::Tiles, true>(x)};
    const Operands got[] = {Product<processor::Tiles, false>(x), Product<processor::Tiles, true>(x)};
    for (int i = 0; i < 2; ++i) REQUIRE(std::memcmp(got[i].c, want[i].c, sizeof want[i].c) == 0);
  }
}

}  // namespace sage::test
