// graph.cc: see the header.
#include "graph.h"

#include "sdpa.h"

namespace sage::cudnn {
namespace {

// What the engines of attention ask of every address. A value on the CPU is four bytes.
constexpr int64_t kTensorAlign = 16, kValueAlign = 4;
constexpr Dims kOne = {1, 1, 1, 1};

}  // namespace

Descriptor Graph::Keep(Object object) {
  if (!make_.ok()) return nullptr;
  kept_.push_back(std::move(object));
  return kept_.back().get();
}

Descriptor Graph::Described(int64_t uid, DataType type, const Dims& dims, const Dims& strides, bool is_virtual,
                            bool by_value, Descriptor offsets) {
  Object tensor = make_.Create(kTensor);
  make_.Set(tensor, kTensorDataType, kTypeDataType, type);
  make_.Set(tensor, kTensorDimensions, std::span<const int64_t>(dims));
  make_.Set(tensor, kTensorStrides, std::span<const int64_t>(strides));
  make_.Set(tensor, kTensorUniqueId, uid);
  make_.Set(tensor, kTensorByteAlignment, by_value ? kValueAlign : kTensorAlign);
  make_.Set(tensor, kTensorIsVirtual, is_virtual);
  make_.Set(tensor, kTensorIsByValue, by_value);
  if (offsets != nullptr) make_.Set(tensor, kTensorRaggedOffset, offsets);
  make_.Finalize(tensor, "describing a tensor");
  return Keep(std::move(tensor));
}

Descriptor Graph::Tensor(int64_t uid, DataType type, const Dims& dims, const Dims& strides, Descriptor offsets) {
  return Described(uid, type, dims, strides, false, false, offsets);
}

Descriptor Graph::Value(int64_t uid, DataType type) { return Described(uid, type, kOne, kOne, false, true, nullptr); }

Descriptor Graph::Virtual(DataType type, const Dims& dims, const Dims& strides) {
  return Described(kUidVirtual + next_virtual_++, type, dims, strides, true, false, nullptr);
}

void Graph::Matmul(Descriptor a, Descriptor b, Descriptor c, Descriptor rows, Descriptor columns, Descriptor inner) {
  Object how = make_.Create(kMatmul);
  make_.Set(how, kMatmulMathType, kTypeDataType, kFloat);
  if (columns != nullptr) {
    const double beyond = 0;  // what scores past the lengths are, before the mask
    make_.Set(how, kMatmulPaddingValue, kTypeDouble, 1, &beyond);
  }
  make_.Finalize(how, "describing a product");
  Object& op = Op(kOperationMatmul);
  make_.Set(op, kOperationMatmulA, a);
  make_.Set(op, kOperationMatmulB, b);
  make_.Set(op, kOperationMatmulC, c);
  make_.Set(op, kOperationMatmulDescriptor, how.get());
  if (rows != nullptr) make_.Set(op, kOperationMatmulRows, rows);
  if (columns != nullptr) make_.Set(op, kOperationMatmulColumns, columns);
  if (inner != nullptr) make_.Set(op, kOperationMatmulInner, inner);
  FinishOp(op, "a product of the graph");
  Keep(std::move(how));
}

void Graph::Pointwise(PointwiseMode mode, DataType math, Descriptor x, Descriptor b, Descriptor y, Descriptor t,
                      int64_t axis) {
  Object how = make_.Create(kPointwise);
  make_.Set(how, kPointwiseModeAttribute, kTypePointwiseMode, mode);
  make_.Set(how, kPointwiseMathType, kTypeDataType, math);
  if (axis >= 0) make_.Set(how, kPointwiseAxis, axis);
  make_.Finalize(how, "describing a pointwise op");
  Object& op = Op(kOperationPointwise);
  make_.Set(op, kOperationPointwiseDescriptor, how.get());
  make_.Set(op, kOperationPointwiseX, x);
  if (b != nullptr) make_.Set(op, kOperationPointwiseB, b);
  if (t != nullptr) make_.Set(op, kOperationPointwiseT, t);
  make_.Set(op, kOperationPointwiseY, y);
  FinishOp(op, "a pointwise op of the graph");
  Keep(std::move(how));
}

void Graph::Reduce(ReductionOperator how_reduced, Descriptor x, Descriptor y) {
  Object how = make_.Create(kReduction);
  make_.Set(how, kReductionOperator, kTypeReductionOperator, how_reduced);
  make_.Set(how, kReductionMathType, kTypeDataType, kFloat);
  make_.Finalize(how, "describing a reduction");
  Object& op = Op(kOperationReduction);
  make_.Set(op, kOperationReductionX, x);
  make_.Set(op, kOperationReductionY, y);
  make_.Set(op, kOperationReductionDescriptor, how.get());
  FinishOp(op, "a reduction of the graph");
  Keep(std::move(how));
}

void Graph::LoadPages(Descriptor container, Descriptor lengths, Descriptor table, Descriptor y) {
  Object& op = Op(kOperationPagedCacheLoad);
  make_.Set(op, kPagedLoadContainer, container);
  make_.Set(op, kPagedLoadTable, table);
  make_.Set(op, kPagedLoadLengths, lengths);
  make_.Set(op, kPagedLoadY, y);
  FinishOp(op, "loading pages");
}

Object& Graph::Op(DescriptorType type) {
  kept_.push_back(make_.Create(type));
  return kept_.back();
}

void Graph::FinishOp(Object& op, const char* doing) {
  make_.Finalize(op, doing);
  ops_.push_back(op.get());
}

Descriptor Graph::Finish(Handle handle) {
  Object graph = make_.Create(kOperationGraph);
  make_.Set(graph, kGraphOperations, kTypeDescriptor, static_cast<int64_t>(ops_.size()), ops_.data());
  if (handle != nullptr) make_.Set(graph, kGraphHandle, kTypeHandle, 1, &handle);
  make_.Finalize(graph, "the graph as a whole");
  return Keep(std::move(graph));
}

}  // namespace sage::cudnn
