// quantize.cc: first all that a group reaches, and all that is wrong with the values, so that an error leaves the
// caller's memory alone; then codes.
#include "quantize/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "quantize/groups.h"

namespace sage {
namespace {

// For messages: the sign of NaN says nothing.
template <class T>
T Plain(T value) {
  return std::isnan(value) ? std::fabs(value) : value;
}

double RangeOf(sage_dtype codes) { return codes == SAGE_I8 ? 127 : 32767; }

// Without a branch for each value.
bool AllFinite(std::span<const double> values) {
  constexpr uint64_t kExponent = uint64_t{0x7ff} << 52;
  bool finite = true;
  for (const double value : values) finite &= (std::bit_cast<uint64_t>(value) & kExponent) != kExponent;
  return finite;
}

// What codes of a row come to.
struct Sums {
  uint64_t saturated = 0;
  double max_abs_error = 0, squares = 0;
};

// kStep: 1 where each channel has a scale of its own, else 0. The addend has no digits behind the point, so that the
// sum is rounded to nearest, ties to even; |steps| <= 32767 then.
template <int kStep>
void Encode(std::span<const double> values, const float* scale, double range, std::span<double> codes, Sums* sums) {
  constexpr double kRound = 0x1.8p52;
  Sums own = *sums;  // apart from the codes, which are doubles too
  for (size_t c = 0; c < values.size(); ++c) {
    const auto step = static_cast<double>(scale[kStep * c]);
    const double steps = values[c] / step;
    codes[c] = std::clamp(steps, -range, range) + kRound - kRound;
    own.saturated += std::fabs(steps) >= range + 0.5 ? 1 : 0;
    const double error = std::fabs(codes[c] * step - values[c]);
    own.max_abs_error = std::max(own.max_abs_error, error);
    own.squares += error * error;
  }
  *sums = own;
}

// Rows of x, one after the other, less their mean where there is one.
class Rows {
 public:
  Rows(const QuantizeGroups& groups, const sage_tensor& x)
      : groups_(groups), x_(x), values_(static_cast<size_t>(groups.dim())) {}

  // Fails at NaN and Inf.
  Result<std::span<const double>> Load(int64_t row, const std::vector<float>& means = {}) {
    groups_.LoadRow(x_, row, values_);
    if (!AllFinite(values_)) return Refuse(row);
    if (!means.empty()) {
      const float* mean = means.data() + groups_.MeanOf(row) * groups_.dim();
      for (size_t c = 0; c < values_.size(); ++c) values_[c] -= static_cast<double>(mean[c]);
    }
    return std::span<const double>(values_);
  }

 private:
  Status Refuse(int64_t row) const {
    size_t c = 0;
    while (c + 1 < values_.size() && std::isfinite(values_[c])) ++c;
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("x{} is {}: only finite values have codes",
                                                       groups_.Place(row, static_cast<int64_t>(c)), Plain(values_[c])));
  }
  const QuantizeGroups& groups_;
  const sage_tensor& x_;
  std::vector<double> values_;
};

// Of every sequence, head and channel, summed in f64.
Result<std::vector<float>> MeansOf(const QuantizeGroups& groups, const sage_tensor& x) {
  std::vector<double> sums(static_cast<size_t>(groups.sequences() * groups.heads() * groups.dim()));
  Rows rows(groups, x);
  for (int64_t row = 0; row < groups.rows(); ++row) {
    SAGE_ASSIGN_OR_RETURN(const std::span<const double> values, rows.Load(row));
    double* sum = sums.data() + groups.MeanOf(row) * groups.dim();
    for (size_t c = 0; c < values.size(); ++c) sum[c] += values[c];
  }
  std::vector<float> means(sums.size());
  const auto dim = static_cast<size_t>(groups.dim()), each = static_cast<size_t>(groups.heads()) * dim;
  for (size_t i = 0; i < means.size(); ++i) {
    const int64_t tokens = groups.TokensOf(static_cast<int64_t>(i / each));
    means[i] = static_cast<float>(sums[i] / static_cast<double>(std::max<int64_t>(tokens, 1)));
    if (!std::isfinite(means[i]))
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("the mean of x over sequence {} is beyond f32 in head {}, channel {}", i / each,
                                i % each / dim, i % dim));
  }
  return means;
}

Result<std::vector<float>> AbsmaxScales(const QuantizeGroups& groups, const QuantizeCall& call,
                                        const std::vector<float>& means, uint64_t* zero_groups) {
  std::vector<double> largest(static_cast<size_t>(groups.count()));
  Rows rows(groups, *call.x);
  for (int64_t row = 0; row < groups.rows(); ++row) {
    SAGE_ASSIGN_OR_RETURN(const std::span<const double> values, rows.Load(row, means));
    double* reach = largest.data() + groups.ScaleOf(row);
    for (size_t c = 0; c < values.size(); ++c) {
      double& mine = reach[groups.per_channel() ? c : 0];
      mine = std::max(mine, std::fabs(values[c]));
    }
  }
  const double range = RangeOf(call.codes->dtype);
  std::vector<float> scales(largest.size(), 1.0f);
  for (size_t i = 0; i < scales.size(); ++i) {
    if (largest[i] == 0) {
      ++*zero_groups;
      continue;
    }
    auto scale = static_cast<float>(largest[i] / range);
    if (!std::isfinite(scale))
      return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("x reaches {}: its scale is beyond f32", largest[i]));
    // Denormal floats lie far apart: one below the quotient would not reach the largest value, 0 reaches none.
    if (static_cast<double>(scale) * (range + 0.5) <= largest[i])
      scale = std::nextafter(scale, std::numeric_limits<float>::max());
    scales[i] = scale;
  }
  return scales;
}

