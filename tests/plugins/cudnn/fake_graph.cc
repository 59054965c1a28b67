// fake_graph.cc: see the header.
#include "fake_graph.h"

#include <algorithm>
#include <set>
#include <utility>

namespace sage::cudnn::fake {
namespace {

Answer Wrong(std::string text, int status = kBadParam) { return {status, std::move(text)}; }
Answer WrongShape(std::string text) { return {kShapeMismatch, std::move(text)}; }

// y's dimensions are those of the operands, of which any may be 1.
bool BroadcastsTo(const Tensor& from, const Tensor& to) {
  if (from.rank() != to.rank()) return false;
  for (size_t i = 0; i < to.rank(); ++i)
    if (from.dims[i] != to.dims[i] && from.dims[i] != 1) return false;
  return true;
}

// A tensor of one int32 for each batch.
Answer CheckLengths(const Tensor* lengths, int64_t batch, const char* what) {
  if (lengths == nullptr) return {};
  if (lengths->type != kInt32) return Wrong(std::string(what) + " are int32; these are " + TypeName(lengths->type));
  if (lengths->dims != std::vector<int64_t>{batch, 1, 1, 1})
    return WrongShape(std::string(what) + " are one for each of " + std::to_string(batch) + " batches, (b,1,1,1); " +
                      "these are " + DimsText(lengths->dims));
  if (lengths->is_virtual || lengths->by_value || lengths->ragged != nullptr)
    return Wrong(std::string(what) + " are a bound tensor, neither virtual nor by value nor ragged");
  return {};
}

struct Needs {
  bool b, t;
};
Needs NeedsOf(int mode) {
  switch (mode) {
    case kExponential:
    case kLogarithm:
    case kTanh:
    case kIndex:
      return {false, false};
    case kSelect:
      return {true, true};
    default:
      return {true, false};
  }
}

bool IsPointwiseMode(int mode) {
  for (const int known : {kAdd, kMultiply, kMaximum, kDivide, kSubtract, kExponential, kLogarithm, kTanh, kGreater,
                          kGreaterEqual, kLess, kAnd, kIndex, kSelect})
    if (mode == known) return true;
  return false;
}

Answer CheckPointwise(const Operation& op) {
  const Tensor &x = *op.At(kOperationPointwiseX), &y = *op.At(kOperationPointwiseY);
  const Tensor *b = op.At(kOperationPointwiseB), *t = op.At(kOperationPointwiseT);
  if (!IsPointwiseMode(op.mode)) return Wrong("a pointwise mode that the fake does not compute");
  const Needs needs = NeedsOf(op.mode);
  if (needs.b != (b != nullptr)) return Wrong(needs.b ? "this mode needs a B" : "this mode takes no B");
  if (needs.t != (t != nullptr)) return Wrong(needs.t ? "this mode needs a T" : "this mode takes no T");
  for (const Tensor* input : {&x, b, t}) {
    if (input == nullptr) continue;
    if (!BroadcastsTo(*input, y))
      return WrongShape("an operand " + DimsText(input->dims) + " does not broadcast to Y " + DimsText(y.dims));
    if (input->ragged != nullptr) return Wrong("a ragged tensor is read by products alone");
  }
  for (size_t i = 0; i < y.rank(); ++i) {
    int64_t most = x.dims[i];
    for (const Tensor* input : {b, t})
      if (input != nullptr) most = std::max(most, input->dims[i]);
    if (most != y.dims[i]) return WrongShape("Y " + DimsText(y.dims) + " is wider than what it is made of");
  }
  const bool compares = op.mode == kGreater || op.mode == kGreaterEqual || op.mode == kLess;
  if ((compares || op.mode == kAnd) && y.type != kBoolean) return Wrong("Y of a comparison is a boolean");
  if (op.mode == kAnd && (x.type != kBoolean || b->type != kBoolean)) return Wrong("AND is of booleans");
  if (op.mode == kSelect && t->type != kBoolean) return Wrong("T of a selection is a boolean");
  if (op.mode == kIndex) {
    if (y.type != kInt32) return Wrong("Y of an index is int32");
    if (x.dims != y.dims) return WrongShape("X and Y of an index have the same dimensions");
    if (op.axis < 0 || op.axis >= static_cast<int64_t>(y.rank())) return Wrong("an axis that the tensor does not have");
  }
  return {};
}

Answer CheckMatmul(const Operation& op) {
  const Tensor &a = *op.At(kOperationMatmulA), &b = *op.At(kOperationMatmulB), &c = *op.At(kOperationMatmulC);
  const size_t rank = c.rank();
  if (a.rank() != rank || b.rank() != rank || rank < 3) return WrongShape("A, B and C have one rank, of 3 or more");
  const std::string shapes = "A " + DimsText(a.dims) + ", B " + DimsText(b.dims) + ", C " + DimsText(c.dims);
  if (a.dims[rank - 2] != c.dims[rank - 2] || b.dims[rank - 1] != c.dims[rank - 1] ||
      a.dims[rank - 1] != b.dims[rank - 2])
    return WrongShape("the rows, columns or inner dimensions do not agree: " + shapes);
  for (size_t i = 0; i + 2 < rank; ++i)
    if (a.dims[i] != c.dims[i] || c.dims[i] % b.dims[i] != 0)
      return WrongShape("the batches of A are C's, and those of B divide them: " + shapes);
  if (a.by_value || b.by_value || c.by_value) return Wrong("no operand of a product is by value");
  const Tensor *rows = op.At(kOperationMatmulRows), *columns = op.At(kOperationMatmulColumns),
               *inner = op.At(kOperationMatmulInner);
  for (const Tensor* lengths : {rows, columns, inner})
    if (Answer said = CheckLengths(lengths, c.dims[0], "overrides of a product"); !said.ok()) return said;
  if ((a.ragged != nullptr || c.ragged != nullptr) && rows == nullptr)
    return Wrong("a ragged A or C needs the rows in use (GEMM_M_OVERRIDE)");
  if (b.ragged != nullptr && (columns == nullptr) == (inner == nullptr))
    return Wrong("a ragged B needs either its columns or its inner rows in use (GEMM_N_ or GEMM_K_OVERRIDE)");
  return {};
}

Answer CheckReduction(const Operation& op) {
  const Tensor &x = *op.At(kOperationReductionX), &y = *op.At(kOperationReductionY);
  if (op.mode != kReduceAdd && op.mode != kReduceMaximum && op.mode != kReduceLargestMagnitude)
    return Wrong("a reduction that the fake does not compute");
  if (!BroadcastsTo(y, x) || x.dims == y.dims)
    return WrongShape("Y " + DimsText(y.dims) + " of a reduction is X " + DimsText(x.dims) + " with some dimension 1");
  if (x.ragged != nullptr) return Wrong("a ragged tensor is read by products alone");
  return {};
}

Answer CheckTable(const Tensor& table, const Tensor& container, int64_t batch, int64_t rows) {
  const int64_t page = container.dims[2];
  if ((page & (page - 1)) != 0) return Wrong("rows of a page are a power of two; these are " + std::to_string(page));
  if (table.type != kInt32) return Wrong("a page table is int32");
  if (table.dims != std::vector<int64_t>{batch, 1, (rows + page - 1) / page, 1})
    return WrongShape("the page table " + DimsText(table.dims) + " has not the pages that " + std::to_string(rows) +
                      " rows of " + std::to_string(batch) + " batches need, of " + std::to_string(page) + " rows each");
  if (table.is_virtual || table.by_value || table.ragged != nullptr) return Wrong("a page table is a bound tensor");
  return {};
}

Answer CheckPagedLoad(const Operation& op) {
  const Tensor &container = *op.At(kPagedLoadContainer), &y = *op.At(kPagedLoadY), &table = *op.At(kPagedLoadTable);
  if (container.rank() != 4 || y.rank() != 4) return WrongShape("a container and what is loaded of it have rank 4");
  if (!y.is_virtual) return Wrong("what is loaded of pages is virtual");
  if (container.is_virtual || container.ragged != nullptr) return Wrong("a container of pages is a bound tensor");
  if (container.type != y.type) return Wrong("pages are loaded in their own type");
  const bool transposed = IsTransposedLoad(y);
  const int64_t rows = y.dims[transposed ? 3 : 2], width = y.dims[transposed ? 2 : 3];
  if (width != container.dims[3] || y.dims[1] != container.dims[1])
    return WrongShape("heads and width of what is loaded, " + DimsText(y.dims) + ", are not those of the container, " +
                      DimsText(container.dims));
  if (Answer said = CheckTable(table, container, y.dims[0], rows); !said.ok()) return said;
  return CheckLengths(op.At(kPagedLoadLengths), y.dims[0], "lengths of pages");
}

Answer CheckSdpa(const Operation& op) {
  const Tensor &q = *op.At(kSdpaQ), &k = *op.At(kSdpaK), &v = *op.At(kSdpaV), &o = *op.At(kSdpaO);
  for (const Tensor* each : {&q, &k, &v, &o}) {
    if (each->rank() != 4 || each->is_virtual || each->by_value) return Wrong("Q, K, V, O are bound tensors of rank 4");
    if (each->type != q.type || (q.type != kHalf && q.type != kBFloat16))
      return Wrong("Q, K, V, O are all f16 or bf16");
  }
  const int64_t batch = q.dims[0];
  const Tensor *lengths_q = op.At(kSdpaLengthsQ), *lengths_kv = op.At(kSdpaLengthsKv);
  const Tensor *table_k = op.At(kSdpaPageTableK), *table_v = op.At(kSdpaPageTableV);
  if ((lengths_q == nullptr) != (lengths_kv == nullptr))
    return Wrong("lengths are given of queries and keys or of none");
  if ((table_k == nullptr) != (table_v == nullptr)) return Wrong("page tables are given of K and V or of none");
  if (table_k != nullptr && lengths_kv == nullptr) return Wrong("pages need lengths");
  for (const Tensor* each : {&q, &k, &v, &o})
    if (each->ragged != nullptr && lengths_q == nullptr) return Wrong("ragged tensors need lengths");
  for (const Tensor* lengths : {lengths_q, lengths_kv})
    if (Answer said = CheckLengths(lengths, batch, "lengths"); !said.ok()) return said;
  if (k.dims[1] == 0 || q.dims[1] % k.dims[1] != 0 || k.dims[1] != v.dims[1] || k.dims[3] != q.dims[3] ||
      k.dims[2] != v.dims[2] || o.dims != std::vector<int64_t>{batch, q.dims[1], q.dims[2], v.dims[3]})
    return WrongShape("Q " + DimsText(q.dims) + ", K " + DimsText(k.dims) + ", V " + DimsText(v.dims) + " and O " +
                      DimsText(o.dims) + " do not agree");
  if (table_k == nullptr && (k.dims[0] != batch || v.dims[0] != batch)) return WrongShape("K and V have Q's batches");
  if (table_k != nullptr) {
    if (k.ragged != nullptr || v.ragged != nullptr) return Wrong("containers of pages are not ragged");
    for (const auto& [table, container] : {std::pair{table_k, &k}, std::pair{table_v, &v}}) {
      if (table->rank() != 4) return WrongShape("a page table has rank 4");
      const int64_t rows = table->dims[2] * container->dims[2];
      if (Answer said = CheckTable(*table, *container, batch, rows); !said.ok()) return said;
    }
  }
  if (const Tensor* statistics = op.At(kSdpaStatistics); statistics != nullptr) {
    if (statistics->type != kFloat || statistics->dims != std::vector<int64_t>{batch, q.dims[1], q.dims[2], 1})
      return WrongShape("statistics are f32 (b,h,s,1); these are " + DimsText(statistics->dims));
    if (statistics->ragged != nullptr && lengths_q == nullptr) return Wrong("ragged tensors need lengths");
  }
  if (const Tensor* scale = op.At(kSdpaScale); scale != nullptr && (!scale->by_value || scale->type != kFloat))
    return Wrong("the scale is an f32 by value");
  return {};
}

}  // namespace

bool Tensor::operator==(const Tensor& other) const {
  const bool same_offsets =
      (ragged == nullptr) == (other.ragged == nullptr) && (ragged == nullptr || *ragged == *other.ragged);
  return uid == other.uid && alignment == other.alignment && type == other.type && dims == other.dims &&
         strides == other.strides && is_virtual == other.is_virtual && by_value == other.by_value && same_offsets;
}

bool IsTransposedLoad(const Tensor& y) { return y.strides[3] != 1 && y.strides[2] == 1; }

int64_t ElementSize(int type) {
  switch (type) {
    case kFloat:
    case kInt32:
      return 4;
    case kHalf:
    case kBFloat16:
      return 2;
    case kInt64:
      return 8;
    case kBoolean:
    case kFp8E4M3:
    case kFp8E5M2:
      return 1;
    default:
      return 0;
  }
}

Answer CheckTensor(const Tensor& tensor) {
  constexpr size_t kMostDims = 8;  // CUDNN_DIM_MAX
  const int64_t size = ElementSize(tensor.type);
  if (size == 0) return Wrong("a data type that the fake does not know: " + std::to_string(tensor.type));
  if (tensor.rank() == 0 || tensor.rank() > kMostDims) return Wrong("a tensor has 1 to 8 dimensions");
  if (tensor.strides.size() != tensor.rank())
    return Wrong("a tensor of " + std::to_string(tensor.rank()) + " dimensions with " +
                 std::to_string(tensor.strides.size()) + " strides");
  for (size_t i = 0; i < tensor.rank(); ++i)
    if (tensor.dims[i] < 1 || tensor.strides[i] < 0)
      return Wrong("a dimension under 1 or a stride under 0: " + DimsText(tensor.dims) + " strides " +
                   DimsText(tensor.strides));
  if (tensor.alignment < 1 || tensor.alignment % size != 0 || (tensor.alignment & (tensor.alignment - 1)) != 0)
    return Wrong("an alignment of " + std::to_string(tensor.alignment) + " bytes, for elements of " +
                 std::to_string(size));
  if (tensor.by_value && tensor.is_virtual) return Wrong("a tensor both virtual and by value");
  if (tensor.by_value && std::any_of(tensor.dims.begin(), tensor.dims.end(), [](int64_t dim) { return dim != 1; }))
    return Wrong("a tensor by value has one element; this one is " + DimsText(tensor.dims));
  if (tensor.ragged == nullptr) return {};
  const Tensor& offsets = *tensor.ragged;
  if (tensor.by_value || tensor.is_virtual) return Wrong("a ragged tensor is bound memory");
  if (offsets.type != kInt32 && offsets.type != kInt64) return Wrong("offsets of a ragged tensor are int32 or int64");
  std::vector<int64_t> expected(tensor.rank(), 1);
  expected[0] = tensor.dims[0] + 1;
  if (offsets.dims != expected)
    return WrongShape("offsets of a ragged tensor are (b+1,1,1,1); for " + DimsText(tensor.dims) + " these are " +
                      DimsText(offsets.dims));
  if (offsets.is_virtual || offsets.by_value || offsets.ragged != nullptr) return Wrong("offsets are a bound tensor");
  return {};
}

Answer CheckOperation(const Operation& op) {
  for (const auto& [attribute, tensor] : op.operands)
    if (IsOutput(op.kind, attribute) && tensor->by_value) return Wrong("a tensor by value is no output");
  switch (op.kind) {
    case kOperationPointwise:
      return CheckPointwise(op);
    case kOperationMatmul:
      return CheckMatmul(op);
    case kOperationReduction:
      return CheckReduction(op);
    case kOperationPagedCacheLoad:
      return CheckPagedLoad(op);
    default:
      return CheckSdpa(op);
  }
}

bool IsOutput(int kind, int attribute) {
  switch (kind) {
    case kOperationPointwise:
      return attribute == kOperationPointwiseY;
    case kOperationMatmul:
      return attribute == kOperationMatmulC;
    case kOperationReduction:
      return attribute == kOperationReductionY;
    case kOperationPagedCacheLoad:
      return attribute == kPagedLoadY;
    default:
      return attribute == kSdpaO || attribute == kSdpaStatistics;
  }
}

Answer CheckGraph(size_t version, Graph* graph) {
  constexpr size_t kPagesInSdpaFrom = 91500;
  std::map<int64_t, TensorPointer>& all = graph->tensors;
  std::set<int64_t> made, read;
  const auto note = [&](const TensorPointer& tensor) {
    const auto [at, is_new] = all.emplace(tensor->uid, tensor);
    return is_new || *at->second == *tensor;
  };
  for (size_t i = 0; i < graph->operations.size(); ++i) {
    const Operation& op = graph->operations[i];
    const std::string where = "operation " + std::to_string(i) + ": ";
    for (const auto& [attribute, tensor] : op.operands) {
      const std::string named = where + "the tensor of uid " + std::to_string(tensor->uid);
      if (!note(tensor) || (tensor->ragged != nullptr && !note(tensor->ragged)))
        return Wrong(named + ", or its offsets, has the uid of another tensor", kDuplicatedEntries);
      if (IsOutput(op.kind, attribute)) continue;
      if (tensor->is_virtual && made.count(tensor->uid) == 0)
        return Wrong(named + " is virtual and no operation before has made it");
      read.insert(tensor->uid);
    }
    for (const auto& [attribute, tensor] : op.operands) {
      if (!IsOutput(op.kind, attribute)) continue;
      const std::string named = where + "the tensor of uid " + std::to_string(tensor->uid);
      if (read.count(tensor->uid) != 0) return Wrong(named + " is made after it was read");
      if (!made.insert(tensor->uid).second) return Wrong(named + " is made twice");
    }
    if (op.kind == kOperationSdpaForward && op.At(kSdpaPageTableK) != nullptr && version < kPagesInSdpaFrom)
      return Wrong(where + "pages in the unified operation need cuDNN 9.15", kNotSupported);
  }
  graph->text = TextOf(*graph);
  return {};
}

}  // namespace sage::cudnn::fake
