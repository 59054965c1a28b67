// graph_plan.h: a graph at one bucket of shapes: strides, memory, every backend's verdict, and then the plans.
//
// Two steps, because explain and the memory limit need the first without the second: Assess asks and lays out,
// allocates no tensor and makes no backend plan; Realise makes the plans. Not thread-safe; a session owns its graph
// plans.
#ifndef SAGE_ENGINE_PLAN_GRAPH_PLAN_H_
#define SAGE_ENGINE_PLAN_GRAPH_PLAN_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/graph.h"
#include "model/shapes.h"
#include "plan/choose.h"
#include "plan/memory_plan.h"
#include "plan/placement.h"
#include "plan/work.h"
#include "sage/support/op_view.h"

namespace sage {

// Strides a caller's bound tensor has, where row-major ones at the planned shape would not fit it.
struct CallerLayout {
  int32_t tensor = kNone;
  int64_t stride[SAGE_MAX_RANK] = {};
  bool operator==(const CallerLayout&) const = default;
};

// What tells one plan of a graph from another.
struct PlanKey {
  std::vector<int64_t> symbols;       // planned size of each
  uint64_t fixed = 0;                 // bit per symbol: the size at run is exactly the planned one
  std::vector<uint8_t> flash;         // per node: its Skv lies above the node's flash_threshold
  std::vector<CallerLayout> layouts;  // by tensor
  bool operator==(const PlanKey&) const = default;
};

enum class Storage : uint8_t {
  kUnused,    // never read or written
  kInput,     // the caller's memory, the session's own, or (staged) a copy in planned strides
  kConstant,  // the model's
  kArena,     // written by a node
  kView,      // a Reshape that costs nothing: lies in `base`
};

struct PlannedTensor {
  sage_tensor description{};  // at the planned shape; data set for constants only
  uint64_t symbols[SAGE_MAX_RANK] = {};
  Storage storage = Storage::kUnused;
  int32_t base = kNone;  // kView: the tensor it lies in, never itself a view
  bool in_arena = false;
  uint32_t domain = 0;  // whose arena: that of the device which writes it, 0 = the CPU
  uint64_t offset = 0;  // in the arena
  uint64_t bytes = 0;   // row-major at the planned shape
  // The bytes its elements lie in with the planned strides, and how many of them before element 0. Another number than
  // `bytes` only where a caller's own strides are planned.
  uint64_t extent = 0, before = 0;
};

// A tensor's bytes in another place than its own (see Places), made by copies.
struct PlannedImage {
  int32_t tensor = kNone;
  uint32_t place = 0;
  uint64_t offset = 0;  // in the arena of that place's domain
};

// What the session does on a stream before a node, besides running nodes.
struct PlannedAction {
  enum class Kind : uint8_t {
    kCopy,         // `tensor` from place `from` to place `to`, one of them host memory, on the stream of `domain`
    kSynchronise,  // the CPU waits for the stream of `domain`
    kOrder,        // the stream of `domain` waits for what the one of `other` has been given so far: by an event
  };
  Kind kind = Kind::kCopy;
  uint32_t domain = 0, other = 0;
  int32_t tensor = kNone;
  uint32_t from = 0, to = 0;
  uint32_t event = 0;          // kOrder: which of the events of `other`
  const char* span = nullptr;  // its name in a trace, the session's; null while tracing is off
};

// What a plan uses of one device.
struct DevicePlan {
  std::shared_ptr<const Device> device;  // null for the CPU
  MemoryPlan arena;
  uint64_t workspace_bytes = 0;  // the largest of its nodes'
  bool used = false;             // some node runs there
  uint32_t events = 0;           // that its stream records in one run
  uint32_t copies = 0;           // to and from it, in one run
  uint64_t copy_bytes = 0;       // theirs at the planned shapes
  double copy_ns = 0;            // their price
};

enum class ReshapeMode : uint8_t { kOther, kView, kCopy };

struct PlannedNode {
  ResolvedPolicy policy;
  int64_t key_rows = 0;  // the Skv at planning that flash_threshold was judged on
  BuiltOp built;         // as asked: planned shapes and strides, policy applied
  unsigned char plain_attributes[sizeof BuiltOp::attributes] = {};  // before the policy; a run's must equal them
  uint64_t features = 0;
  Choice choice;
  Work work;
  std::string problem;               // the problem string
  uint32_t domain = 0;               // where it runs
  uint32_t first_action = 0;         // in the plan's actions: those up to the next node's come before this one
  std::vector<Verdict> struck;       // backends that said yes and could not plan, with what they said then
  std::shared_ptr<const Plan> plan;  // after Realise; null for a Reshape
  bool recordable = false;           // likewise; its runs are legal inside stream capture
  ReshapeMode reshape = ReshapeMode::kOther;
  int32_t pairs[SAGE_MAX_RANK] = {};  // view: see ReshapeStrides
  const Verdict* chosen() const {
    return choice.chosen < 0 ? nullptr : &choice.verdicts[static_cast<size_t>(choice.chosen)];
  }
};

struct GraphPlan {
  PlanKey key;
  std::vector<PlannedTensor> tensors;
  std::vector<std::unique_ptr<PlannedNode>> nodes;
  MemoryPlan arena;              // the CPU's
  uint64_t workspace_bytes = 0;  // the largest of the nodes' on the CPU
  uint64_t border_bytes = 0;     // the session's own inputs and row-major outputs at the planned shapes
  uint64_t prepack_bytes = 0;    // after Realise
  double cost_ns = 0;            // nodes and copies

