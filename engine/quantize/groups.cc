// groups.cc: see groups.h.
#include "quantize/groups.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "plan/elements.h"
#include "run/extent.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

// Sizes and strides beyond it cannot be memory; below it their sums fit 64 bits.
constexpr int64_t kMaxElements = int64_t{1} << 56;

std::string ShapeText(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Status Refuse(const char* name, const std::string& what) {
  return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{} {}", name, what));
}

Status CheckTensor(const char* name, const sage_tensor& tensor, bool written) {
  if (tensor.device_type != SAGE_CPU)
    return Status(SAGE_E_UNSUPPORTED,
                  fmt::format("{} is in memory of device type {}; copy it to the CPU first", name, tensor.device_type));
  if ((tensor.flags & ~(SAGE_TENSOR_CONSTANT | SAGE_TENSOR_READ_ONLY)) != 0)
    return Status(SAGE_E_UNKNOWN_FIELD, fmt::format("{} has flags {:#x}, newer than this library", name, tensor.flags));
  if (written && tensor.flags != 0) return Refuse(name, "is written, so its memory cannot be constant or read-only");
  if (tensor.rank > SAGE_MAX_RANK) return Refuse(name, fmt::format("has rank {}", tensor.rank));
  int64_t elements = 1;
  bool repeats = false;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) {
    const int64_t length = tensor.shape[axis];
    if (length < 0) return Refuse(name, fmt::format("has length {} on axis {}", length, axis));
    if (__builtin_mul_overflow(elements, std::max<int64_t>(length, 1), &elements) || elements > kMaxElements)
      return Refuse(name, "has too many elements (2^56 is the limit)");
    repeats = repeats || (tensor.stride[axis] == 0 && length > 1);
  }
  Extent extent;
  if (!ExtentOf(tensor, &extent)) return Refuse(name, "reaches beyond the address space");
  const bool empty = extent.begin == extent.end;
  if (!empty && tensor.data == nullptr) return Refuse(name, "has no data");
  if (written && repeats && !empty) return Refuse(name, "is written, so no axis can repeat by stride 0");
  return {};
}

Status ExpectShape(const char* name, const sage_tensor& tensor, sage_dtype dtype, std::span<const int64_t> shape) {
  if (tensor.dtype != dtype)
    return Refuse(name,
                  fmt::format("is {}, {} is expected", support::DtypeName(tensor.dtype), support::DtypeName(dtype)));
  const std::span<const int64_t> given(tensor.shape, tensor.rank);
  if (!std::equal(given.begin(), given.end(), shape.begin(), shape.end()))
    return Refuse(name, fmt::format("has the shape {}, {} is expected", ShapeText(given), ShapeText(shape)));
  return {};
}

Status CheckApart(const char* name, const sage_tensor& written, const char* other_name, const sage_tensor* other) {
  if (other == nullptr) return {};
  Extent x, y;
  (void)ExtentOf(written, &x);
  (void)ExtentOf(*other, &y);
  return SurelyOverlap(written, x, *other, y)
             ? Refuse(name, fmt::format("is written and overlaps {} in memory; give them memory apart", other_name))
             : Status();
}

// The element at a multi-index that counts the whole tensor row-major.
char* ElementAt(const sage_tensor& tensor, int64_t index) {
  int64_t offset = 0;
  for (uint32_t axis = tensor.rank; axis-- > 0;) {
    offset += index % tensor.shape[axis] * tensor.stride[axis];
    index /= tensor.shape[axis];
  }
  return static_cast<char*>(tensor.data) + offset * support::DtypeSize(tensor.dtype);
}

// The types that are common, without a call for each element; values fit the type that they are stored as.
template <class T>
void LoadAs(const char* at, int64_t step, std::span<double> values) {
  for (double& value : values) {
    T loaded;
    std::memcpy(&loaded, at, sizeof loaded);
    value = static_cast<double>(loaded);
    at += step;
  }
}

