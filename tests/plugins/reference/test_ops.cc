// Every kind but attention, against values worked out here or by hand.
#include <doctest/doctest.h>

#include "reference_table.h"

using namespace sage::test;

namespace {

// Attributes and slots in order; absent tensors are null slots.
template <class Attributes>
RunResult Run(uint32_t kind, const Attributes& attributes, std::initializer_list<const OwnedTensor*> slots) {
  Reference reference(2);
  TestOp op(kind);
  op.Attributes(attributes);
  uint32_t slot = 0;
  for (const OwnedTensor* tensor : slots) {
    if (tensor != nullptr) op.Slot(slot, *tensor);
    ++slot;
  }
  return RunOp(reference.instance, op);
}

OwnedTensor Make(sage_dtype dtype, const std::vector<int64_t>& shape, const std::vector<double>& values) {
  return OwnedTensor(dtype, shape).FillValues(values);
}

void CheckValues(const OwnedTensor& tensor, const std::vector<double>& expected, double tolerance = 1e-14) {
  REQUIRE(tensor.size() == expected.size());
  for (uint64_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    const double value = tensor.Get(i);
    if (std::isnan(expected[i]))
      CHECK(std::isnan(value));
    else if (std::isinf(expected[i]))
      CHECK(value == expected[i]);
    else
      CHECK(std::fabs(value - expected[i]) <= tolerance * std::fmax(1.0, std::fabs(expected[i])));
  }
}

double Unary(uint32_t function, double x, double alpha = 0) {
  OwnedTensor in = Make(SAGE_F64, {1}, {x}), out(SAGE_F64, {1});
  sage_unary_attributes attributes{};
  attributes.function = function, attributes.alpha = alpha;
  REQUIRE(Failure(Run(SAGE_OP_UNARY, attributes, {&in, &out})) == "");
  return out.Get(0);
}

}  // namespace

TEST_CASE("LINEAR: y = fnx W^T + b with leading axes, strides and every dtype") {
  for (const sage_dtype dtype : {SAGE_F64, SAGE_F32, SAGE_F16, SAGE_BF16}) {
    OwnedTensor x = OwnedTensor::Ordered(dtype, {2, 3, 5}, {1, 0, 2}, 1).FillNormal(1);
    OwnedTensor w = OwnedTensor::Ordered(dtype, {4, 5}, {1, 0}).FillNormal(2);
    OwnedTensor b = OwnedTensor(dtype, {4}, {-1}).FillNormal(3);
    OwnedTensor y = OwnedTensor::Ordered(dtype, {2, 3, 4}, {2, 0, 1});
    sage_linear_attributes attributes{};
    attributes.activation = SAGE_FN_RELU;
    REQUIRE(Failure(Run(SAGE_OP_LINEAR, attributes, {&x, &w, &b, &y})) == "");
    const double step = dtype == SAGE_F64 ? 1e-14 : dtype == SAGE_F32 ? 1e-6 : dtype == SAGE_F16 ? 4e-3 : 4e-2;
    for (int64_t i = 0; i < 2; ++i) {
      for (int64_t j = 0; j < 3; ++j) {
        for (int64_t n = 0; n < 4; ++n) {
          double sum = b.At({n});
          for (int64_t k = 0; k < 5; ++k) sum += x.At({i, j, k}) * w.At({n, k});
          CHECK(std::fabs(y.At({i, j, n}) - std::fmax(sum, 0)) < step);
        }
      }
    }
  }
}

TEST_CASE("LINEAR: int8 with scales by row and column, int32 without") {
  OwnedTensor x = Make(SAGE_I8, {2, 3}, {127, -128, 5, 1, 2, 3}), w = Make(SAGE_I8, {2, 3}, {-128, 127, 1, 4, 5, 6});
  OwnedTensor y(SAGE_F32, {2, 2}), exact(SAGE_I32, {2, 2});
  OwnedTensor scale_x = Make(SAGE_F32, {2}, {0.5, 2}), scale_w = Make(SAGE_F32, {2}, {0.25, 4});
  REQUIRE(Failure(Run(SAGE_OP_LINEAR, sage_linear_attributes{}, {&x, &w, nullptr, &y, &scale_x, &scale_w})) == "");
  const double products[] = {-16256 - 16256 + 5, 508 - 640 + 30, -128 + 254 + 3, 4 + 10 + 18};
  CheckValues(y, {products[0] * 0.125, products[1] * 2, products[2] * 0.5, products[3] * 8});
  REQUIRE(Failure(Run(SAGE_OP_LINEAR, sage_linear_attributes{}, {&x, &w, nullptr, &exact})) == "");
  CheckValues(exact, {products[0], products[1], products[2], products[3]});
}

