// hopper_emulated.cc: compiles the kernel for the CPU, once for all test files; launches as attention_hopper.cu does.
#include "hopper_emulated.h"

#include <algorithm>

#include "attention_hopper_host.h"
#include "attention_hopper_kernel.h"

namespace sage::test {
namespace {

template <class T, int kDim>
std::string LaunchShape(const cuda::HopperParameters& parameters, const HopperRun& run) {
  using S = cuda::hopper::Shape<T, kDim, cuda::HopperKeys(kDim)>;
  cuda::emu::LaunchOptions options;
  options.grid.x = std::min(run.blocks, static_cast<uint32_t>(parameters.tiles));
  options.threads = cuda::hopper::kThreads;
  options.shared_bytes = S::kSharedBytes;
  options.seed = run.seed;
  options.resident_blocks = run.blocks;
  return cuda::emu::Launch(options, [&parameters] { cuda::hopper::Forward<S>(parameters); });
}

template <class T>
std::string LaunchType(const cuda::HopperParameters& parameters, int dim, const HopperRun& run) {
  return dim == 64    ? LaunchShape<T, 64>(parameters, run)
         : dim == 128 ? LaunchShape<T, 128>(parameters, run)
                      : LaunchShape<T, 256>(parameters, run);
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
  if (const char* failure = cuda::MakeHopperParameters(a, run.workspace, encode, &parameters)) return failure;
  if (run.workspace != nullptr) std::fill_n(run.workspace, cuda::kHopperWorkspaceBytes / sizeof(uint32_t), 0u);
  const int dim = cuda::HopperDim(a);
  return a.type == cuda::AttentionType::kBf16 ? LaunchType<cuda::Bf16>(parameters, dim, run)
                                              : LaunchType<cuda::F16>(parameters, dim, run);
}

}  // namespace sage::test
