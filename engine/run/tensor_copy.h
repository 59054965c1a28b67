// tensor_copy.h: the only data movement the engine does itself: into and out of planned strides, and a Reshape that
// strides cannot express. CPU memory; allocates nothing.
#ifndef SAGE_ENGINE_RUN_TENSOR_COPY_H_
#define SAGE_ENGINE_RUN_TENSOR_COPY_H_

#include <cstdint>

#include "sage/types.h"

namespace sage {

// Copies the elements of `from` in their row-major order into `to` in its row-major order; shapes may differ, the
// number of elements and the dtype may not. Strides are free on both sides (0 only in `from`). Returns the bytes
// copied.
uint64_t CopyTensor(const sage_tensor& from, const sage_tensor& to);

// As CopyTensor, with another way to move bytes: move(ctx, to, from, bytes) is called for each run of neighbouring
// elements, in order, until it answers false. Returns what was moved.
using MoveBytesFn = bool (*)(void* ctx, void* to, const void* from, uint64_t bytes);
uint64_t CopyTensorBy(const sage_tensor& from, const sage_tensor& to, MoveBytesFn move, void* ctx);
// How many calls that makes.
uint64_t RunsOf(const sage_tensor& from, const sage_tensor& to);

// Elements follow each other without gaps in row-major order; axes of size 1 may have any stride. True when empty.
bool IsContiguous(const sage_tensor& tensor);

// The tensor's elements lie where `stride` says: wherever there is more than one to walk over, the strides agree.
bool StridesServe(const sage_tensor& tensor, const int64_t* stride);

// y's strides over x's memory for a Reshape, or false when only a copy does it. x, y: shapes at plan time, x with
// strides. dim_symbols: as in BoundTensor; fixed: symbols whose planned size is also the size at run. An axis that may
// be smaller at run than planned is only ever carried over one to one, since the strides of the others then stay right.
// pairs[i] = the axis of x that axis i of y carries over one to one, or -1.
bool ReshapeStrides(const sage_tensor& x, const uint64_t* x_symbols, const uint64_t* y_symbols, uint64_t fixed,
                    sage_tensor* y, int32_t* pairs);

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_TENSOR_COPY_H_
