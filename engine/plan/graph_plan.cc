// graph_plan.cc: the first step (shapes, strides, memory, questions) and the second (plans); see the header.
#include "plan/graph_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "model/verify.h"
#include "plan/place_graph.h"
#include "plan/problem.h"
#include "plan/transfers.h"
#include "run/tensor_copy.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

// A caller's strides may belong to a smaller tensor than this shape, which is refused when it is bound; until then they
// are only numbers. What overflows is more than any device has.
void MeasureExtent(PlannedTensor* tensor) {
  tensor->extent = tensor->bytes, tensor->before = 0;
  if (tensor->bytes == 0) return;
  const int64_t size = support::DtypeSize(tensor->description.dtype);
  int64_t before = 0, after = size;
  for (uint32_t axis = 0; axis < tensor->description.rank; ++axis) {
    int64_t reach = 0;
    if (__builtin_mul_overflow(tensor->description.shape[axis] - 1, tensor->description.stride[axis], &reach) ||
        __builtin_mul_overflow(reach, size, &reach) ||
        (reach < 0 ? __builtin_sub_overflow(before, reach, &before) : __builtin_add_overflow(after, reach, &after))) {
      tensor->extent = 1ull << 62;
      return;
    }
  }
  tensor->before = static_cast<uint64_t>(before);
  tensor->extent = static_cast<uint64_t>(before) + static_cast<uint64_t>(after);
}

Status DescribeTensors(const PlanContext& context, const PlanKey& key, GraphPlan* plan) {
  std::vector<BoundTensor> shapes;
  std::vector<ModelError> errors;
  if (!InferShapes(context.graph, key.symbols, &shapes, &errors)) {
    return Status(SAGE_E_INVALID_ARGUMENT, ErrorText(errors, 3));
  }
  plan->tensors.resize(context.graph.tensors.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    PlannedTensor& tensor = plan->tensors[i];
    sage_tensor_init(&tensor.description, shapes[i].dtype, shapes[i].rank, shapes[i].shape, nullptr);
    std::copy(std::begin(shapes[i].dim_symbols), std::end(shapes[i].dim_symbols), tensor.symbols);
    const Result<int64_t> count = ElementCount({shapes[i].shape, shapes[i].rank});
    if (!count.ok()) return count.status().At(fmt::format("tensor \"{}\"", context.graph.tensors[i].name));
    if (__builtin_mul_overflow(static_cast<uint64_t>(*count), support::DtypeSize(shapes[i].dtype), &tensor.bytes) ||
        tensor.bytes > static_cast<uint64_t>(INT64_MAX)) {
      return Status(SAGE_E_OUT_OF_MEMORY,
                    fmt::format("tensor \"{}\": larger than 2^63 bytes", context.graph.tensors[i].name));
    }
    if (context.graph.tensors[i].constant.has_value()) {
      tensor.storage = Storage::kConstant;
      // The ABI's pointer is not const, since outputs use it too; a constant's slot is only ever read.
      tensor.description.data = const_cast<void*>(context.graph.tensors[i].constant->data);
      tensor.description.flags = SAGE_TENSOR_CONSTANT;
    }
  }
  for (const int32_t input : context.graph.inputs) {
    plan->tensors[static_cast<size_t>(input)].storage = Storage::kInput;
  }
  for (const CallerLayout& layout : key.layouts) {
    PlannedTensor& tensor = plan->tensors[static_cast<size_t>(layout.tensor)];
    std::copy(std::begin(layout.stride), std::end(layout.stride), tensor.description.stride);
  }
  for (PlannedTensor& tensor : plan->tensors) MeasureExtent(&tensor);
  return {};
}

