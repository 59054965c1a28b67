// test_primitives.cc: each emulated primitive against its definition in the PTX ISA, element by element in the ISA's
// own terms, so that a fragment's layout is written down twice.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "common/cuda/kernels/primitives.h"

namespace sage::cuda {
namespace {

using emu::Launch;
using emu::LaunchOptions;

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": a_i of A, b_i of B, c_i of C.
uint32_t Row16(uint32_t lane, uint32_t i) {
  const uint32_t group_id = lane >> 2;
  return (i < 2) || (i >= 4 && i < 6) ? group_id : group_id + 8;
}
uint32_t Column16(uint32_t lane, uint32_t i) {
  const uint32_t thread_in_group = lane % 4;
  return i < 4 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8;
}
uint32_t RowB16(uint32_t lane, uint32_t i) {
  const uint32_t thread_in_group = lane % 4;
  return i < 2 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8;
}
uint32_t ColumnB(uint32_t lane) { return lane >> 2; }
uint32_t RowC(uint32_t lane, uint32_t i) { return i < 2 ? lane >> 2 : (lane >> 2) + 8; }
uint32_t ColumnC(uint32_t lane, uint32_t i) { return (lane % 4) * 2 + (i & 1); }

// The same of mma.m16n8k32 with 8-bit integers.
uint32_t Row32(uint32_t lane, uint32_t i) {
  const uint32_t group_id = lane >> 2;
  return (i < 4) || (i >= 8 && i < 12) ? group_id : group_id + 8;
}
uint32_t Column32(uint32_t lane, uint32_t i) {
  const uint32_t thread_in_group = lane % 4;
  return i < 8 ? thread_in_group * 4 + (i & 3) : thread_in_group * 4 + (i & 3) + 16;
}
uint32_t RowB32(uint32_t lane, uint32_t i) {
  const uint32_t thread_in_group = lane % 4;
  return i < 4 ? thread_in_group * 4 + (i & 3) : thread_in_group * 4 + (i & 3) + 16;
}

// Small multiples of 1/8: their sums of products are exact in any order.
float Eighths(std::mt19937& random) { return static_cast<float>(static_cast<int>(random() % 65) - 32) / 8; }

template <class T>
void TestMma16816() {
  std::mt19937 random(5);
  T a[16][16], b[16][8];
  float c[16][8], got[16][8];
  for (auto& row : a)
    for (T& x : row) x = prim::FromFloat<T>(Eighths(random));
  for (auto& row : b)
    for (T& x : row) x = prim::FromFloat<T>(Eighths(random));
  for (auto& row : c)
    for (float& x : row) x = Eighths(random);
  CHECK(Launch({.threads = 32}, [&] {
          const uint32_t lane = prim::ThreadX();
          T ai[8], bi[4];
          float ci[4];
          for (uint32_t i = 0; i < 8; ++i) ai[i] = a[Row16(lane, i)][Column16(lane, i)];
          for (uint32_t i = 0; i < 4; ++i) bi[i] = b[RowB16(lane, i)][ColumnB(lane)];
          for (uint32_t i = 0; i < 4; ++i) ci[i] = c[RowC(lane, i)][ColumnC(lane, i)];
          uint32_t registers_a[4], registers_b[2];
          std::memcpy(registers_a, ai, sizeof ai);
          std::memcpy(registers_b, bi, sizeof bi);
          prim::Mma16816<T>(ci, registers_a, registers_b[0], registers_b[1]);
          for (uint32_t i = 0; i < 4; ++i) got[RowC(lane, i)][ColumnC(lane, i)] = ci[i];
        }) == "");
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      float want = c[m][n];
      for (int k = 0; k < 16; ++k) want += prim::ToFloat(a[m][k]) * prim::ToFloat(b[k][n]);
      CHECK(got[m][n] == want);
    }
  }
}

TEST_CASE("primitives: mma.m16n8k16 has the fragments of the PTX ISA in bf16") { TestMma16816<Bf16>(); }
TEST_CASE("primitives: mma.m16n8k16 has the fragments of the PTX ISA in f16") { TestMma16816<F16>(); }