template <class T>
void StoreAs(char* at, int64_t step, std::span<const double> values) {
  for (const double value : values) {
    const auto stored = static_cast<T>(value);
    std::memcpy(at, &stored, sizeof stored);
    at += step;
  }
}

std::vector<float> LoadAll(const sage_tensor& tensor, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) std::memcpy(&values[static_cast<size_t>(i)], ElementAt(tensor, i), sizeof(float));
  return values;
}

void StoreAll(const sage_tensor& tensor, const std::vector<float>& values) {
  for (size_t i = 0; i < values.size(); ++i)
    std::memcpy(ElementAt(tensor, static_cast<int64_t>(i)), &values[i], sizeof(float));
}

}  // namespace

Result<QuantizeGroups> QuantizeGroups::Create(const QuantizeCall& call, const sage_tensor& from,
                                              const sage_tensor& to) {
  const sage_tensor &x = *call.x, &codes = *call.codes;
  const bool given = (call.flags & SAGE_QUANTIZE_GIVEN_SCALES) != 0, reading_codes = &from == &codes;
  SAGE_RETURN_IF_ERROR(CheckTensor("x", x, &to == &x));
  SAGE_RETURN_IF_ERROR(CheckTensor("codes", codes, &to == &codes));
  SAGE_RETURN_IF_ERROR(CheckTensor("scale", *call.scale, !given && !reading_codes));
  if (call.mean != nullptr) SAGE_RETURN_IF_ERROR(CheckTensor("mean", *call.mean, !reading_codes));
  if (call.cu_seqlens != nullptr) SAGE_RETURN_IF_ERROR(CheckTensor("cu_seqlens", *call.cu_seqlens, false));
  if (x.dtype != SAGE_F64 && x.dtype != SAGE_F32 && x.dtype != SAGE_F16 && x.dtype != SAGE_BF16)
    return Refuse("x", fmt::format("is {}, f64, f32, f16 or bf16 is expected", support::DtypeName(x.dtype)));
  if (codes.dtype != SAGE_I8 && codes.dtype != SAGE_I16)
    return Refuse("codes", fmt::format("is {}, i8 or i16 is expected", support::DtypeName(codes.dtype)));
  if (x.rank != 3 && x.rank != 4)
    return Refuse("x", fmt::format("has rank {}, [B,H,S,D] or packed [T,H,D] is expected", x.rank));
  SAGE_RETURN_IF_ERROR(ExpectShape("codes", codes, codes.dtype, {x.shape, x.rank}));

  QuantizeGroups groups;
  groups.packed_ = x.rank == 3;
  groups.batch_ = groups.packed_ ? 1 : x.shape[0];
  groups.heads_ = x.shape[1];
  groups.tokens_ = groups.packed_ ? x.shape[0] : x.shape[2];
  groups.dim_ = x.shape[x.rank - 1];
  groups.granularity_ = call.granularity, groups.scale_block_ = call.scale_block;
  SAGE_RETURN_IF_ERROR(groups.TakeSequences(call.cu_seqlens, call.mean != nullptr));
  SAGE_RETURN_IF_ERROR(groups.TakeScaleShape(call));
  if (call.mean != nullptr) {
    const int64_t shape[] = {groups.sequences(), groups.heads_, groups.dim_};
    SAGE_RETURN_IF_ERROR(ExpectShape("mean", *call.mean, SAGE_F32, shape));
  }

  const std::pair<const char*, const sage_tensor*> all[] = {{"x", call.x},
                                                            {"codes", call.codes},
                                                            {"scale", call.scale},
                                                            {"mean", call.mean},
                                                            {"cu_seqlens", call.cu_seqlens}};
  for (const auto& [name, tensor] : all) {
    const bool of_quantize = !reading_codes && (tensor == call.mean || (tensor == call.scale && !given));
    const bool written = tensor != nullptr && (tensor == &to || of_quantize);
    for (const auto& [other_name, other] : all)
      if (written && other != tensor) SAGE_RETURN_IF_ERROR(CheckApart(name, *tensor, other_name, other));
  }
  return groups;
}

