// session_bind.cc: a plan meets this session's memory: every slot gets its shape at run, its planned strides, its data.
//
// Runs whenever a shape or a pointer has changed, so it allocates nothing once a graph has been through it.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "run/session_impl.h"
#include "run/tensor_copy.h"

namespace sage {
void Session::Impl::BindTensors(const GraphPlan& plan, bool* fits) {
  actual.resize(plan.tensors.size());
  in_place.assign(plan.tensors.size(), 0);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const PlannedTensor& planned = plan.tensors[i];
    actual[i] = planned.description;
    for (uint32_t axis = 0; axis < planned.description.rank; ++axis) {
      actual[i].shape[axis] = shapes[i].shape[axis];
      if (shapes[i].shape[axis] > planned.description.shape[axis]) *fits = false;
    }
    if (!planned.in_arena) continue;
    if (planned.domain == 0) {
      actual[i].data = arena.data() + planned.offset;
    } else if (places->of(planned.domain) == 0) {  // a device's arena that the CPU reads and writes too
      actual[i].data = devices[planned.domain]->arena() + planned.offset + planned.before;
    }
  }
  for (const PlannedImage& image : plan.images) {
    const auto tensor = static_cast<size_t>(image.tensor);
    if (image.place == 0) actual[tensor].data = arena.data() + image.offset + plan.tensors[tensor].before;
  }
}

// The first binding of a tensor that a node writes gets the results without a copy.
void Session::Impl::BindOutputsInPlace(const GraphPlan& plan, bool* fits) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto tensor = static_cast<size_t>(graph->outputs[i]);
    if (!outputs[i].bound || plan.tensors[tensor].storage != Storage::kArena || in_place[tensor] != 0) continue;
    if (!StridesServe(actual[tensor], outputs[i].caller.stride)) {
      *fits = false;
      continue;
    }
    actual[tensor].data = outputs[i].caller.data;
    in_place[tensor] = 1;
  }
}

// Names live as long as the session, since a trace may be written after its plan was dropped: one a node and backend.
void Session::Impl::NameSpan(const void* who, const std::string& backend, const std::string& node, NodeRun* run) {
  if (!options.trace || (run->span != nullptr && run->span_of == who)) return;
  const std::string name = backend + ":" + node;
  auto known = std::find(span_names.begin(), span_names.end(), name);
  run->span = known != span_names.end() ? known->c_str() : span_names.emplace_back(name).c_str();
  run->span_of = who;
}

Status Session::Impl::BindNode(const GraphPlan& plan, size_t index, bool* fits) {
  const Node& node = graph->nodes[index];
  const PlannedNode& planned = *plan.nodes[index];
  NodeRun& run = node_runs[index];
  run.domain = planned.domain;
  run.first_action = planned.first_action;
  if (planned.reshape != ReshapeMode::kOther) {
    const sage_tensor& x = actual[static_cast<size_t>(node.slots[0])];
    sage_tensor& y = actual[static_cast<size_t>(node.slots[1])];
    if (planned.reshape == ReshapeMode::kView) {
      y.data = x.data;
      for (std::vector<sage_tensor>& place : away)
        place[static_cast<size_t>(node.slots[1])].data = place[static_cast<size_t>(node.slots[0])].data;
      for (uint32_t axis = 0; axis < y.rank; ++axis) {
        const int32_t pair = planned.pairs[axis];
        if (pair >= 0 && y.shape[axis] != x.shape[pair]) *fits = false;
      }
      run.step = NodeRun::Step::kNothing;
    } else {
      run.copy = {x, y};
      run.step = NodeRun::Step::kCopy;
      NameSpan(nullptr, "engine", node.name, &run);
    }
    return {};
  }

  const Status built = BuildOp(node, TensorsIn(planned.domain), planned.built.op.dynamic_axes, &run.built);
  if (!built.ok()) return built.At(fmt::format("node \"{}\"", node.name));
  if (std::memcmp(run.built.attributes, planned.plain_attributes, sizeof run.built.attributes) != 0 ||
      run.built.op.num_slots != planned.built.op.num_slots) {
    *fits = false;
    return {};
  }
  std::memcpy(run.built.attributes, planned.built.attributes, sizeof run.built.attributes);
  run.built.op.requirements = planned.built.op.requirements;
  run.built.op.accuracy = planned.built.op.accuracy;
  for (uint32_t slot = 0; slot < run.built.op.num_slots; ++slot) {
    if (run.built.slots[slot] == nullptr) continue;
    sage_tensor& tensor = run.built.tensors[slot];
    const sage_tensor& wanted = planned.built.tensors[slot];
    if (!StridesServe(tensor, wanted.stride)) *fits = false;
    std::copy(std::begin(wanted.stride), std::end(wanted.stride), tensor.stride);
    tensor.device_type = wanted.device_type, tensor.device_id = wanted.device_id;
    for (uint32_t axis = 0; axis < tensor.rank; ++axis) {
      if (tensor.shape[axis] > wanted.shape[axis]) *fits = false;
    }
  }
  run.step = NodeRun::Step::kBackend;
  run.plan = planned.plan.get();
  NameSpan(&run.plan->backend(), run.plan->backend().name(), node.name, &run);
  run.args.struct_size = sizeof run.args;
  run.args.num_slots = run.built.op.num_slots;
  run.args.slots = run.built.op.slots;
  run.args.workspace = planned.domain == 0 ? workspace.data() : devices[planned.domain]->workspace().data();
  run.args.stream = planned.domain == 0 ? nullptr : devices[planned.domain]->stream();
  run.args.workspace_bytes = run.plan->workspace_bytes();
  run.args.run = &token;
  return {};
}

