// session_plan.cc: from the shapes now set to the plan that serves them.
//
// A plan is looked up by the bucket of each symbol, by which side of its flash_threshold each attention node is on, and
// by the strides of bound tensors that the planned ones do not cover. A known bucket costs a comparison.
#include <fmt/format.h>

#include <algorithm>

#include "model/verify.h"
#include "plan/buckets.h"
#include "run/session_impl.h"
#include "run/tensor_copy.h"

namespace sage {
namespace {

uint64_t AllSymbols(const Graph& graph) {
  return graph.symbols.size() >= 64 ? ~0ull : (1ull << graph.symbols.size()) - 1;
}

}  // namespace

Session::Impl::Impl(std::shared_ptr<Engine> the_engine, std::shared_ptr<const Graph> the_graph,
                    const SessionOptions& the_options)
    : engine(std::move(the_engine)),
      graph(std::move(the_graph)),
      options(the_options),
      backends(engine->backends()),
      arena(engine->host()) {}

Status Session::Impl::Initialise() {
  std::vector<ModelError> errors;
  CheckGraph(*graph, &errors);
  if (!errors.empty()) return Status(SAGE_E_BAD_DATA, ErrorText(errors, 5));
  if (graph->symbols.size() > 64) {
    return Status(SAGE_E_UNSUPPORTED, fmt::format("{} symbols, at most 64 are supported", graph->symbols.size()));
  }
  max_memory =
      std::min({options.max_memory, graph->policy.max_memory.value_or(UINT64_MAX), engine->host()->max_memory()});
  const ResolvedPolicy whole = ResolvePolicy(options.policy, {}, graph->policy);
  max_latency_ms = whole.max_latency_ms.value;
  for (const Node& node : graph->nodes) {
    const ResolvedPolicy policy = ResolvePolicy(options.policy, node.policy, graph->policy);
    const Status refused = engine->WhyRefused(policy.backend.value, PolicySourceName(policy.backend.source));
    if (!refused.ok()) return refused.At(fmt::format("node \"{}\"", node.name));
    const bool judged = node.kind == SAGE_OP_ATTENTION && policy.algorithm.value == SAGE_ALGORITHM_AUTO;
    flash_thresholds.push_back(judged ? policy.flash_threshold.value : 0);
  }
  FindDomains();
  for (size_t i = 0; i < graph->inputs.size(); ++i) inputs.emplace_back(engine->host());
  for (size_t i = 0; i < graph->outputs.size(); ++i) outputs.emplace_back(engine->host());
  LockHostMemory();
  token.cancel = options.cancel, token.cancel_user = options.cancel_user;
  token.trace = &trace;
  if (options.trace) trace.Enable(static_cast<uint32_t>(std::clamp<size_t>(graph->nodes.size() * 8, 1024, 65536)));
  if (options.trace) trace.EnableCounts(static_cast<uint32_t>(graph->nodes.size()));

  SAGE_RETURN_IF_ERROR(UnifySymbols(false));
  SAGE_RETURN_IF_ERROR(InferAtRun());
  for (const Node& node : graph->nodes) {
    if (node.kind == kKindReshape) continue;
    exact_symbols |= FindDynamicAxes(*graph, node, shapes).exact_symbols;
    if (node.kind != SAGE_OP_ATTENTION || node.slots.size() <= SAGE_ATTN_K_NEW ||
        node.slots[SAGE_ATTN_K_NEW] == kNone) {
      continue;
    }
    // A cache is written in place, so it must never be staged: its strides are those of its size at run.
    for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
      const BoundTensor& cache = shapes[static_cast<size_t>(node.slots[slot])];
      for (uint32_t axis = 0; axis < cache.rank; ++axis) exact_symbols |= cache.dim_symbols[axis];
      if (TensorOf(node.slots[slot]).constant.has_value()) {
        return Status(SAGE_E_INVALID_ARGUMENT,
                      fmt::format("node \"{}\": k_new is appended to \"{}\", which is a constant; make it an input",
                                  node.name, TensorOf(node.slots[slot]).name));
      }
      const auto input = std::find(graph->inputs.begin(), graph->inputs.end(), node.slots[slot]);
      if (input != graph->inputs.end()) inputs[static_cast<size_t>(input - graph->inputs.begin())].writer = &node;
    }
  }
  MakeKey(exact_symbols == AllSymbols(*graph));
  SAGE_ASSIGN_OR_RETURN(auto plan, Assess());
  SAGE_RETURN_IF_ERROR(CheckMemory(*plan));
  Keep(std::move(plan));
  current = plans.back().get();
  if (graph->symbols.empty()) SAGE_RETURN_IF_ERROR(RealiseOrReplace(&current));
  return options.warmup_all ? WarmUp() : Status();
}

