// price.h: what a run costs by the roofline of its device: arithmetic or bytes, whichever takes longer, and the launch.
// What share of the device's peak a family reaches is in a table of rates, and where that has no row, its own estimate.
#ifndef SAGE_PLUGINS_CUDA_PRICE_H_
#define SAGE_PLUGINS_CUDA_PRICE_H_

#include "common/cuda/attention_rates.h"
#include "common/cuda/roofline.h"
#include "kernel_family.h"

namespace sage::cuda {

// Pointers of arguments are not looked at; features say what is written besides O. rate: RateOf such a call.
double PriceNs(const KernelFamily& family, const AttentionArguments& arguments, uint64_t features,
               const Properties& device, const std::optional<Rate>& rate = std::nullopt);

// The table's row of a family, which is the engine "cuda.NAME" there.
std::optional<Rate> RateOf(const KernelFamily& family, const AttentionArguments& arguments, const Properties& device,
                           const AttentionRates& rates);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRICE_H_
