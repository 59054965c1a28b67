// check_attention.cc: attention.h as code: sizes, slots, dtypes and numbers of an attention op, and its feature bits.
#include <cmath>

#include "sage/support/check_internal.h"

namespace sage::support {
namespace {

constexpr uint32_t kMaxTile = 1u << 16;

bool IsElement(sage_dtype dtype) { return IsFloat(dtype) || IsQuantised(dtype); }

// Statistics are f64 for f64 inputs, else f32.
sage_dtype StatisticsDtype(const OpRef& op) { return op[SAGE_ATTN_Q].dtype == SAGE_F64 ? SAGE_F64 : SAGE_F32; }

bool UsesPositions(const OpRef& op) {
  constexpr uint64_t kBits = SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_WINDOW_LEFT | SAGE_ATTN_F_WINDOW_RIGHT;
  return (op.attributes->attention.features & kBits) != 0 || op.Has(SAGE_ATTN_ALIBI);
}

// Each number is in its range, and set only where the bit or slot that gives it a meaning is.
sage_status CheckNumbers(const OpRef& op, const Complaint& complain) {
  const sage_attention_attributes& a = op.attributes->attention;
  const auto has = [&a](uint64_t bit) { return (a.features & bit) != 0; };
  if (!std::isfinite(a.scale)) return complain.Invalid("scale is %g; it must be finite", a.scale);
  if (a.scale != 0 && !has(SAGE_ATTN_F_SCALE))
    return complain.Invalid("scale is %g, but the feature bit SCALE that gives it a meaning is clear", a.scale);
  if (!std::isfinite(a.softcap) || a.softcap < 0)
    return complain.Invalid("softcap is %g; it must be finite and >= 0 (0 = none)", a.softcap);
  if (!(a.dropout_p >= 0 && a.dropout_p < 1))
    return complain.Invalid("dropout_p is %g; it must be in [0, 1)", a.dropout_p);
  if (a.dropout_p > 0 && !op.Has(SAGE_ATTN_PHILOX))
    return complain.Invalid("dropout_p is %g, but PHILOX (seed and offset) is not given; inference needs dropout_p 0",
                            a.dropout_p);
  if (a.window_left < 0 || a.window_right < 0)
    return complain.Invalid("the window (%lld, %lld) must be >= 0 on both sides; clear its bit for an unlimited side",
                            static_cast<long long>(a.window_left), static_cast<long long>(a.window_right));
  if (a.window_left != 0 && !has(SAGE_ATTN_F_WINDOW_LEFT))
    return complain.Invalid("window_left is %lld, but its feature bit is clear", static_cast<long long>(a.window_left));
  if (a.window_right != 0 && !has(SAGE_ATTN_F_WINDOW_RIGHT))
    return complain.Invalid("window_right is %lld, but its feature bit is clear",
                            static_cast<long long>(a.window_right));
  if (a.alignment > SAGE_ALIGN_BOTTOM_RIGHT) return complain.Unknown("alignment %u is no SAGE_ALIGN_*", a.alignment);
  if (a.alignment == 0 && UsesPositions(op))
    return complain.Invalid(
        "causal, window and ALiBi use positions: set alignment to TOP_LEFT (query 0 sits at key 0) or BOTTOM_RIGHT "
        "(the last query sits at the last key)");
  if (a.algorithm > SAGE_ALGORITHM_FLASH) return complain.Unknown("algorithm %u is no SAGE_ALGORITHM_*", a.algorithm);
  if (a.block_q > kMaxTile || a.block_kv > kMaxTile)
    return complain.Invalid("block_q %u and block_kv %u must be at most %u (0 = auto)", a.block_q, a.block_kv,
                            kMaxTile);
  if (a.max_seq_q < 0 || a.max_seq_kv < 0)
    return complain.Invalid("max_seq_q %lld and max_seq_kv %lld must be >= 0", static_cast<long long>(a.max_seq_q),
                            static_cast<long long>(a.max_seq_kv));
  if ((a.max_seq_q != 0 || a.max_seq_kv != 0) && !op.Has(SAGE_ATTN_CU_SEQLENS_Q))
    return complain.Invalid("max_seq_q and max_seq_kv bound packed sequences, but CU_SEQLENS_Q is not given");
  return SAGE_OK;
}

// Q, K, V, O: ranks, sizes that agree, dtypes. Everything else is measured by them.
sage_status CheckOperands(const OpRef& op, const Complaint& complain) {
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    SAGE_SUPPORT_TRY(ExpectSlot(op, slot, complain));
  const bool varlen = op.Has(SAGE_ATTN_CU_SEQLENS_Q), paged = op.Has(SAGE_ATTN_BLOCK_TABLE);
  const sage_tensor &q = op[SAGE_ATTN_Q], &k = op[SAGE_ATTN_K], &v = op[SAGE_ATTN_V];
  const char* q_shape = varlen ? "[T,Hq,D]" : "[B,Hq,Sq,D]";
  const char* k_shape = paged ? "[pages,Hkv,page,D]" : varlen ? "[T,Hkv,D]" : "[B,Hkv,Skv,D]";
  if (q.rank != (varlen ? 3u : 4u))
    return complain.Invalid("Q has shape %s, expected %s", ShapeText(q).c_str(), q_shape);
  const uint32_t kv_rank = varlen && !paged ? 3 : 4;
  if (k.rank != kv_rank) return complain.Invalid("K has shape %s, expected %s", ShapeText(k).c_str(), k_shape);
  if (v.rank != kv_rank) return complain.Invalid("V has shape %s, expected %s", ShapeText(v).c_str(), k_shape);
  if (varlen && !paged) SAGE_SUPPORT_TRY(ExpectSlot(op, SAGE_ATTN_CU_SEQLENS_K, complain));
  if (op.Has(SAGE_ATTN_CU_SEQLENS_K) && (!varlen || paged))
    return complain.Invalid("CU_SEQLENS_K describes packed K and V, but %s",
                            paged ? "they are paged: give SEQUSED_K" : "Q is not packed: CU_SEQLENS_Q is absent");
  if (paged && op[SAGE_ATTN_BLOCK_TABLE].rank != 2)
    return complain.Invalid("BLOCK_TABLE has shape %s, expected [B,max_pages]",
                            ShapeText(op[SAGE_ATTN_BLOCK_TABLE]).c_str());
  if (varlen && (op[SAGE_ATTN_CU_SEQLENS_Q].rank != 1 || op[SAGE_ATTN_CU_SEQLENS_Q].shape[0] < 1))
    return complain.Invalid("CU_SEQLENS_Q has shape %s, expected [B+1]", ShapeText(op[SAGE_ATTN_CU_SEQLENS_Q]).c_str());

  const AttentionDims d = ReadAttentionDims(op);
  if (d.dim_qk < 1) return complain.Invalid("Q has head dimension 0; it must be at least 1");
  if (d.heads_q < 1 || d.heads_k < 1 || d.heads_v < 1)
    return complain.Invalid("Q, K and V need at least one head each");
  if (d.heads_q % d.heads_k != 0 || d.heads_q % d.heads_v != 0)
    return complain.Invalid("%lld query heads must be a multiple of the %lld heads of K and the %lld heads of V",
                            static_cast<long long>(d.heads_q), static_cast<long long>(d.heads_k),
                            static_cast<long long>(d.heads_v));
  if (paged && d.page < 1) return complain.Invalid("the pages of K have length 0; they must hold at least one key");
  const int64_t front = paged ? d.pages : d.batch, length = paged ? d.page : d.seq_kv;
  const int64_t k4[4] = {front, d.heads_k, length, d.dim_qk}, v4[4] = {front, d.heads_v, length, d.dim_v};
  const int64_t k3[3] = {d.seq_kv, d.heads_k, d.dim_qk}, v3[3] = {d.seq_kv, d.heads_v, d.dim_v};
  const int64_t o4[4] = {d.batch, d.heads_q, d.seq_q, d.dim_v}, o3[3] = {d.seq_q, d.heads_q, d.dim_v};
  SAGE_SUPPORT_TRY(ExpectShape(op, SAGE_ATTN_K, kv_rank, kv_rank == 3 ? k3 : k4, complain));
  SAGE_SUPPORT_TRY(ExpectShape(op, SAGE_ATTN_V, kv_rank, kv_rank == 3 ? v3 : v4, complain));
  SAGE_SUPPORT_TRY(ExpectShape(op, SAGE_ATTN_O, varlen ? 3 : 4, varlen ? o3 : o4, complain));
  if (paged && !ProductFits({op[SAGE_ATTN_BLOCK_TABLE].shape[1], d.page}, kMaxReachBytes))
    return complain.Invalid("BLOCK_TABLE has too many pages");
  // Every count of scores, products or random words is below this, so that none of them overflows later.
  if (!ProductFits({d.batch, d.heads_q, d.seq_q, d.seq_kv}, kMaxWork / 8) ||
      !ProductFits({d.heads_q, d.seq_q, d.seq_kv, d.dim_qk}, kMaxWork) ||
      !ProductFits({d.heads_q, d.seq_q, d.seq_kv, d.dim_v}, kMaxWork))
    return complain.Invalid("attention over %lld x %lld rows has more than 2^62 products",
                            static_cast<long long>(d.seq_q), static_cast<long long>(d.seq_kv));

  if (!IsElement(q.dtype)) return complain.Invalid("Q is %s, expected a float, i8, i16 or fp8", DtypeName(q.dtype));
  if (!IsElement(k.dtype)) return complain.Invalid("K is %s, expected a float, i8, i16 or fp8", DtypeName(k.dtype));
  if (k.dtype == SAGE_F64 && q.dtype != SAGE_F64)
    return complain.Invalid("K is f64 and Q is %s; f64 keys need f64 queries", DtypeName(q.dtype));
  SAGE_SUPPORT_TRY(ExpectDtype(op, SAGE_ATTN_V, k.dtype, complain));
  if (!IsFloat(q.dtype) && IsFloat(op[SAGE_ATTN_O].dtype)) return SAGE_OK;
  return ExpectDtype(op, SAGE_ATTN_O, q.dtype, complain);
}

// Slots over [B,Hq,Sq,Skv] have no meaning for packed rows in v1.
sage_status CheckScoreSlots(const OpRef& op, const AttentionDims& d, const Complaint& complain) {
  const sage_attention_attributes& a = op.attributes->attention;
  constexpr uint32_t kOverScores[] = {SAGE_ATTN_BIAS,       SAGE_ATTN_MASK,       SAGE_ATTN_BIT_MASK,
                                      SAGE_ATTN_BLOCK_MASK, SAGE_ATTN_CSR_INDPTR, SAGE_ATTN_CSR_INDICES,
                                      SAGE_ATTN_WEIGHTS,    SAGE_ATTN_SCORES};
  for (const uint32_t slot : kOverScores)
    if (d.varlen && op.Has(slot))
      return complain.Unsupported("%s is not defined for packed (VARLEN) rows in this version",
                                  SlotName(op.kind, slot));
  if (d.varlen && a.dropout_p > 0)
    return complain.Unsupported("dropout is not defined for packed (VARLEN) rows in this version");
  const sage_dtype x = StatisticsDtype(op);
  const int64_t scores[4] = {d.batch, d.heads_q, d.seq_q, d.seq_kv};
  for (const uint32_t slot : {SAGE_ATTN_BIAS, SAGE_ATTN_MASK, SAGE_ATTN_WEIGHTS, SAGE_ATTN_SCORES})
    if (op.Has(slot)) SAGE_SUPPORT_TRY(ExpectShape(op, slot, 4, scores, complain));
  if (op.Has(SAGE_ATTN_BIAS)) {
    const sage_dtype bias = op[SAGE_ATTN_BIAS].dtype, q = op[SAGE_ATTN_Q].dtype;
    if (bias != x && !(bias == q && IsFloat(q)))
      return complain.Invalid("BIAS is %s, expected %s%s%s", DtypeName(bias), DtypeName(x),
                              IsFloat(q) && q != x ? " or " : "", IsFloat(q) && q != x ? DtypeName(q) : "");
  }
  if (op.Has(SAGE_ATTN_MASK)) SAGE_SUPPORT_TRY(ExpectDtype(op, SAGE_ATTN_MASK, SAGE_BOOL, complain));
  for (const uint32_t slot : {SAGE_ATTN_WEIGHTS, SAGE_ATTN_SCORES})
    if (op.Has(slot)) SAGE_SUPPORT_TRY(ExpectDtype(op, slot, x, complain));
  if (op.Has(SAGE_ATTN_BIT_MASK)) {
    const int64_t bits[4] = {d.batch, d.heads_q, d.seq_q, CeilDiv(d.seq_kv, 8)};
    SAGE_SUPPORT_TRY(ExpectDtype(op, SAGE_ATTN_BIT_MASK, SAGE_U8, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, SAGE_ATTN_BIT_MASK, 4, bits, complain));
  }

  const bool block = op.Has(SAGE_ATTN_BLOCK_MASK), csr = op.Has(SAGE_ATTN_CSR_INDPTR);
  if (csr != op.Has(SAGE_ATTN_CSR_INDICES))
    return complain.Invalid("CSR_INDPTR and CSR_INDICES are given together or not at all");
  if (!block && !csr) {
    if (a.mask_block_q != 0 || a.mask_block_kv != 0)
      return complain.Invalid("mask_block_q %u and mask_block_kv %u are set, but neither BLOCK_MASK nor CSR is given",
                              a.mask_block_q, a.mask_block_kv);
    return SAGE_OK;
  }
  if (a.mask_block_q == 0 || a.mask_block_kv == 0)
    return complain.Invalid("BLOCK_MASK and CSR need mask_block_q and mask_block_kv, the tile they speak about");
  const int64_t tile_rows = CeilDiv(d.seq_q, a.mask_block_q), tile_columns = CeilDiv(d.seq_kv, a.mask_block_kv);
  const auto one_or = [&op](uint32_t slot, uint32_t axis, int64_t full) -> int64_t {
    return op[slot].rank > axis && op[slot].shape[axis] == 1 ? 1 : full;
  };
  if (block) {
    constexpr uint32_t kSlot = SAGE_ATTN_BLOCK_MASK;
    const int64_t tiles[4] = {one_or(kSlot, 0, d.batch), one_or(kSlot, 1, d.heads_q), tile_rows, tile_columns};
    SAGE_SUPPORT_TRY(ExpectDtype(op, kSlot, SAGE_U8, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, kSlot, 4, tiles, complain));
  }
  if (csr) {
    constexpr uint32_t kSlot = SAGE_ATTN_CSR_INDPTR;
    const int64_t rows[3] = {one_or(kSlot, 0, d.batch), one_or(kSlot, 1, d.heads_q), tile_rows + 1};
    SAGE_SUPPORT_TRY(ExpectDtype(op, kSlot, SAGE_I32, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, kSlot, 3, rows, complain));
    SAGE_SUPPORT_TRY(ExpectDtype(op, SAGE_ATTN_CSR_INDICES, SAGE_I32, complain));
    if (op[SAGE_ATTN_CSR_INDICES].rank != 1)
      return complain.Invalid("CSR_INDICES has shape %s, expected [n]", ShapeText(op[SAGE_ATTN_CSR_INDICES]).c_str());
  }
  return SAGE_OK;
}

// Per-head and per-sequence vectors, the append and the statistics.
sage_status CheckSmallSlots(const OpRef& op, const AttentionDims& d, const Complaint& complain) {
  const sage_dtype x = StatisticsDtype(op);
  if (op.Has(SAGE_ATTN_LSE)) {
    const int64_t padded[3] = {d.batch, d.heads_q, d.seq_q}, packed[2] = {d.heads_q, d.seq_q};
    SAGE_SUPPORT_TRY(ExpectDtype(op, SAGE_ATTN_LSE, x, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, SAGE_ATTN_LSE, d.varlen ? 2 : 3, d.varlen ? packed : padded, complain));
  }
  const int64_t starts = d.batch + 1, pair = 2;
  const struct {
    uint32_t slot;
    sage_dtype dtype;
    int64_t length;
  } vectors[] = {{SAGE_ATTN_ALIBI, x, d.heads_q},
                 {SAGE_ATTN_SINKS, x, d.heads_q},
                 {SAGE_ATTN_CU_SEQLENS_Q, SAGE_I32, starts},
                 {SAGE_ATTN_CU_SEQLENS_K, SAGE_I32, starts},
                 {SAGE_ATTN_SEQUSED_Q, SAGE_I32, d.batch},
                 {SAGE_ATTN_SEQUSED_K, SAGE_I32, d.batch},
                 {SAGE_ATTN_PHILOX, SAGE_U64, pair}};
  for (const auto& [slot, dtype, length] : vectors) {
    if (!op.Has(slot)) continue;
    SAGE_SUPPORT_TRY(ExpectDtype(op, slot, dtype, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, slot, 1, &length, complain));
  }
  if (d.paged) {
    const int64_t table[2] = {d.batch, op[SAGE_ATTN_BLOCK_TABLE].shape[1]};
    SAGE_SUPPORT_TRY(ExpectDtype(op, SAGE_ATTN_BLOCK_TABLE, SAGE_I32, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, SAGE_ATTN_BLOCK_TABLE, 2, table, complain));
  }
  if (op.Has(SAGE_ATTN_K_NEW) != op.Has(SAGE_ATTN_V_NEW))
    return complain.Invalid("K_NEW and V_NEW are given together or not at all");
  if (!op.Has(SAGE_ATTN_K_NEW)) return SAGE_OK;
  if (!op.Has(SAGE_ATTN_SEQUSED_K))
    return complain.Invalid(
        "K_NEW and V_NEW are written behind the keys in use: SEQUSED_K must say how many there are");
  for (const uint32_t slot : {SAGE_ATTN_K_NEW, SAGE_ATTN_V_NEW}) {
    const int64_t heads = slot == SAGE_ATTN_K_NEW ? d.heads_k : d.heads_v;
    const int64_t dim = slot == SAGE_ATTN_K_NEW ? d.dim_qk : d.dim_v;
    const int64_t padded[4] = {d.batch, heads, d.seq_new, dim}, packed[3] = {d.seq_q, heads, dim};
    SAGE_SUPPORT_TRY(ExpectDtype(op, slot, op[SAGE_ATTN_K].dtype, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, slot, d.varlen ? 3 : 4, d.varlen ? packed : padded, complain));
  }
  return SAGE_OK;
}

sage_status CheckScales(const OpRef& op, const AttentionDims& d, const Complaint& complain) {
  const sage_attention_attributes& a = op.attributes->attention;
  const struct {
    uint32_t slot, granularity;
    int64_t heads, rows, dim;
    bool packed;  // rows are the packed T
  } operands[] = {{SAGE_ATTN_SCALE_Q, a.granularity_q, d.heads_q, d.seq_q, d.dim_qk, d.varlen},
                  {SAGE_ATTN_SCALE_K, a.granularity_k, d.heads_k, d.seq_kv, d.dim_qk, d.varlen && !d.paged},
                  {SAGE_ATTN_SCALE_V, a.granularity_v, d.heads_v, d.seq_kv, d.dim_v, d.varlen && !d.paged},
                  {SAGE_ATTN_SCALE_P, a.granularity_p, d.heads_q, d.seq_q, d.seq_kv, d.varlen},
                  {SAGE_ATTN_SCALE_O, a.granularity_o, d.heads_q, d.seq_q, d.dim_v, d.varlen}};
  bool blocks = false;
  for (const auto& [slot, granularity, heads, rows, dim, packed] : operands) {
    const char* name = SlotName(op.kind, slot);
    if (granularity > SAGE_PER_BLOCK)
      return complain.Unknown("the granularity of %s is %u, which is no SAGE_PER_*", name, granularity);
    if (op.Has(slot) != (granularity != 0))
      return complain.Invalid("%s and its granularity are given together or not at all", name);
    if (granularity == 0) continue;
    blocks = blocks || granularity == SAGE_PER_BLOCK;
    SAGE_SUPPORT_TRY(ExpectDtype(op, slot, SAGE_F32, complain));
    if (granularity == SAGE_PER_CHANNEL && slot == SAGE_ATTN_SCALE_P)
      return complain.Invalid("SCALE_P cannot be per channel: weights have no channels");
    if (granularity == SAGE_PER_BLOCK && packed)
      return complain.Unsupported("%s per block is not defined for packed (VARLEN) rows in this version", name);
    if (granularity == SAGE_PER_BLOCK && a.scale_block == 0)
      return complain.Invalid("%s is per block: scale_block must say how many tokens one is", name);
    const int64_t front = op[slot].rank > 0 && op[slot].shape[0] == 1 ? 1 : d.batch;
    const int64_t tensor[1] = {1}, token_packed[2] = {heads, rows};
    int64_t shape[3] = {front, heads, 0};
    uint32_t rank = 3;
    if (granularity == SAGE_PER_TENSOR) {
      SAGE_SUPPORT_TRY(ExpectShape(op, slot, 1, tensor, complain));
      continue;
    }
    if (granularity == SAGE_PER_TOKEN && packed) {
      SAGE_SUPPORT_TRY(ExpectShape(op, slot, 2, token_packed, complain));
      continue;
    }
    if (granularity == SAGE_PER_HEAD) rank = 2;
    if (granularity == SAGE_PER_TOKEN) shape[2] = rows;
    if (granularity == SAGE_PER_CHANNEL) shape[2] = dim;
    if (granularity == SAGE_PER_BLOCK) shape[2] = CeilDiv(rows, a.scale_block);
    SAGE_SUPPORT_TRY(ExpectShape(op, slot, rank, shape, complain));
  }
  if (!blocks && a.scale_block != 0)
    return complain.Invalid("scale_block is %u, but no scale is per block", a.scale_block);
  return SAGE_OK;
}

}  // namespace

sage_status CheckAttention(const OpRef& op, const Complaint& complain) {
  SAGE_SUPPORT_TRY(CheckNumbers(op, complain));
  SAGE_SUPPORT_TRY(CheckOperands(op, complain));
  const AttentionDims dims = ReadAttentionDims(op);
  SAGE_SUPPORT_TRY(CheckScoreSlots(op, dims, complain));
  SAGE_SUPPORT_TRY(CheckSmallSlots(op, dims, complain));
  return CheckScales(op, dims, complain);
}

sage_status DeriveAttentionFeatures(const OpView& view, uint64_t* out, std::string* why) {
  const Complaint complain(why);
  if (view.op.kind != SAGE_OP_ATTENTION || !view.Has(SAGE_ATTN_Q) || !view.Has(SAGE_ATTN_K) || !view.Has(SAGE_ATTN_V))
    return complain.Invalid("feature bits are a matter of attention with Q, K and V");
  const OpRef op{view.op.kind, view.op.aliases, &view.attributes, view.pointers.data(),
                 static_cast<uint32_t>(view.pointers.size())};
  const sage_attention_attributes& a = view.attributes.attention;
  constexpr uint64_t kGiven =
      SAGE_ATTN_F_SCALE | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_WINDOW_LEFT | SAGE_ATTN_F_WINDOW_RIGHT;
  const AttentionDims d = ReadAttentionDims(op);
  uint64_t features = a.features & kGiven;
  const auto set = [&features](bool on, uint64_t bit) { features |= on ? bit : 0; };
  set(d.heads_q != d.heads_k, SAGE_ATTN_F_GQA);
  set(UsesPositions(op) && a.alignment == SAGE_ALIGN_BOTTOM_RIGHT, SAGE_ATTN_F_BOTTOM_RIGHT);
  set(op.Has(SAGE_ATTN_BIAS), SAGE_ATTN_F_BIAS);
  set(op.Has(SAGE_ATTN_MASK), SAGE_ATTN_F_BOOL_MASK);
  set(op.Has(SAGE_ATTN_BIT_MASK), SAGE_ATTN_F_BIT_MASK);
  set(op.Has(SAGE_ATTN_BLOCK_MASK), SAGE_ATTN_F_BLOCK_MASK);
  set(op.Has(SAGE_ATTN_CSR_INDPTR), SAGE_ATTN_F_CSR_MASK);
  set(op.Has(SAGE_ATTN_ALIBI), SAGE_ATTN_F_ALIBI);
  set(a.softcap > 0, SAGE_ATTN_F_SOFTCAP);
  set(op.Has(SAGE_ATTN_SINKS), SAGE_ATTN_F_SINKS);
  set(d.varlen, SAGE_ATTN_F_VARLEN);
  set(op.Has(SAGE_ATTN_SEQUSED_Q), SAGE_ATTN_F_Q_LENGTHS);
  set(op.Has(SAGE_ATTN_SEQUSED_K), SAGE_ATTN_F_KV_LENGTHS);
  set(d.paged, SAGE_ATTN_F_PAGED_KV);
  set(d.append, SAGE_ATTN_F_APPEND_KV);
  set(op.Has(SAGE_ATTN_LSE), SAGE_ATTN_F_LSE);
  set(a.dropout_p > 0, SAGE_ATTN_F_DROPOUT);
  for (uint32_t slot = SAGE_ATTN_SCALE_Q; slot <= SAGE_ATTN_SCALE_O; ++slot)
    set(op.Has(slot), SAGE_ATTN_F_QUANT_SCALES);
  set(d.dim_v != d.dim_qk, SAGE_ATTN_F_DV_DIFFERS);
  set(d.heads_v != d.heads_k, SAGE_ATTN_F_HV_DIFFERS);
  set(op.Has(SAGE_ATTN_WEIGHTS), SAGE_ATTN_F_WEIGHTS_OUT);
  set(op.Has(SAGE_ATTN_SCORES), SAGE_ATTN_F_SCORES_OUT);
  if (const uint64_t extra = a.features & ~features; extra != 0)
    return complain.Invalid("feature bits 0x%llx are set, but no slot, shape or number shows them",
                            static_cast<unsigned long long>(extra));
  *out = features;
  return SAGE_OK;
}

}  // namespace sage::support