TEST_CASE("primitives: mma.m16n8k32 has the fragments of the PTX ISA in s8") {
  std::mt19937 random(6);
  int8_t a[16][32], b[32][8];
  int32_t c[16][8], got[16][8];
  for (auto& row : a)
    for (int8_t& x : row) x = static_cast<int8_t>(random());
  for (auto& row : b)
    for (int8_t& x : row) x = static_cast<int8_t>(random());
  for (auto& row : c)
    for (int32_t& x : row) x = static_cast<int32_t>(random() % 1000);
  CHECK(Launch({.threads = 32}, [&] {
          const uint32_t lane = prim::ThreadX();
          int8_t ai[16], bi[8];
          int32_t ci[4];
          for (uint32_t i = 0; i < 16; ++i) ai[i] = a[Row32(lane, i)][Column32(lane, i)];
          for (uint32_t i = 0; i < 8; ++i) bi[i] = b[RowB32(lane, i)][ColumnB(lane)];
          for (uint32_t i = 0; i < 4; ++i) ci[i] = c[RowC(lane, i)][ColumnC(lane, i)];
          uint32_t registers_a[4], registers_b[2];
          std::memcpy(registers_a, ai, sizeof ai);
          std::memcpy(registers_b, bi, sizeof bi);
          prim::Mma16832(ci, registers_a, registers_b[0], registers_b[1]);
          for (uint32_t i = 0; i < 4; ++i) got[RowC(lane, i)][ColumnC(lane, i)] = ci[i];
        }) == "");
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      int32_t want = c[m][n];
      for (int k = 0; k < 32; ++k) want += a[m][k] * b[k][n];
      CHECK(got[m][n] == want);
    }
  }
}

// "ldmatrix": threads 8i to 8i+7 give the rows of matrix i; thread t receives of each matrix the elements 2(t%4) and
// 2(t%4)+1 of row t/4. With .trans the matrix is transposed first.
TEST_CASE("primitives: ldmatrix x4 gives row t/4 and with trans column t/4") {
  for (const bool transposed : {false, true}) {
    CHECK(Launch({.threads = 32, .shared_bytes = 2048}, [&] {
            const uint32_t lane = prim::ThreadX(), base = prim::SharedAddress(prim::Shared());
            // Row r of matrix i lies at 64 r + 16 i: element e of it is 100 i + 10 r + e.
            if (lane == 0) {
              for (uint32_t i = 0; i < 4; ++i)
                for (uint32_t r = 0; r < 8; ++r)
                  for (uint32_t e = 0; e < 8; ++e) {
                    const auto value = static_cast<uint16_t>(100 * i + 10 * r + e);
                    std::memcpy(prim::Shared() + 64 * r + 16 * i + 2 * e, &value, 2);
                  }
            }
            prim::SyncWarp();
            uint32_t registers[4];
            const uint32_t address = base + 64 * (lane % 8) + 16 * (lane / 8);
            if (transposed)
              prim::LoadMatrix4Transposed(registers, address);
            else
              prim::LoadMatrix4(registers, address);
            for (uint32_t i = 0; i < 4; ++i) {
              for (uint32_t h = 0; h < 2; ++h) {
                const uint32_t row = lane / 4, element = 2 * (lane % 4) + h;
                const uint32_t want = transposed ? 100 * i + 10 * element + row : 100 * i + 10 * row + element;
                CHECK((registers[i] >> (16 * h) & 0xffff) == want);
              }
            }
          }) == "");
  }
}

TEST_CASE("primitives: shuffles and votes") {
  CHECK(Launch({.threads = 64}, [] {
          const uint32_t thread = prim::ThreadX(), lane = thread % 32, warp = thread / 32;
          CHECK(prim::ShuffleXor(thread, 5) == 32 * warp + (lane ^ 5));
          CHECK(prim::Shuffle(static_cast<float>(thread), 7) == static_cast<float>(32 * warp + 7));
          CHECK(prim::Shuffle(thread, 31 - lane) == 32 * warp + 31 - lane);
          CHECK(prim::ShuffleDown(thread, 3) == 32 * warp + (lane + 3 < 32 ? lane + 3 : lane));
          CHECK(prim::Ballot(lane % 3 == 0) == 0x49249249u);
          CHECK(prim::Any(lane == 9));
          CHECK_FALSE(prim::Any(lane == 32));
          CHECK(prim::All(lane < 32));
          CHECK_FALSE(prim::All(lane != 30));
          for (uint32_t round = 0; round < 9; ++round)
            CHECK(prim::SyncThreadsOr(round % 2 == 0 && thread == 40 + round) == (round % 2 == 0));
        }) == "");
}

