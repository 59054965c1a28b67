// hopper_emulated.cc: compiles the kernel for the CPU, once for all test files; launches as attention_hopper.cu does.
#include "hopper_emulated.h"

#include <algorithm>

#include "attention_hopper_host.h"
#include "attention_hopper_kernel.h"
#include "attention_hopper_shapes.h"

namespace sage::test {
namespace {

template <class S>
std::string LaunchShape(const cuda::HopperParameters& parameters, const HopperRun& run) {
  cuda::emu::LaunchOptions options;
  options.grid.x = static_cast<uint32_t>(cuda::HopperBlocks(parameters, static_cast<int>(run.blocks)));
  options.cluster = static_cast<uint32_t>(parameters.cluster);
  options.threads = S::kThreads;
  options.shared_bytes = S::kSharedBytes;
  options.seed = run.seed;
  options.resident_blocks = run.blocks;
  return cuda::emu::Launch(options, [&parameters] { cuda::hopper::Forward<S>(parameters); });
}

}  // namespace

std::string LaunchEmulatedHopper(const cuda::AttentionArguments& a, const HopperRun& run) {
  if (const char* refusal = cuda::HopperRefusal(a)) return refusal;
  if (cuda::HopperHasNoQueries(a)) return "";
  cuda::HopperParameters parameters;
  const auto encode = [](const cuda::TensorMapShape& shape, cuda::TensorMap* map) {
    map->shape = shape;
    return cuda::TensorMapRefusal(shape);
  };
  const cuda::HopperVariant variant =
      run.variant == nullptr ? cuda::ChooseHopper(a, static_cast<int>(run.blocks)) : *run.variant;
  if (const char* failure = cuda::MakeHopperParameters(a, variant, run.workspace, encode, &parameters)) return failure;
  if (run.workspace != nullptr) std::fill_n(run.workspace, cuda::kHopperWorkspaceBytes / sizeof(uint32_t), 0u);
  return cuda::hopper::WithShape(
      a.type, variant, [&](auto shape) { return LaunchShape<typename decltype(shape)::Shape>(parameters, run); });
}

}  // namespace sage::test
