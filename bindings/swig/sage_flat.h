/* sage_flat.h: the C API as SWIG carries it to Java and C#.
 *
 * Only numbers, addresses and arrays of numbers as arguments; handles, texts and counts as results. No struct crosses:
 * descriptors are built here, in C. SWIG reads this file for its declarations, the compiler for its bodies, so the two
 * cannot differ. A failed call says so in err alone: its result is then null or 0.
 */
#ifndef SAGE_FLAT_H_
#define SAGE_FLAT_H_

#ifndef SWIG
#include <dlfcn.h>
#include <sage/quantize.h>
#include <sage/sparse.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* `size` bytes out of the library, malloc'ed; the language copies and frees them. */
typedef struct sage_flat_bytes {
  uint64_t size;
  char data[];
} sage_flat_bytes;

/* An attention call in one block of memory that does not move. */
typedef struct sage_flat_op {
  sage_op op;
  sage_attention_attributes attributes;
  sage_tensor tensors[SAGE_ATTN_NUM_SLOTS];
  const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS];
} sage_flat_op;

/* The gate's structs cross as arrays of words in the order of their fields. */
_Static_assert(sizeof(sage_gate_packet) == 10 * 4 && offsetof(sage_gate_packet, spike_rate_q15) == 8 * 4, "packet");
_Static_assert(sizeof(sage_gate_policy) == 20 * 4 && offsetof(sage_gate_policy, safe) == 16 * 4, "policy");
_Static_assert(sizeof(sage_gate_decision) == 8 * 4 && offsetof(sage_gate_decision, window) == 6 * 4, "decision");
/* And the memory of a plan as 14 sizes, then 3 ratios. */
_Static_assert(sizeof(sage_attention_memory) == 18 * 8 && offsetof(sage_attention_memory, q_bytes) == 8 &&
                   offsetof(sage_attention_memory, total_with_scores_bytes) == 14 * 8 &&
                   offsetof(sage_attention_memory, keys_over_block_kv) == 17 * 8,
               "memory");
/* And a report as 5 counts, then 2 errors. */
_Static_assert(sizeof(sage_quantize_report) == 8 * 8 && offsetof(sage_quantize_report, elements) == 8 &&
                   offsetof(sage_quantize_report, scale_bytes) == 5 * 8 &&
                   offsetof(sage_quantize_report, rms_error) == 7 * 8,
               "report");

static inline sage_status sage_flat_fail(sage_error* err, sage_status status, const char* message) {
  err->status = status, err->native_code = 0;
  strncpy(err->message, message, sizeof err->message - 1);
  err->message[sizeof err->message - 1] = '\0';
  return status;
}

/* An array that the language did not give, or had no memory to give. */
static inline sage_status sage_flat_null(sage_error* err) {
  return sage_flat_fail(err, SAGE_E_INVALID_ARGUMENT, "an array is null");
}

static inline sage_flat_bytes* sage_flat_new(sage_flat_bytes* old, uint64_t size, sage_error* err) {
  free(old);
  sage_flat_bytes* bytes = size > SIZE_MAX - sizeof *bytes ? NULL : malloc(sizeof *bytes + (size_t)size);
  if (bytes == NULL) {
    sage_flat_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory for a text of the library");
    return NULL;
  }
  bytes->size = size;
  return bytes;
}

/* To be called before a callback: the engine's threads block every signal that they do not raise themselves, and a
 * run-time that stops its threads by signals (mono) would wait for one of them for ever. True once for each thread of
 * the engine, which is known by a signal that nobody else blocks; every other thread keeps its mask. */
static inline int sage_flat_admit_signals(void) {
  static _Thread_local int met;
  if (met) return 0;
  met = 1;
  sigset_t signals;
  if (pthread_sigmask(SIG_BLOCK, NULL, &signals) != 0 || sigismember(&signals, SIGXCPU) != 1) return 0;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPWR), sigaddset(&signals, SIGXCPU);
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) sigaddset(&signals, number);
  return pthread_sigmask(SIG_UNBLOCK, &signals, NULL) == 0;
}