TEST_CASE("primitives: the largest and the smallest of a warp") {
  CHECK(Launch({.threads = 64}, [] {
          const uint32_t thread = prim::ThreadX(), lane = thread % 32, warp = thread / 32;
          CHECK(prim::WarpMax((lane * 7 + 5) % 32 + 100 * warp) == 31 + 100 * warp);
          CHECK(prim::WarpMin((lane * 7 + 5) % 32 + 100 * warp) == 100 * warp);
          CHECK(prim::WarpMax(lane == 9 ? ~0u : 0) == ~0u);  // unsigned
          CHECK(prim::WarpMin(lane == 9 ? 1u << 31 : ~0u) == 1u << 31);
        }) == "");
}

TEST_CASE("primitives: functions that the small kinds use") {
  CHECK(prim::Rint(2.5f) == 2);
  CHECK(prim::Rint(3.5) == 4);
  CHECK(prim::Rint(-0.5) == 0);
  CHECK(prim::Sqrt(2.0f) == 1.41421356f);
  CHECK(prim::Sqrt(2.0) == 1.4142135623730951);
  CHECK(prim::Abs(-3.0f) == 3);
  CHECK(std::signbit(prim::Abs(-0.0)) == false);
  CHECK(prim::Erfc(0.0f) == 1);
  CHECK(prim::Erfc(6.0) == doctest::Approx(2.1519736712498913e-17).epsilon(1e-14));  // 1 - erf(6) would be 0
  CHECK(prim::Expm1(1e-10) == doctest::Approx(1.00000000005e-10).epsilon(1e-14));
  CHECK(prim::Expm1(-100.0f) == -1);
}

TEST_CASE("primitives: cp.async is seen after the wait for its group and not before") {
  std::vector<uint32_t> from(64);
  for (uint32_t i = 0; i < 64; ++i) from[i] = i;
  uint32_t early = 0, late = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CHECK(Launch({.threads = 32, .shared_bytes = 1024, .seed = seed}, [&] {
            const uint32_t lane = prim::ThreadX(), base = prim::SharedAddress(prim::Shared());
            auto* words = reinterpret_cast<uint32_t*>(prim::Shared());
            if (lane >= 8) return;
            prim::CopyAsync16(base + 16 * lane, from.data() + 4 * lane, true);
            prim::CopyAsyncCommit();
            prim::CopyAsync16(base + 512 + 16 * lane, from.data() + 32 + 4 * lane, lane % 2 == 0);
            prim::CopyAsync4(base + 768 + 4 * lane, from.data() + lane, true);
            prim::CopyAsyncCommit();
            prim::CopyAsyncWait<1>();
            for (uint32_t i = 0; i < 4; ++i) CHECK(words[4 * lane + i] == 4 * lane + i);
            ++(words[192 + lane] == 0xffffffffu ? late : early);
            prim::CopyAsyncWait<0>();
            for (uint32_t i = 0; i < 4; ++i)
              CHECK(words[128 + 4 * lane + i] == (lane % 2 == 0 ? 32 + 4 * lane + i : 0));
            CHECK(words[192 + lane] == lane);
          }) == "");
  }
  CHECK(late > 100);
  CHECK(Launch({.threads = 32, .shared_bytes = 1024}, [&] {
          prim::CopyAsync4(prim::SharedAddress(prim::Shared()), from.data(), true);
          prim::CopyAsyncCommit();
        }).find("not waited for") != std::string::npos);
  CHECK(Launch({.threads = 32, .shared_bytes = 1024}, [&] {
          prim::CopyAsync16(prim::SharedAddress(prim::Shared()), from.data() + 1, true);
        }).find("cp.async from an address") != std::string::npos);
}

TEST_CASE("primitives: 16 bytes of global memory at once and from multiples of 16 alone") {
  alignas(16) uint32_t from[12];
  for (uint32_t i = 0; i < 12; ++i) from[i] = 100 + i;
  CHECK(Launch({.threads = 32}, [&] {
          const prim::Words4 words = prim::Load16(from + 4), once = prim::LoadOnce16(from + 8);
          for (uint32_t i = 0; i < 4; ++i) {
            CHECK(words.word[i] == 104 + i);
            CHECK(once.word[i] == 108 + i);
          }
        }) == "");
  CHECK(Launch({.threads = 32}, [&] { (void)prim::LoadOnce16(from + 2); }).find("no multiple of 16") !=
        std::string::npos);
}

