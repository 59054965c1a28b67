// backend.cc: the library loaded when it is first needed, and called by one thread at a time.
//
// OpenBLAS is loaded by the first plan, not by create: loading takes some ten milliseconds and starts its threads,
// which spin for about twenty before they sleep, and an engine that never chooses this backend should pay neither.
//
// One mutex per instance is taken in run. OpenBLAS shares its threads among callers, so two products at once do not
// run faster, and calls one after the other are the only use its authors promise in every version.
#include "backend.h"

#include <mutex>
#include <string>

#include "library.h"
#include "product.h"
#include "sage/support/refuse.h"
#include "support.h"

namespace sage::openblas {
namespace {

class OpenblasBackend final : public plugins::Backend {
 public:
  explicit OpenblasBackend(const sage_host& host) : host_(host) {}

  void Ask(const support::OpView& view, uint64_t, sage_answer* answer) const override {
    Decide(view, host_.num_workers, answer);
  }
  sage_status Plan(const support::OpView& view, uint64_t, const plugins::KernelPlan*,
                   std::unique_ptr<plugins::KernelPlan>* out, sage_error* err) override;

  sage_status Run(uint32_t kind, uint32_t activation, const sage_run_args& args, sage_error* err) {
    std::lock_guard<std::mutex> lock(mutex_);
    return RunProduct(host_, blas_, kind, activation, args, err);
  }

 private:
  const sage_host& host_;
  std::mutex mutex_;  // guards loading, and every call into the library
  Library blas_;
};

class ProductPlan final : public plugins::KernelPlan {
 public:
  ProductPlan(OpenblasBackend* backend, const support::OpView& view)
      : backend_(backend),
        kind_(view.op.kind),
        activation_(kind_ == SAGE_OP_LINEAR ? view.attributes.linear.activation : SAGE_FN_IDENTITY) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    return backend_->Run(kind_, activation_, args, err);
  }

 private:
  OpenblasBackend* backend_;
  uint32_t kind_, activation_;
};

sage_status OpenblasBackend::Plan(const support::OpView& view, uint64_t, const plugins::KernelPlan*,
                                  std::unique_ptr<plugins::KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<ProductPlan>(this, view);
  std::lock_guard<std::mutex> lock(mutex_);
  if (blas_.sgemm != nullptr) return SAGE_OK;
  std::string why;
  if (!LoadLibrary(DefaultCandidates(), &blas_, &why)) return sage_fail(err, SAGE_E_NOT_FOUND, "plan: %s", why.c_str());
  // For the whole process: OpenBLAS has one pool, and the latest to speak sets its size.
  blas_.set_num_threads(static_cast<int>(host_.num_workers));
  return SAGE_OK;
}

}  // namespace

void Probe(sage_answer* answer) {
  std::string why;
  if (LibraryIsThere(DefaultCandidates(), &why))
    sage_accept(answer, 0, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, 0, "OpenBLAS, pthread build, is installed");
  else
    sage_refuse(answer, 0, "%s", why.c_str());
}

sage_status Create(const sage_host& host, const char* options, std::unique_ptr<plugins::Backend>* out,
                   sage_error* err) {
  const sage_status status = plugins::ExpectNoOptions("openblas", options, err);
  if (status == SAGE_OK) *out = std::make_unique<OpenblasBackend>(host);
  return status;
}

}  // namespace sage::openblas
