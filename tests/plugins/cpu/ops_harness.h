// ops_harness.h: one op (op_case.h) on the cpu table, every instruction set this machine has, against the oracle.
#ifndef SAGE_TESTS_PLUGINS_CPU_OPS_HARNESS_H_
#define SAGE_TESTS_PLUGINS_CPU_OPS_HARNESS_H_

#include <string>
#include <vector>

#include "op_case.h"

extern "C" const sage_plugin* cpu_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

inline const sage_plugin* Cpu() { return cpu_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR); }

// The instruction sets that can be forced here; what is absent is said.
inline const std::vector<std::string>& Isas() {
  static const std::vector<std::string> isas = [] {
    std::vector<std::string> found;
    for (const char* isa : {"isa=scalar", "isa=avx2", "isa=avx512", "isa=neon"}) {
      TestHost host;
      const Instance instance(Cpu(), host, isa);
      if (instance.status() == SAGE_OK)
        found.emplace_back(isa);
      else
        MESSAGE("skipped: ", std::string(isa), ": ", instance.message());
    }
    return found;
  }();
  return isas;
}

// Every instruction set, one worker and three: like the oracle, the same bits for both. scale: of the quantities that
// cancel in a result, where they are larger than it.
inline void ExpectExact(const OpCase& c, double scale = 0.0) {
  const OpCase exact = Exact(c);
  const std::string what = Describe(c);
  for (const std::string& isa : Isas()) {
    std::vector<OwnedTensor> first(c.slots.size());
    for (const uint32_t workers : {1u, 3u}) {
      TestHost host(workers, Threads::kSimulated);
      Instance cpu(Cpu(), host, isa.c_str());
      OpCase mine = c;
      const RunResult result = RunCase(cpu, mine);
      REQUIRE_MESSAGE(result.status == SAGE_OK, isa, " ", result.message, " ", what);
      for (size_t s = 0; s < c.slots.size(); ++s) {
        if (!c.IsOutput(s) || !c.slots[s].present()) continue;
        const OwnedTensor &got = mine.slots[s], &want = exact.slots[s];
        uint64_t wrong = 0;
        for (uint64_t i = 0, n = got.size(); i < n; ++i)
          if (!Rounded(got.dtype(), got.Get(i), want.Get(i), scale) && wrong++ == 0)
            FAIL_CHECK(isa, " slot ", s, " element ", i, ": got ", got.Get(i), ", exact ", want.Get(i), " ", what);
        CHECK_MESSAGE(wrong == 0, wrong, " elements are wrong");
        CHECK_MESSAGE(PaddingUntouched(got), isa, " wrote between the elements ", what);
        if (workers == 1)
          first[s] = got;
        else
          CHECK_MESSAGE(BitwiseEqual(first[s], got), isa, " threads differ ", what);
      }
    }
  }
}

// Real threads, 1 2 3 8: the same bits.
inline void ExpectSameBitsForThreads(const OpCase& c, const std::vector<std::string>& isas = Isas()) {
  for (const std::string& isa : isas) {
    std::vector<OwnedTensor> first;
    for (const uint32_t workers : {1u, 2u, 3u, 8u}) {
      TestHost host(workers);
      Instance cpu(Cpu(), host, isa.c_str());
      OpCase mine = c;
      const RunResult result = RunCase(cpu, mine);
      REQUIRE_MESSAGE(result.status == SAGE_OK, isa, " ", result.message);
      if (workers == 1) {
        first = mine.slots;
        continue;
      }
      CHECK_MESSAGE(host.parallel_calls() > 0, "the case is too small to reach the pool: ", Describe(c));
      for (size_t s = 0; s < c.slots.size(); ++s)
        if (c.slots[s].present()) CHECK_MESSAGE(BitwiseEqual(first[s], mine.slots[s]), isa, " ", workers, " threads");
    }
  }
}

// A NO with a reason that names what is wrong.
inline void ExpectRefused(OpCase& c, const std::string& part) {
  TestHost host;
  Instance cpu(Cpu(), host);
  const RunResult result = RunCase(cpu, c);
  CHECK(result.status == SAGE_E_UNSUPPORTED);
  CHECK_MESSAGE(result.message.find(part) != std::string::npos, result.message);
}

// A run that fails with a sentence.
inline void ExpectRunError(OpCase& c, const std::string& part) {
  for (const std::string& isa : Isas()) {
    TestHost host(2, Threads::kSimulated);
    Instance cpu(Cpu(), host, isa.c_str());
    const RunResult result = RunCase(cpu, c);
    CHECK(result.status == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(result.message.find(part) != std::string::npos, result.message);
  }
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_OPS_HARNESS_H_