// A Reshape: by strides over its source where that holds for every size of the bucket, else by a copy.
void PlanReshape(const Node& node, const PlanKey& key, GraphPlan* plan, PlannedNode* planned) {
  const auto x_index = node.slots[0];
  PlannedTensor& x = plan->tensors[static_cast<size_t>(x_index)];
  PlannedTensor& y = plan->tensors[static_cast<size_t>(node.slots[1])];
  sage_tensor view = y.description;
  const bool laid_out_by_caller = std::any_of(key.layouts.begin(), key.layouts.end(), [&](const CallerLayout& layout) {
    return layout.tensor == node.slots[1];
  });
  if (!laid_out_by_caller && ReshapeStrides(x.description, x.symbols, y.symbols, key.fixed, &view, planned->pairs)) {
    planned->reshape = ReshapeMode::kView;
    y.description = view;
    y.description.flags = x.description.flags;
    y.description.data = x.description.data;
    y.storage = Storage::kView;
    y.base = x.storage == Storage::kView ? x.base : x_index;
  } else {
    planned->reshape = ReshapeMode::kCopy;
    y.storage = Storage::kArena;
  }
  planned->built.op.kind = kKindReshape;
}

AskScope ScopeOf(const PlanContext& context) { return {context.domains.size() > 1, context.lost}; }

Status AskNode(const PlanContext& context, const PlanKey& key, const Node& node, GraphPlan* plan, PlannedNode* planned,
               std::span<const BoundTensor> shapes, std::span<const sage_tensor> descriptions) {
  const uint64_t all = context.graph.symbols.size() >= 64 ? ~0ull : (1ull << context.graph.symbols.size()) - 1;
  const uint32_t dynamic = (key.fixed & all) == all ? 0 : FindDynamicAxes(context.graph, node, shapes).axes;
  SAGE_RETURN_IF_ERROR(BuildOp(node, descriptions, dynamic, &planned->built));
  std::memcpy(planned->plain_attributes, planned->built.attributes, sizeof planned->plain_attributes);
  auto* attention = node.kind == SAGE_OP_ATTENTION
                        ? reinterpret_cast<sage_attention_attributes*>(planned->built.attributes)
                        : nullptr;
  ApplyPolicy(planned->policy, planned->key_rows, &planned->built.op, attention);
  if (attention != nullptr) {
    SAGE_RETURN_IF_ERROR(AttentionFeatures(planned->built.op, &planned->features));
    attention->features = planned->features;  // a plugin sees all of them
  }
  planned->problem = ProblemString(planned->built.op);
  planned->work = WorkOf(planned->built.op);
  SAGE_ASSIGN_OR_RETURN(planned->choice, Choose(context.backends, planned->built.op, planned->features, planned->policy,
                                                ScopeOf(context)));
  if (attention != nullptr) ApplyChoice(planned->choice, attention);  // after a fallback the wishes are gone
  for (size_t slot = 0; slot < node.slots.size(); ++slot) {
    if (node.slots[slot] == kNone || !support::SlotIsOutput(node.kind, static_cast<uint32_t>(slot))) continue;
    plan->tensors[static_cast<size_t>(node.slots[slot])].storage = Storage::kArena;
  }
  return {};
}

// The donor's plan of this node by this backend, whose packed constants can be shared.
const Plan* FindDonor(std::span<const std::unique_ptr<GraphPlan>> donors, size_t node, const Backend* backend) {
  for (const auto& donor : donors) {
    if (!donor->realised) continue;
    const Plan* plan = donor->nodes[node]->plan.get();
    if (plan != nullptr && &plan->backend() == backend) return plan;
  }
  return nullptr;
}

