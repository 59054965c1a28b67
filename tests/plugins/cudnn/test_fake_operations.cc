// test_fake_operations.cc: the operations of the fake cuDNN one at a time, against values worked out by hand, and what
// they touch of memory and what not.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "fake_cudnn.h"
#include "fake_graph.h"
#include "graph_testing.h"
#include "small_array.h"

namespace sage::cudnn::fake {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
using Floats = std::vector<float>;

// y of one pointwise operation over two rows of three: x, and b for each row.
Floats OfMode(int mode, Floats x, Floats b) {
  Graphs g(Begin());
  Floats y(6, -99);
  const bool has_b = !b.empty();
  g.Pointwise(mode, g.Tensor(1, kFloat, {1, 1, 2, 3}), has_b ? g.Tensor(2, kFloat, {1, 1, 2, 1}) : nullptr,
              g.Tensor(3, kFloat, {1, 1, 2, 3}));
  std::vector<std::pair<int64_t, void*>> bound{{1, x.data()}, {3, y.data()}};
  if (has_b) bound.emplace_back(2, b.data());
  CHECK_MESSAGE(g.Run(bound) == kSuccess, g.text());
  CHECK(The().Faults() == "");
  return y;
}

// Whether x is mode b, of int32, as a boolean tensor in memory.
std::vector<uint8_t> Truth(int mode, std::vector<int32_t> x, int32_t b) {
  Graphs g(Begin());
  std::vector<uint8_t> y(x.size(), 9);
  const auto count = static_cast<int64_t>(x.size());
  g.Pointwise(mode, g.Tensor(1, kInt32, {1, 1, 1, count}), g.Scalar(2, kInt32),
              g.Tensor(3, kBoolean, {1, 1, 1, count}));
  CHECK_MESSAGE(g.Run({{1, x.data()}, {2, &b}, {3, y.data()}}) == kSuccess, g.text());
  return y;
}

}  // namespace

TEST_CASE("fake cudnn: every pointwise mode by hand") {
  const Floats x{1, 2, 3, 4, 5, 6}, b{2, 4};
  CHECK(OfMode(kAdd, x, b) == Floats{3, 4, 5, 8, 9, 10});
  CHECK(OfMode(kSubtract, x, b) == Floats{-1, 0, 1, 0, 1, 2});
  CHECK(OfMode(kMultiply, x, b) == Floats{2, 4, 6, 16, 20, 24});
  CHECK(OfMode(kDivide, x, b) == Floats{0.5, 1, 1.5, 1, 1.25, 1.5});
  CHECK(OfMode(kMaximum, x, b) == Floats{2, 2, 3, 4, 5, 6});
  CHECK(std::isnan(OfMode(kMaximum, {kNan, 0, 0, 0, 0, 0}, b)[0]));
  CHECK(OfMode(kExponential, {0, 1, -kInfinity, 2, 3, kInfinity}, {}) ==
        Floats{1, std::exp(1.0f), 0, std::exp(2.0f), std::exp(3.0f), kInfinity});
  CHECK(OfMode(kLogarithm, {1, 0, kInfinity, 1, 1, 1}, {}) == Floats{0, -kInfinity, kInfinity, 0, 0, 0});
  CHECK(OfMode(kTanh, {0, 100, -100, 0, 0, 0}, {}) == Floats{0, 1, -1, 0, 0, 0});
  CHECK(Truth(kLess, {1, 2, 3}, 2) == std::vector<uint8_t>{1, 0, 0});
  CHECK(Truth(kGreater, {1, 2, 3}, 2) == std::vector<uint8_t>{0, 0, 1});
  CHECK(Truth(kGreaterEqual, {1, 2, 3}, 2) == std::vector<uint8_t>{0, 1, 1});
}

