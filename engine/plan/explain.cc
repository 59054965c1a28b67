// explain.cc: see the header.
#include "plan/explain.h"

#include <string.h>

#include <fmt/format.h>

#include <vector>

#include "plan/attention_memory.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

template <class T, class Write>
void WriteSourced(JsonWriter& out, std::string_view key, const Sourced<T>& sourced, Write write) {
  out.Key(key);
  out.BeginObject();
  out.Key("value");
  write(sourced.value);
  out.Member("source", PolicySourceName(sourced.source));
  out.EndObject();
}

std::string_view TextOf(const char* text, size_t size) { return {text, strnlen(text, size)}; }

void WriteVerdict(JsonWriter& out, const Verdict& verdict) {
  const sage_answer& answer = verdict.answer;
  const bool yes = answer.verdict == SAGE_YES;
  out.BeginObject();
  out.Member("backend", verdict.backend->name());
  if (verdict.backend->device() != nullptr) out.Member("device", verdict.backend->device()->name());
  out.Member("yes", yes);
  out.Member("reason", TextOf(answer.reason, sizeof answer.reason));
  if (yes) {
    out.Member("cost_ns", answer.cost_ns);
    out.Member("cost_source", CostSourceName(answer.cost_source));
    out.Member("accuracy", AccuracyName(answer.accuracy));
    out.Member("workspace_bytes", answer.workspace_bytes);
  } else {
    if (answer.blocking != 0) out.Member("blocking", answer.blocking);
    if (answer.accuracy != SAGE_ACCURACY_AUTO) out.Member("accuracy", AccuracyName(answer.accuracy));
  }
  out.EndObject();
}

void WriteReshape(JsonWriter& out, const PlannedNode& node) {
  const bool view = node.reshape == ReshapeMode::kView;
  out.Member("chosen", view ? "view" : "engine");
  out.Member("why", view ? "a reshape by strides: costs nothing"
                         : "a reshape that strides cannot express: the engine copies the elements");
  out.Key("fallback"), out.Null();
  out.Key("verdicts"), out.BeginArray(), out.EndArray();
}

void WriteNode(JsonWriter& out, const Node& node, const PlannedNode& planned) {
  out.BeginObject();
  out.Member("name", node.name);
  if (planned.reshape != ReshapeMode::kOther) {
    out.Member("kind", "RESHAPE");
    WriteReshape(out, planned);
    out.EndObject();
    return;
  }
  out.Member("kind", support::KindName(node.kind));
  out.Member("problem", planned.problem);
  if (node.kind == SAGE_OP_ATTENTION) {
    out.Member("bench", fmt::format("sage-engine bench --attn '{}'", planned.problem));
    const auto* attributes = static_cast<const sage_attention_attributes*>(planned.built.op.attributes);
    out.Member("algorithm", AlgorithmName(attributes->algorithm));
    out.Member("seq_kv", planned.key_rows);
    out.Member("block_q", attributes->block_q);
    out.Member("block_kv", attributes->block_kv);
  }
  out.Member("flops", planned.work.flops);
  out.Member("bytes", planned.work.bytes);
  WriteChoice(out, planned.choice);
  WriteAcceptedAccuracy(out, planned.built.op, planned.policy);
  if (planned.plan) {
    out.Member("workspace_bytes", planned.plan->workspace_bytes());
    out.Member("prepack_bytes", planned.plan->prepack_bytes());
  }
  if (node.kind == SAGE_OP_ATTENTION && planned.chosen() != nullptr) {
    sage_plan_info bound{};  // not planned yet: what the backend answered with
    bound.workspace_bytes = planned.chosen()->answer.workspace_bytes;
    WriteAttentionMemory(out, MemoryOfAttention(planned.built.op, planned.plan ? planned.plan->info() : bound));
  }
  if (planned.chosen() != nullptr && planned.chosen()->backend->table().foreign_threads != nullptr) {
    out.Member("foreign_threads", planned.chosen()->backend->table().foreign_threads);
  }
  out.Key("policy");
  WritePolicy(out, planned.policy);
  out.EndObject();
}

// Where each tensor lies at the planned shapes: "input" (the caller's or the session's copy), "constant", "arena" (with
// its offset), "view" (in `of`). first, last: the nodes that touch it, by number; what lies in one arena at the same
// offset never lives at the same time. `offset` is in the arena of the device where that is not the CPU's.
void WriteTensors(JsonWriter& out, const Graph& graph, const GraphPlan& plan) {
  std::vector<int64_t> first(plan.tensors.size(), -1), last(plan.tensors.size(), -1);
  for (size_t node = 0; node < graph.nodes.size(); ++node) {
    for (const int32_t slot : graph.nodes[node].slots) {
      if (slot == kNone) continue;
      const auto tensor = static_cast<size_t>(slot);
      if (first[tensor] < 0) first[tensor] = static_cast<int64_t>(node);
      last[tensor] = static_cast<int64_t>(node);
    }
  }
  out.Key("tensors");
  out.BeginArray();
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const PlannedTensor& tensor = plan.tensors[i];
    if (tensor.storage == Storage::kUnused) continue;
    const bool view = tensor.storage == Storage::kView;
    out.BeginObject();
    out.Member("name", graph.tensors[i].name);
    out.Member("where", view                                   ? "view"
                        : tensor.storage == Storage::kConstant ? "constant"
                        : tensor.in_arena                      ? "arena"
                                                               : "input");
    if (view) out.Member("of", graph.tensors[static_cast<size_t>(tensor.base)].name);
    if (!view && tensor.in_arena) out.Member("offset", tensor.offset);
    out.Member("bytes", tensor.bytes);
    if (tensor.domain != 0) out.Member("device", tensor.domain);
    out.Member("first", first[i]);
    out.Member("last", last[i]);
    out.EndObject();
  }
  out.EndArray();
}