Status QuantizeGroups::TakeScaleShape(const QuantizeCall& call) {
  const sage_tensor& scale = *call.scale;
  if (granularity_ < SAGE_PER_TENSOR || granularity_ > SAGE_PER_BLOCK)
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("granularity is {}, one of SAGE_PER_* (1 to 5) is expected", granularity_));
  const bool by_block = granularity_ == SAGE_PER_BLOCK;
  if (by_block != (scale_block_ != 0))
    return Status(SAGE_E_INVALID_ARGUMENT,
                  by_block ? "scale_block is 0: say how many tokens a block has"
                           : fmt::format("scale_block is {}, but the scales are not per block", scale_block_));
  if (by_block && packed_)
    return Status(SAGE_E_UNSUPPORTED, "scales per block are not defined for packed rows [T,H,D] in this version");
  blocks_ = by_block ? (tokens_ + scale_block_ - 1) / scale_block_ : 0;
  shared_ = granularity_ == SAGE_PER_TENSOR || (packed_ && granularity_ == SAGE_PER_TOKEN) ||
            (scale.rank > 0 && scale.shape[0] == 1);
  if (packed_ && !shared_ && starts_.empty())
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("scale has the shape {}: [1,...] is expected for packed rows [T,H,D], or one for each "
                              "sequence and cu_seqlens, which says where they lie",
                              ShapeText({scale.shape, scale.rank})));
  const int64_t front = shared_ ? 1 : packed_ ? sequences() : batch_;
  std::vector<int64_t> shape = {front, heads_};
  if (granularity_ == SAGE_PER_TENSOR) shape = {1};
  if (granularity_ == SAGE_PER_TOKEN) shape.push_back(tokens_);
  if (granularity_ == SAGE_PER_CHANNEL) shape.push_back(dim_);
  if (by_block) shape.push_back(blocks_);
  if (granularity_ == SAGE_PER_TOKEN && packed_) shape.erase(shape.begin());  // [H,T]
  count_ = 1;
  SAGE_RETURN_IF_ERROR(ExpectShape("scale", scale, SAGE_F32, shape));
  for (const int64_t length : shape) count_ *= length;  // within the limit, as the tensor is
  return {};
}

Status QuantizeGroups::TakeSequences(const sage_tensor* cu_seqlens, bool wanted) {
  if (cu_seqlens == nullptr) {
    if (wanted && packed_)
      return Status(SAGE_E_INVALID_ARGUMENT, "the mean of packed rows [T,H,D] is each sequence's own: give cu_seqlens");
    return {};
  }
  if (!packed_)
    return Status(SAGE_E_INVALID_ARGUMENT, "cu_seqlens is given, but x is [B,H,S,D]: it is for packed rows [T,H,D]");
  if (cu_seqlens->dtype != SAGE_I32 || cu_seqlens->rank != 1 || cu_seqlens->shape[0] < 1)
    return Refuse("cu_seqlens", fmt::format("is {} {}, i32 [B+1] is expected", support::DtypeName(cu_seqlens->dtype),
                                            ShapeText({cu_seqlens->shape, cu_seqlens->rank})));
  // Read once for each sequence: however many a stride of 0 may claim, they would all be one number.
  if (cu_seqlens->shape[0] > 1 && cu_seqlens->stride[0] == 0) return Refuse("cu_seqlens", "has stride 0");
  for (int64_t i = 0; i < cu_seqlens->shape[0]; ++i) {
    int32_t start = 0;
    std::memcpy(&start, ElementAt(*cu_seqlens, i), sizeof start);
    if (starts_.empty() ? start != 0 : start < starts_.back())
      return Refuse("cu_seqlens", fmt::format("is {} at {}: it begins with 0 and does not fall", start, i));
    starts_.push_back(start);
  }
  if (starts_.back() != tokens_)
    return Refuse("cu_seqlens", fmt::format("ends with {}, x has {} tokens", starts_.back(), tokens_));
  return {};
}

