// The quantiser through libsage.so: what codes and scales are for every granularity, and what is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "sage/quantize.h"
#include "support/error_slot.h"

using sage::test::Error;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

sage_tensor Describe(sage_dtype dtype, const std::vector<int64_t>& shape, void* data) {
  sage_tensor tensor;
  sage_tensor_init(&tensor, dtype, static_cast<uint32_t>(shape.size()), shape.data(), data);
  return tensor;
}

std::vector<float> Normal(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

// x [B,H,S,D] with memory for everything that a call may write.
struct Problem {
  int64_t b, h, s, d;
  std::vector<float> x, scale, mean;
  std::vector<int8_t> codes;
  sage_quantize_report report{};
  Error error;

  Problem(int64_t batch, int64_t heads, int64_t tokens, int64_t dim, uint32_t seed = 1)
      : b(batch),
        h(heads),
        s(tokens),
        d(dim),
        x(Normal(static_cast<size_t>(b * h * s * d), seed)),
        codes(x.size(), 77) {
    report.struct_size = sizeof report;
  }
  sage_tensor X() { return Describe(SAGE_F32, {b, h, s, d}, x.data()); }
  sage_tensor Codes() { return Describe(SAGE_I8, {b, h, s, d}, codes.data()); }
  std::vector<int64_t> ScaleShape(uint32_t granularity, int64_t block) const {
    switch (granularity) {
      case SAGE_PER_TENSOR:
        return {1};
      case SAGE_PER_HEAD:
        return {b, h};
      case SAGE_PER_TOKEN:
        return {b, h, s};
      case SAGE_PER_CHANNEL:
        return {b, h, d};
      default:
        return {b, h, (s + block - 1) / block};
    }
  }
  // Where element [i,j,k,c] has its scale.
  size_t ScaleAt(uint32_t granularity, int64_t block, int64_t i, int64_t j, int64_t k, int64_t c) const {
    const int64_t head = i * h + j;
    switch (granularity) {
      case SAGE_PER_TENSOR:
        return 0;
      case SAGE_PER_HEAD:
        return static_cast<size_t>(head);
      case SAGE_PER_TOKEN:
        return static_cast<size_t>(head * s + k);
      case SAGE_PER_CHANNEL:
        return static_cast<size_t>(head * d + c);
      default:
        return static_cast<size_t>(head * ((s + block - 1) / block) + k / block);
    }
  }
  sage_status Quantize(uint32_t granularity, uint32_t block = 0, uint32_t flags = 0, bool with_mean = false) {
    const std::vector<int64_t> shape = ScaleShape(granularity, block == 0 ? 1 : block);
    size_t count = 1;
    for (const int64_t length : shape) count *= static_cast<size_t>(length);
    scale.resize(count, -1.0f), mean.resize(static_cast<size_t>(b * h * d), -1.0f);
    const sage_tensor in = X(), out = Codes(), scales = Describe(SAGE_F32, shape, scale.data()),
                      means = Describe(SAGE_F32, {b, h, d}, mean.data());
    return sage_quantize(&in, granularity, block, flags, nullptr, &out, &scales, with_mean ? &means : nullptr, &report,
                         &error);
  }
};

}  // namespace

TEST_CASE("R6 quantise: absmax by every granularity: the largest has code 127 and each its nearest") {
  for (const uint32_t granularity :
       {SAGE_PER_TENSOR, SAGE_PER_HEAD, SAGE_PER_TOKEN, SAGE_PER_CHANNEL, SAGE_PER_BLOCK}) {
    CAPTURE(granularity);
    Problem p(2, 3, 13, 5, granularity);
    const uint32_t block = granularity == SAGE_PER_BLOCK ? 4 : 0;
    REQUIRE_MESSAGE(p.Quantize(granularity, block) == SAGE_OK, p.error.message);
    std::vector<double> largest(p.scale.size());
    std::vector<int> top(p.scale.size());
    double squares = 0, worst = 0;
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t i = 0, at = 0; i < p.b; ++i)
        for (int64_t j = 0; j < p.h; ++j)
          for (int64_t k = 0; k < p.s; ++k)
            for (int64_t c = 0; c < p.d; ++c, ++at) {
              const size_t group = p.ScaleAt(granularity, block, i, j, k, c), element = static_cast<size_t>(at);
              const double value = static_cast<double>(p.x[element]);
              if (pass == 0) {
                largest[group] = std::max(largest[group], std::fabs(value));
                continue;
              }
              CHECK(p.scale[group] == static_cast<float>(largest[group] / 127));
              const double step = static_cast<double>(p.scale[group]), error = value - p.codes[element] * step;
              CHECK(std::fabs(error) <= step / 2 * (1 + 1e-6));
              top[group] = std::max(top[group], std::abs(static_cast<int>(p.codes[element])));
              squares += error * error, worst = std::max(worst, std::fabs(error));
            }
    for (const int code : top) CHECK(code == 127);
    CHECK(p.report.elements == p.x.size());
    CHECK(p.report.saturated == 0);
    CHECK(p.report.zero_groups == 0);
    CHECK(p.report.max_abs_error == worst);
    CHECK(p.report.rms_error == doctest::Approx(std::sqrt(squares / static_cast<double>(p.x.size()))).epsilon(1e-12));
  }
}

