// types.h: the words of kernel source that both compilers understand, and 16-bit floats as plain bits.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_TYPES_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_TYPES_H_

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define SAGE_DEVICE __device__ __forceinline__
#define SAGE_DEVICE_COLD __device__ __noinline__
#define SAGE_UNROLL _Pragma("unroll")
#define SAGE_UNROLL_BY_2 _Pragma("unroll 2")
#define SAGE_UNROLL_BY_4 _Pragma("unroll 4")
#define SAGE_NO_UNROLL _Pragma("unroll 1")
#else
#define SAGE_DEVICE inline
#define SAGE_DEVICE_COLD inline
#define SAGE_UNROLL
#define SAGE_UNROLL_BY_2
#define SAGE_UNROLL_BY_4
#define SAGE_NO_UNROLL
#endif

namespace sage::cuda {

// Bits only: arithmetic is done in float, by prim::ToFloat, prim::FromFloat and prim::Pack.
struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

namespace prim {
// 16 bytes.
struct alignas(16) Words4 {
  uint32_t word[4];
};
}  // namespace prim

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_TYPES_H_
