// shapes_infer.cc: declared shapes bound to numbers, then node after node in the order in which they run.
#include <algorithm>

#include "model/shapes_internal.h"
#include "sage/support/check_op.h"

namespace sage {

std::string ShapeText(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }
std::string ShapeText(const BoundTensor& tensor) { return ShapeText(std::span(tensor.shape, tensor.rank)); }

Result<int64_t> ElementCount(std::span<const int64_t> shape) {
  int64_t count = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("shape {} has a negative size", ShapeText(shape)));
    empty |= size == 0;
    // An axis of length 0 does not excuse the others: strides are products too.
    if (size > 0 && __builtin_mul_overflow(count, size, &count))
      return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("shape {} has more than 2^63 elements", ShapeText(shape)));
  }
  return empty ? 0 : count;
}

void FillRowMajor(sage_tensor* tensor) {
  int64_t step = 1;
  for (uint32_t i = SAGE_MAX_RANK; i-- > 0;) {
    tensor->stride[i] = i < tensor->rank ? step : 0;
    if (i < tensor->rank && tensor->shape[i] > 0) step *= tensor->shape[i];
  }
}

bool InferShapes(const Graph& graph, std::span<const int64_t> symbols, std::vector<BoundTensor>* out,
                 std::vector<ModelError>* errors) {
  return ShapeInference(graph, symbols, out, errors).Run();
}

bool ShapeInference::Run() {
  out_.assign(graph_.tensors.size(), BoundTensor{});
  for (size_t i = 0; i < graph_.tensors.size(); ++i) BindDeclared(i);
  for (size_t i = 0; i < graph_.nodes.size(); ++i) InferNode(i);
  return ok_;
}

// Only what has both halves is known now; a half declaration waits for its producer (Put).
void ShapeInference::BindDeclared(size_t index) {
  const GraphTensor& declared = graph_.tensors[index];
  if (!declared.dtype || !declared.shape) return;
  BoundTensor bound;
  bound.rank = static_cast<uint32_t>(declared.shape->size());
  for (uint32_t d = 0; d < bound.rank; ++d) {
    const Dim& dim = (*declared.shape)[d];
    bound.shape[d] = dim.symbol == kNone ? dim.size : symbols_[static_cast<size_t>(dim.symbol)];
    bound.dim_symbols[d] = dim.symbol == kNone ? 0 : uint64_t{1} << dim.symbol;
  }
  int64_t bytes = 1;
  for (uint32_t d = 0; d < bound.rank; ++d) {
    const int64_t size = std::max<int64_t>(bound.shape[d], 1);
    if (bound.shape[d] < 0 || __builtin_mul_overflow(bytes, size, &bytes)) bytes = -1;
    if (bytes < 0) break;
  }
  if (bytes < 0 || bytes > INT64_MAX / 8) {
    ok_ = false;
    if (errors_ != nullptr)
      errors_->push_back({fmt::format("tensors[{}].{}", index, declared.name),
                          fmt::format("shape {} is not a size that any machine holds", ShapeText(bound))});
    return;
  }
  bound.dtype = *declared.dtype;
  out_[index] = bound;
}

const BoundTensor* ShapeInference::In(uint32_t slot) {
  if (!Has(slot)) return nullptr;
  const BoundTensor& tensor = out_[static_cast<size_t>(node_->slots[slot])];
  if (tensor.dtype == 0) {
    known_ = false;
    return nullptr;
  }
  return &tensor;
}

void ShapeInference::Put(uint32_t slot, const BoundTensor& tensor) {
  if (!Has(slot)) return;
  const auto index = static_cast<size_t>(node_->slots[slot]);
  const GraphTensor& declared = graph_.tensors[index];
  if (declared.dtype && *declared.dtype != tensor.dtype) {
    Fail(slot, "tensor \"{}\" is declared {}, the node writes {}", declared.name, support::DtypeName(*declared.dtype),
         support::DtypeName(tensor.dtype));
    return;
  }
  int64_t elements = 1;
  for (uint32_t d = 0; d < tensor.rank; ++d) {
    if (__builtin_mul_overflow(elements, std::max<int64_t>(tensor.shape[d], 1), &elements) ||
        elements > INT64_MAX / 8) {
      Fail(slot, "tensor \"{}\" of shape {} is not a size that any machine holds", declared.name, ShapeText(tensor));
      return;
    }
  }
  BoundTensor merged = tensor;
  if (declared.shape) {
    bool same = declared.shape->size() == tensor.rank;
    for (uint32_t d = 0; same && d < tensor.rank; ++d) {
      const Dim& dim = (*declared.shape)[d];
      same = (dim.symbol == kNone ? dim.size : symbols_[static_cast<size_t>(dim.symbol)]) == tensor.shape[d];
      if (dim.symbol != kNone) merged.dim_symbols[d] |= uint64_t{1} << dim.symbol;
    }
    if (!same) {
      std::string text;
      for (const Dim& dim : *declared.shape) {
        text += text.empty() ? "" : ", ";
        text += dim.symbol == kNone ? fmt::format("{}", dim.size)
                                    : fmt::format("{} = {}", graph_.symbols[static_cast<size_t>(dim.symbol)].name,
                                                  symbols_[static_cast<size_t>(dim.symbol)]);
      }
      Fail(slot, "tensor \"{}\" is declared [{}], the node writes {}", declared.name, text, ShapeText(tensor));
      return;
    }
  }
  out_[index] = merged;
}

