// decision_diff.h: the decisions of one tick stream beside those of another: which ticks decided something else, and
// how far the numbers lie apart where they did not.
#ifndef SAGE_TOOLS_REPORT_DECISION_DIFF_H_
#define SAGE_TOOLS_REPORT_DECISION_DIFF_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sage::tool {

class DecisionDiff {
 public:
  // The records of one line of the stream, `line` counting from 1, of the run in question and of the exact one.
  // bad: the tick was refused there.
  void Add(uint64_t line, std::string_view record, bool bad, std::string_view exact_record, bool exact_bad);

  uint64_t ticks() const { return ticks_; }      // decided by both
  uint64_t bad() const { return bad_; }          // refused by both
  uint64_t changed() const { return changed_; }  // another choice, state, transition or budget, or refused by one
  double rel_l1() const;                         // of the numbers of all ticks that were not changed; may be infinite
  nlohmann::ordered_json ToJson() const;

  static constexpr size_t kListed = 20;  // changes that are kept

 private:
  struct Change {
    uint64_t line = 0;
    std::string at, got, exact;
  };
  bool Walk(const nlohmann::ordered_json& got, const nlohmann::ordered_json& exact, const std::string& at,
            std::string_view key, Change* change);
  void Sum(const nlohmann::ordered_json& got, const nlohmann::ordered_json& exact);
  void Keep(Change change);

  uint64_t line_ = 0, ticks_ = 0, bad_ = 0, changed_ = 0;
  double apart_ = 0, absolute_ = 0, largest_ = 0;
  uint64_t largest_line_ = 0;
  std::vector<Change> changes_;
};

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_DECISION_DIFF_H_
