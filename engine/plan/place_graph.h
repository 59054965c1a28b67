// place_graph.h: placement.h's problem made from a graph whose nodes have their answers, and its result carried out.
#ifndef SAGE_ENGINE_PLAN_PLACE_GRAPH_H_
#define SAGE_ENGINE_PLAN_PLACE_GRAPH_H_

#include "plan/graph_plan.h"

namespace sage {

// Chooses, for each node, among its acceptable verdicts: the least sum of nodes and copies. Sets the nodes' choices,
// domains and the devices of their built tensors, the homes of what they write, and the plan's copy_ns. A plan whose
// context has only the CPU is left as it is: there the cheapest of each node is the cheapest of the graph.
void PlaceGraph(const PlanContext& context, GraphPlan* plan);

// The domains of a context as placement.h wants them.
std::vector<PlacementDomain> PlacementDomains(const PlanContext& context);

// The tensors that a node reads, writes and changes in place, constants left out, each once, as memory (RootOf).
struct NodeMemory {
  std::vector<int32_t> reads, writes, changes;
};
NodeMemory MemoryOf(const Node& node, const PlannedNode& planned, const GraphPlan& plan);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_PLACE_GRAPH_H_