TEST_CASE("primitives: numbers to integers of 32 bits and functions") {
  CHECK(prim::ToInt32(2.5) == 2);
  CHECK(prim::ToInt32(3.5) == 4);
  CHECK(prim::ToInt32(-0.51) == -1);
  CHECK(prim::ToInt32(2147483647.4) == INT32_MAX);
  CHECK(prim::ToInt32(1e30) == INT32_MAX);
  CHECK(prim::ToInt32(-HUGE_VAL) == INT32_MIN);
  CHECK(prim::ToInt32(NAN) == 0);
  CHECK(prim::Erfc(0.0) == 1.0);
  CHECK(prim::Erfc(1.0) == doctest::Approx(0.157299207050285));
  CHECK(prim::Erfc(9.0f) > 0.0f);  // 1 - erf would have been 0
  CHECK(prim::Sqrt(2.0f) == 0x1.6a09e6p0f);
  CHECK(std::isnan(prim::Sqrt(-1.0)));
}

TEST_CASE("primitives: 16-bit floats are rounded to nearest even and keep NaN and infinity") {
  // Each number of the type comes back; between two of them the nearer one, and at half the even one.
  const auto walk = [](auto type, uint32_t infinity) {
    using T = decltype(type);
    for (uint32_t bits = 0; bits < infinity; ++bits) {
      const float low = prim::ToFloat(T{static_cast<uint16_t>(bits)});
      CHECK(prim::FromFloat<T>(low).bits == bits);
      CHECK(prim::FromFloat<T>(-low).bits == (bits | 0x8000));
      if (bits + 1 == infinity) break;
      const float high = prim::ToFloat(T{static_cast<uint16_t>(bits + 1)}), half = low + (high - low) / 2;
      if (half <= low || half >= high) continue;  // below float's own steps
      CHECK(prim::FromFloat<T>(half).bits == bits + bits % 2);
      CHECK(prim::FromFloat<T>(std::nextafter(half, low)).bits == bits);
      CHECK(prim::FromFloat<T>(std::nextafter(half, high)).bits == bits + 1);
    }
    CHECK(prim::FromFloat<T>(HUGE_VALF).bits == infinity);
    CHECK(std::isinf(prim::ToFloat(T{static_cast<uint16_t>(infinity)})));
    CHECK(std::isnan(prim::ToFloat(prim::FromFloat<T>(NAN))));
  };
  walk(Bf16{}, 0x7f80);
  walk(F16{}, 0x7c00);
  CHECK(prim::ToFloat(F16{0x3c00}) == 1.0f);
  CHECK(prim::ToFloat(F16{0x0001}) == 0x1p-24f);
  CHECK(prim::ToFloat(Bf16{0x3f80}) == 1.0f);
  CHECK(prim::FromFloat<F16>(65520.0f).bits == 0x7c00);
  CHECK(prim::Pack<F16>(1.0f, 2.0f) == 0x40003c00u);
}

TEST_CASE("primitives: floats are rounded to the nearest integer and halves to the even one") {
  for (int32_t i = -300; i <= 300; ++i) {
    const float x = static_cast<float>(i);
    CHECK(prim::RoundToInt(x) == i);
    CHECK(prim::RoundToInt(x + 0.5f) == (i % 2 == 0 ? i : i + 1));
    CHECK(prim::RoundToInt(std::nextafter(x + 0.5f, x)) == i);
    CHECK(prim::RoundToInt(std::nextafter(x + 0.5f, x + 1)) == i + 1);
  }
  CHECK(prim::RoundToInt(-2147483648.0f) == INT32_MIN);
}

}  // namespace
// What the merge of partial results rests on.
TEST_CASE("cuda emulation: the last of interleaved blocks to take a ticket reads what all of them wrote") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    constexpr uint32_t kBlocks = 6;
    float written[kBlocks][32], sum = 0;
    for (auto& row : written)
      for (float& x : row) x = -1000;
    uint32_t tickets = 0, last_blocks = 0;
    const std::string failure =
        Launch({.grid = {kBlocks, 1, 1}, .threads = 64, .seed = seed, .resident_blocks = 4}, [&] {
          const uint32_t block = prim::BlockX(), thread = prim::ThreadX();
          if (thread >= 32) written[block][thread - 32] = static_cast<float>(block * 32 + thread - 32);
          prim::ThreadFence();
          prim::SyncThreads();
          bool last = false;
          if (thread == 0) last = prim::AtomicAdd(&tickets, 1) == kBlocks - 1;
          if (!prim::SyncThreadsOr(last)) return;
          prim::ThreadFence();
          if (thread != 0) return;
          ++last_blocks;
          for (const auto& row : written)
            for (const float& x : row) sum += prim::LoadFromAll(&x);
        });
    CHECK(failure == "");
    CHECK(tickets == kBlocks);
    CHECK(last_blocks == 1);
    CHECK(sum == kBlocks * 32 * (kBlocks * 32 - 1) / 2);
  }
}

}  // namespace sage::cuda
