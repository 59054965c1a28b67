// linked_runtime.cc: the interface over CUDA's runtime, linked statically: the library opens the driver at the first
// call that needs it, so that a machine without one can load it.
#include <cuda_runtime_api.h>

#include "common/cuda/runtime.h"

namespace sage::cuda {
namespace {

class Linked final : public Runtime {
 public:
  int BuiltFor() const override { return CUDART_VERSION; }
  int DriverVersion(int* out) override { return cudaDriverGetVersion(out); }
  int DeviceCount(int* out) override { return cudaGetDeviceCount(out); }

  int GetProperties(int device, Properties* out) override {
    cudaDeviceProp all{};
    if (const cudaError_t status = cudaGetDeviceProperties(&all, device); status != cudaSuccess) return status;
    all.name[sizeof all.name - 1] = '\0';
    out->name = all.name;
    out->major = all.major, out->minor = all.minor;
    out->multiprocessors = all.multiProcessorCount;
    out->shared_bytes_per_block = static_cast<int>(all.sharedMemPerBlockOptin);
    out->total_bytes = all.totalGlobalMem;
    out->l2_bytes = static_cast<uint64_t>(all.l2CacheSize);
    out->memory_bus_bits = all.memoryBusWidth;
    out->integrated = all.integrated != 0;
    out->pageable_access = all.pageableMemoryAccess != 0;
    out->concurrent_managed = all.concurrentManagedAccess != 0;
    // The struct lost its clocks in CUDA 13; the attributes are in all versions.
    if (const cudaError_t status = cudaDeviceGetAttribute(&out->clock_khz, cudaDevAttrClockRate, device);
        status != cudaSuccess)
      return status;
    return cudaDeviceGetAttribute(&out->memory_clock_khz, cudaDevAttrMemoryClockRate, device);
  }

  int GetDevice(int* out) override { return cudaGetDevice(out); }
  int SetDevice(int device) override { return cudaSetDevice(device); }
  int Malloc(void** out, size_t bytes) override { return cudaMalloc(out, bytes); }
  int MallocManaged(void** out, size_t bytes) override { return cudaMallocManaged(out, bytes, cudaMemAttachGlobal); }
  int Free(void* memory) override { return cudaFree(memory); }
  int MemoryInfo(size_t* free_bytes, size_t* total_bytes) override { return cudaMemGetInfo(free_bytes, total_bytes); }
  int Copy(void* to, const void* from, size_t bytes, void* stream) override {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream));
  }
  int StreamCreate(void** out) override {
    return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(out), cudaStreamNonBlocking);
  }
  int StreamDestroy(void* stream) override { return cudaStreamDestroy(static_cast<cudaStream_t>(stream)); }
  int StreamSynchronize(void* stream) override { return cudaStreamSynchronize(static_cast<cudaStream_t>(stream)); }
  int EventCreate(void** out) override {
    return cudaEventCreateWithFlags(reinterpret_cast<cudaEvent_t*>(out), cudaEventDisableTiming);
  }
  int EventDestroy(void* event) override { return cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
  int EventRecord(void* event, void* stream) override {
    return cudaEventRecord(static_cast<cudaEvent_t>(event), static_cast<cudaStream_t>(stream));
  }
  int StreamWaitEvent(void* stream, void* event) override {
    return cudaStreamWaitEvent(static_cast<cudaStream_t>(stream), static_cast<cudaEvent_t>(event), 0);
  }
  int BeginCapture(void* stream) override {
    // Other threads may go on allocating.
    return cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeThreadLocal);
  }
  int EndCapture(void* stream, void** graph) override {
    *graph = nullptr;
    cudaGraph_t recorded = nullptr;
    cudaError_t status = cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &recorded);
    if (status != cudaSuccess) return status;
    status = cudaGraphInstantiate(reinterpret_cast<cudaGraphExec_t*>(graph), recorded, 0);
    (void)cudaGraphDestroy(recorded);
    if (status != cudaSuccess) *graph = nullptr;
    return status;
  }
  int GraphLaunch(void* graph, void* stream) override {
    return cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), static_cast<cudaStream_t>(stream));
  }
  int GraphDestroy(void* graph) override { return cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }
  int BeginNodes(void* stream, void** nodes) override {
    *nodes = nullptr;
    cudaStreamCaptureStatus recorded = cudaStreamCaptureStatusNone;
    const cudaError_t status = cudaStreamIsCapturing(static_cast<cudaStream_t>(stream), &recorded);
    if (status != cudaSuccess || recorded != cudaStreamCaptureStatusActive) return status;
    return cudaGraphCreate(reinterpret_cast<cudaGraph_t*>(nodes), 0);
  }
  int EndNodes(void* stream, void* nodes, bool add) override {
    const auto queue = static_cast<cudaStream_t>(stream);
    const auto child = static_cast<cudaGraph_t>(nodes);
    cudaError_t status = cudaSuccess;
    if (add) {
      cudaStreamCaptureStatus recorded = cudaStreamCaptureStatusNone;
      cudaGraph_t graph = nullptr;
      const cudaGraphNode_t* before = nullptr;
      const cudaGraphEdgeData* edges = nullptr;
      size_t count = 0;
      cudaGraphNode_t node = nullptr;
      status = cudaStreamGetCaptureInfo(queue, &recorded, nullptr, &graph, &before, &edges, &count);
      if (status == cudaSuccess && recorded != cudaStreamCaptureStatusActive)
        status = cudaErrorStreamCaptureInvalidated;
      if (status == cudaSuccess) status = cudaGraphAddChildGraphNode(&node, graph, before, count, child);
      if (status == cudaSuccess)
        status = cudaStreamUpdateCaptureDependencies(queue, &node, nullptr, 1, cudaStreamSetCaptureDependencies);
    }
    (void)cudaGraphDestroy(child);
    return status;
  }
  int HostAlloc(void** out, size_t bytes) override { return cudaHostAlloc(out, bytes, cudaHostAllocPortable); }
  int HostFree(void* memory) override { return cudaFreeHost(memory); }
  int TakeLastError() override { return cudaGetLastError(); }
  const char* ErrorName(int code) override { return cudaGetErrorName(static_cast<cudaError_t>(code)); }
  const char* ErrorText(int code) override { return cudaGetErrorString(static_cast<cudaError_t>(code)); }
};

}  // namespace

Runtime& LinkedRuntime() {
  static Linked runtime;  // without state, and nothing is done when it ends
  return runtime;
}

}  // namespace sage::cuda
