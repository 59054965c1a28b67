// attention.cc: constants copied to the device once; a run binds its tensors and launches, nothing else.
#include "attention.h"

#include <algorithm>
#include <array>

#include "operands.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

// A constant's bytes on the device, gaps of its strides included: they are as many again at most, or it is no constant
// that is copied (RefuseConstant).
class Copied {
 public:
  Copied(const sage_host& host, int32_t device) : host_(host), device_(device) {}
  ~Copied() { host_.free(host_.self, SAGE_CUDA, device_, memory); }
  Copied(const Copied&) = delete;
  Copied& operator=(const Copied&) = delete;

  void* memory = nullptr;
  const void* source = nullptr;
  uint64_t bytes = 0;
  int64_t before = 0;  // bytes of it that lie before element [0,..,0]

 private:
  const sage_host& host_;
  int32_t device_;
};

// Where a tensor's elements reach, in bytes from element [0,..,0].
struct Reach {
  int64_t before = 0;  // >= 0
  uint64_t bytes = 0;
};
Reach ReachOf(const sage_tensor& tensor) {
  int64_t low = 0, high = 0;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) {
    if (tensor.shape[axis] == 0) return {};
    const int64_t last = (tensor.shape[axis] - 1) * tensor.stride[axis];
    (last < 0 ? low : high) += last;
  }
  const auto size = static_cast<int64_t>(support::DtypeSize(tensor.dtype));
  return {-low * size, static_cast<uint64_t>((high - low + 1) * size)};
}

class AttentionPlan final : public plugins::KernelPlan {
 public:
  AttentionPlan(Device& device, const Choice& choice, const plugins::OpView& view, uint64_t features)
      : device_(device), choice_(choice), view_(view), features_(features) {
    workspace_bytes = choice.workspace_bytes;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    // The slots with the constants' copies in place of them.
    std::array<sage_tensor, SAGE_ATTN_NUM_SLOTS> moved;
    std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS> slots{};
    for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS && slot < args.num_slots; ++slot) {
      slots[slot] = args.slots[slot];
      if (copies_[slot] == nullptr || slots[slot] == nullptr) continue;
      moved[slot] = *slots[slot];
      moved[slot].data = static_cast<char*>(copies_[slot]->memory) + copies_[slot]->before;
      slots[slot] = &moved[slot];
    }
    AttentionArguments arguments;
    if (const char* why =
            BindAttention(view_.attributes.attention, features_, slots.data(), SAGE_ATTN_NUM_SLOTS, &arguments);
        why != nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: %s", why);
    if (arguments.batch == 0 || arguments.heads_q == 0 || arguments.seq_q == 0) return SAGE_OK;  // no row to write

    const KernelFamily* family = choice_.family;
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
    }
    const CurrentDevice current(device_.runtime(), device_.id());
    if (const sage_status status = device_.Check(current.code(), err, "making it current"); status != SAGE_OK)
      return status;
    const Launched launched = family->launch(arguments, device_.properties(), args.workspace, args.stream);
    if (launched.ok()) return SAGE_OK;
    if (launched.code != kSuccess)
      return device_.Check(launched.code, err, "launching the kernels \"%s\"", family->name);
    (void)device_.runtime().TakeLastError();
    return sage_fail(err, SAGE_E_DEVICE, "%s: launching the kernels \"%s\": %s", device_.name().c_str(), family->name,
                     launched.why);
  }

  // Constants of the CPU are copied, or shared where `like` has the same.
  sage_status CopyConstants(const sage_host& host, const AttentionPlan* like, sage_error* err) {
    for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
      if (!view_.Has(slot)) continue;
      const sage_tensor& tensor = view_.Slot(slot);
      const bool on_cpu = tensor.device_type == SAGE_CPU || tensor.device_type == SAGE_CUDA_HOST;
      if (!on_cpu || (tensor.flags & SAGE_TENSOR_CONSTANT) == 0 || device_.host_visible()) continue;
      const Reach reach = ReachOf(tensor);
      const char* source = static_cast<const char*>(tensor.data) - reach.before;
      if (like != nullptr && like->copies_[slot] != nullptr && like->copies_[slot]->source == source &&
          like->copies_[slot]->bytes == reach.bytes) {
        copies_[slot] = like->copies_[slot];
        continue;
      }
      auto copy = std::make_shared<Copied>(host, device_.id());
      copy->source = source, copy->bytes = reach.bytes, copy->before = reach.before;
      sage_status status =
          host.alloc(host.self, SAGE_CUDA, device_.id(), std::max<uint64_t>(reach.bytes, 1), 256, &copy->memory, err);
      if (status != SAGE_OK) return status;
      // The null stream, and waited for: it is done when the plan is.
      const sage_device_table& table = *device_.table();
      status = table.copy(table.self, copy->memory, source, reach.bytes, nullptr, err);
      if (status == SAGE_OK) status = table.stream_synchronize(table.self, nullptr, err);
      if (status != SAGE_OK) return status;
      prepack_bytes += reach.bytes;
      copies_[slot] = std::move(copy);
    }
    return SAGE_OK;
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
  std::array<std::shared_ptr<Copied>, SAGE_ATTN_NUM_SLOTS> copies_;
};

}  // namespace

sage_status PlanAttention(Device& device, const sage_host& host, const Choice& choice, const plugins::OpView& view,
                          uint64_t features, const plugins::KernelPlan* like, std::unique_ptr<plugins::KernelPlan>* out,
                          sage_error* err) {
  auto plan = std::make_unique<AttentionPlan>(device, choice, view, features);
  const sage_status status = plan->CopyConstants(host, static_cast<const AttentionPlan*>(like), err);
  if (status == SAGE_OK) *out = std::move(plan);
  return status;
}

}  // namespace sage::cuda
