// linear.h: LINEAR and MATMUL of the plugin cudnn: by cuBLASLt and by nothing else.
//
// cuDNN multiplies matrices too, but cuBLASLt is what NVIDIA tunes for that, takes an explicit workspace and starts
// sooner. This plugin has no kernel of its own: what cuBLASLt cannot do in one go, epilogue included, is refused, so
// that the next backend has it. How a product is said to the library, and which algorithm a run is given, is
// common/cuda/products, as in the plugin cuda.
#ifndef SAGE_PLUGINS_CUDNN_LINEAR_H_
#define SAGE_PLUGINS_CUDNN_LINEAR_H_

#include <memory>

#include "common/cuda/kind_server.h"
#include "common/cuda/products/library_option.h"

namespace sage::cudnn {

// load: cuda::lt::Load, or a test's own. The library is opened when an op is first asked about that it could do; one
// whose place the option names at once, and then it is an error where it is not there (SAGE_E_UNSUPPORTED, with its
// sentence). device outlives *out.
sage_status ServeLinear(cuda::LoadLibraryFn load, const cuda::LibraryOption& option, const cuda::Device& device,
                        std::unique_ptr<cuda::KindServer>* out, sage_error* err);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_LINEAR_H_
