/* attention_steps.c: tensors, the flat call, plans and their runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"

void say_bytes(runner* r, const char* what, const void* bytes, uint64_t size) {
  char first[33] = "-";
  for (uint64_t i = 0; i < size && i < 16; ++i) snprintf(first + 2 * i, 3, "%02x", ((const unsigned char*)bytes)[i]);
  say(r, "%s %016llx %s", what, (unsigned long long)hash_of(bytes, size), first);
}

/* Of a dense tensor; strided ones are inputs only. */
static uint64_t bytes_of(const sage_tensor* t) { return element_count(t->rank, t->shape) * dtype_bytes(t->dtype); }

static void say_results(runner* r, uint64_t also) {
  say(r, "SAGE_OK");
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    if (!r->is_result[slot] && (also >> slot & 1) == 0) continue;
    char what[16];
    snprintf(what, sizeof what, "slot %u", slot);
    say_bytes(r, what, r->tensors[slot].data, bytes_of(&r->tensors[slot]));
  }
}

static void set_tensor(runner* r, const words* w, bool result) {
  const uint32_t slot = (uint32_t)atoi(w->word[1]);
  need(slot < SAGE_ATTN_NUM_SLOTS, w->word[1]);
  int64_t shape[SAGE_MAX_RANK];
  const uint32_t rank = parse_shape(w->word[3], shape);
  const sage_dtype dtype = dtype_of(w->word[2]);
  const uint64_t bytes = result ? element_count(rank, shape) * dtype_bytes(dtype) : parse_hex(w->word[4], NULL);
  char* data = room(r, bytes);
  if (!result) parse_hex(w->word[4], (unsigned char*)data);
  sage_tensor_init(&r->tensors[slot], dtype, rank, shape, data);
  r->slots[slot] = &r->tensors[slot];
  r->is_result[slot] = result;
}

static void set_field(runner* r, const char* name, const char* value) {
  const struct {
    const char* name;
    void* field;
    char kind; /* d double, u uint32, U uint64, i int64 */
  } fields[] = {{"features", &r->attributes.features, 'U'},
                {"alignment", &r->attributes.alignment, 'u'},
                {"scale", &r->attributes.scale, 'd'},
                {"softcap", &r->attributes.softcap, 'd'},
                {"dropout_p", &r->attributes.dropout_p, 'd'},
                {"window_left", &r->attributes.window_left, 'i'},
                {"window_right", &r->attributes.window_right, 'i'},
                {"max_seq_q", &r->attributes.max_seq_q, 'i'},
                {"max_seq_kv", &r->attributes.max_seq_kv, 'i'},
                {"algorithm", &r->attributes.algorithm, 'u'},
                {"block_q", &r->attributes.block_q, 'u'},
                {"block_kv", &r->attributes.block_kv, 'u'},
                {"mask_block_q", &r->attributes.mask_block_q, 'u'},
                {"mask_block_kv", &r->attributes.mask_block_kv, 'u'},
                {"scale_block", &r->attributes.scale_block, 'u'},
                {"granularity_q", &r->attributes.granularity_q, 'u'},
                {"granularity_k", &r->attributes.granularity_k, 'u'},
                {"granularity_v", &r->attributes.granularity_v, 'u'},
                {"granularity_p", &r->attributes.granularity_p, 'u'},
                {"granularity_o", &r->attributes.granularity_o, 'u'},
                {"accuracy", &r->op.accuracy, 'u'},
                {"requirements", &r->op.requirements, 'u'},
                {"dynamic_axes", &r->op.dynamic_axes, 'u'},
                {"aliases", &r->op.aliases, 'U'}};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; ++i) {
    if (strcmp(fields[i].name, name) != 0) continue;
    if (fields[i].kind == 'd') *(double*)fields[i].field = strtod(value, NULL);
    if (fields[i].kind == 'u') *(uint32_t*)fields[i].field = (uint32_t)strtoul(value, NULL, 10);
    if (fields[i].kind == 'U') *(uint64_t*)fields[i].field = strtoull(value, NULL, 10);
    if (fields[i].kind == 'i') *(int64_t*)fields[i].field = strtoll(value, NULL, 10);
    return;
  }
  need(false, name);
}

