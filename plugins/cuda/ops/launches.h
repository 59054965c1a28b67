// launches.h: how the kernels of the ops are launched: on a device by the .cu files, in tests by an emulation.
#ifndef SAGE_PLUGINS_CUDA_OPS_LAUNCHES_H_
#define SAGE_PLUGINS_CUDA_OPS_LAUNCHES_H_

#include <string_view>

#include "kernel_family.h"
#include "ops/cast.h"
#include "ops/columns.h"
#include "ops/elementwise.h"
#include "ops/lines.h"
#include "ops/movement.h"
#include "ops/rope.h"
#include "ops/topk.h"

namespace sage::cuda {

// Each enqueues one kernel on stream (cudaStream_t), which is done with the call when it returns, allocates nothing and
// waits for nothing. Called with the device current and a grid that is not empty.
struct OpLaunches {
  std::string_view architectures;  // compiled for: common/cuda/architecture.h
  Launched (*unary)(const UnaryCall& call, void* stream) = nullptr;
  Launched (*binary)(const BinaryCall& call, void* stream) = nullptr;
  Launched (*batch_norm)(const BatchNormCall& call, void* stream) = nullptr;
  Launched (*cast)(const CastCall& call, void* stream) = nullptr;
  Launched (*line)(const LineCall& call, void* stream) = nullptr;
  Launched (*columns)(const ColumnsCall& call, void* stream) = nullptr;
  Launched (*pool)(const PoolCall& call, void* stream) = nullptr;
  Launched (*copy)(const CopyOne& call, void* stream) = nullptr;
  Launched (*copies)(const CopyMany& call, void* stream) = nullptr;
  Launched (*transpose)(const TransposeCall& call, void* stream) = nullptr;
  Launched (*gather)(const GatherCall& call, void* stream) = nullptr;
  Launched (*topk)(const TopkCall& call, void* stream) = nullptr;
  Launched (*rope)(const RopeCall& call, void* stream) = nullptr;
};

// Those that are linked into the plugin; for ever valid. In libraries without the kernels it is not defined.
const OpLaunches& LinkedOps();

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_LAUNCHES_H_
