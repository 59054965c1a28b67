// matmul.cc: MATMUL, c = a b over any number of leading batch axes. Nothing is constant, so B is read in place where
// few rows use it and packed by each task otherwise.
#include "gemm.h"
#include "parallel.h"
#include "refusals.h"

namespace sage::cpu {
namespace {

constexpr uint32_t kA = 0, kB = 1, kC = 2;

struct Sizes {
  int64_t batch = 1, m = 0, n = 0, k = 0;
};

Sizes SizesOf(const sage_tensor& a, const sage_tensor& c) {
  Sizes sizes;
  for (uint32_t i = 0; i + 2 < c.rank; ++i) sizes.batch *= c.shape[i];
  sizes.m = c.shape[c.rank - 2], sizes.n = c.shape[c.rank - 1], sizes.k = a.shape[a.rank - 1];
  return sizes;
}

double OneWorkerNs(const GemmChoice& choice, const Sizes& sizes) {
  return GemmNs(choice, static_cast<double>(sizes.batch), static_cast<double>(sizes.m), static_cast<double>(sizes.n),
                static_cast<double>(sizes.k), false);
}

GemmChoice Choose(const Context& context, const OpView& view) {
  const sage_tensor& c = view.Slot(kC);
  return ChooseGemm(context, view, kA, kB, c.shape[c.rank - 2]);
}

// All axes but the last two.
void AppendBatch(const sage_tensor& tensor, Walk<1>* batch) {
  for (uint32_t i = 0; i + 2 < tensor.rank; ++i) batch->Append(tensor.shape[i], {tensor.stride[i]});
}

template <class T>
class MatmulPlan final : public KernelPlan {
 public:
  MatmulPlan(const Context& context, const OpView& view) : host_(context.host), choice_(Choose(context, view)) {
    const Sizes sizes = SizesOf(view.Slot(kA), view.Slot(kC));
    workspace_bytes = GemmScratchBytes(choice_.Kernel<T>(), sizes.m, sizes.n, false) * context.num_workers;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &a = *args.slots[kA], &b = *args.slots[kB], &c = *args.slots[kC];
    const Sizes sizes = SizesOf(a, c);
    Gemm<T> gemm;
    gemm.kernel = &choice_.Kernel<T>(), gemm.lines = &LinesFor(VectorsOf(choice_.isa));
    gemm.packed_as = choice_.packed_as;
    gemm.batch = sizes.batch, gemm.m = sizes.m, gemm.n = sizes.n, gemm.k = sizes.k;
    gemm.a = BytesOf(a), gemm.a_dtype = a.dtype, gemm.a_step = a.stride[a.rank - 1];
    gemm.a_rows.Append(sizes.m, {a.stride[a.rank - 2]});
    AppendBatch(a, &gemm.a_batch);
    gemm.b = BytesOf(b), gemm.b_dtype = b.dtype;
    gemm.b_k = b.stride[b.rank - 2], gemm.b_n = b.stride[b.rank - 1];
    AppendBatch(b, &gemm.b_batch);
    gemm.y = MutableBytesOf(c), gemm.y_dtype = c.dtype, gemm.y_step = c.stride[c.rank - 1];
    gemm.y_rows.Append(sizes.m, {c.stride[c.rank - 2]});
    AppendBatch(c, &gemm.y_batch);
    return RunGemm(gemm, host_, OneWorkerNs(choice_, sizes), args, err);
  }

 private:
  const sage_host* host_;
  GemmChoice choice_;
};

}  // namespace

void AskMatmul(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (RefuseNonFloats(view, 0, answer)) return;
  const GemmChoice choice = Choose(context, view);
  const Sizes sizes = SizesOf(view.Slot(kA), view.Slot(kC));
  const uint64_t scratch = choice.wide != nullptr ? GemmScratchBytes(*choice.wide, sizes.m, sizes.n, false)
                                                  : GemmScratchBytes(*choice.single, sizes.m, sizes.n, false);
  sage_accept(answer, ParallelNs(context, OneWorkerNs(choice, sizes)), SAGE_COST_MODEL, choice.accuracy,
              scratch * context.num_workers, "%s kernel %s", IsaName(choice.isa), choice.arithmetic);
}

sage_status PlanMatmul(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                       std::unique_ptr<KernelPlan>* out, sage_error* err) {
  if (AnyIsDouble(view))
    *out = std::make_unique<MatmulPlan<double>>(context, view);
  else
    *out = std::make_unique<MatmulPlan<float>>(context, view);
  return sage_succeed(err);
}

}  // namespace sage::cpu
