// test_products.cc: our own kernels of LINEAR and MATMUL in the emulation, behind the backend's table, without
// cuBLASLt.
#include "product_testing.h"

namespace sage::test {
namespace {

// Layouts as a model has them, and worse: other orders, gaps, walked backwards. No stride is 0 but where repeats.
OwnedTensor Laid(Random& random, sage_dtype dtype, const Shape& shape, bool output, uint64_t seed, bool plain) {
  Shape strides(shape.size());
  std::vector<size_t> order(shape.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (!plain && order.size() > 1 && random.Chance(3))
    std::swap(order[static_cast<size_t>(random.Between(0, static_cast<int64_t>(order.size()) - 1))], order.back());
  int64_t step = !plain && random.Chance(8) ? 2 : 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = step;
    step *= std::max<int64_t>(1, shape[order[i]]);
    if (!plain && random.Chance(4)) step += random.Between(1, 9);
    if (!plain && random.Chance(10)) strides[order[i]] = -strides[order[i]];
    if (!plain && !output && random.Chance(10)) strides[order[i]] = 0;
  }
  const uint32_t skew = !plain && random.Chance(5) ? support::DtypeSize(dtype) : 0;
  OwnedTensor tensor(dtype, shape, strides, skew);
  if (output) return tensor;
  return support::IsFloat(dtype) ? tensor.FillNormal(seed)
         : dtype == SAGE_I16     ? tensor.FillIntegers(seed, -32768, 32767)
         : dtype == SAGE_I8      ? tensor.FillIntegers(seed, -128, 127)
                                 : tensor.FillNormal(seed, 4);
}

// Those whose values stay moderate: EXP and LOG have cases of their own.
uint32_t AnyActivation(Random& random) {
  constexpr uint32_t kFunctions[] = {SAGE_FN_IDENTITY, SAGE_FN_IDENTITY, SAGE_FN_RELU, SAGE_FN_GELU, SAGE_FN_GELU_TANH,
                                     SAGE_FN_SILU,     SAGE_FN_SIGMOID,  SAGE_FN_TANH, SAGE_FN_ABS,  SAGE_FN_NEG};
  return kFunctions[random.Between(0, 9)];
}

}  // namespace

TEST_CASE("P5 cuda products: few rows in every float type agree with the oracle") {
  ProductDevice device("cublas=off");
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  Random random(21);
  for (const sage_dtype dtype : kFloats) {
    for (int repeat = 0; repeat < 24; ++repeat) {
      const int64_t m = random.Between(1, 8), piece = 16 / support::DtypeSize(dtype);
      const int64_t k =
          random.Chance(4) ? random.Between(1, 3 * piece) : piece * random.Between(1, 90) + repeat % piece;
      const int64_t n = random.Between(1, 21);
      // Rows begin at multiples of 16 bytes; K ends where it will.
      const int64_t row = (k + piece - 1) / piece * piece;
      OpCase c = Linear(OwnedTensor(dtype, {m, k}, {row, 1}).FillNormal(random.Seed()),
                        OwnedTensor(dtype, {n, k}, {row + piece, 1}).FillNormal(random.Seed()),
                        random.Chance(3) ? OwnedTensor() : OwnedTensor(dtype, {n}).FillNormal(random.Seed()),
                        OwnedTensor(dtype, {m, n}, {1, m}), AnyActivation(random));
      const int before = Emulated().skinny;
      CHECK(device.Check(c) == "");
      CHECK_MESSAGE(Emulated().skinny == before + 1, Describe(c), device.reason);
      CHECK(device.accuracy == SAGE_ACCURACY_EXACT);
    }
  }
}

TEST_CASE("P5 cuda products: few rows times a W that is contiguous along N agree with the oracle") {
  ProductDevice device("cublas=off");
  Random random(77);
  for (const sage_dtype dtype : kFloats) {
    for (int repeat = 0; repeat < 24; ++repeat) {
      const int64_t m = random.Between(1, 8), piece = 16 / support::DtypeSize(dtype), b = random.Between(1, 3);
      const int64_t k = random.Chance(3) ? random.Between(2, 70) : random.Between(2, 400), n = random.Between(2, 70);
      const int64_t line = (n + piece - 1) / piece * piece;
      // Lines of W begin at multiples of 16 bytes, the last of them ends the memory; X lies as it will.
      OwnedTensor w(dtype, {b, k, n}, {line * k, line, 1});
      OpCase c = Matmul(OwnedTensor(dtype, {b, m, k}, {m * k + 1, 1, m}).FillNormal(random.Seed()),
                        w.FillNormal(random.Seed()), OwnedTensor(dtype, {b, m, n}));
      const int before = Emulated().across;
      CHECK(device.Check(c) == "");
      CHECK_MESSAGE(Emulated().across == before + 1, Describe(c), device.reason);
      CHECK(device.accuracy == SAGE_ACCURACY_EXACT);
    }
  }
}

TEST_CASE("P5 cuda products: a batch of few rows and rows that no stride joins") {
  ProductDevice device("cublas=off");
  Random random(5);
  for (int repeat = 0; repeat < 12; ++repeat) {
    const int64_t b = random.Between(1, 3), h = random.Between(1, 3), m = random.Between(1, 5),
                  k = 8 * random.Between(1, 9), n = random.Between(1, 9);
    // A [b,h,m,k] kept as [b,m,h,k]; B [b,h,k,n] kept as [b,h,n,k], in every second case repeated along h.
    OpCase c = Matmul(
        OwnedTensor(SAGE_BF16, {b, h, m, k}, {m * h * k, k, h * k, 1}).FillNormal(random.Seed()),
        OwnedTensor(SAGE_BF16, {b, h, k, n}, {h * n * k, repeat % 2 == 0 ? n * k : 0, 1, k}).FillNormal(random.Seed()),
        OwnedTensor(SAGE_BF16, {b, h, m, n}));
    CHECK(device.Check(c) == "");
    OpCase l = Linear(OwnedTensor(SAGE_F32, {b, m, k}, {m * k + 4, k, 1}).FillNormal(random.Seed()),
                      OwnedTensor(SAGE_F32, {n, k}).FillNormal(random.Seed()), OwnedTensor(),
                      OwnedTensor(SAGE_F32, {b, m, n}));
    CHECK(device.Check(l) == "");
  }
  CHECK(Emulated().skinny == 24);
}

TEST_CASE("P5 cuda products: any types and strides and scales on the plain kernel agree with the oracle") {
  ProductDevice device("cublas=off");
  constexpr sage_dtype kFactors[] = {SAGE_F32, SAGE_F64, SAGE_BF16,      SAGE_F16,     SAGE_I8,
                                     SAGE_I8,  SAGE_I16, SAGE_F8_E4M3FN, SAGE_F8_E5M2, SAGE_F32};
  Random random(33);
  for (int repeat = 0; repeat < 120; ++repeat) {
    const sage_dtype x_type = kFactors[random.Between(0, 9)];
    const sage_dtype w_type = random.Chance(2) ? x_type : kFactors[random.Between(0, 9)];
    const auto integer = [](sage_dtype dtype) { return dtype == SAGE_I8 || dtype == SAGE_I16; };
    const bool whole = integer(x_type) && integer(w_type) && random.Chance(2);
    const bool matmul = random.Chance(3), plain = random.Chance(4);
    const int64_t k = random.Chance(12) ? 0 : random.Between(1, random.Chance(4) ? 100 : 40);
    const int64_t n = random.Between(1, random.Chance(4) ? 70 : 20);
    Shape outer = random.AnyShape(0, 3, 4);
    for (int64_t& length : outer) length = std::min<int64_t>(length, 12);
    if (matmul && outer.empty()) outer.push_back(random.Between(1, 40));
    Shape x_shape = outer, y_shape = outer, w_shape = matmul ? outer : Shape{n};
    x_shape.push_back(k), y_shape.push_back(n);
    if (matmul) w_shape.back() = k, w_shape.push_back(n);
    if (!matmul) w_shape.push_back(k);
    const sage_dtype y_type = whole                                           ? SAGE_I32
                              : random.Chance(2) || !support::IsFloat(x_type) ? random.Float()
                                                                              : x_type;
    OwnedTensor x = Laid(random, x_type, x_shape, false, random.Seed(), plain);
    OwnedTensor w = Laid(random, w_type, w_shape, false, random.Seed(), plain);
    OwnedTensor y = Laid(random, y_type, y_shape, true, 0, plain);
    OpCase c = matmul ? Matmul(x, w, y)
                      : Linear(x, w,
                               random.Chance(2) ? OwnedTensor()
                                                : Laid(random, random.Float(), {n}, false, random.Seed(), plain),
                               y, whole ? uint32_t{SAGE_FN_IDENTITY} : AnyActivation(random));
    if (!matmul && random.Chance(2)) {
      int64_t rows = 1;
      for (const int64_t length : outer) rows *= length;
      c.slots.resize(6);
      if (support::IsQuantised(x_type))
        c.slots[kScaleX] = OwnedTensor(SAGE_F32, {random.Chance(2) ? 1 : rows}).FillUniform(random.Seed(), 0.5, 2);
      if (support::IsQuantised(w_type))
        c.slots[kScaleW] = OwnedTensor(SAGE_F32, {random.Chance(2) ? 1 : n}).FillUniform(random.Seed(), 0.5, 2);
    }
    CHECK(device.Check(c) == "");
  }
  CHECK(Emulated().plain > 60);
}

TEST_CASE("P5 cuda products: every activation at its special values on both kernels") {
  ProductDevice device("cublas=off");
  const std::vector<double> values = {0,  -0.0, 1,  -1,  0.3,      -0.3,      3,   -3,    12,    -12,
                                      40, -40,  87, -87, HUGE_VAL, -HUGE_VAL, NAN, 1e-30, -1e-5, 5.5};
  const auto n = static_cast<int64_t>(values.size());
  for (uint32_t function = SAGE_FN_IDENTITY; function <= SAGE_FN_NEG; ++function) {
    if (function == SAGE_FN_ELU) continue;
    for (const sage_dtype dtype : {SAGE_F32, SAGE_F64}) {
      for (const int64_t k : {4, 5}) {  // 5: rows at no multiple of 16 bytes
        OwnedTensor w(dtype, {n, k});
        for (int64_t i = 0; i < n; ++i) w.Set({i, 0}, values[static_cast<size_t>(i)]);
        OpCase c = Linear(OwnedTensor(dtype, {1, k}).FillBy([](uint64_t i) { return i == 0 ? 1.0 : 0.0; }), w,
                          OwnedTensor(), OwnedTensor(dtype, {1, n}), function);
        CAPTURE(function);
        CHECK(device.Check(c) == "");
      }
    }
  }
}

TEST_CASE("S15 cuda products: a row has the same bits alone and among others and at every run") {
  ProductDevice device("cublas=off");
  OpCase eight = PlainLinear(SAGE_F16, 8, 24, 1024);
  REQUIRE(device.Run(eight, eight) == "");
  CHECK(Emulated().last_split > 1);
  OpCase again = eight;
  REQUIRE(device.Run(again, again) == "");
  CHECK(BitwiseEqual(again.slots[kY], eight.slots[kY]));
  for (int64_t m = 1; m < 8; ++m) {
    OpCase few = PlainLinear(SAGE_F16, m, 24, 1024);
    for (uint64_t i = 0; i < few.slots[kX].size(); ++i) few.slots[kX].Put(i, eight.slots[kX].Get(i));
    few.slots[kW] = eight.slots[kW], few.slots[kBias] = eight.slots[kBias];
    REQUIRE(device.Run(few, few) == "");
    for (uint64_t i = 0; i < few.slots[kY].size(); ++i) CHECK(few.slots[kY].Get(i) == eight.slots[kY].Get(i));
  }
}

TEST_CASE("P5 cuda products: empty results and sums over nothing") {
  ProductDevice device;
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{0, 5, 7}, {3, 0, 7}, {3, 5, 0}, {0, 0, 0}}) {
    OpCase c = PlainLinear(SAGE_F32, m, n, k);
    CHECK(device.Check(c) == "");
  }
  CHECK(Emulated().skinny + Emulated().plain == 1);
  CHECK(Fake().loaded == 0);
}

