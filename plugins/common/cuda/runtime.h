// runtime.h: the few calls of the CUDA runtime that our plugins make outside their kernels, behind one interface.
//
// So every decision that hangs on them (is there a driver, is it new enough, what is said when memory runs out) is
// tested on machines without a device, over a runtime that fails as told. Kernels are not launched through here.
// No header of CUDA is included: what is built without the toolkit knows it by numbers, which CUDA's ABI fixes.
#ifndef SAGE_PLUGINS_COMMON_CUDA_RUNTIME_H_
#define SAGE_PLUGINS_COMMON_CUDA_RUNTIME_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace sage::cuda {

// cudaError_t, those that are told apart here.
inline constexpr int kSuccess = 0;
inline constexpr int kMemoryAllocation = 2;
inline constexpr int kInsufficientDriver = 35;  // too old, or none at all
inline constexpr int kDevicesUnavailable = 46;  // another process has it for itself
inline constexpr int kNoDevice = 100;
inline constexpr int kNoKernelImage = 209;
inline constexpr int kIllegalAddress = 700;

struct Properties {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  int clock_khz = 0, memory_clock_khz = 0, memory_bus_bits = 0;
  int shared_bytes_per_block = 0;  // at most, by opt-in
  uint64_t total_bytes = 0, l2_bytes = 0;
  bool integrated = false;          // its memory is the CPU's
  bool pageable_access = false;     // it reads and writes any CPU memory of the process
  bool concurrent_managed = false;  // CPU and device may use managed memory at the same time
  // Not the device's own: kernels that can wait may be launched while the grid before them ends
  // (plugins/common/cuda/kernels/launch_kernel.h).
  bool dependent_launch = false;
};

// Every call but the two texts returns a cudaError_t. Free-threaded, as CUDA's own are.
class Runtime {
 public:
  Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  virtual ~Runtime() = default;

  virtual int BuiltFor() const = 0;         // the toolkit's version, 13000 for 13.0
  virtual int DriverVersion(int* out) = 0;  // the newest CUDA the driver serves; 0 where there is no driver
  virtual int DeviceCount(int* out) = 0;    // starts the driver, makes no context
  virtual int GetProperties(int device, Properties* out) = 0;  // likewise
  virtual int GetDevice(int* out) = 0;                         // of the calling thread
  virtual int SetDevice(int device) = 0;                       // makes the primary context, where there is none yet

  virtual int Malloc(void** out, size_t bytes) = 0;
  virtual int MallocManaged(void** out, size_t bytes) = 0;
  virtual int Free(void* memory) = 0;
  virtual int MemoryInfo(size_t* free_bytes, size_t* total_bytes) = 0;
  virtual int Copy(void* to, const void* from, size_t bytes, void* stream) = 0;  // cudaMemcpyDefault
  virtual int StreamCreate(void** out) = 0;  // that does not wait for the null stream
  virtual int StreamDestroy(void* stream) = 0;
  virtual int StreamSynchronize(void* stream) = 0;
  virtual int EventCreate(void** out) = 0;  // without times
  virtual int EventDestroy(void* event) = 0;
  virtual int EventRecord(void* event, void* stream) = 0;
  virtual int StreamWaitEvent(void* stream, void* event) = 0;

  virtual int BeginCapture(void* stream) = 0;              // of what the calling thread enqueues
  virtual int EndCapture(void* stream, void** graph) = 0;  // *graph: ready to be launched, or null with an error
  virtual int GraphLaunch(void* graph, void* stream) = 0;
  virtual int GraphDestroy(void* graph) = 0;
  // Nodes for a recording that a library fills itself. *nodes: an empty graph, or null where the stream is not
  // recorded.
  virtual int BeginNodes(void* stream, void** nodes) = 0;
  // Adds them, behind what is recorded, where add; they end in any case.
  virtual int EndNodes(void* stream, void* nodes, bool add) = 0;
  virtual int HostAlloc(void** out, size_t bytes) = 0;  // page-locked, aligned to a page
  virtual int HostFree(void* memory) = 0;

  virtual int TakeLastError() = 0;  // of the calling thread, and forgets it
  virtual const char* ErrorName(int code) = 0;
  virtual const char* ErrorText(int code) = 0;
};

// The one that is linked into the plugin, statically. Needs the toolkit to be built; looks nothing up before a call.
Runtime& LinkedRuntime();

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_RUNTIME_H_
