// attention.h: ATTENTION, by whichever family of kernels is the cheapest.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_H_

#include <memory>
#include <vector>

#include "common/cuda/attention_rates.h"
#include "common/cuda/kind_server.h"
#include "kernel_family.h"

namespace sage::cuda {

// By the families that the instance may use, which outlive it, at prices by these rates.
std::unique_ptr<KindServer> ServeAttention(std::vector<KernelFamily> families, AttentionRates rates);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_H_
