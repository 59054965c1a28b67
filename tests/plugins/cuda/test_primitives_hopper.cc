// test_primitives_hopper.cc: barriers, copies by TMA and clusters of sm_90a, each emulated primitive against its
// definition in the PTX ISA, in the ISA's own terms, so that layouts are written down twice; and what a kernel gets to
// hear that uses one wrongly. Products are in test_primitives_wgmma.cc.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "primitives_testing.h"

namespace sage::cuda {

TEST_CASE("G9 mbarrier: a phase ends with its last arrival") {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    int arrived = 0, seen[2] = {};
    const std::string failure = Launch(Threads(64, 64, seed), [&] {
      const uint32_t barrier = prim::SharedAddress(prim::Shared());
      if (prim::ThreadX() == 0) {
        prim::MbarrierInit(barrier, 32);
        prim::MbarrierWait(barrier, 1);  // of a phase before the first: over
      }
      prim::SyncThreads();
      for (uint32_t phase = 0; phase < 2; ++phase) {
        if (prim::ThreadX() >= 32) {
          ++arrived;
          prim::MbarrierArrive(barrier);
        }
        prim::MbarrierWait(barrier, phase);
        if (prim::ThreadX() == 0) seen[phase] = arrived;
        prim::SyncThreads();
      }
    });
    CHECK(failure == "");
    CHECK(seen[0] == 32);
    CHECK(seen[1] == 64);
  }
}

TEST_CASE("G9 mbarrier: what is wrong with its use is said") {
  const auto failure = [](uint32_t arrivals, const std::function<void(uint32_t)>& use) {
    return Launch(Threads(32, 64, 1), [&] {
      const uint32_t barrier = prim::SharedAddress(prim::Shared()) + 8;
      if (prim::ThreadX() != 0) return;
      if (arrivals > 0) prim::MbarrierInit(barrier, arrivals);
      use(barrier);
    });
  };
  CHECK(Says(failure(0, [](uint32_t b) { prim::MbarrierArrive(b); }), "no barrier was made"));
  CHECK(Says(failure(1, [](uint32_t b) { prim::MbarrierInit(b, 1); }), "that is there"));
  CHECK(
      Says(failure(2, [](uint32_t b) { prim::MbarrierArrive(b), prim::MbarrierWait(b, 0); }), "mbarrier.try_wait at"));
  CHECK(Says(failure(1, [](uint32_t b) { prim::MbarrierArriveExpect(b, 16), prim::MbarrierWait(b, 0); }), "deadlock"));
  CHECK(Says(failure(1, [](uint32_t b) { prim::MbarrierArriveExpect(b, 16), prim::MbarrierArrive(b); }), "once more"));
  CHECK(Says(failure(1, [](uint32_t b) { prim::MbarrierArriveExpect(b, 1 << 20); }), "2^20 - 1"));
  CHECK(Says(failure(1, [](uint32_t b) { std::memset(prim::SharedPointer(b), 0, 8), prim::MbarrierArrive(b); }),
             "overwritten"));
  CHECK(failure(1, [](uint32_t b) {
          prim::MbarrierArrive(b), prim::MbarrierWait(b, 0), prim::MbarrierWait(b, 1 ^ 1);
        }) == "");
}

