// graph_plan.cc: the first step (shapes, strides, memory, questions) and the second (plans); see the header.
#include "plan/graph_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "model/verify.h"
#include "plan/problem.h"
#include "run/tensor_copy.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

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
    std::copy(std::begin(layout.stride), std::end(layout.stride),
              plan->tensors[static_cast<size_t>(layout.tensor)].description.stride);
  }
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
  SAGE_ASSIGN_OR_RETURN(planned->choice,
                        Choose(context.backends, planned->built.op, planned->features, planned->policy));
  if (attention != nullptr) ApplyChoice(planned->choice, attention);  // after a fallback the wishes are gone
  for (size_t slot = 0; slot < node.slots.size(); ++slot) {
    if (node.slots[slot] == kNone || !support::SlotIsOutput(node.kind, static_cast<uint32_t>(slot))) continue;
    plan->tensors[static_cast<size_t>(node.slots[slot])].storage = Storage::kArena;
  }
  return {};
}

bool VariesInside(const PlannedTensor& tensor, uint64_t fixed) {
  int64_t outer = 1;  // elements of the axes before this one: with one only, a shorter axis moves nothing
  for (uint32_t axis = 0; axis < tensor.description.rank; ++axis) {
    if (outer > 1 && (tensor.symbols[axis] & ~fixed) != 0) return true;
    outer *= std::max<int64_t>(tensor.description.shape[axis], 1);
  }
  return false;
}

// Lifetimes in steps: node i is step i, staged inputs are filled at step -1, outputs are read at the last step.
Status PlanArena(const PlanContext& context, GraphPlan* plan) {
  const int64_t end = static_cast<int64_t>(context.graph.nodes.size());
  std::vector<int64_t> first(plan->tensors.size(), -1), last(plan->tensors.size(), -1);
  const auto root = [&](int32_t tensor) {
    const PlannedTensor& planned = plan->tensors[static_cast<size_t>(tensor)];
    return static_cast<size_t>(planned.storage == Storage::kView ? planned.base : tensor);
  };
  for (size_t i = 0; i < context.graph.nodes.size(); ++i) {
    const Node& node = context.graph.nodes[i];
    for (size_t slot = 0; slot < node.slots.size(); ++slot) {
      if (node.slots[slot] == kNone) continue;
      const bool output =
          node.kind == kKindReshape ? slot == 1 : support::SlotIsOutput(node.kind, static_cast<uint32_t>(slot));
      const size_t tensor = root(node.slots[slot]);
      last[tensor] = static_cast<int64_t>(i);
      if (output && plan->tensors[tensor].storage == Storage::kArena &&
          static_cast<size_t>(node.slots[slot]) == tensor) {
        first[tensor] = static_cast<int64_t>(i);
      }
    }
  }
  for (const int32_t output : context.graph.outputs) last[root(output)] = end;

  std::vector<MemoryItem> items;
  std::vector<size_t> owners;
  plan->border_bytes = 0;
  for (size_t i = 0; i < plan->tensors.size(); ++i) {
    PlannedTensor& tensor = plan->tensors[i];
    const bool staged = tensor.storage == Storage::kInput && last[i] >= 0 && VariesInside(tensor, plan->key.fixed);
    if (tensor.storage == Storage::kInput) plan->border_bytes += tensor.bytes;
    tensor.in_arena = staged || tensor.storage == Storage::kArena;
    if (!tensor.in_arena) continue;
    items.push_back({std::max<uint64_t>(tensor.bytes, 1), first[i], std::max(last[i], first[i])});
    owners.push_back(i);
  }
  for (const int32_t output : context.graph.outputs) {
    const PlannedTensor& tensor = plan->tensors[static_cast<size_t>(output)];
    if (!IsContiguous(tensor.description) || VariesInside(tensor, plan->key.fixed)) plan->border_bytes += tensor.bytes;
  }
  SAGE_ASSIGN_OR_RETURN(plan->arena, PlanMemory(items));
  for (size_t i = 0; i < owners.size(); ++i) plan->tensors[owners[i]].offset = plan->arena.offsets[i];
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

Status RealiseNode(const PlanContext& context, std::span<const std::unique_ptr<GraphPlan>> donors, size_t index,
                   PlannedNode* planned) {
  std::vector<std::shared_ptr<Backend>> candidates(context.backends.begin(), context.backends.end());
  std::string failures;
  while (true) {
    const Verdict chosen = *planned->chosen();
    Result<std::shared_ptr<const Plan>> made = chosen.backend->MakePlan(
        planned->built.op, FindDonor(donors, index, chosen.backend.get()), chosen.answer.workspace_bytes);
    if (made.ok()) {
      planned->plan = std::move(*made);
      break;
    }
    std::erase_if(candidates, [&](const auto& backend) { return backend.get() == chosen.backend.get(); });
    const Status failure = made.status().At(chosen.backend->name());
    if (!planned->policy.backend.value.empty() || candidates.empty() || planned->policy.strict.value) return failure;
    failures += fmt::format("{}{} said yes and then could not make its plan: {}", failures.empty() ? "" : "; ",
                            chosen.backend->name(), made.status().message());
    Result<Choice> next = Choose(candidates, planned->built.op, planned->features, planned->policy);
    if (!next.ok() || next->chosen < 0) return failure;
    // Keep all verdicts in view: the failed backend's stays, as the refusal it turned out to be.
    Verdict struck = chosen;
    struck.answer.verdict = SAGE_NO;
    fmt::format_to_n(struck.answer.reason, sizeof struck.answer.reason - 1, "its plan failed: {}{}",
                     made.status().message(), '\0');
    next->verdicts.push_back(struck);
    planned->choice = std::move(*next);
    if (planned->built.op.kind == SAGE_OP_ATTENTION)
      ApplyChoice(planned->choice, reinterpret_cast<sage_attention_attributes*>(planned->built.attributes));
  }
  if (!failures.empty()) {
    planned->choice.fallback = true;
    planned->choice.fallback_reason += (planned->choice.fallback_reason.empty() ? "" : "; ") + failures;
  }
  return {};
}

}  // namespace

