// device.cc: the table's entries over the runtime, and the price of a copy.
#include "common/cuda/device.h"

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "common/cuda/errors.h"
#include "sage/support/guard.h"

namespace sage::cuda {
namespace {

using support::Guard;

// What cudaMalloc aligns to, by its documentation.
constexpr uint64_t kCudaAlign = 256;

// Of a board behind PCIe, for pageable CPU memory, which is what the engine's tensors lie in: the driver copies it
// through a buffer of its own. A rule until a device has measured it (bench/results/OPEN.md).
constexpr double kBoardLatencyNs = 8000, kBoardBytesPerNs = 10;
// Where device and CPU have one memory but a copy is made all the same.
constexpr double kSharedLatencyNs = 5000, kSharedBytesPerNs = 20;

Device& Of(void* self) { return *static_cast<Device*>(self); }

// Runs call() with the device current. doing: what the sentence of a failure says.
template <class Call>
sage_status On(void* self, sage_error* err, const char* doing, Call&& call) {
  return Guard(doing, err, [&]() -> sage_status {
    const Device& device = Of(self);
    const CurrentDevice current(device.runtime(), device.id());
    const int code = current.code() != kSuccess ? current.code() : call(device.runtime());
    const sage_status status = device.Check(code, err, "%s", doing);
    return status == SAGE_OK ? sage_succeed(err) : status;
  });
}

// The same where there is no error slot.
template <class Call>
void Quietly(void* self, const char* doing, Call&& call) {
  (void)Guard(doing, nullptr, [&]() -> sage_status {
    const Device& device = Of(self);
    const CurrentDevice current(device.runtime(), device.id());
    const int code = current.code() != kSuccess ? current.code() : call(device.runtime());
    if (code != kSuccess) device.Tell(code, doing);
    return SAGE_OK;
  });
}

sage_status Missing(sage_error* err, const char* what) {
  return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%s must not be null", what);
}

sage_status TableAlloc(void* self, uint64_t bytes, uint64_t align, void** out, sage_error* err) {
  if (out == nullptr) return Missing(err, "alloc: out");
  *out = nullptr;
  return Guard("alloc", err, [&] { return Of(self).Alloc(bytes, align, out, err); });
}

void TableFree(void* self, void* memory) {
  (void)Guard("free", nullptr, [&]() -> sage_status {
    Of(self).Free(memory);
    return SAGE_OK;
  });
}

sage_status TableCopy(void* self, void* to, const void* from, uint64_t bytes, void* stream, sage_error* err) {
  if (bytes == 0) return sage_succeed(err);
  if (to == nullptr || from == nullptr) return Missing(err, "copy: dst and src");
  return On(self, err, "copying", [&](Runtime& runtime) { return runtime.Copy(to, from, bytes, stream); });
}

sage_status TableStreamCreate(void* self, void** out, sage_error* err) {
  if (out == nullptr) return Missing(err, "stream_create: out");
  *out = nullptr;
  return On(self, err, "making a stream", [&](Runtime& runtime) { return runtime.StreamCreate(out); });
}

void TableStreamDestroy(void* self, void* stream) {
  if (stream != nullptr)
    Quietly(self, "ending a stream", [&](Runtime& runtime) { return runtime.StreamDestroy(stream); });
}

sage_status TableStreamSynchronize(void* self, void* stream, sage_error* err) {
  return On(self, err, "waiting for a stream", [&](Runtime& runtime) { return runtime.StreamSynchronize(stream); });
}

sage_status TableEventCreate(void* self, void** out, sage_error* err) {
  if (out == nullptr) return Missing(err, "event_create: out");
  *out = nullptr;
  return On(self, err, "making an event", [&](Runtime& runtime) { return runtime.EventCreate(out); });
}

void TableEventDestroy(void* self, void* event) {
  if (event != nullptr) Quietly(self, "ending an event", [&](Runtime& runtime) { return runtime.EventDestroy(event); });
}

sage_status TableEventRecord(void* self, void* event, void* stream, sage_error* err) {
  if (event == nullptr) return Missing(err, "event_record: event");
  return On(self, err, "recording an event", [&](Runtime& runtime) { return runtime.EventRecord(event, stream); });
}

sage_status TableEventWait(void* self, void* event, void* stream, sage_error* err) {
  if (event == nullptr) return Missing(err, "event_wait: event");
  return On(self, err, "having a stream wait",
            [&](Runtime& runtime) { return runtime.StreamWaitEvent(stream, event); });
}

sage_status TableMemoryInfo(void* self, uint64_t* free_bytes, uint64_t* total_bytes, sage_error* err) {
  if (free_bytes == nullptr || total_bytes == nullptr) return Missing(err, "memory_info: free_bytes and total_bytes");
  size_t free_now = 0, total = 0;
  const sage_status status =
      On(self, err, "asking for free memory", [&](Runtime& runtime) { return runtime.MemoryInfo(&free_now, &total); });
  if (status == SAGE_OK) *free_bytes = free_now, *total_bytes = total;
  return status;
}

sage_status TableCaptureBegin(void* self, void* stream, sage_error* err) {
  return On(self, err, "beginning to record a stream", [&](Runtime& runtime) { return runtime.BeginCapture(stream); });
}

sage_status TableCaptureEnd(void* self, void* stream, void** graph, sage_error* err) {
  if (graph == nullptr) return Missing(err, "capture_end: graph");
  *graph = nullptr;
  return On(self, err, "recording a stream", [&](Runtime& runtime) { return runtime.EndCapture(stream, graph); });
}

sage_status TableGraphLaunch(void* self, void* graph, void* stream, sage_error* err) {
  if (graph == nullptr) return Missing(err, "graph_launch: graph");
  return On(self, err, "launching a recording", [&](Runtime& runtime) { return runtime.GraphLaunch(graph, stream); });
}

void TableGraphDestroy(void* self, void* graph) {
  if (graph != nullptr)
    Quietly(self, "ending a recording", [&](Runtime& runtime) { return runtime.GraphDestroy(graph); });
}

// cudaHostAlloc gives whole pages.
constexpr uint64_t kPage = 4096;

sage_status TableHostAlloc(void* self, uint64_t bytes, uint64_t align, void** out, sage_error* err) {
  if (out == nullptr) return Missing(err, "host_alloc: out");
  *out = nullptr;
  if (!std::has_single_bit(align) || align > kPage)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "host_alloc: alignment %llu: a power of two up to %llu is expected",
                     static_cast<unsigned long long>(align), static_cast<unsigned long long>(kPage));
  return On(self, err, "allocating page-locked memory", [&](Runtime& runtime) {
    return runtime.HostAlloc(out, static_cast<size_t>(std::max<uint64_t>(bytes, 1)));
  });
}

void TableHostFree(void* self, void* memory) {
  if (memory != nullptr)
    Quietly(self, "freeing page-locked memory", [&](Runtime& runtime) { return runtime.HostFree(memory); });
}

}  // namespace

