// fake_rules.cc: see the header.
#include "fake_rules.h"

#include <map>

namespace sage::cudnn::fake {
namespace {

constexpr int64_t kMany = int64_t{1} << 20;  // operations of a graph, tensors of a pack, bytes of a text

Rule One(int attribute, int type) { return {attribute, type, 1, 1, true, false, {}}; }
Rule Maybe(int attribute, int type) { return {attribute, type, 1, 1, false, false, {}}; }
Rule Some(int attribute, int type, int64_t most) { return {attribute, type, 1, most, true, false, {}}; }
Rule Read(int attribute, int type) { return {attribute, type, 0, kMany, false, true, {}}; }
Rule Text(int attribute) { return {attribute, kTypeChar, 1, kMany, false, false, {}}; }
Rule Refer(int attribute, int kind) { return {attribute, kTypeDescriptor, 1, 1, true, false, {kind}}; }
Rule MayRefer(int attribute, int kind) { return {attribute, kTypeDescriptor, 1, 1, false, false, {kind}}; }

std::map<int, std::vector<Rule>> MakeRules() {
  constexpr int64_t kMostDims = 8;  // CUDNN_DIM_MAX
  return {
      {kPointwise,
       {One(kPointwiseModeAttribute, kTypePointwiseMode), One(kPointwiseMathType, kTypeDataType),
        Maybe(kPointwiseAxis, kTypeInt64)}},
      {kTensor,
       {One(kTensorByteAlignment, kTypeInt64), One(kTensorDataType, kTypeDataType),
        Some(kTensorDimensions, kTypeInt64, kMostDims), Some(kTensorStrides, kTypeInt64, kMostDims),
        One(kTensorUniqueId, kTypeInt64), Maybe(kTensorIsVirtual, kTypeBoolean), Maybe(kTensorIsByValue, kTypeBoolean),
        MayRefer(kTensorRaggedOffset, kTensor)}},
      {kMatmul, {One(kMatmulMathType, kTypeDataType), Maybe(kMatmulPaddingValue, kTypeDouble)}},
      {kReduction, {One(kReductionOperator, kTypeReductionOperator), One(kReductionMathType, kTypeDataType)}},
      {kOperationPointwise,
       {Refer(kOperationPointwiseDescriptor, kPointwise), Refer(kOperationPointwiseX, kTensor),
        MayRefer(kOperationPointwiseB, kTensor), Refer(kOperationPointwiseY, kTensor),
        MayRefer(kOperationPointwiseT, kTensor)}},
      {kOperationMatmul,
       {Refer(kOperationMatmulDescriptor, kMatmul), Refer(kOperationMatmulA, kTensor),
        Refer(kOperationMatmulB, kTensor), Refer(kOperationMatmulC, kTensor), MayRefer(kOperationMatmulRows, kTensor),
        MayRefer(kOperationMatmulColumns, kTensor), MayRefer(kOperationMatmulInner, kTensor)}},
      {kOperationReduction,
       {Refer(kOperationReductionDescriptor, kReduction), Refer(kOperationReductionX, kTensor),
        Refer(kOperationReductionY, kTensor)}},
      {kOperationPagedCacheLoad,
       {Refer(kPagedLoadContainer, kTensor), Refer(kPagedLoadY, kTensor), Refer(kPagedLoadLengths, kTensor),
        Refer(kPagedLoadTable, kTensor)}},
      {kOperationSdpaForward,
       {Refer(kSdpaQ, kTensor), Refer(kSdpaK, kTensor), Refer(kSdpaV, kTensor), Refer(kSdpaO, kTensor),
        MayRefer(kSdpaStatistics, kTensor), MayRefer(kSdpaScale, kTensor), MayRefer(kSdpaPageTableK, kTensor),
        MayRefer(kSdpaPageTableV, kTensor), MayRefer(kSdpaLengthsQ, kTensor), MayRefer(kSdpaLengthsKv, kTensor)}},
      {kOperationGraph,
       {Maybe(kGraphHandle, kTypeHandle),
        {kGraphOperations,
         kTypeDescriptor,
         1,
         kMany,
         true,
         false,
         {kOperationPointwise, kOperationMatmul, kOperationReduction, kOperationPagedCacheLoad,
          kOperationSdpaForward}}}},
      {kEngineHeuristics,
       {One(kHeuristicsMode, kTypeHeuristicMode), Refer(kHeuristicsGraph, kOperationGraph),
        MayRefer(kHeuristicsDevice, kDeviceProperties), Read(kHeuristicsResults, kTypeDescriptor)}},
      {kEngineConfig, {Read(kEngineConfigEngine, kTypeDescriptor), Read(kEngineConfigWorkspaceSize, kTypeInt64)}},
      {kEngine,
       {Read(kEngineGlobalIndex, kTypeInt64), Read(kEngineNumericalNotes, kTypeNumericalNote),
        Read(kEngineBehaviorNotes, kTypeBehaviorNote)}},
      {kExecutionPlan,
       {Maybe(kPlanHandle, kTypeHandle), MayRefer(kPlanEngineConfig, kEngineConfig), Text(kPlanJson),
        MayRefer(kPlanDevice, kDeviceProperties), Read(kPlanWorkspaceSize, kTypeInt64)}},
      {kVariantPack,
       {Some(kVariantPackUniqueIds, kTypeInt64, kMany), Some(kVariantPackPointers, kTypeVoidPointer, kMany),
        Maybe(kVariantPackWorkspace, kTypeVoidPointer)}},
      {kDeviceProperties,
       {Maybe(kDevicePropertiesId, kTypeInt32), Maybe(kDevicePropertiesHandle, kTypeHandle),
        Text(kDevicePropertiesJson)}},
  };
}

}  // namespace

const std::vector<Rule>* RulesOf(int descriptor_type) {
  static const std::map<int, std::vector<Rule>> rules = MakeRules();
  const auto found = rules.find(descriptor_type);
  return found == rules.end() ? nullptr : &found->second;
}

const Rule* RuleOf(int descriptor_type, int attribute) {
  const std::vector<Rule>* const rules = RulesOf(descriptor_type);
  if (rules == nullptr) return nullptr;
  for (const Rule& rule : *rules)
    if (rule.attribute == attribute) return &rule;
  return nullptr;
}

}  // namespace sage::cudnn::fake
