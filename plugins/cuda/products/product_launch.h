// product_launch.h: the kernels of products by name, for code that knows nothing of CUDA. Nothing here allocates or
// waits, so that all of it is legal inside stream capture.
//
// stream: a cudaStream_t. Returned: a cudaError_t, 0 if the kernel was launched. Nothing is launched for an empty
// result.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_LAUNCH_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_LAUNCH_H_

#include <string_view>

#include "common/cuda/products/product.h"

namespace sage::cuda {

// product_skinny.h or product_across.h, whichever SkinnyOrderOf says; split: of SkinnySplit.
int LaunchSkinnyProduct(const ProductArguments& a, int32_t split, void* stream);
int LaunchPlainProduct(const ProductArguments& a, void* stream);
int LaunchFinishProduct(const ProductArguments& a, void* stream);

// The same as a table, which tests fill with emulated ones.
struct ProductKernels {
  std::string_view architectures;  // compiled for: common/cuda/architecture.h
  int (*skinny)(const ProductArguments& a, int32_t split, void* stream) = nullptr;
  int (*plain)(const ProductArguments& a, void* stream) = nullptr;
  int (*finish)(const ProductArguments& a, void* stream) = nullptr;
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_LAUNCH_H_
