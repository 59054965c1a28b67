// build_op.cc: a node and its tensors as the ABI's op. Layouts, transposes and broadcasts become strides.
#include <fmt/format.h>

#include <cstring>
#include <type_traits>

#include "model/axis_view.h"
#include "model/shapes.h"
#include "model/slice_range.h"
#include "model/slot_names.h"

namespace sage {
namespace {

sage_tensor Viewed(const AxisView& view, const sage_tensor& from) {
  sage_tensor to = from;
  to.rank = view.rank;
  for (uint32_t i = 0; i < SAGE_MAX_RANK; ++i) to.shape[i] = to.stride[i] = 0;
  for (uint32_t i = 0; i < view.rank; ++i) {
    const AxisView::Axis& axis = view.axes[i];
    if (axis.source < 0) {
      to.shape[i] = 1;
      continue;
    }
    const int64_t size = from.shape[axis.source], stride = from.stride[axis.source];
    const int64_t width = size / view.heads;
    to.shape[i] = axis.part == AxisView::Part::kHead ? view.heads : axis.part == AxisView::Part::kWithin ? width : size;
    to.stride[i] = axis.part == AxisView::Part::kHead ? stride * width : stride;
  }
  return to;
}

// An axis of length 1 repeats to the target's length. The shapes are known to allow it.
void Repeat(sage_tensor* tensor, uint32_t axis, int64_t size) {
  if (tensor->shape[axis] == size) return;
  tensor->shape[axis] = size;
  tensor->stride[axis] = 0;
}

sage_tensor BroadcastTo(const sage_tensor& from, const int64_t* shape, uint32_t rank) {
  sage_tensor to = Viewed(RightAligned(from.rank, rank), from);
  for (uint32_t i = 0; i < rank; ++i) Repeat(&to, i, shape[i]);
  return to;
}

class Builder {
 public:
  Builder(const Node& node, std::span<const sage_tensor> tensors, BuiltOp* out)
      : node_(node), tensors_(tensors), out_(*out) {}

  Status Build(uint32_t dynamic_axes) {
    if (node_.kind == kKindReshape || NodeKindName(node_.kind) == nullptr)
      return Status(SAGE_E_INTERNAL,
                    fmt::format("node \"{}\": kind {} is not an op of the ABI", node_.name, node_.kind));
    const auto count = static_cast<uint32_t>(node_.slots.size());
    out_.tensors.resize(count);
    out_.slots.assign(count, nullptr);
    for (uint32_t slot = 0; slot < count; ++slot) {
      if (node_.slots[slot] == kNone) continue;
      out_.tensors[slot] = tensors_[static_cast<size_t>(node_.slots[slot])];
      out_.slots[slot] = &out_.tensors[slot];
    }
    const uint32_t required = RequiredSlots(node_.kind);
    for (uint32_t slot = 0; slot < 32; ++slot) {
      if (((required >> slot) & 1u) != 0 && !Has(slot))
        return Status(SAGE_E_INVALID_ARGUMENT,
                      fmt::format("node \"{}\": {} is missing", node_.name, SlotName(node_.kind, slot)));
    }
    out_.op = sage_op{};
    out_.op.struct_size = sizeof(sage_op);
    out_.op.kind = node_.kind;
    out_.op.dynamic_axes = dynamic_axes;
    out_.op.num_slots = count;
    out_.op.slots = out_.slots.data();
    std::memset(out_.attributes, 0, sizeof out_.attributes);
    std::visit([this](const auto& attributes) { Set(attributes); }, node_.attributes);
    return {};
  }

 private:
  bool Has(uint32_t slot) const { return slot < out_.slots.size() && out_.slots[slot] != nullptr; }
  sage_tensor& At(uint32_t slot) { return out_.tensors[slot]; }

  template <class T>
  void Attributes(T attributes) {
    static_assert(sizeof(T) <= sizeof out_.attributes && std::is_trivially_copyable_v<T>);
    attributes.struct_size = sizeof(T);
    std::memcpy(out_.attributes, &attributes, sizeof(T));
    out_.op.attributes = out_.attributes;
  }
  // Of a tensor of this rank; out of range is left for the op check to refuse.
  static int32_t Normalised(int32_t axis, uint32_t rank) { return axis < 0 ? axis + static_cast<int32_t>(rank) : axis; }

