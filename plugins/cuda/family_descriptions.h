// family_descriptions.h: each family of attention kernels but for what a build gives it: the architectures it is
// compiled for, its launch and its append. For the linked families (families.cc) and for the emulated ones of the
// tests, so that what is tested is what is shipped.
//
// Shares of the peak are estimates, for where the table of rates has no row (common/cuda/attention_rates.h): a price
// that is wrong by a third still puts a GPU before a CPU and tensor cores before plain arithmetic, which is what it
// decides.
#ifndef SAGE_PLUGINS_CUDA_FAMILY_DESCRIPTIONS_H_
#define SAGE_PLUGINS_CUDA_FAMILY_DESCRIPTIONS_H_

#include "attention_decode_plan.h"
#include "attention_hopper.h"
#include "attention_hopper_choice.h"
#include "attention_int8_plan.h"
#include "attention_portable_plan.h"
#include "attention_small_plan.h"
#include "families.h"
#include "spread.h"

namespace sage::cuda {

constexpr uint32_t kHalfTypes = TypeBit(AttentionType::kF16) | TypeBit(AttentionType::kBf16);

constexpr KernelFamily kPlainFamily = {
    .name = "plain",
    .features = kPlainFeatures,
    .types = kHalfTypes | TypeBit(AttentionType::kF32) | TypeBit(AttentionType::kF64),
    .efficiency = 0.1,
    .spread = PlainSpread,
};

constexpr KernelFamily kSmallFamily = {
    .name = "small",
    .features = kPlainFeatures,
    .types = kHalfTypes | TypeBit(AttentionType::kF32),
    .efficiency = 0.15,
    .least_ns = 3000,  // two waits, where the others have one a tile
    .align = 16,
    .waits = true,
    .refuse = [](const AttentionArguments& a, const Properties&) { return SmallRefusal(a); },
};

constexpr KernelFamily kDecodeFamily = {
    .name = "decode",
    .features = kDecodeFeatures,
    .types = kHalfTypes,
    .accuracy = SAGE_ACCURACY_NATIVE,
    .tensor_cores = true,
    .efficiency = 0.15,
    .fuses_append = true,
    .refuse = [](const AttentionArguments& a, const Properties&) { return DecodeRefusal(a); },
    .split = PlanDecodeSplits,
    .spread = DecodeSpread,
    .workspace_bytes = [](const AttentionArguments& a, const Properties&) { return DecodeWorkspaceBytes(a); },
    .partials_bytes = DecodePartialsBytes,
};

constexpr KernelFamily kPortableFamily = {
    .name = "portable",
    .features = kPortableFeatures,
    .types = kHalfTypes,
    .accuracy = SAGE_ACCURACY_NATIVE,
    .tensor_cores = true,
    .efficiency = 0.3,
    .refuse = [](const AttentionArguments& a, const Properties&) { return PortableRefusal(a); },
    .spread = PortableSpread,
};

constexpr KernelFamily kInt8Family = {
    .name = "int8",
    .features = kInt8Features,
    .types = kHalfTypes,
    .accuracy = SAGE_ACCURACY_LOSSY,
    .tensor_cores = true,
    .qk_in_8_bits = true,
    .efficiency = 0.3,
    .least_ns = 12000,  // three kernels
    .refuse = [](const AttentionArguments& a, const Properties& d) { return Int8Refusal(a, d.total_bytes); },
    .spread = PortableSpread,
    .ahead_bytes = Int8AheadBytes,
    .workspace_bytes = [](const AttentionArguments& a, const Properties&) { return Int8WorkspaceBytes(a); },
};

constexpr KernelFamily kHopperFamily = {
    .name = "hopper",
    .features = kHopperFeatures,
    .types = kHalfTypes,
    .accuracy = SAGE_ACCURACY_NATIVE,
    .tensor_cores = true,
    .efficiency = 0.55,
    .align = 16,
    .stages = kHopperStageNames,
    .stages_off = kHopperStagesOff,
    .refuse = [](const AttentionArguments& a, const Properties&) { return HopperRefusal(a); },
    .spread = HopperSpread,
    .workspace_bytes = [](const AttentionArguments&, const Properties&) -> uint64_t { return kHopperWorkspaceBytes; },
};

// The family as a build has it.
constexpr KernelFamily Built(KernelFamily family, std::string_view architectures, decltype(KernelFamily::launch) launch,
                             decltype(KernelFamily::append) append) {
  family.architectures = architectures, family.launch = launch, family.append = append;
  return family;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_FAMILY_DESCRIPTIONS_H_
