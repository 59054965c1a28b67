// library_price.cc: see the header.
#include "common/cuda/products/library_price.h"

#include <algorithm>

#include "common/cuda/cublaslt.h"
#include "common/cuda/roofline.h"

namespace sage::cuda {
namespace {

constexpr double kLibraryShare = 0.7;  // of tensor cores' peak or of the plain units', on a problem that fills them
// What cublasLtMatmul takes of the CPU, and its kernels to begin, beyond one of ours.
constexpr double kLibraryExtraNs = 2000;
// A second kernel of the same run starts while the first one still runs out.
constexpr double kSecondLaunchNs = 2000;

}  // namespace

double ProductFlops(const ProductArguments& a) { return 2.0 * a.batch * a.m * a.n * a.k; }

double ProductBytes(const ProductArguments& a) {
  double weights = static_cast<double>(a.n) * a.k;
  for (int32_t axis = 0; axis < a.batch_axes; ++axis)
    if (a.axes[axis].w != 0) weights *= a.axes[axis].size;
  const double rows = static_cast<double>(a.batch) * a.m;
  return SizeOf(a.w_type) * weights + SizeOf(a.x_type) * rows * a.k + SizeOf(a.y_type) * rows * a.n;
}

double LibraryPriceNs(const ProductArguments& a, const LibrarySteps& steps, const Properties& device) {
  const Roofline roofline = RooflineOf(device);
  double peak = roofline.tensor_flops;
  if (steps.call.compute == lt::kCompute64F) peak = roofline.f64_flops;
  if (steps.call.compute == lt::kCompute32I) peak = 2 * roofline.tensor_flops;
  if (steps.call.type == lt::kR32F)
    peak = steps.call.compute == lt::kCompute32FFastTf32 ? roofline.tensor_flops / 2 : roofline.f32_flops;
  const double bandwidth = roofline.bytes * kBandwidthShare;
  double cost = static_cast<double>(steps.calls) * (kProductLaunchNs + kLibraryExtraNs) +
                std::max(ProductFlops(a) / (peak * kLibraryShare), ProductBytes(a) / bandwidth);
  if (steps.finishes) {
    const double elements = static_cast<double>(a.batch) * a.m * a.n;
    const double product = SizeOf(steps.finish.x_type) * (steps.scratch_bytes > 0 ? 2.0 : 1.0);
    cost += kSecondLaunchNs + elements * (product + SizeOf(a.y_type)) / bandwidth;
  }
  return cost;
}

}  // namespace sage::cuda
