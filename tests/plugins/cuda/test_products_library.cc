// test_products_library.cc: LINEAR and MATMUL by cuBLASLt, over a table of functions that compute by what they are
// told: what the library is asked and told, what is left to our kernels, and what becomes of everything that fails.
#include "common/cuda/products/product_library.h"
#include "product_testing.h"

namespace sage::test {
namespace {

namespace lt = cuda::lt;

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// As the fake is set by nobody.
struct FreshFake {
  FreshFake() { Fake() = {}; }
  ~FreshFake() { Fake() = {}; }
};

// Matrices in either order, with gaps between rows that a leading dimension can say.
OwnedTensor Matrix(Random& random, sage_dtype dtype, int64_t rows, int64_t columns) {
  const int64_t gap = random.Chance(2) ? 0 : random.Between(1, 5);
  const bool across = random.Chance(3);
  OwnedTensor tensor(dtype, {rows, columns}, across ? Shape{1, rows + gap} : Shape{columns + gap, 1});
  return tensor.FillNormal(random.Seed());
}

}  // namespace

TEST_CASE("P5 cublasLt: LINEAR in either order of every operand agrees with the oracle") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  Random random(91);
  constexpr uint32_t kFunctions[] = {SAGE_FN_IDENTITY, SAGE_FN_RELU, SAGE_FN_GELU, SAGE_FN_GELU_TANH, SAGE_FN_SILU};
  size_t by_library = 0, finished = 0, fused = 0;
  for (int repeat = 0; repeat < 150; ++repeat) {
    const sage_dtype dtype = random.Float();
    const int64_t m = random.Between(1, 30), n = random.Between(8, 30), k = random.Between(8, 40);
    // Y of the same type, or of f32 behind 16 bits, or of another.
    const sage_dtype y_type = random.Chance(2) ? dtype : random.Chance(2) ? uint32_t{SAGE_F32} : random.Float();
    Fake().has_fused = !random.Chance(4);
    Fake().workspace_bytes = random.Chance(2) ? 0 : static_cast<uint64_t>(random.Between(1, 3000));
    OwnedTensor y = Matrix(random, y_type, m, n);
    y.Fill(0);
    OpCase c =
        Linear(Matrix(random, dtype, m, k), Matrix(random, dtype, n, k),
               random.Chance(3) ? OwnedTensor()
                                : OwnedTensor(random.Chance(2) ? y_type : random.Float(), {n}).FillNormal(repeat),
               y, kFunctions[random.Between(0, 4)]);
    Fake().matmuls.clear();
    CHECK(device.Check(c) == "");
    by_library += Fake().matmuls.size();
    if (!Fake().matmuls.empty() && Fake().matmuls[0].epilogue != lt::kEpilogueNone) ++fused;
  }
  finished = static_cast<size_t>(Emulated().finish);
  CHECK(by_library > 70);
  CHECK(finished > 30);
  CHECK(fused > 10);
}

TEST_CASE("P5 cublasLt: batches of MATMUL in one call or several agree with the oracle") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  Random random(17);
  size_t by_library = 0;
  bool several = false, broadcast = false;
  for (int repeat = 0; repeat < 80; ++repeat) {
    const sage_dtype dtype = random.Float();
    const int64_t b = random.Between(1, 4), h = random.Between(1, 4), m = random.Between(1, 12),
                  n = random.Between(4, 12), k = random.Between(4, 20);
    const auto any = [&](int64_t rows, int64_t columns, bool output) {
      // [b,h,rows,columns] kept as it is, or as [b,rows,h,columns], or with the last two exchanged.
      const int64_t order = random.Between(0, 2);
      Shape strides = order == 0   ? Shape{h * rows * columns, rows * columns, columns, 1}
                      : order == 1 ? Shape{h * rows * columns, columns, h * columns, 1}
                                   : Shape{h * rows * columns, rows * columns, 1, rows};
      if (!output && random.Chance(4)) strides[static_cast<size_t>(random.Between(0, 1))] = 0;
      OwnedTensor tensor(dtype, {b, h, rows, columns}, strides);
      return output ? tensor : tensor.FillNormal(random.Seed());
    };
    OpCase c = Matmul(any(m, k, false), any(k, n, false), any(m, n, true));
    Fake().matmuls.clear();
    CHECK(device.Check(c) == "");
    by_library += Fake().matmuls.empty() ? 0 : 1;
    several = several || Fake().matmuls.size() > 1;
    for (const FakeMatmul& call : Fake().matmuls)
      broadcast = broadcast || (call.d.batch > 1 && (call.a.batch_offset == 0 || call.b.batch_offset == 0));
  }
  CHECK(by_library > 40);
  CHECK(several);
  CHECK(broadcast);
}

