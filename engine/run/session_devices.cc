// session_devices.cc: what only a plan with devices needs: streams and memory there, the plan's copies and waits bound
// to this session's memory, walked in a run, and everything waited for at its end.
//
// A plan without devices never comes here: RunNodes asks one flag. The lists are made when something is bound, so that
// a run allocates nothing.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "plan/place_graph.h"
#include "run/host_mirror.h"
#include "run/session_impl.h"
#include "run/tensor_copy.h"
#include "run/verify_node.h"
#include "sage/support/check_op.h"

namespace sage {

void Session::Impl::FindDomains() {
  domains.assign(1, nullptr);
  for (const std::shared_ptr<Backend>& backend : backends) {
    if (backend->device() != nullptr && std::find(domains.begin(), domains.end(), backend->device()) == domains.end())
      domains.push_back(backend->device());
  }
  std::stable_sort(domains.begin() + 1, domains.end(), [](const auto& a, const auto& b) {
    return a->type() != b->type() ? a->type() < b->type() : a->id() < b->id();
  });
  if (domains.size() > kMaxDomains) {
    const size_t first = kMaxDomains;
    engine->host()->Log(SAGE_LOG_WARNING, fmt::format("{} devices are loaded, a session uses {} of them",
                                                      domains.size() - 1, kMaxDomains - 1));
    std::erase_if(backends, [&](const auto& backend) {
      return std::find(domains.begin() + first, domains.end(), backend->device()) != domains.end();
    });
    domains.resize(kMaxDomains);
  }
  places = std::make_unique<Places>(PlacementDomains(Context()));
  away.resize(places->count() - 1);
  devices.resize(domains.size());
  for (size_t i = 1; i < domains.size(); ++i) devices[i] = std::make_unique<DeviceState>(engine->host(), domains[i]);
}

Status Session::Impl::ReserveDevices(const GraphPlan& plan, uint32_t* lost) {
  for (uint32_t domain = 1; domain < plan.devices.size(); ++domain) {
    bool moved = false;
    const Status status = devices[domain]->Prepare(plan.devices[domain], options.guard, &moved);
    dirty |= moved;
    if (status.ok()) continue;
    dirty = true;
    *lost = domain;
    return status;
  }
  return {};
}

// Names live as long as the session, as those of nodes; made with the plan, so that binding it again allocates nothing.
void Session::Impl::NameActions(GraphPlan* plan) {
  if (!options.trace) return;
  const auto place = [&](uint32_t index) {
    return index == 0 ? "cpu" : domains[places->domain(index)]->name().c_str();
  };
  for (PlannedAction& action : plan->actions) {
    std::string name;
    switch (action.kind) {
      case PlannedAction::Kind::kCopy:
        name = fmt::format("copy {} to {}:{}", place(action.from), place(action.to), TensorOf(action.tensor).name);
        break;
      case PlannedAction::Kind::kSynchronise:
        name = fmt::format("wait for {}", domains[action.domain]->name());
        break;
      case PlannedAction::Kind::kOrder:
        name = fmt::format("{} waits for {}", domains[action.domain]->name(), domains[action.other]->name());
        break;
    }
    const auto known = std::find(span_names.begin(), span_names.end(), name);
    action.span = known != span_names.end() ? known->c_str() : span_names.emplace_back(name).c_str();
  }
}

std::vector<sage_tensor>& Session::Impl::TensorsIn(uint32_t domain) {
  const uint32_t place = places->of(domain);
  return place == 0 ? actual : away[place - 1];
}

void Session::Impl::BindAway(const GraphPlan& plan) {
  if (away.empty()) return;
  for (std::vector<sage_tensor>& place : away) {
    place = actual;
    for (size_t i = 0; i < place.size(); ++i)
      if ((place[i].flags & SAGE_TENSOR_CONSTANT) == 0) place[i].data = nullptr;
  }
  const auto put = [&](size_t tensor, uint32_t place, uint64_t offset) {
    away[place - 1][tensor].data = devices[places->domain(place)]->arena() + offset + plan.tensors[tensor].before;
  };
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const PlannedTensor& tensor = plan.tensors[i];
    const uint32_t place = places->of(tensor.domain);
    if (tensor.in_arena && place != 0) put(i, place, tensor.offset);
  }
  for (const PlannedImage& image : plan.images) {
    if (image.place != 0) put(static_cast<size_t>(image.tensor), image.place, image.offset);
  }
}