TEST_CASE("fake cudnn: the largest magnitude, and 8 bits up to their largest number by hand") {
  Graphs g(Begin());
  Floats x{1, -700, 3, 0.07f, -5, kInfinity}, largest(2, -99);
  std::vector<uint8_t> small(6, 9), range(6, 9);
  void* const in = g.Tensor(1, kFloat, {1, 1, 2, 3});
  g.Reduce(kReduceLargestMagnitude, in, g.Tensor(2, kFloat, {1, 1, 2, 1}));
  g.Pointwise(kMultiply, in, g.Scalar(3, kFloat), g.Tensor(4, kFp8E4M3, {1, 1, 2, 3}));
  g.Pointwise(kMultiply, in, g.Scalar(3, kFloat), g.Tensor(5, kFp8E5M2, {1, 1, 2, 3}));
  float one = 1;
  CHECK_MESSAGE(
      g.Run({{1, x.data()}, {2, largest.data()}, {3, &one}, {4, small.data()}, {5, range.data()}}) == kSuccess,
      g.text());
  CHECK(largest == Floats{700, kInfinity});
  // 1, -448, 3, 0.0703125, -5, 448 and 1, -640, 3, 0.0625, -5, 57344.
  CHECK(small == std::vector<uint8_t>{0x38, 0xfe, 0x44, 0x19, 0xca, 0x7e});
  CHECK(range == std::vector<uint8_t>{0x3c, 0xe1, 0x42, 0x2c, 0xc5, 0x7b});
}

