// quantize.hpp: floats as signed integers with scales, and back: what sage/quantize.h says.
//
// Part of sage.hpp, which says how all of it is used. Pure functions, any thread.
#ifndef SAGE_CPP_QUANTIZE_HPP_
#define SAGE_CPP_QUANTIZE_HPP_

#include <sage/quantize.h>

#include <cstdint>
#include <optional>

#include "tensor.hpp"

namespace sage {
inline namespace cpp {

// Which scale is whose. x, codes, scale and mean have the types and shapes that sage/quantize.h gives them.
class Quantization {
 public:
  // granularity: SAGE_PER_*. scale_block: tokens, with SAGE_PER_BLOCK.
  explicit Quantization(uint32_t granularity, uint32_t scale_block = 0)
      : granularity_(granularity), scale_block_(scale_block) {}
  // i32 [B+1]: where packed sequences begin, and the last one ends.
  Quantization& cu_seqlens(const Tensor& starts) {
    cu_seqlens_ = starts;
    return *this;
  }

  // Writes codes, scale (absmax) and, where it is given, mean.
  sage_quantize_report quantize(const Tensor& x, const Tensor& codes, const Tensor& scale,
                                const Tensor* mean = nullptr) const {
    return Call(x, codes, scale, mean, 0);
  }
  // scale is read; what it does not reach saturates, and the report counts it.
  sage_quantize_report quantize_with(const Tensor& x, const Tensor& codes, const Tensor& scale,
                                     const Tensor* mean = nullptr) const {
    return Call(x, codes, scale, mean, SAGE_QUANTIZE_GIVEN_SCALES);
  }
  // x = scale * codes + mean
  void dequantize(const Tensor& codes, const Tensor& scale, const Tensor& x, const Tensor* mean = nullptr) const {
    detail::Check([&](sage_error* error) {
      return sage_dequantize(&codes.raw(), granularity_, scale_block_, Raw(cu_seqlens_), &scale.raw(),
                             mean == nullptr ? nullptr : &mean->raw(), &x.raw(), error);
    });
  }

 private:
  static const sage_tensor* Raw(const std::optional<Tensor>& tensor) { return tensor ? &tensor->raw() : nullptr; }
  sage_quantize_report Call(const Tensor& x, const Tensor& codes, const Tensor& scale, const Tensor* mean,
                            uint32_t flags) const {
    sage_quantize_report report{};
    report.struct_size = sizeof report;
    detail::Check([&](sage_error* error) {
      return sage_quantize(&x.raw(), granularity_, scale_block_, flags, Raw(cu_seqlens_), &codes.raw(), &scale.raw(),
                           mean == nullptr ? nullptr : &mean->raw(), &report, error);
    });
    return report;
  }
  uint32_t granularity_, scale_block_;
  std::optional<Tensor> cu_seqlens_;
};

}  // namespace cpp
}  // namespace sage

#endif  // SAGE_CPP_QUANTIZE_HPP_