namespace {

// A tensor of 16-bit numbers, each its own index, with padded strides.
struct Numbers {
  explicit Numbers(int rank) {
    shape.rank = rank;
    int64_t stride = 1;
    for (int axis = 0; axis < rank; ++axis) {
      shape.size[axis] = sizes[axis];
      shape.stride[axis] = 2 * stride;
      shape.box[axis] = boxes[axis];
      stride = axis == 0 ? 104 : stride * (sizes[axis] + 1);
    }
    memory.resize(static_cast<size_t>(stride) + 8);
    for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<uint16_t>(i % 60000);
    // The allocator aligns to 16 bytes.
    shape.address = memory.data();
  }
  // By definition: zero outside.
  uint16_t At(const int64_t* index) const {
    int64_t offset = index[0];
    if (index[0] < 0 || index[0] >= shape.size[0]) return 0;
    for (int axis = 1; axis < shape.rank; ++axis) {
      if (index[axis] < 0 || index[axis] >= shape.size[axis]) return 0;
      offset += index[axis] * shape.stride[axis] / 2;
    }
    return memory[static_cast<size_t>(offset)];
  }
  static constexpr int64_t sizes[5] = {96, 21, 3, 2, 4};
  static constexpr int32_t boxes[5] = {64, 16, 2, 1, 3};
  TensorMapShape shape;
  std::vector<uint16_t> memory;
};

template <int kRank>
void TestTmaLoad(const int32_t (&at)[kRank], uint64_t seed) {
  const Numbers numbers(kRank);
  TensorMap map;
  map.shape = numbers.shape;
  uint32_t rows = 1;
  for (int axis = 1; axis < kRank; ++axis) rows *= static_cast<uint32_t>(Numbers::boxes[axis]);
  std::vector<uint16_t> got(rows * 64), before(rows * 64);
  const std::string failure = Launch(Threads(32, 1024 + rows * 128, seed), [&] {
    if (prim::ThreadX() != 0) return;
    const uint32_t barrier = prim::SharedAddress(prim::Shared()), to = barrier + 1024;
    prim::MbarrierInit(barrier, 1);
    prim::MbarrierArriveExpect(barrier, rows * 128);
    prim::TmaLoad(to, map, barrier, at);
    std::memcpy(before.data(), prim::SharedPointer(to), before.size() * 2);
    prim::MbarrierWait(barrier, 0);
    std::memcpy(got.data(), prim::SharedPointer(to), got.size() * 2);
  });
  REQUIRE(failure == "");
  for (const uint16_t bits : before) REQUIRE(bits == 0xffff);  // nothing may be read before the wait
  for (uint32_t row = 0; row < rows; ++row)
    for (uint32_t column = 0; column < 64; ++column) {
      int64_t index[5] = {at[0] + static_cast<int64_t>(column)};
      uint32_t rest = row;
      for (int axis = 1; axis < kRank; ++axis) {
        const auto side = static_cast<uint32_t>(Numbers::boxes[axis]);
        index[axis] = at[axis] + static_cast<int64_t>(rest % side);
        rest /= side;
      }
      // 128-byte swizzle: of eight rows of eight pieces of 16 bytes, piece c of row r is at c XOR r.
      const uint32_t piece = (column / 8) ^ (row % 8);
      CHECK(got[row * 64 + piece * 8 + column % 8] == numbers.At(index));
    }
}

}  // namespace

TEST_CASE("G9 TMA: boxes of 2 to 5 axes land swizzled and are zero outside of the tensor") {
  TestTmaLoad<2>({0, 0}, 1);
  TestTmaLoad<2>({64, 10}, 2);
  TestTmaLoad<2>({-8, -3}, 3);
  TestTmaLoad<3>({32, 4, 1}, 4);
  TestTmaLoad<3>({0, 20, 2}, 5);
  TestTmaLoad<4>({64, 8, 2, 1}, 6);
  TestTmaLoad<4>({0, 0, 0, 2}, 7);
  TestTmaLoad<4>({0, 0, 0, -1}, 7);
  TestTmaLoad<5>({16, 8, 1, 1, 2}, 8);
}

TEST_CASE("G9 TMA: a store writes what lies inside of the tensor once it is waited for") {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Numbers numbers(4);
    const Numbers untouched(4);
    TensorMap map;
    map.shape = numbers.shape;
    const int32_t at[4] = {64, 12, 1, 1};
    const std::string failure = Launch(Threads(32, 4096, seed), [&] {
      if (prim::ThreadX() != 0) return;
      auto* shared = reinterpret_cast<uint16_t*>(prim::Shared());
      for (uint32_t row = 0; row < 32; ++row)
        for (uint32_t column = 0; column < 64; ++column)
          shared[row * 64 + ((column / 8) ^ (row % 8)) * 8 + column % 8] = static_cast<uint16_t>(row * 64 + column);
      prim::FenceAsyncShared();
      prim::TmaStore(map, prim::SharedAddress(prim::Shared()), at);
      prim::TmaStoreCommit();
      prim::TmaStoreWaitRead<0>();
      std::memset(prim::Shared(), 0xee, 4096);  // free again
      prim::TmaStoreWait<0>();
    });
    CHECK(failure == "");
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < 3; ++h)
        for (int64_t s = 0; s < 21; ++s)
          for (int64_t d = 0; d < 96; ++d) {
            const int64_t index[4] = {d, s, h, b};
            const bool inside = b == 1 && h >= 1 && s >= 12 && d >= 64;
            const auto written = static_cast<uint16_t>(((h - 1) * 16 + s - 12) * 64 + d - 64);
            REQUIRE(numbers.At(index) == (inside && s < 28 ? written : untouched.At(index)));
          }
  }
}

