/* shim.h: what Go calls instead of the library itself.
 *
 * cgo forbids a Go pointer inside memory that C is handed, so tensors cross the border flat: a description without a
 * pointer here, the data as an argument of its own; sage_tensor and sage_op are made on C's stack. Errors come back
 * allocated, and only where there is one: a call that succeeds allocates nothing on either side. Data is uint8_t, not
 * void: cgo then knows without looking that there is no pointer behind it.
 */
#ifndef SAGE_GO_SHIM_H_
#define SAGE_GO_SHIM_H_
#include "sage/quantize.h"
#include "sage/sparse.h"

/* A tensor but for its data. slot: of sage_op. constant: the address where the data must outlive the call, never Go's.
 */
typedef struct sage_go_tensor {
  uint32_t slot, dtype, rank, flags;
  int32_t device_type, device_id;
  int64_t shape[SAGE_MAX_RANK], stride[SAGE_MAX_RANK];
  uint64_t constant;
} sage_go_tensor;

/* sage_op but for its slots. */
typedef struct sage_go_op {
  uint32_t requirements, accuracy, dynamic_axes, count;
  uint64_t aliases;
  sage_attention_attributes attributes;
} sage_go_op;

/* error: null, or to be given to sage_go_error_free. */
typedef struct sage_go_made {
  sage_error* error;
  void* handle;
} sage_go_made;
typedef struct sage_go_number {
  sage_error* error;
  uint64_t value;
} sage_go_number;
typedef struct sage_go_io {
  sage_error* error;
  const char* name;
  uint64_t bytes;
  uint32_t dtype, rank;
  int64_t shape[SAGE_MAX_RANK];
} sage_go_io;

void sage_go_error_free(sage_error* error);
const char* sage_go_library_path(void);     /* of the libsage that is loaded; null where the loader does not say */
uint8_t* sage_go_allocate(uint64_t bytes);  /* zeroed, at a multiple of 64; null = out of memory */
int32_t sage_go_has_memory(uint64_t bytes); /* whether so many can be allocated now; takes none */

sage_go_made sage_go_options_create(void);
sage_error* sage_go_options_set(sage_options* options, const char* key, const char* value);
/* user: what goSageLog and goSageCancel are called with. */
sage_error* sage_go_options_callbacks(sage_options* options, int32_t log, int32_t cancel, uintptr_t user);

sage_go_made sage_go_engine_create(const sage_options* options);
sage_error* sage_go_engine_load_plugin(sage_engine* engine, const char* path);
sage_go_number sage_go_engine_describe(sage_engine* engine, uint8_t* buffer, uint64_t capacity);

/* The two calls that may be short take their handle as a number: cgo would look into a pointer to a type it does not
 * know, at a cost and with an allocation. */
sage_error* sage_go_attention(uintptr_t engine, uint32_t dtype, uint32_t layout, int64_t batch, int64_t heads_q,
                              int64_t heads_kv, int64_t seq_q, int64_t seq_kv, int64_t dim_qk, int64_t dim_v,
                              const uint8_t* q, const uint8_t* k, const uint8_t* v, uint8_t* o, uint32_t causal,
                              double scale);
sage_go_number sage_go_attention_features(const sage_go_op* op, const sage_go_tensor* tensors);
sage_go_made sage_go_plan_create(sage_engine* engine, const sage_go_op* op, const sage_go_tensor* tensors,
                                 const sage_options* options);
sage_go_number sage_go_plan_explain(sage_attention_plan* plan, uint8_t* buffer, uint64_t capacity);
sage_error* sage_go_plan_memory(sage_attention_plan* plan, sage_attention_memory* out);
sage_go_made sage_go_context_create(sage_attention_plan* plan);
/* p0, p1 and so on: data of tensors[0], tensors[1]; two entries, since most calls have four tensors. */
sage_error* sage_go_attention_run4(uintptr_t context, const sage_go_tensor* tensors, uint32_t count, uint8_t* p0,
                                   uint8_t* p1, uint8_t* p2, uint8_t* p3);
