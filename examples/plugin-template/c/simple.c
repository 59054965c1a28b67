/* simple.c: a whole backend: attention in f32 with scale, causal masks, grouped heads, LSE and any strides. Copy it,
 * rename it, replace run(). What it does not serve it refuses with a sentence, which is the better half of a backend.
 */
#include <math.h>
#include <string.h>

#include "sage/attention.h"
#include "sage/support/refuse.h"

#define SERVED                                                                                             \
  (SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT | SAGE_ATTN_F_LSE | \
   SAGE_ATTN_F_DV_DIFFERS | SAGE_ATTN_F_HV_DIFFERS)

struct sage_instance {
  const sage_host* host;
};
struct sage_plan {
  const sage_host* host;
  uint64_t features;
  double scale;
  int64_t row;      /* doubles of workspace a worker has: a row of scores */
  uint32_t slots;   /* in use: Q, K, V, O and perhaps LSE */
  sage_tensor t[5]; /* as planned */
};

/* Every refusal, in the order of checking; null = served, and `plan` holds what run needs. Shapes, dtypes and slots of
 * an op were checked by the host before it asks; what is left is what this backend can do. */
static const char* refusal(const sage_host* host, const sage_op* theirs, sage_plan* plan, uint64_t* blocking) {
  sage_op op;
  sage_attention_attributes attributes;
  memset(&attributes, 0, sizeof attributes);
  if (sage_take_in(&op, sizeof op, theirs) != SAGE_OK) return "the op has a field newer than this backend";
  if (op.kind != SAGE_OP_ATTENTION) return "it serves attention only";
  if (op.attributes != NULL && sage_take_in(&attributes, sizeof attributes, op.attributes) != SAGE_OK)
    return "the attributes have a field newer than this backend";
  uint64_t features = 0;
  if (host->attention_features(host->self, theirs, &features, NULL) != SAGE_OK) return "its features cannot be told";
  if ((*blocking = features & ~(uint64_t)SERVED) != 0) return "it serves scale, causal masks and grouped heads only";
  if ((op.requirements & ~(uint32_t)(SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_SCALAR)) != 0) return "it has no stream";
  if (op.dynamic_axes != 0 || op.aliases != 0) return "its shapes are fixed, and it writes nothing in place";
  if (attributes.algorithm == SAGE_ALGORITHM_FLASH || attributes.block_q != 0 || attributes.block_kv != 0)
    return "it keeps whole rows of scores and has no tiles";
  plan->slots = (features & SAGE_ATTN_F_LSE) != 0 ? 5 : 4;
  for (uint32_t slot = 0; slot < plan->slots; ++slot) {
    sage_tensor* t = &plan->t[slot];
    if (slot >= op.num_slots || sage_take_in(t, sizeof *t, op.slots[slot]) != SAGE_OK)
      return "a tensor is missing or has a field newer than this backend";
    if (t->dtype != SAGE_F32 || t->device_type > SAGE_CPU) return "it serves f32 in CPU memory only";
  }
  plan->host = host, plan->features = features, plan->row = plan->t[SAGE_ATTN_K].shape[2];
  plan->scale =
      (features & SAGE_ATTN_F_SCALE) != 0 ? attributes.scale : 1 / sqrt((double)plan->t[SAGE_ATTN_Q].shape[3]);
  return NULL;
}

static uint64_t workspace(const sage_plan* plan) { return (uint64_t)plan->host->num_workers * (uint64_t)plan->row * 8; }

static sage_status probe(const sage_host* host, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err) {
  sage_answer mine;
  (void)host, (void)device_id;
  sage_accept(&mine, 0, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, 0, "runs on any processor");
  *count = 1;
  sage_give_out(out, &mine, sizeof mine);
  return sage_succeed(err);
}