// Outputs that are not written straight where the caller sees them.
Status Session::Impl::BindOutputCopies(const GraphPlan& plan) {
  finish.clear();
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    OutputState& output = outputs[i];
    const auto tensor = static_cast<size_t>(graph->outputs[i]);
    sage_tensor from = actual[tensor];
    from.flags = 0;
    if (plan.tensors[tensor].storage == Storage::kInput) {
      const auto input = std::find(graph->inputs.begin(), graph->inputs.end(), graph->outputs[i]);
      from = inputs[static_cast<size_t>(input - graph->inputs.begin())].tensor;  // before any staging
    }
    if (output.bound) {
      for (uint32_t axis = 0; axis < from.rank; ++axis) {
        if (from.shape[axis] > output.caller.shape[axis]) {
          return Status(SAGE_E_INVALID_ARGUMENT,
                        fmt::format("{}: axis {} has {} elements in this run, {} were bound", OutputName(i), axis,
                                    from.shape[axis], output.caller.shape[axis]));
        }
      }
      output.result = output.caller;
      std::copy(std::begin(from.shape), std::end(from.shape), output.result.shape);
      const bool there = from.data == output.caller.data && StridesServe(from, output.caller.stride);
      if (!there) finish.push_back({from, output.result});
      continue;
    }
    if (IsContiguous(from)) {
      sage_tensor_init(&output.result, from.dtype, from.rank, from.shape, from.data);
      continue;
    }
    sage_tensor_init(&output.result, from.dtype, from.rank, from.shape, nullptr);
    SAGE_RETURN_IF_ERROR(output.own.Reserve(plan.tensors[tensor].bytes));
    output.result.data = output.own.data();
    finish.push_back({from, output.result});
  }
  return {};
}

Status Session::Impl::Bind(GraphPlan* plan, bool* fits) {
  BindTensors(*plan, fits);
  BindOutputsInPlace(*plan, fits);
  stage.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto tensor = static_cast<size_t>(graph->inputs[i]);
    const PlannedTensor& planned = plan->tensors[tensor];
    if (StridesServe(actual[tensor], inputs[i].tensor.stride)) {
      actual[tensor].data = inputs[i].tensor.data;
    } else if (!inputs[i].bound && planned.in_arena) {
      stage.push_back({inputs[i].tensor, actual[tensor]});
    } else {
      *fits = false;
    }
  }
  if (!*fits) return {};
  BindAway(*plan);
  if (node_runs.size() != graph->nodes.size()) node_runs = std::vector<NodeRun>(graph->nodes.size());
  for (size_t i = 0; i < graph->nodes.size() && *fits; ++i) {
    SAGE_RETURN_IF_ERROR(BindNode(*plan, i, fits));
  }
  if (!*fits) {
    // Plans with buckets do not serve this graph (attributes that follow a size, for one): exact ones always do.
    all_exact = true;
    return {};
  }
  BindActions(*plan);
  SAGE_RETURN_IF_ERROR(BindOutputCopies(*plan));
  SAGE_RETURN_IF_ERROR(CheckOverlaps());
  recording = nullptr;
  if (options.graph_capture && on_devices) FindRecording(*plan);
  return {};
}

}  // namespace sage
