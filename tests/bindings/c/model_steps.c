/* model_steps.c: models, sessions, ticks, and the masks and gate of sparse.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"

static void shape_text(char* to, size_t size, uint32_t rank, const int64_t* shape) {
  size_t used = (size_t)snprintf(to, size, "%s", rank == 0 ? "scalar" : "");
  for (uint32_t i = 0; i < rank; ++i)
    used += (size_t)snprintf(to + used, size - used, i == 0 ? "%lld" : ",%lld", (long long)shape[i]);
}

static void say_model(runner* r) {
  say(r, "model %u", sage_model_kind(r->model));
  for (uint32_t direction = SAGE_INPUT; direction <= SAGE_OUTPUT; ++direction) {
    for (uint32_t i = 0; i < sage_model_io_count(r->model, direction); ++i) {
      sage_error error = no_error();
      const char* name = NULL;
      sage_dtype dtype = 0;
      uint32_t rank = 0;
      int64_t shape[SAGE_MAX_RANK];
      if (!succeeded(r, sage_model_io_info(r->model, direction, i, &name, &dtype, &rank, shape, &error), &error))
        return;
      char text[256];
      shape_text(text, sizeof text, rank, shape);
      say(r, "%s %u %s %s %s", direction == SAGE_INPUT ? "input" : "output", i, name, dtype_name(dtype), text);
    }
  }
}

static void load_model(runner* r, const char* file, bool as_bytes) {
  sage_engine* engine = engine_of(r);
  if (engine == NULL) return;
  sage_model_destroy(r->model);
  r->model = NULL;
  sage_error error = no_error();
  sage_status status = SAGE_OK;
  if (as_bytes) {
    size_t size = 0;
    char* bytes = read_file(r->folder, file, &size);
    status = sage_model_load_buffer(engine, bytes, size, NULL, &r->model, &error);
    free(bytes);
  } else {
    char* path = format_text("%s/%s", r->folder, file);
    status = sage_model_load(engine, path, &r->model, &error);
    free(path);
  }
  if (succeeded(r, status, &error)) say_model(r);
}

typedef struct check_request {
  sage_engine* engine;
  const char *path, *bytes; /* one of them */
  uint64_t size;
} check_request;

static sage_status check_text(void* object, char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
  const check_request* request = object;
  return request->path != NULL ? sage_model_check(request->engine, request->path, buffer, capacity, needed, error)
                               : sage_model_check_buffer(request->engine, request->bytes, request->size, NULL, buffer,
                                                         capacity, needed, error);
}

static void check_model(runner* r, const char* file, bool as_bytes) {
  check_request request = {.engine = engine_of(r)};
  if (request.engine == NULL) return;
  char *bytes = NULL, *path = format_text("%s/%s", r->folder, file);
  if (as_bytes) {
    size_t size = 0;
    bytes = read_file(r->folder, file, &size);
    request.bytes = bytes, request.size = size;
  } else {
    request.path = path;
  }
  char* text = fetch_text(r, check_text, &request);
  if (text != NULL) say(r, "valid %s", is_json_with(text, "\"valid\":true") ? "true" : "false");
  free(text);
  free(path);
  free(bytes);
}

static void make_session(runner* r) {
  if (skip_without(r, r->model)) return;
  sage_session_destroy(r->session);
  r->session = NULL;
  memset(r->bound, 0, sizeof r->bound);
  sage_error error = no_error();
  if (succeeded(r, sage_session_create(r->model, r->plan_options, &r->session, &error), &error)) say(r, "SAGE_OK");
}

static void set_input(runner* r, const words* w) {
  if (skip_without(r, r->session)) return;
  int64_t shape[SAGE_MAX_RANK];
  const uint32_t rank = parse_shape(w->word[3], shape);
  const uint64_t bytes = parse_hex(w->word[4], NULL);
  char* data = room(r, bytes);
  parse_hex(w->word[4], (unsigned char*)data);
  sage_error error = no_error();
  if (succeeded(r,
                sage_session_set_input(r->session, (uint32_t)atoi(w->word[1]), dtype_of(w->word[2]), rank, shape, data,
                                       bytes, &error),
                &error))
    say(r, "SAGE_OK");
}

static void bind(runner* r, const words* w) {
  if (skip_without(r, r->session)) return;
  const bool output = strcmp(w->word[1], "output") == 0;
  const uint32_t index = (uint32_t)atoi(w->word[2]);
  int64_t shape[SAGE_MAX_RANK];
  const uint32_t rank = parse_shape(w->word[4], shape);
  const sage_dtype dtype = dtype_of(w->word[3]);
  const uint64_t bytes = element_count(rank, shape) * dtype_bytes(dtype);
  char* data = room(r, bytes);
  if (!output) parse_hex(w->word[5], (unsigned char*)data);
  sage_error error = no_error();
  if (!succeeded(r,
                 sage_session_bind_flat(r->session, output ? SAGE_OUTPUT : SAGE_INPUT, index, dtype, rank, shape, data,
                                        bytes, &error),
                 &error))
    return;
  if (output && index < 4) r->bound[index] = data;
  say(r, "SAGE_OK");
}

