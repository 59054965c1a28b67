// linear_epilogue.cc: see linear_epilogue.h.
#include "linear_epilogue.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/numbers.h"

namespace sage::int8 {
namespace {

// Nearest even; saturates, a NaN becomes 0.
int32_t ToInt32(double value) {
  if (std::isnan(value)) return 0;
  constexpr double kLeast = std::numeric_limits<int32_t>::min(), kMost = std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(std::clamp(std::nearbyint(value), kLeast, kMost));
}

}  // namespace

LinearEpilogue::LinearEpilogue(const cpu::LineKernels& lines, const sage_tensor* bias, uint32_t activation,
                               const sage_tensor& y)
    : lines_(lines),
      bias_(bias),
      activation_(activation),
      y_(cpu::MutableBytesOf(y)),
      dtype_(y.dtype),
      step_(y.stride[y.rank - 1]),
      size_(cpu::SizeOf(y.dtype)) {
  for (uint32_t i = 0; i + 1 < y.rank; ++i) rows_.Append(y.shape[i], {y.stride[i]});
  wide_ = dtype_ == SAGE_F64 || dtype_ == SAGE_I32 || (bias != nullptr && bias->dtype == SAGE_F64);
  direct_ = dtype_ == SAGE_F32 && step_ == 1 && (activation == SAGE_FN_IDENTITY || activation == SAGE_FN_RELU);
}

void LinearEpilogue::Begin(int64_t first, int64_t count, Columns* columns) const {
  columns->first = first, columns->count = count;
  std::fill_n(columns->wide_bias, count, 0.0);
  if (bias_ != nullptr) {
    const int64_t step = bias_->stride[0];
    const char* const from = cpu::BytesOf(*bias_) + first * step * cpu::SizeOf(bias_->dtype);
    cpu::LoadLine(lines_, bias_->dtype, from, step, count, columns->wide_bias);
  }
  for (int64_t i = 0; i < count; ++i) columns->bias[i] = static_cast<float>(columns->wide_bias[i]);
  std::fill(columns->bias + count, columns->bias + kLinearColumns, 0.0f);
  std::fill_n(columns->scale, kLinearColumns, 0.0f);
}

void LinearEpilogue::StoreFloats(int64_t row, float* line, const Columns& columns) const {
  const int64_t count = columns.count;
  char* const to = At(row, columns);
  if (!direct_) {
    alignas(64) double piece[kLinearColumns];
    lines_.load(SAGE_F32, line, count, piece);
    return Store(piece, count, to);
  }
  if (activation_ == SAGE_FN_RELU)
    for (int64_t i = 0; i < count; ++i) line[i] = line[i] <= 0 ? 0.0f : line[i];  // keeps NaN
  std::memcpy(to, line, static_cast<size_t>(count) * sizeof(float));
}

void LinearEpilogue::StoreSums(int64_t row, const int32_t* sums, float scale, const Columns& columns) const {
  const int64_t count = columns.count;
  alignas(64) double piece[kLinearColumns];
  for (int64_t i = 0; i < count; ++i)
    piece[i] = static_cast<double>(sums[i]) * static_cast<double>(scale) * static_cast<double>(columns.scale[i]);
  if (bias_ != nullptr)
    for (int64_t i = 0; i < count; ++i) piece[i] += columns.wide_bias[i];
  Store(piece, count, At(row, columns));
}

void LinearEpilogue::Store(double* piece, int64_t count, char* to) const {
  lines_.unary(activation_, 0.0, piece, count);
  if (dtype_ != SAGE_I32) return cpu::StoreLine(lines_, dtype_, piece, count, to, step_);
  for (int64_t i = 0; i < count; ++i) cpu::WriteAs(to + i * step_ * size_, ToInt32(piece[i]));
}

}  // namespace sage::int8
