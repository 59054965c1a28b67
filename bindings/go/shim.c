/* shim.c: see shim.h. Nothing here decides anything: each function makes an error slot, calls, and hands on. */
#define _GNU_SOURCE /* dladdr */
#include "shim.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* callback.go */
extern void goSageLog(uintptr_t user, int32_t level, char* text, uint64_t length);
extern int32_t goSageCancel(uintptr_t user);

static void log_to_go(void* user, int32_t level, const char* text, uint64_t length) {
  goSageLog((uintptr_t)user, level, (char*)(uintptr_t)text, length);
}
static int32_t cancel_by_go(void* user) { return goSageCancel((uintptr_t)user); }

static sage_error no_memory = {sizeof no_memory, SAGE_E_OUT_OF_MEMORY, 0, "out of memory"};

static sage_error* failed(sage_status status, const sage_error* slot) {
  if (status == SAGE_OK) return NULL;
  sage_error* error = malloc(sizeof *error);
  if (error == NULL) return &no_memory;
  *error = *slot;
  error->status = status;
  return error;
}
void sage_go_error_free(sage_error* error) {
  if (error != &no_memory) free(error);
}

/* One call with an error slot: GIVE(sage_x(a, b, &slot)) returns null or the error, the others a struct that has it. */
#define SLOT(slot) \
  sage_error slot; \
  slot.struct_size = sizeof slot, slot.status = SAGE_OK, slot.native_code = 0, slot.message[0] = 0
#define GIVE(call)              \
  do {                          \
    SLOT(slot);                 \
    return failed(call, &slot); \
  } while (0)
#define MAKE(type, call)             \
  do {                               \
    SLOT(slot);                      \
    type* made = NULL;               \
    sage_go_made out;                \
    out.error = failed(call, &slot); \
    out.handle = made;               \
    return out;                      \
  } while (0)
#define COUNT(call)                  \
  do {                               \
    SLOT(slot);                      \
    sage_go_number out = {NULL, 0};  \
    uint64_t* value = &out.value;    \
    out.error = failed(call, &slot); \
    return out;                      \
  } while (0)

const char* sage_go_library_path(void) {
  Dl_info info;
  return dladdr((void*)(uintptr_t)sage_version, &info) != 0 ? info.dli_fname : NULL;
}

uint8_t* sage_go_allocate(uint64_t bytes) {
  void* memory = NULL;
  if (posix_memalign(&memory, 64, bytes == 0 ? 1 : bytes) != 0) return NULL;
  return memset(memory, 0, bytes);
}
int32_t sage_go_has_memory(uint64_t bytes) {
  void* volatile memory = malloc(bytes == 0 ? 1 : bytes); /* volatile: else the compiler takes both calls away */
  const int32_t made = memory != NULL;
  free(memory);
  return made;
}

/* ---- options, engine ---- */

sage_go_made sage_go_options_create(void) { MAKE(sage_options, sage_options_create(&made, &slot)); }
sage_error* sage_go_options_set(sage_options* options, const char* key, const char* value) {
  GIVE(sage_options_set(options, key, value, &slot));
}
sage_error* sage_go_options_callbacks(sage_options* options, int32_t log, int32_t cancel, uintptr_t user) {
  SLOT(slot);
  sage_status status = SAGE_OK;
  if (log) status = sage_options_set_log(options, log_to_go, (void*)user, &slot);
  if (cancel && status == SAGE_OK) status = sage_options_set_cancel(options, cancel_by_go, (void*)user, &slot);
  return failed(status, &slot);
}
sage_go_made sage_go_engine_create(const sage_options* options) {
  MAKE(sage_engine, sage_engine_create(options, &made, &slot));
}
sage_error* sage_go_engine_load_plugin(sage_engine* engine, const char* path) {
  GIVE(sage_engine_load_plugin(engine, path, &slot));
}
sage_go_number sage_go_engine_describe(sage_engine* engine, uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_engine_describe(engine, (char*)buffer, capacity, value, &slot));
}

/* ---- attention ---- */

