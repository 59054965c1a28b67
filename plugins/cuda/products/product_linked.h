// product_linked.h: the kernels of products that are linked into the plugin.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_LINKED_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_LINKED_H_

#include "products/product_launch.h"

namespace sage::cuda {

// For ever valid.
const ProductKernels& LinkedProducts();

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_LINKED_H_
