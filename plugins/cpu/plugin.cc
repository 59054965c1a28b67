// plugin.cc: the table, and the border around the kernel families: taken in, checked, guarded. No kernel here.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "attention.h"
#include "family.h"
#include "sage/support/check_op.h"
#include "sage/support/guard.h"

struct sage_instance {
  sage::cpu::Context context;
};

struct sage_plan {
  const sage_instance* instance = nullptr;
  sage::support::OpView view;
  std::unique_ptr<sage::cpu::KernelPlan> kernel;
};

namespace sage::cpu {
namespace {

using support::Guard;

constexpr Family kFamilies[] = {
    {SAGE_OP_ATTENTION, AskAttention, PlanAttention},
    {SAGE_OP_LINEAR, AskLinear, PlanLinear},
    {SAGE_OP_MATMUL, AskMatmul, PlanMatmul},
    {SAGE_OP_NORM, AskNorm, PlanNorm},
    {SAGE_OP_UNARY, AskUnary, PlanUnary},
    {SAGE_OP_BINARY, AskBinary, PlanBinary},
    {SAGE_OP_SOFTMAX, AskSoftmax, PlanSoftmax},
    {SAGE_OP_REDUCE, AskReduce, PlanReduce},
    {SAGE_OP_GATHER, AskGather, PlanGather},
    {SAGE_OP_CONCAT, AskConcat, PlanConcat},
    {SAGE_OP_SLICE, AskSlice, PlanSlice},
    {SAGE_OP_PERMUTE, AskPermute, PlanPermute},
    {SAGE_OP_TOPK, AskTopk, PlanTopk},
    {SAGE_OP_ROPE, AskRope, PlanRope},
    {SAGE_OP_POOL, AskPool, PlanPool},
};

constexpr uint64_t Kinds() {
  uint64_t kinds = 0;
  for (const Family& family : kFamilies) kinds |= SAGE_KIND_BIT(family.kind);
  return kinds;
}

const Family* FamilyOf(uint32_t kind) {
  for (const Family& family : kFamilies)
    if (family.kind == kind) return &family;
  return nullptr;
}

// The op of a request, checked. Not SAGE_OK: *why says what is wrong with it.
sage_status TakeIn(const sage_op* op, OpView* view, uint64_t* features, std::string* why) {
  sage_status status = support::TakeInOp(op, view, why);
  if (status == SAGE_OK) status = support::CheckOp(*view, why);
  if (status == SAGE_OK && view->op.kind == SAGE_OP_ATTENTION)
    status = support::DeriveAttentionFeatures(*view, features, why);
  return status;
}

void Answer(const Context& context, const OpView& view, uint64_t features, sage_answer* answer) {
  const Family* family = FamilyOf(view.op.kind);
  if (family == nullptr)
    return sage_refuse(answer, 0, "%s is not supported by this backend", support::KindName(view.op.kind));
  if ((view.op.requirements & SAGE_REQUIRE_STREAM_CAPTURE) != 0)
    return sage_refuse(answer, 0, "graph capture is for devices; this backend runs on the CPU");
  for (uint32_t slot = 0; slot < view.op.num_slots; ++slot) {
    if (!view.Has(slot)) continue;
    const int32_t type = view.Slot(slot).device_type;
    if (type != SAGE_CPU && type != SAGE_CUDA_HOST)
      return sage_refuse(answer, 0, "slot %u is on device type %d; this backend reads CPU memory", slot, type);
  }
  family->ask(context, view, features, answer);
}

// "isa=avx2" lines.
sage_status ReadOptions(const char* options, const CpuFeatures& machine, Context* context, sage_error* err) {
  std::string_view rest = options == nullptr ? "" : options;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    if (line.empty()) continue;
    const size_t equals = line.find('=');
    const std::string_view key = line.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : line.substr(equals + 1);
    if (key != "isa")
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "option \"%.*s\" is unknown to cpu; it has: isa",
                       static_cast<int>(std::min<size_t>(key.size(), 64)), key.data());
    if (value == "auto") {
      context->isa = machine.best;
      continue;
    }
    if (!IsaFromName(value.data(), value.size(), &context->isa))
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "isa is \"%.*s\", expected auto, scalar, avx2 or avx512",
                       static_cast<int>(std::min<size_t>(value.size(), 64)), value.data());
    if (context->isa > machine.best)
      return sage_fail(err, SAGE_E_UNSUPPORTED,
                       "isa %s was asked for, but this processor or its operating system offers %s at most; use "
                       "isa=auto",
                       IsaName(context->isa), IsaName(machine.best));
  }
  return SAGE_OK;
}

sage_status Probe(const sage_host*, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err) {
  return Guard("cpu probe", err, [&] {
    if (count == nullptr || out == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "probe needs count and out");
    sage_answer answer;
    if (device_id == 0)
      Accept(&answer, 0, SAGE_ACCURACY_EXACT, 0, "this machine has one CPU device; its best kernels are %s",
             IsaName(DetectCpu().best));
    else
      sage_refuse(&answer, 0, "CPU device %d does not exist; the only one is 0", device_id);
    *count = 1;
    sage_give_out(out, &answer, static_cast<uint32_t>(sizeof answer));
    return sage_succeed(err);
  });
}

