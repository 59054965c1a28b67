// product_price.h: what a product by each of our kernels costs by the roofline of its device; by cuBLASLt:
// library_price.h.
//
// The shares are estimates until a device has measured them (bench/results/OPEN.md).
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PRICE_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PRICE_H_

#include "common/cuda/products/product.h"
#include "common/cuda/runtime.h"

namespace sage::cuda {

double SkinnyPriceNs(const ProductArguments& a, const Properties& device);
double PlainPriceNs(const ProductArguments& a, const Properties& device);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_PRICE_H_
