// attention.cc: a plan of cuDNN's, and around it the kernels of call.h.
#include "attention.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "common/cuda/architecture.h"
#include "common/cuda/attention_operands.h"
#include "common/cuda/constants.h"
#include "common/cuda/errors.h"
#include "common/cuda/refusals.h"
#include "common/cuda/roofline.h"
#include "price.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"
#include "sdpa_graph.h"

namespace sage::cudnn {
namespace {

constexpr uint32_t kAlign = 16;           // of the addresses of operands, as the graph says
constexpr int64_t kWorkspaceAlign = 256;  // of each part
int64_t Rounded(int64_t bytes) { return (bytes + kWorkspaceAlign - 1) / kWorkspaceAlign * kWorkspaceAlign; }

// What is decided about a call: the graph, and what lies around it.
struct Choice {
  Sdpa sdpa;
  Layout layout;
  bool prepares = false, finishes = false;
};

Layout LayoutOf(const Sdpa& sdpa, int64_t workspace_bytes, bool own_statistics) {
  Layout layout;
  int64_t at = Rounded(workspace_bytes);
  const auto part = [&at](bool wanted, int64_t bytes) {
    if (!wanted) return int64_t{-1};
    const int64_t begin = at;
    at += Rounded(bytes);
    return begin;
  };
  const int64_t offsets = (sdpa.batch + 1) * (sdpa.wide_offsets ? 8 : 4);
  layout.wide_offsets = sdpa.wide_offsets;
  layout.lengths_q = part(sdpa.lengths, 4 * sdpa.batch);
  layout.lengths_kv = part(sdpa.lengths, 4 * sdpa.batch);
  layout.offsets_q = part(sdpa.ragged_q, offsets);
  layout.offsets_o = part(sdpa.ragged_q, offsets);
  layout.offsets_k = part(sdpa.ragged_kv, offsets);
  layout.offsets_v = part(sdpa.ragged_kv, offsets);
  layout.table = part(sdpa.paged(), 4 * sdpa.batch * sdpa.table_columns);
  layout.statistics = part(own_statistics, 4 * sdpa.batch * sdpa.heads_q * sdpa.seq_q);
  layout.statistics_rows = sdpa.seq_q;
  layout.scales = part(sdpa.fp8(), kScaleNumbers * kNumberBytes);
  layout.mask = part(sdpa.dropout, MaskBytes(sdpa));
  layout.mask_row = sdpa.mask_row();
  layout.bytes = at;
  return layout;
}

sage_status Fail(const cuda::Device& device, const Failure& failure, const char* doing, sage_error* err) {
  (void)device.runtime().TakeLastError();
  const bool memory = failure.status == kNoHostMemory || failure.status == kNoDeviceMemory;
  const sage_status status = failure.outcome() == Outcome::kUnsupported ? SAGE_E_UNSUPPORTED
                             : memory                                   ? SAGE_E_OUT_OF_MEMORY
                                                                        : SAGE_E_DEVICE;
  return sage_fail(err, status, "%s%s: %.400s", doing, device.name().c_str(), failure.text.c_str());
}

class AttentionPlan final : public plugins::KernelPlan {
 public:
  AttentionPlan(cuda::Device& device, Context& context, const CallKernels& kernels, const Choice& choice,
                std::shared_ptr<const Plan> plan, const plugins::OpView& view, uint64_t features)
      : device_(device),
        context_(context),
        kernels_(kernels),
        choice_(choice),
        plan_(std::move(plan)),
        view_(view),
        features_(features) {
    workspace_bytes = static_cast<uint64_t>(choice.layout.bytes);
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    std::array<sage_tensor, SAGE_ATTN_NUM_SLOTS> moved;
    std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS> slots;
    constants_.Place(args, moved, slots);
    Call call;
    call.layout = choice_.layout, call.workspace = static_cast<char*>(args.workspace);
    call.table_columns = choice_.sdpa.table_columns;
    if (const char* why = cuda::BindAttention(view_.attributes.attention, features_, slots.data(), SAGE_ATTN_NUM_SLOTS,
                                              &call.a, &call.extras);
        why != nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: %s", why);
    for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
      if (slots[slot] == nullptr) continue;
      // What a graph of cuDNN reads lies at multiples of 16 bytes; the rest is read by the kernels around it.
      const bool wide = slot <= SAGE_ATTN_O || slot == SAGE_ATTN_BIAS || slot == SAGE_ATTN_ALIBI ||
                        slot == SAGE_ATTN_SINKS || (slot == SAGE_ATTN_LSE && choice_.layout.statistics < 0);
      const uint32_t align = wide ? kAlign : support::DtypeSize(slots[slot]->dtype);
      if (reinterpret_cast<uintptr_t>(slots[slot]->data) % align != 0)
        return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "run: the address of %s is no multiple of %u bytes",
                         support::SlotName(SAGE_OP_ATTENTION, slot), align);
    }
    const cuda::CurrentDevice current(device_.runtime(), device_.id());
    if (const sage_status status = device_.Check(current.code(), err, "making it current"); status != SAGE_OK)
      return status;
    if (choice_.prepares) {
      const int code = kernels_.prepare(call, args.stream);
      if (code != cuda::kSuccess) return device_.Check(code, err, "launching the kernel before cuDNN's");
    }
    if (const Failure failure = RunPlan(call, args); !failure.ok()) return Fail(device_, failure, "run: ", err);
    if (choice_.finishes) {
      const int code = kernels_.finish(call, args.stream);
      if (code != cuda::kSuccess) return device_.Check(code, err, "launching the kernel behind cuDNN's");
    }
    return SAGE_OK;
  }

