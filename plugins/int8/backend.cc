// backend.cc: what serves a kind, and the options of an instance.
#include "backend.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "attention.h"
#include "isa.h"
#include "linear.h"
#include "mode.h"
#include "q15.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::int8 {
namespace {

struct Options {
  Isa isa = BestIsa();
  Mode mode = Mode::kAuto;
};

sage_status ReadOption(std::string_view key, std::string_view value, Options* options, sage_error* err) {
  const auto length = [](std::string_view text) { return static_cast<int>(std::min<size_t>(text.size(), 64)); };
  if (key == "mode") {
    if (ModeFromName(value, &options->mode)) return SAGE_OK;
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                     "mode is \"%.*s\", expected auto, per_tensor, qk8_pv16, full or kv_cache", length(value),
                     value.data());
  }
  if (key != "isa")
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "option \"%.*s\" is unknown to int8; it has: isa, mode", length(key),
                     key.data());
  if (value == "auto") return SAGE_OK;
  if (!IsaFromName(value, &options->isa))
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "isa is \"%.*s\", expected %s", length(value), value.data(),
                     IsaNames().c_str());
  if (!Runs(options->isa))
    return sage_fail(err, SAGE_E_UNSUPPORTED,
                     "isa %s was asked for, but the best that this processor and its operating system run is %s; use "
                     "isa=auto",
                     IsaName(options->isa), IsaName(BestIsa()));
  return SAGE_OK;
}

sage_status ReadOptions(std::string_view rest, Options* options, sage_error* err) {
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    if (line.empty()) continue;
    const size_t equals = line.find('=');
    const sage_status read = ReadOption(line.substr(0, equals),
                                        equals == std::string_view::npos ? "" : line.substr(equals + 1), options, err);
    if (read != SAGE_OK) return read;
  }
  return SAGE_OK;
}

class Int8Backend final : public plugins::Backend {
 public:
  Int8Backend(const cpu::Context& context, const Options& options)
      : context_(context), options_(options), flavours_{Flavours{options.isa}, Flavours{Isa::kScalar}} {}

  void Ask(const OpView& view, uint64_t features, sage_answer* answer) const override {
    if (view.op.kind != SAGE_OP_ATTENTION && view.op.kind != SAGE_OP_LINEAR)
      return sage_refuse(answer, 0, "%s is not supported by this backend", support::KindName(view.op.kind));
    if (plugins::RefuseOffCpu(view, answer)) return;
    if (view.op.kind == SAGE_OP_LINEAR) {
      if (!RefuseLinear(view, answer)) AskLinear(context_, options_.isa, view, answer);
      return;
    }
    if (IsQ15(view)) return AskQ15(context_, view, features, answer);  // whatever the mode: those are of 8 bits
    if (RefuseAttention(view, features, answer)) return;
    Mode mode = Mode::kAuto;
    if (!ModeFor(options_.mode, view, &mode, answer)) return;
    cpu::AskAttentionOf(context_, view, features, &FlavourOf(view, mode), answer);
  }

  sage_status Plan(const OpView& view, uint64_t features, const plugins::KernelPlan* like,
                   std::unique_ptr<plugins::KernelPlan>* out, sage_error* err) override {
    if (view.op.kind == SAGE_OP_LINEAR) return PlanLinear(context_, options_.isa, view, like, out, err);
    if (IsQ15(view)) return PlanQ15(context_, view, features, like, out, err);
    Mode mode = Mode::kAuto;
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    (void)ModeFor(options_.mode, view, &mode, &answer);
    return cpu::PlanAttentionOf(context_, view, features, &FlavourOf(view, mode), like, out, err);
  }

 private:
  struct Flavours {
    explicit Flavours(Isa isa)
        : per_tensor(Mode::kPerTensor, isa),
          qk8_pv16(Mode::kQk8Pv16, isa),
          full(Mode::kFull, isa),
          kv_cache(Mode::kKvCache, isa) {}
    Flavour per_tensor, qk8_pv16, full, kv_cache;
  };
  const Flavour& FlavourOf(const OpView& view, Mode mode) const {
    const Flavours& all = flavours_[(view.op.requirements & SAGE_REQUIRE_SCALAR) != 0 ? 1 : 0];
    return mode == Mode::kPerTensor ? all.per_tensor
           : mode == Mode::kQk8Pv16 ? all.qk8_pv16
           : mode == Mode::kKvCache ? all.kv_cache
                                    : all.full;
  }

  cpu::Context context_;
  Options options_;
  std::array<Flavours, 2> flavours_;  // of the instance's instruction set; of scalar
};

}  // namespace

void Probe(sage_answer* answer) {
  sage_accept(answer, 0, SAGE_COST_MODEL, SAGE_ACCURACY_LOSSY, 0,
              "this machine has one CPU device; its best 8-bit kernels are %s", IsaName(BestIsa()));
}

sage_status Create(const sage_host& host, const char* options, std::unique_ptr<plugins::Backend>* out,
                   sage_error* err) {
  Options read;
  const sage_status status = ReadOptions(options, &read, err);
  if (status != SAGE_OK) return status;
  const cpu::CpuFeatures machine = cpu::DetectCpu();
  cpu::Context context;
  context.host = &host;
  context.isa = FloatIsaOf(read.isa);
  context.isa_named = true;
  context.num_workers = host.num_workers < 1 ? 1 : host.num_workers;
  context.l1_data_bytes = machine.l1_data_bytes;
  context.l2_bytes = machine.l2_bytes;
  *out = std::make_unique<Int8Backend>(context, read);
  return SAGE_OK;
}

}  // namespace sage::int8