// Takes the next best after a backend that said yes and could not: the node is asked again without those struck off.
Status StrikeOff(const PlanContext& context, const Status& why, PlannedNode* planned) {
  const Verdict chosen = *planned->chosen();
  const Status failure = why.At(chosen.backend->name());
  if (!planned->policy.backend.value.empty() || planned->policy.strict.value) return failure;
  Verdict struck = chosen;
  struck.answer.verdict = SAGE_NO;
  fmt::format_to_n(struck.answer.reason, sizeof struck.answer.reason - 1, "its plan failed: {}{}", why.message(), '\0');
  planned->struck.push_back(struck);
  std::vector<std::shared_ptr<Backend>> candidates(context.backends.begin(), context.backends.end());
  std::erase_if(candidates, [&](const auto& backend) {
    return std::any_of(planned->struck.begin(), planned->struck.end(),
                       [&](const Verdict& verdict) { return verdict.backend == backend; });
  });
  if (candidates.empty()) return failure;
  // Struck off in an earlier round: those words stay.
  const std::string before = planned->choice.fallback_reason;
  for (uint32_t slot = 0; slot < planned->built.op.num_slots; ++slot)
    if (planned->built.slots[slot] != nullptr) MoveToDevice(&planned->built.tensors[slot], SAGE_CPU, 0);
  Result<Choice> next = Choose(candidates, planned->built.op, planned->features, planned->policy, ScopeOf(context));
  if (!next.ok() || next->chosen < 0) return failure;
  // Keep all verdicts in view: a failed backend's stays, as the refusal it turned out to be.
  for (const Verdict& verdict : planned->struck) next->verdicts.push_back(verdict);
  planned->choice = std::move(*next);
  if (planned->built.op.kind == SAGE_OP_ATTENTION)
    ApplyChoice(planned->choice, reinterpret_cast<sage_attention_attributes*>(planned->built.attributes));
  const std::string words =
      fmt::format("{} said yes and then could not make its plan: {}", chosen.backend->name(), why.message());
  std::string& reason = planned->choice.fallback_reason;
  for (const std::string& text : {before, words})
    if (!text.empty() && reason.find(text) == std::string::npos) reason += (reason.empty() ? "" : "; ") + text;
  planned->choice.fallback = true;
  return {};
}

// Sum of what the chosen answers and the copies cost, and the largest workspaces: after either step.
void TotalUp(const Graph& graph, GraphPlan* plan) {
  plan->fallback = FallbackText(graph, *plan);
  plan->cost_ns = plan->copy_ns;
  plan->workspace_bytes = plan->prepack_bytes = 0;
  for (DevicePlan& device : plan->devices) device.workspace_bytes = 0;
  for (const auto& node : plan->nodes) {
    const Verdict* chosen = node->chosen();
    if (chosen == nullptr) continue;
    plan->cost_ns += chosen->answer.cost_ns;
    const uint64_t workspace = node->plan ? node->plan->workspace_bytes() : chosen->answer.workspace_bytes;
    uint64_t& largest = node->domain == 0 ? plan->workspace_bytes : plan->devices[node->domain].workspace_bytes;
    largest = std::max(largest, workspace);
    if (node->plan) plan->prepack_bytes += node->plan->prepack_bytes();
  }
}

Status LayOut(const PlanContext& context, GraphPlan* plan) {
  PlaceGraph(context, plan);
  return PlanMemoryAndTransfers(context, plan);
}

// True: the node's op now requires legality inside stream capture, and its backend says yes to that in the workspace
// it was given.
bool AskedToBeRecorded(const PlanContext& context, const Verdict& chosen, PlannedNode* node) {
  sage_op op = node->built.op;
  if ((op.requirements & SAGE_REQUIRE_STREAM_CAPTURE) != 0) return true;
  if (!context.record || node->domain == 0 || !context.domains[node->domain]->records()) return false;
  op.requirements |= SAGE_REQUIRE_STREAM_CAPTURE;
  const sage_answer answer = chosen.backend->Ask(op, node->features);
  if (answer.verdict != SAGE_YES || answer.workspace_bytes > chosen.answer.workspace_bytes) return false;
  node->built.op.requirements = op.requirements;
  return true;
}

}  // namespace

std::string FallbackText(const Graph& graph, const GraphPlan& plan) {
  std::string text;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    const Choice& choice = plan.nodes[i]->choice;
    if (choice.fallback)
      text += fmt::format("{}node \"{}\": {}", text.empty() ? "" : "; ", graph.nodes[i].name, choice.fallback_reason);
  }
  return text;
}

size_t RootOf(const GraphPlan& plan, int32_t tensor) {
  const PlannedTensor& planned = plan.tensors[static_cast<size_t>(tensor)];
  return static_cast<size_t>(planned.storage == Storage::kView ? planned.base : tensor);
}

