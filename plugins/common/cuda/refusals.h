// refusals.h: what every kind of op is refused for on a CUDA device.
#ifndef SAGE_PLUGINS_COMMON_CUDA_REFUSALS_H_
#define SAGE_PLUGINS_COMMON_CUDA_REFUSALS_H_

#include "common/cuda/device.h"
#include "sage/support/op_view.h"

namespace sage::cuda {

// True: *answer has become NO with its reason: a device that is lost, requirements, tensors that lie elsewhere.
bool RefuseInGeneral(const support::OpView& view, const Device& device, sage_answer* answer);

// The same for wishes of an attention op that no kernel of a device has: rows of scores in memory, tiles of given
// sizes.
bool RefuseAlgorithm(const support::OpView& view, sage_answer* answer);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_REFUSALS_H_
