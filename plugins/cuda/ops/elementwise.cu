// elementwise.cu: launches of elementwise.h and cast.h.
#include "ops/elementwise.h"

#include "ops/cast.h"
#include "ops/launch.h"

namespace sage::cuda {

template Launched LaunchOp(const UnaryCall& call, void* stream);
template Launched LaunchOp(const BinaryCall& call, void* stream);
template Launched LaunchOp(const BatchNormCall& call, void* stream);
template Launched LaunchOp(const CastCall& call, void* stream);

}  // namespace sage::cuda
