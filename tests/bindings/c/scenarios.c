/* scenarios.c: what a line of text cannot say: callbacks, threads, orders of closing. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runner.h"

/* q, k, v, o of one attention, f32 or f64, all in r's memory. */
typedef struct problem {
  sage_attention_attributes attributes;
  sage_tensor tensors[4];
  const sage_tensor* slots[4];
  sage_op op;
} problem;

static problem* make_problem(runner* r, sage_dtype dtype, int64_t heads, int64_t seq, int64_t dim) {
  problem* p = (problem*)(void*)room(r, sizeof *p);
  memset(p, 0, sizeof *p);
  p->attributes.struct_size = sizeof p->attributes;
  const int64_t shape[SAGE_MAX_RANK] = {1, heads, seq, dim};
  const uint64_t bytes = element_count(4, shape) * dtype_bytes(dtype);
  for (int i = 0; i < 4; ++i) {
    sage_tensor_init(&p->tensors[i], dtype, 4, shape, memset(room(r, bytes), 0, bytes));
    p->slots[i] = &p->tensors[i];
  }
  p->op.struct_size = sizeof p->op, p->op.kind = SAGE_OP_ATTENTION, p->op.num_slots = 4;
  p->op.attributes = &p->attributes, p->op.slots = p->slots;
  return p;
}

static sage_engine* make_engine(const sage_options* options) {
  sage_error error = no_error();
  sage_engine* engine = NULL;
  need(sage_engine_create(options, &engine, &error) == SAGE_OK, error.message);
  return engine;
}

static sage_options* make_options(const char* key, const char* value) {
  sage_error error = no_error();
  sage_options* options = NULL;
  need(sage_options_create(&options, &error) == SAGE_OK, error.message);
  if (key != NULL) need(sage_options_set(options, key, value, &error) == SAGE_OK, error.message);
  return options;
}

static void versions(runner* r) {
  const uint32_t abi = sage_abi_version();
  if (sage_build_info()[0] != '\0') say(r, "abi %u.%u version %s", abi >> 16, abi & 0xffff, sage_version());
}

static void status_names(runner* r) {
  char text[1024] = "";
  for (sage_status status = 0; status < 16; ++status)
    snprintf(text + strlen(text), sizeof text - strlen(text), status == 0 ? "%s" : " %s", sage_status_name(status));
  say(r, "%s", text);
}

static sage_status describe_engine(void* engine, char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
  return sage_engine_describe(engine, buffer, capacity, needed, error);
}

static void backends(runner* r) {
  sage_engine* engine = make_engine(NULL);
  char* described = fetch_text(r, describe_engine, engine);
  need(described != NULL, "an engine cannot be described");
  char line[512] = "backends";
  for (uint32_t i = 0; i < sage_engine_backend_count(engine); ++i) {
    const char* name = sage_engine_backend_name(engine, i);
    if (is_json_with(described, name)) snprintf(line + strlen(line), sizeof line - strlen(line), " %s", name);
  }
  say(r, "%s", line);
  free(described);
  sage_engine_destroy(engine);
}

static const char* kTick = "{\"ts\":1,\"targets\":[{\"id\":\"door\",\"salience\":0.9}]}";
static const int kOrders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

static bool close_model_in_order(runner* r, const int* order) {
  sage_error error = no_error();
  sage_engine* engine = make_engine(NULL);
  sage_model* model = NULL;
  sage_session* session = NULL;
  char* path = format_text("%s/metabolic.fbs", r->folder);
  bool good = sage_model_load(engine, path, &model, &error) == SAGE_OK &&
              sage_session_create(model, NULL, &session, &error) == SAGE_OK;
  free(path);
  for (int i = 0; i < 3; ++i) {
    if (engine != NULL) good = good && sage_engine_backend_count(engine) > 0;
    if (model != NULL) good = good && sage_model_kind(model) == SAGE_MODEL_METABOLIC;
    if (session != NULL) good = good && sage_session_tick(session, kTick, strlen(kTick), &error) == SAGE_OK;
    if (order[i] == 0) sage_engine_destroy(engine), engine = NULL;
    if (order[i] == 1) sage_model_destroy(model), model = NULL;
    if (order[i] == 2) sage_session_destroy(session), session = NULL;
  }
  return good;
}

static bool close_plan_in_order(runner* r, const int* order) {
  sage_error error = no_error();
  problem* p = make_problem(r, SAGE_F32, 1, 4, 8);
  sage_engine* engine = make_engine(NULL);
  sage_attention_plan* plan = NULL;
  sage_attention_context* context = NULL;
  bool good = sage_attention_plan_create(engine, &p->op, NULL, &plan, &error) == SAGE_OK &&
              sage_attention_context_create(plan, &context, &error) == SAGE_OK;
  for (int i = 0; i < 3; ++i) {
    if (engine != NULL) good = good && sage_engine_backend_count(engine) > 0;
    if (plan != NULL) good = good && sage_attention_plan_backend(plan) != NULL;
    if (context != NULL) good = good && sage_attention_run(context, p->slots, 4, NULL, &error) == SAGE_OK;
    if (order[i] == 0) sage_engine_destroy(engine), engine = NULL;
    if (order[i] == 1) sage_attention_plan_destroy(plan), plan = NULL;
    if (order[i] == 2) sage_attention_context_destroy(context), context = NULL;
  }
  return good;
}

