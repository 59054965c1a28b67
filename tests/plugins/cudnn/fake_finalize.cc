// fake_finalize.cc: what becomes of a descriptor of the fake cuDNN when it is finalized: the tensor, the operation, the
// graph, the engines or the plan that its attributes say, or the sentence of what is wrong with them.
#include <set>

#include "fake_descriptor.h"
#include "fake_handle.h"
#include "fake_rules.h"

namespace sage::cudnn::fake {
namespace {

Answer Wrong(std::string text, int status = kBadParam) { return {status, std::move(text)}; }

Answer FinalizePointwise(const Record& record) {
  const bool is_index = record.Get<int>(kPointwiseModeAttribute) == kIndex;
  if (is_index && !record.Has(kPointwiseAxis)) return Wrong("an index needs the axis that it counts along");
  return {};
}

Answer FinalizeTensor(Record* record) {
  auto tensor = std::make_shared<Tensor>();
  tensor->uid = record->Get<int64_t>(kTensorUniqueId);
  tensor->alignment = record->Get<int64_t>(kTensorByteAlignment);
  tensor->type = record->Get<int>(kTensorDataType);
  tensor->dims = record->All<int64_t>(kTensorDimensions);
  tensor->strides = record->All<int64_t>(kTensorStrides);
  tensor->is_virtual = record->Get<bool>(kTensorIsVirtual);
  tensor->by_value = record->Get<bool>(kTensorIsByValue);
  if (const RecordPointer offsets = record->Of(kTensorRaggedOffset); offsets != nullptr)
    tensor->ragged = offsets->tensor;
  record->tensor = tensor;
  return CheckTensor(*tensor);
}

// The descriptor beside the operands that says how to compute.
int HowOf(int kind) {
  switch (kind) {
    case kOperationPointwise:
      return kOperationPointwiseDescriptor;
    case kOperationMatmul:
      return kOperationMatmulDescriptor;
    case kOperationReduction:
      return kOperationReductionDescriptor;
    default:
      return -1;
  }
}

Answer FinalizeOperation(Record* record) {
  Operation& op = record->operation;
  op.kind = record->type;
  for (const auto& [attribute, value] : record->values)
    if (attribute != HowOf(op.kind)) op.operands[attribute] = value.records[0]->tensor;
  if (const RecordPointer how = record->Of(HowOf(op.kind)); how != nullptr) {
    if (op.kind == kOperationPointwise) {
      op.mode = how->Get<int>(kPointwiseModeAttribute);
      op.math_type = how->Get<int>(kPointwiseMathType);
      op.axis = how->Get<int64_t>(kPointwiseAxis, -1);
    } else if (op.kind == kOperationMatmul) {
      op.math_type = how->Get<int>(kMatmulMathType);
      op.pads = how->Has(kMatmulPaddingValue);
      op.padding_value = how->Get<double>(kMatmulPaddingValue);
    } else {
      op.mode = how->Get<int>(kReductionOperator);
      op.math_type = how->Get<int>(kReductionMathType);
    }
    if (ElementSize(op.math_type) == 0) return Wrong("a math type that the fake does not know");
  }
  return CheckOperation(op);
}

Answer FinalizeGraph(Record* record) {
  if (record->Has(kGraphHandle) && !IsHandle(record->Get<Handle>(kGraphHandle)))
    return Wrong("an operation graph with a handle that is none");
  auto graph = std::make_shared<Graph>();
  for (const RecordPointer& operation : record->values[kGraphOperations].records)
    graph->operations.push_back(operation->operation);
  record->graph = graph;
  return CheckGraph(The().version, graph.get());
}

Answer FinalizeHeuristics(Record* record) {
  const RecordPointer graph = record->Of(kHeuristicsGraph), device = record->Of(kHeuristicsDevice);
  if (device == nullptr && !graph->Has(kGraphHandle))
    return Wrong("heuristics need a graph with a handle, or the properties of a device");
  record->graph = graph->graph;
  if (device != nullptr) record->device = device->device;
  if (The().judge) {
    Answer answer;
    answer.status = The().judge(kEngineHeuristics, record->graph->text, &answer.text);
    if (!answer.ok()) return answer;
  }
  const auto found = The().engines.find(record->Get<int>(kHeuristicsMode));
  if (found != The().engines.end()) record->results = found->second;
  return {};
}

Answer FinalizePlan(Record* record) {
  const RecordPointer config = record->Of(kPlanEngineConfig), device = record->Of(kPlanDevice);
  if ((config != nullptr) == record->Has(kPlanJson)) return Wrong("a plan is of an engine configuration or of a text");
  std::string of = The().device;
  if (device != nullptr) {
    of = device->device;
  } else if (record->Has(kPlanHandle)) {
    if (!IsHandle(record->Get<Handle>(kPlanHandle))) return Wrong("a plan with a handle that is none");
  } else if (config != nullptr && !config->device.empty()) {
    of = config->device;
  } else {
    return Wrong("a plan needs a handle or the properties of a device");
  }
  if (config != nullptr) return MakePlan(config->graph, config->engine, of, &record->plan);
  const std::vector<char> text = record->All<char>(kPlanJson);
  return LoadPlan(std::string(text.begin(), text.end()), of, &record->plan);
}

Answer FinalizePack(const Record& record) {
  const std::vector<int64_t> uids = record.All<int64_t>(kVariantPackUniqueIds);
  const std::vector<void*> pointers = record.All<void*>(kVariantPackPointers);
  if (uids.size() != pointers.size())
    return Wrong(std::to_string(uids.size()) + " uids with " + std::to_string(pointers.size()) + " pointers");
  if (std::set<int64_t>(uids.begin(), uids.end()).size() != uids.size())
    return Wrong("a variant pack binds a uid twice", kDuplicatedEntries);
  return {};
}

Answer FinalizeDevice(Record* record) {
  if (record->Has(kDevicePropertiesJson)) {
    const std::vector<char> text = record->All<char>(kDevicePropertiesJson);
    return ReadDeviceJson(std::string(text.begin(), text.end()), &record->device);
  }
  if (!record->Has(kDevicePropertiesId) && !record->Has(kDevicePropertiesHandle))
    return Wrong("properties of a device are of its number, of a handle or of a text");
  if (record->Has(kDevicePropertiesHandle) && !IsHandle(record->Get<Handle>(kDevicePropertiesHandle)))
    return Wrong("properties of a device with a handle that is none");
  record->device = The().device;
  return {};
}

Answer FinalizeByType(Record* record) {
  switch (record->type) {
    case kPointwise:
      return FinalizePointwise(*record);
    case kMatmul:
    case kReduction:
      return {};
    case kTensor:
      return FinalizeTensor(record);
    case kOperationGraph:
      return FinalizeGraph(record);
    case kEngineHeuristics:
      return FinalizeHeuristics(record);
    case kExecutionPlan:
      return FinalizePlan(record);
    case kVariantPack:
      return FinalizePack(*record);
    case kDeviceProperties:
      return FinalizeDevice(record);
    case kEngineConfig:
    case kEngine:
      return Wrong("the fake's engines and their configurations come from heuristics");
    default:
      return FinalizeOperation(record);
  }
}

}  // namespace

Answer Finalize(Record* record) {
  if (record->finalized) return Wrong("a descriptor is finalized twice");
  for (const Rule& rule : *RulesOf(record->type))
    if (rule.required && !record->Has(rule.attribute))
      return Wrong("a descriptor of type " + std::to_string(record->type) + " is finalized without attribute " +
                   std::to_string(rule.attribute));
  const Answer answer = FinalizeByType(record);
  record->finalized = answer.ok();
  return answer;
}

}  // namespace sage::cudnn::fake
