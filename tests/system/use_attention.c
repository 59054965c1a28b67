/* use_attention.c: what a C program does to have attention. It includes nothing of the engine but sage/sage.h, links
 * nothing but libsage, and checks every number against a naive loop. Exit code 0: all agree. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sage/sage.h"

enum { BATCH = 2, HEADS_Q = 6, HEADS_KV = 2, SEQ_Q = 5, SEQ_KV = 9, DIM = 16, DIM_V = 8 };

static int failures = 0;

static void require(int condition, const char* what, const sage_error* error) {
  if (condition) return;
  ++failures;
  fprintf(stderr, "FAILED: %s%s%s\n", what, error && error->message[0] ? ": " : "", error ? error->message : "");
}

static void fill(float* out, size_t count, unsigned seed) {
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    out[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
  }
}

/* [B,H,S,D] in place, in double; bottom_right: query i sees keys up to i + SEQ_KV - SEQ_Q. */
static double naive(const float* q, const float* k, const float* v, int b, int h, int i, int e, double scale,
                    int bottom_right) {
  const int g = h / (HEADS_Q / HEADS_KV);
  const int last = bottom_right ? i + SEQ_KV - SEQ_Q : SEQ_KV - 1;
  double scores[SEQ_KV], top = -INFINITY, sum = 0, out = 0;
  for (int j = 0; j <= last; ++j) {
    scores[j] = 0;
    for (int d = 0; d < DIM; ++d)
      scores[j] +=
          (double)q[((b * HEADS_Q + h) * SEQ_Q + i) * DIM + d] * (double)k[((b * HEADS_KV + g) * SEQ_KV + j) * DIM + d];
    scores[j] *= scale;
    if (scores[j] > top) top = scores[j];
  }
  for (int j = 0; j <= last; ++j) {
    const double p = exp(scores[j] - top);
    sum += p, out += p * (double)v[((b * HEADS_KV + g) * SEQ_KV + j) * DIM_V + e];
  }
  return out / sum;
}

static int agrees(const float* q, const float* k, const float* v, const float* o, double scale, int bottom_right) {
  for (int b = 0; b < BATCH; ++b)
    for (int h = 0; h < HEADS_Q; ++h)
      for (int i = 0; i < SEQ_Q; ++i)
        for (int e = 0; e < DIM_V; ++e)
          if (!(fabs((double)o[((b * HEADS_Q + h) * SEQ_Q + i) * DIM_V + e] -
                     naive(q, k, v, b, h, i, e, scale, bottom_right)) < 1e-5))
            return 0;
  return 1;
}

int main(void) {
  static float q[BATCH * HEADS_Q * SEQ_Q * DIM], k[BATCH * HEADS_KV * SEQ_KV * DIM];
  static float v[BATCH * HEADS_KV * SEQ_KV * DIM_V], o[BATCH * HEADS_Q * SEQ_Q * DIM_V];
  sage_error error = {.struct_size = sizeof error};
  sage_engine* engine = NULL;
  fill(q, sizeof q / sizeof *q, 1), fill(k, sizeof k / sizeof *k, 2), fill(v, sizeof v / sizeof *v, 3);

  require(sage_abi_version() == ((uint32_t)SAGE_ABI_MAJOR << 16 | SAGE_ABI_MINOR), "the library speaks our ABI", NULL);
  require(sage_engine_create(NULL, &engine, &error) == SAGE_OK, "an engine", &error);
  if (!engine) return 1;

  /* The flat call. */
  memset(o, 0x7f, sizeof o);
  require(sage_attention(engine, SAGE_F32, 0, BATCH, HEADS_Q, HEADS_KV, SEQ_Q, SEQ_KV, DIM, DIM_V, q, k, v, o, 0, 0,
                         &error) == SAGE_OK,
          "the flat call", &error);
  require(agrees(q, k, v, o, 0.25, 0), "the flat call's numbers", NULL);

  /* Described, planned once, run twice: causal from the bottom right, a scale of its own, LSE out. */
  {
    const int64_t sq[4] = {BATCH, HEADS_Q, SEQ_Q, DIM}, sk[4] = {BATCH, HEADS_KV, SEQ_KV, DIM};
    const int64_t sv[4] = {BATCH, HEADS_KV, SEQ_KV, DIM_V}, so[4] = {BATCH, HEADS_Q, SEQ_Q, DIM_V};
    sage_tensor tq, tk, tv, to;
    const sage_tensor* slots[4] = {&tq, &tk, &tv, &to};
    sage_attention_attributes attributes = {.struct_size = sizeof attributes,
                                            .alignment = SAGE_ALIGN_BOTTOM_RIGHT,
                                            .features = SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_SCALE,
                                            .scale = 0.125};
    sage_op op = {
        .struct_size = sizeof op, .kind = SAGE_OP_ATTENTION, .num_slots = 4, .attributes = &attributes, .slots = slots};
    sage_attention_plan* plan = NULL;
    sage_attention_context* context = NULL;
    uint64_t features = 0, needed = 0;
    char* text;
    sage_tensor_init(&tq, SAGE_F32, 4, sq, NULL), sage_tensor_init(&tk, SAGE_F32, 4, sk, NULL);
    sage_tensor_init(&tv, SAGE_F32, 4, sv, NULL), sage_tensor_init(&to, SAGE_F32, 4, so, NULL);
    require(sage_attention_features(&op, &features, &error) == SAGE_OK, "features", &error);
    require(features == (SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_SCALE | SAGE_ATTN_F_BOTTOM_RIGHT | SAGE_ATTN_F_GQA |
                         SAGE_ATTN_F_DV_DIFFERS),
            "the features' bits", NULL);
    require(sage_attention_plan_create(engine, &op, NULL, &plan, &error) == SAGE_OK, "a plan", &error);
    require(sage_attention_context_create(plan, &context, &error) == SAGE_OK, "a context", &error);
    if (!context) return 1;
    tq.data = q, tk.data = k, tv.data = v, to.data = o;
    for (int round = 0; round < 2; ++round) {
      memset(o, 0x7f, sizeof o);
      require(sage_attention_run(context, slots, 4, NULL, &error) == SAGE_OK, "a run", &error);
      require(agrees(q, k, v, o, 0.125, 1), "the run's numbers", NULL);
    }
    require(sage_attention_plan_explain(plan, NULL, 0, &needed, &error) == SAGE_OK && needed > 1,
            "the length of explain", &error);
    text = malloc(needed);
    if (!text) return 1;
    require(sage_attention_plan_explain(plan, text, needed - 1, &needed, &error) == SAGE_E_BUFFER_TOO_SMALL,
            "too small", NULL);
    require(sage_attention_plan_explain(plan, text, needed, &needed, &error) == SAGE_OK, "explain", &error);
    printf("%s\n", text);
    require(strstr(text, sage_attention_plan_backend(plan)) != NULL, "explain names the backend", NULL);
    require(strlen(text) + 1 == needed, "explain's length counts its NUL", NULL);
    free(text);
    /* Parents first: children hold what they need. */
    sage_engine_destroy(engine);
    sage_attention_plan_destroy(plan);
    require(sage_attention_run(context, slots, 4, NULL, &error) == SAGE_OK, "a run after the engine's handle is gone",
            &error);
    sage_attention_context_destroy(context);
  }
  return failures == 0 ? 0 : 1;
}
