// summary.h: the readable table at the end of a tick stream: what was decided, by which backend and why, how fast.
#ifndef SAGE_TOOLS_REPORT_SUMMARY_H_
#define SAGE_TOOLS_REPORT_SUMMARY_H_

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>

#include "tick_stream.h"

namespace sage::tool {

class Summary {
 public:
  explicit Summary(uint32_t kind) : kind_(kind) {}  // SAGE_MODEL_*
  void Add(std::string_view record);                // a good tick's record; only the last is kept
  void Print(std::FILE* out, const std::string& explain_json, const TickStream& stream) const;

 private:
  uint32_t kind_;
  std::string last_;
  std::map<std::string, uint64_t> states_;  // metabolic: ticks spent in each
};

// The table of `explain`: node, problem, backend, price, why.
void PrintNodes(std::FILE* out, const std::string& explain_json);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_SUMMARY_H_