  sage_status CopyConstants(const sage_host& host, const AttentionPlan* like, sage_error* err) {
    return constants_.Copy(device_, host, view_, like == nullptr ? nullptr : &like->constants_, &prepack_bytes, err);
  }

 private:
  Failure RunPlan(const Call& call, const sage_run_args& args) const {
    const cuda::AttentionArguments& a = call.a;
    const Sdpa& sdpa = choice_.sdpa;
    const SdpaBounds bounds = BoundsOf(sdpa);
    auto scale = static_cast<float>(a.scale), cap = static_cast<float>(a.softcap), left = bounds.left;
    float minus_infinity = -std::numeric_limits<float>::infinity();
    int32_t rows = bounds.rows, keys = bounds.keys, right = bounds.right, left_whole = bounds.left_whole;
    const bool from_end = sdpa.bottom_right && sdpa.lengths;
    std::array<Binding, static_cast<size_t>(kUidVirtual)> bindings;  // each uid once at most
    size_t count = 0;
    const auto bind = [&](bool there, TensorUid uid, const void* pointer) {
      if (there) bindings[count++] = {uid, const_cast<void*>(pointer)};
    };
    const auto part = [&call](int64_t offset) { return call.workspace + offset; };
    const bool composite = !sdpa.unified;
    bind(true, kUidQ, a.q), bind(true, kUidK, a.k), bind(true, kUidV, a.v), bind(true, kUidO, a.o);
    bind(sdpa.statistics, kUidStatistics,
         call.layout.statistics >= 0 ? part(call.layout.statistics) : static_cast<const void*>(a.lse));
    bind(sdpa.lengths, kUidLengthsQ, part(call.layout.lengths_q));
    bind(sdpa.lengths, kUidLengthsKv, part(call.layout.lengths_kv));
    bind(sdpa.ragged_q, kUidOffsetsQ, part(call.layout.offsets_q));
    bind(sdpa.ragged_q, kUidOffsetsO, part(call.layout.offsets_o));
    bind(sdpa.ragged_kv, kUidOffsetsK, part(call.layout.offsets_k));
    bind(sdpa.ragged_kv, kUidOffsetsV, part(call.layout.offsets_v));
    bind(sdpa.paged(), kUidTableK, part(call.layout.table)), bind(sdpa.paged(), kUidTableV, part(call.layout.table));
    bind(sdpa.bias, kUidBias, a.bias), bind(sdpa.alibi, kUidAlibi, a.alibi), bind(sdpa.sinks, kUidSinks, a.sinks);
    bind(true, kUidScale, &scale), bind(sdpa.softcap, kUidCap, &cap);
    bind(composite && (sdpa.banded() || sdpa.lengths), kUidMinusInfinity, &minus_infinity);
    const bool up_to = sdpa.causal || sdpa.window_right >= 0;
    bind(up_to && sdpa.bottom_right && !sdpa.lengths, kUidRows, &rows);
    bind(up_to && sdpa.bottom_right && !sdpa.lengths, kUidKeys, &keys);
    bind(up_to && right != 0, kUidRight, &right);
    bind(sdpa.window_left >= 0, kUidLeft,
         from_end ? static_cast<const void*>(&left_whole) : static_cast<const void*>(&left));
    for (int number = 0; number < kScaleNumbers; ++number)
      bind(sdpa.fp8(), static_cast<TensorUid>(kUidScaleQ + number), part(call.layout.scales + number * kNumberBytes));
    auto kept = static_cast<float>(call.extras.kept);
    bind(sdpa.dropout, kUidDropoutMask, part(call.layout.mask)), bind(sdpa.dropout, kUidKept, &kept);
    return context_.Run(*plan_, {bindings.data(), count}, args.workspace, args.stream);
  }

