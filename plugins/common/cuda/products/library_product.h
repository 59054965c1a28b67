// library_product.h: one LINEAR or MATMUL by cuBLASLt, from the op to the launch: for every plugin that multiplies by
// it.
//
// Here is what the library alone decides: whether it has an algorithm, which, and which of them a run may be given.
// What is left to a plugin: prices against its own kernels, the kernel that finishes what has no epilogue, and what
// becomes of a run that is not the library's.
//
// A run may have fewer rows than the plan, and rows that lay one behind the other then no longer do. So an op whose
// axes are dynamic has two calls: `joined`, whose rows are as many as strides allow, and `apart`, every axis its own,
// which holds for whatever a run makes of the axes, as its strides are those of the plan.
#ifndef SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_PRODUCT_H_
#define SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_PRODUCT_H_

#include <string>

#include "common/cuda/device.h"
#include "common/cuda/products/product_library.h"
#include "common/cuda/products/product_operands.h"
#include "sage/support/op_view.h"

namespace sage::cuda {

// The least exact class that the op accepts.
uint32_t AcceptedAccuracy(const support::OpView& view);
// What cuBLASLt delivers: f64 and f32 in their own, integers exactly; 16 bits by tensor cores, whose sums are shorter
// than those of f32; TF32 is LOSSY.
uint32_t DeliveredAccuracy(const LibrarySteps& steps);

// As heuristics were asked, and what they chose.
struct LibraryWay {
  bool there = false;
  LibraryCall call;
  LibraryAlgorithm algorithm;
};
struct LibraryProduct {
  bool tf32 = false, fused = false;  // fused: bias and activation by the library
  LibraryWay joined, apart;
  int32_t planned_rows = 0, planned_batch = 0;  // joined
  uint64_t library_workspace = 0;               // of whichever runs, a multiple of 256; scratch lies behind it
  uint64_t workspace_bytes = 0;
};

// Who computes what the library does not.
enum class Besides { kKernels, kNothing };

// Opens the library and asks it for a, which is view joined, of tf32 where out->tf32 is set. False: *why. True: *out
// and *steps, those of a, are set. kNothing: false as well where a kernel would have to finish, and where a run with
// fewer rows could be none of the library's.
bool FindLibraryProduct(const support::OpView& view, const ProductArguments& a, const Device& device, Besides besides,
                        ProductLibrary* library, LibraryProduct* out, LibrarySteps* steps, std::string* why);

// What a run gives the library. The product that it was fitted to outlives it.
struct LibraryRun {
  LibrarySteps steps;
  const LibraryWay* way = nullptr;
  bool as_planned = true;  // no fewer rows
};
enum class Fit { kYes, kNoAlgorithm, kCrooked };

// Chooses the call for a run of operands, of which a is the joined reading. kNoAlgorithm: none was planned that serves
// it. kCrooked: the address in *slot is no multiple of kLibraryAlign. Allocates nothing.
Fit FitRun(const LibraryProduct& product, const support::OpView& view, const RunOperands& operands,
           const ProductArguments& a, void* workspace, LibraryRun* out, uint32_t* slot);

// Enqueues run; the device is current. *refused: set, with SAGE_OK, where the library says that it does not serve fewer
// rows than planned after all; as many as planned it has promised. Allocates nothing.
sage_status LaunchRun(const LibraryRun& run, const ProductLibrary& library, const Device& device, void* workspace,
                      void* stream, bool* refused, sage_error* err);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_PRODUCT_H_
