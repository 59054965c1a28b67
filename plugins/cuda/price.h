// price.h: what a run costs by the roofline of its device: arithmetic or bytes, whichever takes longer, and the launch.
#ifndef SAGE_PLUGINS_CUDA_PRICE_H_
#define SAGE_PLUGINS_CUDA_PRICE_H_

#include "common/cuda/roofline.h"
#include "kernel_family.h"

namespace sage::cuda {

// Pointers of arguments are not looked at; features say what is written besides O.
double PriceNs(const KernelFamily& family, const AttentionArguments& arguments, uint64_t features,
               const Properties& device);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRICE_H_
