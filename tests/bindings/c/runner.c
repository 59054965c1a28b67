/* runner.c: walks constants.txt and conformance.txt, and holds what the steps of a case share. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void need(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "conformance runner: %s\n", what);
  exit(2);
}

char* room(runner* r, uint64_t bytes) {
  block* made = malloc(sizeof *made + bytes + 128 + r->place);
  need(made != NULL, "out of memory");
  made->next = r->blocks;
  r->blocks = made;
  char* at = made->bytes + (64 - (uintptr_t)made->bytes % 64) % 64 + r->place;
  memset(at, 0xa5, bytes);
  return at;
}

void begin_case(runner* r, const char* name) {
  end_case(r);
  sage_error error = no_error();
  r->name = format_text("%s", name);
  need(sage_options_create(&r->engine_options, &error) == SAGE_OK, error.message);
  need(sage_options_create(&r->plan_options, &error) == SAGE_OK, error.message);
  r->attributes.struct_size = sizeof r->attributes;
  r->op.struct_size = sizeof r->op;
  r->op.kind = SAGE_OP_ATTENTION;
  r->op.num_slots = SAGE_ATTN_NUM_SLOTS;
  r->op.attributes = &r->attributes;
  r->op.slots = r->slots;
  r->decision.struct_size = sizeof r->decision;
}

void end_case(runner* r) {
  sage_session_destroy(r->session);
  sage_model_destroy(r->model);
  sage_attention_plan_destroy(r->plan);
  sage_engine_destroy(r->engine);
  sage_options_destroy(r->plan_options);
  sage_options_destroy(r->engine_options);
  while (r->blocks != NULL) {
    block* next = r->blocks->next;
    free(r->blocks);
    r->blocks = next;
  }
  free(r->snapshot);
  free(r->name);
  *r = (runner){.folder = r->folder, .plugin = r->plugin};
}

/* A message names files below FOLDER; where that lies is nobody's business. */
static void hide_folder(char* text, const char* folder) {
  const size_t size = strlen(folder);
  for (char* at = text; (at = strstr(at, folder)) != NULL; at += strlen("FOLDER")) {
    need(size >= strlen("FOLDER"), "FOLDER's path is shorter than its name; give an absolute one");
    memcpy(at, "FOLDER", strlen("FOLDER"));
    memmove(at + strlen("FOLDER"), at + size, strlen(at + size) + 1);
  }
}

void say(runner* r, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char* text = format_list(format, arguments);
  va_end(arguments);
  hide_folder(text, r->folder);
  char* line = format_text("%s: %s\n", r->name, text);
  print_text(line);
  free(line);
  free(text);
}

sage_error no_error(void) { return (sage_error){.struct_size = sizeof(sage_error)}; }

bool succeeded(runner* r, sage_status status, const sage_error* error) {
  if (status == SAGE_OK) return true;
  char* message = format_text("%s", error->message);
  for (char* at = message; (at = strchr(at, '\n')) != NULL;) *at = '|';
  say(r, "%s %s", sage_status_name(status), message);
  free(message);
  return false;
}

sage_engine* engine_of(runner* r) {
  if (r->engine != NULL) return r->engine;
  if (r->engine_failed) {
    say(r, "skipped");
    return NULL;
  }
  sage_error error = no_error();
  r->engine_failed = !succeeded(r, sage_engine_create(r->engine_options, &r->engine, &error), &error);
  return r->engine;
}

bool skip_without(runner* r, const void* object) {
  if (object == NULL) say(r, "skipped");
  return object == NULL;
}

char* fetch_text(runner* r, text_call call, void* object) {
  sage_error error = no_error();
  uint64_t needed = 0;
  if (!succeeded(r, call(object, NULL, 0, &needed, &error), &error)) return NULL;
  char* text = malloc(needed);
  need(text != NULL, "out of memory");
  if (succeeded(r, call(object, text, needed, &needed, &error), &error)) return text;
  free(text);
  return NULL;
}

bool is_json_with(const char* text, const char* part) {
  const size_t size = strlen(text);
  return size >= 2 && text[0] == '{' && text[size - 1] == '}' && strstr(text, part) != NULL;
}

static void print_constants(const char* folder) {
  size_t size = 0;
  char *text = read_file(folder, "constants.txt", &size), *next = text;
  while (next[0] != '\0') {
    char* line = next;
    next += strcspn(next, "\n");
    if (*next != '\0') *next++ = '\0';
    const words w = split_words(line);
    need(w.count == 3 && strcmp(w.word[0], "constant") == 0, "constants.txt: a line is not `constant NAME VALUE`");
    uint64_t value = 0;
    char* said = find_constant(w.word[1], &value)
                     ? format_text("constant %s %llu\n", w.word[1], (unsigned long long)value)
                     : format_text("constant %s missing\n", w.word[1]);
    print_text(said);
    free(said);
  }
  free(text);
}

static void take_step(runner* r, const words* w) {
  sage_error error = no_error();
  if (strcmp(w->word[0], "case") == 0) {
    begin_case(r, w->word[1]);
  } else if (strcmp(w->word[0], "option") == 0) {
    succeeded(r, sage_options_set(r->engine_options, w->word[1], w->word[2], &error), &error);
  } else if (strcmp(w->word[0], "plan_option") == 0) {
    succeeded(r, sage_options_set(r->plan_options, w->word[1], w->word[2], &error), &error);
  } else if (strcmp(w->word[0], "scenario") == 0) {
    run_scenario(r, w->word[1]);
  } else {
    need(attention_step(r, w) || model_step(r, w) || sparse_step(r, w) || quantize_step(r, w), w->word[0]);
  }
}

int main(int argc, char** argv) {
  need(argc == 3, "usage: conformance FOLDER PLUGIN");
  runner r = {.folder = argv[1], .plugin = argv[2]};
  print_constants(r.folder);
  size_t size = 0;
  char *text = read_file(r.folder, "conformance.txt", &size), *next = text;
  int lines = 0;
  while (next[0] != '\0') {
    char* line = next;
    next += strcspn(next, "\n");
    if (*next != '\0') *next++ = '\0';
    if (++lines == 1) need(strcmp(line, "sage-vectors 1") == 0, "conformance.txt is of another version than 1");
    if (lines == 1 || line[0] == '\0' || line[0] == '#') continue;
    char* whole = format_text("%s", line);
    words w = split_words(line);
    w.rest = whole + strcspn(whole, " ");
    if (w.rest[0] == ' ') ++w.rest;
    take_step(&r, &w);
    free(whole);
  }
  end_case(&r);
  free(text);
  print_digest();
  return 0;
}
