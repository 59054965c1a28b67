// entries.cc: the border around a backend: structs taken in, ops checked, exceptions caught. No kernel here.
#include "common/entries.h"

#include <string>

#include "sage/support/check_op.h"
#include "sage/support/guard.h"

struct sage_instance {
  std::unique_ptr<sage::plugins::Backend> backend;
};

struct sage_plan {
  const sage_instance* instance = nullptr;
  sage::support::OpView view;  // the kernel refers to it
  std::unique_ptr<sage::plugins::KernelPlan> kernel;
};

namespace sage::plugins {
namespace {

using support::Guard;

sage_status Missing(sage_error* err, const char* what) {
  return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%s must not be null", what);
}

// The op taken in, its features, and the answer. A status that is not SAGE_OK is why the answer is NO.
sage_status Judge(const Backend& backend, const sage_op* op, OpView* view, uint64_t* features, sage_answer* answer) {
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
  backend.Ask(*view, *features, answer);
  return answer->verdict == SAGE_YES ? SAGE_OK : SAGE_E_UNSUPPORTED;
}

}  // namespace

sage_status ProbeCpu(ProbeFn probe, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err) {
  return Guard("probe", err, [&]() -> sage_status {
    if (count == nullptr || out == nullptr) return Missing(err, "probe: count and out");
    sage_answer answer{};
    if (device_id == 0)
      probe(&answer);
    else
      sage_refuse(&answer, 0, "there is one CPU, with id 0; %d was asked for", device_id);
    *count = 1;
    sage_give_out(out, &answer, static_cast<uint32_t>(sizeof answer));
    return sage_succeed(err);
  });
}

sage_status CreateOnCpu(CreateFn create, const sage_host* host, int32_t device_id, const char* options,
                        sage_instance** out, sage_error* err) {
  return Guard("create", err, [&]() -> sage_status {
    if (out == nullptr) return Missing(err, "create: out");
    *out = nullptr;
    if (host == nullptr) return Missing(err, "create: host");
    if (device_id != 0)
      return sage_fail(err, SAGE_E_NOT_FOUND, "create: there is one CPU, with id 0; %d was asked for", device_id);
    auto instance = std::make_unique<sage_instance>();
    const sage_status status = create(*host, options == nullptr ? "" : options, &instance->backend, err);
    if (status != SAGE_OK) return status;
    *out = instance.release();
    return sage_succeed(err);
  });
}

sage_status ProbeDevice(ProbeDeviceFn probe, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err) {
  return Guard("probe", err, [&]() -> sage_status {
    if (count == nullptr || out == nullptr) return Missing(err, "probe: count and out");
    sage_answer answer{};
    *count = 0;
    probe(device_id, count, &answer);
    sage_give_out(out, &answer, static_cast<uint32_t>(sizeof answer));
    return sage_succeed(err);
  });
}

sage_status CreateOnDevice(CreateOnDeviceFn create, const sage_host* host, int32_t device_id, const char* options,
                           sage_instance** out, sage_error* err) {
  return Guard("create", err, [&]() -> sage_status {
    if (out == nullptr) return Missing(err, "create: out");
    *out = nullptr;
    if (host == nullptr) return Missing(err, "create: host");
    auto instance = std::make_unique<sage_instance>();
    const sage_status status = create(*host, device_id, options == nullptr ? "" : options, &instance->backend, err);
    if (status != SAGE_OK) return status;
    *out = instance.release();
    return sage_succeed(err);
  });
}

void Destroy(sage_instance* instance) { delete instance; }

sage_status DeviceOf(sage_instance* instance, const sage_device_table** out, sage_error* err) {
  return Guard("device", err, [&]() -> sage_status {
    if (instance == nullptr || out == nullptr) return Missing(err, "device: instance and out");
    *out = instance->backend->Device();
    return sage_succeed(err);
  });
}

sage_status Ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) {
  return Guard("ask", err, [&]() -> sage_status {
    if (instance == nullptr || op == nullptr || out == nullptr) return Missing(err, "ask: instance, op and out");
    OpView view;
    uint64_t features = 0;
    sage_answer answer{};
    (void)Judge(*instance->backend, op, &view, &features, &answer);  // NO is an answer, not an error
    sage_give_out(out, &answer, static_cast<uint32_t>(sizeof answer));
    return sage_succeed(err);
  });
}

