// library_steps.h: how a product is said to cuBLASLt, and what is left for a kernel of ours behind it.
//
// cuBLASLt counts along columns; our rows are its columns, so that Y [m,n] is its D = A B of n rows and m columns, with
// W as A and X as B:  y^T = W x^T.  W [n,k] that is contiguous along k is A transposed, along n as it is; X [m,k] that
// is contiguous along k is B as it is, along m transposed. A leading dimension is the other stride.
// Numbers alone, no pointer but those of the arguments: the same at Ask, at plan and, for the sizes at hand, in a run.
#ifndef SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_STEPS_H_
#define SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_STEPS_H_

#include <compare>
#include <cstdint>

#include "common/cuda/products/product.h"

namespace sage::cuda {

// Bytes that every operand's address must be a multiple of in a run, as heuristics are told.
constexpr uint32_t kLibraryAlign = 16;
// As many products as are asked for one by one, where a batch has more axes than one stride can say.
constexpr int64_t kLibraryMostCalls = 64;

// What heuristics hang on, and the key under which they are kept. Sizes as cuBLASLt counts: A is n x k, D n x m.
struct LibraryCall {
  int32_t compute = 0, scale_type = 0, type = 0, d_type = 0;  // lt::kCompute*, lt::kR*; type is A's and B's
  int32_t trans_a = 0, trans_b = 0;
  int32_t n = 0, m = 0, k = 0;
  int64_t lda = 0, ldb = 0, ldd = 0;
  int32_t batch = 1;
  int64_t batch_a = 0, batch_b = 0, batch_d = 0;  // strides between its matrices
  uint32_t epilogue = 0;                          // lt::kEpilogue*
  uint32_t align_a = kLibraryAlign, align_b = kLibraryAlign, align_d = kLibraryAlign;
  auto operator<=>(const LibraryCall&) const = default;
};

struct LibrarySteps {
  LibraryCall call;
  ProductArguments product;   // what cuBLASLt makes; y is in scratch where scratch_bytes is not 0
  ProductArguments finish;    // the rest, if finishes; x is product's y
  int32_t strided_axis = -1;  // of the batch, in the call; the others are calls of their own
  int64_t calls = 1;
  bool finishes = false;
  const char* rest = "";  // if finishes: what for, in words that follow "a kernel for "
  uint64_t scratch_bytes = 0;
};

// Null: *out holds the steps, with y and finish.x null where they are scratch. Else why not, in words that follow
// "cuBLASLt: ". fuse: bias and activation by cuBLASLt where it has them. tf32: f32 factors may be rounded.
const char* DescribeSteps(const ProductArguments& a, bool fuse, bool tf32, LibrarySteps* out);

// Where the n-th call's operands begin, in elements.
struct LibraryOffsets {
  int64_t a = 0, b = 0, d = 0;
};
LibraryOffsets OffsetsOfCall(const LibrarySteps& steps, int64_t n);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_STEPS_H_
