// rows.cc: sums, lengths and products of rows in double. Compiled to be fast (CMakeLists.txt), and written so that the
// compiler may take several elements at a time without changing the order of any sum.
#include "sage/rows.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sage {
namespace {

// The sum of a group's slices, times `shrink`, to row; returns its largest magnitude.
double SumSlices(const double* slices, size_t heads, size_t d, double shrink, double* __restrict row) {
  for (size_t i = 0; i < d; ++i) row[i] = slices[i] * shrink;
  for (size_t h = 1; h < heads; ++h) {
    slices += d;
    for (size_t i = 0; i < d; ++i) row[i] += slices[i] * shrink;
  }
  double even = 0, odd = 0;  // a maximum has no order, and two do not wait for each other
  for (size_t i = 0; i + 1 < d; i += 2) {
    even = std::max(even, std::fabs(row[i]));
    odd = std::max(odd, std::fabs(row[i + 1]));
  }
  return std::max({even, odd, std::fabs(row[d - 1])});
}

void Scale(double* row, size_t d, double factor) {
  for (size_t i = 0; i < d; ++i) row[i] *= factor;
}

// The means over the slices of a group, L2-normalised, need the sum of squares in between. Scaled by a power of two
// first, so that no square overflows, and sums instead of means, since both factors go when the length is divided out.
void SumAndScale(const SageAttention& attention, const double* slices, double* row) {
  const auto heads = static_cast<size_t>(attention.query_heads / attention.kv_heads);
  const auto d = static_cast<size_t>(attention.head_dim);
  // The largest sum stays below 2^1024: embeddings are bounded by the tensor's dtype, so only f64 comes near it.
  const double shrink = attention.dtype == SAGE_F64 ? 1 / static_cast<double>(heads) : 1;
  const double largest = SumSlices(slices, heads, d, shrink, row);
  if (!(largest > 0)) {
    std::fill_n(row, d, 0.0);
    return;
  }
  // Below 2^-1022 the power of two has no double; the values are so few bits there that dividing them is as exact.
  const int exponent = std::clamp(-std::ilogb(largest), -1022, 1023);
  Scale(row, d, std::bit_cast<double>(static_cast<uint64_t>(1023 + exponent) << 52));  // 2^exponent
}

// A zero slice stays zero.
void Normalise(double* row, size_t d, double squares) { Scale(row, d, squares > 0 ? 1 / std::sqrt(squares) : 0); }

}  // namespace

// A sum of squares has one fixed order, so each addition waits for the one before: four rows go side by side.
void GroupSlices(const SageAttention& attention, std::span<const double> embedding, double* out, size_t stride) {
  const auto groups = static_cast<size_t>(attention.kv_heads), d = static_cast<size_t>(attention.head_dim);
  const size_t width = static_cast<size_t>(attention.query_heads / attention.kv_heads) * d;
  for (size_t g = 0; g < groups; ++g) SumAndScale(attention, &embedding[g * width], out + g * stride);
  size_t group = 0;
  for (; group + 4 <= groups; group += 4) {
    double* const row = out + group * stride;
    double a = 0, b = 0, c = 0, e = 0;
    for (size_t i = 0; i < d; ++i) {
      const double x = row[i], y = row[stride + i], z = row[2 * stride + i], w = row[3 * stride + i];
      a += x * x, b += y * y, c += z * z, e += w * w;
    }
    Normalise(row, d, a), Normalise(row + stride, d, b), Normalise(row + 2 * stride, d, c),
        Normalise(row + 3 * stride, d, e);
  }
  for (; group < groups; ++group) {
    double* const row = out + group * stride;
    double squares = 0;
    for (size_t i = 0; i < d; ++i) squares += row[i] * row[i];
    Normalise(row, d, squares);
  }
}

void AddScaled(double factor, std::span<const double> row, std::span<double> sum) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += factor * row[i];
}

}  // namespace sage
