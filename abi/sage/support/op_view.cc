// op_view.cc: the struct_size rule applied to an op and to all it points to.
#include "sage/support/op_view.h"

#include <cstddef>
#include <cstring>

#include "sage/support/check_internal.h"
#include "sage/support/check_op.h"
#include "sage/support/take_in.h"

namespace sage::support {
namespace {

constexpr uint32_t kMaxSlots = 4096;
constexpr uint32_t kKnownRequirements = SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_STREAM_CAPTURE | SAGE_REQUIRE_SCALAR;
constexpr uint32_t kKnownAxes = SAGE_AXIS_B | SAGE_AXIS_SQ | SAGE_AXIS_SKV | SAGE_AXIS_M;
constexpr uint64_t kKnownFeatures = (SAGE_ATTN_F_SCORES_OUT << 1) - 1;

sage_status Explain(sage_status status, const char* what, const Complaint& complain) {
  if (status == SAGE_E_UNKNOWN_FIELD)
    return complain.Unknown("%s sets a field this build does not know: update this side, or leave the field 0", what);
  return complain.Invalid("%s is null or its struct_size is not between %u and %u: set it to sizeof the struct", what,
                          SAGE_STRUCT_MIN, SAGE_STRUCT_MAX);
}

// Reserved fields are 0 today; a later minor may give them a meaning we would drop.
sage_status CheckReserved(const OpView& view, const Complaint& complain) {
  if (view.op.kind == SAGE_OP_ATTENTION) {
    if (const uint64_t unknown = view.attributes.attention.features & ~kKnownFeatures; unknown != 0)
      return complain.Unknown("attention features 0x%llx are newer than this build",
                              static_cast<unsigned long long>(unknown));
  }
  const uint32_t offset = ReservedOffset(view.op.kind);
  if (offset == 0) return SAGE_OK;
  uint32_t reserved = 0;
  std::memcpy(&reserved, reinterpret_cast<const char*>(&view.attributes) + offset, sizeof reserved);
  if (reserved != 0) return complain.Unknown("the attributes of %s set a reserved field", KindName(view.op.kind));
  return SAGE_OK;
}

sage_status TakeInAttributes(const void* theirs, OpView* out, const Complaint& complain) {
  std::memset(static_cast<void*>(&out->attributes), 0, sizeof out->attributes);
  const uint32_t size = AttributesSize(out->op.kind);
  if (size == 0) {
    // A kind without attributes may still get an empty struct, and must see when it is not empty.
    unsigned char nothing[SAGE_STRUCT_MIN] = {};
    if (theirs != nullptr) {
      if (const sage_status status = sage_take_in(nothing, sizeof nothing, theirs); status != SAGE_OK)
        return Explain(status, "the attributes", complain);
      for (size_t i = sizeof(uint32_t); i < sizeof nothing; ++i)
        if (nothing[i] != 0) return Explain(SAGE_E_UNKNOWN_FIELD, "the attributes", complain);
    }
    out->op.attributes = nullptr;
    return SAGE_OK;
  }
  if (theirs == nullptr) {
    std::memcpy(&out->attributes, &size, sizeof size);
  } else if (const sage_status status = sage_take_in(&out->attributes, size, theirs); status != SAGE_OK) {
    return Explain(status, "the attributes", complain);
  }
  out->op.attributes = &out->attributes;
  return CheckReserved(*out, complain);
}

}  // namespace

sage_status TakeInOp(const sage_op* theirs, OpView* out, std::string* why) {
  const Complaint complain(why);
  if (const sage_status status = sage_take_in(&out->op, sizeof out->op, theirs); status != SAGE_OK)
    return Explain(status, "the op", complain);
  sage_op& op = out->op;
  if (op.kind == 0) return complain.Invalid("the op's kind is unset: it must be one of SAGE_OP_*");
  const uint32_t known_slots = SlotCount(op.kind);
  if (known_slots == 0) return complain.Unknown("kind %u is newer than this build", op.kind);
  if ((op.requirements & ~kKnownRequirements) != 0)
    return complain.Unknown("requirements 0x%x are newer than this build", op.requirements & ~kKnownRequirements);
  if (op.accuracy > SAGE_ACCURACY_LOSSY) return complain.Unknown("accuracy %u is no SAGE_ACCURACY_*", op.accuracy);
  if ((op.dynamic_axes & ~kKnownAxes) != 0)
    return complain.Unknown("dynamic axes 0x%x are newer than this build", op.dynamic_axes & ~kKnownAxes);
  if (op.num_slots > kMaxSlots) return complain.Invalid("%u slots; at most %u are possible", op.num_slots, kMaxSlots);
  if (op.num_slots > 0 && op.slots == nullptr)
    return complain.Invalid("num_slots is %u but slots is null", op.num_slots);

  const uint32_t given = op.num_slots;
  const sage_tensor* const* slots = op.slots;
  const uint32_t count = known_slots == UINT32_MAX ? given : known_slots;
  out->tensors.assign(count, sage_tensor{});
  out->pointers.assign(count, nullptr);
  for (uint32_t slot = 0; slot < given; ++slot) {
    if (slots[slot] == nullptr) continue;
    if (slot >= count)
      return complain.Unknown("slot %u of %s is newer than this build, which knows %u", slot, KindName(op.kind), count);
    sage_tensor& tensor = out->tensors[slot];
    if (const sage_status status = sage_take_in(&tensor, sizeof tensor, slots[slot]); status != SAGE_OK)
      return Explain(status, SlotName(op.kind, slot), complain);
    constexpr uint32_t kKnownFlags = SAGE_TENSOR_CONSTANT | SAGE_TENSOR_READ_ONLY;
    if ((tensor.flags & ~kKnownFlags) != 0)
      return complain.Unknown("%s has tensor flags 0x%x, newer than this build", SlotName(op.kind, slot),
                              tensor.flags & ~kKnownFlags);
    if (tensor.device_type == 0) tensor.device_type = SAGE_CPU;
    out->pointers[slot] = &tensor;
  }
  op.num_slots = count;
  op.slots = out->pointers.data();
  return TakeInAttributes(op.attributes, out, complain);
}

}  // namespace sage::support