int32_t ShapeInference::Axis(int32_t axis, uint32_t rank) {
  const auto signed_rank = static_cast<int32_t>(rank);
  if (axis < -signed_rank || axis >= signed_rank) {
    Fail(kWholeNode, "axis {} does not exist in a tensor of {} dimensions; use {} to {}", axis, rank, -signed_rank,
         signed_rank - 1);
    return -1;
  }
  return axis < 0 ? axis + signed_rank : axis;
}

bool ShapeInference::RankIs(uint32_t slot, const BoundTensor& tensor, RankRange range) {
  if (tensor.rank >= range.least && tensor.rank <= range.most) return true;
  if (range.least == range.most)
    Fail(slot, "must have {} dimensions, got {}", range.least, ShapeText(tensor));
  else if (range.most == SAGE_MAX_RANK)
    Fail(slot, "must have at least {} dimensions, got {}", range.least, ShapeText(tensor));
  else
    Fail(slot, "must have {} to {} dimensions, got {}", range.least, range.most, ShapeText(tensor));
  return false;
}

bool ShapeInference::Expect(uint32_t slot, const AxisView& view, std::span<const Extent> sizes, uint32_t may_be_one,
                            const char* meaning) {
  const BoundTensor* tensor = In(slot);
  if (tensor == nullptr) return true;
  bool same = view.rank == sizes.size();
  for (uint32_t i = 0; same && i < view.rank; ++i) {
    const int64_t size = ExtentOf(*tensor, view, i).size;
    same = size == sizes[i].size || (size == 1 && ((may_be_one >> i) & 1u) != 0);
  }
  if (same) return true;
  std::string text;
  for (const Extent& size : sizes) text += fmt::format("{}{}", text.empty() ? "" : ", ", size.size);
  Fail(slot, "must be {} = [{}], got {}", meaning, text, ShapeText(*tensor));
  return false;
}

bool ShapeInference::ExpectPlain(uint32_t slot, std::initializer_list<Extent> sizes, const char* meaning) {
  const BoundTensor* tensor = In(slot);
  if (tensor == nullptr) return true;
  return Expect(slot, RightAligned(tensor->rank, tensor->rank), std::span(sizes.begin(), sizes.size()), 0, meaning);
}

void ShapeInference::InferNode(size_t index) {
  node_ = &graph_.nodes[index];
  index_ = index;
  known_ = true;
  const NodeAttributes& attributes = node_->attributes;
  switch (node_->kind) {
    case SAGE_OP_ATTENTION:
      return Attention(std::get<AttentionNode>(attributes));
    case SAGE_OP_LINEAR:
      return Linear();
    case SAGE_OP_MATMUL:
      return MatMul(std::get<MatMulNode>(attributes));
    case SAGE_OP_NORM:
      return Norm(std::get<sage_norm_attributes>(attributes));
    case SAGE_OP_UNARY:
      return Unary();
    case SAGE_OP_BINARY:
      return Binary();
    case SAGE_OP_SOFTMAX:
      return Softmax(std::get<sage_softmax_attributes>(attributes));
    case SAGE_OP_REDUCE:
      return Reduce(std::get<ReduceNode>(attributes));
    case SAGE_OP_GATHER:
      return Gather(std::get<sage_gather_attributes>(attributes));
    case SAGE_OP_CONCAT:
      return Concat(std::get<sage_concat_attributes>(attributes));
    case SAGE_OP_SLICE:
      return Slice(std::get<SliceNode>(attributes));
    case SAGE_OP_PERMUTE:
      return Permute(std::get<sage_permute_attributes>(attributes));
    case SAGE_OP_TOPK:
      return TopK(std::get<TopKNode>(attributes));
    case SAGE_OP_ROPE:
      return Rope(std::get<sage_rope_attributes>(attributes));
    case SAGE_OP_POOL:
      return Pool(std::get<sage_pool_attributes>(attributes));
    case kKindReshape:
      return Reshape(std::get<ReshapeNode>(attributes));
    default:
      Fail(kWholeNode, "kind {} is not known", node_->kind);
  }
}

}  // namespace sage