void WriteWarnings(JsonWriter& out, const Graph& graph, const GraphPlan& plan, double max_latency_ms) {
  out.Key("warnings");
  out.BeginArray();
  if (max_latency_ms > 0 && plan.cost_ns > max_latency_ms * 1e6) {
    out.String(
        fmt::format("the plan's cost, {:.4g} ms, exceeds max_latency_ms = {:.4g}", plan.cost_ns / 1e6, max_latency_ms));
  }
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    const PlannedNode& node = *plan.nodes[i];
    if (node.chosen() == nullptr) continue;
    // A node's own budget; the model's is the whole run's, above.
    const Sourced<double>& budget = node.policy.max_latency_ms;
    const bool own = budget.source == PolicySource::kNode || budget.source == PolicySource::kNodePreset;
    const double cost = node.chosen()->answer.cost_ns;
    if (own && budget.value > 0 && cost > budget.value * 1e6) {
      out.String(fmt::format("node \"{}\": its cost, {:.4g} ms, exceeds its max_latency_ms = {:.4g}",
                             graph.nodes[i].name, cost / 1e6, budget.value));
    }
    if (node.choice.fallback) {
      out.String(fmt::format("node \"{}\": {}", graph.nodes[i].name, node.choice.fallback_reason));
    }
  }
  if (!plan.exact_placement) {
    out.String(fmt::format("the graph is too wide to be placed exactly: the best of {} states at each node was kept",
                           kMaxPlacementStates));
  }
  out.EndArray();
}

// What the placement weighed and what came of it: every device with its prices, every copy with its own.
void WriteDevices(JsonWriter& out, const Graph& graph, const GraphPlan& plan) {
  const Places places(plan.prices);
  const auto name = [&](uint32_t place) {
    return place == 0 ? std::string("cpu") : plan.devices[places.domain(place)].device->name();
  };
  out.Key("devices");
  out.BeginArray();
  for (size_t i = 1; i < plan.devices.size(); ++i) {
    const DevicePlan& device = plan.devices[i];
    out.BeginObject();
    out.Member("device", device.device->name());
    out.Member("supplied_by", device.device->supplier());
    out.Member("host_visible", device.device->host_visible());
    out.Member("copy_latency_ns", device.device->copy_latency_ns());
    out.Member("copy_bytes_per_ns", device.device->copy_bytes_per_ns());
    out.Member("used", device.used);
    out.Member("arena_bytes", device.arena.total);
    out.Member("workspace_bytes", device.workspace_bytes);
    out.Member("copies", device.copies);
    out.Member("copy_bytes", device.copy_bytes);
    out.Member("copy_ns", device.copy_ns);
    out.EndObject();
  }
  out.EndArray();
  out.Key("copies");
  out.BeginArray();
  size_t node = 0;
  for (size_t i = 0; i < plan.actions.size(); ++i) {
    const PlannedAction& action = plan.actions[i];
    if (action.kind != PlannedAction::Kind::kCopy) continue;
    while (node + 1 < plan.nodes.size() && plan.nodes[node + 1]->first_action <= i) ++node;
    const auto tensor = static_cast<size_t>(action.tensor);
    out.BeginObject();
    out.Member("tensor", graph.tensors[tensor].name);
    out.Member("from", name(action.from));
    out.Member("to", name(action.to));
    out.Key("before");  // null: after the last node, for the outputs
    i < plan.last_actions ? out.String(graph.nodes[node].name) : out.Null();
    out.Member("bytes", plan.tensors[tensor].bytes);
    out.Member("cost_ns", places.CopyNs(action.from == 0 ? action.to : action.from, plan.tensors[tensor].bytes));
    out.EndObject();
  }
  out.EndArray();
  out.Member("copy_ns", plan.copy_ns);
  out.Member("placement_exact", plan.exact_placement);
}

}  // namespace

const char* AlgorithmName(uint32_t algorithm) {
  switch (algorithm) {
    case SAGE_ALGORITHM_AUTO:
      return "auto";
    case SAGE_ALGORITHM_MATERIALISED:
      return "materialised";
    case SAGE_ALGORITHM_FLASH:
      return "flash";
    default:
      return "?";
  }
}