TEST_CASE("LINEAR: no depth gives the bias, no rows give nothing") {
  OwnedTensor x(SAGE_F32, {2, 0}), w(SAGE_F32, {3, 0}), b = Make(SAGE_F32, {3}, {1, 2, 3}), y(SAGE_F32, {2, 3});
  REQUIRE(Failure(Run(SAGE_OP_LINEAR, sage_linear_attributes{}, {&x, &w, &b, &y})) == "");
  CheckValues(y, {1, 2, 3, 1, 2, 3});
}

TEST_CASE("MATMUL: batches, transposes by stride, a repeated operand") {
  OwnedTensor a = OwnedTensor::Ordered(SAGE_F64, {2, 3, 4, 5}, {0, 1, 3, 2}).FillNormal(1);
  OwnedTensor b = OwnedTensor(SAGE_F64, {2, 3, 5, 2}, {0, 10, 1, 5}).FillNormal(2);
  OwnedTensor c(SAGE_F64, {2, 3, 4, 2});
  TestOp op(SAGE_OP_MATMUL);
  op.Slot(0, a).Slot(1, b).Slot(2, c);
  Reference reference;
  REQUIRE(Failure(RunOp(reference.instance, op)) == "");
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      for (int64_t m = 0; m < 4; ++m) {
        for (int64_t n = 0; n < 2; ++n) {
          double sum = 0;
          for (int64_t k = 0; k < 5; ++k) sum += a.At({i, j, m, k}) * b.At({i, j, k, n});
          CHECK(std::fabs(c.At({i, j, m, n}) - sum) < 1e-14);
        }
      }
    }
  }
}

TEST_CASE("NORM: layer, rms and batch, epsilon as given") {
  OwnedTensor x = Make(SAGE_F64, {2, 4}, {1, 2, 3, 4, -1, -1, -1, -1}), y(SAGE_F64, {2, 4});
  OwnedTensor gamma = Make(SAGE_F64, {4}, {1, 2, 3, 4}), beta = Make(SAGE_F64, {4}, {0, 0, 1, 1});
  sage_norm_attributes attributes{};
  attributes.mode = SAGE_NORM_LAYER, attributes.axis = 1, attributes.epsilon = 0.75;
  REQUIRE(Failure(Run(SAGE_OP_NORM, attributes, {&x, &gamma, &beta, nullptr, nullptr, &y})) == "");
  const double d = std::sqrt(2.0);  // variance 1.25 + 0.75
  CheckValues(y, {-1.5 / d, -1 / d, 1.5 / d + 1, 6 / d + 1, 0, 0, 1, 1});

  attributes.mode = SAGE_NORM_RMS, attributes.epsilon = 1.5;
  REQUIRE(Failure(Run(SAGE_OP_NORM, attributes, {&x, nullptr, nullptr, nullptr, nullptr, &y})) == "");
  CheckValues(y, {1 / 3.0, 2 / 3.0, 1, 4 / 3.0, -1 / std::sqrt(2.5), -1 / std::sqrt(2.5), -1 / std::sqrt(2.5),
                  -1 / std::sqrt(2.5)});

  // Over two axes, with parameters of both.
  OwnedTensor cube = OwnedTensor::Ordered(SAGE_F64, {2, 2, 3}, {2, 0, 1}).FillNormal(4);
  OwnedTensor weights = OwnedTensor(SAGE_F64, {2, 3}).FillNormal(5), out(SAGE_F64, {2, 2, 3});
  attributes.mode = SAGE_NORM_LAYER, attributes.epsilon = 0;
  REQUIRE(Failure(Run(SAGE_OP_NORM, attributes, {&cube, &weights, nullptr, nullptr, nullptr, &out})) == "");
  for (int64_t i = 0; i < 2; ++i) {
    double mean = 0, square = 0;
    for (int64_t j = 0; j < 6; ++j)
      mean += cube.At({i, j / 3, j % 3}) / 6, square += std::pow(cube.At({i, j / 3, j % 3}), 2) / 6;
    for (int64_t j = 0; j < 6; ++j)
      CHECK(out.At({i, j / 3, j % 3}) == doctest::Approx((cube.At({i, j / 3, j % 3}) - mean) /
                                                         std::sqrt(square - mean * mean) * weights.At({j / 3, j % 3})));
  }

  OwnedTensor mean = Make(SAGE_F64, {2}, {1, -1}), variance = Make(SAGE_F64, {2}, {3, 0});
  OwnedTensor image = Make(SAGE_F64, {1, 2, 2}, {1, 5, 0, -3}), normal(SAGE_F64, {1, 2, 2});
  attributes.mode = SAGE_NORM_BATCH, attributes.axis = 1, attributes.epsilon = 1;
  REQUIRE(Failure(Run(SAGE_OP_NORM, attributes, {&image, nullptr, nullptr, &mean, &variance, &normal})) == "");
  CheckValues(normal, {0, 2, 1, -2});
}

