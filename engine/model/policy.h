// policy.h: how attention (and every other op) is to be run, as a model file or a caller may say it.
//
// Every field is optional; it is looked for in the node's policy, the node's preset, the model's policy, the model's
// preset, then the default holds. A ResolvedPolicy remembers where each value came from, for explain.
#ifndef SAGE_ENGINE_MODEL_POLICY_H_
#define SAGE_ENGINE_MODEL_POLICY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sage/ops.h"

namespace sage {

enum class Preset : uint8_t { kDefault = 0, kLongSequence = 1, kLowMemory = 2 };

struct AttentionPolicy {
  std::optional<uint32_t> algorithm;        // SAGE_ALGORITHM_*
  std::optional<uint32_t> flash_threshold;  // AUTO is FLASH when Skv > this; 0 = the crossover of the backends' costs
  std::optional<uint32_t> block_q, block_kv;
  std::optional<Preset> preset;
  std::optional<uint32_t> accuracy;  // SAGE_ACCURACY_*
  std::optional<bool> use_simd;
  std::optional<std::string> backend;  // this one or an error
  std::vector<std::string> backend_order;
  std::optional<bool> deterministic;
  std::optional<bool> stream_capture;
  std::optional<bool> strict;
  std::optional<double> max_latency_ms;
  std::optional<uint64_t> max_memory;
};

enum class PolicySource : uint8_t { kDefault, kModelPreset, kModel, kNodePreset, kNode, kCaller };
const char* PolicySourceName(
    PolicySource source);  // "default", "model preset", "model", "node preset", "node", "caller"

template <class T>
struct Sourced {
  T value{};
  PolicySource source = PolicySource::kDefault;
};

struct ResolvedPolicy {
  Sourced<uint32_t> algorithm;
  Sourced<uint32_t> flash_threshold;
  Sourced<uint32_t> block_q, block_kv;
  Sourced<uint32_t> accuracy;
  Sourced<bool> use_simd{true};
  Sourced<std::string> backend;  // empty = choose by cost
  Sourced<std::vector<std::string>> backend_order;
  Sourced<bool> deterministic, stream_capture, strict;
  Sourced<double> max_latency_ms;  // 0 = none
};

// `caller` (options of the session or the command line) wins over the file.
ResolvedPolicy ResolvePolicy(const AttentionPolicy& caller, const AttentionPolicy& node, const AttentionPolicy& model);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_POLICY_H_
