// product_choice.h: what of LINEAR and MATMUL is refused here, and what computes the rest.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_CHOICE_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_CHOICE_H_

#include "common/cuda/device.h"
#include "common/cuda/products/library_product.h"
#include "products/product_launch.h"
#include "sage/support/op_view.h"

namespace sage::cuda {

enum class ProductEngine { kSkinny, kPlain, kLibrary };

struct ProductChoice {
  ProductEngine engine = ProductEngine::kPlain;
  LibraryProduct library;  // of kLibrary
  uint64_t workspace_bytes = 0;
};

// Fills *answer. Yes: *choice is set. view passed CheckOp. Loads the library where it would be the cheapest.
bool DecideProduct(const support::OpView& view, const Device& device, const ProductKernels& kernels,
                   ProductLibrary* library, ProductChoice* choice, sage_answer* answer);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_CHOICE_H_
