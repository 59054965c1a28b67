// ops_emulated.h: the small kinds behind the backend's table, over the fake runtime and with kernels in the emulation.
#ifndef SAGE_TESTS_PLUGINS_CUDA_OPS_EMULATED_H_
#define SAGE_TESTS_PLUGINS_CUDA_OPS_EMULATED_H_

#include "fake_runtime.h"
#include "ops/launches.h"
#include "ops_on_device.h"

namespace sage::test {

const sage_plugin* EmulatedOpsTable();
cuda::FakeRuntime& EmulatedOpsRuntime();
// Kernels launched since the program began; each in another order of its threads.
int EmulatedLaunches();
// Whether the last launch might have begun before the grid before it had ended.
bool LastLaunchWasDependent();
// What the kernels are said to be compiled for; "80" at first.
void SetEmulatedArchitectures(std::string_view list);
// What the next launches give instead of running; {} runs them.
void AnswerLaunchesWith(const cuda::Launched& answer);

// An instance over a host of its own. The device's memory is the CPU's.
struct EmulatedOps {
  explicit EmulatedOps(const char* options = nullptr) : instance(EmulatedOpsTable(), host, options) {}
  TestHost host{1, Threads::kSimulated};
  Instance instance;

  RunResult Run(OpCase& c) {
    for (OwnedTensor& tensor : c.slots)
      if (tensor.present()) tensor.description().device_type = SAGE_CUDA;
    return RunCase(instance, c);
  }
  std::string Message(OpCase c) {
    const RunResult result = Run(c);
    return result.status == SAGE_OK ? "" : result.message;
  }
  sage_answer Ask(OpCase c, uint32_t requirements = 0) {
    TestOp op(c.kind);
    c.attributes(op);
    op.Requirements(requirements);
    for (size_t s = 0; s < c.slots.size(); ++s) {
      if (!c.slots[s].present()) continue;
      c.slots[s].description().device_type = SAGE_CUDA;
      op.Slot(static_cast<uint32_t>(s), c.slots[s]);
    }
    return instance.Ask(op);
  }
};

inline OwnedTensor Floats(const Shape& shape) { return OwnedTensor(SAGE_F32, shape).FillNormal(5); }
inline OpCase LayerNorm(OwnedTensor x, OwnedTensor y) {
  const auto axis = static_cast<int32_t>(x.rank()) - 1;
  return Norm(SAGE_NORM_LAYER, axis, 1e-5,
              {std::move(x), OwnedTensor(), OwnedTensor(), OwnedTensor(), OwnedTensor(), std::move(y)});
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_OPS_EMULATED_H_
