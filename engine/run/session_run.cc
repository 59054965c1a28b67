// session_run.cc: the run itself: staged inputs, nodes in order, outputs that are copied. Allocates nothing unless
// something is wrong, or verify or accuracy_report is on.
#include <fmt/format.h>

#include <algorithm>

#include "run/session_impl.h"
#include "run/tensor_copy.h"
#include "run/verify_node.h"

namespace sage {
Status Session::Impl::RunNode(size_t index, NodeRun* run) {
  const std::string& name = graph->nodes[index].name;
  if (token.Cancelled()) {
    return Status(SAGE_E_CANCELLED, fmt::format("the run was cancelled before node \"{}\"", name));
  }
  if (run->step == NodeRun::Step::kCopy) {
    counters.bytes_copied += CopyTensor(run->copy.from, run->copy.to);
    return {};
  }
  if (run->domain != 0) {
    // Enqueued: what it does, its faults included, shows when the stream is waited for.
    devices[run->domain]->Enqueued(&name);
    const Status enqueued = run->plan->Run(run->args);
    return enqueued.ok() ? enqueued : enqueued.At(fmt::format("node \"{}\" on {}", name, run->plan->backend().name()));
  }
  if (options.guard) workspace.Arm(run->args.workspace_bytes);
  const Status status = run->plan->Run(run->args);
  if (!workspace.Intact()) {
    workspace.Release();  // the next run gets a sound one
    dirty = true;
    return WorkspaceOverrun(run->plan->backend().name(), run->args.workspace_bytes)
        .At(fmt::format("node \"{}\"", name));
  }
  return status.ok() ? status : status.At(fmt::format("node \"{}\" on {}", name, run->plan->backend().name()));
}

Status Session::Impl::RunChecked(size_t index, NodeRun* run, bool verify) {
  verify &= run->step == NodeRun::Step::kBackend && &run->plan->backend() != engine->reference().get();
  // `reference` too is measured: what rounding to the outputs' dtype costs is worth a number.
  const bool measure = options.accuracy_report && graph->nodes[index].kind == SAGE_OP_ATTENTION;
  if (!verify && !measure) return RunNode(index, run);
  if (run->domain != 0) {
    SAGE_RETURN_IF_ERROR(RunMirrored(index, run, verify, measure));
  } else {
    NodeVerifier verifier(*engine->reference(), run->built);
    SAGE_RETURN_IF_ERROR(RunNode(index, run));
    Check(index, *run, verify, measure, &verifier);
  }
  // `reference` takes long: what stopped it is meant for the run, not for the comparison.
  if (!token.Cancelled()) return {};
  return Status(SAGE_E_CANCELLED, fmt::format("the run was cancelled while node \"{}\" was compared with reference",
                                              graph->nodes[index].name));
}

void Session::Impl::Check(size_t index, const NodeRun& run, bool verify, bool measure, NodeVerifier* verifier) {
  const std::string& backend = run.plan->backend().name();
  if (verify) {
    VerifyReport report = verifier->Compare(&token);
    report.node = graph->nodes[index].name;
    report.backend = backend;
    if (report.suspicious) {
      engine->host()->Log(SAGE_LOG_WARNING,
                          fmt::format("verify: node \"{}\": {} differs from reference by {:.3g} (relative {:.3g})",
                                      report.node, report.backend, report.max_abs_error, report.rel_error));
    }
    verify_reports.push_back(std::move(report));
  }
  if (!measure) return;
  AccuracyReport report;
  report.node = graph->nodes[index].name;
  report.backend = backend;
  report.device = run.domain == 0 ? "cpu" : domains[run.domain]->name();
  report.accuracy = current->nodes[index]->chosen()->answer.accuracy;
  verifier->Measure(&token, &report);
  accuracy_reports.push_back(std::move(report));
}

Status Session::Impl::RunOne(size_t index, bool check, bool verify) {
  NodeRun& run = node_runs[index];
  if (run.step == NodeRun::Step::kNothing) return {};
  token.node = static_cast<uint32_t>(index);
  const uint64_t span = run.span != nullptr ? trace.Begin(run.span) : 0;
  // A trace is read after the run; this says where it is while it runs, to whoever places a crash.
  if (run.span != nullptr) engine->host()->Log(SAGE_LOG_DEBUG, run.span);
  Status status = check ? RunChecked(index, &run, verify) : RunNode(index, &run);
  trace.End(span);
  return status;
}

Status Session::Impl::RunNodes() {
  counters.bytes_copied = 0;
  const bool seen = std::find(verified.begin(), verified.end(), current) != verified.end();
  const bool verify = options.verify == Verify::kAlways || (options.verify == Verify::kFirst && !seen);
  if (verify) verify_reports.clear();
  const bool check = verify || options.accuracy_report;
  for (const CopyJob& job : stage) counters.bytes_copied += CopyTensor(job.from, job.to);
  if (recording != nullptr && !check) {
    SAGE_RETURN_IF_ERROR(RunRecorded());
  } else {
    for (size_t i = 0; i < node_runs.size(); ++i) {
      if (on_devices) {
        const uint32_t next = i + 1 < node_runs.size() ? node_runs[i + 1].first_action : last_actions;
        SAGE_RETURN_IF_ERROR(RunActions(node_runs[i].first_action, next));
      }
      SAGE_RETURN_IF_ERROR(RunOne(i, check, verify));
    }
    if (on_devices) SAGE_RETURN_IF_ERROR(FinishDevices());
  }
  for (const CopyJob& job : finish) counters.bytes_copied += CopyTensor(job.from, job.to);
  if (verify && !seen) verified.push_back(current);
  return {};
}

}  // namespace sage
