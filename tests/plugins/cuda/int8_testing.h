// int8_testing.h: a call of the tests on the emulated kernels that multiply Q and K in 8 bits, and beside the oracle.
#ifndef SAGE_TESTS_PLUGINS_CUDA_INT8_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDA_INT8_TESTING_H_

#include <string>
#include <vector>

#include "attention_emulated.h"
#include "int8_emulated.h"
#include "lossy_gates.h"

namespace sage::test {

// The kernels over the case's own memory. Of finite operands no row is made again: it would hide what is looked for.
inline std::string RunInt8(AttentionCase& attention, Int8Run run) {
  bool finite = true;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V})
    for (const double value : attention[slot].Values()) finite &= std::isfinite(value);
  run.repair = run.repair && !finite;
  const cuda::AttentionArguments a = ArgumentsOf(attention);
  // Full of NaN, and not a byte more than was asked for.
  std::vector<unsigned char> workspace(cuda::Int8WorkspaceBytes(a), 0xff);
  return LaunchEmulatedInt8(a, workspace.data(), run);
}

inline AttentionCase ExactOf(const AttentionCase& from) {
  static Oracle oracle;
  std::string failure;
  AttentionCase want = Expected(from, oracle.instance, &failure);
  REQUIRE(failure == "");
  return want;
}

// Runs both: empty, or what was wrong with the kernels, or what is beyond the gates of LOSSY.
inline std::string Int8Disagreement(AttentionCase& got, const Int8Run& run) {
  const AttentionCase want = ExactOf(got);
  const std::string failure = RunInt8(got, run);
  return failure.empty() ? LossyDisagreement(got, want) : "emulation: " + failure;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_INT8_TESTING_H_
