// product_operands.cc: the one reading of slots and attributes for all ways a product is made.
#include "common/cuda/products/product_operands.h"

#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

bool TypeOf(sage_dtype dtype, ProductType* out) {
  constexpr struct {
    sage_dtype dtype;
    ProductType type;
  } kTypes[] = {
      {SAGE_F64, ProductType::kF64},   {SAGE_F32, ProductType::kF32},        {SAGE_F16, ProductType::kF16},
      {SAGE_BF16, ProductType::kBf16}, {SAGE_I32, ProductType::kI32},        {SAGE_I16, ProductType::kI16},
      {SAGE_I8, ProductType::kI8},     {SAGE_F8_E4M3FN, ProductType::kE4m3}, {SAGE_F8_E5M2, ProductType::kE5m2}};
  for (const auto& [known, type] : kTypes)
    if (known == dtype) return *out = type, true;
  return false;
}

struct Axis {
  int64_t size = 1, x = 0, w = 0, y = 0;
  bool Continues(const Axis& inner) const {
    return x == inner.x * inner.size && w == inner.w * inner.size && y == inner.y * inner.size;
  }
};

// Rows last, outer axes before them; joined where strides allow it and without those of length 1, or as they are.
// Returns how many.
int32_t Collect(uint32_t kind, const sage_tensor& x, const sage_tensor& w, const sage_tensor& y, bool join,
                Axis* axes) {
  int32_t count = 0;
  const uint32_t outer = x.rank - 1;
  for (uint32_t axis = 0; axis < outer; ++axis) {
    if (join && x.shape[axis] == 1) continue;
    // W goes along with MATMUL's batch, and repeats over all rows.
    const bool with_w = kind == SAGE_OP_MATMUL && axis + 1 < outer;
    const Axis next{x.shape[axis], x.stride[axis], with_w ? w.stride[axis] : 0, y.stride[axis]};
    if (join && count > 0 && axes[count - 1].Continues(next))
      axes[count - 1] = {axes[count - 1].size * next.size, next.x, next.w, next.y};
    else
      axes[count++] = next;
  }
  return count;
}

}  // namespace

const char* BindProduct(uint32_t kind, uint32_t activation, const sage_tensor* const* slots, bool join,
                        ProductArguments* arguments) {
  const bool linear = kind == SAGE_OP_LINEAR;
  const sage_tensor &x = *slots[kSlotX], &w = *slots[kSlotW], &y = *slots[OutputSlot(kind)];
  ProductArguments a;
  if (!TypeOf(x.dtype, &a.x_type) || !TypeOf(w.dtype, &a.w_type) || !TypeOf(y.dtype, &a.y_type))
    return "a dtype is unknown to this build";
  a.x = x.data, a.w = w.data, a.y = y.data;
  const uint32_t last = x.rank - 1, w_n = linear ? 0 : last, w_k = linear ? 1 : last - 1;
  const int64_t k = x.shape[last], n = w.shape[w_n];
  a.x_column = x.stride[last], a.y_column = y.stride[last];
  a.w_row = w.stride[w_n], a.w_column = w.stride[w_k];

  Axis axes[SAGE_MAX_RANK];
  int32_t count = Collect(kind, x, w, y, join, axes);
  Axis rows;
  // Where MATMUL has one row, the innermost axis may be one that W goes along with.
  if (count > 0 && axes[count - 1].w == 0) rows = axes[--count];
  a.x_row = rows.x, a.y_row = rows.y;
  int64_t batch = 1;
  for (int32_t axis = 0; axis < count; ++axis) {
    if (axes[axis].size > INT32_MAX || (batch *= axes[axis].size) > INT32_MAX) return "its batch is beyond 31 bits";
    a.axes[axis] = {static_cast<int32_t>(axes[axis].size), axes[axis].x, axes[axis].w, axes[axis].y};
  }
  if (rows.size > INT32_MAX || n > INT32_MAX || k > INT32_MAX) return "its rows, columns or K are beyond 31 bits";
  a.batch_axes = count, a.batch = static_cast<int32_t>(batch);
  a.m = static_cast<int32_t>(rows.size), a.n = static_cast<int32_t>(n), a.k = static_cast<int32_t>(k);
  if (linear) {
    a.activation = activation;
    if (const sage_tensor* bias = slots[kSlotBias]; bias != nullptr) {
      if (!TypeOf(bias->dtype, &a.bias_type)) return "the dtype of B is unknown to this build";
      a.bias = bias->data, a.bias_stride = bias->stride[0];
    }
    if (const sage_tensor* scale = slots[kSlotScaleX]; scale != nullptr)
      a.scale_x = static_cast<const float*>(scale->data),
      a.scale_x_stride = scale->shape[0] == 1 ? 0 : scale->stride[0];
    if (const sage_tensor* scale = slots[kSlotScaleW]; scale != nullptr)
      a.scale_w = static_cast<const float*>(scale->data),
      a.scale_w_stride = scale->shape[0] == 1 ? 0 : scale->stride[0];
  }
  *arguments = a;
  return nullptr;
}

const char* BindPlanned(const support::OpView& view, bool join, ProductArguments* arguments) {
  std::array<sage_tensor, kProductSlots> tensors;
  std::array<const sage_tensor*, kProductSlots> slots{};
  for (uint32_t slot = 0; slot < kProductSlots; ++slot) {
    if (!view.Has(slot)) continue;
    tensors[slot] = view.Slot(slot);
    tensors[slot].data = reinterpret_cast<void*>(uintptr_t{4096});
    slots[slot] = &tensors[slot];
  }
  return BindProduct(view.op.kind, view.attributes.linear.activation, slots.data(), join, arguments);
}

sage_status BindRun(const support::OpView& view, const DeviceConstants& constants, const sage_run_args& args,
                    RunOperands* operands, ProductArguments* arguments, sage_error* err) {
  auto& slots = operands->slots;
  constants.Place(args, operands->moved, slots);
  // A device that reads a number across its alignment is lost.
  for (uint32_t slot = 0; slot < kProductSlots; ++slot) {
    if (slots[slot] == nullptr || IsAligned(slots[slot]->data, support::DtypeSize(slots[slot]->dtype))) continue;
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                     "run: the address of %s is no multiple of %u bytes, the size of its elements",
                     support::SlotName(view.op.kind, slot), support::DtypeSize(slots[slot]->dtype));
  }
  const char* const why = BindProduct(view.op.kind, view.attributes.linear.activation, slots.data(), true, arguments);
  return why == nullptr ? SAGE_OK : sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: %s", why);
}

}  // namespace sage::cuda
