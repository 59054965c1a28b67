// library_price.h: what a product by cuBLASLt costs by the roofline of its device.
//
// The shares are estimates until a device has measured them (bench/results/OPEN.md).
#ifndef SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_PRICE_H_
#define SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_PRICE_H_

#include "common/cuda/products/library_steps.h"
#include "common/cuda/products/product.h"
#include "common/cuda/runtime.h"

namespace sage::cuda {

constexpr double kProductLaunchNs = 4000;  // enqueueing and starting one kernel

double ProductFlops(const ProductArguments& a);
// Read and written once. W once for every part of the batch that has its own.
double ProductBytes(const ProductArguments& a);

// Pointers are not looked at.
double LibraryPriceNs(const ProductArguments& a, const LibrarySteps& steps, const Properties& device);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_PRICE_H_
