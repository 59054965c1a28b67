// distance.cc: see the header.
#include "run/distance.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "plan/elements.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

// Calls visit(got, exact, index) for every element in row-major order.
template <class Visit>
void ForEachPair(const sage_tensor& got, const sage_tensor& exact, Visit visit) {
  const int64_t count = support::ElementCount(got);
  const int64_t got_size = support::DtypeSize(got.dtype), exact_size = support::DtypeSize(exact.dtype);
  const auto* a = static_cast<const unsigned char*>(got.data);
  const auto* b = static_cast<const unsigned char*>(exact.data);
  int64_t index[SAGE_MAX_RANK] = {}, at_got = 0, at_exact = 0;
  for (int64_t i = 0; i < count; ++i) {
    visit(LoadElement(a + at_got * got_size, got.dtype), LoadElement(b + at_exact * exact_size, exact.dtype), index);
    for (uint32_t axis = got.rank; axis-- > 0;) {
      at_got += got.stride[axis], at_exact += exact.stride[axis];
      if (++index[axis] < got.shape[axis]) break;
      at_got -= index[axis] * got.stride[axis], at_exact -= index[axis] * exact.stride[axis];
      index[axis] = 0;
    }
  }
}

// The power of two that brings `largest` near 1, where its square would overflow or vanish; else 1. Exact either way.
double ScaleFor(double largest) {
  if (largest == 0 || (largest > 1e-100 && largest < 1e100)) return 1;
  return std::ldexp(1.0, std::clamp(-std::ilogb(largest), -1000, 1000));
}

}  // namespace

Distance DistanceOf(const sage_tensor& got, const sage_tensor& exact) {
  Distance out;
  out.rank = got.rank;
  out.elements = support::ElementCount(got);
  ForEachPair(got, exact, [&](double x, double y, const int64_t*) {
    if (std::isfinite(x)) out.largest = std::max(out.largest, std::fabs(x));
    if (std::isfinite(y)) out.largest_exact = std::max(out.largest_exact, std::fabs(y));
  });
  const double scale = ScaleFor(std::max(out.largest, out.largest_exact));
  double dot = 0, norm_got = 0, norm_exact = 0, apart = 0, absolute = 0, squares = 0;
  int64_t summed = 0;
  ForEachPair(got, exact, [&](double x, double y, const int64_t* index) {
    if (!std::isfinite(x) || !std::isfinite(y)) {
      out.non_finite += x == y || (std::isnan(x) && std::isnan(y)) ? 0 : 1;
      return;
    }
    ++summed;
    const double difference = std::fabs(x - y);
    if (difference > out.max_abs_error) {
      out.max_abs_error = difference;
      std::copy(index, index + SAGE_MAX_RANK, out.worst);
    }
    const double p = x * scale, e = y * scale, d = p - e;
    dot += p * e, norm_got += p * p, norm_exact += e * e;
    apart += std::fabs(d), absolute += std::fabs(e), squares += d * d;
  });
  // Two finite numbers may be further apart than the largest double.
  out.max_abs_error = std::min(out.max_abs_error, std::numeric_limits<double>::max());
  if (summed == 0) return out;
  if (norm_got > 0 && norm_exact > 0) {
    out.cosine = std::clamp(dot / (std::sqrt(norm_got) * std::sqrt(norm_exact)), -1.0, 1.0);
  } else {
    out.cosine = norm_got == norm_exact ? 1 : 0;
  }
  // What rounds in the quotient is no difference.
  if (apart == 0) out.cosine = 1;
  out.rel_l1 = apart == 0 ? 0 : absolute > 0 ? apart / absolute : std::numeric_limits<double>::infinity();
  out.rmse = std::min(std::sqrt(squares / static_cast<double>(summed)) / scale, std::numeric_limits<double>::max());
  return out;
}

}  // namespace sage
