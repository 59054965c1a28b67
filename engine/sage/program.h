// program.h: one SAGE graph with its state: policy -> op graph -> decision, one tick at a time.
//
// The op graph always runs through the same Session as any model. Nothing here reads a clock or a global random state.
// One call at a time; after warm-up a tick allocates nothing. The records are those of docs/ticks.md.
#ifndef SAGE_ENGINE_SAGE_PROGRAM_H_
#define SAGE_ENGINE_SAGE_PROGRAM_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine.h"
#include "json.h"
#include "model/model.h"
#include "run/session.h"
#include "status.h"

namespace sage {

class Program {
 public:
  // model: one of the three SAGE kinds. E_UNSUPPORTED for an op graph.
  static Result<std::unique_ptr<Program>> Create(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model,
                                                 const SessionOptions& options);
  virtual ~Program() = default;

  // One JSON object. A bad tick is E_BAD_DATA, changes nothing, and leaves an error record in Decision().
  // The status message names the place: "targets[1].salience: ...".
  virtual Status Tick(std::string_view json) = 0;
  // The last tick's record, one JSON object without newline; empty before the first.
  virtual std::string_view Decision() const = 0;
  // State between ticks as one JSON object (docs/ticks.md, "Snapshot").
  virtual Status Snapshot(std::string* out) const = 0;
  // Changes nothing unless it succeeds.
  virtual Status Restore(std::string_view json) = 0;

  // Ordinary inputs by name: the expert table "experts" ([N,D] or [B,N,D]); other graphs have none.
  virtual uint32_t InputCount() const { return 0; }
  virtual Status SetInput(uint32_t index, sage_dtype dtype, std::span<const int64_t> shape, const void* data,
                          uint64_t bytes) = 0;

  virtual Status Explain(JsonWriter& out) = 0;
  virtual Status WriteTrace(JsonWriter& out) const = 0;
  // As Session::WriteAccuracyReport, of every attention that the last tick ran; not after a bad tick.
  virtual Status WriteAccuracyReport(JsonWriter& out) const = 0;
  virtual void Cancel() = 0;
};

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_PROGRAM_H_
