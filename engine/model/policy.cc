// policy.cc: one value for every field, and where it came from.
#include "model/policy.h"

namespace sage {
namespace {

struct PresetValues {
  uint32_t block_q, block_kv, flash_threshold;
};

PresetValues ValuesOf(Preset preset) {
  switch (preset) {
    case Preset::kLongSequence:
      return {32, 128, 512};  // fewer query rows a tile, longer runs of keys
    case Preset::kLowMemory:
      return {32, 32, 512};  // the smallest tiles that still vectorise
    case Preset::kDefault:
      break;
  }
  return {64, 64, 512};
}

// One place a value may come from, with its preset behind it.
struct Level {
  const AttentionPolicy* policy;
  PolicySource own, preset;
};

template <class T, class Get>
void Resolve(const Level (&levels)[3], Sourced<T>* out, Get get) {
  for (const Level& level : levels) {
    if (const auto& value = get(*level.policy); value.has_value()) {
      *out = {*value, level.own};
      return;
    }
  }
}

void ResolvePreset(const Level (&levels)[3], Sourced<uint32_t>* out, std::optional<uint32_t> AttentionPolicy::*field,
                   uint32_t PresetValues::*preset) {
  for (const Level& level : levels) {
    if ((level.policy->*field).has_value()) {
      *out = {*(level.policy->*field), level.own};
      return;
    }
    if (level.policy->preset.has_value()) {
      *out = {ValuesOf(*level.policy->preset).*preset, level.preset};
      return;
    }
  }
}

}  // namespace

const char* PolicySourceName(PolicySource source) {
  switch (source) {
    case PolicySource::kDefault:
      return "default";
    case PolicySource::kModelPreset:
      return "model preset";
    case PolicySource::kModel:
      return "model";
    case PolicySource::kNodePreset:
      return "node preset";
    case PolicySource::kNode:
      return "node";
    case PolicySource::kCaller:
      return "caller";
  }
  return "?";
}

ResolvedPolicy ResolvePolicy(const AttentionPolicy& caller, const AttentionPolicy& node, const AttentionPolicy& model) {
  // A preset the caller names is the caller's wish, and is reported as such.
  const Level levels[3] = {{&caller, PolicySource::kCaller, PolicySource::kCaller},
                           {&node, PolicySource::kNode, PolicySource::kNodePreset},
                           {&model, PolicySource::kModel, PolicySource::kModelPreset}};
  ResolvedPolicy out;
  Resolve(levels, &out.algorithm, [](const AttentionPolicy& p) { return p.algorithm; });
  ResolvePreset(levels, &out.flash_threshold, &AttentionPolicy::flash_threshold, &PresetValues::flash_threshold);
  ResolvePreset(levels, &out.block_q, &AttentionPolicy::block_q, &PresetValues::block_q);
  ResolvePreset(levels, &out.block_kv, &AttentionPolicy::block_kv, &PresetValues::block_kv);
  Resolve(levels, &out.accuracy, [](const AttentionPolicy& p) { return p.accuracy; });
  Resolve(levels, &out.use_simd, [](const AttentionPolicy& p) { return p.use_simd; });
  Resolve(levels, &out.backend, [](const AttentionPolicy& p) { return p.backend; });
  for (const Level& level : levels) {
    if (!level.policy->backend_order.empty()) {
      out.backend_order = {level.policy->backend_order, level.own};
      break;
    }
  }
  Resolve(levels, &out.deterministic, [](const AttentionPolicy& p) { return p.deterministic; });
  Resolve(levels, &out.stream_capture, [](const AttentionPolicy& p) { return p.stream_capture; });
  Resolve(levels, &out.strict, [](const AttentionPolicy& p) { return p.strict; });
  Resolve(levels, &out.max_latency_ms, [](const AttentionPolicy& p) { return p.max_latency_ms; });
  return out;
}

}  // namespace sage
