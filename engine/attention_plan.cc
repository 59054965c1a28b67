// attention_plan.cc: from a described op to a plan, and a run of it.
#include "attention_plan.h"

#include <string.h>

#include <algorithm>

#include "backend/feature_names.h"
#include "fmt/format.h"
#include "plan/explain.h"
#include "plan/policy_options.h"
#include "plan/problem.h"
#include "run/extent.h"
#include "run/verify_node.h"
#include "sage/support/check_op.h"
#include "sage/support/take_in.h"

namespace sage {
namespace {

// More slots than any op has: a count above it is garbage, and the array must not be walked.
constexpr uint32_t kMostSlots = 4096;

// The longest row of keys a query may see, which flash_threshold is compared with.
int64_t KeyRows(const support::OpView& view) {
  const sage_attention_attributes& attributes = view.attributes.attention;
  if (view.Has(SAGE_ATTN_BLOCK_TABLE)) {
    int64_t rows = 0;
    const int64_t pages = view.Slot(SAGE_ATTN_BLOCK_TABLE).shape[1], page = view.Slot(SAGE_ATTN_K).shape[2];
    return __builtin_mul_overflow(pages, page, &rows) ? INT64_MAX : rows;
  }
  if (view.Has(SAGE_ATTN_CU_SEQLENS_K))
    return attributes.max_seq_kv > 0 ? attributes.max_seq_kv : view.Slot(SAGE_ATTN_K).shape[0];
  return view.Slot(SAGE_ATTN_K).shape[2];
}

// What about the first slot that does not fit the plan: the check itself allocates nothing and so cannot say.
std::string Misfit(const support::OpView& planned, const sage_tensor* const* slots) {
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    const char* name = support::SlotName(SAGE_OP_ATTENTION, slot);
    if (planned.Has(slot) != (slots[slot] != nullptr))
      return fmt::format(": {} was {}planned and is {}given", name, planned.Has(slot) ? "" : "not ",
                         slots[slot] != nullptr ? "" : "not ");
    if (!planned.Has(slot)) continue;
    const sage_tensor &wanted = planned.Slot(slot), &given = *slots[slot];
    if (given.dtype != wanted.dtype)
      return fmt::format(": {} is {}, {} was planned", name, support::DtypeName(given.dtype),
                         support::DtypeName(wanted.dtype));
    if (given.rank != wanted.rank)
      return fmt::format(": {} has rank {}, {} was planned", name, given.rank, wanted.rank);
    if (given.device_type != wanted.device_type || given.device_id != wanted.device_id)
      return fmt::format(": {} is on {} {}, {} {} was planned", name, DeviceTypeName(given.device_type),
                         given.device_id, DeviceTypeName(wanted.device_type), wanted.device_id);
    for (uint32_t axis = 0; axis < wanted.rank; ++axis) {
      if (given.stride[axis] != wanted.stride[axis])
        return fmt::format(": {}'s stride of axis {} is {}, {} was planned", name, axis, given.stride[axis],
                           wanted.stride[axis]);
      const int64_t most = wanted.shape[axis];
      if (given.shape[axis] < 0 || given.shape[axis] > most ||
          (given.shape[axis] < most && planned.op.dynamic_axes == 0))
        return fmt::format(": {}'s axis {} has length {}, {} was planned", name, axis, given.shape[axis], most);
    }
    const bool written = support::SlotIsWritten(SAGE_OP_ATTENTION, planned.op.aliases, slot);
    if (written && (given.flags & SAGE_TENSOR_READ_ONLY) != 0) return fmt::format(": {}", name);
    if (given.data == nullptr) return fmt::format(": {} has no data", name);
  }
  return {};
}

// What is written shares no element with anything else: results would depend on the order of the work.
Status CheckApart(const support::OpView& planned, const sage_tensor* const* slots) {
  uint32_t given[SAGE_ATTN_NUM_SLOTS], count = 0;
  Extent extents[SAGE_ATTN_NUM_SLOTS];
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    if (slots[slot] == nullptr) continue;
    if (!ExtentOf(*slots[slot], &extents[count]))
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("{} reaches beyond the address space", support::SlotName(SAGE_OP_ATTENTION, slot)));
    given[count++] = slot;
  }
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t written = given[i];
    if (!support::SlotIsWritten(SAGE_OP_ATTENTION, planned.op.aliases, written)) continue;
    for (uint32_t j = 0; j < count; ++j)
      if (j != i && SurelyOverlap(*slots[written], extents[i], *slots[given[j]], extents[j]))
        return Status(
            SAGE_E_INVALID_ARGUMENT,
            fmt::format("{} is written and overlaps {} in memory; give them memory apart",
                        support::SlotName(SAGE_OP_ATTENTION, written), support::SlotName(SAGE_OP_ATTENTION, given[j])));
  }
  return {};
}

