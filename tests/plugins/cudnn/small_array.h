// small_array.h: an array of bf16 or f16 as a graph's operand, read and written as doubles.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_SMALL_ARRAY_H_
#define SAGE_TESTS_PLUGINS_CUDNN_SMALL_ARRAY_H_

#include <cstdint>
#include <random>
#include <vector>

#include "cudnn/api.h"
#include "support/owned_tensor.h"

namespace sage::cudnn::fake {

class SmallArray {
 public:
  explicit SmallArray(int64_t count, int type = kBFloat16, double value = 0) {
    if (type == kHalf) exponent_ = 5, mantissa_ = 10;
    bits_.assign(static_cast<size_t>(count), Encoded(value));
  }
  void* data() { return bits_.data(); }
  int64_t size() const { return static_cast<int64_t>(bits_.size()); }
  double At(int64_t i) const { return test::DecodeSmallFloat(bits_.at(static_cast<size_t>(i)), exponent_, mantissa_); }
  void Put(int64_t i, double value) { bits_.at(static_cast<size_t>(i)) = Encoded(value); }
  void Fill(std::mt19937* random) {
    std::normal_distribution<double> normal;
    for (uint16_t& each : bits_) each = Encoded(normal(*random));
  }

 private:
  uint16_t Encoded(double value) const {
    return static_cast<uint16_t>(test::EncodeSmallFloat(value, exponent_, mantissa_));
  }
  std::vector<uint16_t> bits_;
  int exponent_ = 8, mantissa_ = 7;
};

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_SMALL_ARRAY_H_
