// test_linear.cc: what the plugin cudnn makes of LINEAR and MATMUL against the oracle: types, orders, epilogues,
// batches, fewer rows. cuBLASLt is a table of functions that computes by what it is told and by nothing else.
#include <array>

#include "linear_testing.h"

namespace sage::test {
namespace {

namespace lt = cuda::lt;

// Matrices in either order, with gaps between rows that a leading dimension can say.
OwnedTensor Matrix(Random& random, sage_dtype dtype, int64_t rows, int64_t columns, bool across) {
  const int64_t gap = random.Chance(2) ? 0 : random.Between(1, 5);
  OwnedTensor tensor(dtype, {rows, columns}, across ? Shape{1, rows + gap} : Shape{columns + gap, 1});
  return tensor.FillNormal(random.Seed());
}

}  // namespace

TEST_CASE("P5 cudnn LINEAR: every type and order and epilogue that is served agrees with the oracle") {
  const FreshFakes fresh;
  LinearDevice device;
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  Random random(19);
  constexpr uint32_t kFunctions[] = {SAGE_FN_IDENTITY, SAGE_FN_RELU, SAGE_FN_GELU_TANH};
  int served = 0, refused = 0, fused = 0;
  for (int repeat = 0; repeat < 200; ++repeat) {
    const sage_dtype dtype = random.Float();
    const int64_t m = random.Between(1, 33), n = random.Between(1, 37), k = random.Between(1, 41);
    const sage_dtype y_type = random.Chance(4) ? uint32_t{SAGE_F32} : dtype;
    Fake().workspace_bytes = random.Chance(2) ? 0 : static_cast<uint64_t>(random.Between(1, 3000));
    OwnedTensor y = Matrix(random, y_type, m, n, false);
    y.Fill(0);
    OpCase c = Linear(Matrix(random, dtype, m, k, random.Chance(3)), Matrix(random, dtype, n, k, random.Chance(3)),
                      random.Chance(2) ? OwnedTensor() : OwnedTensor(y_type, {n}).FillNormal(random.Seed()), y,
                      kFunctions[random.Between(0, 2)]);
    Fake().matmuls.clear();
    const sage_answer answer = device.Ask(c);
    if (answer.verdict != SAGE_YES) {
      ++refused;
      CHECK_MESSAGE(Has(answer.reason, "LINEAR is refused: it takes a kernel behind cuBLASLt for "), answer.reason);
      continue;
    }
    ++served;
    CHECK(device.Check(c) == "");
    const bool half = dtype == SAGE_F16 || dtype == SAGE_BF16;
    CHECK(device.accuracy == (half ? SAGE_ACCURACY_NATIVE : SAGE_ACCURACY_EXACT));
    CHECK(answer.cost_ns > 0);
    REQUIRE(Fake().matmuls.size() == 1);
    CHECK(Fake().matmuls[0].workspace_bytes == Fake().workspace_bytes);
    fused += Fake().matmuls[0].epilogue != lt::kEpilogueNone ? 1 : 0;
  }
  CHECK(served > 120);
  CHECK(refused > 10);  // GELU_TANH of 32 bits, f32 out of f64
  CHECK(fused > 60);
}

TEST_CASE("P5 cudnn MATMUL: batches and transposed operands in one call or several agree with the oracle") {
  const FreshFakes fresh;
  LinearDevice device;
  Random random(23);
  bool several = false, broadcast = false, transposed = false;
  for (int repeat = 0; repeat < 120; ++repeat) {
    const sage_dtype dtype = random.Float();
    const int64_t b = random.Between(1, 4), h = random.Between(1, 4), m = random.Between(1, 12),
                  n = random.Between(2, 12), k = random.Between(2, 20);
    const auto any = [&](int64_t rows, int64_t columns, bool output) {
      // [b,h,rows,columns] kept as it is, or as [b,rows,h,columns], or, of what is read, with the last two exchanged.
      const int64_t order = random.Between(0, output ? 1 : 2);
      Shape strides = order == 0   ? Shape{h * rows * columns, rows * columns, columns, 1}
                      : order == 1 ? Shape{h * rows * columns, columns, h * columns, 1}
                                   : Shape{h * rows * columns, rows * columns, 1, rows};
      if (!output && random.Chance(4)) strides[static_cast<size_t>(random.Between(0, 1))] = 0;
      OwnedTensor tensor(dtype, {b, h, rows, columns}, strides);
      return output ? tensor : tensor.FillNormal(random.Seed());
    };
    OpCase c = Matmul(any(m, k, false), any(k, n, false), any(m, n, true));
    Fake().matmuls.clear();
    const sage_answer answer = device.Ask(c);
    if (answer.verdict != SAGE_YES) {  // rows of A that no order joins, once they are one with the heads
      CHECK_MESSAGE(Has(answer.reason, "MATMUL is refused: cuBLASLt: X is contiguous along neither"), answer.reason);
      continue;
    }
    CHECK(device.Check(c) == "");
    REQUIRE(!Fake().matmuls.empty());
    several = several || Fake().matmuls.size() > 1;
    for (const FakeMatmul& call : Fake().matmuls) {
      broadcast = broadcast || (call.d.batch > 1 && (call.a.batch_offset == 0 || call.b.batch_offset == 0));
      transposed = transposed || call.trans_b != lt::kNormal;
    }
  }
  CHECK(several);
  CHECK(broadcast);
  CHECK(transposed);
}

TEST_CASE("P5 cudnn LINEAR: fewer rows at run are served by what was planned") {
  const FreshFakes fresh;
  LinearDevice device;
  Random random(29);
  constexpr uint32_t kFunctions[] = {SAGE_FN_IDENTITY, SAGE_FN_RELU, SAGE_FN_GELU_TANH};
  bool batched = false, joined = false;
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int64_t n = random.Between(1, 17), k = random.Between(1, 20), rank = random.Between(1, 3);
    const uint32_t function = kFunctions[random.Between(0, 2)];
    Shape longest;
    for (int64_t axis = 0; axis < rank; ++axis) longest.push_back(random.Between(1, 6));
    const bool bias = random.Chance(2), gaps = random.Chance(3);
    const auto seed = static_cast<uint64_t>(repeat);
    // Strides are those of the longest shape, whatever is in use; with gaps, no rows are one behind the other.
    const auto make = [&](const Shape& outer) {
      const auto laid = [&](int64_t last) {
        Shape shape = outer, strides(outer.size() + 1, 1);
        shape.push_back(last);
        int64_t step = last + (gaps ? 3 : 0);
        for (size_t axis = outer.size(); axis-- > 0;)
          strides[axis] = step, step = step * longest[axis] + (gaps ? 8 : 0);
        return OwnedTensor(SAGE_BF16, shape, strides);
      };
      return Linear(laid(k).FillNormal(seed), OwnedTensor(SAGE_BF16, {n, k}).FillNormal(seed + 1),
                    bias ? OwnedTensor(SAGE_BF16, {n}).FillNormal(seed + 2) : OwnedTensor(), laid(n), function,
                    SAGE_AXIS_M);
    };
    const OpCase planned = make(longest);
    size_t asked = 0;
    for (int run = 0; run < 6; ++run) {
      Shape outer = longest;
      for (int64_t& length : outer)
        length = random.Chance(3) ? length : random.Chance(3) ? 1 : random.Between(1, length);
      OpCase c = make(outer);
      Fake().matmuls.clear();
      CHECK(device.Check(planned, c) == "");
      if (run == 0) asked = Fake().asked.size();
      CHECK(Fake().asked.size() == asked);  // nothing is asked anew
      REQUIRE(!Fake().matmuls.empty());
      batched = batched || Fake().matmuls[0].d.batch > 1;
      joined = joined || (rank > 1 && Fake().matmuls[0].d.batch == 1 && Fake().matmuls[0].d.columns > 6);
    }
  }
  CHECK(batched);
  CHECK(joined);
}

