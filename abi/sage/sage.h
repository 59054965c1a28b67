/* sage.h: the engine, for people and for bindings.
 *
 * Ownership: every *_create and *_load gives a handle for the matching *_destroy; null is allowed there; children hold
 *   their parent, so any order of destroying is right; destroying while a call runs is deferred to its end.
 * Threads: engine, model, options and attention plan are free-threaded (options: until set again). A session or
 *   context takes one call at a time, a second one is SAGE_E_BUSY; cancel may come from any thread at any time.
 * Text and bytes out: (buffer, capacity, needed). *needed is always set, a text's NUL included. Null buffer: SAGE_OK,
 *   only the size; too small: SAGE_E_BUFFER_TOO_SMALL, nothing copied.
 * After fork() a handle of the parent answers SAGE_E_FORKED. Strings returned live as long as the handle asked.
 */
#ifndef SAGE_SAGE_H_
#define SAGE_SAGE_H_
#include "sage/ops.h"
#ifdef __cplusplus
extern "C" {
#endif

#define SAGE_API __attribute__((visibility("default")))

typedef struct sage_options sage_options;                     /* key = value */
typedef struct sage_engine sage_engine;                       /* plugins, devices, threads */
typedef struct sage_attention_plan sage_attention_plan;       /* immutable, shared */
typedef struct sage_attention_context sage_attention_context; /* the workspace of one caller of a plan */
typedef struct sage_model sage_model;                         /* a checked file and its weights; immutable */
typedef struct sage_session sage_session;                     /* plans, memory, inputs, outputs, graph state */

/* ---- version ------------------------------------------------------------------------------------------------------ */

SAGE_API const char *sage_version(void);         /* "0.3.1" */
SAGE_API uint32_t sage_abi_version(void);        /* major << 16 | minor; a binding's first call */
SAGE_API const char *sage_build_info(void);      /* compiler, git id, baseline ISA; free text */
SAGE_API const char *sage_status_name(sage_status status); /* "SAGE_E_BUSY"; "unknown" for others, never null */

/* ---- options: key = value, so they grow without ABI. Copied where used; an unknown key or value is refused there, with
 * the nearest known one. "<backend>.<key>" goes to that backend. ------------------------------------------------------ */

typedef void (*sage_log_fn)(void *user, int32_t level, const char *utf8, uint64_t length);     /* any thread */
typedef int32_t (*sage_cancel_fn)(void *user);                                                 /* non-zero stops the run */
typedef void *(*sage_alloc_fn)(void *user, uint64_t bytes, uint64_t align);                    /* null = out of memory */
typedef void (*sage_free_fn)(void *user, void *ptr, uint64_t bytes);
typedef void (*sage_parallel_for_fn)(void *user, uint64_t n, uint64_t grain, sage_task_fn task, void *ctx); /* blocks */

SAGE_API sage_status sage_options_create(sage_options **out, sage_error *err);
SAGE_API void sage_options_destroy(sage_options *options);
SAGE_API sage_status sage_options_set(sage_options *options, const char *key, const char *value, sage_error *err);
/* Lent by the caller, valid until the engine (cancel: the session or plan) is gone. A session or plan without a cancel of
 * its own has its engine's. No callback may call back into its handle,
 * throw or unwind. Allocator and parallel_for serve CPU memory and CPU work; worker stays below num_workers. */
SAGE_API sage_status sage_options_set_log(sage_options *options, sage_log_fn fn, void *user, sage_error *err);
SAGE_API sage_status sage_options_set_cancel(sage_options *options, sage_cancel_fn fn, void *user, sage_error *err);
SAGE_API sage_status sage_options_set_allocator(sage_options *options, sage_alloc_fn alloc, sage_free_fn free_fn,
                                                void *user, sage_error *err);
SAGE_API sage_status sage_options_set_parallel_for(sage_options *options, sage_parallel_for_fn fn, uint32_t num_workers,
                                                   void *user, sage_error *err);

/* ---- engine and backends; options may be null everywhere ------------------------------------------------------------ */

/* A plugin that cannot be used does not fail this: it is reported by sage_engine_describe. */
SAGE_API sage_status sage_engine_create(const sage_options *options, sage_engine **out, sage_error *err);
SAGE_API void sage_engine_destroy(sage_engine *engine);
SAGE_API sage_status sage_engine_load_plugin(sage_engine *engine, const char *absolute_path, sage_error *err);
SAGE_API uint32_t sage_engine_backend_count(const sage_engine *engine); /* usable ones, at least `reference` */
SAGE_API const char *sage_engine_backend_name(const sage_engine *engine, uint32_t index); /* null past the end */
/* JSON: every plugin found with path, version, ABI, devices, kinds, features, and why it is refused or shadowed. */
SAGE_API sage_status sage_engine_describe(const sage_engine *engine, char *buffer, uint64_t capacity, uint64_t *needed,
                                          sage_error *err);

/* ---- attention, one shot: describe, plan once, run many --------------------------------------------------------------- */

/* The flat call: contiguous CPU memory, one dtype, softmax(scale q k^T) v. layout 0 = [B,H,S,D], 1 = [B,S,H,D] for all
 * four. causal: 0 = none, else SAGE_ALIGN_*. scale 0 = 1/sqrt(dim_qk). Sizes in elements. Everything else, a true
 * scale of 0 included, by a plan. Plans are kept by shape in a bounded cache of the engine. Free-threaded. */
SAGE_API sage_status sage_attention(sage_engine *engine, sage_dtype dtype, uint32_t layout, int64_t batch,
                                    int64_t heads_q, int64_t heads_kv, int64_t seq_q, int64_t seq_kv, int64_t dim_qk,
                                    int64_t dim_v, const void *q, const void *k, const void *v, void *o,
                                    uint32_t causal, double scale, sage_error *err);
/* op->kind is SAGE_OP_ATTENTION; data pointers matter for constants only. SAGE_E_UNSUPPORTED lists every
 * backend's reason; a workspace above max_memory is one. */
SAGE_API sage_status sage_attention_plan_create(sage_engine *engine, const sage_op *op, const sage_options *options,
                                                sage_attention_plan **out, sage_error *err);
SAGE_API void sage_attention_plan_destroy(sage_attention_plan *plan);
SAGE_API const char *sage_attention_plan_backend(const sage_attention_plan *plan);
SAGE_API sage_status sage_attention_plan_explain(const sage_attention_plan *plan, char *buffer, uint64_t capacity,
                                                 uint64_t *needed, sage_error *err);
/* What the plan needs at its planned shapes, known before anything is allocated. UINT64_MAX where a count does not fit.
 * Three ratios that are often quoted under one name stand apart; a ratio over nothing is 0. */
typedef struct sage_attention_memory {
  uint32_t struct_size, reserved;
  uint64_t q_bytes, k_bytes, v_bytes, o_bytes; /* axes that repeat by stride 0 once */
  uint64_t other_bytes;                        /* masks, bias, lengths, LSE and what else the op names */
  uint64_t scratch_bytes;       /* what a context allocates, without the guard bands of the option `guard` */
  uint64_t working_set_bytes;   /* of scratch: what does not grow with the keys; by flash, not with the queries either */
  uint64_t packed_kv_bytes, partials_bytes; /* of scratch: packed K and V, partial results of split keys */
  uint64_t prepack_bytes;       /* constants packed by the plan; held once, not in the totals */
  uint64_t total_bytes;         /* tensors and scratch */
  uint64_t scores_bytes;        /* one score matrix [B,Hq,Sq,Skv] in f32, f64 for f64 */
  uint64_t scores_avoided_bytes; /* of it, what the scratch does not hold */
  uint64_t total_with_scores_bytes; /* tensors and scores: what is needed where the matrix is kept */
  double scores_over_scratch;   /* the matrix against the scratch alone */
  double totals_ratio;          /* total_with_scores over total: what a machine's memory sees */
  double keys_over_block_kv;    /* N / block: how many tiles a row has, no memory at all; 0 = the backend's own tile */
} sage_attention_memory;
SAGE_API sage_status sage_attention_plan_memory(const sage_attention_plan *plan, sage_attention_memory *out,
                                                sage_error *err);
SAGE_API sage_status sage_attention_context_create(sage_attention_plan *plan, sage_attention_context **out,
                                                   sage_error *err);
SAGE_API void sage_attention_context_destroy(sage_attention_context *context);
/* slots as planned, with data; dynamic axes may be smaller. stream (optional) is lent: the call then returns once the
 * work is enqueued, else when O is ready. Allocates nothing. */
SAGE_API sage_status sage_attention_run(sage_attention_context *context, const sage_tensor *const *slots,
                                        uint32_t num_slots, void *stream, sage_error *err);
SAGE_API void sage_attention_cancel(sage_attention_context *context); /* as sage_session_cancel */
/* The feature bits an op asks for. */
SAGE_API sage_status sage_attention_features(const sage_op *op, uint64_t *out, sage_error *err);

/* ---- model -------------------------------------------------------------------------------------------------------------- */

#define SAGE_INPUT 1
#define SAGE_OUTPUT 2
#define SAGE_MODEL_OP_GRAPH 1
#define SAGE_MODEL_EXPERT 2
#define SAGE_MODEL_METABOLIC 3
#define SAGE_MODEL_FUSION 4

SAGE_API sage_status sage_model_load(sage_engine *engine, const char *path, sage_model **out, sage_error *err);
/* bytes are copied. weights_folder (optional): where its relative paths begin; null = a model without weight files. */
SAGE_API sage_status sage_model_load_buffer(sage_engine *engine, const void *bytes, uint64_t size,
                                            const char *weights_folder, sage_model **out, sage_error *err);
SAGE_API void sage_model_destroy(sage_model *model);
/* JSON: all errors of a file, each with its path inside it. SAGE_OK also when there are some; `"valid"` says. */
SAGE_API sage_status sage_model_check(sage_engine *engine, const char *path, char *buffer, uint64_t capacity,
                                      uint64_t *needed, sage_error *err);
/* The same of bytes, as sage_model_load_buffer takes them. */
SAGE_API sage_status sage_model_check_buffer(sage_engine *engine, const void *bytes, uint64_t size,
                                             const char *weights_folder, char *buffer, uint64_t capacity,
                                             uint64_t *needed, sage_error *err);
SAGE_API uint32_t sage_model_kind(const sage_model *model); /* SAGE_MODEL_* */
SAGE_API uint32_t sage_model_io_count(const sage_model *model, uint32_t direction); /* SAGE_INPUT, SAGE_OUTPUT */
/* Each out-pointer is (optional). shape has SAGE_MAX_RANK entries; -1 = any length. */
SAGE_API sage_status sage_model_io_info(const sage_model *model, uint32_t direction, uint32_t index, const char **name,
                                        sage_dtype *dtype, uint32_t *rank, int64_t *shape, sage_error *err);

/* ---- session ------------------------------------------------------------------------------------------------------------ */

SAGE_API sage_status sage_session_create(sage_model *model, const sage_options *options, sage_session **out,
                                         sage_error *err);
SAGE_API void sage_session_destroy(sage_session *session);
/* Copy in, run, copy out: contiguous CPU memory. bytes must equal the product of shape and dtype. An input stays set.
 * An output that is an input, or a view of one, has no contents once that input is set or bound anew. */
SAGE_API sage_status sage_session_set_input(sage_session *session, uint32_t index, sage_dtype dtype, uint32_t rank,
                                            const int64_t *shape, const void *data, uint64_t bytes, sage_error *err);
SAGE_API sage_status sage_session_output_info(const sage_session *session, uint32_t index, sage_dtype *dtype,
                                              uint32_t *rank, int64_t *shape, uint64_t *bytes, sage_error *err);
SAGE_API sage_status sage_session_get_output(const sage_session *session, uint32_t index, void *data, uint64_t bytes,
                                             sage_error *err);
/* Zero copy: used in place until bound again, set or the session is gone; the caller keeps the memory alive. An output's
 * shape is its upper bound. Strides and device may be anything the plan accepts, never copied silently: if they would
 * have to be, SAGE_E_UNSUPPORTED. SAGE_TENSOR_READ_ONLY is refused for outputs and for an input that a node appends to.
 * A result lies in bound memory as long as that stays bound. Null tensor or data unbinds. The flat form is for contiguous
 * CPU memory. */
SAGE_API sage_status sage_session_bind(sage_session *session, uint32_t direction, uint32_t index,
                                       const sage_tensor *tensor, sage_error *err);
SAGE_API sage_status sage_session_bind_flat(sage_session *session, uint32_t direction, uint32_t index, sage_dtype dtype,
                                            uint32_t rank, const int64_t *shape, void *data, uint64_t bytes,
                                            sage_error *err);
/* Lends a stream (null takes it back): run then returns once enqueued. */
SAGE_API sage_status sage_session_set_stream(sage_session *session, int32_t device_type, int32_t device_id, void *stream,
                                             sage_error *err);
/* Returns when the outputs are ready. On an error outputs are undefined, the session stays usable. */
SAGE_API sage_status sage_session_run(sage_session *session, sage_error *err);
/* Stops the run or tick in progress with SAGE_E_CANCELLED; later ones are not touched. */
SAGE_API void sage_session_cancel(sage_session *session);
/* JSON. explain: every backend's verdict per node, without running. trace: the last run's spans (Chrome, Perfetto) and
 * counters: heap allocations, bytes copied at the border, plans made. */
SAGE_API sage_status sage_session_explain(sage_session *session, char *buffer, uint64_t capacity, uint64_t *needed,
                                          sage_error *err);
SAGE_API sage_status sage_session_trace(sage_session *session, char *buffer, uint64_t capacity, uint64_t *needed,
                                        sage_error *err);
/* JSON: of each attention of the last run or tick, how far its outputs are from what `reference` gets in double from the
 * same stored inputs (cosine, relative L1, RMSE, largest error), and the worst of all; docs/accuracy.md. Takes the option
 * accuracy_report = on, under which a run also costs that of `reference`; SAGE_E_INVALID_ARGUMENT without it, before the
 * first run, and after one that failed. */
SAGE_API sage_status sage_session_accuracy(sage_session *session, char *buffer, uint64_t capacity, uint64_t *needed,
                                           sage_error *err);

/* ---- tick streams of expert, metabolic and fusion graphs ------------------------------------------------------------------ */

/* One tick, one JSON object of `length` bytes: policy, op graph, decision. A bad tick is SAGE_E_BAD_DATA, leaves the state
 * as it was and has an error record for decision; the stream may go on. SAGE_E_UNSUPPORTED for an op graph. */
SAGE_API sage_status sage_session_tick(sage_session *session, const char *json, uint64_t length, sage_error *err);
/* The last tick's record, one JSON object without newline; apart from tick, so a small buffer never costs a tick. */
SAGE_API sage_status sage_session_decision(sage_session *session, char *buffer, uint64_t capacity, uint64_t *needed,
                                           sage_error *err);
/* State between ticks, versioned bytes. restore refuses another model's or a damaged one and then changes nothing. */
SAGE_API sage_status sage_session_snapshot(sage_session *session, void *buffer, uint64_t capacity, uint64_t *needed,
                                           sage_error *err);
SAGE_API sage_status sage_session_restore(sage_session *session, const void *bytes, uint64_t size, sage_error *err);

#ifdef __cplusplus
}
#endif
#endif