static void run_flat(runner* r, const words* w) {
  sage_engine* engine = engine_of(r);
  if (engine == NULL) return;
  const uint32_t layout = (uint32_t)atoi(w->word[1]);
  const int heads = layout == 1 ? 2 : 1, rows = layout == 1 ? 1 : 2;
  const sage_tensor *q = &r->tensors[0], *k = &r->tensors[1], *v = &r->tensors[2], *o = &r->tensors[3];
  sage_error error = no_error();
  const sage_status status =
      sage_attention(engine, q->dtype, layout, q->shape[0], q->shape[heads], k->shape[heads], q->shape[rows],
                     k->shape[rows], q->shape[3], v->shape[3], q->data, k->data, v->data, o->data,
                     (uint32_t)atoi(w->word[2]), strtod(w->word[3], NULL), &error);
  if (!succeeded(r, status, &error)) return;
  say(r, "SAGE_OK");
  say_bytes(r, "slot 3", o->data, bytes_of(o));
}

static sage_status explain_plan(void* plan, char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
  return sage_attention_plan_explain(plan, buffer, capacity, needed, error);
}

static sage_status explain_session(void* session, char* buffer, uint64_t capacity, uint64_t* needed,
                                   sage_error* error) {
  return sage_session_explain(session, buffer, capacity, needed, error);
}

static void explain(runner* r) {
  if (r->session == NULL && skip_without(r, r->plan)) return;
  char* text = r->session != NULL ? fetch_text(r, explain_session, r->session) : fetch_text(r, explain_plan, r->plan);
  if (text == NULL) return;
  say(r, is_json_with(text, "reference") ? "explain json" : "explain is no JSON that names reference");
  free(text);
}

static void make_plan(runner* r) {
  sage_engine* engine = engine_of(r);
  if (engine == NULL) return;
  sage_attention_plan_destroy(r->plan);
  r->plan = NULL;
  sage_error error = no_error();
  if (succeeded(r, sage_attention_plan_create(engine, &r->op, r->plan_options, &r->plan, &error), &error))
    say(r, "plan %s", sage_attention_plan_backend(r->plan));
}

static void attend(runner* r) {
  if (skip_without(r, r->plan)) return;
  sage_error error = no_error();
  sage_attention_context* context = NULL;
  if (!succeeded(r, sage_attention_context_create(r->plan, &context, &error), &error)) return;
  const sage_status status = sage_attention_run(context, r->slots, SAGE_ATTN_NUM_SLOTS, NULL, &error);
  sage_attention_context_destroy(context);
  if (succeeded(r, status, &error)) say_results(r, r->op.aliases);
}

static void say_memory(runner* r) {
  if (skip_without(r, r->plan)) return;
  sage_error error = no_error();
  sage_attention_memory m = {.struct_size = sizeof m};
  if (!succeeded(r, sage_attention_plan_memory(r->plan, &m, &error), &error)) return;
  say(r, "memory %llu %llu %llu %llu %llu %llu %llu", (unsigned long long)m.q_bytes, (unsigned long long)m.k_bytes,
      (unsigned long long)m.v_bytes, (unsigned long long)m.o_bytes, (unsigned long long)m.other_bytes,
      (unsigned long long)m.scores_bytes, (unsigned long long)m.total_with_scores_bytes);
}

static void say_features(runner* r) {
  sage_error error = no_error();
  uint64_t bits = 0;
  if (succeeded(r, sage_attention_features(&r->op, &bits, &error), &error))
    say(r, "features %016llx", (unsigned long long)bits);
}

bool attention_step(runner* r, const words* w) {
  const char* step = w->word[0];
  if (strcmp(step, "place") == 0) {
    r->place = strtoull(w->word[1], NULL, 10);
  } else if (strcmp(step, "tensor") == 0 || strcmp(step, "result") == 0) {
    set_tensor(r, w, step[0] == 'r');
  } else if (strcmp(step, "strides") == 0) {
    parse_shape(w->word[2], r->tensors[atoi(w->word[1])].stride);
  } else if (strcmp(step, "set") == 0) {
    set_field(r, w->word[1], w->word[2]);
  } else if (strcmp(step, "flat") == 0) {
    run_flat(r, w);
  } else if (strcmp(step, "features") == 0) {
    say_features(r);
  } else if (strcmp(step, "plan") == 0) {
    make_plan(r);
  } else if (strcmp(step, "memory") == 0) {
    say_memory(r);
  } else if (strcmp(step, "explain") == 0) {
    explain(r);
  } else if (strcmp(step, "attend") == 0) {
    attend(r);
  } else {
    return false;
  }
  return true;
}
