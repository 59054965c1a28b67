// shapes_attention.cc: the shapes of an attention node: every slot against the axes that Q, K and V give.
#include "model/shapes_internal.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// An operand as the formula sees it, whatever its layout.
struct Operand {
  Extent batch, heads, rows, width;  // of pages: batch = pages
};

}  // namespace

void ShapeInference::Attention(const AttentionNode& node) {
  const AttentionForm form = FormOf(*node_, node);
  const sage_attention_attributes& attributes = node.attributes;
  constexpr uint32_t kOperands[] = {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_K_NEW, SAGE_ATTN_V_NEW};
  Operand operands[5];
  bool good = true;
  for (uint32_t i = 0; i < 5; ++i) {
    const uint32_t slot = kOperands[i];
    const BoundTensor* tensor = In(slot);
    if (tensor == nullptr) continue;
    if (!RankIs(slot, *tensor, AttentionRank(form, slot))) {
      good = false;
      continue;
    }
    const AxisView view = AttentionView(form, slot, tensor->rank);
    if (form.layout == Layout::kBSE && view.heads <= 0) {
      Fail(slot, "has {} heads: layout BSE needs them above 0", view.heads);
      good = false;
      continue;
    }
    if (form.layout == Layout::kBSE && tensor->shape[2] % view.heads != 0) {
      Fail(slot, "{} heads do not divide a width of {}", view.heads, tensor->shape[2]);
      good = false;
    }
    const uint32_t shift = view.rank == 3 ? 1 : 0;  // packed: no batch, rows first
    if (shift == 1)
      operands[i] = {{}, ExtentOf(*tensor, view, 1), ExtentOf(*tensor, view, 0), ExtentOf(*tensor, view, 2)};
    else
      operands[i] = {ExtentOf(*tensor, view, 0), ExtentOf(*tensor, view, 1), ExtentOf(*tensor, view, 2),
                     ExtentOf(*tensor, view, 3)};
  }
  // The optional slots must be known as well, or a session would run what nobody compared.
  for (uint32_t slot = 0; slot < node_->slots.size() && slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    if (!support::SlotIsOutput(SAGE_OP_ATTENTION, slot)) (void)In(slot);
  }
  if (!good || !known_ || In(SAGE_ATTN_Q) == nullptr || In(SAGE_ATTN_K) == nullptr || In(SAGE_ATTN_V) == nullptr)
    return;
  const auto& [q, k, v, k_new, v_new] = operands;

  const auto same = [&](uint32_t slot, const char* what, const Extent& got, const char* of, const Extent& want) {
    if (got.size == want.size) return true;
    Fail(slot, "has {} {}, {} has {}; they must be equal", got.size, what, of, want.size);
    return false;
  };
  good &= same(SAGE_ATTN_K, "elements a head", k.width, "q", q.width);
  good &= same(SAGE_ATTN_V, "rows", v.rows, "k", k.rows);
  good &= same(SAGE_ATTN_V, form.paged ? "pages" : "batch entries", v.batch, "k", k.batch);
  if (!form.packed && !form.paged) good &= same(SAGE_ATTN_K, "batch entries", k.batch, "q", q.batch);
  const auto divides = [&](uint32_t slot, const Extent& heads) {
    if (heads.size > 0 && q.heads.size % heads.size == 0) return true;
    Fail(slot, "has {} heads, which do not divide the {} of q", heads.size, q.heads.size);
    return false;
  };
  good &= divides(SAGE_ATTN_K, k.heads) && divides(SAGE_ATTN_V, v.heads);
  if (Has(SAGE_ATTN_K_NEW) && Has(SAGE_ATTN_V_NEW)) {
    good &= same(SAGE_ATTN_K_NEW, "heads", k_new.heads, "k", k.heads);
    good &= same(SAGE_ATTN_V_NEW, "heads", v_new.heads, "v", v.heads);
    good &= same(SAGE_ATTN_K_NEW, "elements a head", k_new.width, "k", k.width);
    good &= same(SAGE_ATTN_V_NEW, "elements a head", v_new.width, "v", v.width);
    good &= same(SAGE_ATTN_V_NEW, "rows", v_new.rows, "k_new", k_new.rows);
    if (!form.packed) good &= same(SAGE_ATTN_K_NEW, "batch entries", k_new.batch, "q", q.batch);
    good &= same(SAGE_ATTN_V_NEW, "batch entries", v_new.batch, "k_new", k_new.batch);
  } else if (Has(SAGE_ATTN_K_NEW) != Has(SAGE_ATTN_V_NEW)) {
    Fail(Has(SAGE_ATTN_K_NEW) ? SAGE_ATTN_V_NEW : SAGE_ATTN_K_NEW, "is missing: k_new and v_new go together");
    good = false;
  }

  // The batch, and the longest row of keys a query can meet.
  Extent batch = q.batch, keys = k.rows;
  if (form.packed) {
    const BoundTensor* starts = In(SAGE_ATTN_CU_SEQLENS_Q);
    if (starts == nullptr) {
      Fail(SAGE_ATTN_CU_SEQLENS_Q, "is missing: layout THD needs the starts of the packed sequences");
      return;
    }
    if (!RankIs(SAGE_ATTN_CU_SEQLENS_Q, *starts, {1, 1})) return;
    if (starts->shape[0] < 1) {
      Fail(SAGE_ATTN_CU_SEQLENS_Q,
           "must have at least one element: a start for every sequence and the end of the last");
      return;
    }
    batch = {starts->shape[0] - 1, starts->dim_symbols[0]};
    good &= ExpectPlain(SAGE_ATTN_CU_SEQLENS_K, {{batch.size + 1, 0}}, "[B+1]");
  } else {
    for (const uint32_t slot : {SAGE_ATTN_CU_SEQLENS_Q, SAGE_ATTN_CU_SEQLENS_K}) {
      if (!Has(static_cast<uint32_t>(slot))) continue;
      Fail(static_cast<uint32_t>(slot), "is for packed sequences: set layout THD, or leave it out");
      good = false;
    }
  }
  if (form.paged) {
    const BoundTensor* table = In(SAGE_ATTN_BLOCK_TABLE);
    if (!RankIs(SAGE_ATTN_BLOCK_TABLE, *table, {2, 2})) return;
    good &= ExpectPlain(SAGE_ATTN_BLOCK_TABLE, {batch, {table->shape[1], 0}}, "[B, pages]");
    keys.symbols |= table->dim_symbols[1];
    if (__builtin_mul_overflow(table->shape[1], k.rows.size, &keys.size)) {
      Fail(SAGE_ATTN_BLOCK_TABLE, "{} pages of {} rows are more keys than 2^63", table->shape[1], k.rows.size);
      return;
    }
  }

  // Everything else is compared with those axes.
  const Extent& rows = q.rows;
  const Extent& heads = q.heads;
  const auto broadcast = [&](uint32_t slot, const Extent& last, const char* meaning) {
    const BoundTensor* tensor = In(slot);
    if (tensor == nullptr) return;
    if (!RankIs(slot, *tensor, AttentionRank(form, slot))) return;
    const Extent sizes[4] = {batch, heads, rows, last};
    Expect(slot, AttentionView(form, slot, tensor->rank), sizes, 0xF, meaning);
  };
  broadcast(SAGE_ATTN_BIAS, keys, "broadcastable to [B, Hq, Sq, Skv]");
  broadcast(SAGE_ATTN_MASK, keys, "broadcastable to [B, Hq, Sq, Skv]");
  broadcast(SAGE_ATTN_BIT_MASK, {CeilDiv(keys.size, 8), 0}, "broadcastable to [B, Hq, Sq, ceil(Skv/8)]");
  const int64_t tile_q = attributes.mask_block_q, tile_kv = attributes.mask_block_kv;
  if (Has(SAGE_ATTN_BLOCK_MASK) || Has(SAGE_ATTN_CSR_INDPTR)) {
    if (tile_q == 0 || tile_kv == 0) {
      Fail(Has(SAGE_ATTN_BLOCK_MASK) ? SAGE_ATTN_BLOCK_MASK : SAGE_ATTN_CSR_INDPTR,
           "needs mask_block_q and mask_block_kv above 0, got {} and {}", tile_q, tile_kv);
      return;
    }
    const auto tiles = [&](uint32_t slot, std::span<const Extent> sizes, const char* meaning) {
      const BoundTensor* tensor = In(slot);
      if (tensor == nullptr || !RankIs(slot, *tensor, AttentionRank(form, slot))) return;
      Expect(slot, AttentionView(form, slot, tensor->rank), sizes, 0x3, meaning);
    };
    const Extent rows_of_tiles{CeilDiv(rows.size, tile_q), 0};
    const Extent mask[4] = {batch, heads, rows_of_tiles, {CeilDiv(keys.size, tile_kv), 0}};
    tiles(SAGE_ATTN_BLOCK_MASK, mask, "[B or 1, Hq or 1, ceil(Sq/mask_block_q), ceil(Skv/mask_block_kv)]");
    const Extent starts[3] = {batch, heads, {rows_of_tiles.size + 1, 0}};
    tiles(SAGE_ATTN_CSR_INDPTR, starts, "[B or 1, Hq or 1, ceil(Sq/mask_block_q)+1]");
  }
  if (const BoundTensor* tensor = In(SAGE_ATTN_CSR_INDICES)) RankIs(SAGE_ATTN_CSR_INDICES, *tensor, {1, 1});
  if (Has(SAGE_ATTN_CSR_INDPTR) != Has(SAGE_ATTN_CSR_INDICES))
    Fail(Has(SAGE_ATTN_CSR_INDPTR) ? SAGE_ATTN_CSR_INDICES : SAGE_ATTN_CSR_INDPTR,
         "is missing: csr_indptr and csr_indices go together");
  ExpectPlain(SAGE_ATTN_ALIBI, {heads}, "[Hq]");
  ExpectPlain(SAGE_ATTN_SINKS, {heads}, "[Hq]");
  ExpectPlain(SAGE_ATTN_SEQUSED_Q, {batch}, "[B]");
  ExpectPlain(SAGE_ATTN_SEQUSED_K, {batch}, "[B]");
  ExpectPlain(SAGE_ATTN_PHILOX, {{2, 0}}, "seed and offset");

  const auto scales = [&](uint32_t slot, uint32_t granularity, const Operand& of) {
    const BoundTensor* tensor = In(slot);
    if (tensor == nullptr) return;
    const int64_t block = attributes.scale_block;
    const Extent last = granularity == SAGE_PER_TOKEN     ? of.rows
                        : granularity == SAGE_PER_CHANNEL ? of.width
                                                          : Extent{block > 0 ? CeilDiv(of.rows.size, block) : 0, 0};
    if (granularity == SAGE_PER_BLOCK && block == 0) return Fail(slot, "PER_BLOCK needs a block above 0");
    AxisView view = RightAligned(tensor->rank, tensor->rank);
    const Extent sizes[3] = {batch, of.heads, last};
    if (granularity == SAGE_PER_TENSOR) {
      ExpectPlain(slot, {{1, 0}}, "[1], one scale");
    } else if (granularity == SAGE_PER_TOKEN && form.packed) {
      ExpectPlain(slot, {of.heads, of.rows}, "[H, T]");
    } else if (granularity == SAGE_PER_HEAD) {
      Expect(slot, view, std::span(sizes, 2), 0x1, "[B or 1, H]");
    } else {
      Expect(slot, view, sizes, 0x1, "[B or 1, H, by granularity]");
    }
  };
  const Operand output{batch, heads, rows, v.width};
  scales(SAGE_ATTN_SCALE_Q, attributes.granularity_q, q);
  scales(SAGE_ATTN_SCALE_K, attributes.granularity_k, k);
  scales(SAGE_ATTN_SCALE_V, attributes.granularity_v, v);
  scales(SAGE_ATTN_SCALE_P, attributes.granularity_p, Operand{batch, heads, rows, keys});
  scales(SAGE_ATTN_SCALE_O, attributes.granularity_o, output);
  if (!good) return;

  const auto put = [&](uint32_t slot, sage_dtype dtype, std::initializer_list<Extent> sizes) {
    BoundTensor tensor;
    tensor.dtype = dtype;
    for (const Extent& size : sizes) {
      tensor.shape[tensor.rank] = size.size;
      tensor.dim_symbols[tensor.rank++] = size.symbols;
    }
    Put(slot, tensor);
  };
  const sage_dtype q_type = In(SAGE_ATTN_Q)->dtype;
  // A quantised Q does not say what comes out: the declaration does, else F32.
  const auto& declared = graph_.tensors[static_cast<size_t>(node_->slots[SAGE_ATTN_O])].dtype;
  const sage_dtype o_type = support::IsFloat(q_type) ? q_type : declared.value_or(SAGE_F32);
  const sage_dtype wide = q_type == SAGE_F64 ? SAGE_F64 : SAGE_F32;
  switch (form.layout) {
    case Layout::kBHSD:
      put(SAGE_ATTN_O, o_type, {batch, heads, rows, v.width});
      break;
    case Layout::kBSHD:
      put(SAGE_ATTN_O, o_type, {batch, rows, heads, v.width});
      break;
    case Layout::kBSE: {
      Extent merged{0, v.width.symbols};
      if (__builtin_mul_overflow(heads.size, v.width.size, &merged.size))
        return Fail(SAGE_ATTN_O, "{} heads of {} are more than 2^63 elements", heads.size, v.width.size);
      put(SAGE_ATTN_O, o_type, {batch, rows, merged});
      break;
    }
    case Layout::kTHD:
      put(SAGE_ATTN_O, o_type, {rows, heads, v.width});
      break;
  }
  if (form.packed)
    put(SAGE_ATTN_LSE, wide, {heads, rows});
  else
    put(SAGE_ATTN_LSE, wide, {batch, heads, rows});
  for (const uint32_t slot : {static_cast<uint32_t>(SAGE_ATTN_WEIGHTS), static_cast<uint32_t>(SAGE_ATTN_SCORES)}) {
    if (form.packed && Has(slot))
      Fail(slot, "packed sequences (layout THD) have no rectangular array of weights or scores: leave it out");
    else
      put(slot, wide, {batch, heads, rows, keys});
  }
}

}  // namespace sage
