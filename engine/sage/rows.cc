// rows.cc: sums, lengths and products of rows in double. Compiled to be fast (CMakeLists.txt), and written so that the
// compiler may take several elements at a time without changing the order of any sum.
#include "sage/rows.h"

#include <algorithm>
#include <cmath>

namespace sage {
namespace {

// The sum of a group's slices, times `shrink`.
void SumSlices(const double* slices, size_t heads, size_t d, double shrink, double* __restrict row) {
  for (size_t i = 0; i < d; ++i) row[i] = slices[i] * shrink;
  for (size_t h = 1; h < heads; ++h) {
    slices += d;
    for (size_t i = 0; i < d; ++i) row[i] += slices[i] * shrink;
  }
}

void Scale(double* row, size_t d, double factor) {
  for (size_t i = 0; i < d; ++i) row[i] *= factor;
}

// For any finite row: scaled by a power of two first, so that no square overflows or vanishes. A zero row stays zero.
void NormaliseAny(double* row, size_t d) {
  double largest = 0, squares = 0;
  for (size_t i = 0; i < d; ++i) largest = std::max(largest, std::fabs(row[i]));
  if (!(largest > 0)) {
    std::fill_n(row, d, 0.0);
    return;
  }
  // Below 2^-1022 the power of two has no double; the values are so few bits there that dividing them is as exact.
  const int exponent = std::clamp(-std::ilogb(largest), -1022, 1023);
  Scale(row, d, std::ldexp(1, exponent));
  for (size_t i = 0; i < d; ++i) squares += row[i] * row[i];
  Scale(row, d, 1 / std::sqrt(squares));
}

// Where the sum of squares is moderate no power of two is needed, and none would change a bit: it would cancel. (Not so
// of doubles from outside, which may be so small that they have few bits: those of an f64 model take the long way.)
void Normalise(double* row, size_t d, double squares, sage_dtype dtype) {
  if (dtype != SAGE_F64 && squares >= 0x1p-200 && squares <= 0x1p200) return Scale(row, d, 1 / std::sqrt(squares));
  NormaliseAny(row, d);
}

}  // namespace

// Sums instead of means, since the length is divided out. A sum of squares has one fixed order, so each addition waits
// for the one before: four rows go side by side.
void GroupSlices(const SageAttention& attention, std::span<const double> embedding, double* out, size_t stride) {
  const auto groups = static_cast<size_t>(attention.kv_heads), d = static_cast<size_t>(attention.head_dim);
  const auto heads = static_cast<size_t>(attention.query_heads / attention.kv_heads);
  // The largest sum stays below 2^1024: embeddings are bounded by the tensor's dtype, so only f64 comes near it.
  const double shrink = attention.dtype == SAGE_F64 ? 1 / static_cast<double>(heads) : 1;
  for (size_t g = 0; g < groups; ++g) SumSlices(&embedding[g * heads * d], heads, d, shrink, out + g * stride);
  size_t group = 0;
  for (; group + 4 <= groups; group += 4) {
    double* const row = out + group * stride;
    double a = 0, b = 0, c = 0, e = 0;
    for (size_t i = 0; i < d; ++i) {
      const double x = row[i], y = row[stride + i], z = row[2 * stride + i], w = row[3 * stride + i];
      a += x * x, b += y * y, c += z * z, e += w * w;
    }
    const double squares[] = {a, b, c, e};
    for (size_t k = 0; k < 4; ++k) Normalise(row + k * stride, d, squares[k], attention.dtype);
  }
  for (; group < groups; ++group) {
    double* const row = out + group * stride;
    double squares = 0;
    for (size_t i = 0; i < d; ++i) squares += row[i] * row[i];
    Normalise(row, d, squares, attention.dtype);
  }
}

void AddScaled(double factor, std::span<const double> row, std::span<double> sum) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += factor * row[i];
}

}  // namespace sage