Status Session::Impl::UnifySymbols(bool all_required) {
  symbol_values.assign(graph->symbols.size(), 0);
  symbol_givers.assign(graph->symbols.size(), -1);
  for (uint32_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].set) {
      if (!all_required) continue;
      return Status(SAGE_E_INVALID_ARGUMENT, InputName(i) + " is not set; set or bind every input before the run");
    }
    const std::vector<Dim>& dims = *TensorOf(graph->inputs[i]).shape;
    for (size_t axis = 0; axis < dims.size(); ++axis) {
      if (dims[axis].symbol == kNone) continue;
      const auto symbol = static_cast<size_t>(dims[axis].symbol);
      const int64_t size = inputs[i].tensor.shape[axis];
      if (symbol_givers[symbol] < 0) {
        symbol_givers[symbol] = static_cast<int32_t>(i), symbol_values[symbol] = size;
      } else if (symbol_values[symbol] != size) {
        return Status(SAGE_E_INVALID_ARGUMENT,
                      fmt::format("dimension \"{}\" is {} in {} and {} in {}; one name has one size a run",
                                  graph->symbols[symbol].name, symbol_values[symbol],
                                  InputName(static_cast<uint32_t>(symbol_givers[symbol])), size, InputName(i)));
      }
    }
  }
  for (size_t symbol = 0; symbol < symbol_values.size(); ++symbol) {
    if (symbol_givers[symbol] < 0) symbol_values[symbol] = graph->symbols[symbol].max;
  }
  return {};
}

Status Session::Impl::InferAtRun() {
  if (!InferShapes(*graph, symbol_values, &shapes, nullptr)) {
    std::vector<ModelError> errors;
    InferShapes(*graph, symbol_values, &shapes, &errors);
    return Status(SAGE_E_INVALID_ARGUMENT, ErrorText(errors, 3));
  }
  key_rows.resize(graph->nodes.size());
  for (size_t i = 0; i < graph->nodes.size(); ++i) key_rows[i] = KeyRows(graph->nodes[i], shapes);
  return {};
}

void Session::Impl::MakeKey(bool all_fixed) {
  const uint64_t all = AllSymbols(*graph);
  key.fixed = all_fixed || all_exact ? all : exact_symbols & all;
  key.symbols.resize(symbol_values.size());
  for (size_t i = 0; i < symbol_values.size(); ++i) {
    key.symbols[i] = ((key.fixed >> i) & 1) != 0 ? symbol_values[i] : BucketOf(symbol_values[i], graph->symbols[i].max);
  }
  key.flash.resize(key_rows.size());
  for (size_t i = 0; i < key_rows.size(); ++i) {
    key.flash[i] = flash_thresholds[i] > 0 && key_rows[i] > static_cast<int64_t>(flash_thresholds[i]);
  }
  key.layouts.clear();
  if (key.fixed == all) AddCallerLayouts();
}

// Exact shapes: the planned strides of a bound tensor are either row-major or the caller's own.
void Session::Impl::AddCallerLayouts() {
  const auto add = [&](int32_t tensor, const sage_tensor& bound) {
    sage_tensor plain;
    const BoundTensor& shape = shapes[static_cast<size_t>(tensor)];
    sage_tensor_init(&plain, shape.dtype, shape.rank, shape.shape, nullptr);
    if (StridesServe(plain, bound.stride)) return;
    for (const CallerLayout& known : key.layouts) {
      if (known.tensor == tensor) return;  // the first one bound is written in place, the others are copies
    }
    CallerLayout layout;
    layout.tensor = tensor;
    std::copy(bound.stride, bound.stride + bound.rank, layout.stride);
    key.layouts.push_back(layout);
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].set && inputs[i].bound) add(graph->inputs[i], inputs[i].tensor);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const int32_t tensor = graph->outputs[i];
    const bool written = std::find(graph->inputs.begin(), graph->inputs.end(), tensor) == graph->inputs.end() &&
                         !TensorOf(tensor).constant.has_value();
    if (outputs[i].bound && written) add(tensor, outputs[i].caller);
  }
}

