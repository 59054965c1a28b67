// library_product.cc: see the header.
#include "common/cuda/products/library_product.h"

#include <algorithm>
#include <array>

#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

constexpr uint64_t kWorkspaceAlign = 256;
uint64_t Rounded(uint64_t bytes) { return (bytes + kWorkspaceAlign - 1) / kWorkspaceAlign * kWorkspaceAlign; }

bool IsHalf(sage_dtype dtype) { return dtype == SAGE_F16 || dtype == SAGE_BF16; }

void Keep(const LibrarySteps& steps, const LibraryAlgorithm& algorithm, LibraryWay* way, LibraryProduct* product) {
  *way = {true, steps.call, algorithm};
  const uint64_t scratch = std::max(product->workspace_bytes - product->library_workspace, steps.scratch_bytes);
  product->library_workspace = std::max(product->library_workspace, Rounded(algorithm.workspace_bytes));
  product->workspace_bytes = product->library_workspace + scratch;
}

// Whether way is there, and its algorithm serves call: no larger, and no less aligned in any of its strides.
bool Serves(const LibraryWay& way, const LibraryCall& call) {
  if (!way.there) return false;
  const LibraryCall& planned = way.call;
  const auto same = [](const LibraryCall& c) {
    return std::array{
        c.compute, c.scale_type, c.type, c.d_type, c.trans_a, c.trans_b, c.n, c.k, static_cast<int32_t>(c.epilogue)};
  };
  // A leading dimension is as even as planned, by the multiples of elements that an algorithm may count on.
  const auto as_even = [](int64_t ld, int64_t wanted) {
    int64_t step = kLibraryAlign;  // elements of one byte
    while (wanted % step != 0) step /= 2;
    return ld % step == 0;
  };
  return same(planned) == same(call) && call.lda == planned.lda && as_even(call.ldb, planned.ldb) &&
         as_even(call.ldd, planned.ldd) && call.m <= planned.m && call.batch <= planned.batch &&
         call.align_a >= planned.align_a && call.align_b >= planned.align_b && call.align_d >= planned.align_d;
}

}  // namespace

uint32_t AcceptedAccuracy(const support::OpView& view) {
  if (view.op.accuracy != SAGE_ACCURACY_AUTO) return view.op.accuracy;
  const sage_dtype x = view.Slot(kSlotX).dtype, w = view.Slot(kSlotW).dtype;
  if (support::IsQuantised(x) || support::IsQuantised(w)) return SAGE_ACCURACY_LOSSY;
  return IsHalf(x) || IsHalf(w) ? SAGE_ACCURACY_NATIVE : SAGE_ACCURACY_EXACT;
}

uint32_t DeliveredAccuracy(const LibrarySteps& steps) {
  if (steps.call.compute == lt::kCompute32FFastTf32) return SAGE_ACCURACY_LOSSY;
  return steps.call.type == lt::kR16F || steps.call.type == lt::kR16BF ? SAGE_ACCURACY_NATIVE : SAGE_ACCURACY_EXACT;
}

bool FindLibraryProduct(const support::OpView& view, const ProductArguments& a, const Device& device, Besides besides,
                        ProductLibrary* library, LibraryProduct* out, LibrarySteps* steps, std::string* why) {
  const bool tf32 = out->tf32;
  *out = {};
  out->tf32 = tf32, out->planned_rows = a.m, out->planned_batch = a.batch;
  if (!library->Open(device, why)) return false;
  const auto find = [&](const ProductArguments& arguments, bool fuse, LibrarySteps* described, LibraryWay* way) {
    if (const char* refusal = DescribeSteps(arguments, fuse, tf32, described); refusal != nullptr)
      return *why = refusal, false;
    if (besides == Besides::kNothing && described->finishes) {
      // What the library said of the epilogue is the better reason.
      if (fuse || why->empty()) *why = std::string("it takes a kernel for ") + described->rest;
      return false;
    }
    LibraryAlgorithm algorithm;
    if (!library->Find(described->call, &algorithm, why)) return false;
    Keep(*described, algorithm, way, out);
    return true;
  };
  out->fused = find(a, true, steps, &out->joined);
  if (!out->fused && !find(a, false, steps, &out->joined)) return false;
  if (view.op.dynamic_axes == 0 || view.Slot(kSlotX).rank < 3) return true;
  ProductArguments apart;
  LibrarySteps apart_steps;
  const char* const refusal = BindPlanned(view, false, &apart);
  if (refusal == nullptr && find(apart, out->fused, &apart_steps, &out->apart)) return true;
  if (besides == Besides::kKernels) return true;
  *why = "for fewer rows at run: " + (refusal != nullptr ? refusal : *why);
  return false;
}

Fit FitRun(const LibraryProduct& product, const support::OpView& view, const RunOperands& operands,
           const ProductArguments& a, void* workspace, LibraryRun* out, uint32_t* slot) {
  LibrarySteps& steps = out->steps;
  out->as_planned = a.m == product.planned_rows && a.batch == product.planned_batch;
  const auto fits = [&](const ProductArguments& arguments, const LibraryWay& way) {
    if (DescribeSteps(arguments, product.fused, product.tf32, &steps) != nullptr) return false;
    // One row: its distance to the next is none, and the planned one keeps what the algorithm was told.
    if (steps.call.m == 1 && steps.call.trans_b == way.call.trans_b) {
      if (steps.call.trans_b == lt::kNormal) steps.call.ldb = way.call.ldb;
      steps.call.ldd = way.call.ldd;
    }
    out->way = &way;
    return Serves(way, steps.call);
  };
  if (!fits(a, product.joined)) {
    ProductArguments apart;
    if (!product.apart.there ||
        BindProduct(view.op.kind, view.attributes.linear.activation, operands.slots.data(), false, &apart) != nullptr ||
        !fits(apart, product.apart))
      return Fit::kNoAlgorithm;
  }
  char* const scratch = static_cast<char*>(workspace) + product.library_workspace;
  if (steps.scratch_bytes != 0) steps.product.y = scratch, steps.finish.x = scratch;
  const bool bias = (steps.call.epilogue & lt::kEpilogueBias) != 0;
  const struct {
    uint32_t slot;
    const void* data;
  } kAddresses[] = {{kSlotX, steps.product.x},
                    {kSlotW, steps.product.w},
                    {OutputSlot(view.op.kind), steps.product.y},
                    {kSlotBias, bias ? steps.product.bias : nullptr}};
  for (const auto& [which, data] : kAddresses)
    if (!IsAligned(data, kLibraryAlign)) return *slot = which, Fit::kCrooked;
  return Fit::kYes;
}

sage_status LaunchRun(const LibraryRun& run, const ProductLibrary& library, const Device& device, void* workspace,
                      void* stream, bool* refused, sage_error* err) {
  const int status = library.Launch(run.steps, run.way->algorithm, workspace, stream);
  *refused = !run.as_planned && (status == lt::kNotSupported || status == lt::kInvalidValue);
  if (status != lt::kSuccess) (void)device.runtime().TakeLastError();
  if (status == lt::kSuccess || *refused) return SAGE_OK;
  return sage_fail(err, SAGE_E_DEVICE, "%s: cublasLtMatmul: %s", device.name().c_str(), library.Text(status).c_str());
}

}  // namespace sage::cuda
