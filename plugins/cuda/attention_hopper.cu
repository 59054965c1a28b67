// attention_hopper.cu: the Hopper kernel compiled for its shapes, and its launch.
#include <cuda_runtime.h>

#include "attention_hopper_host.h"
#include "attention_hopper_kernel.h"
#include "attention_hopper_shapes.h"

namespace sage::cuda {
namespace {

template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) AttentionHopper(const __grid_constant__ HopperParameters parameters) {
  hopper::Forward<S>(parameters);
}

// Found in the driver that is there, so that the plugin loads where there is none.
using EncodeTiled = decltype(&cuTensorMapEncodeTiled);
EncodeTiled FindEncoder() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result) !=
          cudaSuccess ||
      result != cudaDriverEntryPointSuccess)
    return nullptr;
  return reinterpret_cast<EncodeTiled>(found);
}

const char* Encode(EncodeTiled encode, const TensorMapShape& shape, TensorMap* map) {
  cuuint64_t size[kTensorMapMaxRank], stride[kTensorMapMaxRank];
  cuuint32_t box[kTensorMapMaxRank], step[kTensorMapMaxRank];
  for (int axis = 0; axis < shape.rank; ++axis) {
    size[axis] = static_cast<cuuint64_t>(shape.size[axis]);
    if (axis > 0) stride[axis - 1] = static_cast<cuuint64_t>(shape.stride[axis]);
    box[axis] = static_cast<cuuint32_t>(shape.box[axis]);
    step[axis] = 1;
  }
  const CUresult result = encode(map, shape.bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                                 static_cast<cuuint32_t>(shape.rank), const_cast<void*>(shape.address), size, stride,
                                 box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? nullptr : "Hopper kernel: the driver refused a tensor map";
}

template <class S>
const char* Start(const HopperParameters& parameters, int multiprocessors, cudaStream_t stream) {
  // Of the device, not of the launch: set each time, as it costs nothing against a launch and devices may differ.
  cudaError_t error = cudaFuncSetAttribute(AttentionHopper<S>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(S::kSharedBytes));
  if (error != cudaSuccess) return cudaGetErrorString(error);
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(parameters.cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(HopperBlocks(parameters, multiprocessors)));
  config.blockDim = dim3(S::kThreads);
  config.dynamicSmemBytes = S::kSharedBytes;
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = parameters.cluster > 1 ? 1 : 0;
  error = cudaLaunchKernelEx(&config, AttentionHopper<S>, parameters);
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace

const char* LaunchHopper(const AttentionArguments& arguments, int multiprocessors, void* workspace, void* stream) {
  if (const char* refusal = HopperRefusal(arguments)) return refusal;
  if (HopperHasNoQueries(arguments)) return nullptr;
  if (multiprocessors < 1) return "Hopper kernel: the device has no multiprocessors";
  const EncodeTiled encode = FindEncoder();
  if (encode == nullptr)
    return "Hopper kernel: the driver has no cuTensorMapEncodeTiled; a driver of CUDA 12.0 or later is needed";
  const auto queue = static_cast<cudaStream_t>(stream);
  HopperParameters parameters;
  const auto encode_with = [encode](const TensorMapShape& shape, TensorMap* map) { return Encode(encode, shape, map); };
  const HopperVariant variant = ChooseHopper(arguments, multiprocessors);
  if (const char* failure =
          MakeHopperParameters(arguments, variant, static_cast<uint32_t*>(workspace), encode_with, &parameters))
    return failure;
  if (workspace != nullptr) {
    const cudaError_t error = cudaMemsetAsync(workspace, 0, kHopperWorkspaceBytes, queue);
    if (error != cudaSuccess) return cudaGetErrorString(error);
  }
  return hopper::WithShape(arguments.type, variant, [&](auto shape) {
    return Start<typename decltype(shape)::Shape>(parameters, multiprocessors, queue);
  });
}

}  // namespace sage::cuda
