// fake_arithmetic.cc: see the header.
#include "fake_arithmetic.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sage::cudnn::fake {
namespace {

// How far an operand moves for a step along each dimension of a shape that it broadcasts to.
std::vector<int64_t> StepsIn(const Values& operand) {
  std::vector<int64_t> steps(operand.dims.size());
  int64_t step = 1;
  for (size_t i = steps.size(); i-- > 0;) {
    steps[i] = operand.dims[i] == 1 ? 0 : step;
    step *= operand.dims[i];
  }
  return steps;
}

// Walks over lines of a shape, with the places of up to four operands.
template <class Line>
void ForEachLine(const std::vector<int64_t>& shape, const std::vector<std::vector<int64_t>>& steps, const Line& line) {
  const size_t rank = shape.size();
  std::vector<int64_t> index(rank, 0);
  std::vector<int64_t> places(steps.size(), 0);
  int64_t lines = 1;
  for (size_t i = 0; i + 1 < rank; ++i) lines *= shape[i];
  for (int64_t n = 0; n < lines; ++n) {
    line(index, places);
    for (size_t i = rank - 1; i-- > 0;) {
      for (size_t k = 0; k < steps.size(); ++k) places[k] += steps[k][i];
      if (++index[i] < shape[i]) break;
      for (size_t k = 0; k < steps.size(); ++k) places[k] -= steps[k][i] * shape[i];
      index[i] = 0;
    }
  }
}

template <class Function>
void Map(const Values& x, const Values* b, const Values* t, Values* y, const Function& function) {
  const Values& second = b != nullptr ? *b : x;
  const Values& third = t != nullptr ? *t : x;
  const std::vector<std::vector<int64_t>> steps{StepsIn(x), StepsIn(second), StepsIn(third)};
  const int64_t width = y->dims.back();
  const int64_t step_x = steps[0].back(), step_b = steps[1].back(), step_t = steps[2].back();
  double* out = y->data.data();
  ForEachLine(y->dims, steps, [&](const std::vector<int64_t>&, const std::vector<int64_t>& places) {
    const double* const line_x = x.data.data() + places[0];
    const double* const line_b = second.data.data() + places[1];
    const double* const line_t = third.data.data() + places[2];
    for (int64_t i = 0; i < width; ++i) out[i] = function(line_x[i * step_x], line_b[i * step_b], line_t[i * step_t]);
    out += width;
  });
}

double Larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

void Index(int64_t axis, Values* y) {
  const int64_t width = y->dims.back();
  const auto along = static_cast<size_t>(axis);
  double* out = y->data.data();
  ForEachLine(y->dims, {}, [&](const std::vector<int64_t>& index, const std::vector<int64_t>&) {
    for (int64_t i = 0; i < width; ++i) out[i] = static_cast<double>(along + 1 == y->dims.size() ? i : index[along]);
    out += width;
  });
}

}  // namespace

void Pointwise(int mode, int64_t axis, const Values& x, const Values* b, const Values* t, Values* y) {
  switch (mode) {
    case kAdd:
      return Map(x, b, t, y, [](double p, double q, double) { return p + q; });
    case kMultiply:
      return Map(x, b, t, y, [](double p, double q, double) { return p * q; });
    case kMaximum:
      return Map(x, b, t, y, [](double p, double q, double) { return Larger(p, q); });
    case kDivide:
      return Map(x, b, t, y, [](double p, double q, double) { return p / q; });
    case kSubtract:
      return Map(x, b, t, y, [](double p, double q, double) { return p - q; });
    case kExponential:
      return Map(x, b, t, y, [](double p, double, double) { return std::exp(p); });
    case kLogarithm:
      return Map(x, b, t, y, [](double p, double, double) { return std::log(p); });
    case kTanh:
      return Map(x, b, t, y, [](double p, double, double) { return std::tanh(p); });
    case kGreater:
      return Map(x, b, t, y, [](double p, double q, double) { return p > q ? 1.0 : 0.0; });
    case kGreaterEqual:
      return Map(x, b, t, y, [](double p, double q, double) { return p >= q ? 1.0 : 0.0; });
    case kLess:
      return Map(x, b, t, y, [](double p, double q, double) { return p < q ? 1.0 : 0.0; });
    case kAnd:
      return Map(x, b, t, y, [](double p, double q, double) { return p != 0 && q != 0 ? 1.0 : 0.0; });
    case kIndex:
      return Index(axis, y);
    default:  // kSelect
      return Map(x, b, t, y, [](double p, double q, double chosen) { return chosen != 0 ? p : q; });
  }
}

void Product(const Values& a, const Values& b, Values* c) {
  const size_t rank = c->dims.size();
  const int64_t m = c->dims[rank - 2], n = c->dims[rank - 1], depth = a.dims[rank - 1];
  std::fill(c->data.begin(), c->data.end(), 0.0);
  int64_t batches = 1;
  for (size_t i = 0; i + 2 < rank; ++i) batches *= c->dims[i];
  for (int64_t batch = 0; batch < batches; ++batch) {
    int64_t rest = batch, in_b = 0, step = 1;
    for (size_t i = rank - 2; i-- > 0;) {
      const int64_t shared_by = c->dims[i] / b.dims[i];
      in_b += rest % c->dims[i] / shared_by * step;
      rest /= c->dims[i], step *= b.dims[i];
    }
    const double* const rows = a.data.data() + batch * m * depth;
    const double* const columns = b.data.data() + in_b * depth * n;
    double* const sums = c->data.data() + batch * m * n;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t k = 0; k < depth; ++k) {
        const double factor = rows[i * depth + k];
        for (int64_t j = 0; j < n; ++j) sums[i * n + j] += factor * columns[k * n + j];
      }
  }
}

void Reduce(int reduction, const Values& x, Values* y) {
  const bool adds = reduction == kReduceAdd, of_magnitudes = reduction == kReduceLargestMagnitude;
  std::fill(y->data.begin(), y->data.end(), adds || of_magnitudes ? 0.0 : -std::numeric_limits<double>::infinity());
  const std::vector<int64_t> steps = StepsIn(*y);
  const int64_t width = x.dims.back(), step = steps.back();
  const double* in = x.data.data();
  ForEachLine(x.dims, {steps}, [&](const std::vector<int64_t>&, const std::vector<int64_t>& places) {
    double* const line = y->data.data() + places[0];
    for (int64_t i = 0; i < width; ++i) {
      double& kept = line[i * step];
      kept = adds ? kept + in[i] : Larger(kept, of_magnitudes ? std::fabs(in[i]) : in[i]);
    }
    in += width;
  });
}

Values Transposed(const Values& x) {
  std::vector<int64_t> dims = x.dims;
  std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
  Values y(dims);
  const int64_t rows = dims[dims.size() - 2], columns = dims.back();
  const int64_t planes = rows * columns == 0 ? 0 : static_cast<int64_t>(x.data.size()) / (rows * columns);
  for (int64_t plane = 0; plane < planes; ++plane) {
    const double* const from = x.data.data() + plane * rows * columns;
    double* const to = y.data.data() + plane * rows * columns;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) to[i * columns + j] = from[j * rows + i];
  }
  return y;
}

}  // namespace sage::cudnn::fake