sage_error* sage_go_attention(uintptr_t engine, uint32_t dtype, uint32_t layout, int64_t batch, int64_t heads_q,
                              int64_t heads_kv, int64_t seq_q, int64_t seq_kv, int64_t dim_qk, int64_t dim_v,
                              const uint8_t* q, const uint8_t* k, const uint8_t* v, uint8_t* o, uint32_t causal,
                              double scale) {
  GIVE(sage_attention((sage_engine*)engine, dtype, layout, batch, heads_q, heads_kv, seq_q, seq_kv, dim_qk, dim_v, q, k,
                      v, o, causal, scale, &slot));
}

static void fill(sage_tensor* out, const sage_go_tensor* from, void* data) {
  out->struct_size = sizeof *out, out->dtype = from->dtype, out->rank = from->rank, out->flags = from->flags;
  out->device_type = from->device_type, out->device_id = from->device_id, out->data = data;
  memcpy(out->shape, from->shape, sizeof out->shape);
  memcpy(out->stride, from->stride, sizeof out->stride);
}

/* A whole sage_op on the caller's stack. */
typedef struct op_memory {
  sage_op op;
  sage_tensor tensors[SAGE_ATTN_NUM_SLOTS];
  const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS];
} op_memory;

static const sage_op* make_op(op_memory* memory, const sage_go_op* op, const sage_go_tensor* tensors) {
  memset(memory->slots, 0, sizeof memory->slots);
  for (uint32_t i = 0; i < op->count; ++i) {
    fill(&memory->tensors[i], &tensors[i], (void*)(uintptr_t)tensors[i].constant);
    memory->slots[tensors[i].slot] = &memory->tensors[i];
  }
  memset(&memory->op, 0, sizeof memory->op);
  memory->op.struct_size = sizeof memory->op, memory->op.kind = SAGE_OP_ATTENTION;
  memory->op.requirements = op->requirements, memory->op.accuracy = op->accuracy;
  memory->op.dynamic_axes = op->dynamic_axes, memory->op.aliases = op->aliases;
  memory->op.attributes = &op->attributes;
  memory->op.num_slots = SAGE_ATTN_NUM_SLOTS, memory->op.slots = memory->slots;
  return &memory->op;
}

sage_go_number sage_go_attention_features(const sage_go_op* op, const sage_go_tensor* tensors) {
  op_memory memory;
  const sage_op* made = make_op(&memory, op, tensors);
  COUNT(sage_attention_features(made, value, &slot));
}
sage_go_made sage_go_plan_create(sage_engine* engine, const sage_go_op* op, const sage_go_tensor* tensors,
                                 const sage_options* options) {
  op_memory memory;
  const sage_op* whole = make_op(&memory, op, tensors);
  MAKE(sage_attention_plan, sage_attention_plan_create(engine, whole, options, &made, &slot));
}
sage_go_number sage_go_plan_explain(sage_attention_plan* plan, uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_attention_plan_explain(plan, (char*)buffer, capacity, value, &slot));
}
sage_error* sage_go_plan_memory(sage_attention_plan* plan, sage_attention_memory* out) {
  memset(out, 0, sizeof *out);
  out->struct_size = sizeof *out;
  GIVE(sage_attention_plan_memory(plan, out, &slot));
}
sage_go_made sage_go_context_create(sage_attention_plan* plan) {
  MAKE(sage_attention_context, sage_attention_context_create(plan, &made, &slot));
}

/* Slots up to the highest that is used. */
static sage_error* run(uintptr_t context, const sage_go_tensor* tensors, uint32_t count, sage_tensor* memory,
                       uint8_t* const* data) {
  const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS];
  uint32_t used = 0;
  for (uint32_t i = 0; i < count; ++i)
    if (tensors[i].slot >= used) used = tensors[i].slot + 1;
  for (uint32_t i = 0; i < used; ++i) slots[i] = NULL;
  for (uint32_t i = 0; i < count; ++i) {
    fill(&memory[i], &tensors[i], data[i]);
    slots[tensors[i].slot] = &memory[i];
  }
  GIVE(sage_attention_run((sage_attention_context*)context, slots, used, NULL, &slot));
}
sage_error* sage_go_attention_run4(uintptr_t context, const sage_go_tensor* tensors, uint32_t count, uint8_t* p0,
                                   uint8_t* p1, uint8_t* p2, uint8_t* p3) {
  uint8_t* const data[] = {p0, p1, p2, p3};
  sage_tensor memory[4];
  return run(context, tensors, count, memory, data);
}
sage_error* sage_go_attention_run(uintptr_t context, const sage_go_tensor* tensors, uint32_t count, uint8_t* p0,
                                  uint8_t* p1, uint8_t* p2, uint8_t* p3, uint8_t* p4, uint8_t* p5, uint8_t* p6,
                                  uint8_t* p7, uint8_t* p8, uint8_t* p9, uint8_t* p10, uint8_t* p11, uint8_t* p12,
                                  uint8_t* p13, uint8_t* p14, uint8_t* p15, uint8_t* p16, uint8_t* p17, uint8_t* p18,
                                  uint8_t* p19, uint8_t* p20, uint8_t* p21, uint8_t* p22, uint8_t* p23, uint8_t* p24,
                                  uint8_t* p25, uint8_t* p26, uint8_t* p27) {
  uint8_t* const data[SAGE_ATTN_NUM_SLOTS] = {p0,  p1,  p2,  p3,  p4,  p5,  p6,  p7,  p8,  p9,  p10, p11, p12, p13,
                                              p14, p15, p16, p17, p18, p19, p20, p21, p22, p23, p24, p25, p26, p27};
  sage_tensor memory[SAGE_ATTN_NUM_SLOTS];
  return run(context, tensors, count, memory, data);
}