// The plan's options over the engine's, which are the defaults of everything made from it.
Options WithDefaults(const Options& given, const Options& defaults) {
  Options merged = given;
  for (const auto& [key, value] : defaults.values) merged.values.try_emplace(key, value);
  return merged;
}

}  // namespace

Result<std::shared_ptr<const AttentionPlan>> AttentionPlan::Create(std::shared_ptr<Engine> engine, const sage_op* op,
                                                                   const Options& given) {
  const auto made = std::make_shared<AttentionPlan>();
  support::OpView& view = made->planned_;
  std::string why;
  if (const sage_status status = support::TakeInOp(op, &view, &why); status != SAGE_OK) return Status(status, why);
  if (view.op.kind != SAGE_OP_ATTENTION)
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("an op of kind {} was given, SAGE_OP_ATTENTION is expected; other "
                              "ops run inside a model",
                              support::KindName(view.op.kind)));
  SAGE_RETURN_IF_ERROR(engine->CheckOptions(given, "plan"));
  const Options options = WithDefaults(given, engine->options());
  SAGE_ASSIGN_OR_RETURN(const AttentionPolicy caller, PolicyFromOptions(options));
  SAGE_ASSIGN_OR_RETURN(made->guarded_, BoolOption(options, "guard", true));
  constexpr std::string_view kVerify[] = {"off", "first", "always"};  // in the order of Verify
  SAGE_ASSIGN_OR_RETURN(const uint32_t verify, ChoiceOption(options, "verify", kVerify, 0));
  made->verify_ = static_cast<Verify>(verify);
  made->policy_ = ResolvePolicy(caller, AttentionPolicy{}, AttentionPolicy{});
  const Options& asked = options.cancel != nullptr ? options : engine->options();
  made->cancel_ = asked.cancel, made->cancel_user_ = asked.cancel_user;

  // Checked before anything is read from it, then once more complete: a plugin sees all bits.
  sage_attention_attributes& attributes = view.attributes.attention;
  attributes.struct_size = sizeof attributes;
  view.op.attributes = &attributes;
  SAGE_RETURN_IF_ERROR(AttentionFeatures(view.op, &made->features_));
  // Said of the caller's memory and checked by now: no matter of backends, which may be older than the flag.
  for (sage_tensor& tensor : view.tensors) tensor.flags &= ~SAGE_TENSOR_READ_ONLY;
  ApplyPolicy(made->policy_, KeyRows(view), &view.op, &attributes);
  attributes.features = made->features_;

  SAGE_RETURN_IF_ERROR(engine->WhyRefused(made->policy_.backend.value, PolicySourceName(made->policy_.backend.source)));
  std::vector<std::shared_ptr<Backend>> candidates = engine->backends();
  std::string failures;
  while (true) {
    SAGE_ASSIGN_OR_RETURN(made->choice_, Choose(candidates, view.op, made->features_, made->policy_));
    Choice& choice = made->choice_;
    const Verdict chosen = choice.verdicts[static_cast<size_t>(choice.chosen)];
    sage_attention_attributes wished = attributes;
    ApplyChoice(choice, &attributes);
    Result<std::shared_ptr<const Plan>> plan =
        chosen.backend->MakePlan(view.op, nullptr, chosen.answer.workspace_bytes);
    if (plan.ok()) {
      made->plan_ = std::move(*plan);
      break;
    }
    // It said YES and then could not: the next best is asked, unless this one was insisted on.
    attributes = wished;
    std::erase_if(candidates, [&chosen](const auto& backend) { return backend.get() == chosen.backend.get(); });
    if (!made->policy_.backend.value.empty() || made->policy_.strict.value || candidates.empty()) return plan.status();
    failures += fmt::format("{}{} said yes, then its plan failed: {}", failures.empty() ? "" : "; ",
                            chosen.backend->name(), plan.status().message());
  }
  Choice& choice = made->choice_;
  if (!failures.empty()) {
    choice.fallback = true;
    choice.fallback_reason += (choice.fallback_reason.empty() ? "" : "; ") + failures;
  }
  made->problem_ = ProblemString(view.op);
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    if (!view.Has(slot)) continue;
    sage_tensor tensor = view.Slot(slot);
    tensor.data = nullptr;
    Extent extent;
    if (!ExtentOf(tensor, &extent) || extent.begin == extent.end) continue;  // checked: within 2^56 bytes
    const bool written = support::SlotIsWritten(SAGE_OP_ATTENTION, view.op.aliases, slot);
    made->reaches_.push_back({slot, written, extent.begin, extent.end});
  }
  if (choice.fallback)
    engine->host()->Log(SAGE_LOG_WARNING, fmt::format("attention {}: {}", made->problem_, choice.fallback_reason));
  made->engine_ = std::move(engine);
  return std::shared_ptr<const AttentionPlan>(made);
}

