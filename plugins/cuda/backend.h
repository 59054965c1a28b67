// backend.h: the cuda backend behind its table.
#ifndef SAGE_PLUGINS_CUDA_BACKEND_H_
#define SAGE_PLUGINS_CUDA_BACKEND_H_

#include <span>
#include <string_view>

#include "common/cuda/runtime.h"
#include "common/entries.h"
#include "kernel_family.h"
#include "ops/ops.h"
#include "products/products.h"

namespace sage::cuda {

constexpr char kVersion[] = "0.1.0";
constexpr uint64_t kKinds =
    SAGE_KIND_BIT(SAGE_OP_ATTENTION) | SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_MATMUL) | kSmallKinds;

// What a build has of kernels, which outlive the backend. Tests put their own here.
struct Kernels {
  std::span<const KernelFamily> attention;
  const ProductKernels* products = nullptr;  // (optional) LINEAR and MATMUL
  LoadLibraryFn load_cublaslt = nullptr;     // (optional) for them
  const OpLaunches* ops = nullptr;           // (optional) the small kinds
};

// What a table's probe and create do, over a runtime and kernels. Options, a line each: "kernels=NAME", the name of a
// family of attention: that one or a refusal; "auto" is the cheapest that serves. "splits=N": a family that splits keys
// makes N of the longest sequence that is planned, with the same ends in every run; "auto" is as many as pay.
// "hopper_stages=all", "none", or names of KernelFamily::stages with commas between them: those that are not left out.
// "rates=PATH": LoadRates. "cublas=": LibraryOption. "dependent_launch=on": kernels that can wait by themselves may
// begin while the grid before them ends.
void ProbeOver(Runtime& runtime, const Kernels& kernels, int32_t device_id, uint32_t* count, sage_answer* answer);
sage_status CreateOver(Runtime& runtime, const Kernels& kernels, const sage_host& host, int32_t device_id,
                       const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_BACKEND_H_
