// attention_arguments.h: one attention call as every kernel family of this backend takes it: pointers into device
// memory, strides in elements, sizes, and what is asked for. By value to the kernel.
//
// Semantics are those of sage/attention.h. What the host must have seen to: dimensions, dtypes and strides fit the
// operands; pointers are multiples of their elements' size; Q and O have one dtype, K and V have Q's; heads_q is a
// multiple of heads_k and of heads_v; no sequence has more than 2^28 rows. Lengths, offsets
// and page numbers are data on the device, which no host can look at: kernels clamp the first to what the operands
// hold and read a page that is not there as zeros.
#ifndef SAGE_PLUGINS_COMMON_CUDA_ATTENTION_ARGUMENTS_H_
#define SAGE_PLUGINS_COMMON_CUDA_ATTENTION_ARGUMENTS_H_

#include <cstdint>

namespace sage::cuda {

enum class AttentionType : uint32_t { kF64, kF32, kF16, kBf16, kF8E4m3fn, kF8E5m2 };
inline bool IsFp8(AttentionType type) { return type == AttentionType::kF8E4m3fn || type == AttentionType::kF8E5m2; }

// Of [B,H,S,D] and of [B,Hq,Sq,Skv]; an axis that is repeated has 0. Packed [T,H,D]: row is T's stride and batch is not
// looked at. Paged [pages,Hkv,page,D]: batch is a page's stride and row a key's within its page.
struct AttentionStrides {
  int64_t batch = 0, head = 0, row = 0, column = 0;
};

constexpr int32_t kMostSplits = 128;

// What a plan fixes for all its runs of kernels that split the keys between blocks.
struct AttentionSplits {
  int32_t asked = 0;     // by the option cuda.splits; 0: as many as pay
  int32_t keys = 0;      // of each split, where some are asked for: the same in every run
  int64_t partials = 0;  // splits whose results the workspace holds; 0: none, and nothing is split
};

struct AttentionArguments {
  // --- operands ------------------------------------------------------------------------------------------------------
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  void* o = nullptr;
  AttentionStrides q_strides, k_strides, v_strides, o_strides;
  AttentionType type = AttentionType::kBf16;  // of q, k, v, o
  // Statistics: f64 where type is f64, else f32. (optional) each.
  void* lse = nullptr;  // [B,Hq,Sq], packed [Hq,T]; column has no meaning
  AttentionStrides lse_strides;
  void *weights = nullptr, *scores = nullptr;  // [B,Hq,Sq,Skv]; only the plain kernel writes them
  AttentionStrides weights_strides, scores_strides;

  // --- sizes ---------------------------------------------------------------------------------------------------------
  int32_t batch = 1, heads_q = 1, heads_k = 1, heads_v = 1;
  // Rows of a sequence at most. Packed: the longest that may be, and total_q, total_k are T of either. Paged: seq_kv is
  // max_pages << page_shift.
  int32_t seq_q = 1, seq_kv = 1, total_q = 0, total_k = 0;
  int32_t dim_qk = 64, dim_v = 64;

  // --- sequences (optional, i32, contiguous) -------------------------------------------------------------------------
  const int32_t *cu_seqlens_q = nullptr, *cu_seqlens_k = nullptr;  // [B+1]; q: packed Q and O, k: packed K and V
  const int32_t *seqused_q = nullptr, *seqused_k = nullptr;        // [B]; k: after an append
  // Keys behind each seqused_k that this call has appended; -1: as many as the sequence has packed queries.
  int32_t appended = 0;
  // (optional, both) Rows that this call appends, like a Q of heads_k or heads_v heads, not yet in the cache: kernels
  // write them there, and read keys behind seqused_k here. Null once another kernel has appended them.
  const void *k_new = nullptr, *v_new = nullptr;
  AttentionStrides k_new_strides, v_new_strides;
  const int32_t* block_table = nullptr;  // [B,max_pages]: paged K and V
  int64_t block_table_stride = 0;        // between sequences
  int32_t pages = 0, page_shift = 0;     // pages there are; a page has 1 << page_shift keys

  // --- scores --------------------------------------------------------------------------------------------------------
  double scale = 1;             // given, or 1/sqrt(dim_qk) by the host
  double softcap = 0;           // > 0 caps
  const void* alibi = nullptr;  // [Hq] slopes, statistics' type
  const void* sinks = nullptr;  // [Hq] logits, statistics' type
  int64_t alibi_stride = 1, sinks_stride = 1;
  const void* bias = nullptr;
  AttentionStrides bias_strides;
  AttentionType bias_type = AttentionType::kF32;  // statistics' type or the operands'

  // --- visibility ----------------------------------------------------------------------------------------------------
  bool causal = false;
  bool bottom_right = false;                    // position of query i: i + (keys - queries in use), else i
  int64_t window_left = -1, window_right = -1;  // -1: unlimited
  const uint8_t* mask = nullptr;                // bytes, not 0 = keep
  AttentionStrides mask_strides;
  const uint8_t* bit_mask = nullptr;  // column counts bytes, key j is bit j % 8 of byte j / 8
  AttentionStrides bit_mask_strides;
  const uint8_t* block_mask = nullptr;  // row and column count tiles
  AttentionStrides block_mask_strides;
  int32_t mask_block_q = 1, mask_block_kv = 1;

  // --- splits of the keys --------------------------------------------------------------------------------------------
  AttentionSplits splits;

  // --- the launch ----------------------------------------------------------------------------------------------------
  uint32_t stages_off = 0;  // parts of a family's kernel that are left out, for who compares: HopperStage
  bool dependent = false;   // it may begin before what is before it on the stream has ended; only kernels that wait
};

// What lies beside AttentionArguments, for the backends that serve it: operands of 8 bits, and dropout. By value to the
// kernel, like them.
struct AttentionExtras {
  AttentionType o_type = AttentionType::kBf16;  // Q's, but any float where Q is fp8
  // One f32 each, on the device: value = scale * stored. Null: 1.
  const float *scale_q = nullptr, *scale_k = nullptr, *scale_v = nullptr, *scale_p = nullptr, *scale_o = nullptr;
  bool finer_scales = false;  // some scale is of another granularity than PER_TENSOR, and is not among them

  const uint64_t* philox = nullptr;  // seed, offset; on the device. Null: no dropout
  int64_t philox_stride = 1;
  uint64_t least_kept = 0;  // Philox' word from which on a weight is kept: p * 2^32, rounded up
  double kept = 1;          // what it is multiplied by then: 1 / (1 - p)
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_ATTENTION_ARGUMENTS_H_