TEST_CASE("P5 cudnn MATMUL: fewer rows and a smaller batch at run are served by what was planned") {
  const FreshFakes fresh;
  LinearDevice device;
  Random random(31);
  for (int repeat = 0; repeat < 40; ++repeat) {
    const int64_t b = random.Between(1, 9), h = random.Between(1, 8), m = random.Between(1, 11),
                  n = random.Between(1, 9), k = random.Between(1, 16);
    // A's rows are contiguous over h and m, B may repeat along h: then they are one matrix until there are fewer.
    const bool across = random.Chance(2), repeats = random.Chance(2);
    const auto make = [&](int64_t batch, int64_t rows) {
      return Matmul(OwnedTensor(SAGE_F16, {batch, h, rows, k},
                                across ? Shape{k * h * m, m, 1, h * m} : Shape{k * h * m, m * k, k, 1})
                        .FillNormal(1),
                    OwnedTensor(SAGE_F16, {batch, h, k, n}, {k * n * h, repeats ? 0 : k * n, n, 1}).FillNormal(2),
                    OwnedTensor(SAGE_F16, {batch, h, rows, n}, {h * m * n, m * n, n, 1}), SAGE_AXIS_M | SAGE_AXIS_B);
    };
    const OpCase planned = make(b, m);
    for (const auto& [batch, rows] :
         {std::array<int64_t, 2>{b, m}, {b, random.Between(1, m)}, {1, m}, {1, 1}, {b, 1}, {random.Between(1, b), m}}) {
      OpCase c = make(batch, rows);
      CHECK(device.Check(planned, c) == "");
    }
  }
}

