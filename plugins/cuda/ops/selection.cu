// selection.cu: launches of topk.h and rope.h.
#include "ops/launch.h"
#include "ops/rope.h"
#include "ops/topk.h"

namespace sage::cuda {

template Launched LaunchOp(const TopkCall& call, void* stream);
template Launched LaunchOp(const RopeCall& call, void* stream);

}  // namespace sage::cuda
