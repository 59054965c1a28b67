// toy_plugin.cc: a backend for tests of the session: RELU on row-major f32, cheaper than anybody, and, by its option
// "mode", wrong, greedy, failing or waiting.
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "sage/support/refuse.h"

struct sage_instance {
  const sage_host* host;
  std::string mode;
};

struct sage_plan {
  const sage_instance* instance;
};

namespace {

constexpr uint64_t kWorkspace = 192;

sage_status Probe(const sage_host*, int32_t, uint32_t* count, sage_answer* out, sage_error* err) {
  *count = 1;
  sage_refuse(out, 0, "a toy runs anywhere");
  out->verdict = SAGE_YES;
  return sage_succeed(err);
}

sage_status Create(const sage_host* host, int32_t, const char* options, sage_instance** out, sage_error* err) {
  std::string mode = "good";
  if (options != nullptr && std::strncmp(options, "mode=", 5) == 0) {
    mode.assign(options + 5, std::strcspn(options + 5, "\n"));
  }
  *out = new (std::nothrow) sage_instance{host, mode};
  return *out != nullptr ? sage_succeed(err) : sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory");
}

void Destroy(sage_instance* instance) { delete instance; }

int64_t Elements(const sage_tensor& tensor) {
  int64_t count = 1;
  for (uint32_t i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
  return count;
}

bool RowMajor(const sage_tensor& tensor) {
  int64_t step = 1;
  for (uint32_t i = tensor.rank; i-- > 0;) {
    if (tensor.shape[i] > 1 && tensor.stride[i] != step) return false;
    step *= tensor.shape[i];
  }
  return true;
}

sage_status Ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) {
  const auto* attributes = static_cast<const sage_unary_attributes*>(op->attributes);
  if (op->kind != SAGE_OP_UNARY || attributes == nullptr || attributes->function != SAGE_FN_RELU) {
    sage_refuse(out, 0, "only RELU");
  } else if (op->slots[0]->dtype != SAGE_F32 || !RowMajor(*op->slots[0]) || !RowMajor(*op->slots[1])) {
    sage_refuse(out, 0, "only row-major f32");
  } else {
    sage_refuse(out, 0, "a toy in mode %s", instance->mode.c_str());
    out->verdict = SAGE_YES;
    out->cost_ns = 1;
    out->cost_source = SAGE_COST_RULE;
    out->accuracy = SAGE_ACCURACY_EXACT;
    out->workspace_bytes = kWorkspace;
  }
  return sage_succeed(err);
}

sage_status MakePlan(sage_instance* instance, const sage_op*, const sage_plan*, sage_plan** out, sage_plan_info* info,
                     sage_error* err) {
  if (instance->mode == "fail_plan") return sage_fail(err, SAGE_E_DEVICE, "the toy's spring is broken");
  *out = new (std::nothrow) sage_plan{instance};
  if (*out == nullptr) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory");
  info->workspace_bytes = kWorkspace;
  info->prepack_bytes = 0;
  return sage_succeed(err);
}

void DestroyPlan(sage_plan* plan) { delete plan; }

sage_status Run(const sage_plan* plan, const sage_run_args* args, sage_error* err) {
  const std::string& mode = plan->instance->mode;
  const sage_host* host = plan->instance->host;
  if (mode == "fail_run") return sage_fail(err, SAGE_E_DEVICE, "the toy fell off the table");
  if (mode == "wait") {
    while (host->cancelled(host->self, args->run) == 0) {
    }
    return sage_fail(err, SAGE_E_CANCELLED, "stopped while waiting");
  }
  if (mode == "overrun") static_cast<unsigned char*>(args->workspace)[args->workspace_bytes] = 1;
  if (mode == "underrun") static_cast<unsigned char*>(args->workspace)[-1] = 1;
  const auto* x = static_cast<const float*>(args->slots[0]->data);
  auto* y = static_cast<float*>(args->slots[1]->data);
  const int64_t count = Elements(*args->slots[0]);
  host->count(host->self, args->run, "elements", static_cast<uint64_t>(count));
  for (int64_t i = 0; i < count; ++i) y[i] = (x[i] > 0 ? x[i] : 0) + (mode == "wrong" ? 0.5f : 0.0f);
  return sage_succeed(err);
}

const sage_plugin kTable = {sizeof(sage_plugin),
                            SAGE_ABI_MAJOR,
                            SAGE_ABI_MINOR,
                            0,
                            "toy",
                            "1.0.0",
                            "for tests",
                            nullptr,
                            SAGE_KIND_BIT(SAGE_OP_UNARY),
                            0,
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

SAGE_PLUGIN_ENTRY(toy) {
  (void)host_minor;
  return host_major == SAGE_ABI_MAJOR ? &kTable : nullptr;
}
