// session.h: a graph made runnable: plans per bucket of shapes, one arena, inputs and outputs.
//
// One call at a time (the C border answers BUSY); Cancel may come from any thread. After warm-up Run allocates nothing
// on the heap. Results do not depend on the thread count, nor on the bucket a shape falls into.
#ifndef SAGE_ENGINE_RUN_SESSION_H_
#define SAGE_ENGINE_RUN_SESSION_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine.h"
#include "json.h"
#include "model/graph.h"
#include "options.h"
#include "run/accuracy.h"
#include "run/host.h"
#include "status.h"

namespace sage {

enum class Verify : uint32_t { kOff = 0, kFirst = 1, kAlways = 2 };

struct SessionOptions {
  AttentionPolicy policy;  // the caller's: over the file's
  Verify verify = Verify::kOff;
  bool warmup_all = false;  // plan every bucket up front; else when first met
  bool trace = false;
  bool accuracy_report = false;      // measure every attention against `reference`, each run
  bool graph_capture = false;        // work on devices is recorded at a binding's second run, then replayed
  bool guard = true;                 // guard bands round the workspace, looked at after each node
  uint64_t max_memory = UINT64_MAX;  // the caller's; the file may lower it, the engine's own limit holds too
  sage_cancel_fn cancel = nullptr;
  void* cancel_user = nullptr;

  static Result<SessionOptions> From(const Options& options, const Engine& engine);
};

// What verify found in the last run that was verified, per node that was rerun on `reference`.
struct VerifyReport {
  std::string node, backend;
  double max_abs_error = 0, rel_error = 0;  // rel: |difference| relative to the largest |reference| of the output
  bool suspicious = false;                  // beyond what rounding in the output's dtype explains
  std::string note;                         // why it could not be compared; empty = it was
};

class Session {
 public:
  // Plans at the symbols' maxima are costed (not allocated) first: above max_memory it is refused with the figures.
  static Result<std::unique_ptr<Session>> Create(std::shared_ptr<Engine> engine, std::shared_ptr<const Graph> graph,
                                                 const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The stream that this session's work on a device goes to from now on, the device's native one; null = the session's
  // own again. Run then returns when everything is enqueued: results are there once the caller has waited for the
  // stream. Nodes on the CPU, and copies between two devices of different types, still make Run wait for what they
  // read. SAGE_E_UNSUPPORTED when no backend of that device is loaded.
  Status SetStream(int32_t device_type, int32_t device_id, void* stream);

  // Copies in. shape must fit the input's declaration; it stays set until set or bound again.
  // bytes_copied does not count it: that is the call's own meaning.
  Status SetInput(uint32_t index, sage_dtype dtype, std::span<const int64_t> shape, const void* data, uint64_t bytes);
  // The session's own memory for an input of that shape, row-major, to be written before Run: no copy. Valid until the
  // input is set, bound or asked for with another shape. Allocates only when the shape outgrows what it has.
  Result<sage_tensor> InputBuffer(uint32_t index, std::span<const int64_t> shape);
  // Zero copy, as sage_session_bind; null or null data unbinds. An output that a node writes is written in place; one
  // that is an input, a constant, or a reshaped view is copied there at the end, and counted. A layout that the planned
  // one does not cover is planned for by itself, at exact shapes.
  Status Bind(uint32_t direction, uint32_t index, const sage_tensor* tensor);
  Status Run();
  // Of the last run, row-major, in the session's memory (or the bound tensor); valid until the next Run.
  Result<sage_tensor> Output(uint32_t index) const;
  // Copies that output out, row-major; bytes must be exactly its size.
  Status GetOutput(uint32_t index, void* data, uint64_t bytes) const;
  // Type and shape an output will have at the inputs now set (a symbol that no input gives: its maximum); no data.
  Result<sage_tensor> OutputShape(uint32_t index);
  void Cancel();

  // {"nodes":[...]}: every backend's verdict per node at the shapes now set (maxima where none), without running.
  Status Explain(JsonWriter& out);
  // {"traceEvents":[...],"nodes":[{...,"counts":{what the backend counted}}],"counters":{...}}
  Status WriteTrace(JsonWriter& out) const;
  const std::vector<VerifyReport>& verify_reports() const;
  // How exact each attention of the last run was, in the order they ran; empty without accuracy_report.
  const std::vector<AccuracyReport>& accuracy_reports() const;
  // WriteAccuracy of them. E_INVALID_ARGUMENT without accuracy_report, before a run, and after one that failed.
  Status WriteAccuracyReport(JsonWriter& out) const;

  const Graph& graph() const;
  // What ran node `index` in the current plan: the backend's name, "view" for a Reshape by strides, "engine" for a
  // copy.
  const char* NodeBackend(uint32_t index) const;
  // "cpu", "cuda:0": where node `index` runs in the current plan.
  std::string NodeDevice(uint32_t index) const;
  // Sum of the chosen answers' prices at the current plan, in nanoseconds.
  double PlannedCostNs() const;
  // The policy wishes that were not met, in words; empty = none. Of the current plan: valid until the next Run.
  const std::string& FallbackReason() const;

  struct Counters {
    uint64_t runs = 0;              // that succeeded
    uint64_t plans = 0;             // made so far, one a bucket of shapes (or a layout of bound tensors)
    uint64_t replans = 0;           // runs that had to make one
    uint64_t bytes_copied = 0;      // by the engine in the last run: into planned strides, out of them, reshapes, and
                                    // between the CPU and devices
    uint64_t heap_allocations = 0;  // asked of the engine's allocator while runs of this session were in progress
    uint64_t arena_bytes = 0, workspace_bytes = 0, prepack_bytes = 0;  // of the plan now in use, on the CPU
    uint64_t device_bytes = 0;                          // arenas and workspaces of that plan on all devices
    uint64_t graphs_recorded = 0, graphs_replayed = 0;  // under graph_capture, so far
  };
  Counters counters() const;

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_SESSION_H_