TEST_CASE("P5 cuda products: rows that are fewer at run than planned") {
  ProductDevice device("cublas=off");
  const OpCase planned = PlainLinear(SAGE_BF16, 40, 12, 64, 3, SAGE_FN_SILU, SAGE_AXIS_M);
  for (const int64_t rows : {1, 7, 8, 9, 40}) {
    OpCase c = PlainLinear(SAGE_BF16, rows, 12, 64, 3, SAGE_FN_SILU, SAGE_AXIS_M);
    CHECK(device.Check(planned, c) == "");
  }
  CHECK(Emulated().skinny > 0);
  // [B,S,K] whose rows were one run of memory as planned, and are not any more.
  const auto cube = [](int64_t b, int64_t s) {
    return Linear(OwnedTensor(SAGE_F32, {b, s, 16}, {6 * 16, 16, 1}).FillNormal(1),
                  OwnedTensor(SAGE_F32, {5, 16}).FillNormal(2), OwnedTensor(),
                  OwnedTensor(SAGE_F32, {b, s, 5}, {30, 5, 1}), SAGE_FN_IDENTITY, SAGE_AXIS_M);
  };
  for (const auto& [b, s] : {std::array<int64_t, 2>{3, 6}, {3, 2}, {1, 6}, {2, 1}}) {
    OpCase c = cube(b, s);
    CHECK(device.Check(cube(3, 6), c) == "");
  }
}

