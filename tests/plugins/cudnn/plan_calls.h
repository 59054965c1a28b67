// plan_calls.h: what cuDNN is asked for over described devices: every feature that DescribeSdpa accepts, alone and in
// pairs, over head dimensions and numbers of queries.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_PLAN_CALLS_H_
#define SAGE_TESTS_PLUGINS_CUDNN_PLAN_CALLS_H_

#include <random>
#include <string>
#include <vector>

#include "attention_calls.h"
#include "described_device.h"

namespace sage::test {

struct Feature {
  const char* name;
  void (*ask)(AttentionCall& call);
};

inline const std::vector<Feature>& Features() {
  static const std::vector<Feature> all{
      {"nothing", [](AttentionCall&) {}},
      {"causal", [](AttentionCall& c) { c.causal = true; }},
      {"bottom right", [](AttentionCall& c) { c.bottom_right = true, c.causal = c.causal || c.window_left < 0; }},
      {"window left", [](AttentionCall& c) { c.window_left = 40; }},
      {"window right", [](AttentionCall& c) { c.window_right = 9; }},
      {"both sides", [](AttentionCall& c) { c.window_left = 31, c.window_right = 0; }},
      {"bias", [](AttentionCall& c) { c.bias = BiasForm::kWhole; }},
      {"bias f32", [](AttentionCall& c) { c.bias = BiasForm::kWholeF32; }},
      {"bias by head", [](AttentionCall& c) { c.bias = BiasForm::kHeads; }},
      {"bias by batch", [](AttentionCall& c) { c.bias = BiasForm::kBatches; }},
      {"one bias", [](AttentionCall& c) { c.bias = BiasForm::kOne; }},
      {"alibi", [](AttentionCall& c) { c.alibi = c.causal = true; }},
      {"softcap", [](AttentionCall& c) { c.softcap = true; }},
      {"sinks", [](AttentionCall& c) { c.sinks = true; }},
      {"lse", [](AttentionCall& c) { c.lse = true; }},
      {"lengths", [](AttentionCall& c) { c.lengths = true; }},
      {"packed", [](AttentionCall& c) { c.packed = true; }},
      {"pages of 16", [](AttentionCall& c) { c.page = 16; }},
      {"pages of 64", [](AttentionCall& c) { c.page = 64; }},
      {"rows first", [](AttentionCall& c) { c.rows_first = true; }},
      {"ungrouped", [](AttentionCall& c) { c.heads_k = c.heads_q; }},
      {"f16", [](AttentionCall& c) { c.dtype = SAGE_F16; }},
  };
  return all;
}

struct Extent {
  int64_t first, second;
};
inline constexpr Extent kDims[] = {{64, 64}, {80, 80}, {128, 128}, {192, 128}, {256, 256}};
inline constexpr Extent kSequences[] = {{1, 1024}, {77, 200}, {512, 512}};

inline AttentionCall CallOf(const Feature& one, const Feature& other, const Extent& dims, const Extent& sequence) {
  AttentionCall call;
  call.dim_qk = dims.first, call.dim_v = dims.second;
  call.seq_q = sequence.first, call.seq_kv = sequence.second;
  one.ask(call), other.ask(call);
  return call;
}

// What became of one call on one device.
struct Outcome {
  bool described = false;    // DescribeSdpa has it
  bool has_engine = false;   // and cuDNN an engine
  std::string text, reason;  // the call; why not
};

inline Outcome AskFor(const cudnn::Library& library, const cudnn::DescribedDevice& device, const AttentionCall& call) {
  Outcome out;
  cuda::AttentionArguments arguments;
  cuda::AttentionExtras extras;
  uint64_t features = 0;
  out.reason = Read(Laid(call), &arguments, &features, &extras);
  if (!out.reason.empty()) return out;
  cudnn::Sdpa sdpa;
  out.described = cudnn::DescribeSdpa(arguments, features, device.installed(), &sdpa, &out.reason, extras);
  if (!out.described) return out;
  out.text = device.name() + ": " + cudnn::TextOf(sdpa);
  const cudnn::Engines engines = cudnn::Engines::Find(library, device.target(), sdpa);
  out.has_engine = engines.failure().ok(), out.reason = engines.failure().text;
  return out;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDNN_PLAN_CALLS_H_
