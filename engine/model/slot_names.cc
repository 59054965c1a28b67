// slot_names.cc: one table for what the schema and the ABI call the same thing.
#include "model/slot_names.h"

#include <fmt/format.h>

#include <span>

#include "sage/support/check_op.h"

namespace sage {
namespace {

constexpr const char* kAttention[SAGE_ATTN_NUM_SLOTS] = {"q",
                                                         "k",
                                                         "v",
                                                         "out",
                                                         "lse",
                                                         "bias",
                                                         "mask",
                                                         "bit_mask",
                                                         "block_mask",
                                                         "csr_indptr",
                                                         "csr_indices",
                                                         "alibi",
                                                         "sinks",
                                                         "cu_seqlens_q",
                                                         "cu_seqlens_k",
                                                         "seqused_q",
                                                         "seqused_k",
                                                         "block_table",
                                                         "k_new",
                                                         "v_new",
                                                         "quant_q.scale",
                                                         "quant_k.scale",
                                                         "quant_v.scale",
                                                         "quant_p.scale",
                                                         "quant_o.scale",
                                                         "philox",
                                                         "weights",
                                                         "scores"};
constexpr const char* kLinear[] = {"x", "weight", "bias", "out", "scale_x", "scale_weight"};
constexpr const char* kMatMul[] = {"a", "b", "out"};
constexpr const char* kNorm[] = {"x", "weight", "bias", "mean", "variance", "out"};
constexpr const char* kOneToOne[] = {"x", "out"};
constexpr const char* kGather[] = {"x", "indices", "out"};
constexpr const char* kTopK[] = {"x", "values", "indices"};
constexpr const char* kRope[] = {"x", "positions", "cos", "sin", "out"};
constexpr const char* kPool[] = {"x", "mask", "out"};

struct Kind {
  const char* name;
  std::span<const char* const> slots;
  uint32_t required;  // bit per slot
};

// Empty name = unknown. CONCAT's slots are numbered, so it has none here.
Kind KindOf(uint32_t kind) {
  switch (kind) {
    case SAGE_OP_ATTENTION:
      return {"Attention", kAttention, 0b1111};
    case SAGE_OP_LINEAR:
      return {"Linear", kLinear, 0b1011};
    case SAGE_OP_MATMUL:
      return {"MatMul", kMatMul, 0b111};
    case SAGE_OP_NORM:
      return {"Norm", kNorm, 0b100001};
    case SAGE_OP_UNARY:
      return {"Unary", kOneToOne, 0b11};
    case SAGE_OP_BINARY:
      return {"Binary", kMatMul, 0b111};
    case SAGE_OP_SOFTMAX:
      return {"Softmax", kOneToOne, 0b11};
    case SAGE_OP_REDUCE:
      return {"Reduce", kOneToOne, 0b11};
    case SAGE_OP_GATHER:
      return {"Gather", kGather, 0b111};
    case SAGE_OP_CONCAT:
      return {"Concat", {}, 0b11};
    case SAGE_OP_SLICE:
      return {"Slice", kOneToOne, 0b11};
    case SAGE_OP_PERMUTE:
      return {"Permute", kOneToOne, 0b11};
    case SAGE_OP_TOPK:
      return {"TopK", kTopK, 0b111};
    case SAGE_OP_ROPE:
      return {"Rope", kRope, 0b10001};
    case SAGE_OP_POOL:
      return {"Pool", kPool, 0b101};
    case kKindReshape:
      return {"Reshape", kOneToOne, 0b11};
    default:
      return {nullptr, {}, 0};
  }
}

}  // namespace

std::string SlotName(uint32_t kind, uint32_t slot) {
  if (kind == SAGE_OP_CONCAT) return slot == 0 ? "out" : fmt::format("inputs[{}]", slot - 1);
  const Kind found = KindOf(kind);
  return slot < found.slots.size() ? found.slots[slot] : fmt::format("slot {}", slot);
}

std::string NodePath(size_t index, const Node& node, uint32_t slot) {
  if (node.file_index != kNone) index = static_cast<size_t>(node.file_index);
  std::string path = fmt::format("nodes[{}].{}", index, node.name);
  if (slot != UINT32_MAX) path.append(1, '.').append(SlotName(node.kind, slot));
  return path;
}

uint32_t NodeSlotCount(uint32_t kind) { return kind == kKindReshape ? 2 : support::SlotCount(kind); }

bool NodeSlotIsOutput(uint32_t kind, uint32_t slot) {
  return kind == kKindReshape ? slot == 1 : support::SlotIsOutput(kind, slot);
}

uint32_t RequiredSlots(uint32_t kind) { return KindOf(kind).required; }

const char* NodeKindName(uint32_t kind) { return KindOf(kind).name; }

}  // namespace sage
