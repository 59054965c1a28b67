// sage_program.h: what the three SAGE graphs have in common: ticks in, records out, time that does not run backwards,
// snapshots, and which session ran.
//
// A tick has three steps. Read checks and touches no state; Decide computes and writes the record, still touching none;
// Commit makes it the past. A fault in the first two leaves everything as it was but the count of lines.
#ifndef SAGE_ENGINE_SAGE_SAGE_PROGRAM_H_
#define SAGE_ENGINE_SAGE_SAGE_PROGRAM_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sage/attention_unit.h"
#include "sage/phase_clock.h"
#include "sage/program.h"
#include "sage/tick_reader.h"

namespace sage {

// How far two answers lie apart; the fields of `compare`.
struct Comparison {
  double max_abs_diff = 0, rank_overlap = 1, total_variation = 0;
  // The worse of two.
  void Widen(const Comparison& other);
};
// Of two allocations over the same items, total > 0 being what both shared out. rank_overlap: the share of places in
// the ranking (ties to the lower index) that both give to the same item. order: scratch, 2N.
Comparison CompareShares(std::span<const double> a, std::span<const double> b, double total,
                         std::vector<uint32_t>* order);

class SageProgram : public Program {
 public:
  Status Tick(std::string_view json) final;
  std::string_view Decision() const final { return out_.text(); }
  Status Snapshot(std::string* out) const final;
  Status Restore(std::string_view json) final;
  Status Explain(JsonWriter& out) final;
  Status WriteTrace(JsonWriter& out) const final;
  Status WriteAccuracyReport(JsonWriter& out) const final;
  void Cancel() final;
  Status SetInput(uint32_t index, sage_dtype dtype, std::span<const int64_t> shape, const void* data,
                  uint64_t bytes) override;

 protected:
  // The flags of a record, in the order in which it lists them.
  enum Flag : uint32_t {
    kContentAbsent = 1,
    kFallback = 2,
    kClamped = 4,
    kGateIgnored = 8,
    kAllDropped = 16,
    kAllExcluded = 32,
    kInterrupted = 64,
    kSubstituted = 128,
  };
  struct Moment {
    double ts = 0;
    int64_t tick = 0;
    uint64_t seed = 0;
  };

  SageProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model, const SessionOptions& options,
              const SageAttention& attention, const char* graph_name, uint64_t seed);

  // What a graph adds. ReadTick and ReadState return false with reader_'s fault set.
  virtual bool ReadTick(const JsonNode& root) = 0;
  // Computes, then writes the record from WriteHead to WriteTail; a graph that does both by turns tells clock_.
  virtual Status Decide() = 0;
  virtual void Commit() = 0;
  virtual void WriteState(JsonWriter& out) const = 0;  // the snapshot's "state", one object
  // Changes nothing but a candidate that CommitState takes over.
  virtual bool ReadState(TickReader& reader, const JsonNode& state) = 0;
  virtual void CommitState() = 0;
  virtual void ExplainMore(JsonWriter&) const {}  // members of the explain object
  virtual void TraceMore(JsonWriter&) const {}    // members of the trace's "program" object

  // Makes a unit that Explain, Cancel and the trace then know. The program owns it.
  Result<AttentionUnit*> AddUnit(const char* name, LoweringForm form);
  Result<AttentionUnit*> AddUnit(const char* name, LoweredAttention lowered);
  // Runs it; records which backend did, and a fallback with its reason.
  Status RunUnit(AttentionUnit* unit);

  // Embeddings so large that the model's dtype overflows on the way leave no weights to speak of.
  Status CheckFinite(std::span<const double> weights) const;

  // {"ts":..,"tick":..,"state":..,"transitions":[ : the transitions are then the caller's, who ends the array.
  void WriteHead(const char* state);
  // ,"backend":..,"compare":..,"flags":..,"reason":..} after the caller's decisions and budget.
  void WriteTail(const Comparison* compare);

  // Counts `elements` doubles of scratch that the model's bounds ask for; refuses when all of it is above max_memory.
  Status Budget(uint64_t elements, const char* what);

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<const Model> model_;
  SessionOptions options_;
  const SageAttention& attention_;
  TickReader reader_;
  JsonWriter out_;
  Moment moment_;  // of the tick being decided
  std::optional<Moment> last_;
  uint32_t flags_ = 0;
  std::string reason_;  // of interrupt, all_excluded, fallback; empty = none
  PhaseClock clock_;
  const char* backend_ = "none";                 // what ran the attention of this tick
  std::span<const std::string_view> tick_keys_;  // the graph's own keys and the common ones

 private:
  Status TakeTick(std::string_view json);
  bool ReadMoment(const JsonNode& root);
  Status Refuse();                         // writes the error record of reader_'s fault
  Status RefuseRun(const Status& status);  // and of a run that failed
  void WriteError(std::string_view code, std::string_view at, std::string_view message);

  const char* graph_name_;
  uint64_t model_seed_;
  uint64_t lines_ = 0;
  uint64_t scratch_bytes_ = 0;
  std::optional<double> ts_read_;
  std::vector<std::unique_ptr<AttentionUnit>> units_;
  AttentionUnit* last_unit_ = nullptr;
  std::vector<AccuracyReport> accuracy_;  // of the last tick, with the option accuracy_report
  bool decided_ = false;                  // the last tick was a good one
};

Result<std::unique_ptr<Program>> MakeExpertProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model,
                                                   const SessionOptions& options);
Result<std::unique_ptr<Program>> MakeMetabolicProgram(std::shared_ptr<Engine> engine,
                                                      std::shared_ptr<const Model> model,
                                                      const SessionOptions& options);
Result<std::unique_ptr<Program>> MakeFusionProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model,
                                                   const SessionOptions& options);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_SAGE_PROGRAM_H_
