// lines_scalar.cc: the line kernels in portable C++ over the C library's functions, for use_simd = false and for
// machines without a vector path. Compiled without the compiler's own vectoriser: scalar means scalar.
#include <cmath>
#include <cstring>

#include "lines.h"
#include "numbers.h"

namespace sage::cpu {
namespace {

void Load(sage_dtype dtype, const void* from, int64_t n, double* to) {
  const int64_t size = dtype == SAGE_F64 ? 8 : dtype == SAGE_F32 ? 4 : 2;
  for (int64_t i = 0; i < n; ++i) to[i] = ReadFloat(dtype, static_cast<const char*>(from) + i * size);
}

void Store(sage_dtype dtype, const double* from, int64_t n, void* to) {
  const int64_t size = dtype == SAGE_F64 ? 8 : dtype == SAGE_F32 ? 4 : 2;
  for (int64_t i = 0; i < n; ++i) WriteFloat(dtype, static_cast<char*>(to) + i * size, from[i]);
}

double Sigmoid(double x) {
  const double e = std::exp(-std::fabs(x));
  return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

template <class Function>
void Map(double* x, int64_t n, Function function) {
  for (int64_t i = 0; i < n; ++i) x[i] = function(x[i]);
}

void Unary(uint32_t function, double alpha, double* x, int64_t n) {
  switch (function) {
    case SAGE_FN_RELU:
      return Map(x, n, [](double v) { return v < 0.0 ? 0.0 : v; });
    case SAGE_FN_GELU:
      return Map(x, n, [](double v) { return 0.5 * v * std::erfc(-v * 0.70710678118654752440); });
    case SAGE_FN_GELU_TANH:
      return Map(x, n, [](double v) { return v * Sigmoid(2.0 * 0.79788456080286535588 * (v + 0.044715 * v * v * v)); });
    case SAGE_FN_SILU:
      return Map(x, n, [](double v) { return v * Sigmoid(v); });
    case SAGE_FN_SIGMOID:
      return Map(x, n, [](double v) { return Sigmoid(v); });
    case SAGE_FN_TANH:
      return Map(x, n, [](double v) { return std::tanh(v); });
    case SAGE_FN_ELU:
      return Map(x, n, [alpha](double v) { return v > 0.0 ? v : alpha * std::expm1(v); });
    case SAGE_FN_EXP:
      return Map(x, n, [](double v) { return std::exp(v); });
    case SAGE_FN_LOG:
      return Map(x, n, [](double v) { return std::log(v); });
    case SAGE_FN_SQRT:
      return Map(x, n, [](double v) { return std::sqrt(v); });
    case SAGE_FN_ABS:
      return Map(x, n, [](double v) { return std::fabs(v); });
    case SAGE_FN_NEG:
      return Map(x, n, [](double v) { return -v; });
    default:  // identity
      return;
  }
}

void Binary(uint32_t function, const double* a, const double* b, double* y, int64_t n) {
  switch (function) {
    case SAGE_BINARY_ADD:
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
      return;
    case SAGE_BINARY_SUB:
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] - b[i];
      return;
    case SAGE_BINARY_MUL:
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] * b[i];
      return;
    case SAGE_BINARY_DIV:
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] / b[i];
      return;
    case SAGE_BINARY_MIN:
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] != a[i] || a[i] < b[i] ? a[i] : b[i];
      return;
    default:  // max
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] != a[i] || a[i] > b[i] ? a[i] : b[i];
      return;
  }
}

double Sum(const double* x, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

double SumSquares(const double* x, int64_t n, double about) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += (x[i] - about) * (x[i] - about);
  return sum;
}

double Extreme(const double* x, int64_t n, int32_t smallest) {
  double best = x[0];
  for (int64_t i = 1; i < n && best == best; ++i)
    if (x[i] != x[i] || (smallest != 0 ? x[i] < best : x[i] > best)) best = x[i];
  return best;
}

double ExpSum(double* x, int64_t n, double shift) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    x[i] = std::exp(x[i] - shift);
    sum += x[i];
  }
  return sum;
}

void Affine(double* x, int64_t n, double shift, double scale) {
  for (int64_t i = 0; i < n; ++i) x[i] = (x[i] - shift) * scale;
}

// The scalar path has no shortcut: all goes through doubles.
int32_t UnaryF32(uint32_t, const void*, void*, int64_t) { return 0; }
int32_t BinaryF32(uint32_t, const void*, int32_t, const void*, int32_t, void*, int64_t) { return 0; }

}  // namespace

extern const LineKernels kLinesScalar = {Load,    Store,  Unary,  Binary,   Sum,      SumSquares,
                                         Extreme, ExpSum, Affine, UnaryF32, BinaryF32};

}  // namespace sage::cpu
