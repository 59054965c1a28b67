// test_primitives_wgmma.cc: warpgroup products and the trade of registers of sm_90a against their definition in the PTX
// ISA, in the ISA's own terms.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "primitives_testing.h"

namespace sage::cuda {
namespace {

enum class Layout { kNone, k128, k64, k32 };  // the values of a descriptor's bits 62 and 63
uint32_t WidthOf(Layout layout) { return layout == Layout::k128 ? 128 : layout == Layout::k64 ? 64 : 32; }

// Where an element of a canonical layout lies, by 8 rows of pieces of 16 bytes that swizzling exchanges.
uint32_t Place(Layout layout, bool mn_major, uint32_t mn, uint32_t k, uint32_t leading, uint32_t stride) {
  if (layout == Layout::kNone) return mn / 8 * stride + k / 8 * leading + mn % 8 * 16 + k % 8 * 2;  // 8 x 16 bytes
  const uint32_t width = WidthOf(layout), columns = width / 2;
  const uint32_t row = mn_major ? k : mn, column = mn_major ? mn : k;
  const uint32_t piece = column % columns / 8, line = row % 8 * width;
  // Pieces are exchanged by the number of the 128 bytes that they are in; eight rows are 1024, 512 or 256 bytes.
  return row / 8 * stride + column / columns * leading + line + (piece ^ line / 128) * 16 + column % 8 * 2;
}

uint64_t Describe(uint32_t start, uint32_t leading, uint32_t stride, Layout layout) {
  const auto encoded = [](uint32_t x) { return uint64_t{(x & 0x3ffff) >> 4}; };
  return encoded(start) | encoded(leading) << 16 | encoded(stride) << 32 | static_cast<uint64_t>(layout) << 62;
}

// D = A B (+ D) for one warpgroup. A: 64 x 16, B: 16 x N.
template <class T, int N>
void TestWgmma(Layout layout, bool registers, bool accumulate, uint64_t seed) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  std::vector<float> a(64 * 16), b(16 * N), c(64 * N), got(64 * N, -1);
  for (std::vector<float>* matrix : {&a, &b, &c})
    for (float& x : *matrix) x = Eighths(random);
  const uint32_t width = layout == Layout::kNone ? 16 : WidthOf(layout);
  const uint32_t stride = layout == Layout::kNone ? 256 : 8 * width, leading_k = 128;
  const uint32_t leading_mn = registers ? 2 * stride : leading_k;  // 16 rows of a block of columns
  constexpr uint32_t kA = 1024, kB = 16384;
  const auto store = [&](uint32_t at, float value) {
    const T narrow = prim::FromFloat<T>(value);
    std::memcpy(prim::SharedPointer(prim::SharedAddress(prim::Shared()) + at), &narrow, 2);
  };
  const std::string failure = Launch(Threads(128, 49152, seed), [&] {
    const uint32_t thread = prim::ThreadX(), base = prim::SharedAddress(prim::Shared());
    if (thread == 0) {
      for (uint32_t k = 0; k < 16; ++k) {
        for (uint32_t m = 0; m < 64; ++m) store(kA + Place(layout, false, m, k, leading_k, stride), a[m * 16 + k]);
        for (uint32_t n = 0; n < N; ++n) store(kB + Place(layout, registers, n, k, leading_mn, stride), b[k * N + n]);
      }
    }
    prim::SyncThreads();
    // PTX ISA, "WGMMA: accumulator fragment": d_i of a thread.
    const auto row = [&](uint32_t i) { return 16 * (thread / 32) + thread % 32 / 4 + (i % 4 < 2 ? 0 : 8); };
    const auto column = [&](uint32_t i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; };
    float d[N / 2];
    for (uint32_t i = 0; i < N / 2; ++i) d[i] = c[row(i) * N + column(i)];
    // "Matrix A fragment for wgmma .m64nNk16": a0,a1 row g; a2,a3 row g + 8; a4.. the same 8 columns further.
    uint32_t left[4];
    const uint32_t first = 16 * (thread / 32) + thread % 32 / 4, at = thread % 4 * 2;
    for (uint32_t i = 0; i < 4; ++i) {
      const float* pair = &a[(first + i % 2 * 8) * 16 + at + i / 2 * 8];
      left[i] = prim::Pack<T>(pair[0], pair[1]);
    }
    prim::WgmmaFence();
    const uint64_t right = Describe(base + kB, leading_mn, stride, layout);
    if (registers)
      prim::Wgmma<T, N>::Registers(d, left, right);
    else
      prim::Wgmma<T, N>::Shared(d, Describe(base + kA, leading_k, stride, layout), right, accumulate);
    prim::WgmmaCommit();
    prim::WgmmaWait<0>();
    for (uint32_t i = 0; i < N / 2; ++i) got[row(i) * N + column(i)] = d[i];
  });
  REQUIRE(failure == "");
  for (uint32_t m = 0; m < 64; ++m)
    for (uint32_t n = 0; n < N; ++n) {
      float want = accumulate || registers ? c[m * N + n] : 0;
      for (uint32_t k = 0; k < 16; ++k) want += a[m * 16 + k] * b[k * N + n];
      REQUIRE(got[m * N + n] == want);
    }
}

}  // namespace