TEST_CASE("P5 cublasLt: y is w times x along columns with its types and leading dimensions") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  // X [24,40] in rows of 48, W [16,40] in rows of 44, Y [24,16] in rows of 20.
  OpCase c = Linear(OwnedTensor(SAGE_BF16, {24, 40}, {48, 1}).FillNormal(1),
                    OwnedTensor(SAGE_BF16, {16, 40}, {44, 1}).FillNormal(2), OwnedTensor(SAGE_BF16, {16}).FillNormal(3),
                    OwnedTensor(SAGE_BF16, {24, 16}, {20, 1}), SAGE_FN_GELU_TANH);
  CHECK(device.Check(c) == "");
  CHECK(device.accuracy == SAGE_ACCURACY_NATIVE);
  REQUIRE(Fake().matmuls.size() == 1);
  const FakeMatmul& call = Fake().matmuls[0];
  CHECK(call.compute == lt::kCompute32F);
  CHECK(call.scale_type == lt::kR32F);
  CHECK(call.trans_a == lt::kTransposed);
  CHECK(call.trans_b == lt::kNormal);
  CHECK(call.a.type == lt::kR16BF);
  CHECK(call.a.rows == 40);
  CHECK(call.a.columns == 16);
  CHECK(call.a.ld == 44);
  CHECK(call.b.rows == 40);
  CHECK(call.b.columns == 24);
  CHECK(call.b.ld == 48);
  CHECK(call.d.type == lt::kR16BF);
  CHECK(call.d.rows == 16);
  CHECK(call.d.columns == 24);
  CHECK(call.d.ld == 20);
  CHECK(call.epilogue == (lt::kEpilogueBias | lt::kEpilogueGeluTanh));
  CHECK(call.bias == c.slots[kBias].tensor()->data);
  REQUIRE(Fake().asked.size() == 1);
  CHECK(Fake().asked[0].reductions == 3);  // in place, and by a kernel in the accumulator's type
  CHECK(Fake().asked[0].align_a == 16);
  CHECK(Fake().asked[0].most_workspace >= 1u << 20);
  CHECK(Fake().asked[0].most_workspace <= 32u << 20);
}

TEST_CASE("P5 cublasLt: GELU by erf is a kernel of ours and never the library's") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  OpCase c = PlainLinear(SAGE_BF16, 24, 16, 40, 1, SAGE_FN_GELU);
  CHECK(device.Check(c) == "");
  REQUIRE(Fake().matmuls.size() == 1);
  CHECK(Fake().matmuls[0].epilogue == lt::kEpilogueNone);
  CHECK(Fake().matmuls[0].d.type == lt::kR32F);  // what is rounded later has not been rounded before
  CHECK(device.workspace_bytes == 24 * 16 * 4);
  CHECK(Emulated().finish == 1);
  // By tanh, in f32: the library's tanh is one for 16 bits.
  OpCase wide = PlainLinear(SAGE_F32, 24, 16, 40, 1, SAGE_FN_GELU_TANH);
  CHECK(device.Check(wide) == "");
  CHECK(Fake().matmuls[1].epilogue == lt::kEpilogueNone);
  CHECK(device.workspace_bytes == 0);  // f32 is finished where it lies
  CHECK(Emulated().finish == 2);
}

TEST_CASE("P5 cublasLt: f32 is never rounded unless LOSSY is accepted and EXACT keeps 16 bits from tensor cores") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  OpCase exact = PlainLinear(SAGE_F32, 24, 16, 40);
  CHECK(device.Check(exact) == "");
  CHECK(device.accuracy == SAGE_ACCURACY_EXACT);
  REQUIRE(Fake().matmuls.size() == 1);
  CHECK(Fake().matmuls[0].compute == lt::kCompute32F);
  CHECK((Fake().asked[0].numerics & (lt::kNumericsInputTf32 | lt::kNumericsInput16F | lt::kNumericsInput16BF)) == 0);
  OpCase lossy = PlainLinear(SAGE_F32, 24, 16, 40, 1, SAGE_FN_IDENTITY, 0, SAGE_ACCURACY_LOSSY);
  CHECK(device.Check(lossy) == "");
  CHECK(device.accuracy == SAGE_ACCURACY_LOSSY);
  CHECK(Fake().matmuls[1].compute == lt::kCompute32FFastTf32);
  OpCase half = PlainLinear(SAGE_F16, 24, 16, 40, 1, SAGE_FN_IDENTITY, 0, SAGE_ACCURACY_EXACT);
  CHECK(device.Check(half) == "");
  CHECK(device.accuracy == SAGE_ACCURACY_EXACT);
  CHECK(Fake().matmuls.size() == 2);
  CHECK(Has(device.reason, "cuBLASLt's sums are of class NATIVE"));
  OpCase wide = PlainLinear(SAGE_F64, 24, 16, 40);
  CHECK(device.Check(wide) == "");
  REQUIRE(Fake().matmuls.size() == 3);
  CHECK(Fake().matmuls[2].compute == lt::kCompute64F);
  CHECK(Fake().matmuls[2].scale_type == lt::kR64F);
}

