// product_price.cc: see the header.
#include "products/product_price.h"

#include <algorithm>

#include "common/cuda/products/library_price.h"
#include "common/cuda/roofline.h"

namespace sage::cuda {
namespace {

// Of a peak of multiply-adds, by each kernel on a problem that fills the device.
constexpr double kSkinnyShare = 0.35;   // it widens what it reads, a number at a time
constexpr double kPlainShare = 0.06;    // a tile of 32 x 32 from shared memory, a switch for every element
constexpr double kIntegerShare = 0.25;  // 64-bit sums are four 32-bit steps

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
  return kProductLaunchNs + std::max(ProductFlops(a) / (PlainPeak(a, roofline) * kSkinnyShare),
                                     ProductBytes(a) / (roofline.bytes * kBandwidthShare));
}

double PlainPriceNs(const ProductArguments& a, const Properties& device) {
  const Roofline roofline = RooflineOf(device);
  // A tile is computed whole.
  ProductArguments whole = a;
  whole.m = std::max(a.m, 32), whole.n = std::max(a.n, 32);
  return kProductLaunchNs + std::max(ProductFlops(whole) / (PlainPeak(a, roofline) * kPlainShare),
                                     ProductBytes(a) / (roofline.bytes * kBandwidthShare));
}

}  // namespace sage::cuda
