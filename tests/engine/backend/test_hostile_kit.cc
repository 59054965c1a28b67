// The conformance kit finds every fault that the fixtures have, by the check that is meant for it, and finds nothing in
// the honest one.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "conformance/conformance.h"

namespace {

using namespace sage::conformance;

ConformanceReport Examine(const std::string& fault, int seconds = 100) {
  ConformanceOptions options;
  options.problems = 20;
  options.seconds_per_group = seconds;
  return RunConformance(std::string(HOSTILE_FOLDER) + "/" + fault + ".so", options);
}

TEST_CASE("the honest fixture passes every check") {
  const ConformanceReport report = Examine("honest");
  for (const Check& check : report.checks) {
    CAPTURE(check.name);
    CAPTURE(check.detail);
    CHECK(check.outcome != Outcome::kFail);
  }
  CHECK(report.plugin == "honest");
  CHECK(report.version == "1.0.0");
  const auto passed = [](const Check& check) { return check.outcome == Outcome::kPass; };
  CHECK(std::count_if(report.checks.begin(), report.checks.end(), passed) >= 15);
}

// What a child that touched memory that is not there ends with: a sanitizer catches the signal and exits.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr const char* kSegmentationFault = "ended the process with";
#else
constexpr const char* kSegmentationFault = "signal 11";
#endif

struct Expected {
  const char *fault, *check, *word;  // the failing check's name begins with, its sentence holds
};
constexpr Expected kExpected[] = {
    {"null_entry", "table: entries", "`run` is null"},
    {"wrong_major", "load and negotiate", "abi_major is 2"},
    {"zero_size", "load and negotiate", "struct_size 0"},
    {"absurd_minor", "load and negotiate", "make no sense"},
    {"no_symbol", "load and negotiate", "exports no sage_plugin_query_v1"},
    {"not_elf", "load and negotiate", "invalid ELF header"},
    {"throws", "ask: no exception", "thrown by ask"},
    {"workspace_lie", "oracle: other kinds", "ask promised at most 64"},
    {"overruns_workspace", "plain: survives", kSegmentationFault},
    {"underruns_workspace", "oracle: other kinds", "outside its workspace"},
    {"reads_too_far", "plain: survives", kSegmentationFault},
    {"changes_input", "oracle: other kinds", "changed its input X"},
    {"wrong_answer", "oracle: other kinds", "the oracle says"},
    {"prints", "instance: nothing printed", "stdout"},
    {"starts_thread", "threads: none of its own", "more threads"},
    {"silent_no", "ask: pure", "NO without a reason"},
    {"nan_cost", "ask: pure", "cost is nan"},
    {"auto_accuracy", "ask: pure", "names EXACT, NATIVE or LOSSY"},
    {"forgetful", "ask: pure", "another answer"},
    {"ignores_fields", "ask: unknown fields are NO", "silently ignore"},
    {"crashes", "plain: survives", "signal 6"},
    {"leaks", "memory: all given back", "left after destroy"},
    {"allocates_in_run", "oracle: other kinds", "asked the host for memory"},
#if defined(__SSE__)
    {"flushes", "oracle: other kinds", "floating-point mode"},
#endif
};

TEST_CASE("each hostile fixture is caught by the check that is meant for it") {
  for (const auto& [fault, name, word] : kExpected) {
    INFO(std::string(fault));
    const ConformanceReport report = Examine(fault);
    CHECK_FALSE(report.passed());
    bool found = false;
    std::string said;
    for (const Check& check : report.checks) {
      if (check.outcome != Outcome::kFail) continue;
      said += check.name + ": " + check.detail + "\n";
      found = found || (check.name.rfind(name, 0) == 0 && check.detail.find(word) != std::string::npos);
    }
    CAPTURE(said);
    CHECK(found);
  }
}

TEST_CASE("a plugin that hangs is stopped and named") {
  ConformanceOptions options;
  options.groups = {"plain"};
  options.seconds_per_group = 1;
  const ConformanceReport report = RunConformance(std::string(HOSTILE_FOLDER) + "/hangs.so", options);
  REQUIRE(report.checks.size() == 1);
  CHECK(report.checks[0].outcome == Outcome::kFail);
  CHECK(report.checks[0].detail.find("hung for 1 s at: unary") != std::string::npos);
}

}  // namespace
