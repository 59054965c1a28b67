// lines.cu: launches of lines.h and columns.h.
#include "ops/lines.h"

#include "ops/columns.h"
#include "ops/launch.h"

namespace sage::cuda {

template Launched LaunchOp(const LineCall& call, void* stream);
template Launched LaunchOp(const ColumnsCall& call, void* stream);
template Launched LaunchOp(const PoolCall& call, void* stream);

}  // namespace sage::cuda