const char* AccuracyName(uint32_t accuracy) {
  switch (accuracy) {
    case SAGE_ACCURACY_AUTO:
      return "auto";
    case SAGE_ACCURACY_EXACT:
      return "exact";
    case SAGE_ACCURACY_NATIVE:
      return "native";
    case SAGE_ACCURACY_LOSSY:
      return "lossy";
    default:
      return "?";
  }
}

const char* CostSourceName(uint32_t source) {
  switch (source) {
    case SAGE_COST_RULE:
      return "rule";
    case SAGE_COST_MODEL:
      return "model";
    default:
      return "?";
  }
}

void WriteChoice(JsonWriter& out, const Choice& choice) {
  if (choice.chosen >= 0) {
    out.Member("chosen", choice.verdicts[static_cast<size_t>(choice.chosen)].backend->name());
  } else {
    out.Key("chosen"), out.Null();
  }
  if (choice.chosen >= 0) {
    const auto& device = choice.verdicts[static_cast<size_t>(choice.chosen)].backend->device();
    if (device != nullptr) out.Member("device", device->name());
  }
  out.Member("why", choice.reason);
  out.Key("fallback");
  choice.fallback ? out.String(choice.fallback_reason) : out.Null();
  out.Key("verdicts");
  out.BeginArray();
  for (const Verdict& verdict : choice.verdicts) WriteVerdict(out, verdict);
  out.EndArray();
}

void WriteAcceptedAccuracy(JsonWriter& out, const sage_op& op, const ResolvedPolicy& policy) {
  out.Key("accuracy");
  out.BeginObject();
  out.Member("accepted", AccuracyName(AcceptedAccuracy(op)));
  out.Member("why", WhyAccepted(op, policy));
  out.EndObject();
}

void WritePolicy(JsonWriter& out, const ResolvedPolicy& policy) {
  const auto count = [&](uint32_t value) { out.Unsigned(value); };
  const auto boolean = [&](bool value) { out.Bool(value); };
  out.BeginObject();
  WriteSourced(out, "algorithm", policy.algorithm, [&](uint32_t value) { out.String(AlgorithmName(value)); });
  WriteSourced(out, "flash_threshold", policy.flash_threshold, count);
  WriteSourced(out, "block_q", policy.block_q, count);
  WriteSourced(out, "block_kv", policy.block_kv, count);
  WriteSourced(out, "accuracy", policy.accuracy, [&](uint32_t value) { out.String(AccuracyName(value)); });
  WriteSourced(out, "use_simd", policy.use_simd, boolean);
  WriteSourced(out, "backend", policy.backend, [&](const std::string& value) { out.String(value); });
  WriteSourced(out, "backend_order", policy.backend_order, [&](const std::vector<std::string>& names) {
    out.BeginArray();
    for (const std::string& name : names) out.String(name);
    out.EndArray();
  });
  WriteSourced(out, "deterministic", policy.deterministic, boolean);
  WriteSourced(out, "stream_capture", policy.stream_capture, boolean);
  WriteSourced(out, "strict", policy.strict, boolean);
  WriteSourced(out, "max_latency_ms", policy.max_latency_ms, [&](double value) { out.Number(value); });
  out.EndObject();
}

void WriteGraphPlan(JsonWriter& out, const Graph& graph, const GraphPlan& plan, uint64_t max_memory,
                    double max_latency_ms) {
  out.BeginObject();
  out.Key("symbols");
  out.BeginArray();
  for (size_t i = 0; i < graph.symbols.size(); ++i) {
    out.BeginObject();
    out.Member("name", graph.symbols[i].name);
    out.Member("max", graph.symbols[i].max);
    out.Member("planned", plan.key.symbols[i]);
    out.Member("exact", ((plan.key.fixed >> i) & 1) != 0);
    out.EndObject();
  }
  out.EndArray();
  out.Key("nodes");
  out.BeginArray();
  for (size_t i = 0; i < plan.nodes.size(); ++i) WriteNode(out, graph.nodes[i], *plan.nodes[i]);
  out.EndArray();
  WriteTensors(out, graph, plan);
  if (plan.devices.size() > 1) WriteDevices(out, graph, plan);
  out.Member("arena_bytes", plan.arena.total);
  out.Member("live_peak_bytes", plan.arena.live_peak);
  out.Member("workspace_bytes", plan.workspace_bytes);
  out.Member("border_bytes", plan.border_bytes);
  out.Member("prepack_bytes", plan.prepack_bytes);
  out.Member("planned_bytes", plan.planned_bytes());
  if (max_memory != UINT64_MAX) out.Member("max_memory_bytes", max_memory);
  out.Member("cost_ns", plan.cost_ns);
  if (max_latency_ms > 0) out.Member("max_latency_ms", max_latency_ms);
  WriteWarnings(out, graph, plan, max_latency_ms);
  out.EndObject();
}

}  // namespace sage
