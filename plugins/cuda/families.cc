// families.cc: each family with the launch that is compiled for it.
#include "families.h"

#include "attention_launch.h"
#include "family_descriptions.h"

namespace sage::cuda {
namespace {

Launched Append(const AttentionArguments& a, void* stream) { return {LaunchAppend(a, stream), nullptr}; }

constexpr KernelFamily Portable(KernelFamily family, decltype(KernelFamily::launch) launch) {
  return Built(family, SAGE_CUDA_PORTABLE_CODE, launch, Append);
}

constexpr KernelFamily kFamilies[] = {
    Portable(kPlainFamily,
             [](const AttentionArguments& a, const Properties&, void*, void* stream) {
               return Launched{LaunchPlain(a, stream), nullptr};
             }),
    Portable(kSmallFamily,
             [](const AttentionArguments& a, const Properties&, void*, void* stream) {
               return Launched{LaunchSmall(a, stream), nullptr};
             }),
    Portable(kDecodeFamily,
             [](const AttentionArguments& a, const Properties& device, void* workspace, void* stream) {
               return Launched{LaunchDecode(a, device, workspace, stream), nullptr};
             }),
    Portable(kPortableFamily,
             [](const AttentionArguments& a, const Properties&, void*, void* stream) {
               return Launched{LaunchPortable(a, stream), nullptr};
             }),
    Portable(kInt8Family,
             [](const AttentionArguments& a, const Properties&, void* workspace, void* stream) {
               return Launched{LaunchInt8(a, workspace, stream), nullptr};
             }),
#ifdef SAGE_CUDA_HOPPER_CODE
    Built(
        kHopperFamily, SAGE_CUDA_HOPPER_CODE,
        [](const AttentionArguments& a, const Properties& device, void* workspace, void* stream) {
          return Launched{kSuccess, LaunchHopper(a, device.multiprocessors, workspace, stream)};
        },
        Append),
#endif
};

}  // namespace

std::span<const KernelFamily> LinkedFamilies() { return kFamilies; }

}  // namespace sage::cuda
