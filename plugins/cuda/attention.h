// attention.h: ATTENTION, by whichever family of kernels is the cheapest.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_H_

#include <memory>
#include <vector>

#include "common/cuda/kind_server.h"
#include "kernel_family.h"

namespace sage::cuda {

// Of the families that the instance may use, which outlive it.
std::unique_ptr<KindServer> ServeAttention(std::vector<KernelFamily> families);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_H_
