// ops.cc: what is asked of the small kinds, what a run of them costs, and their plans.
//
// A plan has nothing but the constants' copies: a run reads its tensors, fills a call and launches it. All of them are
// of class EXACT: f64 is computed in double and everything else in float, and a result is rounded to its own type once.
#include "ops/ops.h"

#include <algorithm>

#include "common/cuda/architecture.h"
#include "common/cuda/constants.h"
#include "ops/bind.h"
#include "price.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

using RunFn = Launched (*)(const OpRun& run);

RunFn RunOf(uint32_t kind) {
  switch (kind) {
    case SAGE_OP_NORM:
      return RunNorm;
    case SAGE_OP_UNARY:
      return RunUnary;
    case SAGE_OP_BINARY:
      return RunBinary;
    case SAGE_OP_SOFTMAX:
      return RunSoftmax;
    case SAGE_OP_REDUCE:
      return RunReduce;
    case SAGE_OP_GATHER:
      return RunGather;
    case SAGE_OP_CONCAT:
      return RunConcat;
    case SAGE_OP_SLICE:
      return RunSlice;
    case SAGE_OP_PERMUTE:
      return RunPermute;
    case SAGE_OP_TOPK:
      return RunTopk;
    case SAGE_OP_ROPE:
      return RunRope;
    default:
      return RunPool;
  }
}

// Of memory that is read or written: what repeats by stride 0 is read once, and of what is gathered or sliced only what
// the result has.
double BytesOf(const support::OpView& view) {
  const uint32_t kind = view.op.kind;
  const bool by_result = kind == SAGE_OP_GATHER || kind == SAGE_OP_SLICE;
  double bytes = 0;
  for (uint32_t slot = 0; slot < view.pointers.size(); ++slot) {
    if (!view.Has(slot)) continue;
    const uint32_t counted = by_result && slot == 0 ? (kind == SAGE_OP_GATHER ? 2u : 1u) : slot;
    const sage_tensor& tensor = view.Slot(counted);
    double elements = 1;
    for (uint32_t axis = 0; axis < tensor.rank; ++axis)
      if (tensor.stride[axis] != 0 || tensor.shape[axis] == 0) elements *= static_cast<double>(tensor.shape[axis]);
    bytes += elements * support::DtypeSize(tensor.dtype);
  }
  return bytes;
}

// Lines of which each belongs to one block, where they are what there is to share out; 0: everything is.
double LinesOf(const support::OpView& view) {
  const auto elements = [&](uint32_t slot) { return static_cast<double>(support::ElementCount(view.Slot(slot))); };
  switch (view.op.kind) {
    case SAGE_OP_REDUCE:
      return elements(1);
    case SAGE_OP_SOFTMAX:
      return elements(0) / std::max(1.0, static_cast<double>(view.Slot(0).shape[view.attributes.softmax.axis]));
    case SAGE_OP_TOPK:
      return elements(0) / std::max(1.0, static_cast<double>(view.Slot(0).shape[view.attributes.topk.axis]));
    case SAGE_OP_NORM: {
      if (view.attributes.norm.mode == SAGE_NORM_BATCH) return 0;
      double lines = 1;
      for (int32_t axis = 0; axis < view.attributes.norm.axis; ++axis)
        lines *= static_cast<double>(view.Slot(0).shape[axis]);
      return lines;
    }
    default:
      return 0;
  }
}

double PriceOf(const support::OpView& view, const Properties& device) {
  // CONCAT of many parts is several launches.
  const double launches =
      view.op.kind == SAGE_OP_CONCAT
          ? static_cast<double>(Divided(static_cast<int64_t>(view.pointers.size()) - 1, CopyMany::kMost))
          : 1;
  // A block alone has no more than its multiprocessor's share of the memory's rate.
  const double lines = LinesOf(view), multiprocessors = std::max(device.multiprocessors, 1);
  const double share = lines > 0 ? std::min(1.0, lines / multiprocessors) : 1;
  return MemoryPriceNs(BytesOf(view), share, launches, device);
}