static sage_status create(const sage_host* host, int32_t device_id, const char* options, sage_instance** out,
                          sage_error* err) {
  void* memory = NULL;
  (void)device_id;
  *out = NULL;
  if (options != NULL && options[0] != '\0') return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "simple has no options");
  const sage_status status = host->alloc(host->self, SAGE_CPU, 0, sizeof **out, 64, &memory, err);
  if (status != SAGE_OK) return status;
  *out = memory;
  (*out)->host = host;
  return sage_succeed(err);
}

static void destroy(sage_instance* instance) { instance->host->free(instance->host->self, SAGE_CPU, 0, instance); }

static sage_status ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) {
  sage_answer mine;
  sage_plan plan;
  uint64_t blocking = 0;
  const char* why = refusal(instance->host, op, &plan, &blocking);
  if (why != NULL) {
    sage_refuse(&mine, blocking, "%s", why);
  } else {
    const sage_tensor *q = op->slots[SAGE_ATTN_Q], *v = op->slots[SAGE_ATTN_V];
    const double pairs = (double)(q->shape[0] * q->shape[1] * q->shape[2]) * (double)plan.row;
    sage_accept(&mine, 1000 + pairs * (double)(q->shape[3] + v->shape[3] + 10), SAGE_COST_RULE, SAGE_ACCURACY_EXACT,
                workspace(&plan), "rows of scores in double, one after the other");
  }
  sage_give_out(out, &mine, sizeof mine);
  return sage_succeed(err);
}

static sage_status make_plan(sage_instance* instance, const sage_op* op, const sage_plan* like, sage_plan** out,
                             sage_plan_info* info, sage_error* err) {
  const sage_host* host = instance->host;
  sage_plan made;
  sage_plan_info mine = {.struct_size = sizeof mine};
  uint64_t blocking = 0;
  void* memory = NULL;
  const char* why = refusal(host, op, &made, &blocking);
  (void)like;
  *out = NULL;
  if (why != NULL) return sage_fail(err, SAGE_E_UNSUPPORTED, "simple: %s", why);
  const sage_status status = host->alloc(host->self, SAGE_CPU, 0, sizeof made, 64, &memory, err);
  if (status != SAGE_OK) return status;
  *out = memcpy(memory, &made, sizeof made);
  mine.workspace_bytes = workspace(&made);
  sage_give_out(info, &mine, sizeof mine);
  return sage_succeed(err);
}

static void plan_destroy(sage_plan* plan) { plan->host->free(plan->host->self, SAGE_CPU, 0, plan); }

/* Data may lie at any byte address, and strides may be 0 or negative. */
static char* at(const sage_tensor* t, int64_t a, int64_t b, int64_t c, int64_t d) {
  return (char*)t->data + 4 * (a * t->stride[0] + b * t->stride[1] + c * t->stride[2] + d * t->stride[3]);
}

static double read(const sage_tensor* t, int64_t a, int64_t b, int64_t c, int64_t d) {
  float value;
  memcpy(&value, at(t, a, b, c, d), sizeof value);
  return (double)value;
}

static void write(const sage_tensor* t, int64_t a, int64_t b, int64_t c, int64_t d, double number) {
  const float value = (float)number;
  memcpy(at(t, a, b, c, d), &value, sizeof value);
}

typedef struct job {
  const sage_plan* plan;
  const sage_run_args* args;
} job;