  void Set(const AttentionNode& attention) {
    const AttentionForm form = FormOf(node_, attention);
    for (uint32_t slot = 0; slot < out_.slots.size(); ++slot) {
      if (Has(slot)) At(slot) = Viewed(AttentionView(form, slot, At(slot).rank), At(slot));
    }
    if (!form.packed) {
      const sage_tensor &q = At(SAGE_ATTN_Q), &k = At(SAGE_ATTN_K);
      const int64_t keys = form.paged ? At(SAGE_ATTN_BLOCK_TABLE).shape[1] * k.shape[2] : k.shape[2];
      for (const uint32_t slot : {SAGE_ATTN_BIAS, SAGE_ATTN_MASK, SAGE_ATTN_BIT_MASK}) {
        if (!Has(slot)) continue;
        for (uint32_t axis = 0; axis < 3; ++axis) Repeat(&At(slot), axis, q.shape[axis]);
        Repeat(&At(slot), 3, slot == SAGE_ATTN_BIT_MASK ? keys / 8 + (keys % 8 != 0 ? 1 : 0) : keys);
      }
    }
    if (Has(SAGE_ATTN_K_NEW)) out_.op.aliases = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
    Attributes(attention.attributes);
  }
  void Set(const sage_linear_attributes& linear) { Attributes(linear); }
  void Set(const MatMulNode& matmul) {
    const auto swap_last = [](sage_tensor* tensor) {
      std::swap(tensor->shape[tensor->rank - 1], tensor->shape[tensor->rank - 2]);
      std::swap(tensor->stride[tensor->rank - 1], tensor->stride[tensor->rank - 2]);
    };
    if (matmul.transpose_a) swap_last(&At(0));
    if (matmul.transpose_b) swap_last(&At(1));
    const sage_tensor& c = At(2);
    for (uint32_t slot = 0; slot < 2; ++slot) {
      At(slot) = Viewed(RightAligned(At(slot).rank, c.rank), At(slot));
      for (uint32_t axis = 0; axis + 2 < c.rank; ++axis) Repeat(&At(slot), axis, c.shape[axis]);
    }
  }
  void Set(sage_norm_attributes norm) {
    norm.axis = Normalised(norm.axis, At(0).rank);
    Attributes(norm);
  }
  void Set(const sage_unary_attributes& unary) { Attributes(unary); }
  void Set(const sage_binary_attributes& binary) {
    const sage_tensor& y = At(2);
    for (uint32_t slot = 0; slot < 2; ++slot) At(slot) = BroadcastTo(At(slot), y.shape, y.rank);
    Attributes(binary);
  }
  void Set(sage_softmax_attributes softmax) {
    softmax.axis = Normalised(softmax.axis, At(0).rank);
    Attributes(softmax);
  }
  void Set(const ReduceNode& reduce) {
    sage_reduce_attributes attributes{};
    attributes.function = reduce.function;
    if (reduce.axes.empty()) attributes.axes = (1u << At(0).rank) - 1u;
    for (const int32_t axis : reduce.axes) attributes.axes |= 1u << Normalised(axis, At(0).rank);
    Attributes(attributes);
  }
  void Set(sage_gather_attributes gather) {
    gather.axis = Normalised(gather.axis, At(0).rank);
    Attributes(gather);
  }
  void Set(sage_concat_attributes concat) {
    concat.axis = Normalised(concat.axis, At(1).rank);
    Attributes(concat);
  }
  void Set(const SliceNode& slice) {
    sage_slice_attributes attributes{};
    const int32_t axis = Normalised(slice.axis, At(0).rank);
    const SliceRange range = RangeOf(slice, At(0).shape[axis]);
    for (uint32_t d = 0; d < At(0).rank; ++d) attributes.step[d] = 1;
    attributes.begin[axis] = range.begin;
    attributes.step[axis] = range.step;
    Attributes(attributes);
  }
  void Set(sage_permute_attributes permute) {
    for (uint32_t d = 0; d < SAGE_MAX_RANK; ++d)
      permute.axes[d] = d < At(0).rank ? Normalised(permute.axes[d], At(0).rank) : 0;
    Attributes(permute);
  }
  void Set(const TopKNode& topk) {
    sage_topk_attributes attributes = topk.attributes;
    attributes.axis = Normalised(attributes.axis, At(0).rank);
    Attributes(attributes);
  }
  void Set(const sage_rope_attributes& rope) {
    if (Has(1) && At(1).rank == 1) {  // one row of positions for every batch entry, perhaps longer than the sequence
      const sage_tensor& x = At(0);
      const int64_t rows = x.rank == 3 ? x.shape[0] : x.shape[2];
      if (x.rank == 4) {
        At(1) = Viewed(RightAligned(1, 2), At(1));
        Repeat(&At(1), 0, x.shape[0]);
        At(1).shape[1] = rows;
      } else {
        At(1).shape[0] = rows;
      }
    }
    Attributes(rope);
  }
  void Set(const sage_pool_attributes& pool) { Attributes(pool); }
  void Set(const ReshapeNode&) {}

  const Node& node_;
  std::span<const sage_tensor> tensors_;
  BuiltOp& out_;
};

}  // namespace

Status BuildOp(const Node& node, std::span<const sage_tensor> tensors, uint32_t dynamic_axes, BuiltOp* out) {
  return Builder(node, tensors, out).Build(dynamic_axes);
}

}  // namespace sage
