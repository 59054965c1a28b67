// roofline.h: what a device can do at most, by what it says of itself, and how much of attention there is to do.
#ifndef SAGE_PLUGINS_COMMON_CUDA_ROOFLINE_H_
#define SAGE_PLUGINS_COMMON_CUDA_ROOFLINE_H_

#include "common/cuda/attention_arguments.h"
#include "common/cuda/runtime.h"

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

// Pairs of a query and a key it may see by causal and windows, of one head of one sequence. Pointers of arguments are
// not looked at.
double VisiblePairs(const AttentionArguments& arguments);

// Bytes of a call that a kernel reads and writes at least: Q and O once, K and V key_reads times, and of
// [B,Hq,Sq,Skv] the bias and whole rows of weights and scores, which features tell. Pointers are not looked at.
double AttentionBytes(const AttentionArguments& arguments, uint64_t features, double key_reads);

// A kernel that does little but read and write `bytes`, at that share of the device's rate, in so many launches.
double MemoryPriceNs(double bytes, double share, double launches, const Properties& device);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_ROOFLINE_H_
