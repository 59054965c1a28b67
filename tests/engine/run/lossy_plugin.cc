// lossy_plugin.cc: a backend for tests of accuracy: attention in class LOSSY, cheaper than anybody, whose weights are
// rounded to multiples of 1 / levels (its option "levels", 0 = not at all). f32 or f64 [B,H,S,D] of any strides, with
// bias, LSE and weights out. levels=-1: NaN in the first element of O.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "sage/support/refuse.h"

struct sage_instance {
  double levels;
};

struct sage_plan {
  double levels, scale;
};

namespace {

constexpr uint64_t kServed = SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_BIAS | SAGE_ATTN_F_LSE |
                             SAGE_ATTN_F_WEIGHTS_OUT | SAGE_ATTN_F_DV_DIFFERS | SAGE_ATTN_F_HV_DIFFERS;

sage_status Probe(const sage_host*, int32_t, uint32_t* count, sage_answer* out, sage_error* err) {
  *count = 1;
  sage_refuse(out, 0, "runs anywhere");
  out->verdict = SAGE_YES;
  return sage_succeed(err);
}

sage_status Create(const sage_host*, int32_t, const char* options, sage_instance** out, sage_error* err) {
  double levels = 16;
  if (options != nullptr && std::strncmp(options, "levels=", 7) == 0) levels = std::strtod(options + 7, nullptr);
  *out = new (std::nothrow) sage_instance{levels};
  return *out != nullptr ? sage_succeed(err) : sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory");
}

void Destroy(sage_instance* instance) { delete instance; }

const char* Refusal(const sage_op& op) {
  if (op.kind != SAGE_OP_ATTENTION) return "only ATTENTION";
  const auto& attributes = *static_cast<const sage_attention_attributes*>(op.attributes);
  if (op.aliases != 0 || (attributes.features & ~kServed) != 0 || attributes.softcap > 0) return "a feature";
  for (uint32_t slot = 0; slot < op.num_slots; ++slot) {
    const sage_tensor* tensor = op.slots[slot];
    if (tensor == nullptr) continue;
    const bool known = slot <= SAGE_ATTN_BIAS || slot == SAGE_ATTN_WEIGHTS;
    if (!known || (tensor->dtype != SAGE_F32 && tensor->dtype != SAGE_F64)) return "a slot or a dtype";
    if (slot <= SAGE_ATTN_O && tensor->rank != 4) return "packed rows";
  }
  return nullptr;
}

sage_status Ask(sage_instance*, const sage_op* op, sage_answer* out, sage_error* err) {
  const char* why = Refusal(*op);
  sage_refuse(out, 0, "%s", why != nullptr ? why : "weights in steps");
  if (why != nullptr) return sage_succeed(err);
  out->verdict = SAGE_YES;
  out->cost_ns = 1;
  out->cost_source = SAGE_COST_RULE;
  out->accuracy = SAGE_ACCURACY_LOSSY;
  return sage_succeed(err);
}

sage_status MakePlan(sage_instance* instance, const sage_op* op, const sage_plan*, sage_plan** out,
                     sage_plan_info* info, sage_error* err) {
  const auto& attributes = *static_cast<const sage_attention_attributes*>(op->attributes);
  const bool given = (attributes.features & SAGE_ATTN_F_SCALE) != 0;
  const double scale = given ? attributes.scale : 1 / std::sqrt(static_cast<double>(op->slots[SAGE_ATTN_Q]->shape[3]));
  *out = new (std::nothrow) sage_plan{instance->levels, scale};
  if (*out == nullptr) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory");
  info->workspace_bytes = 0;
  info->prepack_bytes = 0;
  return sage_succeed(err);
}

void DestroyPlan(sage_plan* plan) { delete plan; }

unsigned char* At(const sage_tensor& tensor, int64_t a, int64_t b, int64_t c, int64_t d) {
  const int64_t element =
      a * tensor.stride[0] + b * tensor.stride[1] + c * tensor.stride[2] + (tensor.rank > 3 ? d * tensor.stride[3] : 0);
  return static_cast<unsigned char*>(tensor.data) + element * (tensor.dtype == SAGE_F64 ? 8 : 4);
}

double Load(const sage_tensor& tensor, int64_t a, int64_t b, int64_t c, int64_t d) {
  if (tensor.dtype == SAGE_F64) {
    double value;
    std::memcpy(&value, At(tensor, a, b, c, d), sizeof value);
    return value;
  }
  float value;
  std::memcpy(&value, At(tensor, a, b, c, d), sizeof value);
  return static_cast<double>(value);
}

void Store(const sage_tensor& tensor, int64_t a, int64_t b, int64_t c, int64_t d, double value) {
  const auto narrow = static_cast<float>(value);
  tensor.dtype == SAGE_F64 ? std::memcpy(At(tensor, a, b, c, d), &value, sizeof value)
                           : std::memcpy(At(tensor, a, b, c, d), &narrow, sizeof narrow);
}

void Row(const sage_plan& plan, const sage_tensor* const* slots, uint32_t num_slots, int64_t b, int64_t h, int64_t i) {
  const sage_tensor &q = *slots[SAGE_ATTN_Q], &k = *slots[SAGE_ATTN_K], &v = *slots[SAGE_ATTN_V];
  const auto optional = [&](uint32_t slot) { return slot < num_slots ? slots[slot] : nullptr; };
  const sage_tensor *bias = optional(SAGE_ATTN_BIAS), *lse = optional(SAGE_ATTN_LSE),
                    *out = optional(SAGE_ATTN_WEIGHTS);
  const int64_t of_k = h / (q.shape[1] / k.shape[1]), of_v = h / (q.shape[1] / v.shape[1]);
  std::vector<double> p(static_cast<size_t>(k.shape[2]));
  double largest = -INFINITY, sum = 0;
  for (int64_t j = 0; j < k.shape[2]; ++j) {
    double score = 0;
    for (int64_t d = 0; d < q.shape[3]; ++d) score += Load(q, b, h, i, d) * Load(k, b, of_k, j, d);
    score = score * plan.scale + (bias != nullptr ? Load(*bias, b, h, i, j) : 0);
    p[static_cast<size_t>(j)] = score;
    largest = std::max(largest, score);
  }
  for (double& weight : p) sum += weight = largest == -INFINITY ? 0 : std::exp(weight - largest);
  if (lse != nullptr) Store(*lse, b, h, i, 0, sum == 0 ? -INFINITY : largest + std::log(sum));
  for (double& weight : p) {
    weight = sum == 0 ? 0 : weight / sum;
    if (plan.levels > 0) weight = std::nearbyint(weight * plan.levels) / plan.levels;
  }
  for (int64_t j = 0; out != nullptr && j < k.shape[2]; ++j) Store(*out, b, h, i, j, p[static_cast<size_t>(j)]);
  for (int64_t d = 0; d < v.shape[3]; ++d) {
    double value = 0;
    for (int64_t j = 0; j < k.shape[2]; ++j) value += p[static_cast<size_t>(j)] * Load(v, b, of_v, j, d);
    Store(*slots[SAGE_ATTN_O], b, h, i, d, plan.levels < 0 && b + h + i + d == 0 ? NAN : value);
  }
}

sage_status Run(const sage_plan* plan, const sage_run_args* args, sage_error* err) {
  const sage_tensor& q = *args->slots[SAGE_ATTN_Q];
  for (int64_t b = 0; b < q.shape[0]; ++b)
    for (int64_t h = 0; h < q.shape[1]; ++h)
      for (int64_t i = 0; i < q.shape[2]; ++i) Row(*plan, args->slots, args->num_slots, b, h, i);
  return sage_succeed(err);
}

const sage_plugin kTable = {sizeof(sage_plugin),
                            SAGE_ABI_MAJOR,
                            SAGE_ABI_MINOR,
                            0,
                            "lossy",
                            "1.0.0",
                            "for tests",
                            nullptr,
                            SAGE_KIND_BIT(SAGE_OP_ATTENTION),
                            kServed,
                            SAGE_CPU,
                            0,
                            Probe,
                            Create,
                            Destroy,
                            nullptr,
                            Ask,
                            MakePlan,
                            DestroyPlan,
                            Run};

}  // namespace

SAGE_PLUGIN_ENTRY(lossy) {
  (void)host_minor;
  return host_major == SAGE_ABI_MAJOR ? &kTable : nullptr;
}
