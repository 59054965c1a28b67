// launches.cc: the launches that the .cu files instantiate, as one table.
#include "ops/launches.h"

namespace sage::cuda {

template <class Call>
Launched LaunchOp(const Call& call, void* stream);

const OpLaunches& LinkedOps() {
  static constexpr OpLaunches kOps{
      .architectures = SAGE_CUDA_PORTABLE_CODE,
      .unary = LaunchOp<UnaryCall>,
      .binary = LaunchOp<BinaryCall>,
      .batch_norm = LaunchOp<BatchNormCall>,
      .cast = LaunchOp<CastCall>,
      .line = LaunchOp<LineCall>,
      .columns = LaunchOp<ColumnsCall>,
      .pool = LaunchOp<PoolCall>,
      .copy = LaunchOp<CopyOne>,
      .copies = LaunchOp<CopyMany>,
      .transpose = LaunchOp<TransposeCall>,
      .gather = LaunchOp<GatherCall>,
      .topk = LaunchOp<TopkCall>,
      .rope = LaunchOp<RopeCall>,
  };
  return kOps;
}

}  // namespace sage::cuda
