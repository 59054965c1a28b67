// product_price.cc: see the header.
#include "products/product_price.h"

#include <algorithm>

#include "common/cuda/cublaslt.h"
#include "price.h"

namespace sage::cuda {
namespace {

constexpr double kLaunchNs = 4000;  // enqueueing and starting one kernel
// Of a peak of multiply-adds, by each kernel on a problem that fills the device.
constexpr double kSkinnyShare = 0.35;   // it widens what it reads, a number at a time
constexpr double kPlainShare = 0.06;    // a tile of 32 x 32 from shared memory, a switch for every element
constexpr double kLibraryShare = 0.7;   // of tensor cores' or of the plain units'
constexpr double kIntegerShare = 0.25;  // 64-bit sums are four 32-bit steps
// What cublasLtMatmul takes of the CPU, and its kernels to begin, beyond one of ours.
constexpr double kLibraryExtraNs = 2000;
// A second kernel of the same run starts while the first one still runs out.
constexpr double kSecondLaunchNs = 2000;

double Flops(const ProductArguments& a) { return 2.0 * a.batch * a.m * a.n * a.k; }

// W once for every part of the batch that has its own.
double Bytes(const ProductArguments& a) {
  double weights = static_cast<double>(a.n) * a.k;
  for (int32_t axis = 0; axis < a.batch_axes; ++axis)
    if (a.axes[axis].w != 0) weights *= a.axes[axis].size;
  const double rows = static_cast<double>(a.batch) * a.m;
  return SizeOf(a.w_type) * weights + SizeOf(a.x_type) * rows * a.k + SizeOf(a.y_type) * rows * a.n;
}

double PlainPeak(const ProductArguments& a, const Roofline& roofline) {
  switch (SumOf(a)) {
    case ProductSum::kF64:
      return roofline.f64_flops;
    case ProductSum::kF32:
      return roofline.f32_flops;
    default:
      return roofline.f32_flops * kIntegerShare;
  }
}

}  // namespace

double SkinnyPriceNs(const ProductArguments& a, const Properties& device) {
  const Roofline roofline = RooflineOf(device);
  return kLaunchNs +
         std::max(Flops(a) / (PlainPeak(a, roofline) * kSkinnyShare), Bytes(a) / (roofline.bytes * kBandwidthShare));
}

double PlainPriceNs(const ProductArguments& a, const Properties& device) {
  const Roofline roofline = RooflineOf(device);
  // A tile is computed whole.
  ProductArguments whole = a;
  whole.m = std::max(a.m, 32), whole.n = std::max(a.n, 32);
  return kLaunchNs +
         std::max(Flops(whole) / (PlainPeak(a, roofline) * kPlainShare), Bytes(a) / (roofline.bytes * kBandwidthShare));
}

double LibraryPriceNs(const ProductArguments& a, const LibrarySteps& steps, const Properties& device) {
  const Roofline roofline = RooflineOf(device);
  double peak = roofline.tensor_flops;
  if (steps.call.compute == lt::kCompute64F) peak = roofline.f64_flops;
  if (steps.call.compute == lt::kCompute32I) peak = 2 * roofline.tensor_flops;
  if (steps.call.type == lt::kR32F)
    peak = steps.call.compute == lt::kCompute32FFastTf32 ? roofline.tensor_flops / 2 : roofline.f32_flops;
  const double bandwidth = roofline.bytes * kBandwidthShare;
  double cost = static_cast<double>(steps.calls) * (kLaunchNs + kLibraryExtraNs) +
                std::max(Flops(a) / (peak * kLibraryShare), Bytes(a) / bandwidth);
  if (steps.finishes) {
    const double elements = static_cast<double>(a.batch) * a.m * a.n;
    const double product = SizeOf(steps.finish.x_type) * (steps.scratch_bytes > 0 ? 2.0 : 1.0);
    cost += kSecondLaunchNs + elements * (product + SizeOf(a.y_type)) / bandwidth;
  }
  return cost;
}

}  // namespace sage::cuda
