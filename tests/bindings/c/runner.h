/* runner.h: the conformance runner of the C API. tests/vectors/README.md says what it does; this is its state and its
 * parts. It includes nothing of the engine but its public headers, and is what the runners of the bindings are compared
 * with. */
#ifndef TESTS_BINDINGS_C_RUNNER_H_
#define TESTS_BINDINGS_C_RUNNER_H_
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sage/ops.h"
#include "sage/quantize.h"
#include "sage/sparse.h"

/* ---- text.c: lines in, lines out ---- */

#define MAX_WORDS 32
typedef struct words {
  char* word[MAX_WORDS];
  int count;
  const char* rest; /* of the line, after the first word; its own copy */
} words;

void hash_bytes(uint64_t* hash, const void* bytes, size_t size);
uint64_t hash_of(const void* bytes, size_t size);
void print_text(const char* text); /* counted into the digest */
void print_digest(void);
char* format_list(const char* format, va_list arguments) __attribute__((format(printf, 1, 0)));
char* format_text(const char* format, ...) __attribute__((format(printf, 1, 2))); /* to be freed */
char* read_file(const char* folder, const char* name, size_t* size); /* NUL behind it; exits if it cannot */
words split_words(char* line);
sage_dtype dtype_of(const char* name);
const char* dtype_name(sage_dtype dtype);
uint64_t dtype_bytes(sage_dtype dtype);
uint32_t parse_shape(const char* text, int64_t* shape);
uint64_t element_count(uint32_t rank, const int64_t* shape);
size_t parse_hex(const char* text, unsigned char* to); /* bytes; to may be null */
/* A constant by its name in C. */
bool find_constant(const char* name, uint64_t* value);

/* ---- the state of a case ---- */

typedef struct block {
  struct block* next;
  char bytes[];
} block;

typedef struct runner {
  const char *folder, *plugin; /* as given */
  char* name;                  /* of the case */
  block* blocks;               /* memory that lives as long as the case */
  uint64_t place;

  sage_options *engine_options, *plan_options;
  sage_engine* engine;
  bool engine_failed;

  sage_op op;
  sage_attention_attributes attributes;
  sage_tensor tensors[SAGE_ATTN_NUM_SLOTS];
  const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS];
  bool is_result[SAGE_ATTN_NUM_SLOTS];
  sage_attention_plan* plan;

  sage_model* model;
  sage_session* session;
  char* bound[4]; /* outputs, where they were bound */
  char* snapshot;
  uint64_t snapshot_bytes;
  sage_gate_decision decision;
} runner;

/* ---- runner.c ---- */

char* room(runner* r, uint64_t bytes); /* filled with a5; freed with the case */
void begin_case(runner* r, const char* name);
void end_case(runner* r);
void say(runner* r, const char* format, ...) __attribute__((format(printf, 2, 3))); /* a line of the case */
sage_error no_error(void);
/* Prints the status and message; true on SAGE_OK, of which nothing is printed. */
bool succeeded(runner* r, sage_status status, const sage_error* error);
void need(bool condition, const char* what); /* exits: the runner itself is at a loss */
sage_engine* engine_of(runner* r);           /* made at first need; null: the step is over */
bool skip_without(runner* r, const void* object);
/* A text of the library, by (buffer, capacity, needed); null after an error that was printed. */
typedef sage_status (*text_call)(void* object, char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error);
char* fetch_text(runner* r, text_call call, void* object);
bool is_json_with(const char* text, const char* part);

/* ---- the steps: false = not one of these ---- */

bool attention_step(runner* r, const words* w);
bool model_step(runner* r, const words* w);
bool sparse_step(runner* r, const words* w);
bool quantize_step(runner* r, const words* w);
void say_bytes(runner* r, const char* what, const void* bytes, uint64_t size); /* "what H first" */
void run_scenario(runner* r, const char* name);

#endif