GraphPlan* Session::Impl::FindPlan() {
  for (const auto& plan : plans) {
    if (plan->key == key) return plan.get();
  }
  return nullptr;
}

Result<std::unique_ptr<GraphPlan>> Session::Impl::Assess(std::span<const LostDevice> lost) const {
  return AssessGraph(Context(lost), key, key_rows);
}

Status Session::Impl::CheckMemory(const GraphPlan& plan) const {
  if (plan.planned_bytes() <= max_memory) return {};
  const uint64_t elsewhere = plan.device_bytes();
  return Status(
      SAGE_E_OUT_OF_MEMORY,
      fmt::format("the plan needs {} bytes (intermediates {}, workspace {}, inputs and outputs {}{}), max_memory "
                  "is {}: raise it, or lower the maxima of the symbols",
                  plan.planned_bytes(), plan.arena.total, plan.workspace_bytes, plan.border_bytes,
                  elsewhere == 0 ? "" : fmt::format(", on devices {}", elsewhere), max_memory));
}

Status Session::Impl::Realise(GraphPlan* plan, uint32_t* lost) {
  *lost = 0;
  if (!plan->realised) {
    SAGE_RETURN_IF_ERROR(CheckMemory(*plan));
    SAGE_RETURN_IF_ERROR(RealiseGraph(Context(plan->lost), plans, plan));
    NameActions(plan);
    ++counters.plans;
    if (!plan->fallback.empty()) engine->host()->Log(SAGE_LOG_WARNING, plan->fallback);
  }
  SAGE_RETURN_IF_ERROR(ReserveDevices(*plan, lost));
  if (plan->arena.total > arena.bytes()) {
    SAGE_RETURN_IF_ERROR(AwaitDevices());  // a lent stream may still use what is about to go
    dirty = true;
  }
  SAGE_RETURN_IF_ERROR(arena.Reserve(plan->arena.total));
  if (plan->workspace_bytes <= workspace.bytes() && workspace.data() != nullptr) return {};
  dirty = true;
  // Never none: a backend may ask for 0 bytes and is still given an address.
  return workspace.Allocate(engine->host(), SAGE_CPU, 0, std::max<uint64_t>(plan->workspace_bytes, 64), options.guard);
}

Status Session::Impl::RealiseOrReplace(GraphPlan** plan) {
  while (true) {
    GraphPlan* const failed = *plan;
    uint32_t domain = 0;
    const Status status = Realise(failed, &domain);
    if (status.ok() || domain == 0) return status;
    // The device is there and has no room: the graph is planned once more without it.
    const std::string reason = fmt::format("cannot hold this plan: {}", status.message());
    std::vector<size_t> moved;
    for (size_t i = 0; i < failed->nodes.size(); ++i) {
      const PlannedNode& node = *failed->nodes[i];
      if (node.domain != domain) continue;
      if (!node.policy.backend.value.empty() || node.policy.strict.value)
        return status.At(fmt::format("node \"{}\"", graph->nodes[i].name));
      moved.push_back(i);
    }
    std::vector<LostDevice> lost = failed->lost;
    lost.push_back({domains[domain], reason});
    Result<std::unique_ptr<GraphPlan>> next = AssessGraph(Context(lost), failed->key, failed->key_rows);
    if (!next.ok()) return status;
    (*next)->last_use = failed->last_use;
    for (const size_t i : moved) {
      Choice& choice = (*next)->nodes[i]->choice;
      choice.fallback = true;
      choice.fallback_reason +=
          fmt::format("{}{} {}", choice.fallback_reason.empty() ? "" : "; ", domains[domain]->name(), reason);
    }
    (*next)->fallback = FallbackText(*graph, **next);
    engine->host()->Log(SAGE_LOG_WARNING, (*next)->fallback);
    const auto slot =
        std::find_if(plans.begin(), plans.end(), [&](const auto& known) { return known.get() == failed; });
    std::erase(verified, failed);
    Forget(failed);
    if (current == failed) current = next->get();
    *plan = next->get();
    *slot = std::move(*next);
    dirty = true;
  }
}

