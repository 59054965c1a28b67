// test_sage_hpp_quantize.cc: the quantiser through sage.hpp: the C API's codes, and its errors as exceptions.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "sage.hpp"

namespace {

// What `call` throws.
template <class Call>
std::string Refusal(Call&& call) {
  try {
    call();
  } catch (const sage::Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("sage.hpp: the quantiser and back; given scales saturate; a mean is written and added again") {
  const std::vector<float> x = {0.5f, -2.0f, 0.25f, 1.0f};
  std::vector<int8_t> codes(4);
  std::vector<float> scale(2), mean(2), back(4);
  const sage::Tensor in(x, {1, 1, 2, 2}), out(codes, {1, 1, 2, 2}), scales(scale, {1, 1, 2}), means(mean, {1, 1, 2}),
      again(back, {1, 1, 2, 2});
  const sage::Quantization by_token(SAGE_PER_TOKEN);
  sage_quantize_report report = by_token.quantize(in, out, scales);
  CHECK(codes == std::vector<int8_t>{32, -127, 32, 127});
  CHECK(scale == std::vector<float>{2.0f / 127, 1.0f / 127});
  CHECK(report.code_bytes == 4);
  CHECK(report.scale_bytes == 8);
  by_token.dequantize(out, scales, again);
  for (size_t i = 0; i < x.size(); ++i) CHECK(std::fabs(back[i] - x[i]) <= 1.0f / 127);

  by_token.quantize(in, out, scales, &means);
  CHECK(mean == std::vector<float>{0.375f, -0.5f});
  by_token.dequantize(out, scales, again, &means);
  for (size_t i = 0; i < x.size(); ++i) CHECK(std::fabs(back[i] - x[i]) <= 1.0f / 127);

  scale = {0.01f, 0.01f};
  report = by_token.quantize_with(in, out, scales);
  CHECK(report.saturated == 1);
  CHECK(codes == std::vector<int8_t>{50, -127, 25, 100});
  CHECK(scale == std::vector<float>{0.01f, 0.01f});
}

TEST_CASE("sage.hpp: the quantiser over packed rows, by blocks, and what it refuses") {
  std::vector<float> x = {1, 2, 3, 4, 5, 6};
  std::vector<int16_t> codes(6);
  std::vector<float> scale(2);
  const std::vector<int32_t> starts = {0, 1, 3};
  const sage::Tensor packed(x, {3, 1, 2}), out(codes, {3, 1, 2}), scales(scale, {2, 1});
  sage::Quantization by_head(SAGE_PER_HEAD);
  CHECK(Refusal([&] { by_head.quantize(packed, out, scales); }).find("cu_seqlens") != std::string::npos);
  by_head.cu_seqlens(sage::Tensor(starts, {3}));
  by_head.quantize(packed, out, scales);
  CHECK(scale == std::vector<float>{2.0f / 32767, 6.0f / 32767});
  const sage::Tensor whole(x, {1, 1, 3, 2}), whole_codes(codes, {1, 1, 3, 2}), blocks(scale, {1, 1, 2});
  sage::Quantization(SAGE_PER_BLOCK, 2).quantize(whole, whole_codes, blocks);
  CHECK(scale == std::vector<float>{4.0f / 32767, 6.0f / 32767});
  CHECK(Refusal([&] {
          sage::Quantization(SAGE_PER_BLOCK).quantize(whole, whole_codes, blocks);
        }).find("scale_block is 0") != std::string::npos);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(Refusal([&] { sage::Quantization(SAGE_PER_BLOCK, 2).quantize(whole, whole_codes, blocks); }) ==
        "x[0,0,1,1] is nan: only finite values have codes");
}
