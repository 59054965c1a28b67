// axis_view.cc: the layouts of attention as tables of axes.
#include "model/axis_view.h"

namespace sage {
namespace {

using Part = AxisView::Part;

AxisView Identity(uint32_t rank) { return RightAligned(rank, rank); }

AxisView SwapHeadsAndRows(uint32_t rank) {
  AxisView view = Identity(rank);
  view.axes[1].source = 2;
  view.axes[2].source = 1;
  return view;
}

AxisView SplitHeads(int64_t heads) {
  AxisView view;
  view.rank = 4;
  view.heads = heads;
  view.axes[0].source = 0;
  view.axes[1] = {2, Part::kHead};
  view.axes[2].source = 1;
  view.axes[3] = {2, Part::kWithin};
  return view;
}

bool IsPages(const AttentionForm& form, uint32_t slot) {
  return form.paged && (slot == SAGE_ATTN_K || slot == SAGE_ATTN_V);
}

bool IsOperand(uint32_t slot) { return slot <= SAGE_ATTN_O || slot == SAGE_ATTN_K_NEW || slot == SAGE_ATTN_V_NEW; }

int64_t HeadsOf(const AttentionForm& form, uint32_t slot) {
  if (slot == SAGE_ATTN_Q || slot == SAGE_ATTN_O) return form.query_heads;
  return slot == SAGE_ATTN_V || slot == SAGE_ATTN_V_NEW ? form.value_heads : form.kv_heads;
}

}  // namespace

AttentionForm FormOf(const Node& node, const AttentionNode& attention) {
  AttentionForm form;
  form.layout = attention.layout;
  form.packed = attention.layout == Layout::kTHD;
  form.paged = node.slots.size() > SAGE_ATTN_BLOCK_TABLE && node.slots[SAGE_ATTN_BLOCK_TABLE] != kNone;
  form.query_heads = attention.query_heads;
  form.kv_heads = attention.kv_heads;
  form.value_heads = attention.value_heads;
  return form;
}

RankRange AttentionRank(const AttentionForm& form, uint32_t slot) {
  if (IsOperand(slot)) {
    if (form.layout == Layout::kBSE) return {3, 3};
    return form.packed && !IsPages(form, slot) ? RankRange{3, 3} : RankRange{4, 4};
  }
  switch (slot) {
    case SAGE_ATTN_BIAS:
    case SAGE_ATTN_MASK:
    case SAGE_ATTN_BIT_MASK:
      return {0, 4};
    case SAGE_ATTN_BLOCK_MASK:
      return {2, 4};
    case SAGE_ATTN_CSR_INDPTR:
      return {1, 3};
    case SAGE_ATTN_LSE:
      return form.packed ? RankRange{2, 2} : RankRange{3, 3};
    case SAGE_ATTN_WEIGHTS:
    case SAGE_ATTN_SCORES:
      return {4, 4};
    case SAGE_ATTN_BLOCK_TABLE:
      return {2, 2};
    case SAGE_ATTN_SCALE_Q:
    case SAGE_ATTN_SCALE_K:
    case SAGE_ATTN_SCALE_V:
    case SAGE_ATTN_SCALE_P:
    case SAGE_ATTN_SCALE_O:
      return {1, 3};
    default:
      return {1, 1};
  }
}

AxisView AttentionView(const AttentionForm& form, uint32_t slot, uint32_t rank) {
  if (IsOperand(slot)) {
    if (form.layout == Layout::kBSE) return SplitHeads(HeadsOf(form, slot));
    if (form.layout == Layout::kBSHD || (form.packed && IsPages(form, slot))) return SwapHeadsAndRows(rank);
    return Identity(rank);
  }
  switch (slot) {
    case SAGE_ATTN_BIAS:
    case SAGE_ATTN_MASK:
    case SAGE_ATTN_BIT_MASK:
    case SAGE_ATTN_BLOCK_MASK:
      return RightAligned(rank, 4);
    case SAGE_ATTN_CSR_INDPTR:
      return RightAligned(rank, 3);
    default:
      return Identity(rank);
  }
}

uint32_t AttentionAxisRole(const AttentionForm& form, uint32_t slot, uint32_t axis) {
  constexpr uint32_t B = SAGE_AXIS_B, SQ = SAGE_AXIS_SQ, SKV = SAGE_AXIS_SKV;
  if (IsPages(form, slot)) return 0;  // the number of pages and their rows are the cache's
  const bool queries = slot == SAGE_ATTN_Q || slot == SAGE_ATTN_O;
  switch (slot) {
    case SAGE_ATTN_Q:
    case SAGE_ATTN_O:
    case SAGE_ATTN_K:
    case SAGE_ATTN_V: {
      const uint32_t rows = queries ? SQ : SKV;
      if (form.packed) return axis == 0 ? rows : 0;
      return axis == 0 ? B : axis == 2 ? rows : 0;
    }
    case SAGE_ATTN_K_NEW:
    case SAGE_ATTN_V_NEW:
      return !form.packed && axis == 0 ? B : 0;
    case SAGE_ATTN_LSE:
      if (form.packed) return axis == 1 ? SQ : 0;
      return axis == 0 ? B : axis == 2 ? SQ : 0;
    case SAGE_ATTN_BIAS:
    case SAGE_ATTN_MASK:
    case SAGE_ATTN_WEIGHTS:
    case SAGE_ATTN_SCORES:
      if (axis == 3) return form.paged ? 0 : SKV;
      return axis == 0 ? B : axis == 2 ? SQ : 0;
    case SAGE_ATTN_BIT_MASK:
    case SAGE_ATTN_BLOCK_MASK:
      if (axis == 3) return form.paged ? 0 : SKV;
      return axis == 0 ? B : axis == 2 ? SQ : 0;
    case SAGE_ATTN_CSR_INDPTR:
      return axis == 0 ? B : axis == 2 ? SQ : 0;
    case SAGE_ATTN_CU_SEQLENS_Q:
    case SAGE_ATTN_CU_SEQLENS_K:
    case SAGE_ATTN_SEQUSED_Q:
    case SAGE_ATTN_SEQUSED_K:
      return B;
    case SAGE_ATTN_BLOCK_TABLE:
      return axis == 0 ? B : 0;
    default:
      return 0;  // quantisation scales and the rest are planned at their size
  }
}

AxisView RightAligned(uint32_t rank, uint32_t target_rank) {
  AxisView view;
  view.rank = target_rank;
  for (uint32_t i = 0; i < target_rank; ++i) {
    const int32_t source = static_cast<int32_t>(i + rank) - static_cast<int32_t>(target_rank);
    view.axes[i].source = static_cast<int8_t>(source < 0 ? -1 : source);
  }
  return view;
}

Extent ExtentOf(const BoundTensor& tensor, const AxisView& view, uint32_t axis) {
  const AxisView::Axis& from = view.axes[axis];
  if (from.source < 0) return {};
  const Extent whole{tensor.shape[from.source], tensor.dim_symbols[from.source]};
  const int64_t heads = view.heads > 0 ? view.heads : 1;
  if (from.part == Part::kHead) return {heads, 0};
  if (from.part == Part::kWithin) return {whole.size / heads, whole.symbols};
  return whole;
}

}  // namespace sage