  // By domain; [0], the CPU, is not used. Empty, as is all that follows, where every backend is the CPU's.
  std::vector<DevicePlan> devices;
  std::vector<PlacementDomain> prices;  // likewise; what the placement weighed
  std::vector<PlannedImage> images;
  std::vector<PlannedAction> actions;  // in order; those from last_actions on come after the last node
  uint32_t last_actions = 0;
  double copy_ns = 0;            // the copies' part of cost_ns
  bool exact_placement = true;   // see placement.h
  std::vector<LostDevice> lost;  // it does without these

  std::vector<int64_t> key_rows;  // as given to AssessGraph
  std::string fallback;           // FallbackText, kept so that a run can give it out
  bool realised = false;
  uint64_t last_use = 0;  // the session's, for the oldest to go first

  uint64_t device_bytes() const;  // of all arenas and workspaces outside the CPU
  uint64_t planned_bytes() const { return arena.total + workspace_bytes + border_bytes + device_bytes(); }
};

struct PlanContext {
  const Graph& graph;
  std::span<const std::shared_ptr<Backend>> backends;
  const AttentionPolicy& caller;
  // Domain i's device; [0] is null, the CPU. Empty or one entry: only the CPU, and nothing is ever copied.
  std::span<const std::shared_ptr<const Device>> domains;
  std::span<const LostDevice> lost;  // not to be used in this plan
  bool record = false;               // nodes on devices are planned for stream capture where their backend can
};

// key_rows: per node, the Skv its flash_threshold is judged on (KeyRows at the run's shapes).
// Fails when shapes contradict each other at the planned sizes, or when no acceptable backend serves a node.
Result<std::unique_ptr<GraphPlan>> AssessGraph(const PlanContext& context, const PlanKey& key,
                                               std::span<const int64_t> key_rows);

// donors: realised plans of the same graph, whose packed constants may be shared. A backend that said yes and then
// cannot make its plan is struck off with its reason, and the next best is taken, unless the policy insists.
Status RealiseGraph(const PlanContext& context, std::span<const std::unique_ptr<GraphPlan>> donors, GraphPlan* plan);

// The policy wishes of all nodes that were not met, in words; empty = none.
std::string FallbackText(const Graph& graph, const GraphPlan& plan);

// The tensor whose memory `tensor` lies in: itself, or what it is a view of.
size_t RootOf(const GraphPlan& plan, int32_t tensor);
// The tensor's bytes move inside it when an axis is smaller at run than planned.
bool VariesInside(const PlannedTensor& tensor, uint64_t fixed);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_GRAPH_PLAN_H_
