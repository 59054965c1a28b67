// cuda_device.cc: CUDA's device 0 by the runtime, linked statically; the same primary context as the plugin's.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "common/cuda/roofline.h"
#include "device.h"
#include "sage/types.h"

namespace sage::bench {
namespace {

Status Said(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return {};
  cudaGetLastError();  // not for the next call to find
  return Status(status == cudaErrorMemoryAllocation ? SAGE_E_OUT_OF_MEMORY : SAGE_E_DEVICE,
                fmt::format("{}: {} ({}): {}", what, cudaGetErrorName(status), static_cast<int>(status),
                            cudaGetErrorString(status)),
                status);
}

std::string Version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

class CudaRecording final : public Recording {
 public:
  CudaRecording(cudaGraphExec_t graph, cudaStream_t stream) : graph_(graph), stream_(stream) {}
  ~CudaRecording() override { cudaGraphExecDestroy(graph_); }
  Status Launch() override { return Said(cudaGraphLaunch(graph_, stream_), "launching recorded calls"); }

 private:
  cudaGraphExec_t graph_;
  cudaStream_t stream_;
};

// Pairs of events, destroyed with it.
struct Events {
  ~Events() {
    for (cudaEvent_t event : all) cudaEventDestroy(event);
  }
  Status Make(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      cudaEvent_t event = nullptr;
      SAGE_RETURN_IF_ERROR(Said(cudaEventCreate(&event), "making an event"));
      all.push_back(event);
    }
    return {};
  }
  std::vector<cudaEvent_t> all;
};

class CudaDevice final : public Device {
 public:
  ~CudaDevice() override {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  Status Open() {
    SAGE_RETURN_IF_ERROR(Said(cudaSetDevice(0), "choosing device 0"));
    return Said(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  }
  int32_t type() const override { return SAGE_CUDA; }
  void* stream() const override { return stream_; }

  Result<nlohmann::ordered_json> Facts() override {
    cudaDeviceProp all{};
    int driver = 0, runtime = 0, clock_khz = 0, memory_khz = 0;
    size_t free_bytes = 0, total = 0;
    SAGE_RETURN_IF_ERROR(Said(cudaGetDeviceProperties(&all, 0), "asking what the device is"));
    SAGE_RETURN_IF_ERROR(Said(cudaDriverGetVersion(&driver), "asking for the driver's version"));
    SAGE_RETURN_IF_ERROR(Said(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version"));
    SAGE_RETURN_IF_ERROR(Said(cudaMemGetInfo(&free_bytes, &total), "asking for free memory"));
    SAGE_RETURN_IF_ERROR(Said(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, 0), "asking for its clock"));
    SAGE_RETURN_IF_ERROR(
        Said(cudaDeviceGetAttribute(&memory_khz, cudaDevAttrMemoryClockRate, 0), "asking for its memory's clock"));
    // As the plugins know the device, whose prices are shares of these.
    cuda::Properties properties;
    SAGE_RETURN_IF_ERROR(Said(static_cast<cudaError_t>(cuda::LinkedRuntime().GetProperties(0, &properties)),
                              "asking what the device is"));
    const cuda::Roofline peaks = cuda::RooflineOf(properties);
    return nlohmann::ordered_json{
        {"name", all.name},
        {"capability", fmt::format("{}.{}", all.major, all.minor)},
        {"driver", Version(driver)},
        {"runtime", Version(runtime)},
        {"multiprocessors", all.multiProcessorCount},
        {"clock_mhz", clock_khz / 1000},
        {"memory_clock_mhz", memory_khz / 1000},
        {"l2_bytes", all.l2CacheSize},
        {"memory_bytes", total},
        {"free_bytes", free_bytes},
        {"peaks", {{"tensor_flops_per_ns", peaks.tensor_flops}, {"bytes_per_ns", peaks.bytes}}}};
  }

  Result<void*> Allocate(uint64_t bytes) override {
    void* memory = nullptr;
    SAGE_RETURN_IF_ERROR(Said(cudaMalloc(&memory, bytes), fmt::format("allocating {} bytes", bytes).c_str()));
    return memory;
  }
  void Free(void* memory) override { cudaFree(memory); }
  Status Copy(void* to, const void* from, uint64_t bytes) override {
    return Said(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "copying");
  }
  Status Fill(void* to, unsigned char byte, uint64_t bytes) override {
    return Said(cudaMemsetAsync(to, byte, bytes, stream_), "filling");
  }
  Status Wait() override { return Said(cudaStreamSynchronize(stream_), "waiting for the stream"); }

  Result<std::vector<double>> Time(const Work& work, int64_t warmup, int64_t samples) override {
    Events events;
    SAGE_RETURN_IF_ERROR(events.Make(2 * samples));
    for (int64_t n = 0; n < warmup; ++n) SAGE_RETURN_IF_ERROR(work(n));
    for (int64_t n = 0; n < samples; ++n) {
      const size_t at = 2 * static_cast<size_t>(n);
      SAGE_RETURN_IF_ERROR(Said(cudaEventRecord(events.all[at], stream_), "recording an event"));
      SAGE_RETURN_IF_ERROR(work(warmup + n));
      SAGE_RETURN_IF_ERROR(Said(cudaEventRecord(events.all[at + 1], stream_), "recording an event"));
    }
    SAGE_RETURN_IF_ERROR(Wait());
    std::vector<double> out;
    for (size_t at = 0; at < events.all.size(); at += 2) {
      float milliseconds = 0;
      SAGE_RETURN_IF_ERROR(
          Said(cudaEventElapsedTime(&milliseconds, events.all[at], events.all[at + 1]), "reading two events"));
      out.push_back(1e6 * static_cast<double>(milliseconds));
    }
    return out;
  }

  Result<std::unique_ptr<Recording>> Record(const Work& work, int64_t calls) override {
    // Thread-local: a call that may not be recorded fails here and disturbs no other thread.
    SAGE_RETURN_IF_ERROR(Said(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "recording"));
    Status failure;
    for (int64_t n = 0; n < calls && failure.ok(); ++n) failure = work(n);
    cudaGraph_t graph = nullptr;
    const Status ended = Said(cudaStreamEndCapture(stream_, &graph), "ending a recording");
    if (failure.ok()) failure = ended;
    cudaGraphExec_t runnable = nullptr;
    if (failure.ok()) failure = Said(cudaGraphInstantiate(&runnable, graph, 0), "making a recording runnable");
    if (graph != nullptr) cudaGraphDestroy(graph);
    if (!failure.ok()) return failure;
    return std::unique_ptr<Recording>(std::make_unique<CudaRecording>(runnable, stream_));
  }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Device>> MakeCudaDevice() {
  auto device = std::make_unique<CudaDevice>();
  SAGE_RETURN_IF_ERROR(device->Open());
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace sage::bench
