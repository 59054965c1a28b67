// launch.h: the launch of whatever kernel a call takes, for the .cu files between which the kernels are divided.
#ifndef SAGE_PLUGINS_CUDA_OPS_LAUNCH_H_
#define SAGE_PLUGINS_CUDA_OPS_LAUNCH_H_

#include "common/cuda/kernels/launch_kernel.h"
#include "kernel_family.h"
#include "ops/call.h"

namespace sage::cuda {

template <class Kernel, class Call>
__global__ void __launch_bounds__(Kernel::kThreads) OpKernel(const __grid_constant__ Call call) {
  RunKernel<Kernel>(call);
}

template <class Call>
Launched LaunchOp(const Call& call, void* stream) {
  return ForKernel(call, [&](auto kernel) -> Launched {
    using Kernel = decltype(kernel);
    static_assert(Kernel::kSharedBytes <= 48 << 10, "more would have to be allowed first");
    return {LaunchKernel(OpKernel<Kernel, Call>, dim3(call.grid.x, call.grid.y), Kernel::kThreads, Kernel::kSharedBytes,
                         stream, call.grid.dependent, call),
            nullptr};
  });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_LAUNCH_H_
