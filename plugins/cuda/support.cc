// support.cc: every refusal of attention with its reason.
#include "support.h"

#include <algorithm>
#include <vector>

#include "common/cuda/architecture.h"
#include "common/cuda/attention_operands.h"
#include "common/cuda/refusals.h"
#include "price.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

const char* TypeName(AttentionType type) {
  constexpr const char* kNames[] = {"f64", "f32", "f16", "bf16"};
  return kNames[static_cast<uint32_t>(type)];
}

bool IsHalf(AttentionType type) { return type == AttentionType::kF16 || type == AttentionType::kBf16; }

uint32_t AccuracyOf(const KernelFamily& family, AttentionType type) {
  return IsHalf(type) ? family.accuracy : SAGE_ACCURACY_EXACT;
}

const char* ClassName(uint32_t accuracy) {
  constexpr const char* kNames[] = {"AUTO, which is NATIVE at most,", "EXACT", "NATIVE", "LOSSY"};
  return accuracy <= SAGE_ACCURACY_LOSSY ? kNames[accuracy] : "a class newer than this backend";
}

// What a family says to an op; the later it says no, the nearer it was.
struct Verdict {
  enum Stage { kDevice, kType, kFeatures, kShape, kAccuracy, kYes } stage = kDevice;
  uint64_t missing = 0;
  const char* why = nullptr;  // of kShape
};

Verdict VerdictOf(const KernelFamily& family, const AttentionArguments& arguments, uint64_t features, uint32_t accuracy,
                  const Properties& device) {
  if (CodeFor(family.architectures, device.major, device.minor) == Code::kNone) return {Verdict::kDevice, 0, nullptr};
  if ((family.types & TypeBit(arguments.type)) == 0) return {Verdict::kType, 0, nullptr};
  if (const uint64_t missing = features & ~family.features; missing != 0) return {Verdict::kFeatures, missing, nullptr};
  if (family.refuse != nullptr)
    if (const char* why = family.refuse(arguments, device); why != nullptr) return {Verdict::kShape, 0, why};
  if (AccuracyOf(family, arguments.type) > (accuracy == SAGE_ACCURACY_AUTO ? SAGE_ACCURACY_NATIVE : accuracy))
    return {Verdict::kAccuracy, 0, nullptr};
  return {Verdict::kYes, 0, nullptr};
}

void RefuseBy(const KernelFamily& family, const Verdict& verdict, const AttentionArguments& arguments,
              uint32_t accuracy, const Device& device, sage_answer* answer) {
  const Properties& properties = device.properties();
  switch (verdict.stage) {
    case Verdict::kDevice:
      return sage_refuse(answer, 0, "%s is sm_%d; the kernels \"%s\" are built for %s", properties.name.c_str(),
                         properties.major * 10 + properties.minor, family.name, ListText(family.architectures).c_str());
    case Verdict::kType:
      return sage_refuse(answer, 0, "no kernel of this build computes attention of %s on sm_%d",
                         TypeName(arguments.type), properties.major * 10 + properties.minor);
    case Verdict::kFeatures:
      return sage_refuse(answer, verdict.missing,
                         "the kernels \"%s\" of %s do not serve feature bits 0x%llx together with the rest",
                         family.name, TypeName(arguments.type), static_cast<unsigned long long>(verdict.missing));
    case Verdict::kShape:
      return sage_refuse(answer, 0, "the kernels \"%s\": %s", family.name, verdict.why);
    case Verdict::kAccuracy:
      return sage_refuse(answer, 0, "the kernels \"%s\" of %s are of class %s; %s is asked for", family.name,
                         TypeName(arguments.type), ClassName(AccuracyOf(family, arguments.type)), ClassName(accuracy));
    case Verdict::kYes:
      return;
  }
}

// With what a plan fixes of the family's splits, and what options leave out of it.
AttentionArguments WithSplits(const KernelFamily& family, AttentionArguments arguments, const Properties& device,
                              bool smaller) {
  arguments.splits = {};
  arguments.stages_off = family.stages_off;
  if (family.split != nullptr) arguments.splits = family.split(arguments, device, family.splits, smaller);
  return arguments;
}

