// acceptance.cc: see the header.
#include "acceptance.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string_view>

namespace sage::test {
namespace {

using cudnn::Failure;
using nlohmann::ordered_json;

constexpr int64_t kWindow = 128;
// More keys than queries, so that counting from the end is another mask than counting from the beginning.
void FromTheEnd(AttentionCall& c) {
  c.bottom_right = true;
  if (c.seq_q > 1) c.seq_kv = c.seq_q + c.seq_q / 2;
}

constexpr Variant kVariants[] = {
    {"no mask", true, true, false, true, [](AttentionCall&) {}},
    {"causal, top left", true, true, false, true, [](AttentionCall& c) { c.causal = true; }},
    {"causal, bottom right", true, true, false, false, [](AttentionCall& c) { c.causal = true, FromTheEnd(c); }},
    {"causal, window, top left", true, true, false, false,
     [](AttentionCall& c) { c.causal = true, c.window_left = kWindow - 1; }},
    {"causal, window, bottom right", true, true, false, false,
     [](AttentionCall& c) { c.causal = true, c.window_left = kWindow - 1, FromTheEnd(c); }},
    {"window to both sides", true, true, false, false,
     [](AttentionCall& c) { c.window_left = c.window_right = kWindow / 2; }},
    {"lengths", true, true, false, true, [](AttentionCall& c) { c.lengths = true; }},
    {"lengths, causal, bottom right", true, true, false, false,
     [](AttentionCall& c) { c.lengths = c.causal = true, FromTheEnd(c); }},
    {"packed", true, true, false, true, [](AttentionCall& c) { c.packed = true; }},
    {"packed, causal, top left", true, false, false, false, [](AttentionCall& c) { c.packed = c.causal = true; }},
    {"packed, causal, bottom right", true, false, false, false,
     [](AttentionCall& c) { c.packed = c.causal = true, FromTheEnd(c); }},
    {"pages of 16", true, true, false, false, [](AttentionCall& c) { c.page = 16; }},
    {"pages of 64", true, true, false, true, [](AttentionCall& c) { c.page = 64; }},
    {"pages of 64, causal, bottom right", true, true, false, false,
     [](AttentionCall& c) { c.page = 64, c.causal = true, FromTheEnd(c); }},
    {"bias", true, true, false, true, [](AttentionCall& c) { c.bias = BiasForm::kWhole; }},
    {"bias in f32", true, true, false, false, [](AttentionCall& c) { c.bias = BiasForm::kWholeF32; }},
    {"bias by head", true, false, false, false, [](AttentionCall& c) { c.bias = BiasForm::kHeads; }},
    {"ALiBi, causal, top left", true, true, false, false, [](AttentionCall& c) { c.alibi = c.causal = true; }},
    {"softcap", true, true, false, false, [](AttentionCall& c) { c.softcap = true; }},
    {"softcap, causal, top left", true, false, false, false, [](AttentionCall& c) { c.softcap = c.causal = true; }},
    {"sinks", true, true, false, false, [](AttentionCall& c) { c.sinks = true; }},
    {"sinks, causal, window, top left", true, false, false, false,
     [](AttentionCall& c) { c.sinks = c.causal = true, c.window_left = kWindow - 1; }},
    {"sinks, lengths", true, false, false, false, [](AttentionCall& c) { c.sinks = c.lengths = true; }},
    {"LSE", true, true, false, false, [](AttentionCall& c) { c.lse = true; }},
    {"LSE, lengths", true, true, false, false, [](AttentionCall& c) { c.lse = c.lengths = true; }},
    {"LSE, packed", true, true, false, false, [](AttentionCall& c) { c.lse = c.packed = true; }},
    {"unified", true, true, true, true, [](AttentionCall&) {}},
    {"unified, LSE", true, true, true, false, [](AttentionCall& c) { c.lse = true; }},
    {"unified, lengths", true, true, true, false, [](AttentionCall& c) { c.lengths = true; }},
    {"unified, pages of 16", true, true, true, false, [](AttentionCall& c) { c.page = 16; }},
    {"unified, pages of 64", true, true, true, false, [](AttentionCall& c) { c.page = 64; }},
};

struct Dims {
  int64_t qk, v;
};
constexpr Dims kDims[] = {{64, 64}, {128, 128}, {256, 256}, {192, 128}};

// Of cuDNN 9.19: what its attention engines are for, by their numbers.
std::string Family(int64_t engine) {
  switch (engine) {
    case 1:
      return "composite, sm_8x";
    case 2:
      return "composite, sm_9x";
    case 3:
      return "composite, sm_10x";
    case 4:
      return "composite, sm_12x";
    case 8:
      return "unified, sm_8x";
    case 9:
      return "unified, sm_9x";
    case 10:
      return "unified, sm_10x";
    case 11:
      return "unified, sm_12x";
    default:
      return "another";
  }
}

// The names of the kernels in a plan's text, as cuDNN generated them, without what all have in common.
std::string Kernels(const std::string& text) {
  constexpr std::string_view kKey = "\"kernelName\":\"", kCommon = "cudnn_generated_fort_native_sdpa_";
  std::string names;
  for (size_t at = 0; (at = text.find(kKey, at)) != std::string::npos;) {
    at += kKey.size();
    std::string name = text.substr(at, text.find('"', at) - at);
    if (name.starts_with(kCommon)) name.erase(0, kCommon.size());
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

// One line of words: cuDNN tells of each engine it tried, over several lines.
std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.substr(0, 400);
}

}  // namespace

std::string Row::Key() const {
  const std::string v = call.dim_v == call.dim_qk ? "" : "/" + std::to_string(call.dim_v);
  return std::string(variant->name) + ", " + (decode ? "decode" : "prefill") + ", " +
         (call.dtype == SAGE_F16 ? "f16" : "bf16") + ", d " + std::to_string(call.dim_qk) + v;
}

std::vector<Row> Rows() {
  std::vector<Row> rows;
  for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16})
    for (const Dims& dims : kDims) {
      if (dtype == SAGE_F16 && dims.qk != 128) continue;
      for (const bool decode : {false, true})
        for (const Variant& variant : kVariants) {
          if (!(decode ? variant.decode : variant.prefill) || (dtype == SAGE_F16 && !variant.in_f16)) continue;
          AttentionCall call;
          call.dtype = dtype, call.dim_qk = dims.qk, call.dim_v = dims.v;
          if (decode) call.seq_q = 1, call.seq_kv = 4096, call.batch = 4;
          variant.ask(call);
          rows.push_back({&variant, call, decode});
        }
    }
  return rows;
}