sage_error* sage_go_attention_run(uintptr_t context, const sage_go_tensor* tensors, uint32_t count, uint8_t* p0,
                                  uint8_t* p1, uint8_t* p2, uint8_t* p3, uint8_t* p4, uint8_t* p5, uint8_t* p6,
                                  uint8_t* p7, uint8_t* p8, uint8_t* p9, uint8_t* p10, uint8_t* p11, uint8_t* p12,
                                  uint8_t* p13, uint8_t* p14, uint8_t* p15, uint8_t* p16, uint8_t* p17, uint8_t* p18,
                                  uint8_t* p19, uint8_t* p20, uint8_t* p21, uint8_t* p22, uint8_t* p23, uint8_t* p24,
                                  uint8_t* p25, uint8_t* p26, uint8_t* p27);

sage_go_made sage_go_model_load(sage_engine* engine, const char* path);
sage_go_made sage_go_model_load_buffer(sage_engine* engine, const uint8_t* bytes, uint64_t size, const char* folder);
sage_go_number sage_go_model_check(sage_engine* engine, const char* path, uint8_t* buffer, uint64_t capacity);
sage_go_number sage_go_model_check_buffer(sage_engine* engine, const uint8_t* bytes, uint64_t size, const char* folder,
                                          uint8_t* buffer, uint64_t capacity);
sage_go_io sage_go_model_io_info(const sage_model* model, uint32_t direction, uint32_t index);

sage_go_made sage_go_session_create(sage_model* model, const sage_options* options);
sage_error* sage_go_session_set_input(sage_session* session, uint32_t index, const sage_go_tensor* tensor,
                                      const uint8_t* data, uint64_t bytes);
sage_go_io sage_go_session_output_info(sage_session* session, uint32_t index);
sage_error* sage_go_session_get_output(sage_session* session, uint32_t index, uint8_t* data, uint64_t bytes);
sage_error* sage_go_session_bind(sage_session* session, uint32_t direction, uint32_t index,
                                 const sage_go_tensor* tensor, void* data);
sage_error* sage_go_session_bind_flat(sage_session* session, uint32_t direction, uint32_t index,
                                      const sage_go_tensor* tensor, void* data, uint64_t bytes);
sage_error* sage_go_session_run(sage_session* session);
sage_go_number sage_go_session_explain(sage_session* session, uint8_t* buffer, uint64_t capacity);
sage_go_number sage_go_session_trace(sage_session* session, uint8_t* buffer, uint64_t capacity);
sage_go_number sage_go_session_accuracy(sage_session* session, uint8_t* buffer, uint64_t capacity);
sage_error* sage_go_session_tick(sage_session* session, const uint8_t* json, uint64_t length);
sage_go_number sage_go_session_decision(sage_session* session, uint8_t* buffer, uint64_t capacity);
sage_go_number sage_go_session_snapshot(sage_session* session, uint8_t* buffer, uint64_t capacity);
sage_error* sage_go_session_restore(sage_session* session, const uint8_t* bytes, uint64_t size);

sage_go_number sage_go_mincut_mask(int64_t seq, int64_t parts, uint8_t* mask, uint64_t bytes);
sage_go_number sage_go_mincut_csr(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, int32_t* indptr,
                                  uint64_t num_indptr, int32_t* indices, uint64_t num_indices);
sage_go_number sage_go_mincut_blocks(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, uint8_t* blocks,
                                     uint64_t bytes);
sage_error* sage_go_gate_decide(const sage_gate_packet* packet, const sage_gate_policy* policy,
                                sage_gate_decision* out);
sage_error* sage_go_gate_apply(const sage_gate_decision* decision, sage_attention_attributes* attributes);

/* tensors: x, codes, scale, mean, cu_seqlens, their data p0 to p4; `present` has a bit for each that is given. */
sage_error* sage_go_quantize(const sage_go_tensor* tensors, uint32_t present, uint32_t granularity,
                             uint32_t scale_block, uint32_t flags, uint8_t* p0, uint8_t* p1, uint8_t* p2, uint8_t* p3,
                             uint8_t* p4, sage_quantize_report* report);
sage_error* sage_go_dequantize(const sage_go_tensor* tensors, uint32_t present, uint32_t granularity,
                               uint32_t scale_block, uint8_t* p0, uint8_t* p1, uint8_t* p2, uint8_t* p3, uint8_t* p4);

#endif
