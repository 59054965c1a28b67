// explain.h: what was chosen and why, as JSON. The same words for a session's nodes and for a one-shot attention plan.
#ifndef SAGE_ENGINE_PLAN_EXPLAIN_H_
#define SAGE_ENGINE_PLAN_EXPLAIN_H_

#include <string_view>

#include "json.h"
#include "model/policy.h"
#include "plan/choose.h"
#include "plan/graph_plan.h"

namespace sage {

// Members of an open object: "chosen", "why", "fallback" (null or the reason), "verdicts": [{"backend","yes","reason",
// "cost_ns","cost_source","accuracy","workspace_bytes","blocking"}]. A NO has "accuracy" where the class was the
// reason.
void WriteChoice(JsonWriter& out, const Choice& choice);
// Member of an open object: "accuracy": {"accepted","why"}, the least exact class that op takes.
void WriteAcceptedAccuracy(JsonWriter& out, const sage_op& op, const ResolvedPolicy& policy);
// One object: every key of the policy with its value and where it came from.
void WritePolicy(JsonWriter& out, const ResolvedPolicy& policy);
// "auto", "materialised", "flash"; "auto", "exact" ...; "rule", "model"; "f32" ...
const char* AlgorithmName(uint32_t algorithm);
const char* AccuracyName(uint32_t accuracy);
const char* CostSourceName(uint32_t source);

// {"symbols","nodes","tensors","arena_bytes","live_peak_bytes","workspace_bytes","border_bytes","prepack_bytes","planned_bytes",
// "max_memory_bytes","cost_ns","max_latency_ms","warnings"}: a whole graph at one bucket. max_memory: the limit in
// force. Where a backend has a device also "devices" (their prices and what the plan has there), "copies" (each with
// its tensor, way, price and the node it comes before), "copy_ns" and "placement_exact".
void WriteGraphPlan(JsonWriter& out, const Graph& graph, const GraphPlan& plan, uint64_t max_memory,
                    double max_latency_ms);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_EXPLAIN_H_