sage_status MakePlan(sage_instance* instance, const sage_op* op, const sage_plan* like, sage_plan** out,
                     sage_plan_info* info, sage_error* err) {
  return Guard("plan", err, [&]() -> sage_status {
    if (out == nullptr) return Missing(err, "plan: out");
    *out = nullptr;
    if (instance == nullptr || op == nullptr || info == nullptr) return Missing(err, "plan: instance, op and info");
    auto plan = std::make_unique<sage_plan>();
    plan->instance = instance;
    uint64_t features = 0;
    sage_answer answer{};
    sage_status status = Judge(*instance->backend, op, &plan->view, &features, &answer);
    if (status != SAGE_OK) return sage_fail(err, status, "plan: %s", answer.reason);
    const bool alike = like != nullptr && like->instance == instance && like->view.op.kind == plan->view.op.kind;
    status = instance->backend->Plan(plan->view, features, alike ? like->kernel.get() : nullptr, &plan->kernel, err);
    if (status != SAGE_OK) return status;
    sage_plan_info mine{};
    mine.workspace_bytes = plan->kernel->workspace_bytes;
    mine.prepack_bytes = plan->kernel->prepack_bytes;
    mine.packed_kv_bytes = plan->kernel->packed_kv_bytes;
    mine.partials_bytes = plan->kernel->partials_bytes;
    sage_give_out(info, &mine, static_cast<uint32_t>(sizeof mine));
    *out = plan.release();
    return sage_succeed(err);
  });
}

void DestroyPlan(sage_plan* plan) { delete plan; }

sage_status Run(const sage_plan* plan, const sage_run_args* args, sage_error* err) {
  return Guard("run", err, [&]() -> sage_status {
    if (plan == nullptr) return Missing(err, "run: plan");
    sage_run_args mine{};
    sage_status status = sage_take_in(&mine, static_cast<uint32_t>(sizeof mine), args);
    if (status != SAGE_OK)
      return sage_fail(err, status, "run: args is null, has a wrong struct_size or unknown fields");
    const char* why = nullptr;
    status = support::CheckRunSlots(plan->view, mine.slots, mine.num_slots, &why);
    if (status != SAGE_OK)
      return sage_fail(err, status, "run: %s", why == nullptr ? "the slots are not as planned" : why);
    const uint64_t needed = plan->kernel->workspace_bytes;
    const uint64_t given = mine.workspace == nullptr ? 0 : mine.workspace_bytes;
    if (given < needed)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: the workspace has %llu bytes; the plan needs %llu",
                       static_cast<unsigned long long>(given), static_cast<unsigned long long>(needed));
    const uint64_t align = plan->instance->backend->Device() == nullptr ? 64 : 256;
    if (needed != 0 && reinterpret_cast<uintptr_t>(mine.workspace) % align != 0)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: the workspace must be aligned to %llu bytes",
                       static_cast<unsigned long long>(align));
    status = plan->kernel->Run(mine, err);
    return status == SAGE_OK ? sage_succeed(err) : status;
  });
}

sage_status ExpectNoOptions(const char* name, const char* options, sage_error* err) {
  if (options[0] == '\0') return SAGE_OK;
  return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create: %s has no options; \"%.80s\" was given", name, options);
}

bool RefuseOffCpu(const OpView& view, sage_answer* answer) {
  constexpr uint32_t kKnown = SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_STREAM_CAPTURE | SAGE_REQUIRE_SCALAR;
  if ((view.op.requirements & SAGE_REQUIRE_STREAM_CAPTURE) != 0) {
    sage_refuse(answer, 0, "STREAM_CAPTURE is required; graph capture is for devices, this backend runs on the CPU");
    return true;
  }
  if (const uint32_t unknown = view.op.requirements & ~kKnown; unknown != 0) {
    sage_refuse(answer, 0, "requirement bits 0x%x are newer than this backend", unknown);
    return true;
  }
  for (uint32_t slot = 0; slot < view.pointers.size(); ++slot) {
    if (!view.Has(slot)) continue;
    const sage_tensor& tensor = view.Slot(slot);
    if (tensor.device_type == SAGE_CPU || tensor.device_type == SAGE_CUDA_HOST) continue;
    sage_refuse(answer, 0, "slot %u lies on device (%d, %d); this backend reads CPU memory only", slot,
                tensor.device_type, tensor.device_id);
    return true;
  }
  return false;
}

}  // namespace sage::plugins
