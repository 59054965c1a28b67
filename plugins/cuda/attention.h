// attention.h: an attention op made ready: which kernels run it, and the constants it brought to the device.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_H_

#include <memory>

#include "common/backend.h"
#include "common/cuda/device.h"
#include "support.h"

namespace sage::cuda {

// view outlives the plan. like (optional): a plan of this function, whose copies of the same constants are shared.
sage_status PlanAttention(Device& device, const sage_host& host, const Choice& choice, const plugins::OpView& view,
                          uint64_t features, const plugins::KernelPlan* like, std::unique_ptr<plugins::KernelPlan>* out,
                          sage_error* err);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_H_
