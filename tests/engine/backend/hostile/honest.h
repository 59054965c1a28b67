/* honest.h: the smallest backend that keeps the whole contract: RELU and GELU of row-major f32.
 *
 * Each hostile plugin defines one fault and includes this, so that what is caught is that fault and nothing else.
 */
#ifndef SAGE_TESTS_HOSTILE_HONEST_H_
#define SAGE_TESTS_HOSTILE_HONEST_H_
#include <math.h>
#include <stddef.h>

#include "sage/support/refuse.h"

#ifndef NAME
#define NAME "honest"
#endif
#ifndef STRUCT_SIZE
#define STRUCT_SIZE sizeof(sage_plugin)
#endif
#ifndef MAJOR
#define MAJOR SAGE_ABI_MAJOR
#endif
#ifndef MINOR_MIN
#define MINOR_MIN 0
#endif
#ifndef RUN
#define RUN run
#endif
#ifndef ENTRY
#define ENTRY sage_plugin_query_v1
#endif
/* Hooks: statements at the place their name says. */
#ifndef ON_ASK /* answer is `mine` */
#define ON_ASK
#endif
#ifndef ON_PLAN /* info is `mine` */
#define ON_PLAN
#endif
#ifndef ON_RUN /* args, x, y, count */
#define ON_RUN
#endif
#ifndef ON_CREATE
#define ON_CREATE
#endif

#define WORKSPACE 64

struct sage_instance {
  const sage_host* host;
};
struct sage_plan {
  const sage_host* host;
  sage_tensor x, y;
  uint32_t function;
};

static int row_major(const sage_tensor* t) {
  int64_t step = 1;
  for (uint32_t axis = t->rank; axis-- > 0;) {
    if (t->shape[axis] < 0 || (t->shape[axis] > 1 && t->stride[axis] != step)) return 0;
    step *= t->shape[axis] > 1 ? t->shape[axis] : 1;
    if (step > 1 << 30) return 0;
  }
  return 1;
}

/* Null = served; the plan then holds what run needs. */
static const char* refusal(const sage_op* theirs, sage_plan* plan) {
  sage_op op;
  sage_unary_attributes attributes;
  if (sage_take_in(&op, sizeof op, theirs) != SAGE_OK) return "the op has a field newer than this plugin";
  if (op.kind != SAGE_OP_UNARY) return "only UNARY";
  if (op.attributes == NULL || sage_take_in(&attributes, sizeof attributes, op.attributes) != SAGE_OK)
    return "the attributes are absent or have a field newer than this plugin";
  if (attributes.function != SAGE_FN_RELU && attributes.function != SAGE_FN_GELU) return "only RELU and GELU";
  if ((op.requirements & ~(uint32_t)(SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_SCALAR)) != 0)
    return "a requirement that is not served";
  if (op.dynamic_axes != 0 || op.aliases != 0) return "no dynamic axes, nothing in place";
  for (uint32_t slot = 2; slot < op.num_slots; ++slot)
    if (op.slots[slot] != NULL) return "a slot newer than this plugin";
  if (op.num_slots < 2 || sage_take_in(&plan->x, sizeof plan->x, op.slots[0]) != SAGE_OK ||
      sage_take_in(&plan->y, sizeof plan->y, op.slots[1]) != SAGE_OK)
    return "X or Y is absent or has a field newer than this plugin";
  if (plan->x.dtype != SAGE_F32 || plan->y.dtype != SAGE_F32) return "only f32";
  if (plan->x.rank > SAGE_MAX_RANK || plan->x.rank != plan->y.rank || !row_major(&plan->x) || !row_major(&plan->y) ||
      memcmp(plan->x.shape, plan->y.shape, sizeof plan->x.shape) != 0)
    return "only row-major tensors of one shape";
  if (plan->x.device_type > SAGE_CPU || plan->y.device_type > SAGE_CPU) return "only the CPU";
  plan->function = attributes.function;
  return NULL;
}

static sage_status probe(const sage_host* host, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err) {
  sage_answer mine = {sizeof mine, SAGE_YES, 0, 0, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, 0, "runs anywhere"};
  (void)host, (void)device_id;
  *count = 1;
  sage_give_out(out, &mine, sizeof mine);
  return sage_succeed(err);
}

