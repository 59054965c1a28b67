// ops_suite.h: the seeded cases of every small kind, for the emulation and for a device. `times` more of them where a
// device is quick.
#ifndef SAGE_TESTS_PLUGINS_CUDA_OPS_SUITE_H_
#define SAGE_TESTS_PLUGINS_CUDA_OPS_SUITE_H_

#include "ops_on_device.h"

namespace sage::test {

inline void CheckUnary(const DeviceRun& run, int times) {
  Random random(101, true);
  for (uint32_t function = SAGE_FN_RELU; function <= SAGE_FN_NEG; ++function)
    for (const sage_dtype dtype : kFloats) {
      CAPTURE(function);
      OpCase hard = HardUnary(function, dtype);
      const double units = UnitsOf(hard, function);
      // The oracle's own form of GELU_TANH cancels at large negative x.
      if (function != SAGE_FN_GELU_TANH) CHECK(WrongOnDevice(hard, run, units) == "");
      for (int i = 0; i < times; ++i) {
        OpCase any = AnyUnary(random, function, dtype);
        if (function == SAGE_FN_GELU_TANH) any.scale = 1;
        CHECK(WrongOnDevice(any, run, units) == "");
      }
    }
}

inline void CheckCasts(const DeviceRun& run) {
  Random random(102, true);
  for (const sage_dtype from : kAll)
    for (const sage_dtype to : kAll) {
      OpCase c = AnyCast(random, from, to), want = c;
      TestHost host;
      Instance oracle(Oracle(), host);
      REQUIRE(RunCase(oracle, want).status == SAGE_OK);
      c.slots[1] = random.Tensor(to, {3, 67}, true);
      const RunResult result = run(c);
      REQUIRE_MESSAGE(result.status == SAGE_OK, result.message);
      CHECK_MESSAGE(MaxDifference(c.slots[1], want.slots[1]) == 0.0, support::DtypeName(from), " to ",
                    support::DtypeName(to));
    }
}

inline void CheckBinary(const DeviceRun& run, int times) {
  Random random(103, true);
  for (uint32_t function = SAGE_BINARY_ADD; function <= SAGE_BINARY_MAX; ++function)
    for (const sage_dtype dtype : kFloats) {
      CAPTURE(function);
      CHECK(WrongOnDevice(HardBinary(function, dtype), run, 1) == "");
      for (int i = 0; i < 4 * times; ++i) CHECK(WrongOnDevice(AnyBinary(random, function, dtype), run, 1) == "");
    }
}

inline void CheckNorm(const DeviceRun& run, int times) {
  Random random(104, true);
  for (int i = 0; i < 60 * times; ++i) CHECK(WrongOnDevice(AnyNorm(random), run) == "");
  for (int i = 0; i < 30 * times; ++i) CHECK(WrongOnDevice(AnyBatchNorm(random), run) == "");
}

inline void CheckSoftmax(const DeviceRun& run, int times) {
  // A difference of 100 has lost that many units before its exponential is taken.
  constexpr double kUnits = 200;
  Random random(105, true);
  for (int i = 0; i < 60 * times; ++i) CHECK(WrongOnDevice(AnySoftmax(random), run, kUnits) == "");
  // Either side of what a warp, a block and registers hold, in packs and not.
  for (const sage_dtype dtype : kFloats)
    for (const int64_t length : {1, 5, 128, 256, 257, 264, 2048, 2049, 2056, 8192, 8200})
      CHECK(WrongOnDevice(HardSoftmax(dtype, length), run, kUnits) == "");
}

inline void CheckReduce(const DeviceRun& run, int times) {
  Random random(106, true);
  for (int i = 0; i < 120 * times; ++i)
    CHECK(WrongOnDevice(AnyReduce(random, static_cast<uint32_t>(i % 4) + 1), run) == "");
}

inline void CheckPool(const DeviceRun& run, int times) {
  Random random(107, true);
  for (int i = 0; i < 80 * times; ++i)
    CHECK(WrongOnDevice(AnyPool(random, static_cast<uint32_t>(i % 4) + 1), run) == "");
}

inline void CheckMovement(const DeviceRun& run, int times) {
  Random random(108, true);
  for (int i = 0; i < 65 * times; ++i) {
    const sage_dtype dtype = kAll[i % 13];
    CHECK(WrongOnDevice(AnyPermute(random, dtype), run, 0, true) == "");
    CHECK(WrongOnDevice(AnySlice(random, dtype), run, 0, true) == "");
    CHECK(WrongOnDevice(AnyConcat(random, dtype), run, 0, true) == "");
    CHECK(WrongOnDevice(AnyGather(random, dtype), run, 0, true) == "");
  }
  for (const sage_dtype dtype : {SAGE_I8, SAGE_BF16, SAGE_F32, SAGE_F64})
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{70, 45}, {64, 33}, {16, 17}, {15, 40}})
      CHECK(WrongOnDevice(Transpose(dtype, rows, columns), run, 0, true) == "");
  // More parts than one launch takes.
  for (int i = 0; i < 4 * times; ++i) CHECK(WrongOnDevice(AnyConcat(random, SAGE_BF16, 40), run, 0, true) == "");
}

inline void CheckTopk(const DeviceRun& run, int times) {
  Random random(109, true);
  for (int i = 0; i < 60 * times; ++i) CHECK(WrongOnDevice(AnyTopk(random), run, 0, true) == "");
  // The first user's, and either side of what a warp and a block take.
  const std::pair<int64_t, int64_t> sizes[] = {{128, 8},   {129, 8},    {512, 32},   {513, 32},    {512, 33},
                                               {700, 700}, {2049, 512}, {5000, 700}, {9000, 1024}, {4096, 1100}};
  for (const sage_dtype dtype : kFloats)
    for (const auto& [length, k] : sizes) {
      if (dtype == SAGE_F64 && length == 4096) continue;  // more than it keeps
      OwnedTensor x(dtype, {2, length});
      x.FillNormal(random.Seed());
      for (int64_t j = 0; j < length; ++j) x.Set({1, j}, static_cast<double>(j % 2000));  // ties, and mostly rising
      CHECK(WrongOnDevice(Topk(1, random.Chance(2), x, OwnedTensor(dtype, {2, k}), OwnedTensor(SAGE_I32, {2, k})), run,
                          0, true) == "");
    }
}

inline void CheckRope(const DeviceRun& run, int times) {
  Random random(110, true);
  for (int i = 0; i < 60 * times; ++i) {
    const OpCase c = AnyRope(random);
    if (!c.slots.empty()) CHECK(WrongOnDevice(c, run) == "");
  }
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_OPS_SUITE_H_