bool VariesInside(const PlannedTensor& tensor, uint64_t fixed) {
  int64_t outer = 1;  // elements of the axes before this one: with one only, a shorter axis moves nothing
  for (uint32_t axis = 0; axis < tensor.description.rank; ++axis) {
    if (outer > 1 && (tensor.symbols[axis] & ~fixed) != 0) return true;
    outer *= std::max<int64_t>(tensor.description.shape[axis], 1);
  }
  return false;
}

uint64_t GraphPlan::device_bytes() const {
  uint64_t bytes = 0;
  for (const DevicePlan& device : devices) bytes += device.arena.total + device.workspace_bytes;
  return bytes;
}

Result<std::unique_ptr<GraphPlan>> AssessGraph(const PlanContext& context, const PlanKey& key,
                                               std::span<const int64_t> key_rows) {
  auto plan = std::make_unique<GraphPlan>();
  plan->key = key;
  plan->key_rows.assign(key_rows.begin(), key_rows.end());
  plan->lost.assign(context.lost.begin(), context.lost.end());
  SAGE_RETURN_IF_ERROR(DescribeTensors(context, key, plan.get()));

  std::vector<BoundTensor> shapes(plan->tensors.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    const PlannedTensor& tensor = plan->tensors[i];
    shapes[i].dtype = tensor.description.dtype, shapes[i].rank = tensor.description.rank;
    std::copy(std::begin(tensor.description.shape), std::end(tensor.description.shape), shapes[i].shape);
    std::copy(std::begin(tensor.symbols), std::end(tensor.symbols), shapes[i].dim_symbols);
  }
  std::vector<sage_tensor> descriptions(plan->tensors.size());
  for (size_t i = 0; i < descriptions.size(); ++i) descriptions[i] = plan->tensors[i].description;

  for (size_t i = 0; i < context.graph.nodes.size(); ++i) {
    const Node& node = context.graph.nodes[i];
    auto planned = std::make_unique<PlannedNode>();
    planned->policy = ResolvePolicy(context.caller, node.policy, context.graph.policy);
    planned->key_rows = key_rows[i];
    if (node.kind == kKindReshape) {
      PlanReshape(node, key, plan.get(), planned.get());
      descriptions[static_cast<size_t>(node.slots[1])] = plan->tensors[static_cast<size_t>(node.slots[1])].description;
    } else if (Status status = AskNode(context, key, node, plan.get(), planned.get(), shapes, descriptions);
               !status.ok()) {
      return status.At(fmt::format("node \"{}\"", node.name));
    }
    plan->nodes.push_back(std::move(planned));
  }
  SAGE_RETURN_IF_ERROR(LayOut(context, plan.get()));
  TotalUp(context.graph, plan.get());
  return plan;
}

Status RealiseGraph(const PlanContext& context, std::span<const std::unique_ptr<GraphPlan>> donors, GraphPlan* plan) {
  bool moved = false;
  for (size_t i = 0; i < plan->nodes.size();) {
    PlannedNode& node = *plan->nodes[i];
    // Where nodes have moved to other devices, some plans are of a backend that is not chosen any more.
    if (node.reshape != ReshapeMode::kOther ||
        (node.plan != nullptr && &node.plan->backend() == node.chosen()->backend.get())) {
      ++i;
      continue;
    }
    const Verdict& chosen = *node.chosen();
    node.recordable = AskedToBeRecorded(context, chosen, &node);
    Result<std::shared_ptr<const Plan>> made = chosen.backend->MakePlan(
        node.built.op, FindDonor(donors, i, chosen.backend.get()), chosen.answer.workspace_bytes);
    if (made.ok()) {
      node.plan = std::move(*made);
      ++i;
      continue;
    }
    node.plan = nullptr;
    if (Status failed = StrikeOff(context, made.status(), &node); !failed.ok())
      return failed.At(fmt::format("node \"{}\"", context.graph.nodes[i].name));
    if (context.domains.size() > 1) {
      PlaceGraph(context, plan);
      moved = true, i = 0;
    }
  }
  if (moved) SAGE_RETURN_IF_ERROR(PlanMemoryAndTransfers(context, plan));
  plan->realised = true;
  TotalUp(context.graph, plan);
  return {};
}

}  // namespace sage