CurrentDevice::CurrentDevice(Runtime& runtime, int device) : runtime_(runtime) {
  int now = -1;
  code_ = runtime.GetDevice(&now);
  if (code_ != kSuccess || now == device) return;
  code_ = runtime.SetDevice(device);
  if (code_ == kSuccess) before_ = now;
}

CurrentDevice::~CurrentDevice() {
  if (before_ >= 0) (void)runtime_.SetDevice(before_);
}

Device::Device(Runtime& runtime, const sage_host& host, int id, const Properties& properties)
    : runtime_(runtime), host_(host), id_(id), name_("cuda:" + std::to_string(id)), properties_(properties) {
  FillTable();
}

sage_status Device::Create(Runtime& runtime, const sage_host& host, int id, const Properties& properties,
                           std::unique_ptr<Device>* out, sage_error* err) {
  std::unique_ptr<Device> device(new Device(runtime, host, id, properties));
  int before = -1;
  sage_status status = device->Check(runtime.GetDevice(&before), err, "asking for the current device");
  // Not by CurrentDevice: the device may be the current one without having a context, which this call makes.
  if (status == SAGE_OK) status = device->Check(runtime.SetDevice(id), err, "making its context");
  size_t free_now = 0, total = 0;  // the first call that has to work in that context
  if (status == SAGE_OK) status = device->Check(runtime.MemoryInfo(&free_now, &total), err, "making its context");
  if (before >= 0 && before != id) (void)runtime.SetDevice(before);
  if (status == SAGE_OK) *out = std::move(device);
  return status;
}

Device::~Device() {
  for (const auto& [handed_out, given] : moved_) (void)runtime_.Free(given);
}