/* A copy, since a borrowed text ends with its handle, which another thread may close. Null for null. */
static inline sage_flat_bytes* sage_flat_copy(const char* text, sage_error* err) {
  const size_t size = text == NULL ? 0 : strlen(text);
  sage_flat_bytes* bytes = text == NULL ? NULL : sage_flat_new(NULL, size, err);
  if (bytes != NULL) memcpy(bytes->data, text, size);
  return bytes;
}

/* The size, then the content, until it fits: it may grow between. CALL has `buffer` and `capacity` and writes `needed`.
 * ENDS: the bytes at its end that are no content. */
#define SAGE_FLAT_FETCH(CALL, ENDS)                                       \
  do {                                                                    \
    char* buffer = NULL;                                                  \
    uint64_t capacity = 0, needed = 0;                                    \
    sage_status status = (CALL);                                          \
    sage_flat_bytes* out = NULL;                                          \
    while (status == SAGE_OK || status == SAGE_E_BUFFER_TOO_SMALL) {      \
      out = sage_flat_new(out, needed, err);                              \
      if (out == NULL) return NULL;                                       \
      buffer = out->data, capacity = needed;                              \
      status = (CALL);                                                    \
      if (status == SAGE_OK) {                                            \
        out->size = needed - (ENDS);                                      \
        return out;                                                       \
      }                                                                   \
      if (status == SAGE_E_BUFFER_TOO_SMALL && needed <= capacity) break; \
    }                                                                     \
    free(out);                                                            \
    return NULL;                                                          \
  } while (0)

static inline void sage_flat_tensor(sage_tensor* t, sage_dtype dtype, uint32_t rank, const int64_t* shape,
                                    const int64_t* stride, int32_t device_type, int32_t device_id, uint32_t flags,
                                    void* data) {
  sage_tensor_init(t, dtype, rank, shape, data);
  for (uint32_t i = 0; i < rank; ++i) t->stride[i] = stride[i];
  t->device_type = device_type, t->device_id = device_id, t->flags = flags;
}

/* The tensors of a quantisation as numbers, SAGE_FLAT_NUMBERS each: rank (below 0: there is none), dtype, flags,
 * address, 8 lengths, 8 strides. */
enum { SAGE_FLAT_X, SAGE_FLAT_CODES, SAGE_FLAT_SCALE, SAGE_FLAT_MEAN, SAGE_FLAT_STARTS, SAGE_FLAT_TENSORS };
#define SAGE_FLAT_NUMBERS (4 + 2 * SAGE_MAX_RANK)

static inline void sage_flat_described(const int64_t* numbers, sage_tensor* memory, const sage_tensor** out) {
  for (int i = 0; i < SAGE_FLAT_TENSORS; ++i, numbers += SAGE_FLAT_NUMBERS) {
    out[i] = NULL;
    if (numbers[0] < 0) continue;
    sage_flat_tensor(&memory[i], (sage_dtype)numbers[1], (uint32_t)numbers[0], numbers + 4, numbers + 4 + SAGE_MAX_RANK,
                     SAGE_CPU, 0, (uint32_t)numbers[2], (void*)(intptr_t)numbers[3]);
    out[i] = &memory[i];
  }
}

