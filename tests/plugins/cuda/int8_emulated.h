// int8_emulated.h: the kernels that multiply Q and K in 8 bits, all of a run, in the emulation.
#ifndef SAGE_TESTS_PLUGINS_CUDA_INT8_EMULATED_H_
#define SAGE_TESTS_PLUGINS_CUDA_INT8_EMULATED_H_

#include <string>

#include "attention_int8_plan.h"

namespace sage::test {

struct Int8Run {
  uint64_t seed = 1;
  cuda::Int8Scales scales = cuda::Int8Scales::kThread;
  bool repair = true;  // PortableArguments
};

// workspace: Int8WorkspaceBytes of the call. Empty, or why it is refused, or what the emulation found.
std::string LaunchEmulatedInt8(const cuda::AttentionArguments& arguments, void* workspace, const Int8Run& run);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_INT8_EMULATED_H_
