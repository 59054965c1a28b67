// The quantiser where memory, sizes and numbers end: nothing hangs, nothing is read that is not there, and an error
// leaves the caller's memory as it was.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "sage/quantize.h"
#include "support/error_slot.h"

using sage::test::Error;

namespace {

constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T>
sage_tensor Describe(sage_dtype dtype, const std::vector<int64_t>& shape, std::vector<T>& data) {
  sage_tensor tensor;
  sage_tensor_init(&tensor, dtype, static_cast<uint32_t>(shape.size()), shape.data(), data.data());
  return tensor;
}

}  // namespace

TEST_CASE("R6 quantise: a scale among the denormals still reaches the largest value") {
  // 190 steps of the smallest float: 190 / 127 rounds to one step, which would reach 127 of them.
  std::vector<float> x = {190 * kDenormal, -63 * kDenormal, 0, kDenormal}, scale(1);
  std::vector<int8_t> codes(4);
  const sage_tensor in = Describe(SAGE_F32, {1, 1, 1, 4}, x), out = Describe(SAGE_I8, {1, 1, 1, 4}, codes),
                    scales = Describe(SAGE_F32, {1}, scale);
  sage_quantize_report report{};
  report.struct_size = sizeof report;
  Error e;
  REQUIRE_MESSAGE(sage_quantize(&in, SAGE_PER_TENSOR, 0, 0, nullptr, &out, &scales, nullptr, &report, &e) == SAGE_OK,
                  e.message);
  CHECK(scale[0] == 2 * kDenormal);
  CHECK(codes == std::vector<int8_t>{95, -32, 0, 0});
  CHECK(report.max_abs_error <= static_cast<double>(scale[0]) / 2);
  CHECK(report.saturated == 0);
}

