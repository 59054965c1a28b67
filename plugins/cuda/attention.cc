// attention.cc: constants copied to the device once; a run binds its tensors and launches, nothing else.
#include "attention.h"

#include <algorithm>
#include <array>

#include "common/cuda/architecture.h"
#include "common/cuda/attention_operands.h"
#include "common/cuda/constants.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"
#include "support.h"

namespace sage::cuda {
namespace {

class AttentionPlan final : public plugins::KernelPlan {
 public:
  AttentionPlan(Device& device, const Choice& choice, const plugins::OpView& view, uint64_t features)
      : device_(device), choice_(choice), view_(view), features_(features) {
    workspace_bytes = choice.workspace_bytes;
    partials_bytes = choice.partials_bytes;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    std::array<sage_tensor, SAGE_ATTN_NUM_SLOTS> moved;
    std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS> slots;
    constants_.Place(args, moved, slots);
    AttentionArguments arguments;
    if (const char* why =
            BindAttention(view_.attributes.attention, features_, slots.data(), SAGE_ATTN_NUM_SLOTS, &arguments);
        why != nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: %s", why);
    const bool no_rows = arguments.batch == 0 || arguments.heads_q == 0 || arguments.seq_q == 0;  // to write
    if (no_rows && arguments.k_new == nullptr) return SAGE_OK;

    const KernelFamily* family = choice_.family;
    arguments.splits = choice_.splits;
    // A device that reads a number across its alignment is lost.
    uint32_t needed = 0;
    if (const char* crooked = Misaligned(slots, 1, &needed); crooked != nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                       "run: the address of %s is no multiple of %u bytes, the size of its elements", crooked, needed);
    if (const char* crooked = Misaligned(slots, family->align, &needed); crooked != nullptr) {
      if (choice_.any_address == nullptr)
        return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                         "run: the address of %s is no multiple of %u bytes, which the kernels \"%s\" need", crooked,
                         needed, family->name);
      family = choice_.any_address;
      arguments.splits = choice_.any_address_splits;
    }
    const CurrentDevice current(device_.runtime(), device_.id());
    if (const sage_status status = device_.Check(current.code(), err, "making it current"); status != SAGE_OK)
      return status;
    const Properties& properties = device_.properties();
    arguments.stages_off = family->stages_off;
    arguments.dependent = family->waits && properties.dependent_launch &&
                          CanBeDependent(family->architectures, properties.major, properties.minor);
    Launched launched;
    if (arguments.k_new != nullptr && (no_rows || !family->fuses_append)) {
      launched = family->append(arguments, args.stream);
      arguments.k_new = arguments.v_new = nullptr;
    }
    if (launched.ok() && !no_rows) launched = family->launch(arguments, properties, args.workspace, args.stream);
    if (launched.ok()) return SAGE_OK;
    if (launched.code != kSuccess)
      return device_.Check(launched.code, err, "launching the kernels \"%s\"", family->name);
    (void)device_.runtime().TakeLastError();
    return sage_fail(err, SAGE_E_DEVICE, "%s: launching the kernels \"%s\": %s", device_.name().c_str(), family->name,
                     launched.why);
  }

  sage_status CopyConstants(const sage_host& host, const AttentionPlan* like, sage_error* err) {
    return constants_.Copy(device_, host, view_, like == nullptr ? nullptr : &like->constants_, &prepack_bytes, err);
  }

 private:
  // The name of a slot whose address is no multiple of its elements' size, or, of Q, K, V and O, of wide; null: none.
  static const char* Misaligned(const std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS>& slots, uint32_t wide,
                                uint32_t* needed) {
    for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
      if (slots[slot] == nullptr) continue;
      *needed = support::DtypeSize(slots[slot]->dtype);
      if (slot <= SAGE_ATTN_O) *needed = std::max(*needed, wide);
      if (reinterpret_cast<uintptr_t>(slots[slot]->data) % *needed != 0)
        return support::SlotName(SAGE_OP_ATTENTION, slot);
    }
    return nullptr;
  }

  Device& device_;
  Choice choice_;
  const plugins::OpView& view_;
  uint64_t features_;
  DeviceConstants constants_;
};

class AttentionServer final : public KindServer {
 public:
  AttentionServer(std::vector<KernelFamily> families, AttentionRates rates)
      : families_(std::move(families)), rates_(std::move(rates)) {}

  uint64_t kinds() const override { return SAGE_KIND_BIT(SAGE_OP_ATTENTION); }

  void Ask(const plugins::OpView& view, uint64_t features, const Device& device, sage_answer* answer) const override {
    Choice choice;
    (void)Decide(view, features, device, families_, rates_, &choice, answer);
  }

  sage_status Plan(const plugins::OpView& view, uint64_t features, Device& device, const sage_host& host,
                   const plugins::KernelPlan* like, std::unique_ptr<plugins::KernelPlan>* out,
                   sage_error* err) const override {
    Choice choice;
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    if (!Decide(view, features, device, families_, rates_, &choice, &answer))  // the device may have been lost since
      return sage_fail(err, SAGE_E_UNSUPPORTED, "plan: %s", answer.reason);
    auto plan = std::make_unique<AttentionPlan>(device, choice, view, features);
    const sage_status status = plan->CopyConstants(host, static_cast<const AttentionPlan*>(like), err);
    if (status == SAGE_OK) *out = std::move(plan);
    return status;
  }

 private:
  std::vector<KernelFamily> families_;
  AttentionRates rates_;
};

}  // namespace

std::unique_ptr<KindServer> ServeAttention(std::vector<KernelFamily> families, AttentionRates rates) {
  return std::make_unique<AttentionServer>(std::move(families), std::move(rates));
}

}  // namespace sage::cuda
