// call_kernels.cu: the kernels of call.h compiled, and their launches.
#include "call_kernels.h"
#include "common/cuda/kernels/launch_kernel.h"

namespace sage::cudnn {
namespace {

__global__ void __launch_bounds__(kPrepareThreads) PrepareKernel(const __grid_constant__ Call call) { Prepare(call); }

__global__ void __launch_bounds__(kMaskThreads) MaskKernel(const __grid_constant__ Call call, uint32_t one) {
  WriteMask(call, one);
}

// Philox beside a row's sums takes more registers than four blocks of a multiprocessor leave to each.
template <class Extras>
constexpr uint32_t kFinishBlocks = Extras::kDrops ? 2 : 4;

template <class T, class Extras>
__global__ void __launch_bounds__(32 * cuda::kPlainWarps, kFinishBlocks<Extras>)
    FinishKernel(const __grid_constant__ Call call) {
  Finish<T, Extras>(call);
}

template <class T, class Extras>
int Launch(const Call& call, void* stream) {
  constexpr uint32_t kThreads = 32 * cuda::kPlainWarps;
  return cuda::LaunchKernel(FinishKernel<T, Extras>, cuda::PlainBlocks(call.a), kThreads, 0, stream, false, call);
}

}  // namespace

int LaunchPrepare(const Call& call, void* stream) {
  if (call.layout.mask >= 0) {
    const int code =
        cuda::LaunchKernel(MaskKernel, MaskBlocks(call), kMaskThreads, 0, stream, false, call, OneOf(call.a.type));
    if (code != 0) return code;
  }
  if (!NeedsPrepare(call.layout)) return 0;
  return cuda::LaunchKernel(PrepareKernel, int64_t{call.a.batch}, kPrepareThreads, 0, stream, false, call);
}

int LaunchFinish(const Call& call, void* stream) {
  const bool drops = call.extras.philox != nullptr;
  switch (call.a.type) {
    case cuda::AttentionType::kF8E4m3fn:
      return Launch<F8E4m3fn, RowScales>(call, stream);
    case cuda::AttentionType::kF8E5m2:
      return Launch<F8E5m2, RowScales>(call, stream);
    case cuda::AttentionType::kBf16:
      return drops ? Launch<Bf16, RowDropout>(call, stream) : Launch<Bf16, NoExtras>(call, stream);
    default:
      return drops ? Launch<F16, RowDropout>(call, stream) : Launch<F16, NoExtras>(call, stream);
  }
}

}  // namespace sage::cudnn