TEST_CASE("R6 quantise: what no f32 scale or mean can say is refused and nothing is written") {
  std::vector<double> x = {1e300, 1, 2, 3};
  std::vector<float> scale(1, -1.0f), mean(2, -1.0f);
  std::vector<int8_t> codes(4, 77);
  const sage_tensor in = Describe(SAGE_F64, {1, 1, 2, 2}, x), out = Describe(SAGE_I8, {1, 1, 2, 2}, codes),
                    scales = Describe(SAGE_F32, {1}, scale), means = Describe(SAGE_F32, {1, 1, 2}, mean);
  Error e;
  CHECK(sage_quantize(&in, SAGE_PER_TENSOR, 0, 0, nullptr, &out, &scales, nullptr, nullptr, &e) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("its scale is beyond f32"), e.message);
  CHECK(sage_quantize(&in, SAGE_PER_TENSOR, 0, 0, nullptr, &out, &scales, &means, nullptr, &e) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("the mean of x over sequence 0 is beyond f32 in head 0, channel 0"), e.message);
  x = {1, 2, 3, kNaN};
  scale[0] = 1;
  CHECK(sage_quantize(&in, SAGE_PER_TENSOR, 0, SAGE_QUANTIZE_GIVEN_SCALES, nullptr, &out, &scales, nullptr, nullptr,
                      &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("x[0,0,1,1] is nan"), e.message);
  CHECK(codes == std::vector<int8_t>(4, 77));
  CHECK(mean == std::vector<float>(2, -1.0f));
}

TEST_CASE("R6 quantise: a scale beyond 0 to infinity or a mean of NaN is refused on the way back too") {
  std::vector<int16_t> codes = {1, -32767};
  std::vector<float> scale(1), mean = {0, static_cast<float>(kNaN)}, x(2, 5.0f);
  const sage_tensor in = Describe(SAGE_I16, {1, 1, 1, 2}, codes), scales = Describe(SAGE_F32, {1}, scale),
                    means = Describe(SAGE_F32, {1, 1, 2}, mean), out = Describe(SAGE_F32, {1, 1, 1, 2}, x);
  Error e;
  for (const double bad : {0.0, -1.0, kNaN, std::numeric_limits<double>::infinity()}) {
    scale[0] = static_cast<float>(bad);
    CHECK(sage_dequantize(&in, SAGE_PER_TENSOR, 0, nullptr, &scales, nullptr, &out, &e) == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(e.Says("finite ones above 0 are expected"), e.message);
  }
  scale[0] = 0.5f;
  CHECK(sage_dequantize(&in, SAGE_PER_TENSOR, 0, nullptr, &scales, &means, &out, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("mean 1 of 2 is nan"), e.message);
  CHECK(x == std::vector<float>(2, 5.0f));
  mean[1] = 2;
  REQUIRE_MESSAGE(sage_dequantize(&in, SAGE_PER_TENSOR, 0, nullptr, &scales, &means, &out, &e) == SAGE_OK, e.message);
  CHECK(x == std::vector<float>{0.5f, -16381.5f});
}

TEST_CASE("quantise: f16 and bf16 are read and written as they are") {
  // 1, -2, 0.5, 3 in either.
  const std::vector<std::pair<sage_dtype, std::vector<uint16_t>>> cases = {
      {SAGE_F16, {0x3c00, 0xc000, 0x3800, 0x4200}}, {SAGE_BF16, {0x3f80, 0xc000, 0x3f00, 0x4040}}};
  for (const auto& [dtype, bits] : cases) {
    std::vector<uint16_t> x = bits, back(4);
    std::vector<float> scale = {0.5f};
    std::vector<int8_t> codes(4);
    const sage_tensor in = Describe(dtype, {1, 1, 2, 2}, x), out = Describe(SAGE_I8, {1, 1, 2, 2}, codes),
                      scales = Describe(SAGE_F32, {1}, scale), again = Describe(dtype, {1, 1, 2, 2}, back);
    Error e;
    REQUIRE_MESSAGE(sage_quantize(&in, SAGE_PER_TENSOR, 0, SAGE_QUANTIZE_GIVEN_SCALES, nullptr, &out, &scales, nullptr,
                                  nullptr, &e) == SAGE_OK,
                    e.message);
    CHECK(codes == std::vector<int8_t>{2, -4, 1, 6});
    REQUIRE_MESSAGE(sage_dequantize(&out, SAGE_PER_TENSOR, 0, nullptr, &scales, nullptr, &again, &e) == SAGE_OK,
                    e.message);
    CHECK(back == bits);
  }
}

TEST_CASE("quantise: one set of scales may serve the batch, and packed sequences may have one each") {
  std::vector<float> x = {1, 2, 10, 20, 100, 200}, shared(2), each(4);
  std::vector<int8_t> codes(6);
  sage_tensor in = Describe(SAGE_F32, {3, 1, 1, 2}, x), out = Describe(SAGE_I8, {3, 1, 1, 2}, codes),
              scales = Describe(SAGE_F32, {1, 1}, shared);
  Error e;
  REQUIRE_MESSAGE(sage_quantize(&in, SAGE_PER_HEAD, 0, 0, nullptr, &out, &scales, nullptr, nullptr, &e) == SAGE_OK,
                  e.message);
  CHECK(shared[0] == 200.0f / 127);
  // Packed: two tokens, none, one token.
  std::vector<int32_t> starts = {0, 2, 2, 3};
  in = Describe(SAGE_F32, {3, 1, 2}, x), out = Describe(SAGE_I8, {3, 1, 2}, codes);
  scales = Describe(SAGE_F32, {3, 1}, each);
  const sage_tensor cu = Describe(SAGE_I32, {4}, starts);
  CHECK(sage_quantize(&in, SAGE_PER_HEAD, 0, 0, nullptr, &out, &scales, nullptr, nullptr, &e) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("scale has the shape [3, 1]: [1,...] is expected for packed rows"), e.message);
  REQUIRE_MESSAGE(sage_quantize(&in, SAGE_PER_HEAD, 0, 0, &cu, &out, &scales, nullptr, nullptr, &e) == SAGE_OK,
                  e.message);
  CHECK(each == std::vector<float>{20.0f / 127, 1, 200.0f / 127, 0});
  CHECK(codes[3] == 127);
  CHECK(codes[5] == 127);
  scales = Describe(SAGE_F32, {2, 1}, each);
  CHECK(sage_quantize(&in, SAGE_PER_HEAD, 0, 0, &cu, &out, &scales, nullptr, nullptr, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("scale has the shape [2, 1], [3, 1] is expected"), e.message);
}

TEST_CASE("quantise: cu_seqlens that do not fit are refused by name") {
  std::vector<float> x(6), scale(2);
  std::vector<int8_t> codes(6);
  std::vector<int32_t> starts = {0, 1, 3};
  const sage_tensor in = Describe(SAGE_F32, {3, 1, 2}, x), out = Describe(SAGE_I8, {3, 1, 2}, codes),
                    scales = Describe(SAGE_F32, {1, 1}, scale);
  Error e;
  const auto refused = [&](const sage_tensor& cu, const char* says) {
    CHECK(sage_quantize(&in, SAGE_PER_HEAD, 0, 0, &cu, &out, &scales, nullptr, nullptr, &e) == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(e.Says(says), e.message);
  };
  starts[2] = 4;
  refused(Describe(SAGE_I32, {3}, starts), "cu_seqlens ends with 4, x has 3 tokens");
  starts[0] = 1;
  refused(Describe(SAGE_I32, {3}, starts), "cu_seqlens is 1 at 0");
  starts = {0, 3, 1};
  refused(Describe(SAGE_I32, {3}, starts), "cu_seqlens is 1 at 2");
  refused(Describe(SAGE_I32, {0}, starts), "cu_seqlens is i32 [0], i32 [B+1] is expected");
  refused(Describe(SAGE_U8, {3}, starts), "cu_seqlens is u8 [3]");
  sage_tensor endless = Describe(SAGE_I32, {int64_t{1} << 50}, starts);
  endless.stride[0] = 0;
  refused(endless, "cu_seqlens has stride 0");
  const sage_tensor right = Describe(SAGE_I32, {3}, starts), whole = Describe(SAGE_F32, {1, 3, 1, 2}, x),
                    whole_codes = Describe(SAGE_I8, {1, 3, 1, 2}, codes);
  CHECK(sage_quantize(&whole, SAGE_PER_HEAD, 0, 0, &right, &whole_codes, &scales, nullptr, nullptr, &e) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("it is for packed rows"), e.message);
  CHECK(sage_quantize(&in, SAGE_PER_BLOCK, 2, 0, &right, &out, &scales, nullptr, nullptr, &e) !=
        SAGE_OK);  // cu_seqlens comes first
  starts = {0, 1, 3};
  CHECK(sage_quantize(&in, SAGE_PER_BLOCK, 2, 0, &right, &out, &scales, nullptr, nullptr, &e) == SAGE_E_UNSUPPORTED);
  CHECK_MESSAGE(e.Says("scales per block are not defined for packed rows"), e.message);
}

TEST_CASE("quantise: tensors of nothing end at once however many rows their shapes name") {
  constexpr int64_t kMany = int64_t{1} << 50;
  std::vector<float> scale(1, 2.0f), mean(1);
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{1, 1, kMany, 0}, {kMany, 1, 1, 0}, {kMany, 0, 4, 4}}) {
    sage_tensor x, codes, means;
    sage_tensor_init(&x, SAGE_F32, 4, shape.data(), nullptr);
    sage_tensor_init(&codes, SAGE_I8, 4, shape.data(), nullptr);
    const int64_t mean_shape[] = {shape[0], shape[1], shape[3]};
    sage_tensor_init(&means, SAGE_F32, 3, mean_shape, nullptr);
    const sage_tensor scales = Describe(SAGE_F32, {1}, scale);
    sage_quantize_report report{};
    report.struct_size = sizeof report;
    Error e;
    CHECK_MESSAGE(sage_quantize(&x, SAGE_PER_TENSOR, 0, 0, nullptr, &codes, &scales, &means, &report, &e) == SAGE_OK,
                  e.message);
    CHECK(scale[0] == 1);
    CHECK(report.elements == 0);
    CHECK(report.rms_error == 0);
    CHECK_MESSAGE(sage_dequantize(&codes, SAGE_PER_TENSOR, 0, nullptr, &scales, &means, &x, &e) == SAGE_OK, e.message);
  }
  // Scales for heads without tokens: one number that repeats is not read 2^50 times.
  const int64_t shape[] = {1, kMany, 0, 4}, scale_shape[] = {1, kMany};
  sage_tensor x, codes, scales;
  sage_tensor_init(&x, SAGE_F32, 4, shape, nullptr);
  sage_tensor_init(&codes, SAGE_I8, 4, shape, nullptr);
  sage_tensor_init(&scales, SAGE_F32, 2, scale_shape, scale.data());
  scales.stride[1] = 0;
  Error e;
  CHECK_MESSAGE(sage_quantize(&x, SAGE_PER_HEAD, 0, SAGE_QUANTIZE_GIVEN_SCALES, nullptr, &codes, &scales, nullptr,
                              nullptr, &e) == SAGE_OK,
                e.message);
}

TEST_CASE("quantise: what is written overlaps nothing, what is only read may be read-only") {
  std::vector<float> memory(64, 1.0f);
  std::vector<int8_t> codes(8);
  std::vector<float> x(memory.begin(), memory.begin() + 8);
  const auto at = [&](const std::vector<int64_t>& shape, size_t offset) {
    sage_tensor tensor;
    sage_tensor_init(&tensor, SAGE_F32, static_cast<uint32_t>(shape.size()), shape.data(), memory.data() + offset);
    return tensor;
  };
  sage_tensor in = at({1, 2, 2, 2}, 0), out = Describe(SAGE_I8, {1, 2, 2, 2}, codes);
  Error e;
  const auto quantize = [&](const sage_tensor& scale, const sage_tensor& mean, uint32_t flags) {
    return sage_quantize(&in, SAGE_PER_HEAD, 0, flags, nullptr, &out, &scale, &mean, nullptr, &e);
  };
  CHECK(quantize(at({1, 2}, 7), at({1, 2, 2}, 10), 0) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("scale is written and overlaps x"), e.message);
  CHECK(quantize(at({1, 2}, 8), at({1, 2, 2}, 9), 0) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("scale is written and overlaps mean"), e.message);
  CHECK(quantize(at({1, 2}, 7), at({1, 2, 2}, 5), SAGE_QUANTIZE_GIVEN_SCALES) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("mean is written and overlaps x"), e.message);
  sage_tensor scale = at({1, 2}, 7);
  in.flags = scale.flags = SAGE_TENSOR_READ_ONLY;
  CHECK_MESSAGE(quantize(scale, at({1, 2, 2}, 10), SAGE_QUANTIZE_GIVEN_SCALES) == SAGE_OK, e.message);
  CHECK(quantize(scale, at({1, 2, 2}, 10), 0) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("scale is written, so its memory cannot be constant or read-only"), e.message);
  sage_tensor mean = at({1, 2, 2}, 10), back = Describe(SAGE_F32, {1, 2, 2, 2}, x);
  mean.flags = out.flags = SAGE_TENSOR_READ_ONLY;
  CHECK_MESSAGE(sage_dequantize(&out, SAGE_PER_HEAD, 0, nullptr, &scale, &mean, &back, &e) == SAGE_OK, e.message);
  back.flags = SAGE_TENSOR_READ_ONLY;
  CHECK(sage_dequantize(&out, SAGE_PER_HEAD, 0, nullptr, &scale, &mean, &back, &e) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(e.Says("x is written"), e.message);
}

TEST_CASE("quantise: the report is written to the caller's size and a size that cannot be is refused") {
  std::vector<float> x = {1, 2}, scale(1);
  std::vector<int8_t> codes(2, 77);
  const sage_tensor in = Describe(SAGE_F32, {1, 1, 1, 2}, x), out = Describe(SAGE_I8, {1, 1, 1, 2}, codes),
                    scales = Describe(SAGE_F32, {1}, scale);
  struct {
    sage_quantize_report report;
    uint64_t newer[2];
  } room;
  Error e;
  const auto with_size = [&](uint32_t size) {
    std::memset(&room, 0xa5, sizeof room);
    room.report.struct_size = size;
    return sage_quantize(&in, SAGE_PER_TENSOR, 0, 0, nullptr, &out, &scales, nullptr, &room.report, &e);
  };
  for (const uint32_t size : {0u, 7u, 4097u}) {
    CHECK(with_size(size) == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(e.Says("report->struct_size is " + std::to_string(size)), e.message);
    CHECK(codes[0] == 77);
  }
  REQUIRE(with_size(16) == SAGE_OK);
  CHECK(room.report.struct_size == 16);
  CHECK(room.report.elements == 2);
  CHECK(room.report.saturated == 0xa5a5a5a5a5a5a5a5u);
  REQUIRE(with_size(sizeof room) == SAGE_OK);
  CHECK(room.report.code_bytes == 2);
  CHECK(room.newer[1] == 0);  // what a newer caller has is zero
}