  cuda::Device& device_;
  Context& context_;
  const CallKernels& kernels_;
  const Choice choice_;
  const std::shared_ptr<const Plan> plan_;
  const plugins::OpView& view_;
  const uint64_t features_;
  cuda::DeviceConstants constants_;
};

class AttentionServer final : public cuda::KindServer {
 public:
  AttentionServer(Context& context, const CallKernels& kernels, GraphChoice graphs, cuda::AttentionRates rates)
      : context_(context), kernels_(kernels), graphs_(graphs), rates_(std::move(rates)) {}

  uint64_t kinds() const override { return SAGE_KIND_BIT(SAGE_OP_ATTENTION); }

  void Ask(const plugins::OpView& view, uint64_t features, const cuda::Device& device,
           sage_answer* answer) const override {
    Choice choice;
    (void)Decide(view, features, device, &choice, answer);
  }

  sage_status Plan(const plugins::OpView& view, uint64_t features, cuda::Device& device, const sage_host& host,
                   const plugins::KernelPlan* like, std::unique_ptr<plugins::KernelPlan>* out,
                   sage_error* err) const override {
    Choice choice;
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    if (!Decide(view, features, device, &choice, &answer))  // the device may have been lost since
      return sage_fail(err, SAGE_E_UNSUPPORTED, "plan: %s", answer.reason);
    Failure failure;
    auto made = context_.Get(choice.sdpa, &failure);
    if (made == nullptr) return Fail(device, failure, "plan: ", err);
    auto plan = std::make_unique<AttentionPlan>(device, context_, kernels_, choice, std::move(made), view, features);
    const sage_status status = plan->CopyConstants(host, static_cast<const AttentionPlan*>(like), err);
    if (status == SAGE_OK) *out = std::move(plan);
    return status;
  }

 private:
  // Fills *answer. Yes: *choice is set.
  bool Decide(const plugins::OpView& view, uint64_t features, const cuda::Device& device, Choice* choice,
              sage_answer* answer) const;

