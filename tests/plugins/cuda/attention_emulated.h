// attention_emulated.h: an attention call of the tests, given to a kernel of plugins/cuda that runs in the emulation,
// and compared with the float64 oracle.
#ifndef SAGE_TESTS_PLUGINS_CUDA_ATTENTION_EMULATED_H_
#define SAGE_TESTS_PLUGINS_CUDA_ATTENTION_EMULATED_H_

#include <bit>
#include <functional>
#include <string>

#include "attention_decode.h"
#include "attention_decode_plan.h"
#include "attention_portable.h"
#include "attention_portable_plan.h"
#include "attention_small_plan.h"
#include "common/cuda/kernels/attention_plain.h"
#include "sage/support/attention_dims.h"
#include "support/attention_case.h"

extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

inline cuda::AttentionType TypeOf(sage_dtype dtype) {
  return dtype == SAGE_F64   ? cuda::AttentionType::kF64
         : dtype == SAGE_F32 ? cuda::AttentionType::kF32
         : dtype == SAGE_F16 ? cuda::AttentionType::kF16
                             : cuda::AttentionType::kBf16;
}

// The case's own memory. No CSR mask, no scales, no dropout.
inline cuda::AttentionArguments ArgumentsOf(AttentionCase& from) {
  std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS> slots;
  for (uint32_t i = 0; i < SAGE_ATTN_NUM_SLOTS; ++i) slots[i] = from[i].tensor();
  const support::AttentionDims dims = support::ReadAttentionDims(slots.data(), SAGE_ATTN_NUM_SLOTS);
  const sage_attention_attributes& attributes = from.attributes;
  cuda::AttentionArguments a;
  // [T,H,D] has no batch and its row before its head.
  const auto strides = [&](uint32_t slot, bool packed) {
    const int64_t* const s = slots[slot]->stride;
    return packed ? cuda::AttentionStrides{0, s[1], s[0], s[2]} : cuda::AttentionStrides{s[0], s[1], s[2], s[3]};
  };
  const auto data = [&](uint32_t slot) { return slots[slot] == nullptr ? nullptr : slots[slot]->data; };
  const auto integers = [&](uint32_t slot) { return static_cast<const int32_t*>(data(slot)); };
  const auto number = [](int64_t n) { return static_cast<int32_t>(n); };
  a.q = data(SAGE_ATTN_Q), a.k = data(SAGE_ATTN_K), a.v = data(SAGE_ATTN_V), a.o = data(SAGE_ATTN_O);
  a.q_strides = strides(SAGE_ATTN_Q, dims.varlen), a.o_strides = strides(SAGE_ATTN_O, dims.varlen);
  a.k_strides = strides(SAGE_ATTN_K, dims.packed_kv()), a.v_strides = strides(SAGE_ATTN_V, dims.packed_kv());
  a.type = TypeOf(from.Q().dtype());
  a.lse = data(SAGE_ATTN_LSE);
  if (a.lse != nullptr) {
    const int64_t* const s = slots[SAGE_ATTN_LSE]->stride;
    a.lse_strides =
        dims.varlen ? cuda::AttentionStrides{0, s[0], s[1], 0} : cuda::AttentionStrides{s[0], s[1], s[2], 0};
  }
  a.weights = data(SAGE_ATTN_WEIGHTS), a.scores = data(SAGE_ATTN_SCORES);
  if (a.weights != nullptr) a.weights_strides = strides(SAGE_ATTN_WEIGHTS, false);
  if (a.scores != nullptr) a.scores_strides = strides(SAGE_ATTN_SCORES, false);
  a.batch = number(dims.batch), a.heads_q = number(dims.heads_q);
  a.heads_k = number(dims.heads_k), a.heads_v = number(dims.heads_v);
  a.seq_q = number(dims.seq_q), a.seq_kv = number(dims.seq_kv);
  a.total_q = a.seq_q, a.total_k = a.seq_kv;
  a.dim_qk = number(dims.dim_qk), a.dim_v = number(dims.dim_v);
  a.cu_seqlens_q = integers(SAGE_ATTN_CU_SEQLENS_Q), a.cu_seqlens_k = integers(SAGE_ATTN_CU_SEQLENS_K);
  a.seqused_q = integers(SAGE_ATTN_SEQUSED_Q), a.seqused_k = integers(SAGE_ATTN_SEQUSED_K);
  a.k_new = data(SAGE_ATTN_K_NEW), a.v_new = data(SAGE_ATTN_V_NEW);
  if (a.k_new != nullptr) {
    a.appended = dims.varlen ? -1 : number(dims.seq_new);
    a.k_new_strides = strides(SAGE_ATTN_K_NEW, dims.varlen), a.v_new_strides = strides(SAGE_ATTN_V_NEW, dims.varlen);
  }
  a.block_table = integers(SAGE_ATTN_BLOCK_TABLE);
  if (dims.paged) {
    a.block_table_stride = dims.max_pages, a.pages = number(dims.pages);
    a.page_shift = std::countr_zero(static_cast<uint64_t>(dims.page));
  }
  a.scale = (attributes.features & SAGE_ATTN_F_SCALE) != 0 ? attributes.scale
                                                           : 1 / std::sqrt(static_cast<double>(dims.dim_qk));
  a.softcap = attributes.softcap;
  a.alibi = data(SAGE_ATTN_ALIBI), a.sinks = data(SAGE_ATTN_SINKS);
  if (a.alibi != nullptr) a.alibi_stride = slots[SAGE_ATTN_ALIBI]->stride[0];
  if (a.sinks != nullptr) a.sinks_stride = slots[SAGE_ATTN_SINKS]->stride[0];
  a.bias = data(SAGE_ATTN_BIAS);
  if (a.bias != nullptr)
    a.bias_strides = strides(SAGE_ATTN_BIAS, false), a.bias_type = TypeOf(from[SAGE_ATTN_BIAS].dtype());
  a.causal = (attributes.features & SAGE_ATTN_F_CAUSAL) != 0;
  a.bottom_right = attributes.alignment == SAGE_ALIGN_BOTTOM_RIGHT;
  if ((attributes.features & SAGE_ATTN_F_WINDOW_LEFT) != 0) a.window_left = attributes.window_left;
  if ((attributes.features & SAGE_ATTN_F_WINDOW_RIGHT) != 0) a.window_right = attributes.window_right;
  const auto bytes = [&](uint32_t slot) { return static_cast<const uint8_t*>(data(slot)); };
  a.mask = bytes(SAGE_ATTN_MASK), a.bit_mask = bytes(SAGE_ATTN_BIT_MASK), a.block_mask = bytes(SAGE_ATTN_BLOCK_MASK);
  if (a.mask != nullptr) a.mask_strides = strides(SAGE_ATTN_MASK, false);
  if (a.bit_mask != nullptr) a.bit_mask_strides = strides(SAGE_ATTN_BIT_MASK, false);
  if (a.block_mask != nullptr) {
    a.block_mask_strides = strides(SAGE_ATTN_BLOCK_MASK, false);
    // An axis of 1 serves all.
    if (from[SAGE_ATTN_BLOCK_MASK].dim(0) == 1) a.block_mask_strides.batch = 0;
    if (from[SAGE_ATTN_BLOCK_MASK].dim(1) == 1) a.block_mask_strides.head = 0;
    a.mask_block_q = number(attributes.mask_block_q), a.mask_block_kv = number(attributes.mask_block_kv);
  }
  return a;
}