/* Query rows [begin,end), of all batches and heads; `worker` has a row of the workspace for itself. */
static void attend(void* context, uint64_t begin, uint64_t end, uint32_t worker) {
  const job* j = context;
  const sage_plan* plan = j->plan;
  const sage_tensor *q = j->args->slots[0], *k = j->args->slots[1], *v = j->args->slots[2], *o = j->args->slots[3];
  const int64_t heads = q->shape[1], rows = q->shape[2], keys = k->shape[2];
  double* p = (double*)j->args->workspace + (int64_t)worker * plan->row;
  for (int64_t n = (int64_t)begin; n < (int64_t)end; ++n) {
    if (plan->host->cancelled(plan->host->self, j->args->run)) return;
    const int64_t batch = n / (heads * rows), head = n / rows % heads, i = n % rows;
    const int64_t kh = head / (heads / k->shape[1]), vh = head / (heads / v->shape[1]);
    const int64_t shift = (plan->features & SAGE_ATTN_F_BOTTOM_RIGHT) != 0 ? keys - rows : 0;
    int64_t visible = keys;
    if ((plan->features & SAGE_ATTN_F_CAUSAL) != 0 && i + shift + 1 < keys)
      visible = i + shift + 1 < 0 ? 0 : i + shift + 1;
    double top = -INFINITY, sum = 0;
    for (int64_t key = 0; key < visible; ++key) {
      double dot = 0;
      for (int64_t d = 0; d < q->shape[3]; ++d) dot += read(q, batch, head, i, d) * read(k, batch, kh, key, d);
      p[key] = dot * plan->scale;
      top = p[key] > top || isnan(p[key]) ? p[key] : top;
    }
    for (int64_t key = 0; key < visible; ++key) sum += p[key] = top == -INFINITY ? 0 : exp(p[key] - top);
    for (int64_t d = 0; d < v->shape[3]; ++d) {
      double total = 0;
      for (int64_t key = 0; key < visible; ++key) total += p[key] * read(v, batch, vh, key, d);
      write(o, batch, head, i, d, sum == 0 ? 0 : total / sum);
    }
    if ((plan->features & SAGE_ATTN_F_LSE) != 0)
      write(j->args->slots[SAGE_ATTN_LSE], batch, head, i, 0, sum == 0 ? -INFINITY : top + log(sum));
  }
}

static int as_planned(const sage_tensor* planned, const sage_tensor* given) {
  int64_t count = 1;
  for (uint32_t axis = 0; axis < planned->rank; ++axis) count *= planned->shape[axis];
  return given != NULL && (given->data != NULL || count == 0) && given->dtype == planned->dtype &&
         given->rank == planned->rank && memcmp(given->shape, planned->shape, sizeof planned->shape) == 0 &&
         memcmp(given->stride, planned->stride, sizeof planned->stride) == 0;
}

static sage_status run(const sage_plan* plan, const sage_run_args* args, sage_error* err) {
  const sage_host* host = plan->host;
  for (uint32_t slot = 0; slot < plan->slots; ++slot)
    if (slot >= args->num_slots || !as_planned(&plan->t[slot], args->slots[slot]))
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "simple: slot %u is not as planned", slot);
  const sage_tensor* q = args->slots[SAGE_ATTN_Q];
  job j = {plan, args};
  if (args->workspace_bytes < workspace(plan))
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "simple: the workspace is too small");
  host->parallel_for(host->self, (uint64_t)(q->shape[0] * q->shape[1] * q->shape[2]), 4, attend, &j);
  if (host->cancelled(host->self, args->run)) return sage_fail(err, SAGE_E_CANCELLED, "simple: cancelled");
  return sage_succeed(err);
}

static const sage_plugin table = {.struct_size = sizeof table,
                                  .abi_major = SAGE_ABI_MAJOR,
                                  .abi_minor = SAGE_ABI_MINOR,
                                  .name = "simple",
                                  .version = "0.1.0",
                                  .build = "an example",
                                  .kinds = SAGE_KIND_BIT(SAGE_OP_ATTENTION),
                                  .features = SERVED,
                                  .device_type = SAGE_CPU,
                                  .probe = probe,
                                  .create = create,
                                  .destroy = destroy,
                                  .ask = ask,
                                  .plan = make_plan,
                                  .plan_destroy = plan_destroy,
                                  .run = run};

SAGE_PLUGIN_ENTRY(simple) {
  (void)host_minor;
  return host_major == SAGE_ABI_MAJOR ? &table : NULL;
}
