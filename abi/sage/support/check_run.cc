// check_run.cc: do the tensors of a run fit the plan? Called before every run, so nothing here allocates.
#include <cstring>

#include "sage/support/check_internal.h"
#include "sage/support/take_in.h"

namespace sage::support {
namespace {

sage_status Say(const char** why, const char* sentence, sage_status status = SAGE_E_INVALID_ARGUMENT) {
  *why = sentence;
  return status;
}

// The axes (bit per axis) of a slot that may be smaller at run. Wider than the letter for outputs of plain kinds: what
// belongs together is asked again below, by the rules the plan was checked with.
uint32_t ShrinkingAxes(const OpView& planned, uint32_t slot) {
  const uint32_t dynamic = planned.op.dynamic_axes;
  const sage_tensor& tensor = planned.Slot(slot);
  constexpr uint32_t kAll = (1u << SAGE_MAX_RANK) - 1;
  const auto when = [dynamic](uint32_t named, uint32_t axes) { return (dynamic & named) != 0 ? axes : 0u; };
  if (planned.op.kind == SAGE_OP_LINEAR) {
    if (slot == 0 || slot == 3) return when(SAGE_AXIS_M, kAll & ~(1u << (tensor.rank - 1)));
    return slot == 4 ? when(SAGE_AXIS_M, 1u) : 0;
  }
  if (planned.op.kind == SAGE_OP_MATMUL)
    return when(SAGE_AXIS_B, tensor.rank > 2 ? 1u : 0) | when(SAGE_AXIS_M, slot == 1 ? 0 : 1u << (tensor.rank - 2));
  if (planned.op.kind != SAGE_OP_ATTENTION) return when(SAGE_AXIS_M, SlotIsOutput(planned.op.kind, slot) ? kAll : 1u);

  const bool varlen = planned.Has(SAGE_ATTN_CU_SEQLENS_Q), paged = planned.Has(SAGE_ATTN_BLOCK_TABLE);
  const uint32_t batch = when(SAGE_AXIS_B, 1u);
  switch (slot) {
    case SAGE_ATTN_Q:
    case SAGE_ATTN_O:
    case SAGE_ATTN_K_NEW:
    case SAGE_ATTN_V_NEW:
      return varlen ? when(SAGE_AXIS_SQ, 1u) : batch | when(SAGE_AXIS_SQ, 4u);
    case SAGE_ATTN_K:
    case SAGE_ATTN_V:
      if (paged) return 0;  // the pool of pages stays
      return varlen ? when(SAGE_AXIS_SKV, 1u) : batch | when(SAGE_AXIS_SKV, 4u);
    case SAGE_ATTN_LSE:
      return varlen ? when(SAGE_AXIS_SQ, 2u) : batch | when(SAGE_AXIS_SQ, 4u);
    case SAGE_ATTN_BLOCK_TABLE:
      return batch | when(SAGE_AXIS_SKV, 2u);
    case SAGE_ATTN_CSR_INDICES:
      return when(SAGE_AXIS_B | SAGE_AXIS_SQ | SAGE_AXIS_SKV, 1u);
    case SAGE_ATTN_ALIBI:
    case SAGE_ATTN_SINKS:
    case SAGE_ATTN_PHILOX:
      return 0;
    case SAGE_ATTN_SCALE_Q:
    case SAGE_ATTN_SCALE_K:
    case SAGE_ATTN_SCALE_V:
    case SAGE_ATTN_SCALE_P:
    case SAGE_ATTN_SCALE_O:
      return when(SAGE_AXIS_B | SAGE_AXIS_SQ | SAGE_AXIS_SKV, kAll);
    default:
      return batch | when(SAGE_AXIS_SQ, 4u) | when(SAGE_AXIS_SKV, 8u);  // masks, lengths, weights, scores
  }
}

sage_status CheckStruct(const sage_tensor* tensor, const char** why) {
  uint32_t size = 0;
  std::memcpy(&size, tensor, sizeof size);
  if (size < sizeof(sage_tensor) || size > SAGE_STRUCT_MAX)
    return Say(why, "a tensor of the run has a wrong struct_size: set it to sizeof(sage_tensor)");
  const auto* bytes = reinterpret_cast<const unsigned char*>(tensor);
  for (uint32_t i = sizeof(sage_tensor); i < size; ++i)
    if (bytes[i] != 0)
      return Say(why, "a tensor of the run sets a field this build does not know", SAGE_E_UNKNOWN_FIELD);
  return SAGE_OK;
}

}  // namespace

sage_status CheckRunSlots(const OpView& planned, const sage_tensor* const* slots, uint32_t num_slots,
                          const char** why) {
  const char* unused = nullptr;
  if (why == nullptr) why = &unused;
  if (slots == nullptr && num_slots > 0) return Say(why, "slots is null");
  const auto known = static_cast<uint32_t>(planned.pointers.size());
  bool smaller = false;
  for (uint32_t slot = 0; slot < known || slot < num_slots; ++slot) {
    const sage_tensor* given = slot < num_slots ? slots[slot] : nullptr;
    if (!planned.Has(slot)) {
      if (given != nullptr) return Say(why, "the run gives a slot that the plan was made without");
      continue;
    }
    if (given == nullptr) return Say(why, "the run lacks a slot that the plan was made with");
    SAGE_SUPPORT_TRY(CheckStruct(given, why));
    const sage_tensor& plan = planned.Slot(slot);
    if (given->dtype != plan.dtype) return Say(why, "a tensor of the run has another dtype than planned");
    if (given->rank != plan.rank) return Say(why, "a tensor of the run has another rank than planned");
    const int32_t device = given->device_type == 0 ? SAGE_CPU : given->device_type;
    if (device != plan.device_type || given->device_id != plan.device_id)
      return Say(why, "a tensor of the run is on another device than planned");
    const uint32_t shrinking = planned.op.dynamic_axes == 0 ? 0 : ShrinkingAxes(planned, slot);
    bool empty = false;
    for (uint32_t axis = 0; axis < plan.rank; ++axis) {
      const int64_t length = given->shape[axis];
      if (given->stride[axis] != plan.stride[axis])
        return Say(why, "a tensor of the run has other strides than planned");
      if (length < 0 || length > plan.shape[axis])
        return Say(why, "a tensor of the run is longer than planned, or has a negative length");
      if (length != plan.shape[axis]) {
        if ((shrinking >> axis & 1u) == 0)
          return Say(why, "a tensor of the run is shorter than planned on an axis that was not declared dynamic");
        smaller = true;
      }
      empty = empty || length == 0;
    }
    if ((given->flags & SAGE_TENSOR_READ_ONLY) != 0 && SlotIsWritten(planned.op.kind, planned.op.aliases, slot))
      return Say(why, "a tensor of the run is written, and its memory is read-only");
    if (given->data == nullptr && !empty) return Say(why, "a tensor of the run has no data");
    if ((plan.flags & SAGE_TENSOR_CONSTANT) != 0 && plan.data != nullptr && given->data != plan.data)
      return Say(why, "a constant of the run is not the one that was planned with");
  }
  if (!smaller) return SAGE_OK;
  const OpRef op{planned.op.kind, planned.op.aliases, &planned.attributes, slots, num_slots};
  const Complaint silent(nullptr);
  const sage_status status = op.kind == SAGE_OP_ATTENTION ? CheckAttention(op, silent) : CheckPlainKind(op, silent);
  if (status == SAGE_OK) return SAGE_OK;
  return Say(why, "the tensors of the run became smaller, but not together: their shapes no longer agree", status);
}

}  // namespace sage::support