static void free_orders(runner* r) {
  int good = 0;
  for (int i = 0; i < 6; ++i) good += close_model_in_order(r, kOrders[i]) + close_plan_in_order(r, kOrders[i]);
  say(r, "free_orders %d", good);
}

/* In C a closed handle is a null one: destroyed twice without harm, refused when used. */
static void closed(runner* r) {
  problem* p = make_problem(r, SAGE_F32, 1, 4, 8);
  for (int i = 0; i < 2; ++i) {
    sage_engine_destroy(NULL), sage_attention_plan_destroy(NULL), sage_attention_context_destroy(NULL);
    sage_model_destroy(NULL), sage_session_destroy(NULL);
  }
  sage_error error = no_error();
  sage_attention_plan* plan = NULL;
  sage_attention_context* context = NULL;
  sage_session* session = NULL;
  const sage_status used[] = {sage_attention_plan_create(NULL, &p->op, NULL, &plan, &error),
                              sage_attention_context_create(NULL, &context, &error),
                              sage_attention_run(NULL, p->slots, 4, NULL, &error),
                              sage_session_create(NULL, NULL, &session, &error), sage_session_run(NULL, &error)};
  int refused = 0;
  for (size_t i = 0; i < sizeof used / sizeof used[0]; ++i) refused += used[i] == SAGE_E_INVALID_ARGUMENT;
  say(r, "closed %d", refused);
}

static void count_line(void* user, int32_t level, const char* text, uint64_t length) {
  (void)level, (void)text, (void)length;
  atomic_fetch_add((atomic_int*)user, 1);
}

static void log_lines(runner* r, bool throws) {
  atomic_int lines = 0;
  sage_error error = no_error();
  sage_options* options = make_options(NULL, NULL);
  need(sage_options_set_log(options, count_line, &lines, &error) == SAGE_OK, error.message);
  sage_engine* engine = make_engine(options);
  const sage_status status = sage_engine_load_plugin(engine, r->plugin, &error);
  sage_engine_destroy(engine);
  sage_options_destroy(options);
  if (throws)
    say(r, "log_throws %s", sage_status_name(status));
  else
    say(r, lines > 0 ? "log called" : "log silent");
}

static int32_t yes(void* user) {
  (void)user;
  return 1;
}

static void cancel_callback(runner* r, const char* name) {
  problem* p = make_problem(r, SAGE_F32, 1, 64, 8);
  sage_error error = no_error();
  sage_options* options = make_options(NULL, NULL);
  need(sage_options_set_cancel(options, yes, NULL, &error) == SAGE_OK, error.message);
  sage_engine* engine = make_engine(NULL);
  sage_attention_plan* plan = NULL;
  sage_attention_context* context = NULL;
  need(sage_attention_plan_create(engine, &p->op, options, &plan, &error) == SAGE_OK, error.message);
  need(sage_attention_context_create(plan, &context, &error) == SAGE_OK, error.message);
  say(r, "%s %s", name, sage_status_name(sage_attention_run(context, p->slots, 4, NULL, &error)));
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
  sage_options_destroy(options);
}

typedef struct canceller {
  sage_attention_context* context;
  atomic_bool done;
} canceller;

