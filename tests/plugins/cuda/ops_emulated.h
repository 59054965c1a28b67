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
// What the kernels are said to be compiled for; "80" at first.
void SetEmulatedArchitectures(std::string_view list);
// What the next launches give instead of running; {} runs them.
void AnswerLaunchesWith(const cuda::Launched& answer);

// Runs a case by a table's ask, plan and run. The device's memory is the CPU's.
RunResult RunEmulatedOp(Instance& instance, OpCase& c);
DeviceRun EmulatedDevice(Instance& instance);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_OPS_EMULATED_H_