// Not looked at where nothing is to be scaled: any number of them may belong to no element.
Result<std::vector<float>> GivenScales(const QuantizeGroups& groups, const sage_tensor& scale) {
  if (groups.rows() == 0) return std::vector<float>();
  std::vector<float> scales = groups.LoadScales(scale);
  for (size_t i = 0; i < scales.size(); ++i)
    if (!std::isfinite(scales[i]) || scales[i] <= 0)
      return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("scale {} of {} is {}; finite ones above 0 are expected", i,
                                                         scales.size(), Plain(scales[i])));
  return scales;
}

Result<std::vector<float>> GivenMeans(const QuantizeGroups& groups, const sage_tensor* mean) {
  if (mean == nullptr || groups.rows() == 0) return std::vector<float>();
  std::vector<float> means = groups.LoadMeans(*mean);
  for (size_t i = 0; i < means.size(); ++i)
    if (!std::isfinite(means[i]))
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("mean {} of {} is {}; finite ones are expected", i, means.size(), Plain(means[i])));
  return means;
}

}  // namespace

Status Quantize(const QuantizeCall& call, sage_quantize_report* report) {
  if ((call.flags & ~SAGE_QUANTIZE_GIVEN_SCALES) != 0)
    return Status(SAGE_E_UNKNOWN_FIELD, fmt::format("flags {:#x} are newer than this library", call.flags));
  const bool given = (call.flags & SAGE_QUANTIZE_GIVEN_SCALES) != 0;
  SAGE_ASSIGN_OR_RETURN(const QuantizeGroups groups, QuantizeGroups::Create(call, *call.x, *call.codes));
  sage_quantize_report told{};
  std::vector<float> means, scales;
  if (call.mean != nullptr) {
    SAGE_ASSIGN_OR_RETURN(means, MeansOf(groups, *call.x));
  }
  if (given) {
    SAGE_ASSIGN_OR_RETURN(scales, GivenScales(groups, *call.scale));
    if (means.empty()) {  // else all values were looked at
      Rows rows(groups, *call.x);
      for (int64_t row = 0; row < groups.rows(); ++row) SAGE_RETURN_IF_ERROR(rows.Load(row).status());
    }
  } else {
    SAGE_ASSIGN_OR_RETURN(scales, AbsmaxScales(groups, call, means, &told.zero_groups));
  }

  const double range = RangeOf(call.codes->dtype);
  Sums sums;
  Rows rows(groups, *call.x);
  std::vector<double> codes(static_cast<size_t>(groups.dim()));
  for (int64_t row = 0; row < groups.rows(); ++row) {
    SAGE_ASSIGN_OR_RETURN(const std::span<const double> values, rows.Load(row, means));
    const float* scale = scales.data() + groups.ScaleOf(row);
    if (groups.per_channel())
      Encode<1>(values, scale, range, codes, &sums);
    else
      Encode<0>(values, scale, range, codes, &sums);
    groups.StoreRow(*call.codes, row, codes);
  }
  if (!given) groups.StoreScales(*call.scale, scales);
  if (call.mean != nullptr) groups.StoreMeans(*call.mean, means);

  told.elements = static_cast<uint64_t>(groups.rows() * groups.dim());
  told.code_bytes = told.elements * (call.codes->dtype == SAGE_I8 ? 1 : 2);
  told.scale_bytes = 4 * (static_cast<uint64_t>(groups.count()) + means.size());
  // Absmax scales reach every value: what lies half a step beyond by rounding is no loss.
  told.saturated = given ? sums.saturated : 0;
  told.max_abs_error = sums.max_abs_error;
  told.rms_error = told.elements == 0 ? 0 : std::sqrt(sums.squares / static_cast<double>(told.elements));
  *report = told;
  return {};
}

Status Dequantize(const QuantizeCall& call) {
  SAGE_ASSIGN_OR_RETURN(const QuantizeGroups groups, QuantizeGroups::Create(call, *call.codes, *call.x));
  SAGE_ASSIGN_OR_RETURN(const std::vector<float> scales, GivenScales(groups, *call.scale));
  SAGE_ASSIGN_OR_RETURN(const std::vector<float> means, GivenMeans(groups, call.mean));
  std::vector<double> values(static_cast<size_t>(groups.dim()));
  for (int64_t row = 0; row < groups.rows(); ++row) {
    groups.LoadRow(*call.codes, row, values);
    const float* scale = scales.data() + groups.ScaleOf(row);
    const float* mean = means.empty() ? nullptr : means.data() + groups.MeanOf(row) * groups.dim();
    for (size_t c = 0; c < values.size(); ++c)
      values[c] = values[c] * static_cast<double>(scale[groups.per_channel() ? c : 0]) +
                  (mean == nullptr ? 0 : static_cast<double>(mean[c]));
    groups.StoreRow(*call.x, row, values);
  }
  return {};
}

}  // namespace sage