typedef struct sage_flat_field {
  const char* name;
  size_t offset, bytes;
} sage_flat_field;
#define SAGE_FLAT_ATTRIBUTE(NAME) \
  { #NAME, offsetof(sage_flat_op, attributes.NAME), sizeof(((sage_attention_attributes*)0)->NAME) }
#define SAGE_FLAT_OF_OP(NAME) \
  { #NAME, offsetof(sage_flat_op, op.NAME), sizeof(((sage_op*)0)->NAME) }

/* The place of a field that holds an integer (number 0) or a double (number 1); null with an error if there is none. */
static inline void* sage_flat_op_field(sage_flat_op* op, const char* name, int number, size_t* bytes, sage_error* err) {
  static const sage_flat_field fields[] = {
      SAGE_FLAT_ATTRIBUTE(scale),         SAGE_FLAT_ATTRIBUTE(softcap),       SAGE_FLAT_ATTRIBUTE(dropout_p),
      SAGE_FLAT_ATTRIBUTE(features),      SAGE_FLAT_ATTRIBUTE(alignment),     SAGE_FLAT_ATTRIBUTE(window_left),
      SAGE_FLAT_ATTRIBUTE(window_right),  SAGE_FLAT_ATTRIBUTE(max_seq_q),     SAGE_FLAT_ATTRIBUTE(max_seq_kv),
      SAGE_FLAT_ATTRIBUTE(algorithm),     SAGE_FLAT_ATTRIBUTE(block_q),       SAGE_FLAT_ATTRIBUTE(block_kv),
      SAGE_FLAT_ATTRIBUTE(mask_block_q),  SAGE_FLAT_ATTRIBUTE(mask_block_kv), SAGE_FLAT_ATTRIBUTE(scale_block),
      SAGE_FLAT_ATTRIBUTE(granularity_q), SAGE_FLAT_ATTRIBUTE(granularity_k), SAGE_FLAT_ATTRIBUTE(granularity_v),
      SAGE_FLAT_ATTRIBUTE(granularity_p), SAGE_FLAT_ATTRIBUTE(granularity_o), SAGE_FLAT_OF_OP(requirements),
      SAGE_FLAT_OF_OP(accuracy),          SAGE_FLAT_OF_OP(dynamic_axes),      SAGE_FLAT_OF_OP(aliases)};
  for (size_t i = 0; name != NULL && i < sizeof fields / sizeof *fields; ++i)
    if (strcmp(fields[i].name, name) == 0 && (i < 3) == (number != 0)) {
      *bytes = fields[i].bytes;
      return (char*)op + fields[i].offset;
    }
  char message[200] = "an attention has no field ";
  strncat(message, name == NULL ? "(null)" : name, 100);
  sage_flat_fail(err, SAGE_E_NOT_FOUND, strcat(message, number ? " that is a double" : " that is an integer"));
  return NULL;
}
#endif /* SWIG */

/* ---- version ---- */

/* Where libsage.so was loaded from. */
static inline const char* sage_flat_path_of_libsage(void) {
  Dl_info info;
  void* address = NULL;
  const char* (*function)(void) = sage_version;
  memcpy(&address, &function, sizeof address);
  return dladdr(address, &info) != 0 && info.dli_fname != NULL ? info.dli_fname : "(unknown)";
}

/* ---- options, engine ---- */

static inline sage_options* sage_flat_options_create(sage_error* err) {
  sage_options* out = NULL;
  sage_options_create(&out, err);
  return out;
}
static inline sage_engine* sage_flat_engine_create(const sage_options* options, sage_error* err) {
  sage_engine* out = NULL;
  sage_engine_create(options, &out, err);
  return out;
}
static inline sage_flat_bytes* sage_flat_engine_describe(const sage_engine* engine, sage_error* err) {
  SAGE_FLAT_FETCH(sage_engine_describe(engine, buffer, capacity, &needed, err), 1);
}
/* Null past the end. */
static inline sage_flat_bytes* sage_flat_engine_backend_name(const sage_engine* engine, uint32_t index,
                                                             sage_error* err) {
  return sage_flat_copy(sage_engine_backend_name(engine, index), err);
}

/* ---- attention ---- */

static inline uint64_t sage_flat_op_bytes(void) { return sizeof(sage_flat_op); }
static inline void sage_flat_op_init(sage_flat_op* op) {
  memset(op, 0, sizeof *op);
  op->attributes.struct_size = sizeof op->attributes;
  op->op.struct_size = sizeof op->op, op->op.kind = SAGE_OP_ATTENTION, op->op.num_slots = SAGE_ATTN_NUM_SLOTS;
  op->op.attributes = &op->attributes, op->op.slots = op->slots;
}
/* rank is at most SAGE_MAX_RANK, index below SAGE_ATTN_NUM_SLOTS: the language has checked them. */
static inline sage_status sage_flat_op_slot(sage_flat_op* op, uint32_t index, sage_dtype dtype, uint32_t rank,
                                            const int64_t* shape, const int64_t* stride, int32_t device_type,
                                            int32_t device_id, uint32_t flags, void* data, sage_error* err) {
  if (shape == NULL || stride == NULL) return sage_flat_null(err);
  sage_flat_tensor(&op->tensors[index], dtype, rank, shape, stride, device_type, device_id, flags, data);
  op->slots[index] = &op->tensors[index];
  return SAGE_OK;
}
static inline void sage_flat_op_no_slot(sage_flat_op* op, uint32_t index) { op->slots[index] = NULL; }
static inline sage_status sage_flat_op_set_integer(sage_flat_op* op, const char* name, int64_t value, sage_error* err) {
  size_t bytes = 0;
  void* field = sage_flat_op_field(op, name, 0, &bytes, err);
  const uint32_t narrow = (uint32_t)value;
  if (field == NULL) return err->status;
  if (bytes == sizeof narrow && value != (int64_t)narrow)
    return sage_flat_fail(err, SAGE_E_INVALID_ARGUMENT, "the value does not fit the field's 32 bits without sign");
  memcpy(field, bytes == sizeof narrow ? (const void*)&narrow : (const void*)&value, bytes);
  return SAGE_OK;
}
static inline int64_t sage_flat_op_integer(sage_flat_op* op, const char* name, sage_error* err) {
  size_t bytes = 0;
  uint32_t narrow = 0;
  int64_t wide = 0;
  const void* field = sage_flat_op_field(op, name, 0, &bytes, err);
  if (field == NULL) return 0;
  memcpy(bytes == sizeof narrow ? (void*)&narrow : (void*)&wide, field, bytes);
  return bytes == sizeof narrow ? (int64_t)narrow : wide;
}
static inline sage_status sage_flat_op_set_number(sage_flat_op* op, const char* name, double value, sage_error* err) {
  size_t bytes = 0;
  void* field = sage_flat_op_field(op, name, 1, &bytes, err);
  if (field == NULL) return err->status;
  memcpy(field, &value, bytes);
  return SAGE_OK;
}
static inline uint64_t sage_flat_op_features(sage_flat_op* op, sage_error* err) {
  uint64_t out = 0;
  return sage_attention_features(&op->op, &out, err) == SAGE_OK ? out : 0;
}
static inline sage_attention_plan* sage_flat_plan_create(sage_engine* engine, sage_flat_op* op,
                                                         const sage_options* options, sage_error* err) {
  sage_attention_plan* out = NULL;
  sage_attention_plan_create(engine, &op->op, options, &out, err);
  return out;
}
static inline sage_flat_bytes* sage_flat_plan_backend(const sage_attention_plan* plan, sage_error* err) {
  return sage_flat_copy(sage_attention_plan_backend(plan), err);
}
static inline sage_flat_bytes* sage_flat_plan_explain(const sage_attention_plan* plan, sage_error* err) {
  SAGE_FLAT_FETCH(sage_attention_plan_explain(plan, buffer, capacity, &needed, err), 1);
}
/* sizes: 14, ratios: 3, in the order of the struct. */
static inline sage_status sage_flat_plan_memory(const sage_attention_plan* plan, int64_t* sizes, double* ratios,
                                                sage_error* err) {
  if (sizes == NULL || ratios == NULL) return sage_flat_null(err);
  sage_attention_memory memory = {0};
  memory.struct_size = sizeof memory;
  const sage_status status = sage_attention_plan_memory(plan, &memory, err);
  if (status != SAGE_OK) return status;
  memcpy(sizes, &memory.q_bytes, 14 * sizeof *sizes);
  memcpy(ratios, &memory.scores_over_scratch, 3 * sizeof *ratios);
  return SAGE_OK;
}
static inline sage_attention_context* sage_flat_context_create(sage_attention_plan* plan, sage_error* err) {
  sage_attention_context* out = NULL;
  sage_attention_context_create(plan, &out, err);
  return out;
}
static inline sage_status sage_flat_attention_run(sage_attention_context* context, const sage_flat_op* op,
                                                  sage_error* err) {
  return sage_attention_run(context, op->slots, SAGE_ATTN_NUM_SLOTS, NULL, err);
}

/* ---- model, session ---- */

static inline sage_model* sage_flat_model_load(sage_engine* engine, const char* path, sage_error* err) {
  sage_model* out = NULL;
  sage_model_load(engine, path, &out, err);
  return out;
}
static inline sage_model* sage_flat_model_load_buffer(sage_engine* engine, const void* bytes, uint64_t size,
                                                      const char* weights_folder, sage_error* err) {
  sage_model* out = NULL;
  sage_model_load_buffer(engine, bytes, size, weights_folder, &out, err);
  return out;
}
static inline sage_flat_bytes* sage_flat_model_check(sage_engine* engine, const char* path, sage_error* err) {
  SAGE_FLAT_FETCH(sage_model_check(engine, path, buffer, capacity, &needed, err), 1);
}
static inline sage_flat_bytes* sage_flat_model_check_buffer(sage_engine* engine, const void* bytes, uint64_t size,
                                                            const char* weights_folder, sage_error* err) {
  SAGE_FLAT_FETCH(sage_model_check_buffer(engine, bytes, size, weights_folder, buffer, capacity, &needed, err), 1);
}
/* The name; info: dtype, rank, then 8 lengths. */
static inline sage_flat_bytes* sage_flat_model_io_info(const sage_model* model, uint32_t direction, uint32_t index,
                                                       int64_t* info, sage_error* err) {
  const char* name = NULL;
  sage_dtype dtype = 0;
  uint32_t rank = 0;
  if (info == NULL) {
    sage_flat_null(err);
    return NULL;
  }
  if (sage_model_io_info(model, direction, index, &name, &dtype, &rank, info + 2, err) != SAGE_OK) return NULL;
  info[0] = dtype, info[1] = rank;
  return sage_flat_copy(name == NULL ? "" : name, err);
}
static inline sage_session* sage_flat_session_create(sage_model* model, const sage_options* options, sage_error* err) {
  sage_session* out = NULL;
  sage_session_create(model, options, &out, err);
  return out;
}
/* info: dtype, rank, 8 lengths, bytes. */
static inline sage_status sage_flat_session_output_info(const sage_session* session, uint32_t index, int64_t* info,
                                                        sage_error* err) {
  sage_dtype dtype = 0;
  uint32_t rank = 0;
  uint64_t bytes = 0;
  if (info == NULL) return sage_flat_null(err);
  const sage_status status = sage_session_output_info(session, index, &dtype, &rank, info + 2, &bytes, err);
  info[0] = dtype, info[1] = rank, info[10] = (int64_t)bytes;
  return status;
}
static inline sage_status sage_flat_session_bind(sage_session* session, uint32_t direction, uint32_t index,
                                                 sage_dtype dtype, uint32_t rank, const int64_t* shape,
                                                 const int64_t* stride, int32_t device_type, int32_t device_id,
                                                 uint32_t flags, void* data, sage_error* err) {
  sage_tensor tensor;
  if (shape == NULL || stride == NULL) return sage_flat_null(err);
  sage_flat_tensor(&tensor, dtype, rank, shape, stride, device_type, device_id, flags, data);
  return sage_session_bind(session, direction, index, &tensor, err);
}
static inline sage_status sage_flat_session_unbind(sage_session* session, uint32_t direction, uint32_t index,
                                                   sage_error* err) {
  return sage_session_bind(session, direction, index, NULL, err);
}
static inline sage_flat_bytes* sage_flat_session_explain(sage_session* session, sage_error* err) {
  SAGE_FLAT_FETCH(sage_session_explain(session, buffer, capacity, &needed, err), 1);
}
static inline sage_flat_bytes* sage_flat_session_trace(sage_session* session, sage_error* err) {
  SAGE_FLAT_FETCH(sage_session_trace(session, buffer, capacity, &needed, err), 1);
}
static inline sage_flat_bytes* sage_flat_session_accuracy(sage_session* session, sage_error* err) {
  SAGE_FLAT_FETCH(sage_session_accuracy(session, buffer, capacity, &needed, err), 1);
}
static inline sage_flat_bytes* sage_flat_session_decision(sage_session* session, sage_error* err) {
  SAGE_FLAT_FETCH(sage_session_decision(session, buffer, capacity, &needed, err), 1);
}
static inline sage_flat_bytes* sage_flat_session_snapshot(sage_session* session, sage_error* err) {
  SAGE_FLAT_FETCH(sage_session_snapshot(session, buffer, capacity, &needed, err), 0);
}

/* ---- quantize ---- */

/* tensors: x, codes, scale, mean, cu_seqlens as sage_flat_described has them. counts: 5, errors: 2, as the report. */
static inline sage_status sage_flat_quantize(const int64_t* tensors, uint32_t granularity, uint32_t scale_block,
                                             uint32_t flags, int64_t* counts, double* errors, sage_error* err) {
  sage_tensor memory[SAGE_FLAT_TENSORS];
  const sage_tensor* t[SAGE_FLAT_TENSORS];
  if (tensors == NULL || counts == NULL || errors == NULL) return sage_flat_null(err);
  sage_flat_described(tensors, memory, t);
  sage_quantize_report report = {0};
  report.struct_size = sizeof report;
  const sage_status status = sage_quantize(t[SAGE_FLAT_X], granularity, scale_block, flags, t[SAGE_FLAT_STARTS],
                                           t[SAGE_FLAT_CODES], t[SAGE_FLAT_SCALE], t[SAGE_FLAT_MEAN], &report, err);
  if (status != SAGE_OK) return status;
  memcpy(counts, &report.elements, 5 * sizeof *counts);
  memcpy(errors, &report.max_abs_error, 2 * sizeof *errors);
  return SAGE_OK;
}
static inline sage_status sage_flat_dequantize(const int64_t* tensors, uint32_t granularity, uint32_t scale_block,
                                               sage_error* err) {
  sage_tensor memory[SAGE_FLAT_TENSORS];
  const sage_tensor* t[SAGE_FLAT_TENSORS];
  if (tensors == NULL) return sage_flat_null(err);
  sage_flat_described(tensors, memory, t);
  return sage_dequantize(t[SAGE_FLAT_CODES], granularity, scale_block, t[SAGE_FLAT_STARTS], t[SAGE_FLAT_SCALE],
                         t[SAGE_FLAT_MEAN], t[SAGE_FLAT_X], err);
}

/* ---- sparse: the number kept, or 0 with an error ---- */

static inline uint64_t sage_flat_mincut_mask(int64_t seq, int64_t parts, void* mask, uint64_t bytes, sage_error* err) {
  uint64_t kept = 0;
  return sage_mincut_mask(seq, parts, mask, bytes, &kept, err) == SAGE_OK ? kept : 0;
}
static inline uint64_t sage_flat_mincut_csr(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, void* indptr,
                                            uint64_t num_indptr, void* indices, uint64_t num_indices, sage_error* err) {
  uint64_t kept = 0;
  return sage_mincut_csr(seq, parts, tile_q, tile_kv, indptr, num_indptr, indices, num_indices, &kept, err) == SAGE_OK
             ? kept
             : 0;
}
static inline uint64_t sage_flat_mincut_blocks(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv,
                                               void* blocks, uint64_t bytes, sage_error* err) {
  uint64_t kept = 0;
  return sage_mincut_blocks(seq, parts, tile_q, tile_kv, blocks, bytes, &kept, err) == SAGE_OK ? kept : 0;
}
/* packet: 10 words, policy: 20 or null, decision: 8; the first of each is struct_size and is written here. */
static inline sage_status sage_flat_gate_decide(const uint32_t* packet, const uint32_t* policy, uint32_t* decision,
                                                sage_error* err) {
  sage_gate_packet seen;
  sage_gate_policy limits;
  sage_gate_decision out = {0};
  if (packet == NULL || decision == NULL) return sage_flat_null(err);
  memcpy(&seen, packet, sizeof seen);
  if (policy != NULL) memcpy(&limits, policy, sizeof limits);
  seen.struct_size = sizeof seen, limits.struct_size = sizeof limits, out.struct_size = sizeof out;
  const sage_status status = sage_gate_decide(&seen, policy == NULL ? NULL : &limits, &out, err);
  memcpy(decision, &out, sizeof out);
  return status;
}
static inline sage_status sage_flat_gate_apply(const uint32_t* decision, sage_flat_op* op, sage_error* err) {
  sage_gate_decision taken;
  if (decision == NULL) return sage_flat_null(err);
  memcpy(&taken, decision, sizeof taken);
  taken.struct_size = sizeof taken;
  return sage_gate_apply(&taken, &op->attributes, err);
}

#endif
