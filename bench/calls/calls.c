/* calls.c: what the smallest attention costs from C: the yardstick of bench/calls/run.
 *
 *   calls ROUNDS ITERATIONS    prints a line a round: `flat NS run NS`, nanoseconds a call of sage_attention and of
 *                              sage_attention_run, f32 with one query, one key, one head of 8; one thread
 */
#include <sage/ops.h>
#include <sage/sage.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void must(sage_status status, const sage_error* error) {
  if (status == SAGE_OK) return;
  fprintf(stderr, "calls: %s\n", error->message);
  exit(1);
}

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc != 3) return fprintf(stderr, "usage: calls ROUNDS ITERATIONS\n"), 2;
  const int rounds = atoi(argv[1]), iterations = atoi(argv[2]);
  sage_error error = {.struct_size = sizeof error};
  sage_options* options = NULL;
  must(sage_options_create(&options, &error), &error);
  must(sage_options_set(options, "threads", "1", &error), &error);
  sage_engine* engine = NULL;
  must(sage_engine_create(options, &engine, &error), &error);
  sage_options_destroy(options);

  float q[8] = {1}, k[8] = {1}, v[8] = {1, 2, 3, 4, 5, 6, 7, 8}, o[8] = {0};
  const int64_t shape[4] = {1, 1, 1, 8};
  sage_tensor tensors[4];
  const sage_tensor* slots[4];
  float* const data[4] = {q, k, v, o};
  for (int i = 0; i < 4; ++i) sage_tensor_init(&tensors[i], SAGE_F32, 4, shape, data[i]), slots[i] = &tensors[i];
  sage_attention_attributes attributes = {.struct_size = sizeof attributes};
  const sage_op op = {
      .struct_size = sizeof op, .kind = SAGE_OP_ATTENTION, .num_slots = 4, .attributes = &attributes, .slots = slots};
  sage_attention_plan* plan = NULL;
  sage_attention_context* context = NULL;
  must(sage_attention_plan_create(engine, &op, NULL, &plan, &error), &error);
  must(sage_attention_context_create(plan, &context, &error), &error);

  for (int round = -1; round < rounds; ++round) { /* the first warms up */
    const double begin = now_ns();
    for (int i = 0; i < iterations; ++i)
      must(sage_attention(engine, SAGE_F32, 0, 1, 1, 1, 1, 1, 8, 8, q, k, v, o, 0, 0, &error), &error);
    const double middle = now_ns();
    for (int i = 0; i < iterations; ++i) must(sage_attention_run(context, slots, 4, NULL, &error), &error);
    const double end = now_ns();
    if (round >= 0) printf("flat %.1f run %.1f\n", (middle - begin) / iterations, (end - middle) / iterations);
  }
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
  return o[7] == 8 ? 0 : 1;
}
