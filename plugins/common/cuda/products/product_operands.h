// product_operands.h: from the slots of a LINEAR or MATMUL to what a kernel is given.
#ifndef SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_OPERANDS_H_
#define SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_OPERANDS_H_

#include <array>
#include <cstdint>

#include "common/cuda/constants.h"
#include "common/cuda/products/product.h"
#include "sage/plugin.h"
#include "sage/support/op_view.h"

namespace sage::cuda {

// LINEAR's slots; MATMUL has A, B, C in the first three.
enum ProductSlot : uint32_t { kSlotX = 0, kSlotW = 1, kSlotBias = 2, kSlotY = 3, kSlotScaleX = 4, kSlotScaleW = 5 };
constexpr uint32_t kSlotC = 2, kProductSlots = 6;
constexpr uint32_t OutputSlot(uint32_t kind) { return kind == SAGE_OP_LINEAR ? uint32_t{kSlotY} : kSlotC; }

inline bool IsAligned(const void* data, uint32_t bytes) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; }

// Null: *arguments holds the call, pointers included. Else why it cannot be said in arguments, in words that follow
// "refused: ". kind: SAGE_OP_LINEAR or SAGE_OP_MATMUL; activation: LINEAR's. slots: kProductSlots of them, null where
// absent, of an op that passed CheckOp, or of a run as planned. Allocates nothing.
// join: axes whose strides allow it become one; W's rows are then multiplied by as many rows of X at once as may be.
// Without, the last of X's outer axes is the rows and the others are the batch, those of length 1 too.
const char* BindProduct(uint32_t kind, uint32_t activation, const sage_tensor* const* slots, bool join,
                        ProductArguments* arguments);

// The same of an op that is asked about or planned, which passed CheckOp. Addresses are not known yet and may not
// change the answer: all are the same good one, and only what is absent is null.
const char* BindPlanned(const support::OpView& view, bool join, ProductArguments* arguments);

// A run's slots, with the constants' copies in place of them.
struct RunOperands {
  RunOperands() = default;
  RunOperands(const RunOperands&) = delete;  // slots point into moved
  RunOperands& operator=(const RunOperands&) = delete;
  std::array<sage_tensor, kProductSlots> moved;
  std::array<const sage_tensor*, kProductSlots> slots{};
};

// Fills *operands and *arguments, joined. An error is an address that is no multiple of its elements' size, or what
// BindProduct says. Allocates nothing.
sage_status BindRun(const support::OpView& view, const DeviceConstants& constants, const sage_run_args& args,
                    RunOperands* operands, ProductArguments* arguments, sage_error* err);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_OPERANDS_H_