TEST_CASE("R8 quantise: codes are exactly a quarter of f32; scales and means are counted apart") {
  Problem p(2, 4, 64, 32);
  REQUIRE(p.Quantize(SAGE_PER_TOKEN, 0, 0, true) == SAGE_OK);
  CHECK(p.report.code_bytes * 4 == p.x.size() * sizeof(float));
  CHECK(p.report.code_bytes == p.codes.size());
  CHECK(p.report.scale_bytes == 4 * (2 * 4 * 64 + 2 * 4 * 32));
}

TEST_CASE("R6 quantise: given scales saturate and what saturates is counted; ties go to even") {
  Problem p(1, 1, 1, 8);
  p.x = {0.5f, 1.5f, -2.5f, 126.4f, 127.4f, 127.5f, -127.5f, 1000};
  p.scale = {1.0f};
  REQUIRE_MESSAGE(p.Quantize(SAGE_PER_TENSOR, 0, SAGE_QUANTIZE_GIVEN_SCALES) == SAGE_OK, p.error.message);
  CHECK(p.codes == std::vector<int8_t>{0, 2, -2, 126, 127, 127, -127, 127});
  CHECK(p.report.saturated == 3);
  CHECK(p.scale[0] == 1.0f);
  for (const float bad : {0.0f, -1.0f, kNaN, std::numeric_limits<float>::infinity()}) {
    p.scale = {bad};
    CHECK(p.Quantize(SAGE_PER_TENSOR, 0, SAGE_QUANTIZE_GIVEN_SCALES) == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(p.error.Says("finite ones above 0 are expected"), p.error.message);
  }
}

TEST_CASE("R6 quantise: a group of zeros has codes 0 and scale 1; the smallest and the largest floats have scales") {
  Problem p(1, 2, 2, 4);
  std::fill(p.x.begin(), p.x.end(), 0.0f);
  p.x[9] = 1e-45f, p.x[13] = 3e38f;
  REQUIRE(p.Quantize(SAGE_PER_TOKEN) == SAGE_OK);
  CHECK(p.report.zero_groups == 2);
  CHECK(p.scale[0] == 1.0f);
  for (size_t i = 0; i < 8; ++i) CHECK(p.codes[i] == 0);
  CHECK(p.scale[2] > 0);
  CHECK(p.codes[9] == 1);  // one step of the smallest scale there is
  CHECK(p.codes[13] == 127);
}

TEST_CASE("R6 quantise: NaN and Inf are refused with their place, and nothing is written") {
  for (const float bad : {kNaN, -kNaN, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()})
    for (const bool with_mean : {false, true}) {
      Problem p(1, 2, 3, 4);
      p.x[17] = bad;
      CHECK(p.Quantize(SAGE_PER_TOKEN, 0, 0, with_mean) == SAGE_E_INVALID_ARGUMENT);
      CHECK_MESSAGE(p.error.Says(std::isnan(bad) ? "x[0,1,1,1] is nan" : "x[0,1,1,1] is "), p.error.message);
      for (const int8_t code : p.codes) CHECK(code == 77);
      for (const float scale : p.scale) CHECK(scale == -1.0f);
      for (const float mean : p.mean) CHECK(mean == -1.0f);
    }
}

TEST_CASE("quantise: means are each sequence's own also of packed rows and dequantise brings them back") {
  constexpr int64_t kHeads = 2, kDim = 3;
  std::vector<int32_t> starts = {0, 4, 4, 9};
  std::vector<float> x = Normal(static_cast<size_t>(9 * kHeads * kDim), 3), scale(kHeads * 9), mean(3 * kHeads * kDim);
  for (size_t i = 0; i < 4 * kHeads * kDim; ++i) x[i] += 100;  // the first sequence lies elsewhere
  std::vector<int8_t> codes(x.size());
  std::vector<float> back(x.size());
  const sage_tensor in = Describe(SAGE_F32, {9, kHeads, kDim}, x.data()),
                    out = Describe(SAGE_I8, {9, kHeads, kDim}, codes.data()),
                    scales = Describe(SAGE_F32, {kHeads, 9}, scale.data()),
                    means = Describe(SAGE_F32, {3, kHeads, kDim}, mean.data()),
                    cu = Describe(SAGE_I32, {4}, starts.data()),
                    again = Describe(SAGE_F32, {9, kHeads, kDim}, back.data());
  Error e;
  CHECK(sage_quantize(&in, SAGE_PER_TOKEN, 0, 0, nullptr, &out, &scales, &means, nullptr, &e) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("give cu_seqlens"), e.message);
  REQUIRE_MESSAGE(sage_quantize(&in, SAGE_PER_TOKEN, 0, 0, &cu, &out, &scales, &means, nullptr, &e) == SAGE_OK,
                  e.message);
  for (int64_t h = 0; h < kHeads; ++h)
    for (int64_t c = 0; c < kDim; ++c) {
      double sums[2] = {0, 0};
      for (int64_t t = 0; t < 9; ++t)
        sums[t < 4 ? 0 : 1] += static_cast<double>(x[static_cast<size_t>((t * kHeads + h) * kDim + c)]);
      const auto at = static_cast<size_t>(h * kDim + c);
      CHECK(mean[at] == static_cast<float>(sums[0] / 4));
      CHECK(mean[kHeads * kDim + at] == 0.0f);  // of no token
      CHECK(mean[2 * kHeads * kDim + at] == static_cast<float>(sums[1] / 5));
    }
  REQUIRE_MESSAGE(sage_dequantize(&out, SAGE_PER_TOKEN, 0, &cu, &scales, &means, &again, &e) == SAGE_OK, e.message);
  for (size_t i = 0; i < x.size(); ++i) CHECK(std::fabs(back[i] - x[i]) < 0.03f);  // of a spread of 1, not of 100
  starts[1] = 5, starts[2] = 4;
  CHECK(sage_quantize(&in, SAGE_PER_TOKEN, 0, 0, &cu, &out, &scales, &means, nullptr, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("does not fall"), e.message);
}

TEST_CASE("quantise: strides, every float type and i16 give what the row-major f32 gives") {
  Problem p(1, 2, 6, 4);
  REQUIRE(p.Quantize(SAGE_PER_TOKEN) == SAGE_OK);
  // [B,S,H,D] memory seen as [B,H,S,D], in f64; codes row-major.
  std::vector<double> turned(p.x.size());
  for (size_t h = 0; h < 2; ++h)
    for (size_t s = 0; s < 6; ++s)
      for (size_t c = 0; c < 4; ++c) turned[(s * 2 + h) * 4 + c] = static_cast<double>(p.x[(h * 6 + s) * 4 + c]);
  sage_tensor in = Describe(SAGE_F64, {1, 2, 6, 4}, turned.data());
  in.stride[1] = 4, in.stride[2] = 8;
  in.flags = SAGE_TENSOR_READ_ONLY;
  std::vector<int8_t> codes(p.codes.size());
  std::vector<float> scale(p.scale.size());
  const sage_tensor out = Describe(SAGE_I8, {1, 2, 6, 4}, codes.data()),
                    scales = Describe(SAGE_F32, {1, 2, 6}, scale.data());
  Error e;
  REQUIRE_MESSAGE(sage_quantize(&in, SAGE_PER_TOKEN, 0, 0, nullptr, &out, &scales, nullptr, nullptr, &e) == SAGE_OK,
                  e.message);
  CHECK(codes == p.codes);
  CHECK(scale == p.scale);
  std::vector<int16_t> wide(p.codes.size());
  const sage_tensor wider = Describe(SAGE_I16, {1, 2, 6, 4}, wide.data());
  sage_quantize_report report{};
  report.struct_size = sizeof report;
  REQUIRE(sage_quantize(&in, SAGE_PER_TOKEN, 0, 0, nullptr, &wider, &scales, nullptr, &report, &e) == SAGE_OK);
  CHECK(report.max_abs_error < p.report.max_abs_error / 100);
  CHECK(report.code_bytes == 2 * p.codes.size());
}

TEST_CASE("quantise: what does not fit is refused by name, with what is expected") {
  Problem p(1, 2, 6, 4);
  REQUIRE(p.Quantize(SAGE_PER_HEAD) == SAGE_OK);
  Error e;
  struct Call {
    sage_tensor x, codes, scale;
    uint32_t granularity = SAGE_PER_HEAD, block = 0, flags = 0;
  };
  const auto refused = [&](auto change, sage_status status, const char* says) {
    Call call{p.X(), p.Codes(), Describe(SAGE_F32, {1, 2}, p.scale.data())};
    change(call);
    CHECK(sage_quantize(&call.x, call.granularity, call.block, call.flags, nullptr, &call.codes, &call.scale, nullptr,
                        nullptr, &e) == status);
    CHECK_MESSAGE(e.Says(says), e.message);
  };
  refused([](Call& c) { c.granularity = 0; }, SAGE_E_INVALID_ARGUMENT, "granularity is 0");
  refused([](Call& c) { c.granularity = 6; }, SAGE_E_INVALID_ARGUMENT, "granularity is 6");
  refused([](Call& c) { c.granularity = SAGE_PER_BLOCK; }, SAGE_E_INVALID_ARGUMENT, "scale_block is 0");
  refused([](Call& c) { c.block = 4; }, SAGE_E_INVALID_ARGUMENT, "not per block");
  refused([](Call& c) { c.granularity = SAGE_PER_TOKEN; }, SAGE_E_INVALID_ARGUMENT,
          "scale has the shape [1, 2], [1, 2, 6] is expected");
  refused([](Call& c) { c.flags = 2; }, SAGE_E_UNKNOWN_FIELD, "flags 0x2");
  refused([](Call& c) { c.x.dtype = SAGE_I8; }, SAGE_E_INVALID_ARGUMENT, "x is i8");
  refused([](Call& c) { c.codes.dtype = SAGE_U8; }, SAGE_E_INVALID_ARGUMENT, "codes is u8, i8 or i16");
  refused([](Call& c) { c.codes.shape[2] = 5; }, SAGE_E_INVALID_ARGUMENT, "codes has the shape [1, 2, 5, 4]");
  refused([](Call& c) { c.scale.dtype = SAGE_F64; }, SAGE_E_INVALID_ARGUMENT, "scale is f64");
  refused([](Call& c) { c.x.rank = 2; }, SAGE_E_INVALID_ARGUMENT, "x has rank 2");
  refused([](Call& c) { c.x.rank = 9; }, SAGE_E_INVALID_ARGUMENT, "x has rank 9");
  refused([](Call& c) { c.x.shape[1] = -1; }, SAGE_E_INVALID_ARGUMENT, "length -1");
  refused([](Call& c) { c.x.shape[0] = c.x.shape[2] = int64_t{1} << 40; }, SAGE_E_INVALID_ARGUMENT,
          "too many elements");
  refused([](Call& c) { c.x.stride[1] = INT64_MAX; }, SAGE_E_INVALID_ARGUMENT, "address space");
  refused([](Call& c) { c.x.device_type = SAGE_CUDA; }, SAGE_E_UNSUPPORTED, "device type 2");
  refused([](Call& c) { c.x.data = nullptr; }, SAGE_E_INVALID_ARGUMENT, "x has no data");
  refused([](Call& c) { c.codes.stride[3] = 0; }, SAGE_E_INVALID_ARGUMENT, "codes is written, so no axis");
  refused([](Call& c) { c.codes.flags = SAGE_TENSOR_READ_ONLY; }, SAGE_E_INVALID_ARGUMENT, "codes is written");
  refused([](Call& c) { c.codes.data = c.x.data; }, SAGE_E_INVALID_ARGUMENT, "codes is written and overlaps x");
  refused([](Call& c) { c.x.struct_size = 3; }, SAGE_E_INVALID_ARGUMENT, "x's struct_size");
  const sage_tensor x = p.X();
  CHECK(sage_quantize(&x, SAGE_PER_HEAD, 0, 0, nullptr, nullptr, nullptr, nullptr, nullptr, &e) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("codes is null"), e.message);
  Problem empty(1, 2, 0, 4);
  CHECK(empty.Quantize(SAGE_PER_HEAD) == SAGE_OK);
  CHECK(empty.report.zero_groups == 2);
}
