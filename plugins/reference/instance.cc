// instance.cc: the entries between the border and the kernels: structs taken in, ops checked, exceptions caught.
#include "instance.h"

#include <memory>
#include <string>

#include "kernel.h"
#include "sage/support/guard.h"
#include "support.h"

struct sage_instance {
  const sage_host* host;
};

struct sage_plan {
  const sage_host* host;
  sage::support::OpView view;
  uint64_t features = 0;
  uint64_t workspace_per_worker = 0;
};

namespace sage::reference {
namespace {

// The op as a view with its features, and the verdict. A status that is not SAGE_OK is why it is NO.
sage_status Judge(const sage_host& host, const sage_op* op, support::OpView* view, uint64_t* features,
                  sage_answer* answer) {
  std::string why;
  *features = 0;
  sage_status status = support::TakeInOp(op, view, &why);
  if (status == SAGE_OK) status = support::CheckOp(*view, &why);
  if (status == SAGE_OK && view->op.kind == SAGE_OP_ATTENTION)
    status = support::DeriveAttentionFeatures(*view, features, &why);
  if (status != SAGE_OK) {
    sage_refuse(answer, 0, "%s", why.empty() ? "the op could not be read" : why.c_str());
    return status;
  }
  Decide(host, *view, *features, answer);
  return answer->verdict == SAGE_YES ? SAGE_OK : SAGE_E_UNSUPPORTED;
}

}  // namespace

sage_status Probe(const sage_host*, int32_t, uint32_t* count, sage_answer* out, sage_error* err) {
  if (count == nullptr || out == nullptr)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "probe: count and out must not be null");
  *count = 1;
  sage_answer answer{};
  answer.verdict = SAGE_YES;
  answer.accuracy = SAGE_ACCURACY_EXACT;
  answer.cost_source = SAGE_COST_RULE;
  (void)std::snprintf(answer.reason, sizeof answer.reason, "runs on every CPU");
  sage_give_out(out, &answer, static_cast<uint32_t>(sizeof answer));
  return sage_succeed(err);
}

sage_status Create(const sage_host* host, int32_t device_id, const char* options, sage_instance** out,
                   sage_error* err) {
  return support::Guard("create", err, [&]() -> sage_status {
    if (out == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create: out must not be null");
    *out = nullptr;
    if (host == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create: host must not be null");
    if (device_id != 0)
      return sage_fail(err, SAGE_E_NOT_FOUND, "create: there is one CPU, with id 0; %d was asked for", device_id);
    if (options != nullptr && options[0] != '\0')
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create: the reference has no options; \"%.80s\" was given",
                       options);
    *out = new sage_instance{host};
    return sage_succeed(err);
  });
}

void Destroy(sage_instance* instance) { delete instance; }

sage_status Ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) {
  return support::Guard("ask", err, [&]() -> sage_status {
    if (instance == nullptr || op == nullptr || out == nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "ask: instance, op and out must not be null");
    support::OpView view;
    uint64_t features = 0;
    sage_answer answer{};
    (void)Judge(*instance->host, op, &view, &features, &answer);  // NO is an answer, not an error
    sage_give_out(out, &answer, static_cast<uint32_t>(sizeof answer));
    return sage_succeed(err);
  });
}

sage_status MakePlan(sage_instance* instance, const sage_op* op, const sage_plan*, sage_plan** out,
                     sage_plan_info* info, sage_error* err) {
  return support::Guard("plan", err, [&]() -> sage_status {
    if (out == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "plan: out must not be null");
    *out = nullptr;
    if (instance == nullptr || op == nullptr || info == nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "plan: instance, op and info must not be null");
    auto plan = std::make_unique<sage_plan>();
    sage_answer answer{};
    plan->host = instance->host;
    const sage_status status = Judge(*instance->host, op, &plan->view, &plan->features, &answer);
    if (status != SAGE_OK) return sage_fail(err, status, "plan: %s", answer.reason);
    plan->workspace_per_worker = WorkspacePerWorker(plan->view);
    sage_plan_info mine{};
    mine.workspace_bytes = plan->workspace_per_worker * instance->host->num_workers;
    sage_give_out(info, &mine, static_cast<uint32_t>(sizeof mine));
    *out = plan.release();
    return sage_succeed(err);
  });
}

void DestroyPlan(sage_plan* plan) { delete plan; }

sage_status Run(const sage_plan* plan, const sage_run_args* args, sage_error* err) {
  return support::Guard("run", err, [&]() -> sage_status {
    if (plan == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: plan must not be null");
    sage_run_args mine{};
    sage_status status = sage_take_in(&mine, static_cast<uint32_t>(sizeof mine), args);
    if (status != SAGE_OK)
      return sage_fail(err, status, "run: args is null, has a wrong struct_size or unknown fields");
    const char* why = nullptr;
    status = support::CheckRunSlots(plan->view, mine.slots, mine.num_slots, &why);
    if (status != SAGE_OK) return sage_fail(err, status, "run: %s", why);
    const uint64_t needed = plan->workspace_per_worker * plan->host->num_workers;
    if (needed > 0 && (mine.workspace == nullptr || mine.workspace_bytes < needed ||
                       reinterpret_cast<uintptr_t>(mine.workspace) % 64 != 0))
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: the workspace must be %llu bytes aligned to 64",
                       static_cast<unsigned long long>(needed));
    const Job job{*plan->host, plan->view, plan->features, mine, plan->workspace_per_worker, err};
    status = KernelOf(plan->view.op.kind)(job);
    return status == SAGE_OK ? sage_succeed(err) : status;
  });
}

}  // namespace sage::reference
