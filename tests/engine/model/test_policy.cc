// One value for every field of the policy, and where it came from.
#include <doctest/doctest.h>

#include <string>

#include "model/policy.h"

using namespace sage;

TEST_CASE("policy: node, node's preset, model, model's preset, default; the caller above all") {
  AttentionPolicy caller, node, model;
  ResolvedPolicy resolved = ResolvePolicy(caller, node, model);
  CHECK(resolved.block_q.value == 0);
  CHECK(resolved.flash_threshold.value == 0);
  CHECK(resolved.use_simd.value);
  CHECK(resolved.use_simd.source == PolicySource::kDefault);

  model.preset = Preset::kLongSequence;
  resolved = ResolvePolicy(caller, node, model);
  CHECK(resolved.block_q.value == 32);
  CHECK(resolved.block_kv.value == 128);
  CHECK(resolved.flash_threshold.value == 512);
  CHECK(std::string(PolicySourceName(resolved.block_q.source)) == "model preset");

  model.block_q = 16;
  resolved = ResolvePolicy(caller, node, model);
  CHECK(resolved.block_q.value == 16);
  CHECK(resolved.block_q.source == PolicySource::kModel);
  CHECK(resolved.block_kv.source == PolicySource::kModelPreset);

  node.preset = Preset::kLowMemory;
  resolved = ResolvePolicy(caller, node, model);
  CHECK(resolved.block_q.value == 32);
  CHECK(resolved.block_kv.value == 32);
  CHECK(resolved.block_q.source == PolicySource::kNodePreset);

  node.block_q = 0;  // back to "chosen by the backend"
  node.use_simd = false;
  node.algorithm = SAGE_ALGORITHM_AUTO;
  model.algorithm = SAGE_ALGORITHM_FLASH;
  resolved = ResolvePolicy(caller, node, model);
  CHECK(resolved.block_q.value == 0);
  CHECK(resolved.block_q.source == PolicySource::kNode);
  CHECK_FALSE(resolved.use_simd.value);
  CHECK(resolved.algorithm.value == SAGE_ALGORITHM_AUTO);

  caller.preset = Preset::kDefault;
  caller.backend = "cpu";
  model.backend = "reference";
  node.backend_order = {"a"};
  model.backend_order = {"b", "c"};
  resolved = ResolvePolicy(caller, node, model);
  CHECK(resolved.block_q.value == 64);
  CHECK(resolved.block_q.source == PolicySource::kCaller);
  CHECK(resolved.backend.value == "cpu");
  CHECK(resolved.backend.source == PolicySource::kCaller);
  CHECK(resolved.backend_order.value.size() == 1);

  model.max_latency_ms = 5;
  model.deterministic = true;
  model.strict = true;
  model.accuracy = SAGE_ACCURACY_EXACT;
  resolved = ResolvePolicy({}, {}, model);
  CHECK(resolved.max_latency_ms.value == 5);
  CHECK(resolved.deterministic.value);
  CHECK(resolved.strict.value);
  CHECK(resolved.accuracy.value == SAGE_ACCURACY_EXACT);
  CHECK(resolved.backend_order.value.front() == "b");
}
