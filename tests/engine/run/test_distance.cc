// test_distance.cc: the numbers of an accuracy report on vectors small enough to be worked out by hand.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "plan/elements.h"
#include "run/distance.h"
#include "sage/support/check_op.h"

using namespace sage;

namespace {

struct Values {
  std::vector<unsigned char> bytes;
  sage_tensor tensor{};
  Values(std::vector<double> values, sage_dtype dtype, std::vector<int64_t> shape = {}) {
    if (shape.empty()) shape = {static_cast<int64_t>(values.size())};
    const uint32_t size = support::DtypeSize(dtype);
    bytes.resize(values.size() * size + 1);
    for (size_t i = 0; i < values.size(); ++i) StoreElement(bytes.data() + i * size, dtype, values[i]);
    sage_tensor_init(&tensor, dtype, static_cast<uint32_t>(shape.size()), shape.data(), bytes.data());
  }
};

Distance Between(std::vector<double> got, std::vector<double> exact, sage_dtype dtype = SAGE_F64) {
  return DistanceOf(Values(std::move(got), dtype).tensor, Values(std::move(exact), dtype).tensor);
}

constexpr double kHuge = std::numeric_limits<double>::max(), kTiny = std::numeric_limits<double>::denorm_min();

}  // namespace

TEST_CASE("R5 distance: every number by hand") {
  const Distance d = Between({3, 5, -1, 0}, {3, 4, -2, 1});
  CHECK(d.elements == 4);
  CHECK(d.cosine == doctest::Approx(31 / (std::sqrt(35.0) * std::sqrt(30.0))).epsilon(1e-15));
  CHECK(d.rel_l1 == doctest::Approx(3.0 / 10).epsilon(1e-15));
  CHECK(d.rmse == doctest::Approx(std::sqrt(3.0 / 4)).epsilon(1e-15));
  CHECK(d.max_abs_error == 1);
  CHECK(d.worst[0] == 1);  // the first of equals
  CHECK(d.largest == 5);
  CHECK(d.largest_exact == 4);
  CHECK(d.non_finite == 0);
  CHECK(Between({1, 0}, {0, 1}).cosine == 0);
  CHECK(Between({1, -2}, {-1, 2}).cosine == doctest::Approx(-1));
}

TEST_CASE("R5 distance: nothing, zeros and equals are what they are called") {
  const Distance none = Between({}, {});
  CHECK(none.elements == 0);
  CHECK(none.cosine == 1);
  CHECK(none.rel_l1 == 0);
  CHECK(none.rmse == 0);
  const Distance zeros = Between({0, -0.0}, {0, 0});
  CHECK(zeros.cosine == 1);
  CHECK(zeros.rel_l1 == 0);
  CHECK(zeros.max_abs_error == 0);
  const Distance lost = Between({0, 0}, {3, 4});
  CHECK(lost.cosine == 0);
  CHECK(lost.rel_l1 == 1);
  const Distance made_up = Between({3, 4}, {0, 0});
  CHECK(made_up.cosine == 0);
  CHECK(std::isinf(made_up.rel_l1));
  CHECK(made_up.rmse == doctest::Approx(std::sqrt(12.5)));
  const Distance equal = Between({0.1, 0.2, 0.3}, {0.1, 0.2, 0.3});
  CHECK(equal.cosine == 1);
  CHECK(equal.rel_l1 == 0);
}

TEST_CASE("R5 distance: NaN and infinities agree with their like and are counted against everything else") {
  const Distance same = Between({NAN, INFINITY, -INFINITY, 2}, {-NAN, INFINITY, -INFINITY, 1});
  CHECK(same.non_finite == 0);
  CHECK(same.max_abs_error == 1);
  CHECK(same.rel_l1 == 1);
  CHECK(same.rmse == 1);  // of the one pair there is
  CHECK(same.largest == 2);
  const Distance other = Between({NAN, 1, INFINITY, 7, -INFINITY}, {1, NAN, -INFINITY, 7, 3});
  CHECK(other.non_finite == 4);
  CHECK(other.max_abs_error == 0);
  CHECK(other.cosine == 1);
  const Distance all = Between({NAN, NAN}, {1, 2});
  CHECK(all.non_finite == 2);
  CHECK(std::isfinite(all.cosine));
  CHECK(std::isfinite(all.rmse));
}

TEST_CASE("R5 distance: the ends of double's range neither overflow nor vanish") {
  for (const double unit : {kHuge / 4, 1e300, 1e-300, kTiny * 1024}) {
    const Distance d = Between({3 * unit, 4 * unit}, {4 * unit, 3 * unit});
    CAPTURE(unit);
    CHECK(d.cosine == doctest::Approx(24.0 / 25));
    CHECK(d.rel_l1 == doctest::Approx(2.0 / 7));
    CHECK(d.rmse / unit == doctest::Approx(1));
    CHECK(d.max_abs_error / unit == doctest::Approx(1));
  }
  const Distance far = Between({kHuge}, {-kHuge});
  CHECK(far.cosine == doctest::Approx(-1));
  CHECK(far.rel_l1 == 2);
  CHECK(far.max_abs_error == kHuge);  // twice that is no double
  CHECK(std::isfinite(far.rmse));
}

TEST_CASE("R5 distance: strides and dtypes are free and the place of the worst is an index") {
  const Values got({0, 1, 2, 3, 4, 5}, SAGE_BF16, {2, 3});
  Values exact({0, 3, 1, 4, 2, 5.5}, SAGE_F64, {2, 3});  // transposed in memory
  exact.tensor.stride[0] = 1, exact.tensor.stride[1] = 2;
  const Distance d = DistanceOf(got.tensor, exact.tensor);
  CHECK(d.max_abs_error == 0.5);
  CHECK(d.worst[0] == 1);
  CHECK(d.worst[1] == 2);
  Values once({2}, SAGE_F32, {1});
  once.tensor.shape[0] = 4, once.tensor.stride[0] = 0;
  CHECK(DistanceOf(Values({2, 2, 2, 2}, SAGE_I8).tensor, once.tensor).rel_l1 == 0);
  CHECK(Between({1, 2, 3}, {1, 2, 4}, SAGE_F8_E4M3FN).max_abs_error == 1);  // by value, not by code
}