TEST_CASE("P5 cublasLt: bytes with scales are summed as integers and scaled by a kernel of ours") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  const auto bytes = [](int64_t m, int64_t n, int64_t k, sage_dtype y_type) {
    OpCase c =
        Linear(OwnedTensor(SAGE_I8, {m, k}).FillIntegers(1, -128, 127),
               OwnedTensor(SAGE_I8, {n, k}).FillIntegers(2, -128, 127), OwnedTensor(), OwnedTensor(y_type, {m, n}));
    c.slots.resize(6);
    return c;
  };
  OpCase c = bytes(12, 16, 64, SAGE_BF16);
  c.slots[kBias] = OwnedTensor(SAGE_F32, {16}).FillNormal(4);
  c.slots[kScaleX] = OwnedTensor(SAGE_F32, {12}).FillUniform(5, 0.001, 0.01);
  c.slots[kScaleW] = OwnedTensor(SAGE_F32, {16}).FillUniform(6, 0.001, 0.01);
  CHECK(device.Check(c) == "");
  REQUIRE(Fake().matmuls.size() == 1);
  CHECK(Fake().matmuls[0].compute == lt::kCompute32I);
  CHECK(Fake().matmuls[0].d.type == lt::kR32I);
  CHECK(Emulated().finish == 1);
  OpCase whole = bytes(12, 16, 64, SAGE_I32);
  CHECK(device.Check(whole) == "");
  CHECK(Fake().matmuls.size() == 2);
  CHECK(Emulated().finish == 1);  // its own result
  OpCase odd = bytes(12, 15, 64, SAGE_I32);
  CHECK(device.Check(odd) == "");
  CHECK(Fake().matmuls.size() == 2);
  CHECK(Has(device.reason, "multiples of 4"));
}

TEST_CASE("R19 cublasLt: it is loaded when it is first worth it and heuristics are asked once a shape") {
  const FreshFake fresh;
  {
    ProductDevice device;  // an H200
    OpCase few = PlainLinear(SAGE_BF16, 1, 768, 768);
    CHECK(Has(device.Ask(few).reason, "skinny"));
    CHECK(Fake().loaded == 0);
    OpCase many = PlainLinear(SAGE_BF16, 256, 768, 768);
    CHECK(Has(device.Ask(many).reason, "cuBLASLt on NVIDIA H200"));
    CHECK(Fake().loaded == 1);
    CHECK(Fake().created == 1);
    CHECK(Fake().path == "");
    CHECK(Fake().asked.size() == 1);
    CHECK(device.Ask(many).verdict == SAGE_YES);
    OpCase fewer = PlainLinear(SAGE_BF16, 250, 768, 768);  // the same step of 16 rows
    CHECK(device.Ask(fewer).verdict == SAGE_YES);
    CHECK(Fake().asked.size() == 1);
    CHECK(Fake().asked[0].d.columns == 256);
    for (OpCase other : {PlainLinear(SAGE_F16, 256, 768, 768), PlainLinear(SAGE_BF16, 240, 768, 768),
                         PlainLinear(SAGE_BF16, 256, 776, 768), PlainLinear(SAGE_BF16, 256, 768, 776),
                         PlainLinear(SAGE_BF16, 256, 768, 768, 1, SAGE_FN_RELU)})
      CHECK(device.Ask(other).verdict == SAGE_YES);
    CHECK(Fake().asked.size() == 6);
    CHECK(Fake().loaded == 1);
  }
  CHECK(Fake().destroyed == 1);
  CHECK(cuda::BucketOfRows(1) == 1);
  CHECK(cuda::BucketOfRows(16) == 16);
  CHECK(cuda::BucketOfRows(17) == 32);
  CHECK(cuda::BucketOfRows(257) == 320);
  CHECK(cuda::BucketOfRows(4097) == 4352);
  CHECK(cuda::BucketOfRows(INT32_MAX) == INT32_MAX);
}

