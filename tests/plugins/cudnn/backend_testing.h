// backend_testing.h: the backend behind its table on a machine without a device: over the fake runtime, the fake cuDNN
// that computes what a graph says, and the kernels around it in the emulation.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_BACKEND_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDNN_BACKEND_TESTING_H_

#include <doctest/doctest.h>

#include <string>

#include "../cuda/fake_runtime.h"
#include "call_emulated.h"
#include "cudnn/backend.h"
#include "fake_cudnn.h"
#include "support/attention_case.h"
#include "support/error_slot.h"

namespace sage::cudnn {

cuda::FakeRuntime& TheRuntime();
// The table over them. Anew: fake::Begin first.
const sage_plugin* FakeTable();

// What load and load_cublaslt answer; empty: they find it.
struct Missing {
  std::string cudnn, cublaslt;
};
Missing& WhatIsMissing();

// Everything as new: no driver error, no library missing, the fake cuDNN at its start.
fake::State& BeginFake();

// On the device instead of the CPU, in the same memory.
void Move(test::AttentionCase* to);

// Runs on the device what the oracle runs on the CPU. Empty, or what differs: a refusal's reason, too.
std::string Disagreement(test::AttentionCase& call, test::Instance& device);

}  // namespace sage::cudnn

#endif  // SAGE_TESTS_PLUGINS_CUDNN_BACKEND_TESTING_H_