TEST_CASE("UNARY: every function at known points") {
  CHECK(Unary(SAGE_FN_RELU, -2) == 0);
  CHECK(Unary(SAGE_FN_RELU, 2) == 2);
  CHECK(std::isnan(Unary(SAGE_FN_RELU, NAN)));
  CHECK(Unary(SAGE_FN_GELU, 1) == doctest::Approx(0.8413447460685429).epsilon(1e-15));
  CHECK(Unary(SAGE_FN_GELU, -10) == doctest::Approx(-7.619853024160525e-23).epsilon(1e-12));
  CHECK(Unary(SAGE_FN_GELU_TANH, 1) == doctest::Approx(0.8411919906082768).epsilon(1e-15));
  CHECK(Unary(SAGE_FN_SILU, 1) == doctest::Approx(0.7310585786300049).epsilon(1e-15));
  CHECK(Unary(SAGE_FN_SIGMOID, -800) == 0);
  CHECK(Unary(SAGE_FN_SIGMOID, 0) == 0.5);
  CHECK(Unary(SAGE_FN_TANH, 0.5) == doctest::Approx(0.46211715726000973).epsilon(1e-15));
  CHECK(Unary(SAGE_FN_ELU, -1, 2) == doctest::Approx(2 * std::expm1(-1.0)).epsilon(1e-15));
  CHECK(Unary(SAGE_FN_ELU, 3, 2) == 3);
  CHECK(Unary(SAGE_FN_EXP, 1) == doctest::Approx(2.718281828459045).epsilon(1e-15));
  CHECK(Unary(SAGE_FN_LOG, 0) == -HUGE_VAL);
  CHECK(Unary(SAGE_FN_SQRT, 2) == std::sqrt(2.0));
  CHECK(Unary(SAGE_FN_ABS, -3) == 3);
  CHECK(Unary(SAGE_FN_NEG, -3) == 3);
  CHECK(Unary(SAGE_FN_IDENTITY, -3) == -3);
}

TEST_CASE("UNARY: IDENTITY copies bits and casts with one rounding") {
  const sage_unary_attributes identity{};
  OwnedTensor x = Make(SAGE_F32, {2, 3}, {1.5, -2.5, 300, -300, NAN, 0.4}),
              y = OwnedTensor::Ordered(SAGE_I8, {2, 3}, {1, 0});
  REQUIRE(Failure(Run(SAGE_OP_UNARY, identity, {&x, &y})) == "");
  CheckValues(y, {2, -2, 127, -128, 0, 0});
  OwnedTensor large(SAGE_I64, {1}), copy(SAGE_I64, {1});
  const int64_t value = (int64_t{1} << 62) + 3;
  std::memcpy(large.description().data, &value, sizeof value);
  REQUIRE(Failure(Run(SAGE_OP_UNARY, identity, {&large, &copy})) == "");
  CHECK(BitwiseEqual(large, copy));
  OwnedTensor scalar = OwnedTensor(SAGE_F32, {}).Fill(2), same(SAGE_F16, {});
  REQUIRE(Failure(Run(SAGE_OP_UNARY, identity, {&scalar, &same})) == "");
  CHECK(same.Get(0) == 2);
}

