// session_record.cc: under graph_capture, what a run gives to a device is recorded once and replayed: one call for many
// kernels and copies.
//
// What is recorded belongs to one set of addresses and shapes, the binding; another one has a recording of its own, and
// the most recently used are kept. Recorded are copies to and from memory that the device reaches by itself, and nodes
// whose backend says that this is legal; whatever else lies between, nodes on the CPU and waits, is done as ever.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "run/session_impl.h"

namespace sage {
namespace {

// Bindings in turn, buckets or double buffers, are few; each holds a graph on the device.
constexpr size_t kMaxRecordings = 16;
// A node that does nothing is on nobody's way.
constexpr uint32_t kAnyDomain = UINT32_MAX;

template <class T>
void Append(const T* values, size_t count, std::vector<unsigned char>* bytes) {
  const auto* begin = reinterpret_cast<const unsigned char*>(values);
  bytes->insert(bytes->end(), begin, begin + count * sizeof(T));
}

void Append(const sage_tensor& tensor, std::vector<unsigned char>* bytes) {
  Append(&tensor.data, 1, bytes);
  Append(tensor.shape, tensor.rank, bytes);
  Append(tensor.stride, tensor.rank, bytes);
}

}  // namespace

Session::Impl::~Impl() { Forget(nullptr); }

// Copies from and to ordinary memory cannot be recorded. The first device that has such memory gives it.
void Session::Impl::LockHostMemory() {
  if (!options.graph_capture) return;
  const auto device = std::find_if(domains.begin() + 1, domains.end(),
                                   [](const auto& each) { return each->records() && each->locks(); });
  if (device == domains.end()) return;
  arena.LockFor((*device)->type(), (*device)->id());
  for (InputState& input : inputs) input.own.LockFor((*device)->type(), (*device)->id());
  for (OutputState& output : outputs) output.own.LockFor((*device)->type(), (*device)->id());
}

void Session::Impl::FindRecording(const GraphPlan& plan) {
  steps.clear();
  binding.clear();
  for (uint32_t i = 0; i < node_runs.size(); ++i) {
    const NodeRun& run = node_runs[i];
    const uint32_t next = i + 1 < node_runs.size() ? node_runs[i + 1].first_action : last_actions;
    for (uint32_t k = run.first_action; k < next; ++k) steps.push_back({true, k});
    steps.push_back({false, i});
    if (run.step != NodeRun::Step::kBackend || run.domain == 0) continue;
    Append(&run.args.workspace, 1, &binding);
    for (uint32_t slot = 0; slot < run.built.op.num_slots; ++slot)
      if (run.built.slots[slot] != nullptr) Append(*run.built.slots[slot], &binding);
  }
  for (uint32_t k = last_actions; k < actions.size(); ++k) steps.push_back({true, k});
  for (const BoundAction& action : actions) {
    if (action.planned.kind != PlannedAction::Kind::kCopy) continue;
    Append(action.from, &binding);
    Append(action.to, &binding);
  }

  auto known = std::find_if(recordings.begin(), recordings.end(),
                            [&](const auto& each) { return each->plan == &plan && each->binding == binding; });
  if (known == recordings.end()) {
    if (recordings.size() >= kMaxRecordings) {
      const auto oldest = std::min_element(recordings.begin(), recordings.end(),
                                           [](const auto& a, const auto& b) { return a->last_use < b->last_use; });
      DestroyGraphs(oldest->get());
      recordings.erase(oldest);
    }
    auto made = std::make_unique<Recording>();
    made->plan = &plan;
    made->binding = binding;
    recordings.push_back(std::move(made));
    known = recordings.end() - 1;
  }
  recording = known->get();
  recording->last_use = ++clock;
}

void Session::Impl::DestroyGraphs(Recording* of) {
  (void)AwaitDevices();  // an error of that work has been said at its run's end, or is nobody's any more
  for (const Stretch& stretch : of->stretches)
    if (stretch.graph != nullptr) domains[stretch.domain]->DestroyGraph(stretch.graph);
  of->stretches.clear();
}

void Session::Impl::Forget(const GraphPlan* plan) {
  std::erase_if(recordings, [&](const std::unique_ptr<Recording>& each) {
    if (plan != nullptr && each->plan != plan) return false;
    DestroyGraphs(each.get());
    if (recording == each.get()) recording = nullptr;
    return true;
  });
}

uint32_t Session::Impl::RecordableOn(const RunStep& step) const {
  if (!step.action) {
    const NodeRun& run = node_runs[step.index];
    if (run.step == NodeRun::Step::kNothing) return kAnyDomain;
    const bool can = run.step == NodeRun::Step::kBackend && current->nodes[step.index]->recordable;
    return can ? run.domain : 0;
  }
  const BoundAction& action = actions[step.index];
  if (action.planned.kind != PlannedAction::Kind::kCopy || !domains[action.planned.domain]->records()) return 0;
  const void* host = action.planned.from == 0 ? action.from.data : action.to.data;
  bool reached = arena.HoldsLocked(host);
  for (const InputState& input : inputs)
    reached |= input.bound ? input.locked && input.tensor.data == host : input.own.HoldsLocked(host);
  for (const OutputState& output : outputs)
    reached |= output.bound ? output.locked && output.caller.data == host : output.own.HoldsLocked(host);
  return reached ? action.planned.domain : 0;
}

void Session::Impl::FindStretches(Recording* made) {
  std::vector<Stretch>& all = made->stretches;
  for (uint32_t i = 0; i < steps.size(); ++i) {
    uint32_t domain = RecordableOn(steps[i]);
    if (domain == kAnyDomain) domain = all.empty() ? 0 : all.back().domain;
    if (all.empty() || all.back().domain != domain) all.push_back({.first = i, .domain = domain});
    Stretch& stretch = all.back();
    stretch.end = i + 1;
    if (steps[i].action || domain == 0 || node_runs[steps[i].index].step == NodeRun::Step::kNothing) continue;
    stretch.last_node = &graph->nodes[steps[i].index].name;
    if (stretch.first_node == nullptr) stretch.first_node = stretch.last_node;
  }
}

Status Session::Impl::RunSteps(uint32_t first, uint32_t end) {
  for (uint32_t i = first; i < end; ++i) {
    const RunStep& step = steps[i];
    if (!step.action) {
      SAGE_RETURN_IF_ERROR(RunOne(step.index, false, false));
    } else if (step.index >= last_actions) {
      SAGE_RETURN_IF_ERROR(RunLastAction(step.index));
    } else {
      SAGE_RETURN_IF_ERROR(RunActions(step.index, step.index + 1));
    }
  }
  return {};
}

// Without success nothing is lost: the stretch is run step by step, where an error of it comes out as ever. The one
// error it has is that the run was cancelled.
Status Session::Impl::Record(Stretch* stretch) {
  if (stretch->domain == 0 || stretch->first_node == nullptr) return {};  // copies alone gain nothing
  DeviceState& device = *devices[stretch->domain];
  const uint64_t before = counters.bytes_copied;
  void* recorded = nullptr;
  Status status = device.device().BeginCapture(device.stream());
  if (status.ok()) {
    status = RunSteps(stretch->first, stretch->end);
    const Status ended = device.device().EndCapture(device.stream(), &recorded);
    if (status.ok()) status = ended;
    if (!status.ok() && recorded != nullptr) device.device().DestroyGraph(std::exchange(recorded, nullptr));
  }
  stretch->bytes_copied = counters.bytes_copied - before;
  counters.bytes_copied = before;
  stretch->graph = recorded;
  if (recorded != nullptr) {
    ++counters.graphs_recorded;
  } else if (status.code() == SAGE_E_CANCELLED) {
    return status;
  } else {
    engine->host()->Log(SAGE_LOG_WARNING,
                        fmt::format("graph_capture: the nodes from \"{}\" to \"{}\" run without it: {}",
                                    *stretch->first_node, *stretch->last_node, status.message()));
  }
  return {};
}

Status Session::Impl::RunRecorded() {
  if (!recording->ran) {
    SAGE_RETURN_IF_ERROR(RunSteps(0, static_cast<uint32_t>(steps.size())));
    recording->ran = true;
    return CheckWorkspaces();
  }
  if (recording->stretches.empty()) {
    FindStretches(recording);
    for (Stretch& stretch : recording->stretches) {
      const Status cancelled = Record(&stretch);
      if (cancelled.ok()) continue;
      DestroyGraphs(recording);  // some are missing: the next run begins anew
      return cancelled;
    }
  }
  for (const Stretch& stretch : recording->stretches) {
    if (stretch.graph == nullptr) {
      SAGE_RETURN_IF_ERROR(RunSteps(stretch.first, stretch.end));
      continue;
    }
    DeviceState& device = *devices[stretch.domain];
    if (token.Cancelled()) {
      return Status(SAGE_E_CANCELLED, fmt::format("the run was cancelled before node \"{}\"", *stretch.first_node));
    }
    const uint64_t span = trace.enabled() ? trace.Begin("replay") : 0;
    const Status launched = device.Launch(stretch.graph);
    trace.End(span);
    if (!launched.ok()) {
      return launched.At(
          fmt::format("the nodes from \"{}\" to \"{}\", recorded", *stretch.first_node, *stretch.last_node));
    }
    device.Enqueued(stretch.first_node);
    device.Enqueued(stretch.last_node);
    counters.bytes_copied += stretch.bytes_copied;
    ++counters.graphs_replayed;
  }
  return CheckWorkspaces();
}

}  // namespace sage
