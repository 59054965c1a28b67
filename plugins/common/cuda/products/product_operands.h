// product_operands.h: from the slots of a LINEAR or MATMUL to what a kernel is given.
#ifndef SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_OPERANDS_H_
#define SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_OPERANDS_H_

#include <cstdint>

#include "common/cuda/products/product.h"
#include "sage/plugin.h"

namespace sage::cuda {

// LINEAR's slots; MATMUL has A, B, C in the first three.
enum ProductSlot : uint32_t { kSlotX = 0, kSlotW = 1, kSlotBias = 2, kSlotY = 3, kSlotScaleX = 4, kSlotScaleW = 5 };
constexpr uint32_t kSlotC = 2, kProductSlots = 6;

// Null: *arguments holds the call, pointers included. Else why it cannot be said in arguments, in words that follow
// "refused: ". kind: SAGE_OP_LINEAR or SAGE_OP_MATMUL; activation: LINEAR's. slots: kProductSlots of them, null where
// absent, of an op that passed CheckOp, or of a run as planned. Allocates nothing.
// join: axes whose strides allow it become one; W's rows are then multiplied by as many rows of X at once as may be.
const char* BindProduct(uint32_t kind, uint32_t activation, const sage_tensor* const* slots, bool join,
                        ProductArguments* arguments);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_OPERANDS_H_
