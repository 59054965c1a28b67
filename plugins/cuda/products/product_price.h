// product_price.h: what each way to make a product costs by the roofline of its device.
//
// The shares are estimates until a device has measured them (bench/results/OPEN.md).
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PRICE_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PRICE_H_

#include "common/cuda/products/library_steps.h"
#include "common/cuda/products/product.h"
#include "common/cuda/runtime.h"

namespace sage::cuda {

double SkinnyPriceNs(const ProductArguments& a, const Properties& device);
double PlainPriceNs(const ProductArguments& a, const Properties& device);
double LibraryPriceNs(const ProductArguments& a, const LibrarySteps& steps, const Properties& device);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PRICE_H_
