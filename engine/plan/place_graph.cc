// place_graph.cc: see the header.
#include "plan/place_graph.h"

#include <algorithm>

#include "sage/support/check_op.h"

namespace sage {
namespace {

uint32_t DomainOf(const PlanContext& context, const Backend& backend) {
  for (size_t i = 1; i < context.domains.size(); ++i)
    if (context.domains[i] == backend.device()) return static_cast<uint32_t>(i);
  return 0;
}

void AddOnce(std::vector<int32_t>* tensors, size_t tensor) {
  const auto index = static_cast<int32_t>(tensor);
  if (std::find(tensors->begin(), tensors->end(), index) == tensors->end()) tensors->push_back(index);
}

void MoveNode(const PlanContext& context, PlannedNode* node) {
  const std::shared_ptr<const Device>& device = context.domains[node->domain];
  for (uint32_t slot = 0; slot < node->built.op.num_slots; ++slot) {
    if (node->built.slots[slot] == nullptr) continue;
    MoveToDevice(&node->built.tensors[slot], device == nullptr ? SAGE_CPU : device->type(),
                 device == nullptr ? 0 : device->id());
  }
}

}  // namespace

std::vector<PlacementDomain> PlacementDomains(const PlanContext& context) {
  std::vector<PlacementDomain> domains(1);
  for (size_t i = 1; i < context.domains.size(); ++i) {
    const Device& device = *context.domains[i];
    domains.push_back({device.host_visible(), device.copy_latency_ns(), device.copy_bytes_per_ns()});
  }
  return domains;
}

NodeMemory MemoryOf(const Node& node, const PlannedNode& planned, const GraphPlan& plan) {
  NodeMemory memory;
  if (planned.reshape == ReshapeMode::kView) return memory;
  for (size_t slot = 0; slot < node.slots.size(); ++slot) {
    if (node.slots[slot] == kNone) continue;
    const size_t root = RootOf(plan, node.slots[slot]);
    if (plan.tensors[root].storage == Storage::kConstant) continue;
    const bool reshape = node.kind == kKindReshape;
    const auto abi_slot = static_cast<uint32_t>(slot);
    if (!reshape && slot < 64 && (planned.built.op.aliases >> slot & 1) != 0)
      AddOnce(&memory.changes, root);
    else if (reshape ? slot == 1 : support::SlotIsOutput(node.kind, abi_slot))
      AddOnce(&memory.writes, root);
    else
      AddOnce(&memory.reads, root);
  }
  // Read and changed by one node: the change says it all.
  std::erase_if(memory.reads, [&](int32_t tensor) {
    return std::find(memory.changes.begin(), memory.changes.end(), tensor) != memory.changes.end();
  });
  return memory;
}

void PlaceGraph(const PlanContext& context, GraphPlan* plan) {
  if (context.domains.size() < 2) return;
  PlacementProblem problem;
  problem.domains = PlacementDomains(context);
  for (const PlannedTensor& tensor : plan->tensors) problem.tensor_bytes.push_back(tensor.bytes);
  for (const int32_t output : context.graph.outputs) {
    const size_t root = RootOf(*plan, output);
    if (plan->tensors[root].storage != Storage::kConstant) problem.outputs.push_back(static_cast<int32_t>(root));
  }
  std::vector<size_t> nodes;                   // of the problem's
  std::vector<std::vector<int32_t>> verdicts;  // likewise: which verdict each option is
  for (size_t i = 0; i < plan->nodes.size(); ++i) {
    const PlannedNode& node = *plan->nodes[i];
    if (node.reshape == ReshapeMode::kView) continue;
    NodeMemory memory = MemoryOf(context.graph.nodes[i], node, *plan);
    PlacementNode wanted{{}, std::move(memory.reads), std::move(memory.writes), std::move(memory.changes)};
    verdicts.emplace_back();
    if (node.reshape == ReshapeMode::kCopy) {
      wanted.options.push_back({0, 0});  // the engine's, which is on the CPU
    } else {
      verdicts.back() = Acceptable(node.choice, node.policy);
      for (const int32_t index : verdicts.back()) {
        const Verdict& verdict = node.choice.verdicts[static_cast<size_t>(index)];
        wanted.options.push_back({DomainOf(context, *verdict.backend), verdict.answer.cost_ns});
      }
    }
    nodes.push_back(i);
    problem.nodes.push_back(std::move(wanted));
  }

  const Placement placement = Place(problem);
  plan->copy_ns = placement.copy_ns;
  plan->exact_placement = placement.exact;
  for (size_t i = 0; i < nodes.size(); ++i) {
    PlannedNode& node = *plan->nodes[nodes[i]];
    const PlacementNode& placed = problem.nodes[i];
    node.domain = placed.options[placement.option[i]].domain;
    for (const int32_t tensor : placed.writes) plan->tensors[static_cast<size_t>(tensor)].domain = node.domain;
    if (node.reshape != ReshapeMode::kOther) continue;
    ChooseForGraph(&node.choice, verdicts[i][placement.option[i]], node.policy);
    MoveNode(context, &node);
  }
}

}  // namespace sage
