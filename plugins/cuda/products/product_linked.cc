// product_linked.cc: see the header.
#include "products/product_linked.h"

namespace sage::cuda {

const ProductKernels& LinkedProducts() {
  static constexpr ProductKernels kKernels = {SAGE_CUDA_PORTABLE_CODE, LaunchSkinnyProduct, LaunchPlainProduct,
                                              LaunchFinishProduct};
  return kKernels;
}

}  // namespace sage::cuda