bool AttentionPlan::MayMeet(const sage_tensor* const* slots) const {
  const auto from = [slots](const Reach& reach) { return reinterpret_cast<uintptr_t>(slots[reach.slot]->data); };
  for (const Reach& x : reaches_) {
    if (!x.written) continue;
    for (const Reach& y : reaches_)
      if (x.slot != y.slot && from(x) + x.begin < from(y) + y.end && from(y) + y.begin < from(x) + x.end) return true;
  }
  return false;
}

void AttentionPlan::Explain(JsonWriter& out) const {
  const sage_attention_attributes& attributes = planned_.attributes.attention;
  out.BeginObject();
  out.Member("problem", problem_);
  out.Member("bench", fmt::format("sage-engine bench --attn '{}'", problem_));
  out.Member("algorithm", AlgorithmName(attributes.algorithm));
  out.Member("block_q", attributes.block_q);
  out.Member("block_kv", attributes.block_kv);
  out.Key("features");
  out.BeginArray();
  for (const std::string& name : FeatureNames(features_)) out.String(name);
  out.EndArray();
  WriteChoice(out, choice_);
  WriteAcceptedAccuracy(out, planned_.op, policy_);
  out.Key("policy");
  WritePolicy(out, policy_);
  if (backend().table().foreign_threads != nullptr) out.Member("foreign_threads", backend().table().foreign_threads);
  out.Member("workspace_bytes", plan_->workspace_bytes());
  out.Member("prepack_bytes", plan_->prepack_bytes());
  WriteAttentionMemory(out, Memory());
  out.EndObject();
}

AttentionMemory AttentionPlan::Memory() const { return MemoryOfAttention(planned_.op, plan_->info()); }

Result<std::unique_ptr<AttentionContext>> AttentionContext::Create(std::shared_ptr<const AttentionPlan> plan) {
  std::unique_ptr<AttentionContext> context(new AttentionContext());
  const Backend& backend = plan->backend();
  context->plan_ = std::move(plan);
  const AttentionPlan& held = *context->plan_;
  SAGE_RETURN_IF_ERROR(context->workspace_.Allocate(
      held.engine().host(), backend.device_type(), backend.device_id(), held.plan().workspace_bytes(),
      held.guarded() && (backend.device() == nullptr || backend.device()->host_visible())));
  context->token_.cancel = held.cancel();
  context->token_.cancel_user = held.cancel_user();
  if (backend.device_type() != SAGE_CPU) {
    SAGE_RETURN_IF_ERROR(backend.device()->CreateStream(&context->stream_));
    context->device_ = backend.device();
  }
  return context;
}

AttentionContext::~AttentionContext() {
  if (device_ != nullptr) device_->DestroyStream(stream_);
}

Status AttentionContext::TakeInSlots(const sage_tensor* const* slots, uint32_t num_slots) {
  if (slots == nullptr) return Status(SAGE_E_INVALID_ARGUMENT, "slots is null, an array of tensors is expected");
  if (num_slots > kMostSlots)
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("num_slots is {}, at most {} are expected", num_slots, SAGE_ATTN_NUM_SLOTS));
  for (uint32_t slot = SAGE_ATTN_NUM_SLOTS; slot < num_slots; ++slot)
    if (slots[slot] != nullptr)
      return Status(SAGE_E_UNKNOWN_FIELD,
                    fmt::format("slot {} is given, this engine knows slots up to {}", slot, SAGE_ATTN_NUM_SLOTS - 1));
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    pointers_[slot] = nullptr;
    if (slot >= num_slots || slots[slot] == nullptr) continue;
    const sage_status status = sage_take_in(&tensors_[slot], sizeof(sage_tensor), slots[slot]);
    if (status != SAGE_OK)
      return Status(status, fmt::format("slot {}: {}", support::SlotName(SAGE_OP_ATTENTION, slot),
                                        status == SAGE_E_UNKNOWN_FIELD ? "its tensor has a field newer than this engine"
                                                                       : "its struct_size makes no sense; set it to "
                                                                         "sizeof(sage_tensor)"));
    if (tensors_[slot].device_type == 0) tensors_[slot].device_type = SAGE_CPU;
    pointers_[slot] = &tensors_[slot];
  }
  return {};
}

