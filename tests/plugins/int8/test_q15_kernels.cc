// test_q15_kernels.cc: the integers that 16-bit fixed point is made of, one by one.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "cpu_features.h"
#include "q15.h"
#include "q15_kernels.h"
#include "q15_numbers.h"

namespace sage::test {
namespace {

using int8::Q15Kernels;
using int8::ScoreFactor;

std::vector<const Q15Kernels*> VectorKernels() {
  std::vector<const Q15Kernels*> tables;
#if defined(__x86_64__)
  if (cpu::Runs(cpu::Isa::kAvx2, cpu::DetectCpu().best)) tables.push_back(&int8::kQ15Avx2);
#elif defined(__aarch64__)
  tables.push_back(&int8::kQ15Neon);
#endif
  return tables;
}

// Any codes; of `ends` the two farthest from 0.
std::vector<int16_t> Codes(std::mt19937_64& random, int64_t count, bool ends) {
  std::vector<int16_t> codes(static_cast<size_t>(count));
  for (int16_t& code : codes)
    code = ends ? (random() % 8 == 0 ? int16_t{32767} : int16_t{-32768}) : static_cast<int16_t>(random());
  return codes;
}

double WeightOf(int64_t difference, const ScoreFactor& factor) {
  int64_t score = -difference;
  int8::kQ15Scalar.weigh(&score, 1, 0, factor);
  return std::ldexp(static_cast<double>(score), -int8::kQ15WeightBits);
}

}  // namespace

TEST_CASE("R20 Q15 kernels: products and sums of every instruction set are the scalar ones") {
  std::mt19937_64 random(1);
  for (const Q15Kernels* kernels : VectorKernels()) {
    for (const int64_t dim : {16, 32, 240, 256, 272, 512, 1040}) {
      for (const bool ends : {false, true}) {
        for (const int64_t keys : {4, 8, 60, 64, 68, 200}) {
          const std::vector<int16_t> q = Codes(random, dim, ends), k = Codes(random, keys * dim, ends);
          std::vector<int64_t> want(static_cast<size_t>(keys)), got = want;
          int8::kQ15Scalar.scores(q.data(), k.data(), dim, keys, want.data());
          kernels->scores(q.data(), k.data(), dim, keys, got.data());
          REQUIRE(got == want);
          REQUIRE(kernels->largest(got.data(), keys - 1) == int8::kQ15Scalar.largest(want.data(), keys - 1));

          std::vector<int64_t> weights(static_cast<size_t>(keys + int8::kQ15ReadsOn));
          for (int64_t& weight : weights)
            weight = ends ? (int64_t{1} << 30) - 1 : static_cast<int64_t>(random() & ((1u << 30) - 1));
          std::vector<int64_t> sums(static_cast<size_t>(dim), -5), expected = sums;
          kernels->accumulate(weights.data(), k.data(), keys / 2, dim, sums.data());
          int8::kQ15Scalar.accumulate(weights.data(), k.data(), keys / 2, dim, expected.data());
          REQUIRE(sums == expected);
        }
      }
    }
  }
}

TEST_CASE("R20 Q15 kernels: weights of every instruction set are the scalar ones") {
  std::mt19937_64 random(2);
  for (const Q15Kernels* kernels : VectorKernels()) {
    for (int round = 0; round < 400; ++round) {
      const int64_t dim = int64_t{1} << random() % 17;
      const double unit =
          std::ldexp(1 + static_cast<double>(random() % 1024) / 1024, static_cast<int>(random() % 80) - 70);
      const ScoreFactor factor = int8::ScoreFactorOf(unit, dim);
      const auto count = static_cast<int64_t>(1 + random() % 70);
      // Differences up to all there can be, most of them small.
      std::vector<int64_t> want(static_cast<size_t>(count));
      const int64_t largest = dim << 30;
      for (int64_t& score : want)
        score = largest - static_cast<int64_t>((random() % (static_cast<uint64_t>(dim) << 31)) >> random() % 48);
      std::vector<int64_t> got = want;
      const uint64_t sum = int8::kQ15Scalar.weigh(want.data(), count, largest, factor);
      REQUIRE(kernels->weigh(got.data(), count, largest, factor) == sum);
      REQUIRE(got == want);
    }
  }
}

TEST_CASE("R20 Q15 numbers: a weight is 2^-x to 2^-22 of itself and 2^-31") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    const int64_t dim = int64_t{1} << random() % 17;
    const double unit =
        std::ldexp(1 + static_cast<double>(random() % 1024) / 1024, static_cast<int>(random() % 60) - 50);
    const ScoreFactor factor = int8::ScoreFactorOf(unit, dim);
    const auto difference = static_cast<int64_t>((random() % (static_cast<uint64_t>(dim) << 31)) >> random() % 48);
    const double want = std::exp2(-unit * static_cast<double>(difference));
    REQUIRE(std::fabs(WeightOf(difference, factor) - want) <= want * 0x1p-22 + 0x1p-31);
  }
  for (const double unit : {0.0, 5e-324, 1e-40, 0x1p-70})
    CHECK(WeightOf(int64_t{1} << 47, int8::ScoreFactorOf(unit, 65536)) > 1 - 0x1p-22);
  for (const double unit : {31.9999999999, 32.0, 40.0, 1e300, HUGE_VAL}) {
    CHECK(WeightOf(0, int8::ScoreFactorOf(unit, 1)) > 1 - 0x1p-29);
    CHECK(WeightOf(1, int8::ScoreFactorOf(unit, 1)) == 0);
    CHECK(WeightOf(int64_t{1} << 47, int8::ScoreFactorOf(-unit, 65536)) == 0);
  }
}

TEST_CASE("R20 Q15 numbers: one rounding at the end, to nearest and saturated") {
  std::mt19937_64 random(4);
  for (int round = 0; round < 50000; ++round) {
    const uint64_t sum = ((uint64_t{1} << 30) - 1) + random() % (uint64_t{1} << (30 + random() % 18));
    const auto most = static_cast<int64_t>(sum) * 32767;
    const int64_t x = static_cast<int64_t>(random() % (2 * static_cast<uint64_t>(most))) - most;
    const double ratio =
        std::ldexp(1 + static_cast<double>(random() % 4096) / 4096, static_cast<int>(random() % 24) - 20);
    const int8::RowDivisor divisor(sum, int8::OutputFactorOf(ratio));
    const double want = static_cast<double>(x) / static_cast<double>(sum) * ratio;
    const double clamped = std::fmin(std::fmax(want, -32768.0), 32767.0);
    REQUIRE(std::fabs(divisor.Code(x) - clamped) <= 0.5 + 0x1p-12);
    const double mantissa = std::ldexp(static_cast<double>(divisor.Mantissa(x)), -divisor.shift());
    REQUIRE(std::fabs(mantissa - want) <= std::fabs(want) * 0x1p-29 + std::ldexp(1.0, -divisor.shift()));
  }
  // Equal weights and equal values come back, whatever the number of keys.
  for (const int64_t keys : {1, 2, 3, 1000, 65537, 262144}) {
    const int64_t weight = (int64_t{1} << 30) - 1;
    const int8::RowDivisor divisor(static_cast<uint64_t>(weight * keys), int8::OutputFactorOf(1));
    for (const int64_t value : {-32768, -32767, -1, 0, 1, 12345, 32767})
      CHECK(divisor.Code(weight * keys * value) == value);
  }
}

}  // namespace sage::test
