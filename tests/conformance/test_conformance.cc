// The kit run on our own backends: the oracle against itself (the kit must not cry wolf), and cpu.
#include <doctest/doctest.h>

#include <string>

#include "conformance/conformance.h"

extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace {

using namespace sage::conformance;

void Expect(const ConformanceReport& report, size_t at_least) {
  size_t tried = 0;
  for (const Check& check : report.checks) {
    CAPTURE(check.name);
    CAPTURE(check.detail);
    CHECK(check.outcome != Outcome::kFail);
    tried += check.outcome == Outcome::kPass ? 1 : 0;
  }
  CHECK(tried >= at_least);
}

void Reference(const char* group, int problems, size_t at_least) {
  ConformanceOptions options;
  options.groups = {group};
  options.problems = problems;
  options.seconds_per_group = 100;
  Expect(RunConformanceOn(reference_plugin_query, "reference", options), at_least);
}

void Cpu(const char* group, int problems, size_t at_least, const std::string& create_options = "") {
  const std::string path = SAGE_CPU_PLUGIN;
  if (path.empty()) {
    MESSAGE("skipped: the cpu plugin is not built");
    return;
  }
  ConformanceOptions options;
  options.groups = {group};
  options.problems = problems;
  options.create_options = create_options;
  options.seconds_per_group = 100;
  Expect(RunConformance(path, options), at_least);
}

TEST_CASE("reference: table and instance") { Reference("table", 0, 3), Reference("instance", 0, 3); }
TEST_CASE("reference: ask") { Reference("ask", 0, 4); }
TEST_CASE("reference: guarded runs of random problems") { Reference("oracle", 60, 1), Reference("plain", 100, 1); }
TEST_CASE("reference: hostile data") { Reference("adversarial", 0, 30); }
TEST_CASE("reference: runs, memory, threads") {
  Reference("run", 0, 4), Reference("memory", 0, 2), Reference("threads", 0, 3);
}

TEST_CASE("P12 cpu: table and instance") { Cpu("table", 0, 3), Cpu("instance", 0, 3); }
TEST_CASE("cpu: ask") { Cpu("ask", 0, 4); }
TEST_CASE("P1 P2 P3 P4 P5 cpu: random attention against the oracle") { Cpu("oracle", 240, 1); }
TEST_CASE("cpu: random problems of the other kinds against the oracle") { Cpu("plain", 300, 1); }
TEST_CASE("N5 R11 cpu: hostile data, sizes round every edge") { Cpu("adversarial", 0, 30); }
// What this machine lacks is skipped: the backend itself says so.
TEST_CASE("N5 N11 R11 cpu: hostile data by scalar kernels") { Cpu("adversarial", 0, 30, "isa=scalar"); }
TEST_CASE("N5 N11 R11 cpu: hostile data by avx2 kernels") { Cpu("adversarial", 0, 0, "isa=avx2"); }
TEST_CASE("cpu: runs and plans") { Cpu("run", 0, 4); }
TEST_CASE("cpu: memory") { Cpu("memory", 0, 2); }
TEST_CASE("R14 R23 cpu: threads") { Cpu("threads", 0, 3); }
TEST_CASE("N11 cpu: scalar kernels against the oracle") {
  Cpu("oracle", 120, 1, "isa=scalar"), Cpu("plain", 150, 1, "isa=scalar");
}

TEST_CASE("the kit reports a path it cannot load, and a library that is no plugin") {
  ConformanceOptions options;
  for (const char* path : {"relative.so", "/nowhere/there/is.so", "/usr/lib/x86_64-linux-gnu/libm.so.6"}) {
    const ConformanceReport report = RunConformance(path, options);
    CHECK_FALSE(report.passed());
    REQUIRE(report.checks.size() >= 1);
    CHECK(report.checks[0].detail.size() > 10);
  }
}

}  // namespace
