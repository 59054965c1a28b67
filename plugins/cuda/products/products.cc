// products.cc: constants copied to the device once; a run binds its tensors and enqueues, nothing else.
#include "products/products.h"

#include <string>
#include <utility>

#include "common/cuda/architecture.h"
#include "common/cuda/constants.h"
#include "common/cuda/products/library_price.h"
#include "common/cuda/products/library_product.h"
#include "products/product_choice.h"
#include "products/product_price.h"
#include "products/product_skinny_plan.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

class ProductPlan final : public plugins::KernelPlan {
 public:
  ProductPlan(Device& device, const ProductKernels& kernels, const ProductLibrary& library, const ProductChoice& choice,
              const plugins::OpView& view)
      : device_(device), kernels_(kernels), library_(library), choice_(choice), view_(view) {
    workspace_bytes = choice.workspace_bytes;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    RunOperands operands;
    ProductArguments a;
    if (const sage_status bound = BindRun(view_, constants_, args, &operands, &a, err); bound != SAGE_OK) return bound;
    if (a.batch == 0 || a.m == 0 || a.n == 0) return SAGE_OK;  // nothing to write
    // The kernels read W past the caches that are kept coherent: no grid before may be writing it.
    const Properties& properties = device_.properties();
    a.dependent = properties.dependent_launch && constants_.Of(1) != nullptr &&
                  CanBeDependent(kernels_.architectures, properties.major, properties.minor);

    const CurrentDevice current(device_.runtime(), device_.id());
    if (const sage_status status = device_.Check(current.code(), err, "making it current"); status != SAGE_OK)
      return status;
    if (choice_.engine == ProductEngine::kLibrary) {
      bool done = false;
      const sage_status status = ByLibrary(operands, a, args, &done, err);
      if (done || status != SAGE_OK) return status;
    }
    return ByOurs(a, args.stream, err);
  }

  sage_status CopyConstants(const sage_host& host, const ProductPlan* like, sage_error* err) {
    return constants_.Copy(device_, host, view_, like == nullptr ? nullptr : &like->constants_, &prepack_bytes, err);
  }

 private:
  bool SkinnyServes(const ProductArguments& a) const {
    const SkinnyOrder order = SkinnyOrderOf(a);
    return order != SkinnyOrder::kNone && IsAligned(a.w, kSkinnyAlign) &&
           (order == SkinnyOrder::kAlongN || IsAligned(a.x, kSkinnyAlign));
  }

  sage_status ByOurs(const ProductArguments& a, void* stream, sage_error* err) const {
    const Properties& properties = device_.properties();
    if (SkinnyServes(a) && SkinnyPriceNs(a, properties) <= PlainPriceNs(a, properties))
      return device_.Check(kernels_.skinny(a, SkinnySplit(a, properties.multiprocessors), stream), err,
                           "launching the skinny kernel of products");
    return device_.Check(kernels_.plain(a, stream), err, "launching the plain kernel of products");
  }

  // *done: it has been enqueued. Else, with SAGE_OK, it is for our kernels: other addresses than the algorithm takes,
  // or fewer rows than it was chosen for.
  sage_status ByLibrary(const RunOperands& operands, const ProductArguments& a, const sage_run_args& args, bool* done,
                        sage_error* err) const {
    LibraryRun run;
    uint32_t slot = 0;
    if (FitRun(choice_.library, view_, operands, a, args.workspace, &run, &slot) != Fit::kYes) return SAGE_OK;
    if (!run.as_planned && SkinnyServes(a) &&
        SkinnyPriceNs(a, device_.properties()) < LibraryPriceNs(a, run.steps, device_.properties()))
      return SAGE_OK;
    bool refused = false;
    const sage_status status = LaunchRun(run, library_, device_, args.workspace, args.stream, &refused, err);
    if (status != SAGE_OK || refused) return status;
    *done = true;
    if (!run.steps.finishes) return SAGE_OK;
    return device_.Check(kernels_.finish(run.steps.finish, args.stream), err,
                         "launching the kernel that finishes a product");
  }

  Device& device_;
  const ProductKernels& kernels_;
  const ProductLibrary& library_;
  ProductChoice choice_;
  const plugins::OpView& view_;
  DeviceConstants constants_;
};

class ProductServer final : public KindServer {
 public:
  ProductServer(const ProductKernels& kernels, LoadLibraryFn load, std::string path)
      : kernels_(kernels), library_(load, std::move(path)) {}

  ProductLibrary& library() { return library_; }

  uint64_t kinds() const override { return SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_MATMUL); }

  void Ask(const plugins::OpView& view, uint64_t, const Device& device, sage_answer* answer) const override {
    ProductChoice choice;
    (void)DecideProduct(view, device, kernels_, &library_, &choice, answer);
  }

  sage_status Plan(const plugins::OpView& view, uint64_t, Device& device, const sage_host& host,
                   const plugins::KernelPlan* like, std::unique_ptr<plugins::KernelPlan>* out,
                   sage_error* err) const override {
    ProductChoice choice;
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    if (!DecideProduct(view, device, kernels_, &library_, &choice, &answer))
      return sage_fail(err, SAGE_E_UNSUPPORTED, "plan: %s", answer.reason);
    auto plan = std::make_unique<ProductPlan>(device, kernels_, library_, choice, view);
    const sage_status status = plan->CopyConstants(host, static_cast<const ProductPlan*>(like), err);
    if (status == SAGE_OK) *out = std::move(plan);
    return status;
  }

 private:
  const ProductKernels kernels_;
  mutable ProductLibrary library_;  // it remembers what it was asked; its answers do not change
};

}  // namespace

sage_status ServeProducts(const ProductKernels& kernels, LoadLibraryFn load, const LibraryOption& option,
                          const Device& device, std::unique_ptr<KindServer>* out, sage_error* err) {
  auto server = std::make_unique<ProductServer>(kernels, option.off() ? nullptr : load, option.path());
  if (const sage_status status = OpenNamedLibrary(option, device, &server->library(), err); status != SAGE_OK)
    return status;
  *out = std::move(server);
  return SAGE_OK;
}

}  // namespace sage::cuda
