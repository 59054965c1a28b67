// plan.h: from a graph to what runs: the engines that cuDNN's heuristics offer for it, and the plan of one of them.
//
// Heuristics take milliseconds and answer whether there is an engine at all; a plan takes 55 to 70 ms, and half a
// second where its kernel is compiled. So the first is for Ask and the second for Plan.
#ifndef SAGE_PLUGINS_CUDNN_PLAN_H_
#define SAGE_PLUGINS_CUDNN_PLAN_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "descriptor.h"
#include "graph.h"
#include "sdpa.h"

namespace sage::cudnn {

// Who the plan is for: the device of a handle, or one that is described (kDeviceProperties), which builds plans on a
// machine without it. One of the two.
struct Target {
  Handle handle = nullptr;
  Descriptor device = nullptr;
};

// The engines for one graph, in the order of cuDNN's preference, without those that add in an order that changes.
// Move-only. The library outlives it.
class Engines {
 public:
  // ok() of the result's failure(): there is at least one.
  static Engines Find(const Library& library, const Target& target, const Sdpa& sdpa);

  const Failure& failure() const { return failure_; }
  size_t count() const { return configs_.size(); }
  // Of whichever is taken, as the engines declare it; a plan that needs more is not taken.
  int64_t workspace_bytes() const { return workspace_bytes_; }

 private:
  friend class Plan;
  explicit Engines(const Library& library) : graph_(std::make_unique<Graph>(library)) {}
  void Ask(const Target& target, Descriptor graph, HeuristicMode mode);

  std::unique_ptr<Graph> graph_;  // engines refer to it
  std::vector<Object> configs_;
  int64_t workspace_bytes_ = 0;
  Failure failure_;
};

// What a run binds.
struct Binding {
  int64_t uid = 0;
  void* pointer = nullptr;  // of values: CPU memory
};

// Immutable once built; it may be executed by several threads, each with a handle of its own. The library outlives it.
class Plan {
 public:
  // The first engine whose plan is made within the workspace declared. Null with *failure: of the last that was tried.
  static std::unique_ptr<Plan> Build(const Library& library, const Target& target, const Sdpa& sdpa, Failure* failure);
  // From the text of one built before, for the same version and device.
  static std::unique_ptr<Plan> FromText(const Library& library, const Target& target, std::string_view text,
                                        Failure* failure);

  int64_t workspace_bytes() const { return workspace_bytes_; }
  int64_t engine() const { return engine_; }   // cuDNN's number of it; -1 where a text was read
  bool compiled() const { return compiled_; }  // its kernel was compiled for it
  bool native_graph() const { return native_graph_; }
  std::string Text(Failure* failure) const;  // to be read by FromText; empty with *failure where it cannot be

  // Enqueues on the handle's stream. A cudnnStatus_t. workspace: workspace_bytes, aligned to 256.
  int Execute(Handle handle, std::span<const Binding> bindings, void* workspace) const;
  // Adds its nodes to an empty cudaGraph_t instead; only where native_graph().
  int Populate(Handle handle, std::span<const Binding> bindings, void* workspace, void* graph) const;

 private:
  explicit Plan(const Library& library) : library_(library) {}
  int Pack(std::span<const Binding> bindings, void* workspace, Object* pack) const;

  const Library& library_;
  std::unique_ptr<Engines> engines_;  // of the one built; kept for what the plan may refer to
  Object plan_;
  int64_t workspace_bytes_ = 0, engine_ = -1;
  bool compiled_ = false, native_graph_ = false;
};

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_PLAN_H_