static void run_session(runner* r) {
  if (skip_without(r, r->session)) return;
  sage_error error = no_error();
  if (!succeeded(r, sage_session_run(r->session, &error), &error)) return;
  say(r, "SAGE_OK");
  for (uint32_t i = 0; i < sage_model_io_count(r->model, SAGE_OUTPUT); ++i) {
    sage_dtype dtype = 0;
    uint32_t rank = 0;
    int64_t shape[SAGE_MAX_RANK];
    uint64_t bytes = 0;
    if (!succeeded(r, sage_session_output_info(r->session, i, &dtype, &rank, shape, &bytes, &error), &error)) return;
    char* data = i < 4 && r->bound[i] != NULL ? r->bound[i] : room(r, bytes);
    if (i >= 4 || data != r->bound[i])
      if (!succeeded(r, sage_session_get_output(r->session, i, data, bytes, &error), &error)) return;
    char text[256], first[33] = "-";
    shape_text(text, sizeof text, rank, shape);
    for (uint64_t k = 0; k < bytes && k < 16; ++k) snprintf(first + 2 * k, 3, "%02x", (unsigned char)data[k]);
    say(r, "output %u %s %s %016llx %s", i, dtype_name(dtype), text, (unsigned long long)hash_of(data, bytes), first);
  }
}

static sage_status trace_text(void* session, char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
  return sage_session_trace(session, buffer, capacity, needed, error);
}

static sage_status decision_text(void* session, char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
  return sage_session_decision(session, buffer, capacity, needed, error);
}

static sage_status accuracy_text(void* session, char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
  return sage_session_accuracy(session, buffer, capacity, needed, error);
}

static void accuracy(runner* r) {
  if (skip_without(r, r->session)) return;
  char* text = fetch_text(r, accuracy_text, r->session);
  if (text != NULL) say(r, is_json_with(text, "\"rel_l1\"") ? "accuracy json" : "accuracy is no JSON with rel_l1");
  free(text);
}

static void trace(runner* r) {
  if (skip_without(r, r->session)) return;
  char* text = fetch_text(r, trace_text, r->session);
  if (text != NULL) say(r, is_json_with(text, "\"traceEvents\"") ? "trace json" : "trace is no JSON with traceEvents");
  free(text);
}

static void tick(runner* r, const char* json) {
  if (skip_without(r, r->session)) return;
  sage_error error = no_error();
  if (succeeded(r, sage_session_tick(r->session, json, strlen(json), &error), &error)) say(r, "SAGE_OK");
  char* text = fetch_text(r, decision_text, r->session);
  if (text != NULL) say(r, "%s", text);
  free(text);
}

static void snapshot(runner* r) {
  if (skip_without(r, r->session)) return;
  sage_error error = no_error();
  uint64_t size = 0;
  if (!succeeded(r, sage_session_snapshot(r->session, NULL, 0, &size, &error), &error)) return;
  free(r->snapshot);
  r->snapshot = malloc(size);
  need(r->snapshot != NULL, "out of memory");
  if (!succeeded(r, sage_session_snapshot(r->session, r->snapshot, size, &size, &error), &error)) return;
  r->snapshot_bytes = size;
  say(r, "snapshot %llu %016llx", (unsigned long long)size, (unsigned long long)hash_of(r->snapshot, size));
}

static void restore(runner* r, bool damaged) {
  if (skip_without(r, r->snapshot)) return;
  sage_error error = no_error();
  r->snapshot[r->snapshot_bytes - 1] ^= damaged;
  if (succeeded(r, sage_session_restore(r->session, r->snapshot, r->snapshot_bytes, &error), &error)) say(r, "SAGE_OK");
  r->snapshot[r->snapshot_bytes - 1] ^= damaged;
}

bool model_step(runner* r, const words* w) {
  const char* step = w->word[0];
  if (strcmp(step, "model") == 0 || strcmp(step, "model_bytes") == 0) {
    load_model(r, w->word[1], strcmp(step, "model") != 0);
  } else if (strcmp(step, "check") == 0 || strcmp(step, "check_bytes") == 0) {
    check_model(r, w->word[1], strcmp(step, "check") != 0);
  } else if (strcmp(step, "session") == 0) {
    make_session(r);
  } else if (strcmp(step, "input") == 0) {
    set_input(r, w);
  } else if (strcmp(step, "bind") == 0) {
    bind(r, w);
  } else if (strcmp(step, "run") == 0) {
    run_session(r);
  } else if (strcmp(step, "trace") == 0) {
    trace(r);
  } else if (strcmp(step, "accuracy") == 0) {
    accuracy(r);
  } else if (strcmp(step, "tick") == 0) {
    tick(r, w->rest);
  } else if (strcmp(step, "snapshot") == 0) {
    snapshot(r);
  } else if (strcmp(step, "restore") == 0 || strcmp(step, "restore_damaged") == 0) {
    restore(r, strcmp(step, "restore") != 0);
  } else {
    return false;
  }
  return true;
}