  Context& context_;
  const CallKernels kernels_;
  const GraphChoice graphs_;
  const cuda::AttentionRates rates_;
};

bool AttentionServer::Decide(const plugins::OpView& view, uint64_t features, const cuda::Device& device, Choice* choice,
                             sage_answer* answer) const {
  if (cuda::RefuseInGeneral(view, device, answer) || cuda::RefuseAlgorithm(view, answer)) return false;
  if (const std::string reason = context_.disabled(); !reason.empty())
    return sage_refuse(answer, 0, "%.400s", reason.c_str()), false;
  const cuda::Properties& properties = device.properties();
  if (cuda::CodeFor(kernels_.architectures, properties.major, properties.minor) == cuda::Code::kNone)
    return sage_refuse(answer, 0, "%s is sm_%d; the kernels around cuDNN's are built for %s", properties.name.c_str(),
                       context_.installed().sm, cuda::ListText(kernels_.architectures).c_str()),
           false;
  if (view.op.dynamic_axes != 0)
    return sage_refuse(answer, 0, "a plan of cuDNN is of one shape; runs of smaller ones are asked for"), false;
  cuda::AttentionArguments a;
  cuda::AttentionExtras extras;
  if (const char* why = cuda::BindAskedAttention(view, features, &a, &extras); why != nullptr)
    return sage_refuse(answer, 0, "attention is refused: %s", why), false;
  if (cuda::IsFp8(a.type) ? view.op.accuracy == SAGE_ACCURACY_EXACT || view.op.accuracy == SAGE_ACCURACY_NATIVE
                          : view.op.accuracy == SAGE_ACCURACY_EXACT)
    return sage_refuse(answer, 0,
                       cuda::IsFp8(a.type)
                           ? "cuDNN has the weights of fp8 operands in 8 bits, class LOSSY; a higher class is asked for"
                           : "cuDNN computes 16-bit types in their own arithmetic, class NATIVE; EXACT is asked for"),
           false;
  std::string why;
  Sdpa& sdpa = choice->sdpa;
  if (!DescribeSdpa(a, features, context_.installed(), &sdpa, &why, extras))
    return sage_refuse(answer, 0, "%.400s", why.c_str()), false;
  const bool unified = UnifiedHas(sdpa, context_.installed().version);
  if (graphs_ == GraphChoice::kUnified && !unified)
    return sage_refuse(answer, 0, "cuDNN %s: the unified op has no masks, bias, ALiBi, softcap, sinks, dropout or fp8",
                       VersionText(context_.installed().version).c_str()),
           false;
  sdpa.unified = graphs_ == GraphChoice::kUnified;
  Failure failure;
  int64_t workspace = 0;
  bool there = context_.Check(sdpa, &workspace, &failure);
  if (!there && graphs_ == GraphChoice::kAuto && unified && failure.outcome() == Outcome::kUnsupported) {
    sdpa.unified = true;
    there = context_.Check(sdpa, &workspace, &failure);
  }
  if (!there) {
    // What is no refusal has to be heard of, though there is no other answer than NO.
    if (failure.outcome() == Outcome::kFailed) context_.Warn(failure.text);
    return sage_refuse(answer, 0, "%.400s", failure.text.c_str()), false;
  }

  const bool own_statistics = sdpa.statistics && !StatisticsInPlace(a);
  choice->layout = LayoutOf(sdpa, workspace, own_statistics);
  choice->prepares = sdpa.lengths || sdpa.fp8() || sdpa.dropout;
  choice->finishes = NeedsFinish(sdpa, own_statistics);
  const auto bytes = static_cast<uint64_t>(choice->layout.bytes);
  if (bytes > properties.total_bytes)
    return sage_refuse(answer, 0, "a run needs %llu bytes of workspace; %s has %llu",
                       static_cast<unsigned long long>(bytes), device.name().c_str(),
                       static_cast<unsigned long long>(properties.total_bytes)),
           false;
  // The mask is written once and read once.
  const double mask_ns =
      sdpa.dropout ? cuda::MemoryPriceNs(2.0 * static_cast<double>(MaskBytes(sdpa)), 1, 1, properties) : 0;
  const char* source = nullptr;
  const double cost = CudnnPriceNs(a, features, properties, rates_, choice->prepares, choice->finishes, &source);
  sage_accept(answer, cost + mask_ns, SAGE_COST_MODEL, sdpa.fp8() ? SAGE_ACCURACY_LOSSY : SAGE_ACCURACY_NATIVE, bytes,
              "cuDNN %s, %s, on %s, priced by %s", VersionText(context_.installed().version).c_str(),
              sdpa.unified ? "its unified op" : "a composite graph", properties.name.c_str(), source);
  return true;
}

}  // namespace

std::unique_ptr<cuda::KindServer> ServeAttention(Context& context, const CallKernels& kernels, GraphChoice graphs,
                                                 cuda::AttentionRates rates) {
  return std::make_unique<AttentionServer>(context, kernels, graphs, std::move(rates));
}

}  // namespace sage::cudnn
