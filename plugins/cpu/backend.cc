// backend.cc: which family serves a kind, and the options of an instance.
#include "backend.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "attention_tune.h"
#include "family.h"
#include "sage/support/check_op.h"

namespace sage::cpu {
namespace {

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

constexpr uint64_t KindsOf(const Family* begin, const Family* end) {
  uint64_t kinds = 0;
  for (; begin != end; ++begin) kinds |= SAGE_KIND_BIT(begin->kind);
  return kinds;
}
static_assert(KindsOf(std::begin(kFamilies), std::end(kFamilies)) == kKinds);

const Family* FamilyOf(uint32_t kind) {
  for (const Family& family : kFamilies)
    if (family.kind == kind) return &family;
  return nullptr;
}

// "isa=avx2" lines.
sage_status ReadOptions(const char* options, const CpuFeatures& machine, Context* context, TuneOptions* tune,
                        sage_error* err) {
  std::string_view rest = options;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    if (line.empty()) continue;
    const size_t equals = line.find('=');
    const std::string_view key = line.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : line.substr(equals + 1);
    bool tuning = false;
    const sage_status read = tune->Read(key, value, &tuning, err);
    if (read != SAGE_OK) return read;
    if (tuning) continue;
    if (key != "isa")
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "option \"%.*s\" is unknown to cpu; it has: isa, %s",
                       static_cast<int>(std::min<size_t>(key.size(), 64)), key.data(), TuneOptions::kNames);
    context->isa_named = value != "auto";
    if (value == "auto") {
      context->isa = machine.best;
      continue;
    }
    if (!IsaFromName(value.data(), value.size(), &context->isa))
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                       "isa is \"%.*s\", expected auto, scalar, avx2, avx512, avx512bf16, amx or neon",
                       static_cast<int>(std::min<size_t>(value.size(), 64)), value.data());
    if (!Runs(context->isa, machine.best))
      return sage_fail(err, SAGE_E_UNSUPPORTED,
                       "isa %s was asked for, but the best that this processor and its operating system run is %s; use "
                       "isa=auto",
                       IsaName(context->isa), IsaName(machine.best));
  }
  return SAGE_OK;
}

// Where measured tiles are kept unless the options say otherwise; empty: the host names no folder, or knows none to
// name.
std::string DefaultTuneFile(const sage_host& host) {
  constexpr uint32_t kReach = offsetof(sage_host, cache_folder) + sizeof(sage_host::cache_folder);
  const char* folder =
      host.struct_size >= kReach && host.cache_folder != nullptr ? host.cache_folder(host.self) : nullptr;
  return folder == nullptr ? std::string() : std::string(folder) + "/tune-cpu.json";
}

class CpuBackend final : public plugins::Backend {
 public:
  CpuBackend(const Context& context, std::unique_ptr<AttentionTuner> tuner)
      : context_(context), tuner_(std::move(tuner)) {
    context_.tuner = tuner_.get();
  }

  void Ask(const OpView& view, uint64_t features, sage_answer* answer) const override {
    const Family* family = FamilyOf(view.op.kind);
    if (family == nullptr)
      return sage_refuse(answer, 0, "%s is not supported by this backend", support::KindName(view.op.kind));
    if (plugins::RefuseOffCpu(view, answer)) return;
    family->ask(context_, view, features, answer);
  }

  sage_status Plan(const OpView& view, uint64_t features, const KernelPlan* like, std::unique_ptr<KernelPlan>* out,
                   sage_error* err) override {
    return FamilyOf(view.op.kind)->plan(context_, view, features, like, out, err);
  }

 private:
  Context context_;
  std::unique_ptr<AttentionTuner> tuner_;
};

}  // namespace

void Probe(sage_answer* answer) {
  sage_accept(answer, 0, SAGE_COST_MODEL, SAGE_ACCURACY_EXACT, 0,
              "this machine has one CPU device; its best kernels are %s", IsaName(DetectCpu().best));
}

sage_status Create(const sage_host& host, const char* options, std::unique_ptr<plugins::Backend>* out,
                   sage_error* err) {
  const CpuFeatures machine = DetectCpu();
  Context context;
  context.host = &host;
  context.isa = machine.best;
  context.num_workers = host.num_workers < 1 ? 1 : host.num_workers;
  context.l1_data_bytes = machine.l1_data_bytes;
  context.l2_bytes = machine.l2_bytes;
  TuneOptions tune;
  tune.file = DefaultTuneFile(host);
  const sage_status status = ReadOptions(options, machine, &context, &tune, err);
  if (status != SAGE_OK) return status;
  auto tuner = std::make_unique<AttentionTuner>(&host, tune, MachineName(machine, context.isa, context.num_workers));
  if (tuner->idle()) tuner.reset();
  *out = std::make_unique<CpuBackend>(context, std::move(tuner));
  return SAGE_OK;
}

}  // namespace sage::cpu