void Session::Impl::BindActions(const GraphPlan& plan) {
  on_devices = std::any_of(plan.devices.begin(), plan.devices.end(),
                           [](const DevicePlan& device) { return device.used || device.copies > 0; });
  last_actions = plan.last_actions;
  actions.resize(plan.actions.size());
  for (size_t i = 0; i < actions.size(); ++i) {
    BoundAction& action = actions[i];
    action.planned = plan.actions[i];
    if (action.planned.kind != PlannedAction::Kind::kCopy) continue;
    const auto tensor = static_cast<size_t>(action.planned.tensor);
    const auto in = [&](uint32_t place) { return place == 0 ? actual[tensor] : away[place - 1][tensor]; };
    action.from = in(action.planned.from), action.to = in(action.planned.to);
    int64_t elements = 1, reach = 1;
    bool forwards = true;
    for (uint32_t axis = 0; axis < action.from.rank; ++axis) {
      if (action.from.stride[axis] == 0 && action.from.shape[axis] > 1) {
        action.from.shape[axis] = action.to.shape[axis] = 1;
      }
      elements *= action.from.shape[axis];
      reach += (action.from.shape[axis] - 1) * action.from.stride[axis];
      forwards &= action.from.stride[axis] >= 0;
    }
    // Gaps are copied where they are ours and that is cheaper; a caller's are neither read nor written.
    bool ours = true;
    for (size_t k = 0; k < inputs.size(); ++k)
      ours &= static_cast<size_t>(graph->inputs[k]) != tensor || !inputs[k].bound || plan.tensors[tensor].in_arena;
    ours &= in_place[tensor] == 0;
    const Device& device = *domains[action.planned.domain];
    const auto size = static_cast<uint64_t>(support::DtypeSize(action.from.dtype));
    const uint64_t runs = RunsOf(action.from, action.to);
    const double gaps_ns =
        static_cast<double>(static_cast<uint64_t>(reach - elements) * size) / device.copy_bytes_per_ns();
    const bool whole = elements > 0 && forwards && ours && reach >= elements &&
                       gaps_ns < static_cast<double>(runs - 1) * std::max(device.copy_latency_ns(), 1.0);
    action.whole_bytes = whole ? static_cast<uint64_t>(reach) * size : 0;
  }
}

Status Session::Impl::RunActions(uint32_t first, uint32_t last) {
  for (uint32_t i = first; i < last; ++i) {
    const BoundAction& action = actions[i];
    DeviceState& device = *devices[action.planned.domain];
    const uint64_t span = action.planned.span != nullptr ? trace.Begin(action.planned.span) : 0;
    Status status;
    switch (action.planned.kind) {
      case PlannedAction::Kind::kCopy:
        status = device.Copy(action.from, action.to, action.whole_bytes, &counters.bytes_copied);
        if (!status.ok())
          status = status.At(fmt::format("tensor \"{}\", copied {} {}", TensorOf(action.planned.tensor).name,
                                         action.planned.from == 0 ? "to" : "from", device.device().name()));
        break;
      case PlannedAction::Kind::kSynchronise:
        status = device.Synchronize();
        break;
      case PlannedAction::Kind::kOrder:
        status = devices[action.planned.other]->Record(action.planned.event);
        if (status.ok()) status = device.WaitFor(*devices[action.planned.other], action.planned.event);
        break;
    }
    trace.End(span);
    if (!status.ok()) return status;
  }
  return {};
}

Status Session::Impl::RunLastAction(uint32_t index) {
  const PlannedAction& action = actions[index].planned;
  // The caller waits for a stream it has lent, unless the engine has to read what it brings.
  if (action.kind == PlannedAction::Kind::kSynchronise && devices[action.domain]->lent() && finish.empty()) return {};
  return RunActions(index, index + 1);
}

Status Session::Impl::FinishDevices() {
  for (uint32_t i = last_actions; i < actions.size(); ++i) SAGE_RETURN_IF_ERROR(RunLastAction(i));
  return CheckWorkspaces();
}

Status Session::Impl::CheckWorkspaces() {
  for (const std::unique_ptr<DeviceState>& device : devices) {
    if (device == nullptr || device->busy() || device->workspace().Intact()) continue;
    device->workspace().Release();  // the next run gets a sound one
    dirty = true;
    return Status(SAGE_E_INTERNAL, fmt::format("{}: a backend of it wrote outside the workspace it had asked for; the "
                                               "results of this run are not to be trusted",
                                               device->device().name()));
  }
  return {};
}

Status Session::Impl::AwaitDevices() {
  Status first;
  for (const std::unique_ptr<DeviceState>& device : devices) {
    if (device == nullptr || !device->busy()) continue;
    Status status = device->Synchronize();
    if (first.ok()) first = std::move(status);
  }
  return first;
}

void Session::Impl::DrainDevices() { (void)AwaitDevices(); }

Status Session::Impl::RunMirrored(size_t index, NodeRun* run, bool verify, bool measure) {
  SAGE_RETURN_IF_ERROR(AwaitDevices());
  HostMirror mirror(run->built, devices[run->domain].get());
  SAGE_RETURN_IF_ERROR(mirror.Fetch());
  NodeVerifier verifier(*engine->reference(), mirror.op());
  SAGE_RETURN_IF_ERROR(RunNode(index, run));
  SAGE_RETURN_IF_ERROR(mirror.Fetch());
  Check(index, *run, verify, measure, &verifier);
  return {};
}

}  // namespace sage
