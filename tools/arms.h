// arms.h: one attention problem by both algorithms, whole score rows and flash, side by side: what each allocates, in
// the caller's own allocator, and what each takes. Both verbs that compare them, memory and bench --crossover, use it.
// Not the bench: two arms of one backend, not backends against each other.
#ifndef SAGE_TOOLS_ARMS_H_
#define SAGE_TOOLS_ARMS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "common.h"

namespace sage::tool {

// An allocator to lend to an engine, which knows how much of it is in use. Outlives the engine.
struct CountedMemory {
  std::atomic<int64_t> live{0};
  void LendTo(sage_options* options);
};

// "128..8192": 128, 256, ... 8192; "128,1000,4096": those. Failure(kExitUsage) otherwise; at most 64 lengths.
std::vector<int64_t> ParseLengths(const std::string& text, const char* flag);

// The attention line with this many keys, and queries as well where it has as many queries as keys.
std::string WithLength(const std::string& line, int64_t length);

struct Arm {
  std::string backend;
  sage_attention_memory memory{};
  int64_t allocated = 0;  // what a context took from the allocator
  double ns = 0;          // the shortest run; 0 = not timed
};

struct ArmPair {
  std::string problem;
  int64_t length = 0;  // keys
  Arm standard, flash;
  double rel_err = 0;  // between their outputs, relative to the standard one's norm; where timed
};

// seconds: of timing for the pair, at least one run each; 0 = planned and allocated only. A result that differs by more
// than rounding is Failure(kExitWrongAnswer), and so is an allocation other than the plan's scratch.
ArmPair MeasureArms(sage_engine* engine, const EngineFlags& engine_flags, const SessionFlags& session,
                    CountedMemory* counted, const std::string& line, double seconds);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_ARMS_H_
