// attention_plain.cu: launches of attention_plain.h.
#include "common/cuda/kernels/attention_plain.h"

#include <cuda_runtime.h>

#include "attention_launch.h"

namespace sage::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(32 * kPlainWarps) PlainKernel(const __grid_constant__ AttentionArguments a) {
  AttendPlain<T>(a);
}

template <class T>
int LaunchOf(const AttentionArguments& a, void* stream) {
  const int64_t blocks = PlainBlocks(a);
  if (blocks == 0) return cudaSuccess;
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  PlainKernel<T><<<static_cast<uint32_t>(blocks), 32 * kPlainWarps, 0, static_cast<cudaStream_t>(stream)>>>(a);
  return cudaGetLastError();
}

}  // namespace

int LaunchPlain(const AttentionArguments& a, void* stream) {
  switch (a.type) {
    case AttentionType::kF64:
      return LaunchOf<double>(a, stream);
    case AttentionType::kF32:
      return LaunchOf<float>(a, stream);
    case AttentionType::kF16:
      return LaunchOf<F16>(a, stream);
    default:
      return LaunchOf<Bf16>(a, stream);
  }
}

}  // namespace sage::cuda