static sage_status create(const sage_host* host, int32_t device_id, const char* options, sage_instance** out,
                          sage_error* err) {
  void* memory = NULL;
  (void)device_id;
  *out = NULL;
  if (options != NULL && options[0] != '\0') return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "it has no options");
  ON_CREATE
  sage_status status = host->alloc(host->self, SAGE_CPU, 0, sizeof(sage_instance), 64, &memory, err);
  if (status != SAGE_OK) return status;
  *out = (sage_instance*)memory;
  (*out)->host = host;
  return sage_succeed(err);
}

static void destroy(sage_instance* instance) { instance->host->free(instance->host->self, SAGE_CPU, 0, instance); }

static sage_status ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) {
  sage_answer mine = {sizeof mine, SAGE_YES, 0, 1000, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, WORKSPACE, "one loop"};
  sage_plan plan;
  const char* why = refusal(op, &plan);
  (void)instance;
  if (why != NULL) sage_refuse(&mine, 0, "%s", why);
  ON_ASK
  sage_give_out(out, &mine, sizeof mine);
  return sage_succeed(err);
}

static sage_status plan(sage_instance* instance, const sage_op* op, const sage_plan* like, sage_plan** out,
                        sage_plan_info* info, sage_error* err) {
  const sage_host* host = instance->host;
  sage_plan_info mine = {.struct_size = sizeof mine, .workspace_bytes = WORKSPACE};
  sage_plan made;
  void* memory = NULL;
  const char* why = refusal(op, &made);
  (void)like;
  *out = NULL;
  if (why != NULL) return sage_fail(err, SAGE_E_UNSUPPORTED, "%s", why);
  sage_status status = host->alloc(host->self, SAGE_CPU, 0, sizeof made, 64, &memory, err);
  if (status != SAGE_OK) return status;
  made.host = host;
  memcpy(memory, &made, sizeof made);
  *out = (sage_plan*)memory;
  ON_PLAN
  sage_give_out(info, &mine, sizeof mine);
  return sage_succeed(err);
}

static void plan_destroy(sage_plan* plan) { plan->host->free(plan->host->self, SAGE_CPU, 0, plan); }

static int same(const sage_tensor* planned, const sage_tensor* given) {
  return given != NULL && given->dtype == planned->dtype && given->rank == planned->rank &&
         memcmp(given->shape, planned->shape, sizeof planned->shape) == 0 &&
         memcmp(given->stride, planned->stride, sizeof planned->stride) == 0 && given->data != NULL;
}

static sage_status run(const sage_plan* plan, const sage_run_args* args, sage_error* err) {
  int64_t count = 1;
  if (args->num_slots < 2 || !same(&plan->x, args->slots[0]) || !same(&plan->y, args->slots[1]))
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "the slots are not as planned");
  const char* x = (const char*)args->slots[0]->data;
  char* y = (char*)args->slots[1]->data;
  for (uint32_t axis = 0; axis < plan->x.rank; ++axis) count *= plan->x.shape[axis];
  for (int64_t i = 0; i < count; ++i) {
    float value;
    memcpy(&value, x + i * 4, 4);
    if (plan->function == SAGE_FN_RELU) value = value > 0 || isnan(value) ? value : 0;
    if (plan->function == SAGE_FN_GELU) value = (float)(0.5 * value * (1 + erf(value * 0.70710678118654752440)));
    memcpy(y + i * 4, &value, 4);
  }
  ON_RUN
  return sage_succeed(err);
}

static const sage_plugin table = {.struct_size = STRUCT_SIZE,
                                  .abi_major = MAJOR,
                                  .abi_minor = MINOR_MIN > SAGE_ABI_MINOR ? MINOR_MIN : SAGE_ABI_MINOR,
                                  .abi_minor_min = MINOR_MIN,
                                  .name = NAME,
                                  .version = "1.0.0",
                                  .build = "a test fixture",
                                  .kinds = SAGE_KIND_BIT(SAGE_OP_UNARY),
                                  .device_type = SAGE_CPU,
                                  .probe = probe,
                                  .create = create,
                                  .destroy = destroy,
                                  .ask = ask,
                                  .plan = plan,
                                  .plan_destroy = plan_destroy,
                                  .run = RUN};

__attribute__((visibility("default"))) const sage_plugin* ENTRY(uint32_t host_major, uint32_t host_minor);
const sage_plugin* ENTRY(uint32_t host_major, uint32_t host_minor) {
  (void)host_minor;
  return host_major == SAGE_ABI_MAJOR ? &table : NULL;
}

#endif
