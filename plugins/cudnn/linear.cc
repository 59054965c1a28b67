// linear.cc: every refusal of a product with its reason; a run binds its tensors and enqueues, nothing else.
#include "linear.h"

#include <string>
#include <utility>

#include "common/cuda/constants.h"
#include "common/cuda/products/library_price.h"
#include "common/cuda/products/library_product.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::cudnn {
namespace {

using cuda::ProductArguments;

bool IsEmpty(const ProductArguments& a) { return a.batch == 0 || a.m == 0 || a.n == 0; }

// Fills *answer. Yes: *product is set, unless the result is empty. view passed CheckOp.
bool Decide(const support::OpView& view, const cuda::Device& device, cuda::ProductLibrary* library,
            cuda::LibraryProduct* product, sage_answer* answer) {
  *product = {};
  const cuda::Properties& properties = device.properties();
  const char* const kind = support::KindName(view.op.kind);
  ProductArguments a;
  if (const char* why = cuda::BindPlanned(view, true, &a); why != nullptr)
    return sage_refuse(answer, 0, "%s is refused: %s", kind, why), false;
  if (IsEmpty(a))
    return sage_accept(answer, 0, SAGE_COST_MODEL, SAGE_ACCURACY_EXACT, 0, "%s has no result, and runs nothing", kind),
           true;
  const uint32_t accuracy = cuda::AcceptedAccuracy(view);
  product->tf32 = accuracy == SAGE_ACCURACY_LOSSY;
  cuda::LibrarySteps steps;
  if (const char* why = cuda::DescribeSteps(a, true, product->tf32, &steps); why != nullptr)
    return sage_refuse(answer, 0, "%s is refused: cuBLASLt: %s", kind, why), false;
  if (steps.finishes)
    return sage_refuse(answer, 0, "%s is refused: it takes a kernel behind cuBLASLt for %s, and this backend has none",
                       kind, steps.rest),
           false;
  if (cuda::DeliveredAccuracy(steps) > accuracy)
    return sage_refuse(answer, 0, "%s is refused: EXACT is asked for, and cuBLASLt's sums of 16 bits are NATIVE", kind),
           false;
  std::string why;
  if (!FindLibraryProduct(view, a, device, cuda::Besides::kNothing, library, product, &steps, &why)) {
    const std::string places = library->Places();
    if (!places.empty()) why += "; looked in " + places + " (option cublas)";
    return sage_refuse(answer, 0, "%s is refused: %s", kind, why.c_str()), false;
  }
  if (product->workspace_bytes > properties.total_bytes)
    return sage_refuse(answer, 0, "a run needs %llu bytes of workspace; %s has %llu",
                       static_cast<unsigned long long>(product->workspace_bytes), device.name().c_str(),
                       static_cast<unsigned long long>(properties.total_bytes)),
           false;
  sage_accept(answer, LibraryPriceNs(a, steps, properties), SAGE_COST_MODEL, cuda::DeliveredAccuracy(steps),
              product->workspace_bytes, "cuBLASLt%s on %s",
              cuda::DeliveredAccuracy(steps) == SAGE_ACCURACY_LOSSY ? " in tf32" : "", properties.name.c_str());
  return true;
}

class LinearPlan final : public plugins::KernelPlan {
 public:
  LinearPlan(cuda::Device& device, const cuda::ProductLibrary& library, const cuda::LibraryProduct& product,
             const plugins::OpView& view)
      : device_(device), library_(library), product_(product), view_(view) {
    workspace_bytes = product.workspace_bytes;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    cuda::RunOperands operands;
    ProductArguments a;
    sage_status status = BindRun(view_, constants_, args, &operands, &a, err);
    if (status != SAGE_OK || IsEmpty(a)) return status;
    cuda::LibraryRun run;
    uint32_t slot = 0;
    switch (FitRun(product_, view_, operands, a, args.workspace, &run, &slot)) {
      case cuda::Fit::kYes:
        break;
      case cuda::Fit::kCrooked:
        return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                         "run: the address of %s is no multiple of %u bytes, which cuBLASLt needs, and this backend "
                         "has no kernel that does without; align it, or let another backend have the op",
                         support::SlotName(view_.op.kind, slot), cuda::kLibraryAlign);
      case cuda::Fit::kNoAlgorithm:
        return sage_fail(err, SAGE_E_UNSUPPORTED,
                         "run: no algorithm was planned for %d times %d rows; plan the op with that many", a.batch,
                         a.m);
    }
    const cuda::CurrentDevice current(device_.runtime(), device_.id());
    status = device_.Check(current.code(), err, "making it current");
    if (status != SAGE_OK) return status;
    bool refused = false;
    status = LaunchRun(run, library_, device_, args.workspace, args.stream, &refused, err);
    if (!refused) return status;
    return sage_fail(err, SAGE_E_UNSUPPORTED,
                     "run: cuBLASLt does not serve %d times %d rows by the algorithm that it chose for %d times %d; "
                     "plan the op with that many",
                     a.batch, a.m, product_.planned_batch, product_.planned_rows);
  }

  sage_status CopyConstants(const sage_host& host, const LinearPlan* like, sage_error* err) {
    return constants_.Copy(device_, host, view_, like == nullptr ? nullptr : &like->constants_, &prepack_bytes, err);
  }

 private:
  cuda::Device& device_;
  const cuda::ProductLibrary& library_;
  const cuda::LibraryProduct product_;
  const plugins::OpView& view_;
  cuda::DeviceConstants constants_;
};

class LinearServer final : public cuda::KindServer {
 public:
  LinearServer(cuda::LoadLibraryFn load, std::string path) : library_(load, std::move(path)) {}

  cuda::ProductLibrary& library() { return library_; }

  uint64_t kinds() const override { return SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_MATMUL); }

  void Ask(const plugins::OpView& view, uint64_t, const cuda::Device& device, sage_answer* answer) const override {
    cuda::LibraryProduct product;
    (void)Decide(view, device, &library_, &product, answer);
  }

  sage_status Plan(const plugins::OpView& view, uint64_t, cuda::Device& device, const sage_host& host,
                   const plugins::KernelPlan* like, std::unique_ptr<plugins::KernelPlan>* out,
                   sage_error* err) const override {
    cuda::LibraryProduct product;
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    if (!Decide(view, device, &library_, &product, &answer))
      return sage_fail(err, SAGE_E_UNSUPPORTED, "plan: %s", answer.reason);
    auto plan = std::make_unique<LinearPlan>(device, library_, product, view);
    const sage_status status = plan->CopyConstants(host, static_cast<const LinearPlan*>(like), err);
    if (status == SAGE_OK) *out = std::move(plan);
    return status;
  }

 private:
  mutable cuda::ProductLibrary library_;  // it remembers what it was asked; its answers do not change
};

}  // namespace

sage_status ServeLinear(cuda::LoadLibraryFn load, const cuda::LibraryOption& option, const cuda::Device& device,
                        std::unique_ptr<cuda::KindServer>* out, sage_error* err) {
  auto server = std::make_unique<LinearServer>(option.off() ? nullptr : load, option.path());
  if (const sage_status status = OpenNamedLibrary(option, device, &server->library(), err); status != SAGE_OK)
    return status;
  *out = std::move(server);
  return SAGE_OK;
}

}  // namespace sage::cudnn
