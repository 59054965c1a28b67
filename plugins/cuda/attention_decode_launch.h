// attention_decode_launch.h: the launch of the decode kernel in one type, for the two .cu files that divide its
// instantiations between two compilations.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_DECODE_LAUNCH_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_DECODE_LAUNCH_H_

#include <cuda_runtime.h>

#include "attention_decode.h"
#include "attention_decode_plan.h"

namespace sage::cuda {

int LaunchDecodeF16(const DecodeArguments& d, void* stream);
int LaunchDecodeBf16(const DecodeArguments& d, void* stream);

template <class T, int32_t kDimQk, int32_t kDimV, bool kPaged>
__global__ void __launch_bounds__(DecodeTile<kDimQk, kDimV>::kThreads, DecodeTile<kDimQk, kDimV>::kBlocks)
    DecodeKernel(const __grid_constant__ DecodeArguments d) {
  AttendDecode<T, kDimQk, kDimV, kPaged>(d);
}

template <class T>
int LaunchDecodeOf(const DecodeArguments& d, void* stream) {
  return ForPortable(d.p.a, [&](auto qk, auto v, auto paged) -> int {
    using Tile = DecodeTile<qk.value, v.value>;
    const int64_t blocks = DecodeBlocks(d);
    if (blocks == 0) return cudaSuccess;
    if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
    const auto kernel = DecodeKernel<T, qk.value, v.value, paged.value>;
    // Above 48 KiB a kernel has to be allowed its shared memory; on each device, and cheaper than to remember where.
    if (Tile::kSharedBytes > 48 << 10) {
      const cudaError_t allowed =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes);
      if (allowed != cudaSuccess) return allowed;
    }
    const auto queue = static_cast<cudaStream_t>(stream);
    if (d.tickets != nullptr) {
      const cudaError_t cleared = cudaMemsetAsync(d.tickets, 0, DecodeTicketBytes(d), queue);
      if (cleared != cudaSuccess) return cleared;
    }
    kernel<<<static_cast<uint32_t>(blocks), Tile::kThreads, Tile::kSharedBytes, queue>>>(d);
    return cudaGetLastError();
  });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_DECODE_LAUNCH_H_
