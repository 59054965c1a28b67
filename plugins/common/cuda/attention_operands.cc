// operands.cc: the one reading of slots and attributes for all kernels.
#include "common/cuda/attention_operands.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <vector>

#include "sage/support/attention_dims.h"

namespace sage::cuda {
namespace {

bool TypeOf(sage_dtype dtype, AttentionType* out) {
  switch (dtype) {
    case SAGE_F64:
      return *out = AttentionType::kF64, true;
    case SAGE_F32:
      return *out = AttentionType::kF32, true;
    case SAGE_F16:
      return *out = AttentionType::kF16, true;
    case SAGE_BF16:
      return *out = AttentionType::kBf16, true;
    default:
      return false;
  }
}

bool TypeOfFp8(sage_dtype dtype, AttentionType* out) {
  if (dtype != SAGE_F8_E4M3FN && dtype != SAGE_F8_E5M2) return false;
  *out = dtype == SAGE_F8_E4M3FN ? AttentionType::kF8E4m3fn : AttentionType::kF8E5m2;
  return true;
}

// Null, or why the dtypes of Q, K, V and O are none that arguments say.
const char* BindTypes(const sage_tensor* const* slots, AttentionArguments* a, AttentionExtras* extras) {
  const sage_dtype q = slots[SAGE_ATTN_Q]->dtype, o = slots[SAGE_ATTN_O]->dtype;
  const bool fp8 = extras != nullptr && TypeOfFp8(q, &a->type);
  if (!fp8 && !TypeOf(q, &a->type)) return "Q is neither f64 nor f32, f16 or bf16";
  if (extras != nullptr) extras->o_type = a->type;
  const bool wider = fp8 && o != q && TypeOf(o, &extras->o_type);
  if (slots[SAGE_ATTN_K]->dtype != q || slots[SAGE_ATTN_V]->dtype != q || (o != q && !wider))
    return "Q, K, V and O are not of one dtype";
  return nullptr;
}

void BindExtras(const sage_attention_attributes& attributes, const sage_tensor* const* slots, uint32_t num_slots,
                AttentionExtras* extras) {
  const struct {
    uint32_t slot, granularity;
    const float** to;
  } scales[] = {{SAGE_ATTN_SCALE_Q, attributes.granularity_q, &extras->scale_q},
                {SAGE_ATTN_SCALE_K, attributes.granularity_k, &extras->scale_k},
                {SAGE_ATTN_SCALE_V, attributes.granularity_v, &extras->scale_v},
                {SAGE_ATTN_SCALE_P, attributes.granularity_p, &extras->scale_p},
                {SAGE_ATTN_SCALE_O, attributes.granularity_o, &extras->scale_o}};
  for (const auto& [slot, granularity, to] : scales) {
    if (slot >= num_slots || slots[slot] == nullptr) continue;
    if (granularity == SAGE_PER_TENSOR)
      *to = static_cast<const float*>(slots[slot]->data);
    else
      extras->finer_scales = true;
  }
  if (SAGE_ATTN_PHILOX >= num_slots || slots[SAGE_ATTN_PHILOX] == nullptr || !(attributes.dropout_p > 0)) return;
  extras->philox = static_cast<const uint64_t*>(slots[SAGE_ATTN_PHILOX]->data);
  extras->philox_stride = slots[SAGE_ATTN_PHILOX]->stride[0];
  extras->least_kept = static_cast<uint64_t>(std::ceil(attributes.dropout_p * 0x1p32));
  extras->kept = 1 / (1 - attributes.dropout_p);
}

// Of [B,H,S,D]; packed: of [T,H,D].
AttentionStrides StridesOf(const sage_tensor& t, bool packed) {
  // An axis of one element is never walked: 0 is as good as what was given, and repeats where the other side has more.
  const auto stride = [&](uint32_t axis) { return t.shape[axis] == 1 ? 0 : t.stride[axis]; };
  if (packed) return {0, stride(1), t.stride[0], t.stride[2]};
  return {stride(0), stride(1), t.stride[2], t.stride[3]};
}

// Of an array that is read element after element.
bool IsContiguous(const sage_tensor& t) { return t.shape[0] <= 1 || t.stride[0] == 1; }

}  // namespace

const char* BindAttention(const sage_attention_attributes& attributes, uint64_t features,
                          const sage_tensor* const* slots, uint32_t num_slots, AttentionArguments* arguments,
                          AttentionExtras* extras) {
  const auto has = [&](uint32_t slot) { return slot < num_slots && slots[slot] != nullptr; };
  const auto on = [&](uint64_t bit) { return (features & bit) != 0; };
  const sage_tensor &q = *slots[SAGE_ATTN_Q], &k = *slots[SAGE_ATTN_K], &v = *slots[SAGE_ATTN_V],
                    &o = *slots[SAGE_ATTN_O];
  const support::AttentionDims dims = support::ReadAttentionDims(slots, num_slots);
  AttentionArguments a;

  if (extras != nullptr) *extras = {};
  if (const char* why = BindTypes(slots, &a, extras); why != nullptr) return why;
  if (extras != nullptr) BindExtras(attributes, slots, num_slots, extras);
  const int64_t sizes[] = {dims.batch,  dims.heads_q, dims.heads_k, dims.heads_v, dims.seq_q,
                           dims.seq_kv, dims.dim_qk,  dims.dim_v,   dims.pages,   dims.seq_new};
  if (*std::max_element(std::begin(sizes), std::end(sizes)) > INT32_MAX) return "a size is beyond 32 bits";
  // Kernels add a few positions up in 32 bits.
  if (std::max({dims.seq_q, dims.seq_kv, dims.seq_new}) > int64_t{1} << 28)
    return "a sequence, or all that are packed, has more than 2^28 rows";
  const auto small = [](int64_t size) { return static_cast<int32_t>(size); };
  a.batch = small(dims.batch);
  a.heads_q = small(dims.heads_q), a.heads_k = small(dims.heads_k), a.heads_v = small(dims.heads_v);
  a.seq_q = small(dims.seq_q), a.seq_kv = small(dims.seq_kv);
  a.dim_qk = small(dims.dim_qk), a.dim_v = small(dims.dim_v);
  if (dims.varlen) {
    a.total_q = a.seq_q;
    if (attributes.max_seq_q > 0) a.seq_q = small(std::min<int64_t>(attributes.max_seq_q, a.total_q));
  }
  if (dims.packed_kv()) {
    a.total_k = a.seq_kv;
    if (attributes.max_seq_kv > 0) a.seq_kv = small(std::min<int64_t>(attributes.max_seq_kv, a.total_k));
  }

  a.q = q.data, a.k = k.data, a.v = v.data, a.o = o.data;
  a.q_strides = StridesOf(q, dims.varlen), a.o_strides = StridesOf(o, dims.varlen);
  a.k_strides = StridesOf(k, dims.packed_kv()), a.v_strides = StridesOf(v, dims.packed_kv());
  if (dims.paged) {
    if (!std::has_single_bit(static_cast<uint64_t>(dims.page)))
      return "pages hold a number of keys that is no power of two";
    a.pages = small(dims.pages);
    a.page_shift = std::countr_zero(static_cast<uint64_t>(dims.page));
    a.k_strides.batch = k.stride[0], a.v_strides.batch = v.stride[0];
    const sage_tensor& table = *slots[SAGE_ATTN_BLOCK_TABLE];
    if (table.shape[1] > 1 && table.stride[1] != 1) return "BLOCK_TABLE's rows are not contiguous";
    a.block_table = static_cast<const int32_t*>(table.data);
    a.block_table_stride = table.stride[0];
  }
  if (dims.append) {
    const sage_tensor &k_new = *slots[SAGE_ATTN_K_NEW], &v_new = *slots[SAGE_ATTN_V_NEW];
    a.k_new = k_new.data, a.v_new = v_new.data;
    a.k_new_strides = StridesOf(k_new, dims.varlen), a.v_new_strides = StridesOf(v_new, dims.varlen);
    a.appended = dims.varlen ? -1 : small(dims.seq_new);
  }
  if (has(SAGE_ATTN_LSE)) {
    const sage_tensor& lse = *slots[SAGE_ATTN_LSE];
    a.lse = lse.data;
    if (dims.varlen)
      a.lse_strides = {0, lse.stride[0], lse.stride[1], 0};
    else
      a.lse_strides = {lse.stride[0], lse.stride[1], lse.stride[2], 0};
  }
  if (has(SAGE_ATTN_WEIGHTS))
    a.weights = slots[SAGE_ATTN_WEIGHTS]->data, a.weights_strides = StridesOf(*slots[SAGE_ATTN_WEIGHTS], false);
  if (has(SAGE_ATTN_SCORES))
    a.scores = slots[SAGE_ATTN_SCORES]->data, a.scores_strides = StridesOf(*slots[SAGE_ATTN_SCORES], false);

  const struct {
    uint32_t slot;
    const int32_t** to;
    const char* why;
  } arrays[] = {{SAGE_ATTN_CU_SEQLENS_Q, &a.cu_seqlens_q, "CU_SEQLENS_Q is not contiguous"},
                {SAGE_ATTN_CU_SEQLENS_K, &a.cu_seqlens_k, "CU_SEQLENS_K is not contiguous"},
                {SAGE_ATTN_SEQUSED_Q, &a.seqused_q, "SEQUSED_Q is not contiguous"},
                {SAGE_ATTN_SEQUSED_K, &a.seqused_k, "SEQUSED_K is not contiguous"}};
  for (const auto& [slot, to, why] : arrays) {
    if (!has(slot)) continue;
    if (!IsContiguous(*slots[slot])) return why;
    *to = static_cast<const int32_t*>(slots[slot]->data);
  }

  a.scale = on(SAGE_ATTN_F_SCALE) ? attributes.scale : 1.0 / std::sqrt(static_cast<double>(std::max(a.dim_qk, 1)));
  a.softcap = attributes.softcap;
  if (has(SAGE_ATTN_ALIBI)) a.alibi = slots[SAGE_ATTN_ALIBI]->data, a.alibi_stride = slots[SAGE_ATTN_ALIBI]->stride[0];
  if (has(SAGE_ATTN_SINKS)) a.sinks = slots[SAGE_ATTN_SINKS]->data, a.sinks_stride = slots[SAGE_ATTN_SINKS]->stride[0];
  if (has(SAGE_ATTN_BIAS)) {
    a.bias = slots[SAGE_ATTN_BIAS]->data;
    a.bias_strides = StridesOf(*slots[SAGE_ATTN_BIAS], false);
    if (!TypeOf(slots[SAGE_ATTN_BIAS]->dtype, &a.bias_type)) return "BIAS is no float";
  }

  a.causal = on(SAGE_ATTN_F_CAUSAL);
  a.bottom_right = on(SAGE_ATTN_F_BOTTOM_RIGHT);
  if (on(SAGE_ATTN_F_WINDOW_LEFT)) a.window_left = attributes.window_left;
  if (on(SAGE_ATTN_F_WINDOW_RIGHT)) a.window_right = attributes.window_right;
  const auto bytes = [&](uint32_t slot, const uint8_t** to, AttentionStrides* strides) {
    if (!has(slot)) return;
    *to = static_cast<const uint8_t*>(slots[slot]->data);
    *strides = StridesOf(*slots[slot], false);
  };
  bytes(SAGE_ATTN_MASK, &a.mask, &a.mask_strides);
  bytes(SAGE_ATTN_BIT_MASK, &a.bit_mask, &a.bit_mask_strides);
  bytes(SAGE_ATTN_BLOCK_MASK, &a.block_mask, &a.block_mask_strides);
  if (has(SAGE_ATTN_BLOCK_MASK)) {
    a.mask_block_q = small(std::min<int64_t>(attributes.mask_block_q, INT32_MAX));
    a.mask_block_kv = small(std::min<int64_t>(attributes.mask_block_kv, INT32_MAX));
  }
  *arguments = a;
  return nullptr;
}

const char* BindAskedAttention(const support::OpView& view, uint64_t features, AttentionArguments* arguments,
                               AttentionExtras* extras) {
  std::vector<sage_tensor> tensors = view.tensors;
  std::vector<const sage_tensor*> slots(view.pointers.size());
  for (uint32_t slot = 0; slot < slots.size(); ++slot) {
    tensors[slot].data = reinterpret_cast<void*>(uintptr_t{4096});
    slots[slot] = view.Has(slot) ? &tensors[slot] : nullptr;
  }
  return BindAttention(view.attributes.attention, features, slots.data(), static_cast<uint32_t>(slots.size()),
                       arguments, extras);
}

}  // namespace sage::cuda