enum class Kernel { kPlain, kSmall, kPortable, kDecode };

// Empty, or what the emulation found. splits: asked of the decode kernel, 0: as it chooses on an H200.
std::string RunEmulated(Kernel kernel, AttentionCase& attention, uint64_t seed, int32_t splits = 0);
// repair: rows that come out as NaN are made again over the keys they see. RunEmulated wants none of finite operands:
// it would hide a kernel that reads what it must not.
// earlier: of kSmall alone, what a grid that is still under way does when it is waited for.
std::string LaunchEmulated(Kernel kernel, const cuda::AttentionArguments& arguments, uint64_t seed, bool repair = true,
                           std::function<void()> earlier = {});
// The decode kernel, of a call whose splits are planned: three blocks at a time, with their threads in any order.
std::string LaunchDecodeEmulated(const cuda::AttentionArguments& arguments, const cuda::Properties& device,
                                 void* workspace, uint64_t seed, bool repair = true);
// K_NEW and V_NEW into the cache.
std::string LaunchAppendEmulated(const cuda::AttentionArguments& arguments, uint64_t seed);

// Runs it, and the oracle in f64: empty, or what differs. gate: of O, in units of the largest |V|; 0: the type's own.
std::string EmulatedDisagreement(Kernel kernel, AttentionCase& attention, uint64_t seed, double gate = 0,
                                 int32_t splits = 0);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_ATTENTION_EMULATED_H_
