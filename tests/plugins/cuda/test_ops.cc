// test_ops.cc: the kernels of the small kinds, in the emulation, over seeded cases of every layout and dtype.
#include "ops_emulated.h"
#include "ops_suite.h"

namespace sage::test {
namespace {

// Runs cases on an instance that lives as long as it.
struct Emulated : EmulatedOps {
  DeviceRun run = [this](OpCase& c) { return Run(c); };
};

}  // namespace

TEST_CASE("P1 cuda UNARY: functions over hard values and seeded layouts") { CheckUnary(Emulated().run, 1); }
TEST_CASE("P1 cuda UNARY: a cast between any two dtypes is the oracle's") { CheckCasts(Emulated().run); }
TEST_CASE("P1 cuda BINARY: seeded layouts and broadcasts and hard values") { CheckBinary(Emulated().run, 1); }
TEST_CASE("P1 cuda NORM: layer and rms and batch over seeded layouts") { CheckNorm(Emulated().run, 1); }
TEST_CASE("P1 cuda SOFTMAX: seeded layouts and lines of every length") { CheckSoftmax(Emulated().run, 1); }
TEST_CASE("P1 cuda REDUCE: every function over any axes") { CheckReduce(Emulated().run, 1); }
TEST_CASE("P1 cuda POOL: masked and windowed") { CheckPool(Emulated().run, 1); }
TEST_CASE("P1 cuda movement: PERMUTE and SLICE and CONCAT and GATHER keep every bit") {
  CheckMovement(Emulated().run, 1);
}
TEST_CASE("P1 cuda TOPK: seeded lines with ties and any k") { CheckTopk(Emulated().run, 1); }
TEST_CASE("P1 cuda ROPE: both styles with tables and angles") { CheckRope(Emulated().run, 1); }

}  // namespace sage::test