TEST_CASE("P5 cudnn LINEAR: bytes are summed exactly as integers") {
  const FreshFakes fresh;
  LinearDevice device;
  const auto bytes = [](int64_t m, int64_t n, int64_t k, sage_dtype y_type) {
    return Linear(OwnedTensor(SAGE_I8, {m, k}).FillIntegers(1, -128, 127),
                  OwnedTensor(SAGE_I8, {n, k}).FillIntegers(2, -128, 127), OwnedTensor(), OwnedTensor(y_type, {m, n}));
  };
  for (const int64_t m : {1, 3, 12, 31}) {
    OpCase c = bytes(m, 16, 64, SAGE_I32);
    CHECK(device.Check(c) == "");
    CHECK(device.accuracy == SAGE_ACCURACY_EXACT);
  }
  CHECK(Fake().matmuls.at(0).compute == lt::kCompute32I);
  for (const OpCase& odd : {bytes(12, 15, 64, SAGE_I32), bytes(12, 16, 63, SAGE_I32)})
    CHECK(Has(device.Ask(odd).reason, "integers have to be contiguous along K, with N, K and rows at multiples of 4"));
  OpCase apart = bytes(12, 16, 64, SAGE_I32);
  apart.slots[kY] = OwnedTensor(SAGE_I32, {12, 16}, {18, 1});
  CHECK(Has(device.Ask(apart).reason, "for a Y whose rows are no multiple of 4 apart"));
  CHECK(Has(device.Ask(bytes(12, 16, 64, SAGE_F32)).reason, "for a Y of neither X's type nor the sums'"));
  OpCase scaled = bytes(12, 16, 64, SAGE_F32);
  scaled.slots.resize(6);
  scaled.slots[kScaleX] = OwnedTensor(SAGE_F32, {12}).FillUniform(5, 0.001, 0.01);
  CHECK(device.Ask(scaled).verdict == SAGE_NO);
}

TEST_CASE("P5 cudnn LINEAR: f32 is never rounded unless LOSSY is accepted and EXACT refuses 16 bits") {
  const FreshFakes fresh;
  LinearDevice device;
  OpCase exact = PlainLinear(SAGE_F32, 24, 16, 40);
  CHECK(device.Check(exact) == "");
  CHECK(device.accuracy == SAGE_ACCURACY_EXACT);
  REQUIRE(Fake().matmuls.size() == 1);
  CHECK(Fake().matmuls[0].compute == lt::kCompute32F);
  CHECK((Fake().asked[0].numerics & (lt::kNumericsInputTf32 | lt::kNumericsInput16F | lt::kNumericsInput16BF)) == 0);
  OpCase lossy = PlainLinear(SAGE_F32, 24, 16, 40, 1, SAGE_FN_IDENTITY, 0, SAGE_ACCURACY_LOSSY);
  CHECK(device.Check(lossy) == "");
  CHECK(device.accuracy == SAGE_ACCURACY_LOSSY);
  CHECK(device.reason == "cuBLASLt in tf32 on NVIDIA H200");
  CHECK(Fake().matmuls[1].compute == lt::kCompute32FFastTf32);
  OpCase wide = PlainLinear(SAGE_F64, 24, 16, 40);
  CHECK(device.Check(wide) == "");
  CHECK(Fake().matmuls[2].compute == lt::kCompute64F);
  CHECK(device.reason == "cuBLASLt on NVIDIA H200");
  const sage_answer half = device.Ask(PlainLinear(SAGE_F16, 24, 16, 40, 1, SAGE_FN_IDENTITY, 0, SAGE_ACCURACY_EXACT));
  CHECK(half.verdict == SAGE_NO);
  CHECK(std::string(half.reason) == "LINEAR is refused: EXACT is asked for, and cuBLASLt's sums of 16 bits are NATIVE");
}

TEST_CASE("P5 cudnn LINEAR: an empty result runs nothing and opens no library") {
  const FreshFakes fresh;
  LinearDevice device;
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{0, 5, 7}, {3, 0, 7}, {0, 0, 0}}) {
    OpCase c = PlainLinear(SAGE_F32, m, n, k);
    CHECK(device.Check(c) == "");
  }
  CHECK(Fake().loaded == 0);
  OpCase none = PlainLinear(SAGE_F32, 9, 8, 8, 1, SAGE_FN_IDENTITY, SAGE_AXIS_M);
  OpCase fewer = PlainLinear(SAGE_F32, 0, 8, 8, 1, SAGE_FN_IDENTITY, SAGE_AXIS_M);
  CHECK(device.Check(none, fewer) == "");
  CHECK(Fake().matmuls.empty());
}

}  // namespace sage::test
