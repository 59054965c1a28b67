/* layout_lock.c: written by abi/layout.py. No number here may change within a major; lists grow at their ends.
 * Compiled as C11 and as C++20. */
/* clang-format off */
#include <assert.h>
#include <stddef.h>

#include "sage/plugin.h"
#include "sage/quantize.h"
#include "sage/sparse.h"

#define SIZE(type, bytes, alignment) \
  static_assert(sizeof(type) == (bytes) && ALIGNMENT(type) == (alignment), #type " has another size")
#define AT(type, field, offset, bytes)                                                            \
  static_assert(offsetof(type, field) == (offset) && sizeof(((type*)0)->field) == (bytes), #type "." #field \
                " has moved")
#define IS(name, value) static_assert((unsigned long long)(name) == (value), #name " has changed")
#ifdef __cplusplus
#define ALIGNMENT alignof
#else
#define ALIGNMENT _Alignof
#endif

SIZE(sage_error, 512, 8);
AT(sage_error, struct_size, 0, 4);
AT(sage_error, status, 4, 4);
AT(sage_error, native_code, 8, 8);
AT(sage_error, message, 16, 496);

SIZE(sage_tensor, 160, 8);
AT(sage_tensor, struct_size, 0, 4);
AT(sage_tensor, dtype, 4, 4);
AT(sage_tensor, device_type, 8, 4);
AT(sage_tensor, device_id, 12, 4);
AT(sage_tensor, rank, 16, 4);
AT(sage_tensor, flags, 20, 4);
AT(sage_tensor, shape, 24, 64);
AT(sage_tensor, stride, 88, 64);
AT(sage_tensor, data, 152, 8);

SIZE(sage_attention_attributes, 120, 8);
AT(sage_attention_attributes, struct_size, 0, 4);
AT(sage_attention_attributes, alignment, 4, 4);
AT(sage_attention_attributes, features, 8, 8);
AT(sage_attention_attributes, scale, 16, 8);
AT(sage_attention_attributes, softcap, 24, 8);
AT(sage_attention_attributes, dropout_p, 32, 8);
AT(sage_attention_attributes, window_left, 40, 8);
AT(sage_attention_attributes, window_right, 48, 8);
AT(sage_attention_attributes, max_seq_q, 56, 8);
AT(sage_attention_attributes, max_seq_kv, 64, 8);
AT(sage_attention_attributes, algorithm, 72, 4);
AT(sage_attention_attributes, block_q, 76, 4);
AT(sage_attention_attributes, block_kv, 80, 4);
AT(sage_attention_attributes, mask_block_q, 84, 4);
AT(sage_attention_attributes, mask_block_kv, 88, 4);
AT(sage_attention_attributes, scale_block, 92, 4);
AT(sage_attention_attributes, granularity_q, 96, 4);
AT(sage_attention_attributes, granularity_k, 100, 4);
AT(sage_attention_attributes, granularity_v, 104, 4);
AT(sage_attention_attributes, granularity_p, 108, 4);
AT(sage_attention_attributes, granularity_o, 112, 4);
AT(sage_attention_attributes, reserved, 116, 4);

SIZE(sage_op, 48, 8);
AT(sage_op, struct_size, 0, 4);
AT(sage_op, kind, 4, 4);
AT(sage_op, requirements, 8, 4);
AT(sage_op, accuracy, 12, 4);
AT(sage_op, dynamic_axes, 16, 4);
AT(sage_op, num_slots, 20, 4);
AT(sage_op, aliases, 24, 8);
AT(sage_op, attributes, 32, 8);
AT(sage_op, slots, 40, 8);

SIZE(sage_linear_attributes, 8, 4);
AT(sage_linear_attributes, struct_size, 0, 4);
AT(sage_linear_attributes, activation, 4, 4);

SIZE(sage_norm_attributes, 24, 8);
AT(sage_norm_attributes, struct_size, 0, 4);
AT(sage_norm_attributes, mode, 4, 4);
AT(sage_norm_attributes, axis, 8, 4);
AT(sage_norm_attributes, reserved, 12, 4);
AT(sage_norm_attributes, epsilon, 16, 8);

SIZE(sage_unary_attributes, 16, 8);
AT(sage_unary_attributes, struct_size, 0, 4);
AT(sage_unary_attributes, function, 4, 4);
AT(sage_unary_attributes, alpha, 8, 8);

SIZE(sage_binary_attributes, 8, 4);
AT(sage_binary_attributes, struct_size, 0, 4);
AT(sage_binary_attributes, function, 4, 4);

SIZE(sage_softmax_attributes, 8, 4);
AT(sage_softmax_attributes, struct_size, 0, 4);
AT(sage_softmax_attributes, axis, 4, 4);

SIZE(sage_reduce_attributes, 16, 4);
AT(sage_reduce_attributes, struct_size, 0, 4);
AT(sage_reduce_attributes, function, 4, 4);
AT(sage_reduce_attributes, axes, 8, 4);
AT(sage_reduce_attributes, reserved, 12, 4);

SIZE(sage_gather_attributes, 8, 4);
AT(sage_gather_attributes, struct_size, 0, 4);
AT(sage_gather_attributes, axis, 4, 4);

SIZE(sage_concat_attributes, 8, 4);
AT(sage_concat_attributes, struct_size, 0, 4);
AT(sage_concat_attributes, axis, 4, 4);

SIZE(sage_slice_attributes, 136, 8);
AT(sage_slice_attributes, struct_size, 0, 4);
AT(sage_slice_attributes, reserved, 4, 4);
AT(sage_slice_attributes, begin, 8, 64);
AT(sage_slice_attributes, step, 72, 64);

SIZE(sage_permute_attributes, 40, 4);
AT(sage_permute_attributes, struct_size, 0, 4);
AT(sage_permute_attributes, reserved, 4, 4);
AT(sage_permute_attributes, axes, 8, 32);

SIZE(sage_topk_attributes, 16, 4);
AT(sage_topk_attributes, struct_size, 0, 4);
AT(sage_topk_attributes, axis, 4, 4);
AT(sage_topk_attributes, smallest, 8, 4);
AT(sage_topk_attributes, reserved, 12, 4);

SIZE(sage_rope_attributes, 24, 8);
AT(sage_rope_attributes, struct_size, 0, 4);
AT(sage_rope_attributes, style, 4, 4);
AT(sage_rope_attributes, rotary_dim, 8, 4);
AT(sage_rope_attributes, reserved, 12, 4);
AT(sage_rope_attributes, base, 16, 8);

SIZE(sage_pool_attributes, 24, 4);
AT(sage_pool_attributes, struct_size, 0, 4);
AT(sage_pool_attributes, function, 4, 4);
AT(sage_pool_attributes, window, 8, 4);
AT(sage_pool_attributes, stride, 12, 4);
AT(sage_pool_attributes, pad_begin, 16, 4);
AT(sage_pool_attributes, pad_end, 20, 4);

SIZE(sage_device_table, 176, 8);
AT(sage_device_table, struct_size, 0, 4);
AT(sage_device_table, flags, 4, 4);
AT(sage_device_table, device_type, 8, 4);
AT(sage_device_table, device_id, 12, 4);
AT(sage_device_table, self, 16, 8);
AT(sage_device_table, copy_latency_ns, 24, 8);
AT(sage_device_table, copy_bytes_per_ns, 32, 8);
AT(sage_device_table, alloc, 40, 8);
AT(sage_device_table, free, 48, 8);
AT(sage_device_table, copy, 56, 8);
AT(sage_device_table, stream_create, 64, 8);
AT(sage_device_table, stream_destroy, 72, 8);
AT(sage_device_table, stream_synchronize, 80, 8);
AT(sage_device_table, event_create, 88, 8);
AT(sage_device_table, event_destroy, 96, 8);
AT(sage_device_table, event_record, 104, 8);
AT(sage_device_table, event_wait, 112, 8);
AT(sage_device_table, memory_info, 120, 8);
AT(sage_device_table, capture_begin, 128, 8);
AT(sage_device_table, capture_end, 136, 8);
AT(sage_device_table, graph_launch, 144, 8);
AT(sage_device_table, graph_destroy, 152, 8);
AT(sage_device_table, host_alloc, 160, 8);
AT(sage_device_table, host_free, 168, 8);

SIZE(sage_host, 120, 8);
AT(sage_host, struct_size, 0, 4);
AT(sage_host, abi_minor, 4, 4);
AT(sage_host, self, 8, 8);
AT(sage_host, num_workers, 16, 4);
AT(sage_host, reserved, 20, 4);
AT(sage_host, alloc, 24, 8);
AT(sage_host, free, 32, 8);
AT(sage_host, parallel_for, 40, 8);
AT(sage_host, log, 48, 8);
AT(sage_host, log_level, 56, 8);
AT(sage_host, span_begin, 64, 8);
AT(sage_host, span_end, 72, 8);
AT(sage_host, cancelled, 80, 8);
AT(sage_host, device, 88, 8);
AT(sage_host, attention_features, 96, 8);
AT(sage_host, count, 104, 8);
AT(sage_host, cache_folder, 112, 8);

SIZE(sage_answer, 280, 8);
AT(sage_answer, struct_size, 0, 4);
AT(sage_answer, verdict, 4, 4);
AT(sage_answer, blocking, 8, 8);
AT(sage_answer, cost_ns, 16, 8);
AT(sage_answer, cost_source, 24, 4);
AT(sage_answer, accuracy, 28, 4);
AT(sage_answer, workspace_bytes, 32, 8);
AT(sage_answer, reason, 40, 240);

SIZE(sage_plan_info, 40, 8);
AT(sage_plan_info, struct_size, 0, 4);
AT(sage_plan_info, reserved, 4, 4);
AT(sage_plan_info, workspace_bytes, 8, 8);
AT(sage_plan_info, prepack_bytes, 16, 8);
AT(sage_plan_info, packed_kv_bytes, 24, 8);
AT(sage_plan_info, partials_bytes, 32, 8);

SIZE(sage_run_args, 48, 8);
AT(sage_run_args, struct_size, 0, 4);
AT(sage_run_args, num_slots, 4, 4);
AT(sage_run_args, slots, 8, 8);
AT(sage_run_args, workspace, 16, 8);
AT(sage_run_args, workspace_bytes, 24, 8);
AT(sage_run_args, stream, 32, 8);
AT(sage_run_args, run, 40, 8);

SIZE(sage_plugin, 136, 8);
AT(sage_plugin, struct_size, 0, 4);
AT(sage_plugin, abi_major, 4, 4);
AT(sage_plugin, abi_minor, 8, 4);
AT(sage_plugin, abi_minor_min, 12, 4);
AT(sage_plugin, name, 16, 8);
AT(sage_plugin, version, 24, 8);
AT(sage_plugin, build, 32, 8);
AT(sage_plugin, foreign_threads, 40, 8);
AT(sage_plugin, kinds, 48, 8);
AT(sage_plugin, features, 56, 8);
AT(sage_plugin, device_type, 64, 4);
AT(sage_plugin, reserved, 68, 4);
AT(sage_plugin, probe, 72, 8);
AT(sage_plugin, create, 80, 8);
AT(sage_plugin, destroy, 88, 8);
AT(sage_plugin, device, 96, 8);
AT(sage_plugin, ask, 104, 8);
AT(sage_plugin, plan, 112, 8);
AT(sage_plugin, plan_destroy, 120, 8);
AT(sage_plugin, run, 128, 8);

SIZE(sage_attention_memory, 144, 8);
AT(sage_attention_memory, struct_size, 0, 4);
AT(sage_attention_memory, reserved, 4, 4);
AT(sage_attention_memory, q_bytes, 8, 8);
AT(sage_attention_memory, k_bytes, 16, 8);
AT(sage_attention_memory, v_bytes, 24, 8);
AT(sage_attention_memory, o_bytes, 32, 8);
AT(sage_attention_memory, other_bytes, 40, 8);
AT(sage_attention_memory, scratch_bytes, 48, 8);
AT(sage_attention_memory, working_set_bytes, 56, 8);
AT(sage_attention_memory, packed_kv_bytes, 64, 8);
AT(sage_attention_memory, partials_bytes, 72, 8);
AT(sage_attention_memory, prepack_bytes, 80, 8);
AT(sage_attention_memory, total_bytes, 88, 8);
AT(sage_attention_memory, scores_bytes, 96, 8);
AT(sage_attention_memory, scores_avoided_bytes, 104, 8);
AT(sage_attention_memory, total_with_scores_bytes, 112, 8);
AT(sage_attention_memory, scores_over_scratch, 120, 8);
AT(sage_attention_memory, totals_ratio, 128, 8);
AT(sage_attention_memory, keys_over_block_kv, 136, 8);

SIZE(sage_gate_packet, 40, 4);
AT(sage_gate_packet, struct_size, 0, 4);
AT(sage_gate_packet, flags, 4, 4);
AT(sage_gate_packet, lambda, 8, 4);
AT(sage_gate_packet, lambda_prev, 12, 4);
AT(sage_gate_packet, boundary_edges, 16, 4);
AT(sage_gate_packet, boundary_concentration_q15, 20, 4);
AT(sage_gate_packet, partition_count, 24, 4);
AT(sage_gate_packet, spike_fired, 28, 4);
AT(sage_gate_packet, spike_rate_q15, 32, 4);
AT(sage_gate_packet, reserved, 36, 4);

SIZE(sage_gate_tier, 16, 4);
AT(sage_gate_tier, layers, 0, 4);
AT(sage_gate_tier, sequence, 4, 4);
AT(sage_gate_tier, window, 8, 4);
AT(sage_gate_tier, reserved, 12, 4);

SIZE(sage_gate_policy, 80, 4);
AT(sage_gate_policy, struct_size, 0, 4);
AT(sage_gate_policy, lambda_min, 4, 4);
AT(sage_gate_policy, drop_ratio_q15_max, 8, 4);
AT(sage_gate_policy, boundary_edges_max, 12, 4);
AT(sage_gate_policy, boundary_concentration_q15_max, 16, 4);
AT(sage_gate_policy, partitions_max, 20, 4);
AT(sage_gate_policy, spike_rate_q15_max, 24, 4);
AT(sage_gate_policy, reserved, 28, 4);
AT(sage_gate_policy, normal, 32, 16);
AT(sage_gate_policy, reduced, 48, 16);
AT(sage_gate_policy, safe, 64, 16);

SIZE(sage_gate_decision, 32, 4);
AT(sage_gate_decision, struct_size, 0, 4);
AT(sage_gate_decision, verdict, 4, 4);
AT(sage_gate_decision, tier, 8, 4);
AT(sage_gate_decision, drop_ratio_q15, 12, 4);
AT(sage_gate_decision, layers, 16, 4);
AT(sage_gate_decision, sequence, 20, 4);
AT(sage_gate_decision, window, 24, 4);
AT(sage_gate_decision, reserved, 28, 4);

SIZE(sage_quantize_report, 64, 8);
AT(sage_quantize_report, struct_size, 0, 4);
AT(sage_quantize_report, reserved, 4, 4);
AT(sage_quantize_report, elements, 8, 8);
AT(sage_quantize_report, saturated, 16, 8);
AT(sage_quantize_report, zero_groups, 24, 8);
AT(sage_quantize_report, code_bytes, 32, 8);
AT(sage_quantize_report, scale_bytes, 40, 8);
AT(sage_quantize_report, max_abs_error, 48, 8);
AT(sage_quantize_report, rms_error, 56, 8);

IS(SAGE_ABI_MAJOR, 0x1ull);
IS(SAGE_ABI_MINOR, 0x0ull);
IS(SAGE_OK, 0x0ull);
IS(SAGE_E_INVALID_ARGUMENT, 0x1ull);
IS(SAGE_E_UNSUPPORTED, 0x2ull);
IS(SAGE_E_UNKNOWN_FIELD, 0x3ull);
IS(SAGE_E_OUT_OF_MEMORY, 0x4ull);
IS(SAGE_E_NOT_FOUND, 0x5ull);
IS(SAGE_E_IO, 0x6ull);
IS(SAGE_E_BAD_DATA, 0x7ull);
IS(SAGE_E_ABI_MISMATCH, 0x8ull);
IS(SAGE_E_DEVICE, 0x9ull);
IS(SAGE_E_CANCELLED, 0xaull);
IS(SAGE_E_BUSY, 0xbull);
IS(SAGE_E_FORKED, 0xcull);
IS(SAGE_E_BUFFER_TOO_SMALL, 0xdull);
IS(SAGE_E_INTERNAL, 0xeull);
IS(SAGE_I8, 0x10800ull);
IS(SAGE_I16, 0x11000ull);
IS(SAGE_I32, 0x12000ull);
IS(SAGE_I64, 0x14000ull);
IS(SAGE_U8, 0x10801ull);
IS(SAGE_U64, 0x14001ull);
IS(SAGE_F16, 0x11002ull);
IS(SAGE_F32, 0x12002ull);
IS(SAGE_F64, 0x14002ull);
IS(SAGE_BF16, 0x11004ull);
IS(SAGE_BOOL, 0x10806ull);
IS(SAGE_F8_E4M3FN, 0x1080aull);
IS(SAGE_F8_E5M2, 0x1080cull);
IS(SAGE_CPU, 0x1ull);
IS(SAGE_CUDA, 0x2ull);
IS(SAGE_CUDA_HOST, 0x3ull);
IS(SAGE_TENSOR_CONSTANT, 0x1ull);
IS(SAGE_TENSOR_READ_ONLY, 0x2ull);
IS(SAGE_MAX_RANK, 0x8ull);
IS(SAGE_ATTN_F_SCALE, 0x1ull);
IS(SAGE_ATTN_F_GQA, 0x2ull);
IS(SAGE_ATTN_F_CAUSAL, 0x4ull);
IS(SAGE_ATTN_F_BOTTOM_RIGHT, 0x8ull);
IS(SAGE_ATTN_F_WINDOW_LEFT, 0x10ull);
IS(SAGE_ATTN_F_WINDOW_RIGHT, 0x20ull);
IS(SAGE_ATTN_F_BIAS, 0x40ull);
IS(SAGE_ATTN_F_BOOL_MASK, 0x80ull);
IS(SAGE_ATTN_F_BIT_MASK, 0x100ull);
IS(SAGE_ATTN_F_BLOCK_MASK, 0x200ull);
IS(SAGE_ATTN_F_CSR_MASK, 0x400ull);
IS(SAGE_ATTN_F_ALIBI, 0x800ull);
IS(SAGE_ATTN_F_SOFTCAP, 0x1000ull);
IS(SAGE_ATTN_F_SINKS, 0x2000ull);
IS(SAGE_ATTN_F_VARLEN, 0x4000ull);
IS(SAGE_ATTN_F_Q_LENGTHS, 0x8000ull);
IS(SAGE_ATTN_F_KV_LENGTHS, 0x10000ull);
IS(SAGE_ATTN_F_PAGED_KV, 0x20000ull);
IS(SAGE_ATTN_F_APPEND_KV, 0x40000ull);
IS(SAGE_ATTN_F_LSE, 0x80000ull);
IS(SAGE_ATTN_F_DROPOUT, 0x100000ull);
IS(SAGE_ATTN_F_QUANT_SCALES, 0x200000ull);
IS(SAGE_ATTN_F_DV_DIFFERS, 0x400000ull);
IS(SAGE_ATTN_F_HV_DIFFERS, 0x800000ull);
IS(SAGE_ATTN_F_WEIGHTS_OUT, 0x1000000ull);
IS(SAGE_ATTN_F_SCORES_OUT, 0x2000000ull);
IS(SAGE_ATTN_Q, 0x0ull);
IS(SAGE_ATTN_K, 0x1ull);
IS(SAGE_ATTN_V, 0x2ull);
IS(SAGE_ATTN_O, 0x3ull);
IS(SAGE_ATTN_LSE, 0x4ull);
IS(SAGE_ATTN_BIAS, 0x5ull);
IS(SAGE_ATTN_MASK, 0x6ull);
IS(SAGE_ATTN_BIT_MASK, 0x7ull);
IS(SAGE_ATTN_BLOCK_MASK, 0x8ull);
IS(SAGE_ATTN_CSR_INDPTR, 0x9ull);
IS(SAGE_ATTN_CSR_INDICES, 0xaull);
IS(SAGE_ATTN_ALIBI, 0xbull);
IS(SAGE_ATTN_SINKS, 0xcull);
IS(SAGE_ATTN_CU_SEQLENS_Q, 0xdull);
IS(SAGE_ATTN_CU_SEQLENS_K, 0xeull);
IS(SAGE_ATTN_SEQUSED_Q, 0xfull);
IS(SAGE_ATTN_SEQUSED_K, 0x10ull);
IS(SAGE_ATTN_BLOCK_TABLE, 0x11ull);
IS(SAGE_ATTN_K_NEW, 0x12ull);
IS(SAGE_ATTN_V_NEW, 0x13ull);
IS(SAGE_ATTN_SCALE_Q, 0x14ull);
IS(SAGE_ATTN_SCALE_K, 0x15ull);
IS(SAGE_ATTN_SCALE_V, 0x16ull);
IS(SAGE_ATTN_SCALE_P, 0x17ull);
IS(SAGE_ATTN_SCALE_O, 0x18ull);
IS(SAGE_ATTN_PHILOX, 0x19ull);
IS(SAGE_ATTN_WEIGHTS, 0x1aull);
IS(SAGE_ATTN_SCORES, 0x1bull);
IS(SAGE_ATTN_NUM_SLOTS, 0x1cull);
IS(SAGE_ALIGN_TOP_LEFT, 0x1ull);
IS(SAGE_ALIGN_BOTTOM_RIGHT, 0x2ull);
IS(SAGE_ALGORITHM_AUTO, 0x0ull);
IS(SAGE_ALGORITHM_MATERIALISED, 0x1ull);
IS(SAGE_ALGORITHM_FLASH, 0x2ull);
IS(SAGE_PER_TENSOR, 0x1ull);
IS(SAGE_PER_HEAD, 0x2ull);
IS(SAGE_PER_TOKEN, 0x3ull);
IS(SAGE_PER_CHANNEL, 0x4ull);
IS(SAGE_PER_BLOCK, 0x5ull);
IS(SAGE_OP_ATTENTION, 0x1ull);
IS(SAGE_OP_LINEAR, 0x2ull);
IS(SAGE_OP_MATMUL, 0x3ull);
IS(SAGE_OP_NORM, 0x4ull);
IS(SAGE_OP_UNARY, 0x5ull);
IS(SAGE_OP_BINARY, 0x6ull);
IS(SAGE_OP_SOFTMAX, 0x7ull);
IS(SAGE_OP_REDUCE, 0x8ull);
IS(SAGE_OP_GATHER, 0x9ull);
IS(SAGE_OP_CONCAT, 0xaull);
IS(SAGE_OP_SLICE, 0xbull);
IS(SAGE_OP_PERMUTE, 0xcull);
IS(SAGE_OP_TOPK, 0xdull);
IS(SAGE_OP_ROPE, 0xeull);
IS(SAGE_OP_POOL, 0xfull);
IS(SAGE_REQUIRE_DETERMINISTIC, 0x1ull);
IS(SAGE_REQUIRE_STREAM_CAPTURE, 0x2ull);
IS(SAGE_REQUIRE_SCALAR, 0x4ull);
IS(SAGE_ACCURACY_AUTO, 0x0ull);
IS(SAGE_ACCURACY_EXACT, 0x1ull);
IS(SAGE_ACCURACY_NATIVE, 0x2ull);
IS(SAGE_ACCURACY_LOSSY, 0x3ull);
IS(SAGE_AXIS_B, 0x1ull);
IS(SAGE_AXIS_SQ, 0x2ull);
IS(SAGE_AXIS_SKV, 0x4ull);
IS(SAGE_AXIS_M, 0x8ull);
IS(SAGE_FN_IDENTITY, 0x0ull);
IS(SAGE_FN_RELU, 0x1ull);
IS(SAGE_FN_GELU, 0x2ull);
IS(SAGE_FN_GELU_TANH, 0x3ull);
IS(SAGE_FN_SILU, 0x4ull);
IS(SAGE_FN_SIGMOID, 0x5ull);
IS(SAGE_FN_TANH, 0x6ull);
IS(SAGE_FN_ELU, 0x7ull);
IS(SAGE_FN_EXP, 0x8ull);
IS(SAGE_FN_LOG, 0x9ull);
IS(SAGE_FN_SQRT, 0xaull);
IS(SAGE_FN_ABS, 0xbull);
IS(SAGE_FN_NEG, 0xcull);
IS(SAGE_NORM_LAYER, 0x1ull);
IS(SAGE_NORM_RMS, 0x2ull);
IS(SAGE_NORM_BATCH, 0x3ull);
IS(SAGE_BINARY_ADD, 0x1ull);
IS(SAGE_BINARY_SUB, 0x2ull);
IS(SAGE_BINARY_MUL, 0x3ull);
IS(SAGE_BINARY_DIV, 0x4ull);
IS(SAGE_BINARY_MIN, 0x5ull);
IS(SAGE_BINARY_MAX, 0x6ull);
IS(SAGE_REDUCE_SUM, 0x1ull);
IS(SAGE_REDUCE_MEAN, 0x2ull);
IS(SAGE_REDUCE_MAX, 0x3ull);
IS(SAGE_REDUCE_MIN, 0x4ull);
IS(SAGE_ROPE_HALVES, 0x1ull);
IS(SAGE_ROPE_INTERLEAVED, 0x2ull);
IS(SAGE_POOL_MEAN, 0x1ull);
IS(SAGE_POOL_MAX, 0x2ull);
IS(SAGE_POOL_FIRST, 0x3ull);
IS(SAGE_POOL_LAST, 0x4ull);
IS(SAGE_DEVICE_HOST_VISIBLE, 0x1ull);
IS(SAGE_LOG_ERROR, 0x1ull);
IS(SAGE_LOG_WARNING, 0x2ull);
IS(SAGE_LOG_INFO, 0x3ull);
IS(SAGE_LOG_DEBUG, 0x4ull);
IS(SAGE_NO, 0x0ull);
IS(SAGE_YES, 0x1ull);
IS(SAGE_COST_RULE, 0x1ull);
IS(SAGE_COST_MODEL, 0x2ull);
IS(SAGE_INPUT, 0x1ull);
IS(SAGE_OUTPUT, 0x2ull);
IS(SAGE_MODEL_OP_GRAPH, 0x1ull);
IS(SAGE_MODEL_EXPERT, 0x2ull);
IS(SAGE_MODEL_METABOLIC, 0x3ull);
IS(SAGE_MODEL_FUSION, 0x4ull);
IS(SAGE_MINCUT_REACH, 0x4ull);
IS(SAGE_GATE_SKIP, 0x1ull);
IS(SAGE_GATE_FORCE_SAFE, 0x2ull);
IS(SAGE_GATE_SPIKE, 0x4ull);
IS(SAGE_GATE_ALLOW, 0x1ull);
IS(SAGE_GATE_REDUCE_SCOPE, 0x2ull);
IS(SAGE_GATE_FLUSH_KV, 0x3ull);
IS(SAGE_GATE_QUARANTINE, 0x4ull);
IS(SAGE_GATE_STORM, 0x5ull);
IS(SAGE_GATE_FORCED, 0x6ull);
IS(SAGE_GATE_QUIET, 0x7ull);
IS(SAGE_GATE_SKIPPED, 0x8ull);
IS(SAGE_QUANTIZE_GIVEN_SCALES, 0x1ull);