ordered_json Accept(const cudnn::Library& library, const cudnn::Target& target, const cudnn::Installed& installed,
                    const Row& row) {
  const AttentionCall& call = row.call;
  ordered_json out{{"variant", row.variant->name},
                   {"phase", row.decode ? "decode" : "prefill"},
                   {"dtype", call.dtype == SAGE_F16 ? "f16" : "bf16"},
                   {"d", {call.dim_qk, call.dim_v}},
                   {"accepted", false}};
  for (const char* open :
       {"refused_by", "reason", "engine", "family", "kernel", "compiled", "native_graph", "workspace_bytes", "build_ms",
        "error_o", "error_lse", "same_bits", "replay_stream", "replay_native"})
    out[open] = nullptr;
  const auto refused = [&](const char* by, const std::string& why) {
    out["refused_by"] = by, out["reason"] = OneLine(why);
    return out;
  };
  cuda::AttentionArguments arguments;
  uint64_t features = 0;
  cudnn::Sdpa sdpa;
  std::string why = Read(Laid(call), &arguments, &features);
  if (!why.empty() || !cudnn::DescribeSdpa(arguments, features, installed, &sdpa, &why)) return refused("rules", why);
  sdpa.unified = row.variant->unified;
  Failure failure;
  const auto begin = std::chrono::steady_clock::now();
  const auto plan = cudnn::Plan::Build(library, target, sdpa, &failure);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  if (plan == nullptr) return refused("cuDNN", failure.text);
  out["accepted"] = true;
  out["engine"] = plan->engine(), out["family"] = Family(plan->engine());
  out["kernel"] = Kernels(plan->Text(&failure));
  out["compiled"] = plan->compiled(), out["native_graph"] = plan->native_graph();
  out["workspace_bytes"] = plan->workspace_bytes(), out["build_ms"] = std::round(took.count());
  return out;
}

}  // namespace sage::test
