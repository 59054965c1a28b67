// attention_small.cu: launches of attention_small.h.
#include "attention_small.h"

#include "attention_launch.h"
#include "attention_small_plan.h"
#include "common/cuda/kernels/launch_kernel.h"

namespace sage::cuda {
namespace {

template <class T, int32_t kRows>
__global__ void __launch_bounds__(kSmallThreads) SmallKernel(const __grid_constant__ SmallArguments p) {
  AttendSmall<T, kRows>(p);
}

template <class T>
int LaunchOf(const AttentionArguments& a, void* stream) {
  return ForSmall(a, [&](auto rows) -> int {
    const SmallArguments p = PlanSmall(a, rows.value);
    const size_t shared = static_cast<size_t>(SmallFloats<rows.value>(a)) * sizeof(float);
    return LaunchKernel(SmallKernel<T, rows.value>, SmallBlocks(p), kSmallThreads, shared, stream, a.dependent, p);
  });
}

}  // namespace

int LaunchSmall(const AttentionArguments& a, void* stream) {
  switch (a.type) {
    case AttentionType::kF32:
      return LaunchOf<float>(a, stream);
    case AttentionType::kF16:
      return LaunchOf<F16>(a, stream);
    default:
      return LaunchOf<Bf16>(a, stream);
  }
}

}  // namespace sage::cuda