TEST_CASE("fake cudnn: index and and select by hand") {
  Graphs g(Begin());
  const Dims dims{1, 2, 2, 3};
  Floats x{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, y(12);
  float other = -1;
  int32_t row = 1, column = 2;
  std::vector<int32_t> heads(12);
  const Descriptor rows = g.Virtual(kInt32, dims), columns = g.Virtual(kInt32, dims);
  const Descriptor low = g.Virtual(kBoolean, dims), left = g.Virtual(kBoolean, dims), both = g.Virtual(kBoolean, dims);
  const Descriptor in = g.Tensor(1, kFloat, dims);
  g.Pointwise(kIndex, in, nullptr, rows, nullptr, 2);
  g.Pointwise(kIndex, in, nullptr, columns, nullptr, 3);
  g.Pointwise(kIndex, in, nullptr, g.Tensor(6, kInt32, dims), nullptr, 1);
  g.Pointwise(kLess, rows, g.Scalar(2, kInt32), low);
  g.Pointwise(kLess, columns, g.Scalar(3, kInt32), left);
  g.Pointwise(kAnd, low, left, both);
  g.Pointwise(kSelect, in, g.Scalar(4, kFloat), g.Tensor(5, kFloat, dims), both);
  REQUIRE_MESSAGE(
      g.Run({{1, x.data()}, {2, &row}, {3, &column}, {4, &other}, {5, y.data()}, {6, heads.data()}}) == kSuccess,
      g.text());
  CHECK(y == Floats{0, 1, -1, -1, -1, -1, 6, 7, -1, -1, -1, -1});
  CHECK(heads == std::vector<int32_t>{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1});
}

TEST_CASE("fake cudnn: strides are those of the descriptor and nothing between them is touched") {
  Graphs g(Begin());
  // X by columns, with a hole behind each; Y with a stride of 2 along the rows' elements.
  Floats x{1, 4, 99, 2, 5, 99, 3, 6}, y(11, -7);
  float two = 2;
  const Descriptor sum = g.Virtual(kFloat, {1, 1, 2, 3});
  g.Pointwise(kAdd, g.Tensor(1, kFloat, {1, 1, 2, 3}, {8, 8, 1, 3}), g.Scalar(2, kFloat), sum);
  g.Pointwise(kMultiply, sum, g.Scalar(3, kFloat), g.Tensor(4, kFloat, {1, 1, 2, 3}, {11, 11, 6, 2}));
  REQUIRE(g.Run({{1, x.data()}, {2, &two}, {3, &two}, {4, y.data()}}) == kSuccess);
  CHECK(y == Floats{6, -7, 8, -7, 10, -7, 12, -7, 14, -7, 16});
}

TEST_CASE("fake cudnn: what is virtual is rounded to its type as well") {
  Graphs g(Begin());
  Floats x{1.00390625f, 3}, y(2), z(2);  // 1 + 2^-8 is half way between two bf16
  float zero = 0;
  const Descriptor in = g.Tensor(1, kFloat, {1, 1, 1, 2}), none = g.Scalar(2, kFloat);
  const Descriptor narrow = g.Virtual(kBFloat16, {1, 1, 1, 2}), wide = g.Virtual(kFloat, {1, 1, 1, 2});
  g.Pointwise(kAdd, in, none, narrow);
  g.Pointwise(kAdd, in, none, wide);
  g.Pointwise(kAdd, narrow, none, g.Tensor(3, kFloat, {1, 1, 1, 2}));
  g.Pointwise(kAdd, wide, none, g.Tensor(4, kFloat, {1, 1, 1, 2}));
  REQUIRE(g.Run({{1, x.data()}, {2, &zero}, {3, y.data()}, {4, z.data()}}) == kSuccess);
  CHECK(y == Floats{1, 3});
  CHECK(z == x);
}

TEST_CASE("fake cudnn: reductions by hand") {
  Graphs g(Begin());
  Floats x{1, 5, 3, -kInfinity, -2, -9, kNan, 0, 1, 2, 4, 8}, largest(4), sums(4), all(1);
  const Descriptor in = g.Tensor(1, kFloat, {1, 2, 2, 3});
  g.Reduce(kReduceMaximum, in, g.Tensor(2, kFloat, {1, 2, 2, 1}));
  g.Reduce(kReduceAdd, in, g.Tensor(3, kFloat, {1, 2, 2, 1}));
  g.Reduce(kReduceMaximum, g.Tensor(4, kFloat, {1, 1, 2, 3}), g.Tensor(5, kFloat, {1, 1, 1, 1}));
  REQUIRE(g.Run({{1, x.data()}, {2, largest.data()}, {3, sums.data()}, {4, x.data()}, {5, all.data()}}) == kSuccess);
  CHECK(largest[0] == 5);
  CHECK(largest[1] == -2);
  CHECK(std::isnan(largest[2]));
  CHECK(largest[3] == 8);
  CHECK(sums[0] == 9);
  CHECK(sums[1] == -kInfinity);
  CHECK(std::isnan(sums[2]));
  CHECK(sums[3] == 14);
  CHECK(all[0] == 5);
}

TEST_CASE("fake cudnn: a head of B serves its neighbours among A's heads") {
  Graphs g(Begin());
  // Two batches, four heads of 1 x 2 by two heads of 2 x 1.
  Floats a{1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 2, 2, 3, 3, 4, 4}, b{1, 10, 2, 20, 3, 30, 4, 40}, c(8);
  g.Matmul(g.Tensor(1, kFloat, {2, 4, 1, 2}), g.Tensor(2, kFloat, {2, 2, 2, 1}), g.Tensor(3, kFloat, {2, 4, 1, 1}));
  REQUIRE(g.Run({{1, a.data()}, {2, b.data()}, {3, c.data()}}) == kSuccess);
  CHECK(c == Floats{21, 43, 130, 174, 33, 66, 132, 176});
}

TEST_CASE("fake cudnn: overrides leave NaN in rows past a length and multiply what is masked") {
  Graphs g(Begin());
  std::vector<int32_t> rows{1, 2}, inner{1, 2};
  Floats a{1, 0, 1, 0, 1, 1, 1, 1}, b{5, kNan, 7, 8}, c(4, -3);
  const Descriptor len = g.Tensor(4, kInt32, {2, 1, 1, 1}, {1, 1, 1, 1}),
                   k = g.Tensor(5, kInt32, {2, 1, 1, 1}, {1, 1, 1, 1});
  g.Matmul(g.Tensor(1, kFloat, {2, 1, 2, 2}), g.Tensor(2, kFloat, {2, 1, 2, 1}), g.Tensor(3, kFloat, {2, 1, 2, 1}), len,
           nullptr, k);
  REQUIRE(g.Run({{1, a.data()}, {2, b.data()}, {3, c.data()}, {4, rows.data()}, {5, inner.data()}}) == kSuccess);
  CHECK(std::isnan(c[0]));  // 1 * 5 + 0 * NaN
  CHECK(std::isnan(c[1]));  // past the length
  CHECK(c[2] == 15);
  CHECK(c[3] == 15);
  CHECK(The().Faults() == "");
  // A length that the dimensions do not hold is the caller's fault.
  inner[1] = 3;
  CHECK(g.Run({{1, a.data()}, {2, b.data()}, {3, c.data()}, {4, rows.data()}, {5, inner.data()}}) == kOutOfBound);
  CHECK_MESSAGE(The().Faults() == "the length of batch 1, 3, is not in 0 to 2\n", The().Faults());
}

TEST_CASE("fake cudnn: a padding value stands where no row or column is in use") {
  Graphs g(Begin());
  std::vector<int32_t> rows{1}, columns{2};
  Floats a{1, 2}, b{3, 4, kNan}, kept(6, -3);
  float zero = 0;
  const Descriptor how = g.Make(kMatmul), op = g.Make(kOperationMatmul), c = g.Virtual(kFloat, {1, 1, 2, 3});
  g.Set<int>(how, kMatmulMathType, kTypeDataType, {kFloat});
  g.Set<double>(how, kMatmulPaddingValue, kTypeDouble, {0.5});
  g.Refer(op, kOperationMatmulDescriptor, g.Finalize(how));
  g.Refer(op, kOperationMatmulA, g.Tensor(1, kFloat, {1, 1, 2, 1}));
  g.Refer(op, kOperationMatmulB, g.Tensor(2, kFloat, {1, 1, 1, 3}));
  g.Refer(op, kOperationMatmulC, c);
  g.Refer(op, kOperationMatmulRows, g.Tensor(4, kInt32, {1, 1, 1, 1}));
  g.Refer(op, kOperationMatmulColumns, g.Tensor(5, kInt32, {1, 1, 1, 1}));
  g.Add(g.Finalize(op));
  const Descriptor shared = g.Virtual(kFloat, {1, 1, 1, 3});
  g.Reduce(kReduceAdd, c, shared);
  g.Pointwise(kAdd, shared, g.Scalar(6, kFloat), g.Tensor(3, kFloat, {1, 1, 1, 3}));
  REQUIRE_MESSAGE(
      g.Run({{1, a.data()}, {2, b.data()}, {3, kept.data()}, {4, rows.data()}, {5, columns.data()}, {6, &zero}}) ==
          kSuccess,
      g.text());
  CHECK(kept == Floats{3.5, 4.5, 1, -3, -3, -3});
}

TEST_CASE("fake cudnn: ragged rows begin where offsets say and none past a length is touched") {
  for (const int type : {kInt32, kInt64}) {
    Graphs g(Begin());
    // Sequences of 1 and 2 rows of 2 elements, with a row between them that is nobody's; B^T likewise, as columns.
    std::vector<int32_t> narrow{0, 4, 8}, lengths{1, 2};
    std::vector<int64_t> wide{0, 4, 8};
    void* const offsets = type == kInt32 ? static_cast<void*>(narrow.data()) : wide.data();
    Floats a{1, 2, kNan, kNan, 3, 4, 5, 6}, b{1, 1, 10, 100}, c(8, -3);
    const Descriptor len = g.Tensor(4, kInt32, {2, 1, 1, 1}, {1, 1, 1, 1});
    const Descriptor begins = g.Tensor(5, type, {3, 1, 1, 1}, {1, 1, 1, 1});
    // Their stride between batches means nothing.
    g.Matmul(g.Tensor(1, kFloat, {2, 1, 2, 2}, {77, 4, 2, 1}, Graphs::kBound, begins),
             g.Tensor(2, kFloat, {2, 1, 2, 1}),
             g.Tensor(3, kFloat, {2, 1, 2, 1}, {55, 4, 2, 1}, Graphs::kBound, begins), len);
    REQUIRE_MESSAGE(g.Run({{1, a.data()}, {2, b.data()}, {3, c.data()}, {4, lengths.data()}, {5, offsets}}) == kSuccess,
                    g.text());
    CHECK(c == Floats{3, -3, -3, -3, 430, -3, 650, -3});
    // A sequence that reaches into the next one.
    lengths[0] = 2, narrow[1] = 3, wide[1] = 3;
    CHECK(g.Run({{1, a.data()}, {2, b.data()}, {3, c.data()}, {4, lengths.data()}, {5, offsets}}) == kOutOfBound);
    CHECK_MESSAGE(The().Faults().rfind("batch 0 of a ragged tensor begins at 0 and ends at 3", 0) == 0, The().Faults());
  }
}

TEST_CASE("fake cudnn: pages are loaded by the table as rows or as columns") {
  for (const bool transposed : {false, true}) {
    Graphs g(Begin());
    // Three pages of two rows of two elements; batch 0 has 3 rows of pages 2 and 0, batch 1 one row of page 1.
    Floats pages{1, 2, 3, 4, 5, 6, 7, kNan, 8, 9, 10, 11};
    std::vector<int32_t> table{2, 0, 1, -5}, lengths{3, 1};
    float zero = 0;
    const Dims dims = transposed ? Dims{2, 1, 2, 4} : Dims{2, 1, 4, 2};
    const Dims strides = transposed ? Dims{8, 8, 1, 2} : Dims{8, 8, 2, 1};
    Floats y(16, -3);
    const Descriptor loaded = g.Tensor(100, kFloat, dims, strides, Graphs::kVirtual);
    g.PagedLoad(g.Tensor(1, kFloat, {3, 1, 2, 2}), g.Tensor(2, kInt32, {2, 1, 2, 1}),
                g.Tensor(3, kInt32, {2, 1, 1, 1}, {1, 1, 1, 1}), loaded);
    // Transposed: memory has columns next to each other as rows had them.
    g.Pointwise(kAdd, loaded, g.Scalar(4, kFloat), g.Tensor(5, kFloat, dims, strides));
    const std::vector<std::pair<int64_t, void*>> bound{
        {1, pages.data()}, {2, table.data()}, {3, lengths.data()}, {4, &zero}, {5, y.data()}};
    REQUIRE_MESSAGE(g.Run(bound) == kSuccess, g.text());
    CHECK(y == Floats{8, 9, 10, 11, 1, 2, 0, 0, 5, 6, 0, 0, 0, 0, 0, 0});
    The().reads_page_tails = true;
    REQUIRE(g.Run(bound) == kSuccess);
    CHECK(y[6] == 3);  // behind the third row of batch 0
    CHECK(y[10] == 7);
    CHECK(std::isnan(y[11]));
    table[2] = 3;
    CHECK(g.Run(bound) == kOutOfBound);
    CHECK_MESSAGE(The().Faults() == "page 0 of batch 1 is 3 of a container of 3\n", The().Faults());
  }
}

TEST_CASE("fake cudnn: types are read and written as they are stored") {
  for (const int type : {kFloat, kHalf, kBFloat16, kFp8E4M3, kFp8E5M2, kInt32, kInt64, kBoolean}) {
    Graphs g(Begin());
    Floats x{0, 1}, back(2, -1);
    float zero = 0;
    std::vector<char> stored(static_cast<size_t>(2 * ElementSize(type)), 0x55);
    const Descriptor kept = g.Tensor(2, type, {1, 1, 1, 2}), none = g.Scalar(3, kFloat);
    g.Pointwise(kAdd, g.Tensor(1, kFloat, {1, 1, 1, 2}), none, kept);
    REQUIRE(g.Run({{1, x.data()}, {2, stored.data()}, {3, &zero}}) == kSuccess);
    Graphs h(Begin());
    h.Pointwise(kAdd, h.Tensor(2, type, {1, 1, 1, 2}), h.Scalar(3, kFloat), h.Tensor(1, kFloat, {1, 1, 1, 2}));
    REQUIRE(h.Run({{1, back.data()}, {2, stored.data()}, {3, &zero}}) == kSuccess);
    CHECK(back == x);
  }
}

}  // namespace sage::cudnn::fake