void Device::FillTable() {
  table_.struct_size = static_cast<uint32_t>(sizeof table_);
  // A board that can reach CPU memory over its bus does so at the bus's speed: "copies are free" would be wrong of it.
  const bool shared = properties_.integrated && properties_.pageable_access && properties_.concurrent_managed;
  table_.flags = shared ? SAGE_DEVICE_HOST_VISIBLE : 0;
  table_.device_type = SAGE_CUDA;
  table_.device_id = id_;
  table_.self = this;
  table_.copy_latency_ns = properties_.integrated ? kSharedLatencyNs : kBoardLatencyNs;
  table_.copy_bytes_per_ns = properties_.integrated ? kSharedBytesPerNs : kBoardBytesPerNs;
  table_.alloc = TableAlloc;
  table_.free = TableFree;
  table_.copy = TableCopy;
  table_.stream_create = TableStreamCreate;
  table_.stream_destroy = TableStreamDestroy;
  table_.stream_synchronize = TableStreamSynchronize;
  table_.event_create = TableEventCreate;
  table_.event_destroy = TableEventDestroy;
  table_.event_record = TableEventRecord;
  table_.event_wait = TableEventWait;
  table_.memory_info = TableMemoryInfo;
  table_.capture_begin = TableCaptureBegin;
  table_.capture_end = TableCaptureEnd;
  table_.graph_launch = TableGraphLaunch;
  table_.graph_destroy = TableGraphDestroy;
  table_.host_alloc = TableHostAlloc;
  table_.host_free = TableHostFree;
}

sage_status Device::Check(int code, sage_error* err, const char* doing, ...) const {
  if (code == kSuccess) return SAGE_OK;
  char text[256];
  const int length = std::snprintf(text, sizeof text, "%s: ", name_.c_str());
  const size_t used = length < 0 ? 0 : static_cast<size_t>(length);
  va_list arguments;
  va_start(arguments, doing);
  (void)std::vsnprintf(text + used, sizeof text - used, doing, arguments);
  va_end(arguments);
  if (LosesDevice(code)) {
    int none = kSuccess;
    lost_.compare_exchange_strong(none, code);
  }
  return FailCuda(runtime_, code, text, err);
}

void Device::Tell(int code, const char* doing) const {
  sage_error error{};
  error.struct_size = static_cast<uint32_t>(sizeof error);
  (void)Check(code, &error, "%s", doing);
  if (host_.log != nullptr) host_.log(host_.self, SAGE_LOG_ERROR, error.message, std::strlen(error.message));
}

sage_status Device::Alloc(uint64_t bytes, uint64_t align, void** out, sage_error* err) {
  *out = nullptr;
  if (!std::has_single_bit(align))
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%s: alignment %llu: a power of two is expected", name_.c_str(),
                     static_cast<unsigned long long>(align));
  const uint64_t extra = align > kCudaAlign ? align : 0;
  const bool too_large = bytes > SIZE_MAX - extra;
  const CurrentDevice current(runtime_, id_);
  int code = current.code();
  void* given = nullptr;
  if (code == kSuccess && too_large) code = kMemoryAllocation;
  const size_t asked = (bytes == 0 ? 1 : bytes) + extra;
  if (code == kSuccess) code = host_visible() ? runtime_.MallocManaged(&given, asked) : runtime_.Malloc(&given, asked);
  if (code != kSuccess) {
    size_t free_now = 0, total = 0;
    if (code == kMemoryAllocation && runtime_.MemoryInfo(&free_now, &total) == kSuccess)
      return Check(code, err, "allocating %llu bytes, of %llu %llu are free", static_cast<unsigned long long>(bytes),
                   static_cast<unsigned long long>(total), static_cast<unsigned long long>(free_now));
    return Check(code, err, "allocating %llu bytes", static_cast<unsigned long long>(bytes));
  }
  if (extra != 0) {
    const uintptr_t at = (reinterpret_cast<uintptr_t>(given) + align - 1) & ~(align - 1);
    if (at != reinterpret_cast<uintptr_t>(given)) {
      const std::lock_guard<std::mutex> lock(mutex_);
      moved_[reinterpret_cast<void*>(at)] = given;
      given = reinterpret_cast<void*>(at);
    }
  }
  *out = given;
  return sage_succeed(err);
}

void Device::Free(void* memory) {
  if (memory == nullptr) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = moved_.find(memory);
    if (found != moved_.end()) {
      memory = found->second;
      moved_.erase(found);
    }
  }
  Quietly(this, "freeing memory", [&](Runtime& runtime) { return runtime.Free(memory); });
}

}  // namespace sage::cuda
