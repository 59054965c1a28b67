// tensor_map.h: what the tensor memory accelerator (TMA) is told of a tensor: its address, sizes, strides, and the box
// that one instruction copies between it and shared memory. On a device the description is the driver's opaque
// CUtensorMap; in the CPU emulation it is a plain struct of the same content. Elements are 16 bits wide, rows of a box
// are swizzled in 128 bytes, what lies outside of the tensor reads as zero.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_TENSOR_MAP_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_TENSOR_MAP_H_

#include <cstdint>

#if defined(__CUDACC__)
#include <cuda.h>
#endif

namespace sage::cuda {

constexpr int kTensorMapMaxRank = 5;

// The innermost axis first. Strides are of axes 1.., in bytes; axis 0 is contiguous.
struct TensorMapShape {
  const void* address = nullptr;
  int rank = 0;
  bool bf16 = false;
  int64_t size[kTensorMapMaxRank] = {};
  int64_t stride[kTensorMapMaxRank] = {};  // [0] is unused
  int32_t box[kTensorMapMaxRank] = {};
};

#if defined(__CUDACC__)
using TensorMap = CUtensorMap;
#else
struct TensorMap {
  TensorMapShape shape;
};
#endif

// Null if the hardware can describe the shape, else what is wrong with it, in words. (The limits are those that the
// driver's documentation gives for cuTensorMapEncodeTiled.)
inline const char* TensorMapRefusal(const TensorMapShape& shape) {
  constexpr int64_t kMaxSize = int64_t{1} << 32, kMaxStride = int64_t{1} << 40;
  if (shape.rank < 2 || shape.rank > kTensorMapMaxRank) return "a TMA tensor has 2 to 5 axes";
  if (reinterpret_cast<uintptr_t>(shape.address) % 16 != 0) return "its address is no multiple of 16 bytes";
  for (int axis = 0; axis < shape.rank; ++axis) {
    if (shape.size[axis] < 1 || shape.size[axis] > kMaxSize) return "the size of an axis is not within 1 .. 2^32";
    if (shape.box[axis] < 1 || shape.box[axis] > 256) return "a side of the box is not within 1 .. 256";
    if (axis == 0) continue;
    if (shape.stride[axis] < 0 || shape.stride[axis] >= kMaxStride) return "a stride is negative or 2^40 bytes or more";
    if (shape.stride[axis] % 16 != 0) return "a stride is no multiple of 16 bytes";
  }
  if (shape.box[0] != 64) return "rows of the box are not the 128 bytes of the swizzle";
  return nullptr;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_TENSOR_MAP_H_
