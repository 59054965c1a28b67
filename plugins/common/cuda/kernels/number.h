// number.h: a type of elements, and the type that kernels without tensor cores compute in: f64 in double, the others in
// float.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_NUMBER_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_NUMBER_H_

#include "common/cuda/kernels/primitives.h"

namespace sage::cuda {

template <class N>
struct PlainNumber {
  using Statistics = N;
  static SAGE_DEVICE N Load(N value) { return value; }
  static SAGE_DEVICE N Store(N value) { return value; }
};
template <>
struct PlainNumber<Bf16> {
  using Statistics = float;
  static SAGE_DEVICE float Load(Bf16 value) { return prim::ToFloat(value); }
  static SAGE_DEVICE Bf16 Store(float value) { return prim::FromFloat<Bf16>(value); }
};
template <>
struct PlainNumber<F16> {
  using Statistics = float;
  static SAGE_DEVICE float Load(F16 value) { return prim::ToFloat(value); }
  static SAGE_DEVICE F16 Store(float value) { return prim::FromFloat<F16>(value); }
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_NUMBER_H_
