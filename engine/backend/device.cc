// device.cc: what a device's table must hold before it is believed, and every call through it.
#include "backend/device.h"

#include <string.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "backend/border.h"
#include "backend/feature_names.h"
#include "fmt/format.h"

namespace sage {
namespace {

// As for a plugin's table: up to the first minor's last entry, and no size that is garbage.
constexpr uint32_t kSmallestTable = offsetof(sage_device_table, memory_info) + sizeof(sage_device_table::memory_info);
constexpr uint32_t kLargestTable = 1u << 16;
// Beyond these a price is no price: a second to begin a copy, a byte in a second, an exabyte in a second.
constexpr double kLongestLatencyNs = 1e9, kSlowestBytesPerNs = 1e-9, kFastestBytesPerNs = 1e9;

}  // namespace

std::string DeviceName(int32_t type, int32_t id) { return fmt::format("{}:{}", DeviceTypeName(type), id); }

Result<std::shared_ptr<const Device>> Device::TakeIn(const sage_device_table* theirs, int32_t type, int32_t id,
                                                     const std::string& supplier) {
  const std::string name = DeviceName(type, id);
  const auto broken = [&](const std::string& what) {
    return Status(SAGE_E_ABI_MISMATCH,
                  fmt::format("{}: the table of its device {}: {}; this plugin is broken, its author has to mend it",
                              supplier, name, what));
  };
  if (theirs == nullptr) return broken("none was given, though nobody else has supplied this device");
  uint32_t size = 0;
  memcpy(&size, theirs, sizeof size);
  if (size < kSmallestTable || size > kLargestTable)
    return broken(fmt::format("it says it has {} bytes, {} to {} are expected", size, kSmallestTable, kLargestTable));

  const std::shared_ptr<Device> device(new Device());
  sage_device_table& table = device->table_;
  memcpy(&table, theirs, std::min<size_t>(size, sizeof table));
  table.struct_size = sizeof table;
  table.flags &= SAGE_DEVICE_HOST_VISIBLE;  // later minors' flags mean nothing here
  if (table.device_type != type || table.device_id != id)
    return broken(fmt::format("it is that of {}", DeviceName(table.device_type, table.device_id)));
  const std::pair<bool, const char*> entries[] = {
      {table.alloc != nullptr, "alloc"},
      {table.free != nullptr, "free"},
      {table.copy != nullptr, "copy"},
      {table.stream_create != nullptr, "stream_create"},
      {table.stream_destroy != nullptr, "stream_destroy"},
      {table.stream_synchronize != nullptr, "stream_synchronize"},
      {table.event_create != nullptr, "event_create"},
      {table.event_destroy != nullptr, "event_destroy"},
      {table.event_record != nullptr, "event_record"},
      {table.event_wait != nullptr, "event_wait"},
      {table.memory_info != nullptr, "memory_info"},
  };
  for (const auto& [set, entry] : entries)
    if (!set) return broken(fmt::format("its entry `{}` is null", entry));
  // What is there in part is broken; what is not there at all is a device without.
  const int capture = (table.capture_begin != nullptr) + (table.capture_end != nullptr) +
                      (table.graph_launch != nullptr) + (table.graph_destroy != nullptr);
  if (capture != 0 && capture != 4)
    return broken(
        fmt::format("of capture_begin, capture_end, graph_launch and graph_destroy it has {}; all or none "
                    "are expected",
                    capture));
  if ((table.host_alloc == nullptr) != (table.host_free == nullptr))
    return broken("of host_alloc and host_free it has one; both or neither are expected");
  if (!std::isfinite(table.copy_latency_ns) || table.copy_latency_ns < 0 || table.copy_latency_ns > kLongestLatencyNs)
    return broken(
        fmt::format("its copy_latency_ns is {}, 0 to {} are expected", table.copy_latency_ns, kLongestLatencyNs));
  if (!std::isfinite(table.copy_bytes_per_ns) || table.copy_bytes_per_ns < kSlowestBytesPerNs ||
      table.copy_bytes_per_ns > kFastestBytesPerNs)
    return broken(fmt::format("its copy_bytes_per_ns is {}, {} to {} are expected", table.copy_bytes_per_ns,
                              kSlowestBytesPerNs, kFastestBytesPerNs));
  device->name_ = name;
  device->supplier_ = supplier;
  return std::shared_ptr<const Device>(device);
}

double Device::CopyNs(uint64_t bytes) const {
  return host_visible() ? 0 : table_.copy_latency_ns + static_cast<double>(bytes) / table_.copy_bytes_per_ns;
}

// What alloc and host_alloc gave, if it is memory and aligned.
Status Device::TakeMemory(const char* entry, void* memory, uint64_t bytes, uint64_t align, void** out) const {
  if (memory == nullptr)
    return Status(SAGE_E_OUT_OF_MEMORY, fmt::format("{}: its `{}` gave no memory for {} bytes", name_, entry, bytes));
  if (reinterpret_cast<uintptr_t>(memory) % align != 0)
    return Status(SAGE_E_INTERNAL,
                  fmt::format("{}: its `{}` gave memory that is not aligned to {} bytes; do not use plugin {}", name_,
                              entry, align, supplier_));
  *out = memory;
  return {};
}

Status Device::Alloc(uint64_t bytes, uint64_t align, void** out) const {
  *out = nullptr;
  void* memory = nullptr;
  SAGE_RETURN_IF_ERROR(border::Call(
      name_, "alloc", [&](sage_error* error) { return table_.alloc(table_.self, bytes, align, &memory, error); }));
  Status status = TakeMemory("alloc", memory, bytes, align, out);
  if (!status.ok() && memory != nullptr) Free(memory);
  return status;
}

Status Device::HostAlloc(uint64_t bytes, uint64_t align, void** out) const {
  *out = nullptr;
  void* memory = nullptr;
  SAGE_RETURN_IF_ERROR(border::Call(name_, "host_alloc", [&](sage_error* error) {
    return table_.host_alloc(table_.self, bytes, align, &memory, error);
  }));
  Status status = TakeMemory("host_alloc", memory, bytes, align, out);
  if (!status.ok() && memory != nullptr) HostFree(memory);
  return status;
}

void Device::HostFree(void* memory) const {
  try {
    table_.host_free(table_.self, memory);
  } catch (...) {
    // As in Free.
  }
}

void Device::Free(void* memory) const {
  try {
    table_.free(table_.self, memory);
  } catch (...) {
    // Nobody is left who could be told; the memory is the plugin's loss.
  }
}

Status Device::MemoryInfo(uint64_t* free_bytes, uint64_t* total_bytes) const {
  return border::Call(name_, "memory_info", [&](sage_error* error) {
    return table_.memory_info(table_.self, free_bytes, total_bytes, error);
  });
}

Status Device::Copy(void* to, const void* from, uint64_t bytes, void* stream) const {
  return border::Call(name_, "copy",
                      [&](sage_error* error) { return table_.copy(table_.self, to, from, bytes, stream, error); });
}

Status Device::CreateStream(void** out) const {
  *out = nullptr;
  return border::Call(name_, "stream_create",
                      [&](sage_error* error) { return table_.stream_create(table_.self, out, error); });
}

void Device::DestroyStream(void* stream) const {
  try {
    table_.stream_destroy(table_.self, stream);
  } catch (...) {
    // As in Free.
  }
}

Status Device::Synchronize(void* stream) const {
  return border::Call(name_, "stream_synchronize",
                      [&](sage_error* error) { return table_.stream_synchronize(table_.self, stream, error); });
}

Status Device::CreateEvent(void** out) const {
  *out = nullptr;
  return border::Call(name_, "event_create",
                      [&](sage_error* error) { return table_.event_create(table_.self, out, error); });
}

void Device::DestroyEvent(void* event) const {
  try {
    table_.event_destroy(table_.self, event);
  } catch (...) {
    // As in Free.
  }
}

Status Device::Record(void* event, void* stream) const {
  return border::Call(name_, "event_record",
                      [&](sage_error* error) { return table_.event_record(table_.self, event, stream, error); });
}

Status Device::Wait(void* event, void* stream) const {
  return border::Call(name_, "event_wait",
                      [&](sage_error* error) { return table_.event_wait(table_.self, event, stream, error); });
}

Status Device::BeginCapture(void* stream) const {
  return border::Call(name_, "capture_begin",
                      [&](sage_error* error) { return table_.capture_begin(table_.self, stream, error); });
}

Status Device::EndCapture(void* stream, void** graph) const {
  *graph = nullptr;
  SAGE_RETURN_IF_ERROR(border::Call(
      name_, "capture_end", [&](sage_error* error) { return table_.capture_end(table_.self, stream, graph, error); }));
  if (*graph != nullptr) return {};
  return Status(SAGE_E_INTERNAL, fmt::format("{}: its `capture_end` gave neither a graph nor an error", name_));
}

Status Device::Launch(void* graph, void* stream) const {
  return border::Call(name_, "graph_launch",
                      [&](sage_error* error) { return table_.graph_launch(table_.self, graph, stream, error); });
}

void Device::DestroyGraph(void* graph) const {
  try {
    table_.graph_destroy(table_.self, graph);
  } catch (...) {
    // As in Free.
  }
}

}  // namespace sage