void Session::Impl::Keep(std::unique_ptr<GraphPlan> plan) {
  if (plans.size() >= kMaxPlans) {
    auto oldest = plans.end();
    for (auto it = plans.begin(); it != plans.end(); ++it) {
      if (it->get() != current && (oldest == plans.end() || (*it)->last_use < (*oldest)->last_use)) oldest = it;
    }
    std::erase(verified, oldest->get());
    Forget(oldest->get());
    plans.erase(oldest);
  }
  plan->last_use = ++clock;
  plans.push_back(std::move(plan));
}

Result<GraphPlan*> Session::Impl::FindOrMakePlan() {
  GraphPlan* plan = FindPlan();
  if (plan == nullptr) {
    SAGE_ASSIGN_OR_RETURN(auto assessed, Assess());
    plan = assessed.get();
    SAGE_RETURN_IF_ERROR(CheckMemory(*plan));
    Keep(std::move(assessed));
  }
  plan->last_use = ++clock;
  SAGE_RETURN_IF_ERROR(RealiseOrReplace(&plan));
  return plan;
}

// Every bucket of every symbol that has buckets; symbols planned at exact sizes are taken at their maximum.
Status Session::Impl::WarmUp() {
  std::vector<std::vector<int64_t>> sizes;
  size_t combinations = 1;
  for (size_t i = 0; i < graph->symbols.size(); ++i) {
    const bool exact = ((exact_symbols >> i) & 1) != 0;
    sizes.push_back(exact ? std::vector<int64_t>{graph->symbols[i].max} : Buckets(graph->symbols[i].max));
    combinations = std::min<size_t>(combinations * sizes.back().size(), kMaxPlans + 1);
  }
  if (combinations > kMaxPlans) {
    return Status(
        SAGE_E_UNSUPPORTED,
        fmt::format("warmup = all would make more than {} plans for {} symbols; use warmup = lazy or lower the "
                    "maxima",
                    kMaxPlans, graph->symbols.size()));
  }
  std::vector<size_t> index(sizes.size(), 0);
  while (true) {
    // Both ends of a bucket: a flash_threshold inside it needs two plans.
    for (const bool upper : {false, true}) {
      for (size_t i = 0; i < sizes.size(); ++i) {
        const size_t at = index[i];
        symbol_values[i] = upper || at == 0 || sizes[i].size() == 1 ? sizes[i][at] : sizes[i][at - 1] + 1;
      }
      if (!InferShapes(*graph, symbol_values, &shapes, nullptr)) continue;  // no run can have these sizes
      SAGE_RETURN_IF_ERROR(InferAtRun());
      MakeKey(false);
      Result<GraphPlan*> made = FindOrMakePlan();
      if (!made.ok()) return made.status();
    }
    size_t axis = 0;
    while (axis < index.size() && ++index[axis] == sizes[axis].size()) index[axis++] = 0;
    if (axis == index.size()) return {};
  }
}

Status Session::Impl::Prepare() {
  SAGE_RETURN_IF_ERROR(UnifySymbols(true));
  SAGE_RETURN_IF_ERROR(InferAtRun());
  const uint64_t plans_before = counters.plans;
  const uint64_t all = AllSymbols(*graph);
  bool fits = false;
  for (const bool exact : {false, true}) {
    MakeKey(exact);
    const bool last = key.fixed == all;
    Result<GraphPlan*> plan = FindOrMakePlan();
    if (!plan.ok()) {
      // Sizes between those that contradict each other may not: rows that must divide, for one.
      if (!last && plan.status().code() == SAGE_E_INVALID_ARGUMENT) continue;
      return plan.status();
    }
    fits = true;
    SAGE_RETURN_IF_ERROR(Bind(*plan, &fits));
    if (fits) {
      current = *plan;
      break;
    }
    if (last) break;
  }
  if (!fits) {
    return Status(SAGE_E_INTERNAL, "a plan at exact shapes does not fit its own shapes; please report it");
  }
  if (counters.plans != plans_before) ++counters.replans;
  dirty = false;
  return {};
}

}  // namespace sage
