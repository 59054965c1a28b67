// linear.cc: LINEAR, y = fn(x W^T + b). A constant W is packed once, at plan, and shared by the plans of one node that
// have the same kernel: on a machine with tiles those for few rows and those for many have not.
#include <algorithm>

#include "gemm.h"
#include "parallel.h"
#include "refusals.h"

namespace sage::cpu {
namespace {

constexpr uint32_t kX = 0, kW = 1, kBias = 2, kY = 3, kScaleX = 4, kScaleW = 5;

// Rows of X or Y: all axes but the last.
void AppendRows(const sage_tensor& tensor, Walk<1>* rows) {
  for (uint32_t i = 0; i + 1 < tensor.rank; ++i) rows->Append(tensor.shape[i], {tensor.stride[i]});
}

int64_t Rows(const sage_tensor& tensor) {
  int64_t rows = 1;
  for (uint32_t i = 0; i + 1 < tensor.rank; ++i) rows *= tensor.shape[i];
  return rows;
}

bool WeightIsConstant(const OpView& view) { return (view.Slot(kW).flags & SAGE_TENSOR_CONSTANT) != 0; }

double OneWorkerNs(const GemmChoice& choice, int64_t m, int64_t n, int64_t k, uint32_t activation, bool packed) {
  const Isa isa = VectorsOf(choice.isa);
  const bool plain = activation == SAGE_FN_IDENTITY || activation == SAGE_FN_RELU;
  const double function = plain ? 0.0 : isa == Isa::kScalar ? 10.0 : isa == Isa::kAvx512 ? 2.0 : VectorNs(isa, 4.0);
  const double rows = static_cast<double>(m), columns = static_cast<double>(n);
  return GemmNs(choice, 1.0, rows, columns, static_cast<double>(k), packed) + function * rows * columns;
}

GemmChoice Choose(const Context& context, const OpView& view) {
  return ChooseGemm(context, view, kX, kW, Rows(view.Slot(kY)));
}

template <class T>
class LinearPlan final : public KernelPlan {
 public:
  LinearPlan(const Context& context, const OpView& view)
      : host_(context.host), view_(view), choice_(Choose(context, view)), kernel_(&choice_.Kernel<T>()) {}

  sage_status Prepare(const Context& context, const LinearPlan* like, sage_error* err) {
    const sage_tensor& w = view_.Slot(kW);
    if (WeightIsConstant(view_) && w.data != nullptr) {
      if (like != nullptr && like->packed_ != nullptr && Shares(*like)) {
        packed_ = like->packed_;
      } else {
        const int64_t needed = PackedBytes(*kernel_, choice_.packed_as, w.shape[0], w.shape[1]);
        if (needed < 0)
          return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "a weight of %lld x %lld cannot be packed: its size overflows",
                           static_cast<long long>(w.shape[0]), static_cast<long long>(w.shape[1]));
        const uint64_t bytes = std::max<uint64_t>(static_cast<uint64_t>(needed), 64);
        const sage_status status = HostBlock::Make(context.host, bytes, 64, &packed_, err);
        if (status != SAGE_OK) return status;
        PackGemm(Describe(w), static_cast<char*>(packed_->data()));
        prepack_bytes = bytes;
      }
    }
    // A worker's scratch depends on whether W is packed, which Ask knew from the flag; data may still be absent.
    const sage_tensor& y = view_.Slot(kY);
    workspace_bytes =
        GemmScratchBytes(*kernel_, Rows(y), y.shape[y.rank - 1], packed_ != nullptr) * context.host->num_workers;
    return SAGE_OK;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[kX], &y = *args.slots[kY];
    Gemm<T> gemm = Describe(*args.slots[kW]);
    gemm.m = Rows(y);
    gemm.a = BytesOf(x), gemm.a_dtype = x.dtype, gemm.a_step = x.stride[x.rank - 1];
    AppendRows(x, &gemm.a_rows);
    if (packed_ != nullptr) gemm.packed = static_cast<const char*>(packed_->data());
    if (view_.Has(kBias)) {
      const sage_tensor& bias = *args.slots[kBias];
      gemm.bias = BytesOf(bias), gemm.bias_dtype = bias.dtype, gemm.bias_step = bias.stride[0];
    }
    gemm.activation = view_.attributes.linear.activation;
    gemm.y = MutableBytesOf(y), gemm.y_dtype = y.dtype, gemm.y_step = y.stride[y.rank - 1];
    AppendRows(y, &gemm.y_rows);
    const double ns = OneWorkerNs(choice_, gemm.m, gemm.n, gemm.k, gemm.activation, packed_ != nullptr);
    return RunGemm(gemm, host_, ns, args, err);
  }