TEST_CASE("G7 cublasLt: without it our kernels serve and say why") {
  const FreshFake fresh;
  Fake().loads = false;
  ProductDevice device(nullptr, SlowDevice());
  OpCase c = PlainLinear(SAGE_F32, 24, 16, 40);
  CHECK(device.Check(c) == "");
  CHECK(
      device.reason ==
      "plain kernel of products for sm_90; cuBLASLt could not be loaded: libcublasLt.so.13: cannot open shared object "
      "file: No such file or directory");
  CHECK(device.Check(c) == "");
  CHECK(Fake().loaded == 1);  // not tried again
  CHECK(Emulated().plain == 2);
}

TEST_CASE("G7 cublasLt: options") {
  const FreshFake fresh;
  {
    ProductDevice device("cublas=off", SlowDevice());
    OpCase c = PlainLinear(SAGE_F32, 24, 16, 40);
    CHECK(device.Check(c) == "");
    CHECK(Has(device.reason, "cuBLASLt is turned off"));
    CHECK(Fake().loaded == 0);
  }
  {
    ProductDevice device("cublas=/opt/nvidia/lib\n");
    CHECK(device.status() == SAGE_OK);
    CHECK(Fake().path == "/opt/nvidia/lib");
    CHECK(Fake().loaded == 1);
  }
  Fake().loads = false;
  {
    ProductDevice device("cublas=/opt/none");
    CHECK(device.status() == SAGE_E_UNSUPPORTED);
    CHECK(Has(device.message(), "create: cublas is \"/opt/none\": cuBLASLt could not be loaded: libcublasLt.so.13"));
  }
  ProductDevice empty("cublas=");
  CHECK(empty.status() == SAGE_E_INVALID_ARGUMENT);
  ProductDevice unknown("cubles=off");
  CHECK(Has(unknown.message(),
            "option \"cubles\" is unknown to cuda; it has: kernels, splits, cublas, dependent_launch, hopper_stages, "
            "rates"));
}

TEST_CASE("G7 cublasLt: whatever call fails is our kernel's work at ask and a sentence in a run") {
  const FreshFake fresh;
  OpCase planned = PlainLinear(SAGE_F32, 24, 16, 40);
  planned.slots[kBias] = OwnedTensor();  // with a bias it would be asked again, for the product alone
  int calls = 0;
  {
    ProductDevice device(nullptr, SlowDevice());
    OpCase c = planned;
    REQUIRE(device.Check(c) == "");
    calls = Fake().calls;
  }
  int sentences = 0, ours = 0;
  for (int nth = 1; nth <= calls; ++nth) {
    CAPTURE(nth);
    Fake().fail_call = nth;
    ProductDevice device(nullptr, SlowDevice());
    OpCase c = planned;
    const std::string failure = device.Check(c);
    if (failure.empty()) {
      CHECK(Has(device.reason, "plain kernel"));
      CHECK(Has(device.reason, "CUBLAS_STATUS_INTERNAL_ERROR (14): an internal operation failed"));
      ++ours;
    } else {
      CHECK(failure.rfind("run: cuda:0: cublasLtMatmul: CUBLAS_STATUS_INTERNAL_ERROR (14)", 0) == 0);
      ++sentences;
    }
  }
  CHECK(ours > 8);
  CHECK(sentences > 4);
}

TEST_CASE("G7 cublasLt: a library that starts on no device and heuristics that know nothing") {
  const FreshFake fresh;
  Fake().create_status = 1;
  {
    ProductDevice device(nullptr, SlowDevice());
    OpCase c = PlainLinear(SAGE_F32, 24, 16, 40);
    CHECK(device.Check(c) == "");
    CHECK(Has(device.reason, "cuBLASLt on cuda:0: "));
  }
  CHECK(Fake().destroyed == 0);
  Fake().create_status = 0, Fake().heuristic_status = lt::kNotSupported;
  ProductDevice device(nullptr, SlowDevice());
  OpCase c = PlainLinear(SAGE_F32, 24, 16, 40);
  CHECK(device.Check(c) == "");
  CHECK(Has(device.reason, "cuBLASLt has no algorithm for it: CUBLAS_STATUS_NOT_SUPPORTED (15)"));
  // Addresses that it was not asked for.
  Fake().heuristic_status = 0;
  ProductDevice other(nullptr, SlowDevice());
  OpCase crooked = c;
  crooked.slots[kX] = OwnedTensor(SAGE_F32, {24, 40}, {40, 1}, 4).FillNormal(3);
  CHECK(other.Check(c, crooked) == "");
  CHECK(Fake().matmuls.empty());
  CHECK(Emulated().plain == 1);
}

