// What the three policies stand on: random numbers against published vectors, 16-bit floats, projections.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sage/lowering.h"
#include "sage/number.h"
#include "sage/random.h"

namespace {

using namespace sage;

TEST_CASE("G13 Philox 4x32-10 gives the published vectors") {
  using Words = std::array<uint32_t, 4>;
  CHECK(Philox4x32({0, 0, 0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox4x32({~0u, ~0u, ~0u, ~0u}, ~0ull) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822ull) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  CHECK(HashId("") == static_cast<uint32_t>(0xcbf29ce484222325u ^ 0xcbf29ce484222325u >> 32));
  CHECK(HashId("door") != HashId("lamp"));
  double sum = 0;
  for (uint64_t tick = 0; tick < 20000; ++tick) {
    const double draw = Uniform(5, tick, RandomStream::kDreamDrop, 9);
    REQUIRE(draw >= 0);
    REQUIRE(draw < 1);
    sum += draw;
  }
  CHECK(std::fabs(sum / 20000 - 0.5) < 0.01);
}

TEST_CASE("G13 numpy's legacy seeds are reproduced") {
  NumpyRandom random(0);
  CHECK(random.Sample() == 0.5488135039273248);
  CHECK(random.Sample() == 0.7151893663724195);
  CHECK(random.Sample() == 0.6027633760716439);
}

TEST_CASE("G6 numbers: 16-bit floats round to nearest even and read back") {
  const auto f16 = [](double value) {
    uint16_t bits = 0;
    StoreNumbers(SAGE_F16, &bits, 0, {&value, 1});
    return bits;
  };
  const auto bf16 = [](double value) {
    uint16_t bits = 0;
    StoreNumbers(SAGE_BF16, &bits, 0, {&value, 1});
    return bits;
  };
  CHECK(f16(1) == 0x3c00);
  CHECK(f16(-2) == 0xc000);
  CHECK(f16(65504) == 0x7bff);
  CHECK(f16(65520) == 0x7c00);
  CHECK(f16(0x1p-24) == 1);
  CHECK(f16(0x1p-25) == 0);  // a tie, to even
  CHECK(f16(1 + 0x1p-11) == 0x3c00);
  CHECK(f16(1 + 3 * 0x1p-11) == 0x3c02);
  CHECK(bf16(1) == 0x3f80);
  CHECK(bf16(1 + 0x1p-8) == 0x3f80);
  CHECK(bf16(1 + 3 * 0x1p-8) == 0x3f82);
  CHECK(std::isnan(LoadNumber(SAGE_BF16, std::vector<uint16_t>{0x7fc0}.data(), 0)));
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto word = static_cast<uint16_t>(bits);
    REQUIRE(f16(LoadNumber(SAGE_F16, &word, 0)) == word);
  }
}

TEST_CASE("G12 IDENTITY projections: cosines per head, a mean over the group, absent and zero rows stay zero") {
  SageAttention attention;
  attention.d_model = 8, attention.query_heads = 4, attention.kv_heads = 2, attention.head_dim = 2;
  const std::vector<double> x = {3, 4, 1, 0, 0, 0, 0, 0};
  std::vector<double> q(8), k(4);
  ProjectQuery(attention, x, q);
  ProjectKey(attention, x, k);
  const double norm = std::hypot(2, 2);
  CHECK(k[0] == doctest::Approx(2 / norm));
  CHECK(k[1] == doctest::Approx(2 / norm));
  CHECK(k[2] == 0);
  for (size_t i = 0; i < 8; ++i) CHECK(q[i] == k[i / 4 * 2 + i % 2]);
  ProjectKey(attention, {}, k);
  for (const double value : k) CHECK(value == 0);
  const std::vector<double> huge(8, 1e300);
  ProjectKey(attention, huge, k);
  CHECK(k[0] == doctest::Approx(std::sqrt(.5)));
}

TEST_CASE("G12 SEEDED weights are U(-1/sqrt(D), 1/sqrt(D)) and depend on the seed and the matrix") {
  SageAttention attention;
  attention.d_model = 64, attention.weight_seed = 7;
  const auto weights = [&](uint32_t which, int64_t first, size_t count) {
    std::vector<double> out(count);
    SeededWeights(attention, which, first, out);
    return out;
  };
  const std::vector<double> all = weights(0, 0, 4096);
  double sum = 0, low = 1, high = -1;
  for (const double value : all) sum += value, low = std::min(low, value), high = std::max(high, value);
  CHECK(low >= -.125);
  CHECK(high < .125);
  CHECK(high - low > .24);
  CHECK(std::fabs(sum / 4096) < .005);
  // An element is the same wherever a call begins and ends.
  for (int64_t first = 0; first < 40; ++first) {
    for (size_t count = 0; count < 40; ++count) {
      const std::vector<double> some = weights(0, first, count);
      CHECK(std::equal(some.begin(), some.end(), all.begin() + first));
    }
  }
  CHECK(weights(1, 5, 1) != weights(0, 5, 1));
  attention.weight_seed = 8;
  CHECK(weights(0, 5, 1)[0] != all[5]);
}

}  // namespace