const char* HowOf(const support::OpView& view) {
  switch (view.op.kind) {
    case SAGE_OP_GATHER:
    case SAGE_OP_CONCAT:
    case SAGE_OP_SLICE:
    case SAGE_OP_PERMUTE:
      return "elements moved as bytes";
    case SAGE_OP_UNARY:
      if (view.attributes.unary.function != SAGE_FN_IDENTITY) break;
      return view.Slot(0).dtype == view.Slot(1).dtype ? "elements moved as bytes" : "a cast, rounded once";
    case SAGE_OP_TOPK:
      return "sorted by value, then index";
    default:
      break;
  }
  return view.Slot(0).dtype == SAGE_F64 ? "computed in f64" : "computed in f32, rounded once";
}

class OpPlan final : public plugins::KernelPlan {
 public:
  OpPlan(Device& device, const OpLaunches& launches, const plugins::OpView& view)
      : device_(device), launches_(launches), view_(view) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    // A device that reads a number across its alignment is lost.
    for (uint32_t slot = 0; slot < view_.pointers.size(); ++slot) {
      if (!view_.Has(slot) || constants_.Of(slot) != nullptr) continue;
      const uint32_t size = support::DtypeSize(args.slots[slot]->dtype);
      if (IsMultiple(args.slots[slot]->data, size)) continue;
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                       "run: the address of %s is no multiple of %u bytes, the size of its elements",
                       support::SlotName(view_.op.kind, slot), size);
    }
    const CurrentDevice current(device_.runtime(), device_.id());
    if (const sage_status status = device_.Check(current.code(), err, "making it current"); status != SAGE_OK)
      return status;
    const Properties& properties = device_.properties();
    const bool dependent =
        properties.dependent_launch && CanBeDependent(launches_.architectures, properties.major, properties.minor);
    const Launched launched =
        RunOf(view_.op.kind)({view_, args, constants_, launches_, std::max(properties.multiprocessors, 1), dependent});
    if (launched.ok()) return SAGE_OK;
    const char* const kind = support::KindName(view_.op.kind);
    if (launched.code != kSuccess) return device_.Check(launched.code, err, "launching the kernel of %s", kind);
    (void)device_.runtime().TakeLastError();
    return sage_fail(err, SAGE_E_DEVICE, "%s: launching the kernel of %s: %s", device_.name().c_str(), kind,
                     launched.why);
  }

  sage_status CopyConstants(const sage_host& host, const OpPlan* like, sage_error* err) {
    return constants_.Copy(device_, host, view_, like == nullptr ? nullptr : &like->constants_, &prepack_bytes, err);
  }

 private:
  Device& device_;
  const OpLaunches& launches_;
  const plugins::OpView& view_;
  DeviceConstants constants_;
};

class OpsServer final : public KindServer {
 public:
  explicit OpsServer(const OpLaunches& launches) : launches_(launches) {}

  uint64_t kinds() const override { return kSmallKinds; }

  void Ask(const plugins::OpView& view, uint64_t, const Device& device, sage_answer* answer) const override {
    const Properties& properties = device.properties();
    if (CodeFor(launches_.architectures, properties.major, properties.minor) == Code::kNone)
      return sage_refuse(answer, 0, "%s is sm_%d; the kernels of %s are built for %s", properties.name.c_str(),
                         properties.major * 10 + properties.minor, support::KindName(view.op.kind),
                         ListText(launches_.architectures).c_str());
    char text[200];
    const char* why = nullptr;
    if (view.op.kind == SAGE_OP_TOPK) why = RefuseTopk(view, text);
    if (view.op.kind == SAGE_OP_ROPE) why = RefuseRope(view, text);
    if (why != nullptr) return sage_refuse(answer, 0, "%s", why);
    sage_accept(answer, PriceOf(view, properties), SAGE_COST_MODEL, SAGE_ACCURACY_EXACT, 0, "%s", HowOf(view));
  }

  sage_status Plan(const plugins::OpView& view, uint64_t, Device& device, const sage_host& host,
                   const plugins::KernelPlan* like, std::unique_ptr<plugins::KernelPlan>* out,
                   sage_error* err) const override {
    auto plan = std::make_unique<OpPlan>(device, launches_, view);
    const sage_status status = plan->CopyConstants(host, static_cast<const OpPlan*>(like), err);
    if (status == SAGE_OK) *out = std::move(plan);
    return status;
  }

 private:
  const OpLaunches& launches_;
};

}  // namespace

std::unique_ptr<KindServer> ServeOps(const OpLaunches& launches) { return std::make_unique<OpsServer>(launches); }

}  // namespace sage::cuda
