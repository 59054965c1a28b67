/* q15.c: attention over 16-bit fixed point codes, as a program without floats has them: numbers in [-1, 1), value =
 * code / 32768, in and out.
 *
 *   cc q15.c $(pkg-config --cflags --libs sage-engine) -lm && ./a.out
 *
 * Prints who computed and how far it is from floats. Exit code 0: no farther than 2^-11. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "sage/sage.h"

enum { HEADS = 2, QUERIES = 3, KEYS = 50, DIM = 16 };

static int16_t q[HEADS][QUERIES][DIM], k[HEADS][KEYS][DIM], v[HEADS][KEYS][DIM], o[HEADS][QUERIES][DIM];

static void fill(int16_t* codes, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    codes[i] = (int16_t)((int32_t)(seed >> 16) - 32768);
  }
}

/* One number of O in floats. */
static double exact(int h, int i, int c) {
  double sum = 0, out = 0;
  for (int j = 0; j < KEYS; ++j) {
    double score = 0, weight;
    for (int d = 0; d < DIM; ++d) score += (double)q[h][i][d] / 32768 * ((double)k[h][j][d] / 32768);
    weight = exp(score / sqrt(DIM));
    sum += weight, out += weight * (double)v[h][j][c] / 32768;
  }
  return out / sum;
}

int main(void) {
  const int64_t rows[4] = {1, HEADS, QUERIES, DIM}, keys[4] = {1, HEADS, KEYS, DIM}, one = 1;
  float step = 1.0f / 32768; /* of Q, K, V and O: pure Q15 */
  sage_tensor tq, tk, tv, to, scale;
  const sage_tensor* slots[SAGE_ATTN_SCALE_O + 1] = {&tq, &tk, &tv, &to};
  sage_attention_attributes attributes = {.struct_size = sizeof attributes,
                                          .granularity_q = SAGE_PER_TENSOR,
                                          .granularity_k = SAGE_PER_TENSOR,
                                          .granularity_v = SAGE_PER_TENSOR,
                                          .granularity_o = SAGE_PER_TENSOR};
  const sage_op op = {.struct_size = sizeof op,
                      .kind = SAGE_OP_ATTENTION,
                      .num_slots = SAGE_ATTN_SCALE_O + 1,
                      .attributes = &attributes,
                      .slots = slots};
  sage_error error = {.struct_size = sizeof error};
  sage_engine* engine = NULL;
  sage_attention_plan* plan = NULL;
  sage_attention_context* context = NULL;
  double farthest = 0;

  fill(&q[0][0][0], sizeof q / sizeof(int16_t), 1), fill(&k[0][0][0], sizeof k / sizeof(int16_t), 2);
  fill(&v[0][0][0], sizeof v / sizeof(int16_t), 3);
  sage_tensor_init(&tq, SAGE_I16, 4, rows, q), sage_tensor_init(&tk, SAGE_I16, 4, keys, k);
  sage_tensor_init(&tv, SAGE_I16, 4, keys, v), sage_tensor_init(&to, SAGE_I16, 4, rows, o);
  sage_tensor_init(&scale, SAGE_F32, 1, &one, &step);
  slots[SAGE_ATTN_SCALE_Q] = slots[SAGE_ATTN_SCALE_K] = slots[SAGE_ATTN_SCALE_V] = slots[SAGE_ATTN_SCALE_O] = &scale;

  if (sage_engine_create(NULL, &engine, &error) != SAGE_OK ||
      sage_attention_plan_create(engine, &op, NULL, &plan, &error) != SAGE_OK ||
      sage_attention_context_create(plan, &context, &error) != SAGE_OK ||
      sage_attention_run(context, slots, op.num_slots, NULL, &error) != SAGE_OK) {
    fprintf(stderr, "q15: %s\n", error.message);
    return 1;
  }
  for (int h = 0; h < HEADS; ++h)
    for (int i = 0; i < QUERIES; ++i)
      for (int c = 0; c < DIM; ++c) farthest = fmax(farthest, fabs((double)o[h][i][c] / 32768 - exact(h, i, c)));
  printf("computed by %s; the largest error is %.2g, 2^-11 is %.2g\n", sage_attention_plan_backend(plan), farthest,
         1.0 / 2048);
  sage_attention_context_destroy(context);
  sage_attention_plan_destroy(plan);
  sage_engine_destroy(engine);
  return farthest <= 1.0 / 2048 ? 0 : 1;
}
