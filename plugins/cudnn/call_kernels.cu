// call_kernels.cu: the two kernels of call.h compiled, and their launches.
#include "call_kernels.h"
#include "common/cuda/kernels/launch_kernel.h"

namespace sage::cudnn {
namespace {

__global__ void __launch_bounds__(kPrepareThreads) PrepareKernel(const __grid_constant__ Call call) { Prepare(call); }

template <class T>
__global__ void __launch_bounds__(32 * cuda::kPlainWarps) FinishKernel(const __grid_constant__ Call call) {
  Finish<T>(call);
}

}  // namespace

int LaunchPrepare(const Call& call, void* stream) {
  return cuda::LaunchKernel(PrepareKernel, int64_t{call.a.batch}, kPrepareThreads, 0, stream, false, call);
}

int LaunchFinish(const Call& call, void* stream) {
  const int64_t blocks = cuda::PlainBlocks(call.a);
  constexpr uint32_t kThreads = 32 * cuda::kPlainWarps;
  return call.a.type == cuda::AttentionType::kBf16
             ? cuda::LaunchKernel(FinishKernel<Bf16>, blocks, kThreads, 0, stream, false, call)
             : cuda::LaunchKernel(FinishKernel<F16>, blocks, kThreads, 0, stream, false, call);
}

}  // namespace sage::cudnn