TEST_CASE("BINARY: the functions, broadcast by stride 0, NaN wins") {
  OwnedTensor a = Make(SAGE_F64, {2, 3}, {1, 2, 3, 4, NAN, 6}), b = OwnedTensor(SAGE_F64, {2, 3}, {0, 1}),
              y(SAGE_F64, {2, 3});
  b.Put(0, 3), b.Put(1, 2), b.Put(2, NAN);
  const auto run = [&](uint32_t function) {
    sage_binary_attributes attributes{};
    attributes.function = function;
    REQUIRE(Failure(Run(SAGE_OP_BINARY, attributes, {&a, &b, &y})) == "");
  };
  run(SAGE_BINARY_ADD), CheckValues(y, {4, 4, NAN, 7, NAN, NAN});
  run(SAGE_BINARY_SUB), CheckValues(y, {-2, 0, NAN, 1, NAN, NAN});
  run(SAGE_BINARY_MUL), CheckValues(y, {3, 4, NAN, 12, NAN, NAN});
  run(SAGE_BINARY_DIV), CheckValues(y, {1 / 3.0, 1, NAN, 4 / 3.0, NAN, NAN});
  run(SAGE_BINARY_MIN), CheckValues(y, {1, 2, NAN, 3, NAN, NAN});
  run(SAGE_BINARY_MAX), CheckValues(y, {3, 2, NAN, 4, NAN, NAN});
}

TEST_CASE("SOFTMAX: any axis, large values, a line of -inf, NaN stays in its line") {
  OwnedTensor x = Make(SAGE_F64, {3, 2}, {1000, -HUGE_VAL, 1001, -HUGE_VAL, -HUGE_VAL, -HUGE_VAL}), y(SAGE_F64, {3, 2});
  sage_softmax_attributes attributes{};
  REQUIRE(Failure(Run(SAGE_OP_SOFTMAX, attributes, {&x, &y})) == "");
  const double e = std::exp(1.0);
  CheckValues(y, {1 / (1 + e), 0, e / (1 + e), 0, 0, 0});
  attributes.axis = 1;
  x.FillValues({0, 0, NAN, 1, 2, 2});
  REQUIRE(Failure(Run(SAGE_OP_SOFTMAX, attributes, {&x, &y})) == "");
  CheckValues(y, {0.5, 0.5, NAN, NAN, 0.5, 0.5});
}

TEST_CASE("REDUCE: over some axes and all, kept or dropped, empty lines") {
  OwnedTensor x =
      OwnedTensor::Ordered(SAGE_F64, {2, 3, 2}, {2, 1, 0}).FillValues({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, -12});
  sage_reduce_attributes attributes{};
  attributes.function = SAGE_REDUCE_SUM, attributes.axes = 0b101;
  OwnedTensor kept(SAGE_F64, {1, 3, 1}), dropped(SAGE_F64, {3}), scalar(SAGE_F64, {});
  REQUIRE(Failure(Run(SAGE_OP_REDUCE, attributes, {&x, &kept})) == "");
  CheckValues(kept, {18, 26, 10});
  attributes.function = SAGE_REDUCE_MEAN;
  REQUIRE(Failure(Run(SAGE_OP_REDUCE, attributes, {&x, &dropped})) == "");
  CheckValues(dropped, {4.5, 6.5, 2.5});
  attributes.function = SAGE_REDUCE_MAX, attributes.axes = 0b111;
  REQUIRE(Failure(Run(SAGE_OP_REDUCE, attributes, {&x, &scalar})) == "");
  CheckValues(scalar, {11});
  attributes.function = SAGE_REDUCE_MIN;
  REQUIRE(Failure(Run(SAGE_OP_REDUCE, attributes, {&x, &scalar})) == "");
  CheckValues(scalar, {-12});
  x.Put(3, NAN);
  REQUIRE(Failure(Run(SAGE_OP_REDUCE, attributes, {&x, &scalar})) == "");
  CheckValues(scalar, {NAN});
  attributes.function = SAGE_REDUCE_MAX;
  REQUIRE(Failure(Run(SAGE_OP_REDUCE, attributes, {&x, &scalar})) == "");
  CheckValues(scalar, {NAN});
  OwnedTensor nothing(SAGE_F64, {2, 0}), of_nothing(SAGE_F64, {2});
  attributes.function = SAGE_REDUCE_SUM, attributes.axes = 0b10;
  REQUIRE(Failure(Run(SAGE_OP_REDUCE, attributes, {&nothing, &of_nothing})) == "");
  CheckValues(of_nothing, {0, 0});
}

