// families.cc: each family's launch behind the one interface, and the share of the device's peak it is priced at.
//
// The shares are estimates, for where the table of rates has no row (common/cuda/attention_rates.h): a price that is
// wrong by a third still puts a GPU before a CPU and tensor cores before plain arithmetic, which is what it decides.
#include "families.h"

#include "attention_decode_plan.h"
#include "attention_int8_plan.h"
#include "attention_launch.h"
#include "attention_portable_plan.h"
#include "attention_small_plan.h"
#include "spread.h"
#ifdef SAGE_CUDA_HOPPER_CODE
#include "attention_hopper.h"
#include "attention_hopper_choice.h"
#endif

namespace sage::cuda {
namespace {

constexpr uint32_t kHalves = TypeBit(AttentionType::kF16) | TypeBit(AttentionType::kBf16);

Launched Append(const AttentionArguments& a, void* stream) { return {LaunchAppend(a, stream), nullptr}; }

constexpr KernelFamily kFamilies[] = {
    {
        .name = "plain",
        .architectures = SAGE_CUDA_PORTABLE_CODE,
        .features = kPlainFeatures,
        .types = kHalves | TypeBit(AttentionType::kF32) | TypeBit(AttentionType::kF64),
        .tensor_cores = false,
        .efficiency = 0.1,
        .spread = PlainSpread,
        .append = Append,
        .launch =
            [](const AttentionArguments& a, const Properties&, void*, void* stream) {
              return Launched{LaunchPlain(a, stream), nullptr};
            },
    },
    {
        .name = "small",
        .architectures = SAGE_CUDA_PORTABLE_CODE,
        .features = kPlainFeatures,
        .types = kHalves | TypeBit(AttentionType::kF32),
        .tensor_cores = false,
        .efficiency = 0.15,
        .least_ns = 3000,  // two waits, where the others have one a tile
        .align = 16,
        .waits = true,
        .refuse = [](const AttentionArguments& a, const Properties&) { return SmallRefusal(a); },
        .append = Append,
        .launch =
            [](const AttentionArguments& a, const Properties&, void*, void* stream) {
              return Launched{LaunchSmall(a, stream), nullptr};
            },
    },
    {
        .name = "decode",
        .architectures = SAGE_CUDA_PORTABLE_CODE,
        .features = kDecodeFeatures,
        .types = kHalves,
        .accuracy = SAGE_ACCURACY_NATIVE,
        .tensor_cores = true,
        .efficiency = 0.15,
        .fuses_append = true,
        .refuse = [](const AttentionArguments& a, const Properties&) { return DecodeRefusal(a); },
        .split = PlanDecodeSplits,
        .spread = DecodeSpread,
        .workspace_bytes = [](const AttentionArguments& a, const Properties&) { return DecodeWorkspaceBytes(a); },
        .partials_bytes = DecodePartialsBytes,
        .append = Append,
        .launch =
            [](const AttentionArguments& a, const Properties& device, void* workspace, void* stream) {
              return Launched{LaunchDecode(a, device, workspace, stream), nullptr};
            },
    },
    {
        .name = "portable",
        .architectures = SAGE_CUDA_PORTABLE_CODE,
        .features = kPortableFeatures,
        .types = kHalves,
        .accuracy = SAGE_ACCURACY_NATIVE,
        .tensor_cores = true,
        .efficiency = 0.3,
        .refuse = [](const AttentionArguments& a, const Properties&) { return PortableRefusal(a); },
        .spread = PortableSpread,
        .append = Append,
        .launch =
            [](const AttentionArguments& a, const Properties&, void*, void* stream) {
              return Launched{LaunchPortable(a, stream), nullptr};
            },
    },
    {
        .name = "int8",
        .architectures = SAGE_CUDA_PORTABLE_CODE,
        .features = kInt8Features,
        .types = kHalves,
        .accuracy = SAGE_ACCURACY_LOSSY,
        .tensor_cores = true,
        .qk_in_8_bits = true,
        .efficiency = 0.3,
        .least_ns = 12000,  // three kernels
        .refuse = [](const AttentionArguments& a,
                     const Properties& device) { return Int8Refusal(a, device.total_bytes); },
        .spread = PortableSpread,
        .ahead_bytes = Int8AheadBytes,
        .workspace_bytes = [](const AttentionArguments& a, const Properties&) { return Int8WorkspaceBytes(a); },
        .append = Append,
        .launch =
            [](const AttentionArguments& a, const Properties&, void* workspace, void* stream) {
              return Launched{LaunchInt8(a, workspace, stream), nullptr};
            },
    },
#ifdef SAGE_CUDA_HOPPER_CODE
    {
        .name = "hopper",
        .architectures = SAGE_CUDA_HOPPER_CODE,
        .features = kHopperFeatures,
        .types = kHalves,
        .accuracy = SAGE_ACCURACY_NATIVE,
        .tensor_cores = true,
        .efficiency = 0.55,
        .align = 16,
        .stages = kHopperStageNames,
        .stages_off = kHopperStagesOff,
        .refuse = [](const AttentionArguments& a, const Properties&) { return HopperRefusal(a); },
        .spread = HopperSpread,
        .workspace_bytes = [](const AttentionArguments&, const Properties&) -> uint64_t {
          return kHopperWorkspaceBytes;
        },
        .append = Append,
        .launch =
            [](const AttentionArguments& a, const Properties& device, void* workspace, void* stream) {
              return Launched{kSuccess, LaunchHopper(a, device.multiprocessors, workspace, stream)};
            },
    },
#endif
};

}  // namespace

std::span<const KernelFamily> LinkedFamilies() { return kFamilies; }

}  // namespace sage::cuda
