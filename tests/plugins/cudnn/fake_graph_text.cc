// fake_graph_text.cc: the text of an operation graph, which a test holds against one that it keeps. Uids are not in it:
// tensors are numbered by first use, so that who numbers his otherwise builds the same graph.
#include <algorithm>
#include <utility>

#include "fake_graph.h"

namespace sage::cudnn::fake {
namespace {

const char* ModeName(int mode) {
  switch (mode) {
    case kAdd:
      return "add";
    case kMultiply:
      return "multiply";
    case kMaximum:
      return "maximum";
    case kDivide:
      return "divide";
    case kSubtract:
      return "subtract";
    case kExponential:
      return "exponential";
    case kLogarithm:
      return "logarithm";
    case kTanh:
      return "tanh";
    case kGreater:
      return "greater";
    case kGreaterEqual:
      return "greater_equal";
    case kLess:
      return "less";
    case kAnd:
      return "and";
    case kIndex:
      return "index";
    default:
      return "select";
  }
}

// The operands in the order in which they are written, inputs first.
struct Operand {
  int attribute;
  const char* name;
};
std::vector<Operand> OperandsOf(int kind) {
  switch (kind) {
    case kOperationPointwise:
      return {{kOperationPointwiseX, "x"},
              {kOperationPointwiseB, "b"},
              {kOperationPointwiseT, "t"},
              {kOperationPointwiseY, "y"}};
    case kOperationMatmul:
      return {{kOperationMatmulA, "a"},         {kOperationMatmulB, "b"},
              {kOperationMatmulRows, "rows"},   {kOperationMatmulColumns, "columns"},
              {kOperationMatmulInner, "inner"}, {kOperationMatmulC, "c"}};
    case kOperationReduction:
      return {{kOperationReductionX, "x"}, {kOperationReductionY, "y"}};
    case kOperationPagedCacheLoad:
      return {{kPagedLoadContainer, "container"},
              {kPagedLoadTable, "table"},
              {kPagedLoadLengths, "lengths"},
              {kPagedLoadY, "y"}};
    default:
      return {{kSdpaQ, "q"},
              {kSdpaK, "k"},
              {kSdpaV, "v"},
              {kSdpaScale, "scale"},
              {kSdpaPageTableK, "table_k"},
              {kSdpaPageTableV, "table_v"},
              {kSdpaLengthsQ, "lengths_q"},
              {kSdpaLengthsKv, "lengths_kv"},
              {kSdpaO, "o"},
              {kSdpaStatistics, "statistics"}};
  }
}

std::string NameOf(const Operation& op) {
  switch (op.kind) {
    case kOperationPointwise:
      return std::string(ModeName(op.mode)) + (op.axis >= 0 ? "[" + std::to_string(op.axis) + "] " : " ") +
             TypeName(op.math_type);
    case kOperationMatmul:
      return std::string("matmul ") + TypeName(op.math_type) +
             (op.pads ? " padded with " + std::to_string(op.padding_value) : "");
    case kOperationReduction:
      return std::string(op.mode == kReduceAdd       ? "reduce_add "
                         : op.mode == kReduceMaximum ? "reduce_maximum "
                                                     : "reduce_largest_magnitude ") +
             TypeName(op.math_type);
    case kOperationPagedCacheLoad:
      return "paged_load";
    default:
      return "sdpa_forward";
  }
}

class Text {
 public:
  std::string Take() { return std::move(text_); }

  void Add(const Operation& op) {
    std::string line = NameOf(op);
    for (const Operand& operand : OperandsOf(op.kind))
      if (const Tensor* const tensor = op.At(operand.attribute); tensor != nullptr)
        line += std::string(" ") + operand.name + "=#" + std::to_string(NumberOf(*tensor));
    text_ += line + "\n";
  }

 private:
  // A tensor that is new gets its line, after that of its offsets.
  size_t NumberOf(const Tensor& tensor) {
    const auto found = std::find(uids_.begin(), uids_.end(), tensor.uid);
    if (found != uids_.end()) return static_cast<size_t>(found - uids_.begin());
    std::string flags;
    if (tensor.is_virtual) flags += " virtual";
    if (tensor.by_value) flags += " by value";
    if (tensor.ragged != nullptr) flags += " ragged by #" + std::to_string(NumberOf(*tensor.ragged));
    const size_t number = uids_.size();
    uids_.push_back(tensor.uid);
    text_ += "#" + std::to_string(number) + " " + TypeName(tensor.type) + " " + DimsText(tensor.dims) + " strides " +
             DimsText(tensor.strides) + " align " + std::to_string(tensor.alignment) + flags + "\n";
    return number;
  }

  std::string text_;
  std::vector<int64_t> uids_;
};

}  // namespace

const char* TypeName(int type) {
  switch (type) {
    case kFloat:
      return "f32";
    case kHalf:
      return "f16";
    case kInt32:
      return "int32";
    case kBFloat16:
      return "bf16";
    case kInt64:
      return "int64";
    case kBoolean:
      return "boolean";
    case kFp8E4M3:
      return "e4m3";
    case kFp8E5M2:
      return "e5m2";
    default:
      return "unknown";
  }
}

std::string DimsText(const std::vector<int64_t>& dims) {
  std::string text = "(";
  for (size_t i = 0; i < dims.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(dims[i]);
  return text + ")";
}

std::string TextOf(const Graph& graph) {
  Text text;
  for (const Operation& op : graph.operations) text.Add(op);
  return text.Take();
}

}  // namespace sage::cudnn::fake