TEST_CASE("G9 wgmma: both operands in shared memory under every swizzle") {
  uint64_t seed = 0;
  for (const Layout layout : {Layout::kNone, Layout::k128, Layout::k64, Layout::k32})
    for (const bool accumulate : {false, true}) {
      CAPTURE(static_cast<int>(layout));
      TestWgmma<Bf16, 64>(layout, false, accumulate, ++seed);
      TestWgmma<F16, 128>(layout, false, accumulate, ++seed);
      TestWgmma<Bf16, 8>(layout, false, accumulate, ++seed);
    }
  TestWgmma<Bf16, 256>(Layout::k128, false, true, 99);
  TestWgmma<F16, 176>(Layout::k128, false, true, 98);
}

TEST_CASE("G9 wgmma: A in registers and B with its columns contiguous") {
  uint64_t seed = 0;
  for (const Layout layout : {Layout::k128, Layout::k64, Layout::k32}) {
    CAPTURE(static_cast<int>(layout));
    TestWgmma<Bf16, 64>(layout, true, true, ++seed);
    TestWgmma<F16, 128>(layout, true, true, ++seed);
    TestWgmma<Bf16, 256>(layout, true, true, ++seed);
  }
}

namespace {

// One product of zeros; use(d, descriptor) issues it.
std::string WgmmaFailure(uint64_t seed, const std::function<void(float (&)[4], uint64_t)>& use) {
  return Launch(Threads(128, 8192, seed), [&] {
    const uint32_t base = prim::SharedAddress(prim::Shared());
    for (uint32_t i = prim::ThreadX(); i < 8192; i += 128) prim::Shared()[i] = 0;
    prim::SyncThreads();
    float d[4] = {1, 2, 3, 4};
    use(d, prim::MatrixDescriptor(base, 16));
  });
}

}  // namespace

TEST_CASE("G9 wgmma: what is wrong with its use is said") {
  using Product = prim::Wgmma<Bf16, 8>;
  CHECK(Says(WgmmaFailure(1, [](float(&d)[4], uint64_t m) { Product::Shared(d, m, m, 1); }), "without wgmma.fence"));
  CHECK(Says(WgmmaFailure(1,
                          [](float(&d)[4], uint64_t m) {
                            prim::WgmmaFence();
                            Product::Shared(d, m, m, 1);
                            prim::WgmmaCommit();
                            prim::WgmmaWait<1>();
                            prim::SyncThreads();
                            if (prim::ThreadX() != 0) prim::WgmmaWait<0>();
                          }),
             "not waited for"));
  CHECK(Says(WgmmaFailure(1,
                          [](float(&d)[4], uint64_t m) {
                            prim::WgmmaFence();
                            Product::Shared(d, m + (prim::ThreadX() == 77 ? 2 : 0), m, 1);
                            prim::WgmmaCommit();
                            prim::WgmmaWait<0>();
                          }),
             "different wgmma products"));
  CHECK(Says(WgmmaFailure(1,
                          [](float(&d)[4], uint64_t m) {
                            prim::WgmmaFence();
                            if (prim::ThreadX() != 5) Product::Shared(d, m, m, 1);
                            prim::WgmmaCommit();
                            prim::WgmmaWait<0>();
                          }),
             "deadlock"));
  CHECK(Says(WgmmaFailure(1,
                          [](float(&d)[4], uint64_t m) {
                            prim::WgmmaFence();
                            Product::Shared(d, m | uint64_t{1} << 49, m, 1);
                            prim::WgmmaCommit();
                            prim::WgmmaWait<0>();
                          }),
             "base offset"));
}

TEST_CASE("G9 wgmma: a wait for all groups but the last leaves the last alone") {
  int early = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    bool first_there = true, last_there = true;
    const std::string failure = WgmmaFailure(seed, [&](float(&d)[4], uint64_t m) {
      float e[4] = {1, 2, 3, 4};
      prim::WgmmaFence();
      prim::Wgmma<Bf16, 8>::Shared(d, m, m, 0);
      prim::WgmmaCommit();
      prim::Wgmma<Bf16, 8>::Shared(e, m, m, 0);
      prim::WgmmaCommit();
      prim::WgmmaWait<1>();
      first_there = first_there && d[0] == 0 && d[3] == 0;
      last_there = last_there && e[0] == 0;
      prim::WgmmaWait<0>();
      if (e[0] != 0 || e[3] != 0) first_there = false;
    });
    CHECK(failure == "");
    CHECK(first_there);
    early += last_there ? 1 : 0;
  }
  CHECK(early > 0);   // it may be there
  CHECK(early < 12);  // and need not be
}

TEST_CASE("G9 setmaxnreg: warpgroups trade what there is") {
  const auto trade = [](auto down, auto up) {
    return Launch(Threads(384, 0, 1), [&] { prim::ThreadX() < 128 ? down() : up(); });
  };
  CHECK(trade([] { prim::RegistersDown<40>(); }, [] { prim::RegistersUp<232>(); }) == "");
  CHECK(Says(trade([] { prim::RegistersDown<40>(); }, [] { prim::RegistersUp<240>(); }), "deadlock"));
  CHECK(Says(trade([] { prim::RegistersUp<40>(); }, [] {}), "other direction"));
  CHECK(Says(trade([] { prim::ThreadX() < 32 ? prim::RegistersDown<40>() : prim::RegistersDown<24>(); }, [] {}),
             "different numbers"));
  CHECK(Says(trade(
                 [] {
                   if (prim::ThreadX() != 9) prim::RegistersDown<40>();
                 },
                 [] {}),
             "deadlock"));
}

}  // namespace sage::cuda