 private:
  // The parts of the product that W alone decides.
  Gemm<T> Describe(const sage_tensor& w) const {
    Gemm<T> gemm;
    gemm.kernel = kernel_, gemm.lines = &LinesFor(VectorsOf(choice_.isa));
    gemm.packed_as = choice_.packed_as;
    gemm.n = w.shape[0], gemm.k = w.shape[1];
    gemm.b = BytesOf(w), gemm.b_dtype = w.dtype;
    gemm.b_k = w.stride[1], gemm.b_n = w.stride[0];
    return gemm;
  }

  bool Shares(const LinearPlan& like) const {
    const sage_tensor &mine = view_.Slot(kW), &theirs = like.view_.Slot(kW);
    return like.kernel_ == kernel_ && mine.data == theirs.data && mine.dtype == theirs.dtype &&
           mine.shape[0] == theirs.shape[0] && mine.shape[1] == theirs.shape[1] && mine.stride[0] == theirs.stride[0] &&
           mine.stride[1] == theirs.stride[1];
  }

  const sage_host* host_;
  const OpView& view_;
  GemmChoice choice_;
  const GemmKernel<T>* kernel_;
  std::shared_ptr<HostBlock> packed_;
};

template <class T>
sage_status PlanAs(const Context& context, const OpView& view, const KernelPlan* like, std::unique_ptr<KernelPlan>* out,
                   sage_error* err) {
  auto plan = std::make_unique<LinearPlan<T>>(context, view);
  const sage_status status = plan->Prepare(context, dynamic_cast<const LinearPlan<T>*>(like), err);
  if (status == SAGE_OK) *out = std::move(plan);
  return status;
}

template <class T>
uint64_t WorkspaceBytes(const Context& context, const GemmKernel<T>& kernel, int64_t m, int64_t n, bool packed) {
  const uint64_t unpacked_bytes = GemmScratchBytes(kernel, m, n, false);
  const uint64_t bytes = packed ? std::max(unpacked_bytes, GemmScratchBytes(kernel, m, n, true)) : unpacked_bytes;
  return bytes * context.num_workers;
}

}  // namespace

void AskLinear(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (view.Has(kScaleX) || view.Has(kScaleW))
    return sage_refuse(answer, 0,
                       "LINEAR with SCALE_X or SCALE_W (quantised operands) is not supported by cpu: "
                       "dequantise first, or use another backend");
  if (RefuseNonFloats(view, 0, answer)) return;
  const GemmChoice choice = Choose(context, view);
  const sage_tensor &w = view.Slot(kW), &y = view.Slot(kY);
  const int64_t m = Rows(y), n = w.shape[0], k = w.shape[1];
  const bool packed = WeightIsConstant(view);
  const double ns = OneWorkerNs(choice, m, n, k, view.attributes.linear.activation, packed);
  const uint64_t workspace = choice.wide != nullptr ? WorkspaceBytes(context, *choice.wide, m, n, packed)
                                                    : WorkspaceBytes(context, *choice.single, m, n, packed);
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, choice.accuracy, workspace, "%s kernel %s, W %s",
              IsaName(choice.isa), choice.arithmetic,
              packed ? "packed once at plan" : "packed per run, as it is not constant");
}

sage_status PlanLinear(const Context& context, const OpView& view, uint64_t, const KernelPlan* like,
                       std::unique_ptr<KernelPlan>* out, sage_error* err) {
  return AnyIsDouble(view) ? PlanAs<double>(context, view, like, out, err)
                           : PlanAs<float>(context, view, like, out, err);
}

}  // namespace sage::cpu
