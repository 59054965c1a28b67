// dynamic_axes.cc: which symbols a plan may leave open, and which it must know exactly.
//
// A symbol is open at a node when everywhere it appears there the axis is one that the ABI lets shrink at run. Being
// too strict costs a plan more per size; being too lenient would be a wrong answer, so what is not listed is exact.
#include "model/axis_view.h"
#include "model/shapes.h"
#include "model/slot_names.h"

namespace sage {
namespace {

class Finder {
 public:
  Finder(const Node& node, std::span<const BoundTensor> shapes) : node_(node), shapes_(shapes) {}

  DynamicAxes Find() {
    if (node_.kind == SAGE_OP_ATTENTION) {
      const AttentionForm form = FormOf(node_, std::get<AttentionNode>(node_.attributes));
      for (uint32_t slot = 0; slot < node_.slots.size(); ++slot) {
        const BoundTensor* tensor = At(slot);
        if (tensor == nullptr) continue;
        const AxisView view = AttentionView(form, slot, tensor->rank);
        for (uint32_t axis = 0; axis < view.rank; ++axis)
          Note(AttentionAxisRole(form, slot, axis), ExtentOf(*tensor, view, axis).symbols);
      }
      return found_;
    }
    for (uint32_t slot = 0; slot < node_.slots.size(); ++slot) {
      const BoundTensor* tensor = At(slot);
      if (tensor == nullptr) continue;
      for (uint32_t axis = 0; axis < tensor->rank; ++axis) Note(Role(slot, axis, *tensor), tensor->dim_symbols[axis]);
    }
    return found_;
  }

 private:
  const BoundTensor* At(uint32_t slot) const {
    return slot < node_.slots.size() && node_.slots[slot] != kNone ? &shapes_[static_cast<size_t>(node_.slots[slot])]
                                                                   : nullptr;
  }

  void Note(uint32_t role, uint64_t symbols) {
    if (symbols == 0) return;
    found_.axes |= role;
    if (role == 0) found_.exact_symbols |= symbols;
  }

  static int32_t Normalised(int32_t axis, uint32_t rank) { return axis < 0 ? axis + static_cast<int32_t>(rank) : axis; }

  uint32_t Role(uint32_t slot, uint32_t axis, const BoundTensor& tensor) const {
    constexpr uint32_t M = SAGE_AXIS_M;
    const uint32_t first = axis == 0 ? M : 0;
    switch (node_.kind) {
      case SAGE_OP_LINEAR:
        return (slot == 0 || slot == 3) && axis + 1 < tensor.rank ? M : 0;
      case SAGE_OP_MATMUL: {
        const uint32_t rank = At(2)->rank;
        const uint32_t from_right = tensor.rank - 1 - axis;
        if (from_right >= 2) return from_right == rank - 1 ? SAGE_AXIS_B : 0;
        if (slot == 1) return 0;
        const bool transposed = slot == 0 && std::get<MatMulNode>(node_.attributes).transpose_a;
        return from_right == (transposed ? 0u : 1u) ? M : 0;
      }
      case SAGE_OP_NORM:
        // Rows are open only when they are not what is normalised.
        return (slot == 0 || slot == 5) &&
                       Normalised(std::get<sage_norm_attributes>(node_.attributes).axis, tensor.rank) != 0
                   ? first
                   : 0;
      case SAGE_OP_UNARY:
        return first;
      case SAGE_OP_BINARY:
        return tensor.rank == At(2)->rank ? first : 0;
      case SAGE_OP_SOFTMAX:
        return Normalised(std::get<sage_softmax_attributes>(node_.attributes).axis, tensor.rank) != 0 ? first : 0;
      case SAGE_OP_REDUCE: {
        const auto& reduce = std::get<ReduceNode>(node_.attributes);
        if (reduce.axes.empty()) return 0;
        for (const int32_t written : reduce.axes) {
          if (Normalised(written, At(0)->rank) == 0) return 0;
        }
        return first;
      }
      case SAGE_OP_GATHER: {
        const bool rows = Normalised(std::get<sage_gather_attributes>(node_.attributes).axis, At(0)->rank) == 0;
        if (rows) return slot != 0 && At(1)->rank > 0 ? first : 0;
        return slot != 1 ? first : 0;
      }
      case SAGE_OP_CONCAT:
        return Normalised(std::get<sage_concat_attributes>(node_.attributes).axis, tensor.rank) != 0 ? first : 0;
      case SAGE_OP_SLICE:
        return Normalised(std::get<SliceNode>(node_.attributes).axis, tensor.rank) != 0 ? first : 0;
      case SAGE_OP_PERMUTE:
        return Normalised(std::get<sage_permute_attributes>(node_.attributes).axes[0], tensor.rank) == 0 ? first : 0;
      case SAGE_OP_TOPK:
        return Normalised(std::get<TopKNode>(node_.attributes).attributes.axis, tensor.rank) != 0 ? first : 0;
      case SAGE_OP_ROPE:
        return slot == 0 || slot == 4 || slot == 1 ? first : 0;
      case SAGE_OP_POOL:
        return first;
      case kKindReshape:
        return ReshapeRole(axis);
      default:
        return 0;
    }
  }

  // An axis at the same place from the left with the same length on both sides, all before it alike: it stays an axis,
  // and shrinking it moves no element. What is merged or split must be known.
  uint32_t ReshapeRole(uint32_t axis) const {
    const BoundTensor &x = *At(0), &y = *At(1);
    if (axis >= x.rank || axis >= y.rank) return 0;
    for (uint32_t d = 0; d <= axis; ++d) {
      if (x.shape[d] != y.shape[d] || x.dim_symbols[d] != y.dim_symbols[d]) return 0;
    }

    return SAGE_AXIS_M;
  }

  const Node& node_;
  std::span<const BoundTensor> shapes_;
  DynamicAxes found_;
};

}  // namespace

DynamicAxes FindDynamicAxes(const Graph&, const Node& node, std::span<const BoundTensor> shapes) {
  return Finder(node, shapes).Find();
}

}  // namespace sage
