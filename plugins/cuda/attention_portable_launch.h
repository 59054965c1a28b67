// attention_portable_launch.h: the launch of the portable kernel in one type, for the two .cu files that divide its
// instantiations between two compilations.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_LAUNCH_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_LAUNCH_H_

#include <cuda_runtime.h>

#include "attention_portable.h"
#include "attention_portable_plan.h"

namespace sage::cuda {

int LaunchPortableF16(const AttentionArguments& a, void* stream);
int LaunchPortableBf16(const AttentionArguments& a, void* stream);

template <class T, int32_t kDimQk, int32_t kDimV, bool kPaged>
__global__ void __launch_bounds__(PortableTile<kDimQk, kDimV>::kThreads, PortableTile<kDimQk, kDimV>::kBlocks)
    PortableKernel(const __grid_constant__ PortableArguments p) {
  AttendPortable<T, kDimQk, kDimV, kPaged>(p);
}

template <class T>
int LaunchPortableOf(const AttentionArguments& a, void* stream) {
  return ForPortable(a, [&](auto qk, auto v, auto paged) -> int {
    using Tile = PortableTile<qk.value, v.value>;
    const PortableArguments p = PlanPortable(a, Tile::kRows);
    const int64_t blocks = PortableBlocks(p);
    if (blocks == 0) return cudaSuccess;
    if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
    const auto kernel = PortableKernel<T, qk.value, v.value, paged.value>;
    // Above 48 KiB a kernel has to be allowed its shared memory; on each device, and cheaper than to remember where.
    if (Tile::kSharedBytes > 48 << 10) {
      const cudaError_t allowed =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes);
      if (allowed != cudaSuccess) return allowed;
    }
    kernel<<<static_cast<uint32_t>(blocks), Tile::kThreads, Tile::kSharedBytes, static_cast<cudaStream_t>(stream)>>>(p);
    return cudaGetLastError();
  });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_LAUNCH_H_