TEST_CASE("G7 cuda products: crooked addresses take the plain kernel and failed launches are sentences") {
  ProductDevice device("cublas=off");
  const OpCase planned = PlainLinear(SAGE_F32, 1, 8, 32);
  OpCase c = planned;
  c.slots[kX] = OwnedTensor(SAGE_F32, {1, 32}, {32, 1}, 4).FillNormal(9);  // a multiple of 4 bytes, not of 16
  CHECK(device.Check(planned, c) == "");
  CHECK(Emulated().skinny == 0);
  CHECK(Emulated().plain == 1);
  c.slots[kX] = OwnedTensor(SAGE_F32, {1, 32}, {32, 1}, 2).FillNormal(9);
  CHECK(device.Run(planned, c) == "run: run: the address of X is no multiple of 4 bytes, the size of its elements");
  c = planned;
  Emulated().fail = 2;
  CHECK(device.Run(planned, c).find("cuda:0: launching the skinny kernel of products: cudaErrorMemoryAllocation (2)") !=
        std::string::npos);
  Emulated().fail = 0;
  CHECK(device.Check(c) == "");
  CHECK(DeviceRuntime().pending_error() == 0);
}

TEST_CASE("G7 cuda products: few rows by a constant W may be launched early and by an activation never") {
  for (const bool constant : {true, false})
    for (const char* architectures : {"80 90-real", "80"}) {
      CAPTURE(constant);
      CAPTURE(architectures);
      EmulatedProductKernels().architectures = architectures;
      ProductDevice device("cublas=off\ndependent_launch=on");
      OpCase c = PlainLinear(SAGE_F32, 2, 6, 16);
      if (constant) c.slots[kW].Constant();
      CHECK(device.Check(c) == "");
      CHECK(Emulated().skinny == 1);
      CHECK(Emulated().last_dependent == (constant && architectures[2] != '\0'));
    }
  EmulatedProductKernels().architectures = "80";
}

TEST_CASE("R19 cuda products: constants are copied once") {
  ProductDevice device("cublas=off");
  OpCase c = PlainLinear(SAGE_F32, 2, 6, 16);
  c.slots[kW] = OwnedTensor(SAGE_F32, {6, 16}, {-16, 1}).FillNormal(4);
  c.slots[kW].Constant(), c.slots[kBias].Constant();
  CHECK(device.Check(c) == "");
}

}  // namespace sage::test
