// attention_tune.h: tiles of flash attention that were measured on this machine, instead of those that the rule in
// attention_plan.cc gives.
//
// A problem class (dtype, dimensions, lengths up to a power of two, ...) is measured once: the real kernels on scratch
// tensors of that class, every candidate in turn, the least time of each. What was found is kept here, so planning
// again gives the same tiles, and in a file for other processes. How many rows a tile has never changes an output's
// bits; how many keys does, so keys are varied only on request. What is not tuned: materialised attention, whose rows
// follow from L2, and problems with no more rows than the smallest tile.
#ifndef SAGE_PLUGINS_CPU_ATTENTION_TUNE_H_
#define SAGE_PLUGINS_CPU_ATTENTION_TUNE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attention_trial.h"
#include "tune_file.h"

namespace sage::cpu {

struct TuneOptions {
  enum class Mode { kOff, kCached, kMeasure };
  Mode mode = Mode::kCached;
  int64_t budget_ms = 200;  // of measuring one problem class
  bool keys = false;        // vary the keys of a tile, too: other bits
  std::string file;         // where choices are kept; empty: nowhere

  static constexpr const char* kNames = "tune, tune_ms, tune_keys, tune_file";
  // *known: whether key is one of these. An error where value is none that it takes.
  sage_status Read(std::string_view key, std::string_view value, bool* known, sage_error* err);
};

// What is known of one problem class. Once known it stays.
struct TileChoice {
  TileSize tiles;  // keys: meaningful only where the tuner varies keys
  double gain;     // the time with the rule's tiles over that with these; 1: they are the rule's; 0: not measured
};

// Runs candidates 0 .. count-1 in turns, forwards and backwards, and keeps the least time of each in *least. Never
// begins a run that would not end within budget_ns if it were as long as that candidate's last; false where that left
// fewer than kLeastTurns. clock: nanoseconds. run: false ends it.
constexpr int kLeastTurns = 3;
bool TimeCandidates(size_t count, double budget_ns, const std::function<double()>& clock,
                    const std::function<bool(size_t)>& run, std::vector<double>* least);

// One per instance. Free-threaded.
class AttentionTuner {
 public:
  // Reads the file. machine: names processor, caches, instruction set, threads and build.
  AttentionTuner(const sage_host* host, const TuneOptions& options, const std::string& machine);

  // Whether nothing can ever come of it.
  bool idle() const { return options_.mode == TuneOptions::Mode::kOff || (!measures() && known_.empty()); }
  bool measures() const { return options_.mode == TuneOptions::Mode::kMeasure; }

  std::optional<TileChoice> Find(const AttentionDesign& rule) const;
  // Empty where there is nothing to choose. Else the rule's own first.
  std::vector<TileSize> Candidates(const AttentionDesign& rule) const;
  // Measures unless the class is known, then it is. One at a time: others wait, so that they do not disturb each other.
  // Never fails: what cannot be measured keeps the rule's tiles.
  void Measure(const AttentionDesign& rule);
  // Whether the keys of a choice are meant for this op: not where it has to be deterministic.
  bool VariesKeys(const AttentionDesign& rule) const;

 private:
  TileChoice Measured(const AttentionDesign& rule, const std::vector<TileSize>& candidates) const;
  std::string ProblemClass(const AttentionDesign& rule) const;
  void Log(int32_t level, const std::string& text) const;

  const sage_host* host_;
  const TuneOptions options_;
  const std::string machine_;
  std::mutex measuring_;
  mutable std::mutex mutex_;  // of known_
  std::map<std::string, TileChoice, std::less<>> known_;
};

// The name of a machine in the file.
std::string MachineName(const CpuFeatures& features, Isa isa, uint32_t workers);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_ATTENTION_TUNE_H_
