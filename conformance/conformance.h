// conformance.h: the kit behind `sage-engine plugin check FILE`: does a backend keep the contract, and is it right?
//
// For people who write a backend: it needs nothing of the engine, only the ABI headers and the built-in reference as
// the oracle. Every group of checks runs in a child process of its own, so that a crash, a hang or a read past a buffer
// becomes a failed check with the problem string of what was being run. It is no proof: what it does not try it does
// not find.
#ifndef SAGE_CONFORMANCE_CONFORMANCE_H_
#define SAGE_CONFORMANCE_CONFORMANCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "sage/plugin.h"

namespace sage::conformance {

enum class Outcome { kPass, kFail, kSkip };

struct Check {
  std::string name;  // "oracle: attention", stable from run to run
  Outcome outcome = Outcome::kPass;
  std::string detail;  // one sentence: what was tried, what went wrong where, why it was skipped
};

struct ConformanceOptions {
  uint64_t seed = 0;   // of problems and data
  int problems = 200;  // random problems against the oracle, attention and other kinds together
  int32_t device_id = 0;
  std::string create_options;       // "key=value" lines for create
  std::vector<std::string> groups;  // names of GroupNames to run; empty = all
  int seconds_per_group = 300;      // a group that takes longer has hung
};

struct ConformanceReport {
  std::string path, plugin, version;  // plugin, version: what its table says; empty when it has none
  std::vector<Check> checks;
  bool passed() const;  // nothing failed
};

// "table", "instance", "ask", "oracle", "adversarial", "plain", "run", "memory", "threads", in the order they run.
std::vector<std::string> GroupNames();

// Loads the library in each group's child. Prints nothing, changes nothing in this process. Uses fork(): call it while
// no other thread of the process holds a lock that the child would need (a tool's main thread is fine).
ConformanceReport RunConformance(const std::string& path, const ConformanceOptions& options);
// The same for a table that is linked in.
ConformanceReport RunConformanceOn(sage_plugin_query_fn query, const std::string& name,
                                   const ConformanceOptions& options);

}  // namespace sage::conformance

#endif  // SAGE_CONFORMANCE_CONFORMANCE_H_
