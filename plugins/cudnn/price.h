// price.h: what attention by cuDNN costs.
#ifndef SAGE_PLUGINS_CUDNN_PRICE_H_
#define SAGE_PLUGINS_CUDNN_PRICE_H_

#include "common/cuda/attention_arguments.h"
#include "common/cuda/runtime.h"

namespace sage::cudnn {

double CudnnPriceNs(const cuda::AttentionArguments& arguments, const cuda::Properties& device, bool prepares,
                    bool finishes);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_PRICE_H_
