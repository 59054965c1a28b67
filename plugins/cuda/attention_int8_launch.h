// attention_int8_launch.h: the launches of attention in 8 bits in one type, for the two .cu files that divide its
// instantiations between two compilations: sums of K, codes, attention, one behind the other on the stream.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_INT8_LAUNCH_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_INT8_LAUNCH_H_

#include "attention_int8.h"
#include "attention_int8_plan.h"
#include "common/cuda/kernels/launch_kernel.h"

namespace sage::cuda {

int LaunchInt8F16(const AttentionArguments& a, void* workspace, void* stream);
int LaunchInt8Bf16(const AttentionArguments& a, void* workspace, void* stream);

// Told nothing, the assembler saves registers for sm_120 until they spill.
constexpr int32_t kSumBlocksPerProcessor = 4;

template <class T>
__global__ void __launch_bounds__(kSumThreads, kSumBlocksPerProcessor)
    Int8SumKernel(const __grid_constant__ Int8Arguments x) {
  SumKeys<T>(x);
}

template <class T, int32_t kDimQk, int32_t kDimV>
__global__ void __launch_bounds__(kQuantiseThreads) Int8QuantiseKernel(const __grid_constant__ Int8Arguments x) {
  Quantise<T, kDimQk, kDimV>(x);
}

template <class T, int32_t kDimQk, int32_t kDimV, bool kPaged>
__global__ void __launch_bounds__(Int8Tile<kDimQk, kDimV>::kThreads, Int8Tile<kDimQk, kDimV>::kBlocks)
    Int8Kernel(const __grid_constant__ Int8Arguments x) {
  AttendInt8<T, kDimQk, kDimV, kPaged>(x);
}

inline int LaunchInt8Blocks(void (*kernel)(Int8Arguments), const Int8Arguments& x, int64_t blocks, int32_t threads,
                            uint32_t shared_bytes, void* stream) {
  // Above 48 KiB a kernel has to be allowed its shared memory; on each device, and cheaper than to remember where.
  if (shared_bytes > 48 << 10) {
    const cudaError_t allowed =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (allowed != cudaSuccess) return allowed;
  }
  return LaunchKernel(kernel, blocks, static_cast<uint32_t>(threads), shared_bytes, stream, false, x);
}

template <class T>
int LaunchInt8Of(const AttentionArguments& a, void* workspace, void* stream) {
  return ForPortable(a, [&](auto qk, auto v, auto paged) -> int {
    using Tile = Int8Tile<qk.value, v.value>;
    const Int8Arguments x = PlanInt8(a, workspace);
    int status = LaunchInt8Blocks(Int8SumKernel<T>, x, SumBlocks(x), kSumThreads, kSumSharedBytes, stream);
    if (status != cudaSuccess) return status;
    status = LaunchInt8Blocks(Int8QuantiseKernel<T, qk.value, v.value>, x, QuantiseBlocks(x), kQuantiseThreads,
                              QuantiseBlock<T, qk.value, v.value>::kSharedBytes, stream);
    if (status != cudaSuccess) return status;
    return LaunchInt8Blocks(Int8Kernel<T, qk.value, v.value, paged.value>, x, PortableBlocks(x.p), Tile::kThreads,
                            Tile::kSharedBytes, stream);
  });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_INT8_LAUNCH_H_
