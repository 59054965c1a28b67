// session_impl.h: what a session holds. session.cc has the public calls, session_border.cc inputs and outputs,
// session_plan.cc finds or makes the plan for the shapes now set, session_bind.cc gives it this session's memory,
// session_run.cc runs it, session_devices.cc has what only a plan with devices needs, session_record.cc what only
// recorded work needs.
#ifndef SAGE_ENGINE_RUN_SESSION_IMPL_H_
#define SAGE_ENGINE_RUN_SESSION_IMPL_H_

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "plan/graph_plan.h"
#include "run/block.h"
#include "run/device_state.h"
#include "run/session.h"
#include "run/trace.h"
#include "run/workspace.h"

namespace sage {

class NodeVerifier;

// More buckets in use than this are rare, and a plan's packed constants are shared: a bound, not a budget.
inline constexpr size_t kMaxPlans = 64;

struct InputState {
  explicit InputState(std::shared_ptr<Host> host) : own(std::move(host)) {}
  bool set = false, bound = false;
  bool locked = false;           // bound: the caller's memory is page-locked for CUDA
  const Node* writer = nullptr;  // appends to it, so it is in-out
  sage_tensor tensor{};          // as given: the shape at run, row-major in `own`, or the caller's strides
  Block own;
};

struct OutputState {
  explicit OutputState(std::shared_ptr<Host> host) : own(std::move(host)) {}
  bool bound = false, locked = false;
  sage_tensor caller{};  // bound: upper bound of the shape, the caller's strides and memory
  sage_tensor result{};  // of the last run
  bool stale = false;    // `result` lies in memory that has since been given up or written over
  Block own;             // row-major, where planned strides are not
};

struct CopyJob {
  sage_tensor from{}, to{};
};

// A PlannedAction bound to this session's memory.
struct BoundAction {
  PlannedAction planned;
  sage_tensor from{}, to{};  // kCopy; an axis that repeats by stride 0 counts once
  uint64_t whole_bytes = 0;  // > 0: one copy of so many bytes, gaps included, does it
};

// One node bound to this session's memory.
struct NodeRun {
  enum class Step : uint8_t { kNothing, kCopy, kBackend };
  Step step = Step::kNothing;
  uint32_t domain = 0;  // 0 = the CPU
  uint32_t first_action = 0;
  const Plan* plan = nullptr;
  const char* span = nullptr;     // "cpu:attn0", lives as long as the session; null while tracing is off
  const void* span_of = nullptr;  // whose name it begins with
  BuiltOp built;                  // shapes at run, planned strides, data
  sage_run_args args{};
  CopyJob copy;
};

// What a run does between staged inputs and copied outputs, in order: one action or one node.
struct RunStep {
  bool action = false;
  uint32_t index = 0;  // in actions or node_runs
};

// Steps that follow each other, done one by one, or by one device from what it has recorded of them.
struct Stretch {
  uint32_t first = 0, end = 0;  // in steps
  uint32_t domain = 0;          // who could record it; 0: nobody
  void* graph = nullptr;
  const std::string *first_node = nullptr, *last_node = nullptr;  // for the sentence of an error
  uint64_t bytes_copied = 0;                                      // by one replay
};

// A plan at one set of addresses and shapes. Its first run is as any other, so that what a backend makes at a first use
// is made; its second is recorded.
struct Recording {
  std::vector<unsigned char> binding;  // every address, shape and stride that steps take in
  const GraphPlan* plan = nullptr;
  bool ran = false;
  uint64_t last_use = 0;
  std::vector<Stretch> stretches;  // from the second run on
};

struct Session::Impl {
  Impl(std::shared_ptr<Engine> the_engine, std::shared_ptr<const Graph> the_graph, const SessionOptions& the_options);

  ~Impl();

  PlanContext Context(std::span<const LostDevice> lost = {}) const {
    return {*graph, backends, options.policy, domains, lost, options.graph_capture};
  }
  const GraphTensor& TensorOf(int32_t index) const { return graph->tensors[static_cast<size_t>(index)]; }
  std::string InputName(uint32_t index) const;
  std::string OutputName(uint32_t index) const;

  // session_border.cc
  Status CheckInput(uint32_t index, sage_dtype dtype, std::span<const int64_t> shape) const;
  Status ReserveInput(uint32_t index, std::span<const int64_t> shape, bool* moved);
  Status BindInput(uint32_t index, const sage_tensor& tensor);
  Status BindOutput(uint32_t index, const sage_tensor& tensor);
  Status CheckOverlaps() const;
  // To be called before an input's or output's memory is let go or written: results that lie in it can no longer be
  // read.
  void GiveUp(const sage_tensor& memory);

  // session_plan.cc
  Status Initialise();  // checks the graph, finds which symbols must be exact, costs the maxima
  // symbol_values from the inputs set; others get their maximum, or, with all_required, are an error.
  Status UnifySymbols(bool all_required);
  Status InferAtRun();  // shapes, key_rows at symbol_values
  void MakeKey(bool all_fixed);
  void AddCallerLayouts();
  GraphPlan* FindPlan();
  Result<std::unique_ptr<GraphPlan>> Assess(std::span<const LostDevice> lost = {}) const;
  Status CheckMemory(const GraphPlan& plan) const;
  // *lost: the domain whose memory, stream or events could not be had; 0 = the failure is another one.
  Status Realise(GraphPlan* plan, uint32_t* lost);
  // Makes *plan, one of `plans`, ready; without a device that fails, unless the policy of a node on it insists.
  Status RealiseOrReplace(GraphPlan** plan);
  Result<GraphPlan*> FindOrMakePlan();
  void Keep(std::unique_ptr<GraphPlan> plan);
  Status WarmUp();
  Status Prepare();  // everything between "a shape or pointer changed" and "ready to run"

