// problem_grammar.cc: the tables behind the problem string.
#include "plan/problem_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <iterator>

#include "sage/support/check_op.h"

namespace sage {
namespace {

constexpr const char* kFunctions[] = {"identity", "relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh",
                                      "elu",      "exp",  "log",  "sqrt",      "abs",  "neg"};
constexpr const char* kNorms[] = {"", "layer", "rms", "batch"};
constexpr const char* kBinaries[] = {"", "add", "sub", "mul", "div", "min", "max"};
constexpr const char* kReductions[] = {"", "sum", "mean", "max", "min"};
constexpr const char* kRopes[] = {"", "halves", "interleaved"};
constexpr const char* kPools[] = {"", "mean", "max", "first", "last"};

#define SAGE_FIELD(key, type, kind_struct, member, names) \
  PlainField { key, PlainField::type, static_cast<uint32_t>(offsetof(kind_struct, member)), names }
constexpr std::span<const char* const> kNone;

const PlainField kLinear[] = {SAGE_FIELD("act", kU32, sage_linear_attributes, activation, kFunctions)};
const PlainField kNorm[] = {SAGE_FIELD("mode", kU32, sage_norm_attributes, mode, kNorms),
                            SAGE_FIELD("axis", kI32, sage_norm_attributes, axis, kNone),
                            SAGE_FIELD("epsilon", kF64, sage_norm_attributes, epsilon, kNone)};
const PlainField kUnary[] = {SAGE_FIELD("fn", kU32, sage_unary_attributes, function, kFunctions),
                             SAGE_FIELD("alpha", kF64, sage_unary_attributes, alpha, kNone)};
const PlainField kBinary[] = {SAGE_FIELD("fn", kU32, sage_binary_attributes, function, kBinaries)};
const PlainField kSoftmax[] = {SAGE_FIELD("axis", kI32, sage_softmax_attributes, axis, kNone)};
const PlainField kReduce[] = {SAGE_FIELD("fn", kU32, sage_reduce_attributes, function, kReductions),
                              SAGE_FIELD("axes", kU32, sage_reduce_attributes, axes, kNone)};
const PlainField kGather[] = {SAGE_FIELD("axis", kI32, sage_gather_attributes, axis, kNone)};
const PlainField kConcat[] = {SAGE_FIELD("axis", kI32, sage_concat_attributes, axis, kNone)};
const PlainField kSlice[] = {SAGE_FIELD("begin", kI64List, sage_slice_attributes, begin, kNone),
                             SAGE_FIELD("step", kI64List, sage_slice_attributes, step, kNone)};
const PlainField kPermute[] = {SAGE_FIELD("axes", kI32List, sage_permute_attributes, axes, kNone)};
const PlainField kTopk[] = {SAGE_FIELD("axis", kI32, sage_topk_attributes, axis, kNone),
                            SAGE_FIELD("smallest", kU32, sage_topk_attributes, smallest, kNone)};
const PlainField kRope[] = {SAGE_FIELD("style", kU32, sage_rope_attributes, style, kRopes),
                            SAGE_FIELD("rotary", kU32, sage_rope_attributes, rotary_dim, kNone),
                            SAGE_FIELD("base", kF64, sage_rope_attributes, base, kNone)};
const PlainField kPool[] = {SAGE_FIELD("fn", kU32, sage_pool_attributes, function, kPools),
                            SAGE_FIELD("window", kU32, sage_pool_attributes, window, kNone),
                            SAGE_FIELD("stride", kU32, sage_pool_attributes, stride, kNone),
                            SAGE_FIELD("pad_begin", kU32, sage_pool_attributes, pad_begin, kNone),
                            SAGE_FIELD("pad_end", kU32, sage_pool_attributes, pad_end, kNone)};
#undef SAGE_FIELD

template <class T>
T Get(const support::OpView::Attributes& attributes, uint32_t offset) {
  T value;
  std::memcpy(&value, reinterpret_cast<const unsigned char*>(&attributes) + offset, sizeof value);
  return value;
}

template <class T>
void Put(support::OpView::Attributes* attributes, uint32_t offset, T value) {
  std::memcpy(reinterpret_cast<unsigned char*>(attributes) + offset, &value, sizeof value);
}

template <class T>
std::string ReadList(const support::OpView::Attributes& attributes, uint32_t offset, uint32_t rank) {
  std::string text;
  bool any = false;
  for (uint32_t i = 0; i < rank; ++i) {
    const T value = Get<T>(attributes, offset + i * static_cast<uint32_t>(sizeof(T)));
    any = any || value != 0;
    text += fmt::format("{}{}", i == 0 ? "" : "x", value);
  }
  return any ? text : "";
}

template <class T>
Status WriteList(std::string_view value, const PlainField& field, support::OpView::Attributes* attributes) {
  for (uint32_t i = 0; !value.empty(); ++i) {
    const size_t end = std::min(value.find('x'), value.size());
    int64_t number = 0;
    if (i >= SAGE_MAX_RANK || !ParseNumber(value.substr(0, end), &number) || number != static_cast<T>(number))
      return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{}: expected at most 8 numbers joined by x", field.key));
    Put(attributes, field.offset + i * static_cast<uint32_t>(sizeof(T)), static_cast<T>(number));
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return Status();
}

}  // namespace

bool HasLayout(const sage_tensor& tensor, bool swapped) {
  sage_tensor expected = tensor;
  SetLayout(&expected, swapped);
  for (uint32_t axis = 0; axis < tensor.rank; ++axis)
    if (tensor.shape[axis] > 1 && tensor.stride[axis] != expected.stride[axis]) return false;
  return true;
}

void SetLayout(sage_tensor* tensor, bool swapped) {
  constexpr uint32_t kSwapped[] = {3, 1, 2, 0};  // from the innermost
  int64_t step = 1;
  for (uint32_t i = 0; i < tensor->rank; ++i) {
    const uint32_t axis = swapped && tensor->rank == 4 ? kSwapped[i] : tensor->rank - 1 - i;
    tensor->stride[axis] = step;
    step *= tensor->shape[axis] > 0 ? tensor->shape[axis] : 1;
  }
}

bool IsRowMajor(const sage_tensor& tensor) { return HasLayout(tensor, false); }

std::span<const PlainField> FieldsOf(uint32_t kind) {
  switch (kind) {
    case SAGE_OP_LINEAR:
      return kLinear;
    case SAGE_OP_NORM:
      return kNorm;
    case SAGE_OP_UNARY:
      return kUnary;
    case SAGE_OP_BINARY:
      return kBinary;
    case SAGE_OP_SOFTMAX:
      return kSoftmax;
    case SAGE_OP_REDUCE:
      return kReduce;
    case SAGE_OP_GATHER:
      return kGather;
    case SAGE_OP_CONCAT:
      return kConcat;
    case SAGE_OP_SLICE:
      return kSlice;
    case SAGE_OP_PERMUTE:
      return kPermute;
    case SAGE_OP_TOPK:
      return kTopk;
    case SAGE_OP_ROPE:
      return kRope;
    case SAGE_OP_POOL:
      return kPool;
    default:
      return {};
  }
}

uint32_t RankOfFirstInput(const support::OpView& view) { return view.Has(0) ? view.Slot(0).rank : 0; }

std::string ReadField(const support::OpView::Attributes& attributes, const PlainField& field, uint32_t rank) {
  switch (field.type) {
    case PlainField::kU32: {
      const auto value = Get<uint32_t>(attributes, field.offset);
      if (value == 0) return "";
      return value < field.names.size() ? field.names[value] : fmt::format("{}", value);
    }
    case PlainField::kI32: {
      const auto value = Get<int32_t>(attributes, field.offset);
      return value == 0 ? "" : fmt::format("{}", value);
    }
    case PlainField::kF64: {
      const auto value = Get<double>(attributes, field.offset);
      return value == 0 ? "" : fmt::format("{}", value);
    }
    case PlainField::kI64List:
      return ReadList<int64_t>(attributes, field.offset, rank);
    case PlainField::kI32List:
      return ReadList<int32_t>(attributes, field.offset, rank);
  }
  return "";
}

Status WriteField(std::string_view value, const PlainField& field, support::OpView::Attributes* attributes) {
  if (field.type == PlainField::kI64List) return WriteList<int64_t>(value, field, attributes);
  if (field.type == PlainField::kI32List) return WriteList<int32_t>(value, field, attributes);
  if (field.type == PlainField::kF64) {
    double number = 0;
    if (!ParseNumber(value, &number))
      return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{}={}: expected a number", field.key, value));
    Put(attributes, field.offset, number);
    return Status();
  }
  for (uint32_t i = 0; i < field.names.size(); ++i) {
    if (field.names[i] != value || value.empty()) continue;
    Put(attributes, field.offset, i);
    return Status();
  }
  int64_t number = 0;
  if (!field.names.empty() || !ParseNumber(value, &number) || number != static_cast<int32_t>(number)) {
    std::string known;
    for (const char* name : field.names) known += (*name == '\0' || known.empty() ? "" : "|") + std::string(name);
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("{}={}: expected {}", field.key, value, known.empty() ? "a number" : known));
  }
  Put(attributes, field.offset, static_cast<int32_t>(number));
  return Status();
}

bool ParseNumber(std::string_view text, int64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseNumber(std::string_view text, double* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

sage_dtype ParseDtype(std::string_view name) {
  for (const sage_dtype dtype : {SAGE_F64, SAGE_F32, SAGE_F16, SAGE_BF16, SAGE_I8, SAGE_I16, SAGE_I32, SAGE_I64,
                                 SAGE_U8, SAGE_U64, SAGE_BOOL, SAGE_F8_E4M3FN, SAGE_F8_E5M2})
    if (name == support::DtypeName(dtype)) return dtype;
  return 0;
}

}  // namespace sage
