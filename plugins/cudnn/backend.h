// backend.h: the cudnn backend behind its table.
#ifndef SAGE_PLUGINS_CUDNN_BACKEND_H_
#define SAGE_PLUGINS_CUDNN_BACKEND_H_

#include "attention.h"
#include "common/cuda/cublaslt.h"
#include "common/cuda/runtime.h"
#include "common/entries.h"

namespace sage::cudnn {

constexpr char kVersion[] = "0.1.0";
constexpr uint64_t kKinds =
    SAGE_KIND_BIT(SAGE_OP_ATTENTION) | SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_MATMUL);

// What a build stands on. Tests put their own here.
struct Parts {
  CallKernels kernels;
  bool (*load)(const std::string& path, Library* out, std::string* why) = nullptr;
  bool (*load_cublaslt)(const std::string& path, int built_for, cuda::lt::Library* out, std::string* why) = nullptr;
};

// What a table's probe and create do, over a runtime. Options, a line each: "library=PATH", cuDNN's file or folder and
// no other, "auto" looks in the usual places. "cublas=" likewise for cuBLASLt. "graph=composite" or "unified", "auto"
// is either. "capture=stream" or "native": how a run gets into a recording. "plans=DIR" keeps plans there from one
// process to the next, "auto" in the user's cache folder, "off" does not.
void ProbeOver(cuda::Runtime& runtime, const Parts& parts, int32_t device_id, uint32_t* count, sage_answer* answer);
sage_status CreateOver(cuda::Runtime& runtime, const Parts& parts, const sage_host& host, int32_t device_id,
                       const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_BACKEND_H_