/* ---- model ---- */

sage_go_made sage_go_model_load(sage_engine* engine, const char* path) {
  MAKE(sage_model, sage_model_load(engine, path, &made, &slot));
}
sage_go_made sage_go_model_load_buffer(sage_engine* engine, const uint8_t* bytes, uint64_t size, const char* folder) {
  MAKE(sage_model, sage_model_load_buffer(engine, bytes, size, folder, &made, &slot));
}
sage_go_number sage_go_model_check(sage_engine* engine, const char* path, uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_model_check(engine, path, (char*)buffer, capacity, value, &slot));
}
sage_go_number sage_go_model_check_buffer(sage_engine* engine, const uint8_t* bytes, uint64_t size, const char* folder,
                                          uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_model_check_buffer(engine, bytes, size, folder, (char*)buffer, capacity, value, &slot));
}
sage_go_io sage_go_model_io_info(const sage_model* model, uint32_t direction, uint32_t index) {
  SLOT(slot);
  sage_go_io out;
  memset(&out, 0, sizeof out);
  out.error =
      failed(sage_model_io_info(model, direction, index, &out.name, &out.dtype, &out.rank, out.shape, &slot), &slot);
  return out;
}

/* ---- session ---- */

sage_go_made sage_go_session_create(sage_model* model, const sage_options* options) {
  MAKE(sage_session, sage_session_create(model, options, &made, &slot));
}
sage_error* sage_go_session_set_input(sage_session* session, uint32_t index, const sage_go_tensor* tensor,
                                      const uint8_t* data, uint64_t bytes) {
  GIVE(sage_session_set_input(session, index, tensor->dtype, tensor->rank, tensor->shape, data, bytes, &slot));
}
sage_go_io sage_go_session_output_info(sage_session* session, uint32_t index) {
  SLOT(slot);
  sage_go_io out;
  memset(&out, 0, sizeof out);
  out.error =
      failed(sage_session_output_info(session, index, &out.dtype, &out.rank, out.shape, &out.bytes, &slot), &slot);
  return out;
}
sage_error* sage_go_session_get_output(sage_session* session, uint32_t index, uint8_t* data, uint64_t bytes) {
  GIVE(sage_session_get_output(session, index, data, bytes, &slot));
}
sage_error* sage_go_session_bind(sage_session* session, uint32_t direction, uint32_t index,
                                 const sage_go_tensor* tensor, void* data) {
  if (tensor == NULL) GIVE(sage_session_bind(session, direction, index, NULL, &slot));
  sage_tensor whole;
  fill(&whole, tensor, data);
  GIVE(sage_session_bind(session, direction, index, &whole, &slot));
}
sage_error* sage_go_session_bind_flat(sage_session* session, uint32_t direction, uint32_t index,
                                      const sage_go_tensor* tensor, void* data, uint64_t bytes) {
  GIVE(sage_session_bind_flat(session, direction, index, tensor->dtype, tensor->rank, tensor->shape, data, bytes,
                              &slot));
}
sage_error* sage_go_session_run(sage_session* session) { GIVE(sage_session_run(session, &slot)); }
sage_go_number sage_go_session_explain(sage_session* session, uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_session_explain(session, (char*)buffer, capacity, value, &slot));
}
sage_go_number sage_go_session_trace(sage_session* session, uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_session_trace(session, (char*)buffer, capacity, value, &slot));
}
sage_go_number sage_go_session_accuracy(sage_session* session, uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_session_accuracy(session, (char*)buffer, capacity, value, &slot));
}
sage_error* sage_go_session_tick(sage_session* session, const uint8_t* json, uint64_t length) {
  GIVE(sage_session_tick(session, (const char*)json, length, &slot));
}
sage_go_number sage_go_session_decision(sage_session* session, uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_session_decision(session, (char*)buffer, capacity, value, &slot));
}
sage_go_number sage_go_session_snapshot(sage_session* session, uint8_t* buffer, uint64_t capacity) {
  COUNT(sage_session_snapshot(session, buffer, capacity, value, &slot));
}
sage_error* sage_go_session_restore(sage_session* session, const uint8_t* bytes, uint64_t size) {
  GIVE(sage_session_restore(session, bytes, size, &slot));
}

