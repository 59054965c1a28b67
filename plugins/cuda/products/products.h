// products.h: LINEAR and MATMUL, by whichever is the cheapest: our kernel for few rows, cuBLASLt, or our plain kernel,
// which takes everything.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCTS_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCTS_H_

#include <memory>

#include "common/cuda/kind_server.h"
#include "common/cuda/products/library_option.h"
#include "products/product_launch.h"

namespace sage::cuda {

// load: null where a build has none. A library whose place was given by the option is opened at once.
sage_status ServeProducts(const ProductKernels& kernels, LoadLibraryFn load, const LibraryOption& option,
                          const Device& device, std::unique_ptr<KindServer>* out, sage_error* err);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCTS_H_