static void* cancel_until_done(void* argument) {
  canceller* c = argument;
  while (!c->done) {
    sage_attention_cancel(c->context);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return NULL;
}

static void cancel_thread(runner* r) {
  problem* p = make_problem(r, SAGE_F64, 4, 2048, 64);
  sage_error error = no_error();
  sage_options* options = make_options("backend", "reference");
  sage_engine* engine = make_engine(NULL);
  sage_attention_plan* plan = NULL;
  canceller c = {.context = NULL};
  need(sage_attention_plan_create(engine, &p->op, options, &plan, &error) == SAGE_OK, error.message);
  need(sage_attention_context_create(plan, &c.context, &error) == SAGE_OK, error.message);
  pthread_t thread;
  need(pthread_create(&thread, NULL, cancel_until_done, &c) == 0, "no thread");
  const sage_status status = sage_attention_run(c.context, p->slots, 4, NULL, &error);
  c.done = true;
  pthread_join(thread, NULL);
  say(r, "cancel_thread %s", sage_status_name(status));
  sage_attention_context_destroy(c.context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
  sage_options_destroy(options);
}

static void say_refused_file(runner* r, const char* scenario, sage_status status, const sage_error* error,
                             const char* path) {
  say(r, "%s %s %s", scenario, sage_status_name(status), strstr(error->message, path) != NULL ? "named" : "not named");
}

static void wrong_major(runner* r) {
  sage_error error = no_error();
  sage_engine* engine = make_engine(NULL);
  say_refused_file(r, "wrong_major", sage_engine_load_plugin(engine, r->plugin, &error), &error, r->plugin);
  sage_engine_destroy(engine);
}

static void missing_model(runner* r) {
  sage_error error = no_error();
  sage_engine* engine = make_engine(NULL);
  sage_model* model = NULL;
  char* path = format_text("%s/missing.fbs", r->folder);
  const sage_status status = sage_model_load(engine, path, &model, &error);
  say_refused_file(r, "missing_model", status, &error, path);
  free(path);
  sage_engine_destroy(engine);
}

static void native(runner* r) {
  enum { kHeads = 2, kSeq = 33, kDim = 16, kSize = kHeads * kSeq * kDim };
  static float q[kSize], k[kSize], v[kSize], o[2][kSize];
  for (int n = 0; n < kSize; ++n) {
    q[n] = (float)(n * 7 % 31 - 15) / 8;
    k[n] = (float)(n * 5 % 31 - 15) / 8;
    v[n] = (float)(n * 3 % 31 - 15) / 8;
  }
  for (int threads = 1; threads <= 2; ++threads) {
    sage_error error = no_error();
    sage_options* options = make_options("threads", threads == 1 ? "1" : "2");
    sage_engine* engine = make_engine(options);
    need(sage_attention(engine, SAGE_F32, 0, 1, kHeads, kHeads, kSeq, kSeq, kDim, kDim, q, k, v, o[threads - 1],
                        SAGE_ALIGN_TOP_LEFT, 0, &error) == SAGE_OK,
         error.message);
    sage_engine_destroy(engine);
    sage_options_destroy(options);
  }
  say(r, "native %016llx", (unsigned long long)hash_of(o[0], sizeof o[0]));
  say(r, memcmp(o[0], o[1], sizeof o[0]) == 0 ? "threads equal" : "threads differ");
}

static sage_status trace_text(void* session, char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
  return sage_session_trace(session, buffer, capacity, needed, error);
}

static void zero_copy(runner* r) {
  sage_error error = no_error();
  sage_options* options = make_options("trace", "true");
  sage_engine* engine = make_engine(NULL);
  sage_model* model = NULL;
  sage_session* session = NULL;
  char* path = format_text("%s/op_graph.fbs", r->folder);
  need(sage_model_load(engine, path, &model, &error) == SAGE_OK, error.message);
  free(path);
  need(sage_session_create(model, options, &session, &error) == SAGE_OK, error.message);
  const int64_t shapes[4][4] = {{1, 2, 3, 4}, {1, 1, 5, 4}, {1, 1, 5, 4}, {1, 2, 3, 4}};
  for (uint32_t i = 0; i < 4; ++i) {
    const uint64_t bytes = element_count(4, shapes[i]) * 4;
    need(sage_session_bind_flat(session, i < 3 ? SAGE_INPUT : SAGE_OUTPUT, i % 3, SAGE_F32, 4, shapes[i],
                                memset(room(r, bytes), 0, bytes), bytes, &error) == SAGE_OK,
         error.message);
  }
  for (int i = 0; i < 2; ++i) need(sage_session_run(session, &error) == SAGE_OK, error.message);
  char* text = fetch_text(r, trace_text, session);
  const char* counter = text == NULL ? NULL : strstr(text, "\"bytes_copied\":");
  need(counter != NULL, "the trace has no counter bytes_copied");
  say(r, "zero_copy %lld", atoll(counter + strlen("\"bytes_copied\":")));
  free(text);
  sage_session_destroy(session);
  sage_model_destroy(model);
  sage_engine_destroy(engine);
  sage_options_destroy(options);
}

static void denormals(runner* r) {
  volatile float small = 1e-39f, half = 0.5f;
  say(r, small * half != 0 ? "denormals kept" : "denormals lost");
}

void run_scenario(runner* r, const char* name) {
  if (strcmp(name, "versions") == 0)
    versions(r);
  else if (strcmp(name, "status_names") == 0)
    status_names(r);
  else if (strcmp(name, "backends") == 0)
    backends(r);
  else if (strcmp(name, "free_orders") == 0)
    free_orders(r);
  else if (strcmp(name, "closed") == 0)
    closed(r);
  else if (strcmp(name, "log") == 0)
    log_lines(r, false);
  else if (strcmp(name, "log_throws") == 0)
    log_lines(r, true);
  else if (strcmp(name, "cancel_callback") == 0 || strcmp(name, "cancel_throws") == 0)
    cancel_callback(r, name);
  else if (strcmp(name, "cancel_thread") == 0)
    cancel_thread(r);
  else if (strcmp(name, "wrong_major") == 0)
    wrong_major(r);
  else if (strcmp(name, "missing_model") == 0)
    missing_model(r);
  else if (strcmp(name, "native") == 0)
    native(r);
  else if (strcmp(name, "zero_copy") == 0)
    zero_copy(r);
  else if (strcmp(name, "denormals") == 0)
    denormals(r);
  else
    need(false, name);
}
