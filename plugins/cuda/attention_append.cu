// attention_append.cu: launches of attention_append.h.
#include "attention_append.h"

#include <cuda_runtime.h>

#include "attention_launch.h"

namespace sage::cuda {
namespace {

template <class E>
__global__ void __launch_bounds__(32 * kAppendWarps) AppendKernel(const __grid_constant__ AttentionArguments a) {
  AppendKeys<E>(a);
}

template <class E>
int LaunchOf(const AttentionArguments& a, void* stream) {
  const int64_t blocks = AppendBlocks(a);
  if (blocks == 0) return cudaSuccess;
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  AppendKernel<E><<<static_cast<uint32_t>(blocks), 32 * kAppendWarps, 0, static_cast<cudaStream_t>(stream)>>>(a);
  return cudaGetLastError();
}

}  // namespace

int LaunchAppend(const AttentionArguments& a, void* stream) {
  switch (a.type) {
    case AttentionType::kF64:
      return LaunchOf<uint64_t>(a, stream);
    case AttentionType::kF32:
      return LaunchOf<uint32_t>(a, stream);
    default:
      return LaunchOf<uint16_t>(a, stream);
  }
}

}  // namespace sage::cuda
