// groups.h: what the groups of checks share: who is being checked, where findings go, and one guarded run.
#ifndef SAGE_CONFORMANCE_GROUPS_H_
#define SAGE_CONFORMANCE_GROUPS_H_

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "conformance/conformance.h"
#include "conformance/guarded.h"
#include "conformance/kit_host.h"
#include "plan/problem.h"

namespace sage::conformance {

// Findings on their way to the parent process.
class Recorder {
 public:
  explicit Recorder(int pipe) : pipe_(pipe) {}
  // What is about to be tried: named should the process die of it.
  void Step(const std::string& what);
  void Report(const std::string& name, Outcome outcome, const std::string& detail);

 private:
  void Send(char tag, const std::string& text);
  int pipe_;
};

struct Context {
  const sage_plugin* table = nullptr;  // our zero-extended copy
  const ConformanceOptions& options;
  Recorder& out;
};

// One check over many cases: passes when none failed.
class Tally {
 public:
  Tally(Recorder& out, std::string name) : out_(out), name_(std::move(name)) {}
  void Tried() { ++tried_; }
  void Refused() { ++refused_; }
  void Fail(const std::string& where, const std::string& why);
  // Reports; what: "problems", "calls". Nothing tried is a skip.
  void Done(const std::string& what) const;

 private:
  Recorder& out_;
  std::string name_, first_;
  int tried_ = 0, refused_ = 0, failed_ = 0;
};

// An instance, destroyed with this.
class Instance {
 public:
  Instance(const sage_plugin* table, KitHost* host, int32_t device, const std::string& options);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  bool ok() const { return instance_ != nullptr; }
  const std::string& why() const { return why_; }
  sage_instance* get() const { return instance_; }
  const sage_plugin* table() const { return table_; }
  KitHost* host() const { return host_; }

 private:
  const sage_plugin* table_;
  KitHost* host_;
  sage_instance* instance_ = nullptr;
  std::string why_;
};

// A plan, destroyed with this.
class PlanHandle {
 public:
  explicit PlanHandle(const sage_plugin* table) : table_(table) {}
  ~PlanHandle() {
    if (plan != nullptr) table_->plan_destroy(plan);
  }
  PlanHandle(const PlanHandle&) = delete;
  PlanHandle& operator=(const PlanHandle&) = delete;
  sage_plan* plan = nullptr;
  sage_plan_info info{};

 private:
  const sage_plugin* table_;
};

sage_error NewError();
// The answer to an op; a sentence if it breaks the rules of answers, else empty.
std::string AskChecked(const Instance& instance, const sage_op& op, sage_answer* answer);
// Asks and plans. Empty = a plan is there, or the answer was NO (then no plan).
std::string PlanChecked(const Instance& instance, const sage_op& op, sage_answer* answer, PlanHandle* plan);
// Runs with a guarded workspace over the given slots. Empty = it ran and kept its hands to itself.
std::string RunChecked(const Instance& instance, const PlanHandle& plan, const std::vector<const sage_tensor*>& slots);

// The reference, as an instance of its own.
class Oracle {
 public:
  Oracle();
  // Fills the outputs of the problem's own tensors. False where the oracle itself refuses or fails.
  bool Run(const Problem& problem, std::string* why);

 private:
  KitHost host_;
  Instance instance_;
};

// Everything about one problem whose data are set: ask, plan, guarded run, hands off inputs and gaps, equal to the
// oracle. The problem's own outputs are the oracle's afterwards. *refused: the answer was NO.
std::string CheckProblem(const Instance& instance, Oracle* oracle, Problem* problem, unsigned phase, bool* refused);

// Differences of the outputs of two sets of tensors beyond the gate of their class; empty = none.
std::string CompareOutputs(const Problem& problem, const std::vector<sage_tensor>& given, uint32_t accuracy);

// Easy problems of every kind: contiguous, mostly f32. A backend serves some of them or nothing.
std::span<const char* const> CommonLines();
// Seeded problem lines.
std::string RandomAttentionLine(uint64_t seed);
std::string RandomPlainLine(uint64_t seed);
// A parsed problem with data, or null: the line contradicted itself or was too large.
std::unique_ptr<Problem> MakeProblem(const std::string& line, uint64_t seed, ProblemData* data);

void TableGroup(const Context& context);
void InstanceGroup(const Context& context);
void AskGroup(const Context& context);
void OracleGroup(const Context& context);
void AdversarialGroup(const Context& context);
void PlainGroup(const Context& context);
void RunGroup(const Context& context);
void MemoryGroup(const Context& context);
void ThreadsGroup(const Context& context);

int ThreadsOfThisProcess();

}  // namespace sage::conformance

#endif  // SAGE_CONFORMANCE_GROUPS_H_
