// against.h: `validate --against exact`: a model as the flags run it beside the same model run exactly, and a verdict.
#ifndef SAGE_TOOLS_AGAINST_H_
#define SAGE_TOOLS_AGAINST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common.h"
#include "report/accuracy_table.h"

namespace CLI {
class App;
}

namespace sage::tool {

struct AgainstFlags {
  std::string against;  // "exact", or empty: nothing is run
  std::vector<std::string> inputs;
  std::string ticks;
  AccuracyBounds bounds;
  uint64_t max_changed = 0;  // ticks whose decision may be another

  void AddTo(CLI::App* app);
  // A flag without --against says nothing: Failure(kExitUsage). count: of the models given.
  void Check(const CLI::App& app, size_t count) const;
};

// Runs the model twice, as `session` chooses and on `reference`, prints what lies between the two and returns kExitOk
// where all of it is within the bounds, else kExitWrongAnswer. model: the file's binary form; path: for messages.
int RunAgainstExact(const AgainstFlags& flags, const EngineFlags& engine_flags, const SessionFlags& session_flags,
                    sage_engine* engine, const ModelBytes& model, const std::string& path, bool json);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_AGAINST_H_
