// launch_kernel.h: a kernel's launch, dependent or not. For .cu files.
//
// A dependent launch (programmatic dependent launch, sm_90 and later) may begin while the grid before it still ends, so
// that its start costs nothing. Only for kernels that call prim::WaitForEarlierGrids before they touch memory that
// another grid has to do with, and only where that is more than nothing: in machine code of sm_90 or later.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_LAUNCH_KERNEL_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_LAUNCH_KERNEL_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace sage::cuda {

// cudaSuccess once it is enqueued. stream: a cudaStream_t.
template <class... Parameters, class... Arguments>
int LaunchKernel(void (*kernel)(Parameters...), dim3 blocks, uint32_t threads, size_t shared_bytes, void* stream,
                 bool dependent, const Arguments&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &attribute;
  config.numAttrs = dependent ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// The same for a number of blocks that may be none, which is nothing to do, or too many for a launch.
template <class... Parameters, class... Arguments>
int LaunchKernel(void (*kernel)(Parameters...), int64_t blocks, uint32_t threads, size_t shared_bytes, void* stream,
                 bool dependent, const Arguments&... arguments) {
  if (blocks <= 0) return cudaSuccess;
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  return LaunchKernel(kernel, dim3(static_cast<uint32_t>(blocks)), threads, shared_bytes, stream, dependent,
                      arguments...);
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_LAUNCH_KERNEL_H_
