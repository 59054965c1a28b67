// attention.h: ATTENTION by cuDNN.
#ifndef SAGE_PLUGINS_CUDNN_ATTENTION_H_
#define SAGE_PLUGINS_CUDNN_ATTENTION_H_

#include <memory>

#include "call.h"
#include "common/cuda/attention_rates.h"
#include "common/cuda/kind_server.h"
#include "context.h"

namespace sage::cudnn {

// Which graphs are put to cuDNN: kAuto is the composite one, and the unified op where cuDNN has no engine for that.
enum class GraphChoice { kAuto, kComposite, kUnified };

// The context outlives it. rates: what its answers are priced by.
std::unique_ptr<cuda::KindServer> ServeAttention(Context& context, const CallKernels& kernels, GraphChoice graphs,
                                                 cuda::AttentionRates rates);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_ATTENTION_H_