void TotalUp(GraphPlan* plan) {
  plan->cost_ns = 0;
  plan->workspace_bytes = plan->prepack_bytes = 0;
  for (const auto& node : plan->nodes) {
    const Verdict* chosen = node->chosen();
    if (chosen == nullptr) continue;
    plan->cost_ns += chosen->answer.cost_ns;
    const uint64_t workspace = node->plan ? node->plan->workspace_bytes() : chosen->answer.workspace_bytes;
    plan->workspace_bytes = std::max(plan->workspace_bytes, workspace);
    if (node->plan) plan->prepack_bytes += node->plan->prepack_bytes();
  }
}

Result<std::unique_ptr<GraphPlan>> AssessGraph(const PlanContext& context, const PlanKey& key,
                                               std::span<const int64_t> key_rows) {
  auto plan = std::make_unique<GraphPlan>();
  plan->key = key;
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
  SAGE_RETURN_IF_ERROR(PlanArena(context, plan.get()));
  TotalUp(plan.get());
  return plan;
}

Status RealiseGraph(const PlanContext& context, std::span<const std::unique_ptr<GraphPlan>> donors, GraphPlan* plan) {
  for (size_t i = 0; i < plan->nodes.size(); ++i) {
    if (plan->nodes[i]->reshape != ReshapeMode::kOther) continue;
    Status status = RealiseNode(context, donors, i, plan->nodes[i].get());
    if (!status.ok()) return status.At(fmt::format("node \"{}\"", context.graph.nodes[i].name));
  }
  plan->realised = true;
  TotalUp(plan);
  return {};
}

}  // namespace sage