Status AttentionContext::Run(const sage_tensor* const* slots, uint32_t num_slots, void* stream) {
  const AttentionPlan& plan = *plan_;
  SAGE_RETURN_IF_ERROR(TakeInSlots(slots, num_slots));
  const char* why = "";
  sage_status status = support::CheckRunSlots(plan.planned(), pointers_.data(), SAGE_ATTN_NUM_SLOTS, &why);
  if (status != SAGE_OK) return Status(status, why + Misfit(plan.planned(), pointers_.data()));
  for (sage_tensor& tensor : tensors_) tensor.flags &= ~SAGE_TENSOR_READ_ONLY;  // as of a plan's tensors
  if (plan.MayMeet(pointers_.data())) SAGE_RETURN_IF_ERROR(CheckApart(plan.planned(), pointers_.data()));
  const bool on_cpu = device_ == nullptr;
  if (on_cpu) {
    if (stream != nullptr)
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("a stream is lent, but the plan runs on the CPU (backend {}), which has none",
                                plan.backend().name()));
    // What an index tensor holds decides what is read: before any plugin gets it.
    status = support::CheckAttentionIndices(plan.planned().attributes.attention, plan.features(), pointers_.data(),
                                            SAGE_ATTN_NUM_SLOTS, &why);
    if (status != SAGE_OK) return Status(status, why == nullptr ? "an index tensor is out of range" : why);
  }
  token_.cancelled.store(0, std::memory_order_relaxed);
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.num_slots = SAGE_ATTN_NUM_SLOTS;
  args.slots = pointers_.data();
  args.workspace = workspace_.data();
  args.workspace_bytes = plan.plan().workspace_bytes();
  args.stream = stream != nullptr ? stream : stream_;
  args.run = &token_;
  const Verify verify = plan.verify();
  if (on_cpu && (verify == Verify::kAlways || (verify == Verify::kFirst && !compared_))) return ExecuteAndCompare(args);
  Status ran = Execute(args);
  if (!on_cpu && stream == nullptr) {
    // Also after an error: what was enqueued must not outlive the call.
    Status waited = device_->Synchronize(stream_);
    if (!waited.ok() && ran.ok()) ran = std::move(waited);
  }
  return ran;
}

Status AttentionContext::Execute(const sage_run_args& args) {
  Status ran = plan_->plan().Run(args);
  if (workspace_.Intact()) return ran;
  workspace_.Arm(workspace_.bytes());
  Status overrun = WorkspaceOverrun(plan_->backend().name(), args.workspace_bytes);
  plan_->engine().host()->Log(SAGE_LOG_ERROR, overrun.message());
  return overrun;
}

Status AttentionContext::ExecuteAndCompare(const sage_run_args& args) {
  const Engine& engine = plan_->engine();
  BuiltOp built;
  built.op = plan_->planned().op;
  built.tensors.assign(tensors_.begin(), tensors_.end());
  built.slots.resize(SAGE_ATTN_NUM_SLOTS);
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot)
    built.slots[slot] = pointers_[slot] == nullptr ? nullptr : &built.tensors[slot];
  static_assert(sizeof built.attributes >= sizeof(sage_attention_attributes));
  memcpy(built.attributes, &plan_->planned().attributes.attention, sizeof(sage_attention_attributes));
  built.op.num_slots = SAGE_ATTN_NUM_SLOTS;
  built.op.slots = built.slots.data();
  built.op.attributes = built.attributes;
  NodeVerifier verifier(*engine.reference(), built);
  SAGE_RETURN_IF_ERROR(Execute(args));
  const VerifyReport report = verifier.Compare(&token_);
  compared_ = true;
  const std::string& backend = plan_->backend().name();
  if (!report.note.empty())
    engine.host()->Log(SAGE_LOG_WARNING, fmt::format("verify: attention {}: {}", plan_->problem(), report.note));
  else
    engine.host()->Log(report.suspicious ? SAGE_LOG_WARNING : SAGE_LOG_INFO,
                       fmt::format("verify: attention {}: {} differs from reference by {:.3g} (relative {:.3g})",
                                   plan_->problem(), backend, report.max_abs_error, report.rel_error));
  return {};
}

}  // namespace sage
