// price.h: what a run costs by the roofline of its device: arithmetic or bytes, whichever takes longer, and the launch.
#ifndef SAGE_PLUGINS_CUDA_PRICE_H_
#define SAGE_PLUGINS_CUDA_PRICE_H_

#include "kernel_family.h"

namespace sage::cuda {

constexpr double kBandwidthShare = 0.85;  // of the memory's own rate, by a kernel that streams

// Peak rates of a device from what it says of itself, per nanosecond.
struct Roofline {
  double tensor_flops = 0;   // 16-bit products into f32, dense
  double tensor_s8_ops = 0;  // of 8-bit integers into i32, dense
  double f32_flops = 0, f64_flops = 0;
  double bytes = 0;
};
Roofline RooflineOf(const Properties& device);

// Pairs of a query and a key it may see by causal and windows, of one head of one sequence.
double VisiblePairs(const AttentionArguments& arguments);

// Pointers of arguments are not looked at; features say what is written besides O.
double PriceNs(const KernelFamily& family, const AttentionArguments& arguments, uint64_t features,
               const Properties& device);

// A kernel that does little but read and write `bytes`, at that share of the device's rate, in so many launches.
double MemoryPriceNs(double bytes, double share, double launches, const Properties& device);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRICE_H_
