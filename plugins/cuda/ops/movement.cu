// movement.cu: launches of movement.h.
#include "ops/movement.h"

#include "ops/launch.h"

namespace sage::cuda {

template Launched LaunchOp(const CopyOne& call, void* stream);
template Launched LaunchOp(const CopyMany& call, void* stream);
template Launched LaunchOp(const TransposeCall& call, void* stream);
template Launched LaunchOp(const GatherCall& call, void* stream);

}  // namespace sage::cuda