TEST_CASE("P5 cublasLt: fewer rows at run keep the algorithm and its workspace") {
  const FreshFake fresh;
  Fake().workspace_bytes = 1000;
  ProductDevice device(nullptr, SlowDevice());
  const auto cube = [](int64_t b, int64_t s, uint32_t activation) {
    return Linear(OwnedTensor(SAGE_BF16, {b, s, 40}, {6 * 40, 40, 1}).FillNormal(1),
                  OwnedTensor(SAGE_BF16, {16, 40}).FillNormal(2), OwnedTensor(SAGE_BF16, {16}).FillNormal(3),
                  OwnedTensor(SAGE_BF16, {b, s, 16}, {6 * 16, 16, 1}), activation, SAGE_AXIS_M);
  };
  for (const uint32_t activation : {SAGE_FN_GELU_TANH, SAGE_FN_SILU}) {
    size_t asked = 0;
    for (const auto& [b, s] : {std::array<int64_t, 2>{5, 6}, {5, 3}, {4, 6}, {1, 6}, {2, 1}, {5, 1}}) {
      OpCase c = cube(b, s, activation);
      Fake().matmuls.clear();
      CHECK(device.Check(cube(5, 6, activation), c) == "");
      if (asked == 0) asked = Fake().asked.size();
      CHECK(Fake().asked.size() == asked);
      if (Fake().matmuls.empty()) continue;  // so few rows that our kernel has them
      REQUIRE(Fake().matmuls.size() == 1);
      const FakeMatmul& call = Fake().matmuls[0];
      CHECK(call.d.columns * static_cast<uint64_t>(call.d.batch) == static_cast<uint64_t>(b * s));
      CHECK(call.workspace_bytes == 1000);
      CHECK(device.workspace_bytes == (activation == SAGE_FN_SILU ? 1024 + 30 * 16 * 4 : 1024));
    }
  }
  // What the library does not do for fewer rows is done by our kernel; for as many as planned it is an error.
  Fake().least_rows = 10;
  OpCase fewer = cube(1, 6, SAGE_FN_SILU);
  const int before = Emulated().plain + Emulated().skinny;
  CHECK(device.Check(cube(5, 6, SAGE_FN_SILU), fewer) == "");
  CHECK(Emulated().plain + Emulated().skinny == before + 1);
  Fake().most_rows = 12;
  OpCase whole = cube(5, 6, SAGE_FN_SILU);
  CHECK(Has(device.Check(whole), "cublasLtMatmul: CUBLAS_STATUS_NOT_SUPPORTED (15)"));
}

TEST_CASE("P5 cublasLt: an algorithm is never given strides that are less even than those it was chosen for") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  // Rows of A are contiguous over h and m, as B repeats along h: one matrix a batch, until there are fewer of m. Those
  // of one h then begin at a multiple of 22 bytes.
  const auto shape = [](int64_t b, int64_t m) {
    constexpr int64_t kH = 8, kM = 11, kK = 16, kN = 8;
    return Matmul(OwnedTensor(SAGE_BF16, {b, kH, m, kK}, {kK * kH * kM, kM, 1, kH * kM}).FillNormal(1),
                  OwnedTensor(SAGE_BF16, {b, kH, kK, kN}, {kK * kN, 0, kN, 1}).FillNormal(2),
                  OwnedTensor(SAGE_BF16, {b, kH, m, kN}, {kH * kM * kN, kM * kN, kN, 1}), SAGE_AXIS_M | SAGE_AXIS_B);
  };
  for (const auto& [b, m] : {std::array<int64_t, 2>{9, 11}, {9, 10}, {2, 11}, {1, 11}, {1, 1}, {9, 1}}) {
    OpCase c = shape(b, m);
    CHECK(device.Check(shape(9, 11), c) == "");
  }
  CHECK(!Fake().matmuls.empty());
}

TEST_CASE("R19 cublasLt: a run takes no memory of the CPU") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  OpCase c = PlainLinear(SAGE_BF16, 24, 16, 40);
  REQUIRE(device.Check(c) == "");
  Fake().forgets = true;
  const uint64_t before = device.heap_allocations;
  REQUIRE(device.Check(c) == "");
  CHECK(device.heap_allocations == before);
}

TEST_CASE("R19 cublasLt: a constant W is the device's copy") {
  const FreshFake fresh;
  ProductDevice device(nullptr, SlowDevice());
  OpCase c = PlainLinear(SAGE_BF16, 24, 16, 40);
  c.slots[kW].Constant(), c.slots[kBias].Constant();
  CHECK(device.Check(c) == "");
  REQUIRE(Fake().matmuls.size() == 1);
  CHECK(Fake().matmuls[0].bias != c.slots[kBias].tensor()->data);
}

}  // namespace sage::test
