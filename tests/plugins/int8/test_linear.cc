// LINEAR in 8 bits: the numbers. Exact sums on every instruction set, callers' scales as the oracle has them, floats
// within the error of their codes.
#include "linear_testing.h"

namespace sage::test {
namespace {

struct Sizes {
  Shape leading;
  int64_t n, k;
};

Sizes AnySizes(Random* random) {
  Sizes sizes;
  sizes.leading = random->AnyShape(0, 3, 7);
  sizes.k = random->Chance(15) ? 0 : random->Between(1, random->Chance(4) ? 400 : 50);
  sizes.n = random->Chance(20) ? 0 : random->Between(1, random->Chance(3) ? 300 : 70);
  return sizes;
}

Shape With(Shape leading, int64_t last) {
  leading.push_back(last);
  return leading;
}

int64_t Product(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t length : shape) product *= length;
  return product;
}

OwnedTensor AnyCodes(Random* random, const Shape& shape) {
  return random->Tensor(SAGE_I8, shape).FillIntegers(random->Seed(), -128, 127);
}

// The result on every instruction set, W a constant or not, of 1 worker and 3: the same bytes. Returns it.
OwnedTensor SameEverywhere(const OpCase& c) {
  const std::string what = Describe(c);
  OwnedTensor first;
  for (const std::string& isa : LinearIsas())
    for (const bool constant : {false, true})
      for (const uint32_t workers : {1u, 3u}) {
        Int8 backend(isa, workers);
        OpCase mine = c;
        mine.slots[kW].description().flags = constant ? SAGE_TENSOR_CONSTANT : 0;
        const RunResult result = backend.Run(mine);
        REQUIRE_MESSAGE(result.status == SAGE_OK, isa, " ", result.message, " ", what);
        CHECK((result.info.prepack_bytes > 0) == constant);
        CHECK_MESSAGE(PaddingUntouched(mine.slots[kY]), isa, " wrote between the elements ", what);
        if (!first.present()) first = mine.slots[kY];
        CHECK_MESSAGE(BitwiseEqual(first, mine.slots[kY]), isa, " constant ", constant, " workers ", workers, " ",
                      what);
      }
  return first;
}

TEST_CASE("R21 int8 LINEAR: sums of codes as i32 are the oracle's on every instruction set") {
  Random random(21);
  for (int repeat = 0; repeat < 40; ++repeat) {
    const Sizes sizes = AnySizes(&random);
    OpCase c = Linear(AnyCodes(&random, With(sizes.leading, sizes.k)), AnyCodes(&random, {sizes.n, sizes.k}),
                      OwnedTensor(), random.Tensor(SAGE_I32, With(sizes.leading, sizes.n), true));
    const OwnedTensor got = SameEverywhere(c);
    CHECK(MaxDifference(got, Want(c)) == 0);
  }
}

TEST_CASE("R21 int8 LINEAR: the deepest sum of the largest products is exact") {
  // 131071 x 128 x 128 is 2^31 - 2^14.
  for (const double code : {-128.0, 127.0}) {
    OpCase c = Linear(OwnedTensor(SAGE_I8, {2, 131071}).Fill(-128), OwnedTensor(SAGE_I8, {3, 131071}).Fill(code),
                      OwnedTensor(), OwnedTensor(SAGE_I32, {2, 3}));
    const OwnedTensor got = SameEverywhere(c);
    for (uint64_t i = 0; i < got.size(); ++i) CHECK(got.Get(i) == -128.0 * code * 131071.0);
  }
}

TEST_CASE("R21 int8 LINEAR: of floats and of codes the same bits on every instruction set") {
  Random random(22);
  constexpr sage_dtype kTypes[] = {SAGE_F32, SAGE_BF16, SAGE_F16, SAGE_I8};
  for (int repeat = 0; repeat < 60; ++repeat) {
    const Sizes sizes = AnySizes(&random);
    const sage_dtype x = kTypes[random.Between(0, 3)], w = kTypes[random.Between(0, 3)];
    const Shape x_shape = With(sizes.leading, sizes.k), w_shape{sizes.n, sizes.k};
    OpCase c = Linear(x == SAGE_I8 ? AnyCodes(&random, x_shape) : random.Tensor(x, x_shape),
                      w == SAGE_I8 ? AnyCodes(&random, w_shape) : random.Tensor(w, w_shape),
                      random.Chance(3) ? OwnedTensor() : random.Tensor(random.Float(), {sizes.n}),
                      random.Tensor(random.Float(), With(sizes.leading, sizes.n), true),
                      random.Chance(3) ? SAGE_FN_RELU : SAGE_FN_IDENTITY);
    c.slots.resize(6);
    if (x == SAGE_I8) c.slots[kScaleX] = Scales(random.Chance(2) ? 1 : Product(sizes.leading), random.Seed());
    if (w == SAGE_I8) c.slots[kScaleW] = Scales(random.Chance(2) ? 1 : sizes.n, random.Seed());
    SameEverywhere(c);
  }
}

TEST_CASE("int8 LINEAR: codes with their caller's scales give the oracle's result up to rounding") {
  Random random(23);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const Sizes sizes = AnySizes(&random);
    const int64_t rows = Product(sizes.leading);
    const uint32_t activation = random.Chance(2) ? SAGE_FN_IDENTITY : random.Chance(2) ? SAGE_FN_RELU : SAGE_FN_GELU;
    OpCase c = WithScales(Linear(AnyCodes(&random, With(sizes.leading, sizes.k)), AnyCodes(&random, {sizes.n, sizes.k}),
                                 random.Chance(3) ? OwnedTensor() : random.Tensor(random.Float(), {sizes.n}),
                                 random.Tensor(random.Float(), With(sizes.leading, sizes.n), true), activation),
                          Scales(random.Chance(2) ? 1 : rows, random.Seed()),
                          Scales(random.Chance(2) ? 1 : sizes.n, random.Seed()));
    OpCase linear = c;
    linear.attributes = [](TestOp&) {};
    const OwnedTensor want = Want(c), before = Want(linear);
    const bool wide =
        c.slots[kY].dtype() == SAGE_F64 || (c.slots[kBias].present() && c.slots[kBias].dtype() == SAGE_F64);
    for (const std::string& isa : LinearIsas()) {
      Int8 backend(isa, 3);
      OpCase mine = c;
      const RunResult result = backend.Run(mine);
      REQUIRE_MESSAGE(result.status == SAGE_OK, result.message);
      CHECK(result.answer.accuracy == SAGE_ACCURACY_EXACT);
      const OwnedTensor& got = mine.slots[kY];
      uint64_t wrong = 0;
      for (uint64_t i = 0; i < got.size(); ++i) {
        const double bias = c.slots[kBias].present() ? c.slots[kBias].Get(i % static_cast<uint64_t>(sizes.n)) : 0;
        const double size = std::fabs(before.Get(i)) + 2 * std::fabs(bias);
        const double allowed = (wide ? 0x1p-48 : 0x1p-22) * size +
                               HalfUnit(got.dtype()) * std::fabs(want.Get(i)) * 1.01 + Smallest(got.dtype());
        if (!(std::fabs(got.Get(i) - want.Get(i)) <= allowed) && wrong++ == 0)
          FAIL_CHECK(isa, " element ", i, ": got ", got.Get(i), ", want ", want.Get(i), " ", Describe(c));
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("int8 LINEAR: scales at the ends of the range neither overflow nor vanish on the way") {
  const float scales_x[] = {1e30f, 1e-30f, 3e38f, 1e-38f, 1e-44f, 1.0f},
              scales_w[] = {1e-30f, 1e30f, 1e-38f, 3e38f, 1.0f, 1e-44f};
  OpCase c = OfCodes(6, 6, 40, true, 3);
  c.slots[kBias] = OwnedTensor();
  for (uint64_t i = 0; i < 6; ++i) {
    c.slots[kScaleX].Put(i, static_cast<double>(scales_x[i])),
        c.slots[kScaleW].Put(i, static_cast<double>(scales_w[i]));
    c.slots[kX].Set({5, static_cast<int64_t>(i)}, 0);
  }
  for (int64_t p = 0; p < 40; ++p) c.slots[kX].Set({2, p}, 0);  // of the largest scale: zeros stay zeros
  const OwnedTensor want = Want(c), got = SameEverywhere(c);
  for (uint64_t i = 0; i < got.size(); ++i) {
    const double exact = want.Get(i);
    if (std::fabs(exact) > Largest(SAGE_F32))
      CHECK(got.Get(i) == std::copysign(HUGE_VAL, exact));
    else
      CHECK_MESSAGE(std::fabs(got.Get(i) - exact) <= 0x1p-22 * std::fabs(exact) + 0x1p-147, i);
  }
}

// Numbers as the codes that the backend is to make of them stand for them, row by row.
OwnedTensor ThroughCodes(const OwnedTensor& rows) {
  OwnedTensor through(SAGE_F64, {rows.dim(0), rows.dim(1)});
  for (int64_t i = 0; i < rows.dim(0); ++i) {
    double largest = 0;
    for (int64_t p = 0; p < rows.dim(1); ++p) largest = std::max(largest, std::fabs(rows.At({i, p})));
    const double scale = largest / 127;
    for (int64_t p = 0; p < rows.dim(1); ++p)
      through.Set({i, p}, scale == 0 ? 0 : scale * std::nearbyint(rows.At({i, p}) / scale));
  }
  return through;
}

TEST_CASE("int8 LINEAR: floats are off by no more than 2 % and by what their codes are off") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16, SAGE_F16})
    for (const int64_t k : {32, 257, 768}) {
      OpCase c = Plain(dtype, 33, 70, k, true, 31);
      c.slots[kBias] = OwnedTensor();
      c.slots[kY] = OwnedTensor(SAGE_F32, {33, 70});
      // Rows of different sizes: a scale for all of X or all of W would lose the small ones.
      for (int64_t p = 0; p < k; ++p) {
        c.slots[kX].Set({3, p}, 1e3 * c.slots[kX].At({3, p}));
        c.slots[kW].Set({5, p}, 1e3 * c.slots[kW].At({5, p}));
      }
      OpCase coded = c;
      coded.slots[kX] = ThroughCodes(c.slots[kX]), coded.slots[kW] = ThroughCodes(c.slots[kW]);
      const OwnedTensor want = Want(c), of_codes = Want(coded);
      for (const std::string& isa : LinearIsas()) {
        Int8 backend(isa);
        OpCase mine = c;
        const RunResult result = backend.Run(mine);
        REQUIRE_MESSAGE(result.status == SAGE_OK, result.message);
        CHECK(result.answer.accuracy == SAGE_ACCURACY_LOSSY);
        for (int64_t i = 0; i < 33; ++i)
          for (const bool big : {false, true}) {
            double off = 0, off_codes = 0, size = 0;
            for (int64_t j = 0; j < 70; ++j) {
              if ((j == 5) != big) continue;
              const double got = mine.slots[kY].At({i, j});
              off += std::pow(got - want.At({i, j}), 2), size += std::pow(want.At({i, j}), 2);
              off_codes += std::pow(got - of_codes.At({i, j}), 2);
            }
            // One number of a column alone may be near zero by chance.
            if (!big)
              CHECK_MESSAGE(std::sqrt(off / size) <= 0.02, isa, " k ", k, " row ", i, " ", std::sqrt(off / size));
            // A number halfway between two codes may go to either: one step of a few.
            if (!big) CHECK_MESSAGE(std::sqrt(off_codes / size) <= 4e-3, isa, " k ", k, " row ", i);
          }
      }
    }
}

TEST_CASE("int8 LINEAR: codes of one operand alone: the other is quantised") {
  for (const std::string& isa : LinearIsas()) {
    Int8 backend(isa);
    OpCase both = OfCodes(9, 40, 130, true, 41);
    OpCase weights = both, rows = both;
    const auto stands_for = [](const OwnedTensor& codes, const OwnedTensor& scales) {
      OwnedTensor numbers(SAGE_F32, {codes.dim(0), codes.dim(1)});
      for (int64_t i = 0; i < codes.dim(0); ++i)
        for (int64_t p = 0; p < codes.dim(1); ++p) numbers.Set({i, p}, codes.At({i, p}) * scales.At({i}));
      return numbers;
    };
    // With a code of 127 in each row, quantising what codes stand for gives them back.
    for (int64_t i = 0; i < 9; ++i) both.slots[kX].Set({i, 0}, 127);
    for (int64_t i = 0; i < 40; ++i) both.slots[kW].Set({i, 0}, 127);
    for (const uint32_t slot : {kX, kW}) {
      OwnedTensor& codes = both.slots[slot];
      for (uint64_t i = 0; i < codes.size(); ++i) codes.Put(i, std::max(codes.Get(i), -127.0));
    }
    weights.slots[kW] = both.slots[kW], weights.slots[kX] = stands_for(both.slots[kX], both.slots[kScaleX]);
    weights.slots[kScaleX] = OwnedTensor();
    rows.slots[kX] = both.slots[kX], rows.slots[kW] = stands_for(both.slots[kW], both.slots[kScaleW]);
    rows.slots[kScaleW] = OwnedTensor();
    REQUIRE(backend.Run(both).status == SAGE_OK);
    for (OpCase* one : {&weights, &rows}) {
      const RunResult result = backend.Run(*one);
      REQUIRE_MESSAGE(result.status == SAGE_OK, result.message);
      CHECK(result.answer.accuracy == SAGE_ACCURACY_LOSSY);
      CHECK_MESSAGE(MaxDifference(one->slots[kY], both.slots[kY]) <= 1e-4, isa);
    }
  }
}

TEST_CASE("int8 LINEAR: what is not finite stays in its row or its column") {
  OpCase c = Plain(SAGE_F32, 20, 70, 50, false, 51), clean = c;
  c.slots[kX].Set({3, 7}, NAN), c.slots[kX].Set({11, 49}, -HUGE_VAL);
  c.slots[kW].Set({17, 0}, HUGE_VAL), c.slots[kW].Set({69, 49}, NAN);
  c.slots[kBias].Set({30}, NAN);
  const OwnedTensor got = SameEverywhere(c), without = SameEverywhere(clean);
  for (int64_t i = 0; i < 20; ++i)
    for (int64_t j = 0; j < 70; ++j) {
      if (i == 3 || i == 11 || j == 17 || j == 69 || j == 30)
        CHECK(std::isnan(got.At({i, j})));
      else
        CHECK(got.At({i, j}) == without.At({i, j}));
    }
}

TEST_CASE("int8 LINEAR: zeros and numbers below the normal range give the bias") {
  OpCase c = Plain(SAGE_F32, 4, 20, 30, true, 53);
  c.slots[kX].Fill(0);
  for (int64_t p = 0; p < 30; ++p) c.slots[kX].Set({2, p}, 1e-44), c.slots[kW].Set({9, p}, -1e-42);
  const OwnedTensor got = SameEverywhere(c);
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 20; ++j) CHECK(got.At({i, j}) == c.slots[kBias].At({j}));
}