QuantizeGroups::Position QuantizeGroups::At(int64_t row) const {
  return {row / tokens_ / heads_, row / tokens_ % heads_, row % tokens_};
}

char* QuantizeGroups::Address(const sage_tensor& tensor, int64_t row) const {
  const Position at = At(row);
  const int64_t offset = packed_ ? at.token * tensor.stride[0] + at.h * tensor.stride[1]
                                 : at.b * tensor.stride[0] + at.h * tensor.stride[1] + at.token * tensor.stride[2];
  return static_cast<char*>(tensor.data) + offset * support::DtypeSize(tensor.dtype);
}

void QuantizeGroups::LoadRow(const sage_tensor& tensor, int64_t row, std::span<double> values) const {
  const char* at = Address(tensor, row);
  const int64_t step = tensor.stride[tensor.rank - 1] * support::DtypeSize(tensor.dtype);
  if (tensor.dtype == SAGE_F32) return LoadAs<float>(at, step, values);
  if (tensor.dtype == SAGE_F64) return LoadAs<double>(at, step, values);
  if (tensor.dtype == SAGE_I8) return LoadAs<int8_t>(at, step, values);
  if (tensor.dtype == SAGE_I16) return LoadAs<int16_t>(at, step, values);
  for (double& value : values) {
    value = LoadElement(at, tensor.dtype);
    at += step;
  }
}

void QuantizeGroups::StoreRow(const sage_tensor& tensor, int64_t row, std::span<const double> values) const {
  char* at = Address(tensor, row);
  const int64_t step = tensor.stride[tensor.rank - 1] * support::DtypeSize(tensor.dtype);
  if (tensor.dtype == SAGE_F32) return StoreAs<float>(at, step, values);
  if (tensor.dtype == SAGE_F64) return StoreAs<double>(at, step, values);
  if (tensor.dtype == SAGE_I8) return StoreAs<int8_t>(at, step, values);
  if (tensor.dtype == SAGE_I16) return StoreAs<int16_t>(at, step, values);
  for (const double value : values) {
    StoreElement(at, tensor.dtype, value);
    at += step;
  }
}

std::string QuantizeGroups::Place(int64_t row, int64_t channel) const {
  const Position at = At(row);
  return packed_ ? fmt::format("[{},{},{}]", at.token, at.h, channel)
                 : fmt::format("[{},{},{},{}]", at.b, at.h, at.token, channel);
}

int64_t QuantizeGroups::ScaleOf(int64_t row) const {
  if (granularity_ == SAGE_PER_TENSOR) return 0;
  const Position at = At(row);
  const int64_t head = (shared_ ? 0 : SequenceOf(at) * heads_) + at.h;
  switch (granularity_) {
    case SAGE_PER_TOKEN:
      return head * tokens_ + at.token;
    case SAGE_PER_CHANNEL:
      return head * dim_;
    case SAGE_PER_BLOCK:
      return head * blocks_ + at.token / scale_block_;
    default:
      return head;
  }
}

int64_t QuantizeGroups::SequenceOf(const Position& at) const {
  if (!packed_) return at.b;
  // The last sequence that begins at or before the token: empty ones end where they begin.
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), at.token);
  return after - starts_.begin() - 1;
}

int64_t QuantizeGroups::MeanOf(int64_t row) const {
  const Position at = At(row);
  return SequenceOf(at) * heads_ + at.h;
}

std::vector<float> QuantizeGroups::LoadScales(const sage_tensor& scale) const { return LoadAll(scale, count_); }

void QuantizeGroups::StoreScales(const sage_tensor& scale, const std::vector<float>& scales) const {
  StoreAll(scale, scales);
}

std::vector<float> QuantizeGroups::LoadMeans(const sage_tensor& mean) const {
  return LoadAll(mean, sequences() * heads_ * dim_);
}

void QuantizeGroups::StoreMeans(const sage_tensor& mean, const std::vector<float>& means) const {
  StoreAll(mean, means);
}

}  // namespace sage
