// reference_table.h: the table under test, and an instance of it on a host of one worker.
#ifndef SAGE_TESTS_PLUGINS_REFERENCE_REFERENCE_TABLE_H_
#define SAGE_TESTS_PLUGINS_REFERENCE_REFERENCE_TABLE_H_

#include "support/attention_case.h"

extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

struct Reference {
  explicit Reference(uint32_t workers = 1, Threads threads = Threads::kSimulated)
      : host(workers, threads), instance(reference_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host) {}
  TestHost host;
  Instance instance;
};

// Runs and returns the sentence of what went wrong; empty = ran.
inline std::string Failure(const RunResult& result) {
  return result.status == SAGE_OK ? "" : result.message.empty() ? "failed without a message" : result.message;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_REFERENCE_REFERENCE_TABLE_H_