sage_status Create(const sage_host* host, int32_t device_id, const char* options, sage_instance** out,
                   sage_error* err) {
  return Guard("cpu create", err, [&] {
    if (out == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create needs out");
    *out = nullptr;
    if (host == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create needs a host");
    if (device_id != 0)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "CPU device %d does not exist; the only one is 0", device_id);
    const CpuFeatures machine = DetectCpu();
    auto instance = std::make_unique<sage_instance>();
    Context& context = instance->context;
    context.host = host;
    context.isa = machine.best;
    context.num_workers = host->num_workers < 1 ? 1 : host->num_workers;
    context.l1_data_bytes = machine.l1_data_bytes;
    context.l2_bytes = machine.l2_bytes;
    if (const sage_status status = ReadOptions(options, machine, &context, err); status != SAGE_OK) return status;
    *out = instance.release();
    return sage_succeed(err);
  });
}

void Destroy(sage_instance* instance) { delete instance; }

sage_status Ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) {
  return Guard("cpu ask", err, [&] {
    if (instance == nullptr || out == nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "ask needs an instance and out");
    OpView view;
    std::string why;
    uint64_t features = 0;
    sage_answer answer;
    if (TakeIn(op, &view, &features, &why) == SAGE_OK)
      Answer(instance->context, view, features, &answer);
    else
      sage_refuse(&answer, 0, "%s", why.empty() ? "the op is malformed" : why.c_str());
    sage_give_out(out, &answer, static_cast<uint32_t>(sizeof answer));
    return sage_succeed(err);
  });
}

sage_status MakePlan(sage_instance* instance, const sage_op* op, const sage_plan* like, sage_plan** out,
                     sage_plan_info* info, sage_error* err) {
  return Guard("cpu plan", err, [&] {
    if (out == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "plan needs out");
    *out = nullptr;
    if (instance == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "plan needs an instance");
    auto plan = std::make_unique<sage_plan>();
    plan->instance = instance;
    std::string why;
    uint64_t features = 0;
    sage_status status = TakeIn(op, &plan->view, &features, &why);
    if (status != SAGE_OK) return sage_fail(err, status, "%s", why.c_str());
    sage_answer answer;
    Answer(instance->context, plan->view, features, &answer);
    if (answer.verdict != SAGE_YES) return sage_fail(err, SAGE_E_UNSUPPORTED, "%s", answer.reason);
    const uint32_t kind = plan->view.op.kind;
    const bool alike = like != nullptr && like->instance == instance && like->view.op.kind == kind;
    status = FamilyOf(kind)->plan(instance->context, plan->view, features, alike ? like->kernel.get() : nullptr,
                                  &plan->kernel, err);
    if (status != SAGE_OK) return status;
    sage_plan_info mine{};
    mine.struct_size = static_cast<uint32_t>(sizeof mine);
    mine.workspace_bytes = plan->kernel->workspace_bytes;
    mine.prepack_bytes = plan->kernel->prepack_bytes;
    sage_give_out(info, &mine, static_cast<uint32_t>(sizeof mine));
    *out = plan.release();
    return sage_succeed(err);
  });
}

void DestroyPlan(sage_plan* plan) { delete plan; }

sage_status Run(const sage_plan* plan, const sage_run_args* args, sage_error* err) {
  return Guard("cpu run", err, [&] {
    sage_run_args mine;
    if (plan == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run needs a plan");
    sage_status status = sage_take_in(&mine, static_cast<uint32_t>(sizeof mine), args);
    if (status != SAGE_OK)
      return sage_fail(err, status, "run's arguments are missing, malformed or newer than this backend");
    const char* why = nullptr;
    status = support::CheckRunSlots(plan->view, mine.slots, mine.num_slots, &why);
    if (status != SAGE_OK) return sage_fail(err, status, "%s", why == nullptr ? "the slots are not as planned" : why);
    const uint64_t needed = plan->kernel->workspace_bytes;
    if (needed != 0 && (mine.workspace == nullptr || mine.workspace_bytes < needed))
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "the workspace has %llu bytes; the plan needs %llu",
                       static_cast<unsigned long long>(mine.workspace == nullptr ? 0 : mine.workspace_bytes),
                       static_cast<unsigned long long>(needed));
    if (needed != 0 && reinterpret_cast<uintptr_t>(mine.workspace) % 64 != 0)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "the workspace must be aligned to 64 bytes");
    status = plan->kernel->Run(mine, err);
    return status == SAGE_OK ? sage_succeed(err) : status;
  });
}

constexpr sage_plugin kPlugin = {
    .struct_size = sizeof(sage_plugin),
    .abi_major = SAGE_ABI_MAJOR,
    .abi_minor = SAGE_ABI_MINOR,
    .abi_minor_min = 0,
    .name = "cpu",
    .version = "0.1.0",
    .build = "compiler " __VERSION__,
    .foreign_threads = nullptr,
    .kinds = Kinds(),
    .features = kAttentionFeatures,
    .device_type = SAGE_CPU,
    .reserved = 0,
    .probe = Probe,
    .create = Create,
    .destroy = Destroy,
    .device = nullptr,
    .ask = Ask,
    .plan = MakePlan,
    .plan_destroy = DestroyPlan,
    .run = Run,
};

}  // namespace
}  // namespace sage::cpu

extern "C" {
SAGE_PLUGIN_ENTRY(cpu) {
  (void)host_minor;
  return host_major == SAGE_ABI_MAJOR ? &sage::cpu::kPlugin : nullptr;
}
}  // extern "C"