TEST_CASE("G9 TMA: a store of five axes takes rows of a box in the order of their axes") {
  Numbers numbers(5);
  const Numbers untouched(5);
  TensorMap map;
  map.shape = numbers.shape;
  const int32_t at[5] = {64, 12, 1, 1, 2};
  const std::string failure = Launch(Threads(32, 16384, 3), [&] {
    if (prim::ThreadX() != 0) return;
    const uint32_t base = prim::SharedAddress(prim::Shared());
    for (uint32_t row = 0; row < 96; ++row)
      for (uint32_t column = 0; column < 64; ++column) {
        const uint32_t to = base + row * 128 + ((column / 8) ^ (row % 8)) * 16 + column % 8 * 2;
        if (row < 48)
          prim::StoreShared16(to, static_cast<uint16_t>(row * 64 + column));
        else if (column % 2 == 0)
          prim::StoreShared32(to, (row * 64 + column) | (row * 64 + column + 1) << 16);
      }
    prim::FenceAsyncShared();
    prim::TmaStore(map, base, at);
    prim::TmaStoreCommit();
    prim::TmaStoreWait<0>();
  });
  CHECK(failure == "");
  for (int64_t p = 0; p < 4; ++p)
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < 3; ++h)
        for (int64_t s = 0; s < 21; ++s)
          for (int64_t d = 0; d < 96; ++d) {
            const int64_t index[5] = {d, s, h, b, p};
            const bool inside = p >= 2 && b == 1 && h >= 1 && s >= 12 && d >= 64;
            const auto written = static_cast<uint16_t>((((p - 2) * 2 + h - 1) * 16 + s - 12) * 64 + d - 64);
            REQUIRE(numbers.At(index) == (inside ? written : untouched.At(index)));
          }
}

TEST_CASE("G9 TMA: what a thread wrote is stored after its own fence and no other") {
  const auto failure = [](const std::function<void(uint32_t, uint32_t)>& write) {
    Numbers numbers(4);
    TensorMap map;
    map.shape = numbers.shape;
    const int32_t at[4] = {};
    return Launch(Threads(32, 8192, 1), [&] {
      const uint32_t base = prim::SharedAddress(prim::Shared()), thread = prim::ThreadX();
      write(base, thread);
      prim::SyncThreads();
      if (thread != 0) return;
      prim::TmaStore(map, base, at);
      prim::TmaStoreCommit();
      prim::TmaStoreWait<0>();
    });
  };
  const auto put = [](uint32_t base, uint32_t thread) { prim::StoreShared32(base + 128 * thread, thread); };
  CHECK(failure([&](uint32_t b, uint32_t t) { put(b, t), prim::FenceAsyncShared(); }) == "");
  CHECK(Says(failure(put), "did not fence"));
  CHECK(Says(failure([&](uint32_t b, uint32_t t) {
               put(b, t), prim::SyncThreads();
               if (t == 0) prim::FenceAsyncShared();
             }),
             "did not fence"));
  CHECK(Says(failure([&](uint32_t b, uint32_t t) {
               put(b, t), prim::FenceAsyncShared();
               if (t == 5) prim::StoreShared16(b + 4094, 1);
             }),
             "thread 5 wrote"));
  // What TMA does not read is nobody's business.
  CHECK(failure([&](uint32_t b, uint32_t t) {
          put(b, t), prim::FenceAsyncShared();
          if (t == 5) prim::StoreShared16(b + 4096, 1);
        }) == "");
}

TEST_CASE("G9 TMA: what is wrong with its use is said") {
  const auto failure = [](const std::function<void(TensorMap&, uint32_t)>& use) {
    Numbers numbers(4);
    TensorMap map;
    map.shape = numbers.shape;
    return Launch(Threads(32, 8192, 1), [&] {
      if (prim::ThreadX() != 0) return;
      const uint32_t base = prim::SharedAddress(prim::Shared());
      prim::MbarrierInit(base, 1);
      use(map, base);
    });
  };
  const int32_t at[4] = {}, short_at[3] = {};
  CHECK(Says(failure([&](TensorMap& m, uint32_t b) { prim::TmaLoad(b + 1024, m, b, short_at); }), "3 coordinates"));
  CHECK(Says(failure([&](TensorMap& m, uint32_t b) { prim::TmaLoad(b + 1032, m, b, at); }), "multiple of 128"));
  CHECK(Says(failure([&](TensorMap& m, uint32_t b) { prim::TmaLoad(b + 7168, m, b, at); }), "the block has"));
  CHECK(Says(failure([&](TensorMap& m, uint32_t b) { prim::TmaLoad(b + 1024, m, b + 8, at); }), "no barrier"));
  CHECK(Says(failure([&](TensorMap& m, uint32_t b) { prim::TmaLoad(b + 1024, m, b, at); }), "on their way"));
  CHECK(Says(failure([&](TensorMap& m, uint32_t b) { m.shape.stride[1] += 2, prim::TmaLoad(b + 1024, m, b, at); }),
             "multiple of 16"));
  CHECK(Says(failure([&](TensorMap& m, uint32_t b) { prim::TmaStore(m, b + 1024, at); }), "not committed"));
  CHECK(Says(failure([&](TensorMap& m, uint32_t b) { prim::TmaStore(m, b + 1024, at), prim::TmaStoreCommit(); }),
             "may still read"));
}