TEST_CASE("GATHER: any axis, both index dtypes, out of range is an error") {
  OwnedTensor x = OwnedTensor(SAGE_I16, {2, 3}).FillValues({1, 2, 3, 4, 5, 6});
  sage_gather_attributes attributes{};
  attributes.axis = 1;
  OwnedTensor indices = Make(SAGE_I64, {2, 2}, {2, 0, 1, 1}), y(SAGE_I16, {2, 2, 2});
  REQUIRE(Failure(Run(SAGE_OP_GATHER, attributes, {&x, &indices, &y})) == "");
  CheckValues(y, {3, 1, 2, 2, 6, 4, 5, 5});
  attributes.axis = 0;
  OwnedTensor one = Make(SAGE_I32, {}, {1}), row(SAGE_I16, {3});
  REQUIRE(Failure(Run(SAGE_OP_GATHER, attributes, {&x, &one, &row})) == "");
  CheckValues(row, {4, 5, 6});
  for (const double bad : {-1.0, 2.0}) {
    one.Put(0, bad);
    const RunResult result = Run(SAGE_OP_GATHER, attributes, {&x, &one, &row});
    CHECK(result.status == SAGE_E_INVALID_ARGUMENT);
    CHECK(result.message.find("outside axis 0 of length 2") != std::string::npos);
  }
}

TEST_CASE("CONCAT, SLICE, PERMUTE: elements move, whatever their dtype") {
  OwnedTensor a = Make(SAGE_U64, {2, 1}, {1, 2}), b = Make(SAGE_U64, {2, 0}, {}),
              c = Make(SAGE_U64, {2, 2}, {3, 4, 5, 6});
  OwnedTensor y = OwnedTensor::Ordered(SAGE_U64, {2, 3}, {1, 0});
  sage_concat_attributes concat{};
  concat.axis = 1;
  REQUIRE(Failure(Run(SAGE_OP_CONCAT, concat, {&y, &a, &b, &c})) == "");
  CheckValues(y, {1, 3, 4, 2, 5, 6});

  OwnedTensor x = OwnedTensor(SAGE_BF16, {3, 5}).FillBy([](uint64_t i) { return static_cast<double>(i); });
  sage_slice_attributes slice{};
  slice.begin[0] = 2, slice.step[0] = -2, slice.begin[1] = 1, slice.step[1] = 3;
  OwnedTensor part(SAGE_BF16, {2, 2});
  REQUIRE(Failure(Run(SAGE_OP_SLICE, slice, {&x, &part})) == "");
  CheckValues(part, {11, 14, 1, 4});
  slice.step[1] = 0;  // 0 = 1
  REQUIRE(Failure(Run(SAGE_OP_SLICE, slice, {&x, &part})) == "");
  CheckValues(part, {11, 12, 1, 2});

  OwnedTensor cube = OwnedTensor(SAGE_BOOL, {2, 3, 2}).FillIntegers(1, 0, 1), turned(SAGE_BOOL, {2, 2, 3});
  sage_permute_attributes permute{};
  permute.axes[0] = 2, permute.axes[1] = 0, permute.axes[2] = 1;
  REQUIRE(Failure(Run(SAGE_OP_PERMUTE, permute, {&cube, &turned})) == "");
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 3; ++j)
      for (int64_t k = 0; k < 2; ++k) CHECK(turned.At({k, i, j}) == cube.At({i, j, k}));
}

TEST_CASE("TOPK: sorted, ties to the lower index, both directions, NaN is an error") {
  OwnedTensor x = Make(SAGE_F32, {2, 5}, {3, 7, 7, -HUGE_VAL, 3, 0, -0.0, 5, HUGE_VAL, 5}), values(SAGE_F32, {2, 3});
  OwnedTensor indices(SAGE_I64, {2, 3});
  sage_topk_attributes attributes{};
  attributes.axis = 1;
  REQUIRE(Failure(Run(SAGE_OP_TOPK, attributes, {&x, &values, &indices})) == "");
  CheckValues(values, {7, 7, 3, HUGE_VAL, 5, 5});
  CheckValues(indices, {1, 2, 0, 3, 2, 4});
  attributes.smallest = 1;
  REQUIRE(Failure(Run(SAGE_OP_TOPK, attributes, {&x, &values, &indices})) == "");
  CheckValues(values, {-HUGE_VAL, 3, 3, 0, 0, 5});
  CheckValues(indices, {3, 0, 4, 0, 1, 2});
  x.Put(8, NAN);
  const RunResult result = Run(SAGE_OP_TOPK, attributes, {&x, &values, &indices});
  CHECK(result.status == SAGE_E_INVALID_ARGUMENT);
  CHECK(result.message.find("NaN") != std::string::npos);

  OwnedTensor columns = Make(SAGE_F64, {3, 2}, {1, 6, 3, 4, 2, 5}), top(SAGE_F64, {2, 2}), at(SAGE_I32, {2, 2});
  attributes.axis = 0, attributes.smallest = 0;
  REQUIRE(Failure(Run(SAGE_OP_TOPK, attributes, {&columns, &top, &at})) == "");
  CheckValues(top, {3, 6, 2, 5});
  CheckValues(at, {1, 0, 2, 2});
}

