// backend.cc: from an accepted op to its kernel: there is nothing to prepare but the size of the scratch.
#include "backend.h"

#include "kernel.h"
#include "support.h"

namespace sage::reference {
namespace {

class ReferencePlan final : public plugins::KernelPlan {
 public:
  ReferencePlan(const sage_host& host, const support::OpView& view, uint64_t features)
      : host_(host), view_(view), features_(features), workspace_per_worker_(WorkspacePerWorker(view)) {
    workspace_bytes = workspace_per_worker_ * host.num_workers;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    return KernelOf(view_.op.kind)(Job{host_, view_, features_, args, workspace_per_worker_, err});
  }

 private:
  const sage_host& host_;
  const support::OpView& view_;
  uint64_t features_;
  uint64_t workspace_per_worker_;
};

class ReferenceBackend final : public plugins::Backend {
 public:
  explicit ReferenceBackend(const sage_host& host) : host_(host) {}

  void Ask(const support::OpView& view, uint64_t features, sage_answer* answer) const override {
    Decide(host_, view, features, answer);
  }
  sage_status Plan(const support::OpView& view, uint64_t features, const plugins::KernelPlan*,
                   std::unique_ptr<plugins::KernelPlan>* out, sage_error*) override {
    *out = std::make_unique<ReferencePlan>(host_, view, features);
    return SAGE_OK;
  }

 private:
  const sage_host& host_;
};

}  // namespace

void Probe(sage_answer* answer) { sage_accept(answer, 0, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, 0, "runs on every CPU"); }

sage_status Create(const sage_host& host, const char* options, std::unique_ptr<plugins::Backend>* out,
                   sage_error* err) {
  const sage_status status = plugins::ExpectNoOptions("the reference", options, err);
  if (status == SAGE_OK) *out = std::make_unique<ReferenceBackend>(host);
  return status;
}

}  // namespace sage::reference