TEST_CASE("G9 clusters: a box lands in every block that is named and arrives at each one's own barrier") {
  const Numbers numbers(4);
  TensorMap map;
  map.shape = numbers.shape;
  const int32_t at[4] = {0, 2, 0, 0};
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    std::vector<uint16_t> got[2];
    emu::LaunchOptions options = Threads(32, 8192, seed);
    options.grid.x = 4, options.cluster = 2, options.resident_blocks = 2;
    const std::string failure = Launch(options, [&] {
      const uint32_t barrier = prim::SharedAddress(prim::Shared()), to = barrier + 1024, rank = prim::ClusterRank();
      if (prim::ThreadX() == 0) {
        prim::MbarrierInit(barrier, 1);
        prim::MbarrierInit(barrier + 8, 2);
      }
      prim::ClusterSync();
      if (prim::ThreadX() == 0) {
        prim::MbarrierArriveExpect(barrier, 4096);
        if (rank == 1) prim::TmaLoadMulticast(to, map, barrier, at, 3);
        prim::MbarrierWait(barrier, 0);
        got[rank].resize(2048);
        std::memcpy(got[rank].data(), prim::SharedPointer(to), 4096);
        for (uint32_t other = 0; other < 2; ++other) prim::MbarrierArriveAt(barrier + 8, other);
        prim::MbarrierWaitCluster(barrier + 8, 0);  // both have said so
      }
      prim::ClusterSync();
    });
    REQUIRE(failure == "");
    CHECK(got[0] == got[1]);
    const int64_t index[4] = {0, 2, 0, 0};
    CHECK(got[0][0] == numbers.At(index));
  }
}

TEST_CASE("G9 clusters: what is wrong with their use is said") {
  const auto failure = [](uint32_t blocks, const std::function<void(uint32_t, uint32_t)>& use) {
    emu::LaunchOptions options = Threads(32, 64, 1);
    options.grid.x = blocks, options.cluster = 2, options.resident_blocks = 2;
    return Launch(options, [&] {
      if (prim::ThreadX() == 0) use(prim::SharedAddress(prim::Shared()), prim::ClusterRank());
    });
  };
  CHECK(Says(failure(3, [](uint32_t, uint32_t) {}), "no whole number of clusters"));
  CHECK(Says(failure(2, [](uint32_t b, uint32_t) { prim::MbarrierArriveAt(b, 2); }), "at block 2 of a cluster of 2"));
  CHECK(Says(failure(2,
                     [](uint32_t b, uint32_t rank) {
                       if (rank == 0) prim::MbarrierArriveAt(b, 1);
                     }),
             "no barrier was made"));
  CHECK(Says(failure(2,
                     [](uint32_t, uint32_t rank) {
                       if (rank == 1) prim::ClusterSync();
                     }),
             "barrier.cluster"));
}

TEST_CASE("G9 TMA: tensor maps are held to the driver's limits") {
  const Numbers numbers(4);
  CHECK(TensorMapRefusal(numbers.shape) == nullptr);
  const auto says = [&](const char* words, const std::function<void(TensorMapShape&)>& change) {
    TensorMapShape shape = numbers.shape;
    change(shape);
    const char* refusal = TensorMapRefusal(shape);
    CAPTURE(words);
    CHECK(Says(refusal == nullptr ? "" : refusal, words));
  };
  says("2 to 5 axes", [](TensorMapShape& s) { s.rank = 1; });
  says("address", [](TensorMapShape& s) { s.address = static_cast<const char*>(s.address) + 8; });
  says("size of an axis", [](TensorMapShape& s) { s.size[2] = 0; });
  says("side of the box", [](TensorMapShape& s) { s.box[1] = 257; });
  says("multiple of 16", [](TensorMapShape& s) { s.stride[2] += 8; });
  says("negative", [](TensorMapShape& s) { s.stride[3] = -16; });
  says("2^40", [](TensorMapShape& s) { s.stride[3] = int64_t{1} << 40; });
  says("128 bytes", [](TensorMapShape& s) { s.box[0] = 32; });
}

}  // namespace sage::cuda
