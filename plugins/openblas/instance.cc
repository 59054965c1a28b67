// instance.cc: the entries of the openblas table.
//
// OpenBLAS is loaded by the first plan, not by create: loading takes some ten milliseconds and starts its threads,
// which spin for about twenty before they sleep, and an engine that never chooses this backend should pay neither.
//
// One mutex per instance is taken in run. OpenBLAS shares its threads among callers, so two products at once do not
// run faster, and calls one after the other are the only use its authors promise in every version.
#include "instance.h"

#include <memory>
#include <mutex>
#include <string>

#include "library.h"
#include "product.h"
#include "sage/support/check_op.h"
#include "sage/support/guard.h"
#include "support.h"

struct sage_instance {
  const sage_host* host;
  std::mutex mutex;  // guards loading, and every call into the library
  sage::openblas::Library library;
};

struct sage_plan {
  sage_instance* instance;
  sage::support::OpView view;
};

namespace sage::openblas {
namespace {

sage_status Judge(const sage_instance& instance, const sage_op* op, support::OpView* view, sage_answer* answer) {
  std::string why;
  sage_status status = support::TakeInOp(op, view, &why);
  if (status == SAGE_OK) status = support::CheckOp(*view, &why);
  if (status != SAGE_OK) {
    sage_refuse(answer, 0, "%s", why.empty() ? "the op could not be read" : why.c_str());
    return status;
  }
  Decide(*view, instance.host->num_workers, answer);
  return answer->verdict == SAGE_YES ? SAGE_OK : SAGE_E_UNSUPPORTED;
}

}  // namespace

sage_status Probe(const sage_host*, int32_t, uint32_t* count, sage_answer* out, sage_error* err) {
  return support::Guard("probe", err, [&]() -> sage_status {
    if (count == nullptr || out == nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "probe: count and out must not be null");
    std::string why;
    sage_answer answer{};
    *count = 1;
    if (LibraryIsThere(DefaultCandidates(), &why)) {
      answer.verdict = SAGE_YES;
      answer.accuracy = SAGE_ACCURACY_EXACT;
      answer.cost_source = SAGE_COST_RULE;
      (void)std::snprintf(answer.reason, sizeof answer.reason, "OpenBLAS, pthread build, is installed");
    } else {
      sage_refuse(&answer, 0, "%s", why.c_str());
    }
    sage_give_out(out, &answer, static_cast<uint32_t>(sizeof answer));
    return sage_succeed(err);
  });
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
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create: openblas has no options; \"%.80s\" was given", options);
    auto instance = std::make_unique<sage_instance>();
    instance->host = host;
    *out = instance.release();
    return sage_succeed(err);
  });
}

void Destroy(sage_instance* instance) { delete instance; }

sage_status Ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) {
  return support::Guard("ask", err, [&]() -> sage_status {
    if (instance == nullptr || op == nullptr || out == nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "ask: instance, op and out must not be null");
    support::OpView view;
    sage_answer answer{};
    (void)Judge(*instance, op, &view, &answer);  // NO is an answer, not an error
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
    plan->instance = instance;
    sage_answer answer{};
    const sage_status status = Judge(*instance, op, &plan->view, &answer);
    if (status != SAGE_OK) return sage_fail(err, status, "plan: %s", answer.reason);
    {
      std::lock_guard<std::mutex> lock(instance->mutex);
      std::string why;
      if (instance->library.sgemm == nullptr) {
        if (!LoadLibrary(DefaultCandidates(), &instance->library, &why))
          return sage_fail(err, SAGE_E_NOT_FOUND, "plan: %s", why.c_str());
        // For the whole process: OpenBLAS has one pool, and the latest to speak sets its size.
        instance->library.set_num_threads(static_cast<int>(instance->host->num_workers));
      }
    }
    const sage_plan_info mine{};
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
    sage_instance& instance = *plan->instance;
    const uint32_t kind = plan->view.op.kind;
    const uint32_t activation = kind == SAGE_OP_LINEAR ? plan->view.attributes.linear.activation : SAGE_FN_IDENTITY;
    std::lock_guard<std::mutex> lock(instance.mutex);
    status = RunProduct(*instance.host, instance.library, kind, activation, mine, err);
    return status == SAGE_OK ? sage_succeed(err) : status;
  });
}

}  // namespace sage::openblas
