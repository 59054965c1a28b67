// check_op.cc: the rules every kind shares: what a tensor may be, which slots and axes a kind has, and in which order
// the rules of a kind are asked.
#include "sage/support/check_op.h"

#include <cstdarg>
#include <cstdio>

#include "sage/support/check_internal.h"

namespace sage::support {
namespace {

sage_status Complain(std::string* why, sage_status status, const char* format, va_list arguments) {
  if (why == nullptr) return status;
  char text[480];
  (void)std::vsnprintf(text, sizeof text, format, arguments);
  *why = text;
  return status;
}

uint64_t Magnitude(int64_t value) {
  return value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

// Rank, shape, strides, dtype and device of one tensor.
sage_status CheckTensor(const OpRef& op, uint32_t slot, const Complaint& complain) {
  const sage_tensor& tensor = op[slot];
  const char* name = SlotName(op.kind, slot);
  const uint32_t size = DtypeSize(tensor.dtype);
  if (tensor.dtype == 0) return complain.Invalid("%s has no dtype", name);
  if (size == 0) return complain.Unknown("%s has dtype 0x%x, which this build does not know", name, tensor.dtype);
  if (tensor.rank > SAGE_MAX_RANK)
    return complain.Invalid("%s has rank %u; at most %d is possible", name, tensor.rank, SAGE_MAX_RANK);
  if (tensor.device_type < 0 || tensor.device_id < 0)
    return complain.Invalid("%s is on device (%d, %d); both numbers must be >= 0", name, tensor.device_type,
                            tensor.device_id);
  uint64_t elements = 1, reach = size;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) {
    const int64_t length = tensor.shape[axis];
    if (length < 0)
      return complain.Invalid("%s has length %lld on axis %u; lengths are >= 0", name, static_cast<long long>(length),
                              axis);
    // Zero lengths count as one: code that multiplies lengths one after the other must not overflow either.
    const uint64_t steps = length > 1 ? static_cast<uint64_t>(length) - 1 : 0;
    if (steps >= kMaxReachBytes / elements)
      return complain.Invalid("%s has too many elements (2^56 is the limit)", name);
    elements *= steps + 1;
    const uint64_t stride = Magnitude(tensor.stride[axis]);
    if (stride > kMaxReachBytes / size)
      return complain.Invalid("%s has stride %lld on axis %u; that is beyond 2^56 bytes", name,
                              static_cast<long long>(tensor.stride[axis]), axis);
    if (stride != 0 && steps > (kMaxReachBytes - reach) / (stride * size))
      return complain.Invalid("%s reaches further than 2^56 bytes from its first element", name);
    reach += steps * stride * size;
  }
  if ((tensor.flags & SAGE_TENSOR_CONSTANT) != 0 && tensor.device_type != SAGE_CPU)
    return complain.Invalid("%s is constant but not in CPU memory (device type %d)", name, tensor.device_type);
  if (SlotIsWritten(op.kind, op.aliases, slot)) {
    if ((tensor.flags & SAGE_TENSOR_CONSTANT) != 0)
      return complain.Invalid("%s is written, so it cannot be constant", name);
    if ((tensor.flags & SAGE_TENSOR_READ_ONLY) != 0)
      return complain.Invalid("%s is written, and its memory is read-only", name);
    // An empty tensor is never written; row-major strides of one are 0 left of the empty axis.
    bool empty = false;
    for (uint32_t axis = 0; axis < tensor.rank; ++axis) empty = empty || tensor.shape[axis] == 0;
    for (uint32_t axis = 0; axis < tensor.rank && !empty; ++axis)
      if (tensor.stride[axis] == 0 && tensor.shape[axis] > 1)
        return complain.Invalid("%s is written, so axis %u of length %lld cannot repeat by stride 0", name, axis,
                                static_cast<long long>(tensor.shape[axis]));
  }
  return SAGE_OK;
}

uint32_t AxesOf(uint32_t kind) {
  switch (kind) {
    case SAGE_OP_ATTENTION:
      return SAGE_AXIS_B | SAGE_AXIS_SQ | SAGE_AXIS_SKV;
    case SAGE_OP_MATMUL:
      return SAGE_AXIS_B | SAGE_AXIS_M;
    default:
      return SAGE_AXIS_M;
  }
}

sage_status CheckAliases(const OpRef& op, const Complaint& complain) {
  uint64_t expected = 0;
  if (op.kind == SAGE_OP_ATTENTION && (op.Has(SAGE_ATTN_K_NEW) || op.Has(SAGE_ATTN_V_NEW)))
    expected = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
  if (op.aliases == expected) return SAGE_OK;
  if (expected != 0)
    return complain.Invalid("K_NEW and V_NEW are appended to K and V in place: aliases must be 0x%llx, not 0x%llx",
                            static_cast<unsigned long long>(expected), static_cast<unsigned long long>(op.aliases));
  return complain.Invalid("aliases is 0x%llx, but %s writes no slot in place here",
                          static_cast<unsigned long long>(op.aliases), KindName(op.kind));
}

}  // namespace

sage_status Complaint::Invalid(const char* format, ...) const {
  va_list arguments;
  va_start(arguments, format);
  const sage_status status = Complain(why_, SAGE_E_INVALID_ARGUMENT, format, arguments);
  va_end(arguments);
  return status;
}

sage_status Complaint::Unsupported(const char* format, ...) const {
  va_list arguments;
  va_start(arguments, format);
  const sage_status status = Complain(why_, SAGE_E_UNSUPPORTED, format, arguments);
  va_end(arguments);
  return status;
}

sage_status Complaint::Unknown(const char* format, ...) const {
  va_list arguments;
  va_start(arguments, format);
  const sage_status status = Complain(why_, SAGE_E_UNKNOWN_FIELD, format, arguments);
  va_end(arguments);
  return status;
}

ShapeText::ShapeText(uint32_t rank, const int64_t* shape) {
  size_t used = 0;
  text[used++] = '[';
  for (uint32_t axis = 0; axis < rank && axis < SAGE_MAX_RANK && used < sizeof text - 24; ++axis) {
    const int wrote = std::snprintf(text + used, sizeof text - used, axis == 0 ? "%lld" : ",%lld",
                                    static_cast<long long>(shape[axis]));
    used += wrote > 0 ? static_cast<size_t>(wrote) : 0;
  }
  text[used++] = ']';
  text[used] = '\0';
}

bool SameShape(const sage_tensor& a, const sage_tensor& b) {
  if (a.rank != b.rank) return false;
  for (uint32_t axis = 0; axis < a.rank; ++axis)
    if (a.shape[axis] != b.shape[axis]) return false;
  return true;
}

bool ProductFits(std::initializer_list<int64_t> factors, uint64_t limit) {
  uint64_t product = 1;
  for (const int64_t factor : factors) {
    const uint64_t value = factor > 0 ? static_cast<uint64_t>(factor) : 1;
    if (value > limit / product) return false;
    product *= value;
  }
  return true;
}

sage_status ExpectSlot(const OpRef& op, uint32_t slot, const Complaint& complain) {
  if (op.Has(slot)) return SAGE_OK;
  return complain.Invalid("%s needs %s (slot %u)", KindName(op.kind), SlotName(op.kind, slot), slot);
}

sage_status ExpectShape(const OpRef& op, uint32_t slot, uint32_t rank, const int64_t* shape,
                        const Complaint& complain) {
  const sage_tensor& tensor = op[slot];
  bool same = tensor.rank == rank;
  for (uint32_t axis = 0; same && axis < rank; ++axis) same = tensor.shape[axis] == shape[axis];
  if (same) return SAGE_OK;
  if (!complain.wants_text()) return SAGE_E_INVALID_ARGUMENT;
  return complain.Invalid("%s has shape %s, expected %s", SlotName(op.kind, slot), ShapeText(tensor).c_str(),
                          ShapeText(rank, shape).c_str());
}

sage_status ExpectDtype(const OpRef& op, uint32_t slot, sage_dtype dtype, const Complaint& complain) {
  if (op[slot].dtype == dtype) return SAGE_OK;
  return complain.Invalid("%s is %s, expected %s", SlotName(op.kind, slot), DtypeName(op[slot].dtype),
                          DtypeName(dtype));
}

sage_status ExpectFloat(const OpRef& op, uint32_t slot, const Complaint& complain) {
  if (IsFloat(op[slot].dtype)) return SAGE_OK;
  return complain.Invalid("%s is %s, expected f64, f32, f16 or bf16", SlotName(op.kind, slot),
                          DtypeName(op[slot].dtype));
}

sage_status CheckOp(const OpView& view, std::string* why) {
  const Complaint complain(why);
  const OpRef op{view.op.kind, view.op.aliases, &view.attributes, view.pointers.data(),
                 static_cast<uint32_t>(view.pointers.size())};
  if (SlotCount(op.kind) == 0) return complain.Unknown("kind %u is newer than this build", op.kind);
  if (const uint32_t odd = view.op.dynamic_axes & ~AxesOf(op.kind); odd != 0)
    return complain.Invalid("dynamic axes 0x%x have no meaning for %s", odd, KindName(op.kind));
  SAGE_SUPPORT_TRY(CheckAliases(op, complain));
  for (uint32_t slot = 0; slot < op.num_slots; ++slot)
    if (op.Has(slot)) SAGE_SUPPORT_TRY(CheckTensor(op, slot, complain));
  if (op.kind != SAGE_OP_ATTENTION) return CheckPlainKind(op, complain);
  SAGE_SUPPORT_TRY(CheckAttention(op, complain));
  uint64_t features = 0;
  return DeriveAttentionFeatures(view, &features, why);
}

}  // namespace sage::support