TEST_CASE("ROPE: both styles, partial width, packed rows and tables") {
  OwnedTensor x = Make(SAGE_F64, {1, 1, 2, 6}, {1, 2, 3, 4, 5, 6, 1, 0, 0, 1, 8, 9}), y(SAGE_F64, {1, 1, 2, 6});
  OwnedTensor positions = Make(SAGE_I32, {1, 2}, {0, 3});
  sage_rope_attributes attributes{};
  attributes.style = SAGE_ROPE_HALVES, attributes.rotary_dim = 4, attributes.base = 100;
  REQUIRE(Failure(Run(SAGE_OP_ROPE, attributes, {&x, &positions, nullptr, nullptr, &y})) == "");
  const double a = 3.0, b = 0.3;  // 3 * 100^0, 3 * 100^(-2/4)
  CheckValues(y, {1, 2, 3, 4, 5, 6, std::cos(a), -std::sin(b), std::sin(a), std::cos(b), 8, 9});
  attributes.style = SAGE_ROPE_INTERLEAVED;
  REQUIRE(Failure(Run(SAGE_OP_ROPE, attributes, {&x, &positions, nullptr, nullptr, &y})) == "");
  CheckValues(y, {1, 2, 3, 4, 5, 6, std::cos(a), std::sin(a), -std::sin(b), std::cos(b), 8, 9});

  OwnedTensor packed = Make(SAGE_F32, {2, 1, 2}, {1, 2, 3, 4}), out(SAGE_F32, {2, 1, 2}),
              rows = Make(SAGE_I32, {2}, {1, 0});
  OwnedTensor cosine = Make(SAGE_F32, {2, 1}, {0.5, 0.25}), sine = Make(SAGE_F32, {2, 1}, {2, 4});
  sage_rope_attributes by_table{};
  by_table.style = SAGE_ROPE_HALVES;
  REQUIRE(Failure(Run(SAGE_OP_ROPE, by_table, {&packed, &rows, &cosine, &sine, &out})) == "");
  CheckValues(out, {0.25 - 8, 4 + 0.5, 1.5 - 8, 6 + 2});
  rows.Put(1, 2);
  CHECK(Run(SAGE_OP_ROPE, by_table, {&packed, &rows, &cosine, &sine, &out}).status == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("POOL: masked mean, max, first and last, windows with stride and padding, nothing counted is 0") {
  OwnedTensor x = Make(SAGE_F64, {2, 4, 1}, {1, 2, 4, 9, -1, -2, -3, -4}), y(SAGE_F64, {2, 1});
  OwnedTensor mask = Make(SAGE_BOOL, {2, 4}, {0, 1, 1, 0, 0, 0, 0, 0});
  const auto run = [&](uint32_t function, std::initializer_list<double> expected) {
    sage_pool_attributes attributes{};
    attributes.function = function;
    REQUIRE(Failure(Run(SAGE_OP_POOL, attributes, {&x, &mask, &y})) == "");
    CheckValues(y, expected);
  };
  run(SAGE_POOL_MEAN, {3, 0});
  run(SAGE_POOL_MAX, {4, 0});
  run(SAGE_POOL_FIRST, {2, 0});
  run(SAGE_POOL_LAST, {4, 0});

  sage_pool_attributes windows{};
  windows.function = SAGE_POOL_MEAN, windows.window = 3, windows.stride = 2, windows.pad_begin = 1, windows.pad_end = 1;
  OwnedTensor pooled(SAGE_F64, {2, 2, 1});  // (4 + 2 - 3) / 2 + 1
  REQUIRE(Failure(Run(SAGE_OP_POOL, windows, {&x, nullptr, &pooled})) == "");
  CheckValues(pooled, {1.5, 5, -1.5, -3});
  windows.function = SAGE_POOL_MAX;
  REQUIRE(Failure(Run(SAGE_OP_POOL, windows, {&x, nullptr, &pooled})) == "");
  CheckValues(pooled, {2, 9, -1, -2});  // padding is not counted, so not 0
}
