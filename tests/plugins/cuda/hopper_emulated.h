// hopper_emulated.h: the Hopper kernel's launch, in the emulation.
#ifndef SAGE_TESTS_PLUGINS_CUDA_HOPPER_EMULATED_H_
#define SAGE_TESTS_PLUGINS_CUDA_HOPPER_EMULATED_H_

#include <cstdint>
#include <string>

#include "attention_hopper_choice.h"

namespace sage::test {

struct HopperRun {
  uint64_t seed = 1;
  uint32_t blocks = 2;                           // processors of the device
  uint32_t* workspace = nullptr;                 // (optional) as of LaunchHopper, whose memset is done here
  const cuda::HopperVariant* variant = nullptr;  // (optional) instead of the one that is chosen
};

// What LaunchHopper does. Empty, or why the call is refused, or what the emulation found.
std::string LaunchEmulatedHopper(const cuda::AttentionArguments& arguments, const HopperRun& run);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_HOPPER_EMULATED_H_