  // session_bind.cc
  // *fits = false: the plan's strides or attributes do not serve these shapes; plan at exact ones.
  Status Bind(GraphPlan* plan, bool* fits);
  void BindTensors(const GraphPlan& plan, bool* fits);
  void BindOutputsInPlace(const GraphPlan& plan, bool* fits);
  Status BindNode(const GraphPlan& plan, size_t index, bool* fits);
  Status BindOutputCopies(const GraphPlan& plan);
  void NameSpan(const void* who, const std::string& backend, const std::string& node, NodeRun* run);

  // session_devices.cc
  void FindDomains();
  void NameActions(GraphPlan* plan);
  Status ReserveDevices(const GraphPlan& plan, uint32_t* lost);
  // Addresses of tensors in other places than host memory, before nodes are bound.
  void BindAway(const GraphPlan& plan);
  // The copies and waits, after nodes are bound.
  void BindActions(const GraphPlan& plan);
  std::vector<sage_tensor>& TensorsIn(uint32_t domain);
  Status RunActions(uint32_t first, uint32_t last);
  Status RunLastAction(uint32_t index);  // one of those after the last node
  Status CheckWorkspaces();
  Status FinishDevices();  // at the end of a run: outputs are there, unless a stream was lent
  Status AwaitDevices();   // whatever is still on any stream
  void DrainDevices();     // the same after an error, whose words are the ones that count
  // RunChecked of a node on a device, by copies of its tensors.
  Status RunMirrored(size_t index, NodeRun* run, bool verify, bool measure);

  // session_record.cc
  void LockHostMemory();
  void FindRecording(const GraphPlan& plan);  // of what is bound now
  void DestroyGraphs(Recording* of);
  void Forget(const GraphPlan* plan);  // before it goes; null: everything
  Status RunRecorded();                // in place of actions and nodes
  Status RunSteps(uint32_t first, uint32_t end);
  uint32_t RecordableOn(const RunStep& step) const;  // the domain that can record it; 0 = none, kAnyDomain = every
  void FindStretches(Recording* made);
  Status Record(Stretch* stretch);

  // session_run.cc
  Status RunNodes();
  Status RunOne(size_t index, bool check, bool verify);  // a node, with its span
  Status RunNode(size_t index, NodeRun* run);
  // RunNode, and what `reference` makes of the same beside it.
  Status RunChecked(size_t index, NodeRun* run, bool verify);
  void Check(size_t index, const NodeRun& run, bool verify, bool measure, NodeVerifier* verifier);

  std::shared_ptr<Engine> engine;
  std::shared_ptr<const Graph> graph;
  SessionOptions options;
  std::vector<std::shared_ptr<Backend>> backends;
  std::vector<std::shared_ptr<const Device>> domains;  // [0] null, the CPU; one entry where no backend has a device
  std::unique_ptr<Places> places;
  uint64_t max_memory = UINT64_MAX;
  double max_latency_ms = 0;

  std::vector<InputState> inputs;
  std::vector<OutputState> outputs;
  bool dirty = true;  // something the bound plan depends on has changed
  bool ran = false;   // the last run succeeded: outputs that are not stale are valid

  uint64_t exact_symbols = 0;              // planned at their size at run
  bool all_exact = false;                  // a bucket once did not fit: no more buckets in this session
  std::vector<uint32_t> flash_thresholds;  // per node; 0 = not judged
  std::vector<std::unique_ptr<GraphPlan>> plans;
  GraphPlan* current = nullptr;
  uint64_t clock = 0;

  Block arena;
  Workspace workspace;                                // for the hungriest node on the CPU
  std::vector<std::unique_ptr<DeviceState>> devices;  // by domain; [0] null
  bool on_devices = false;                            // the bound plan has actions or nodes there
  uint32_t last_actions = 0;
  std::vector<BoundAction> actions;
  std::vector<NodeRun> node_runs;
  std::vector<CopyJob> stage, finish;
  std::vector<RunStep> steps;  // under graph_capture, of a plan with devices; as recordings
  std::vector<unsigned char> binding;
  std::vector<std::unique_ptr<Recording>> recordings;
  Recording* recording = nullptr;  // of what is bound; null: nothing is recorded
  std::deque<std::string> span_names;
  std::vector<VerifyReport> verify_reports;
  std::vector<AccuracyReport> accuracy_reports;  // of the last run
  std::vector<const GraphPlan*> verified;        // Verify::kFirst: plans already compared

  // Reused by every Prepare, so that a known bucket allocates nothing.
  PlanKey key;
  std::vector<int64_t> symbol_values, key_rows;
  std::vector<int32_t> symbol_givers;          // input that gave the value, or -1
  std::vector<BoundTensor> shapes;             // at run
  std::vector<sage_tensor> actual;             // shapes at run, planned strides, data in host memory
  std::vector<std::vector<sage_tensor>> away;  // likewise, in places 1, 2 ...
  std::vector<uint8_t> in_place;               // per tensor: written straight into the caller's memory

  RunToken token;
  Trace trace;
  Counters counters;
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_SESSION_IMPL_H_