TEST_CASE("int8 LINEAR: the function is the one of UNARY behind it and the bias comes before") {
  for (uint32_t function = 0; function <= SAGE_FN_NEG; ++function) {
    if (function == SAGE_FN_ELU) continue;
    CAPTURE(function);
    for (const std::string& isa : LinearIsas())
      for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16, SAGE_F64}) {
        Int8 backend(isa);
        OpCase plain = OfCodes(7, 33, 50, true, 61);
        OpCase fused = plain;
        fused.slots[kY] = OwnedTensor(dtype, {7, 33});
        fused.attributes = [=](TestOp& op) { op.Attributes(sage_linear_attributes{0, function}); };
        if (dtype == SAGE_F64) plain.slots[kY] = OwnedTensor(dtype, {7, 33});
        REQUIRE(backend.Run(plain).status == SAGE_OK);
        REQUIRE(backend.Run(fused).status == SAGE_OK);
        OpCase unary{SAGE_OP_UNARY, [=](TestOp& op) { op.Attributes(sage_unary_attributes{0, function, 0}); }, {}};
        unary.slots = {Widened(plain.slots[kY]), OwnedTensor(SAGE_F64, {7, 33})};
        const OwnedTensor want = Exact(unary).slots[1];
        for (uint64_t i = 0; i < want.size(); ++i)
          CHECK_MESSAGE(Rounded(dtype, fused.slots[kY].Get(i), want.Get(i), 1.0), isa, " ", i, " got ",
                        fused.slots[kY].Get(i), " want ", want.Get(i));
      }
  }
}

TEST_CASE("int8 LINEAR: i32 with scales, bias and function is rounded to nearest even and saturates") {
  OpCase c = OfCodes(5, 40, 30, true, 63);
  c.slots[kY] = OwnedTensor(SAGE_I32, {5, 40});
  c.slots[kScaleX].Set({1}, 3e30), c.slots[kScaleX].Set({2}, 0.5), c.slots[kScaleW].Set({0}, 1);
  c.slots[kBias].Set({7}, NAN);
  const OwnedTensor want = Want(c);
  CHECK(MaxDifference(SameEverywhere(c), want) == 0);
}

}  // namespace
}  // namespace sage::test
