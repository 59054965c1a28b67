// ops.h: the small kinds of ops, those that a model has between its products and its attention, so that a whole graph
// stays on the device: NORM, UNARY, BINARY, SOFTMAX, REDUCE, GATHER, CONCAT, SLICE, PERMUTE, TOPK, ROPE and POOL.
#ifndef SAGE_PLUGINS_CUDA_OPS_OPS_H_
#define SAGE_PLUGINS_CUDA_OPS_OPS_H_

#include <memory>

#include "common/cuda/kind_server.h"
#include "ops/launches.h"

namespace sage::cuda {

constexpr uint64_t kSmallKinds =
    SAGE_KIND_BIT(SAGE_OP_NORM) | SAGE_KIND_BIT(SAGE_OP_UNARY) | SAGE_KIND_BIT(SAGE_OP_BINARY) |
    SAGE_KIND_BIT(SAGE_OP_SOFTMAX) | SAGE_KIND_BIT(SAGE_OP_REDUCE) | SAGE_KIND_BIT(SAGE_OP_GATHER) |
    SAGE_KIND_BIT(SAGE_OP_CONCAT) | SAGE_KIND_BIT(SAGE_OP_SLICE) | SAGE_KIND_BIT(SAGE_OP_PERMUTE) |
    SAGE_KIND_BIT(SAGE_OP_TOPK) | SAGE_KIND_BIT(SAGE_OP_ROPE) | SAGE_KIND_BIT(SAGE_OP_POOL);

// launches outlive it.
std::unique_ptr<KindServer> ServeOps(const OpLaunches& launches);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_OPS_H_