/* ---- sparse ---- */

sage_go_number sage_go_mincut_mask(int64_t seq, int64_t parts, uint8_t* mask, uint64_t bytes) {
  COUNT(sage_mincut_mask(seq, parts, mask, bytes, value, &slot));
}
sage_go_number sage_go_mincut_csr(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, int32_t* indptr,
                                  uint64_t num_indptr, int32_t* indices, uint64_t num_indices) {
  COUNT(sage_mincut_csr(seq, parts, tile_q, tile_kv, indptr, num_indptr, indices, num_indices, value, &slot));
}
sage_go_number sage_go_mincut_blocks(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, uint8_t* blocks,
                                     uint64_t bytes) {
  COUNT(sage_mincut_blocks(seq, parts, tile_q, tile_kv, blocks, bytes, value, &slot));
}
sage_error* sage_go_gate_decide(const sage_gate_packet* packet, const sage_gate_policy* policy,
                                sage_gate_decision* out) {
  GIVE(sage_gate_decide(packet, policy, out, &slot));
}
sage_error* sage_go_gate_apply(const sage_gate_decision* decision, sage_attention_attributes* attributes) {
  GIVE(sage_gate_apply(decision, attributes, &slot));
}

/* ---- quantize ---- */

enum { kX, kCodes, kScale, kMean, kCuSeqlens, kQuantizeTensors };

static void fill_present(sage_tensor* memory, const sage_tensor** out, const sage_go_tensor* tensors, uint32_t present,
                         uint8_t* const* data) {
  for (uint32_t i = 0; i < kQuantizeTensors; ++i) {
    out[i] = NULL;
    if ((present >> i & 1) == 0) continue;
    fill(&memory[i], &tensors[i], data[i]);
    out[i] = &memory[i];
  }
}
sage_error* sage_go_quantize(const sage_go_tensor* tensors, uint32_t present, uint32_t granularity,
                             uint32_t scale_block, uint32_t flags, uint8_t* p0, uint8_t* p1, uint8_t* p2, uint8_t* p3,
                             uint8_t* p4, sage_quantize_report* report) {
  uint8_t* const data[] = {p0, p1, p2, p3, p4};
  sage_tensor memory[kQuantizeTensors];
  const sage_tensor* t[kQuantizeTensors];
  fill_present(memory, t, tensors, present, data);
  memset(report, 0, sizeof *report);
  report->struct_size = sizeof *report;
  GIVE(sage_quantize(t[kX], granularity, scale_block, flags, t[kCuSeqlens], t[kCodes], t[kScale], t[kMean], report,
                     &slot));
}
sage_error* sage_go_dequantize(const sage_go_tensor* tensors, uint32_t present, uint32_t granularity,
                               uint32_t scale_block, uint8_t* p0, uint8_t* p1, uint8_t* p2, uint8_t* p3, uint8_t* p4) {
  uint8_t* const data[] = {p0, p1, p2, p3, p4};
  sage_tensor memory[kQuantizeTensors];
  const sage_tensor* t[kQuantizeTensors];
  fill_present(memory, t, tensors, present, data);
  GIVE(sage_dequantize(t[kCodes], granularity, scale_block, t[kCuSeqlens], t[kScale], t[kMean], t[kX], &slot));
}