// The cheapest that takes operands at any address and is no less exact than `chosen`, which does not; null: none, or
// not needed.
const KernelFamily* AtAnyAddress(const KernelFamily& chosen, std::span<const KernelFamily> families,
                                 const AttentionRates& rates, const AttentionArguments& arguments, uint64_t features,
                                 uint32_t accuracy, const Properties& device, bool smaller) {
  const KernelFamily* found = nullptr;
  double least = 0;
  for (const KernelFamily& family : families) {
    if (chosen.align <= 1 || family.align > 1) continue;
    if (AccuracyOf(family, arguments.type) > AccuracyOf(chosen, arguments.type)) continue;
    if (VerdictOf(family, arguments, features, accuracy, device).stage != Verdict::kYes) continue;
    const double cost = PriceNs(family, WithSplits(family, arguments, device, smaller), features, device,
                                RateOf(family, arguments, device, rates));
    if (found == nullptr || cost < least) found = &family, least = cost;
  }
  return found;
}

uint64_t ScratchOf(const KernelFamily& family, const AttentionArguments& arguments, const Properties& device) {
  return family.workspace_bytes == nullptr ? 0 : family.workspace_bytes(arguments, device);
}

}  // namespace

bool Decide(const support::OpView& view, uint64_t features, const Device& device,
            std::span<const KernelFamily> families, const AttentionRates& rates, Choice* choice, sage_answer* answer) {
  *choice = {};
  if (RefuseInGeneral(view, device, answer) || RefuseAlgorithm(view, answer)) return false;
  AttentionArguments arguments;
  if (const char* why = BindAskedAttention(view, features, &arguments); why != nullptr)
    return sage_refuse(answer, 0, "attention is refused: %s", why), false;

  const KernelFamily* nearest = nullptr;
  Verdict nearest_verdict;
  uint64_t scratch = 0;
  const bool smaller = view.op.dynamic_axes != 0;  // shapes of some runs
  for (const KernelFamily& family : families) {
    const Verdict verdict = VerdictOf(family, arguments, features, view.op.accuracy, device.properties());
    if (verdict.stage != Verdict::kYes) {
      if (nearest == nullptr || verdict.stage > nearest_verdict.stage) nearest = &family, nearest_verdict = verdict;
      continue;
    }
    const AttentionArguments split = WithSplits(family, arguments, device.properties(), smaller);
    const std::optional<Rate> rate = RateOf(family, arguments, device.properties(), rates);
    const double cost = PriceNs(family, split, features, device.properties(), rate);
    if (choice->family != nullptr && cost >= choice->cost_ns) continue;
    choice->family = &family, choice->cost_ns = cost, choice->priced_by = rates.SourceText(rate);
  }
  if (choice->family == nullptr) {
    if (nearest == nullptr) return sage_refuse(answer, 0, "this build has no kernels of attention"), false;
    return RefuseBy(*nearest, nearest_verdict, arguments, view.op.accuracy, device, answer), false;
  }
  const KernelFamily& family = *choice->family;
  const Properties& properties = device.properties();
  choice->any_address =
      AtAnyAddress(family, families, rates, arguments, features, view.op.accuracy, properties, smaller);
  const AttentionArguments of_family = WithSplits(family, arguments, properties, smaller);
  choice->splits = of_family.splits;
  if (family.partials_bytes != nullptr) choice->partials_bytes = family.partials_bytes(of_family);
  scratch = ScratchOf(family, of_family, properties);
  if (choice->any_address != nullptr) {
    const AttentionArguments of_other = WithSplits(*choice->any_address, arguments, properties, smaller);
    choice->any_address_splits = of_other.splits;
    scratch = std::max(scratch, ScratchOf(*choice->any_address, of_other, properties));
  }
  if (scratch > device.properties().total_bytes)
    return sage_refuse(answer, 0, "a run needs %llu bytes of workspace; %s has %llu",
                       static_cast<unsigned long long>(scratch), device.name().c_str(),
                       static_cast<unsigned long long>(device.properties().total_bytes)),
           false;
  choice->workspace_bytes = scratch;
  choice->accuracy = AccuracyOf(family, arguments.type);
  const Code code = CodeFor(family.architectures, device.properties().major, device.properties().minor);
  sage_accept(answer, choice->cost_ns, SAGE_COST_MODEL, choice->accuracy, scratch,
              "%s kernels of %s for sm_%d%s on %s, priced by %s", family.name, TypeName(arguments.type),
              device.properties().major * 10 + device.properties().minor,
              code == Code::kPtx ? ", translated by the driver when first used," : "", device.properties().name.c_str(),
              choice->priced_by);
  return true;
}

}  // namespace sage::cuda
