// support.h: what attention is refused here, and which family of kernels computes what is not.
#ifndef SAGE_PLUGINS_CUDA_SUPPORT_H_
#define SAGE_PLUGINS_CUDA_SUPPORT_H_

#include <span>

#include "common/cuda/attention_rates.h"
#include "common/cuda/device.h"
#include "kernel_family.h"
#include "sage/support/op_view.h"

namespace sage::cuda {

// The families that serve an op: the cheapest, and one that takes operands at any address where the first does not.
struct Choice {
  const KernelFamily* family = nullptr;
  const KernelFamily* any_address = nullptr;  // (optional)
  double cost_ns = 0;
  const char* priced_by = "";                  // valid as long as the rates
  AttentionSplits splits, any_address_splits;  // of each
  uint64_t workspace_bytes = 0;                // of whichever runs
  uint64_t partials_bytes = 0;                 // of family's
  uint32_t accuracy = 0;
};

// Fills *answer. Yes: *choice is set. view passed CheckOp. Pure, but for a device that was lost since.
bool Decide(const support::OpView& view, uint64_t features, const Device& device,
            std::span<const KernelFamily> families, const AttentionRates& rates, Choice* choice, sage_answer* answer);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_SUPPORT_H_
