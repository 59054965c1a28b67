// A device's table: what it must hold before it is believed, and what its entries may do wrong afterwards.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>

#include "backend/backend.h"
#include "backend/device.h"
#include "support/toy_table.h"

using namespace sage;
using sage::test::Toy;
using sage::test::ToyTable;

namespace {

// What the entries are to do; `self` of the table.
struct Faults {
  sage_status status = SAGE_OK;
  bool throws = false, no_memory = false, misaligned = false, overrun = false;
  int freed = 0;
};

sage_status Do(void* self, sage_error* err) {
  auto* faults = static_cast<Faults*>(self);
  if (faults->throws) throw 1;
  if (faults->overrun) std::memset(err + 1, 0, 8);
  if (faults->status == SAGE_OK) return sage_succeed(err);
  const sage_status status = sage_fail(err, faults->status, "the bus is late");
  err->native_code = 41;
  return status;
}

alignas(512) unsigned char memory[1024];

sage_device_table Table(Faults* faults) {
  sage_device_table table{};
  table.struct_size = sizeof table;
  table.device_type = SAGE_CUDA, table.device_id = 3;
  table.self = faults;
  table.copy_latency_ns = 1000, table.copy_bytes_per_ns = 10;
  table.alloc = [](void* self, uint64_t, uint64_t, void** out, sage_error* err) -> sage_status {
    const auto* f = static_cast<Faults*>(self);
    *out = f->no_memory ? nullptr : f->misaligned ? memory + 8 : memory;
    return Do(self, err);
  };
  table.free = [](void* self, void*) { ++static_cast<Faults*>(self)->freed; };
  table.copy = [](void* self, void*, const void*, uint64_t, void*, sage_error* err) { return Do(self, err); };
  table.stream_create = [](void* self, void**, sage_error* err) { return Do(self, err); };
  table.stream_destroy = [](void*, void*) {};
  table.stream_synchronize = [](void* self, void*, sage_error* err) { return Do(self, err); };
  table.event_create = [](void* self, void**, sage_error* err) { return Do(self, err); };
  table.event_destroy = [](void*, void*) {};
  table.event_record = [](void* self, void*, void*, sage_error* err) { return Do(self, err); };
  table.event_wait = [](void* self, void*, void*, sage_error* err) { return Do(self, err); };
  table.memory_info = [](void* self, uint64_t* free_bytes, uint64_t* total_bytes, sage_error* err) {
    *free_bytes = 1, *total_bytes = 2;
    return Do(self, err);
  };
  table.capture_begin = [](void* self, void*, sage_error* err) { return Do(self, err); };
  table.capture_end = [](void* self, void*, void** graph, sage_error* err) -> sage_status {
    *graph = static_cast<Faults*>(self)->no_memory ? nullptr : memory;
    return Do(self, err);
  };
  table.graph_launch = [](void* self, void*, void*, sage_error* err) { return Do(self, err); };
  table.graph_destroy = [](void*, void*) {};
  table.host_alloc = [](void* self, uint64_t, uint64_t, void** out, sage_error* err) -> sage_status {
    const auto* f = static_cast<Faults*>(self);
    *out = f->no_memory ? nullptr : f->misaligned ? memory + 8 : memory;
    return Do(self, err);
  };
  table.host_free = [](void* self, void*) { ++static_cast<Faults*>(self)->freed; };
  return table;
}

template <class Change>
void Refused(Change change, const char* word) {
  Faults faults;
  sage_device_table table = Table(&faults);
  change(table);
  const auto device = Device::TakeIn(&table, SAGE_CUDA, 3, "gpu");
  CAPTURE(word);
  REQUIRE_FALSE(device.ok());
  CHECK(device.status().code() == SAGE_E_ABI_MISMATCH);
  INFO(device.status().message());
  CHECK(device.status().message().find(word) != std::string::npos);
  CHECK(device.status().message().find("gpu: the table of its device cuda:3") != std::string::npos);
}

}  // namespace

TEST_CASE("a device's table: every entry, the right device, prices that are prices, or a sentence") {
  CHECK(Device::TakeIn(nullptr, SAGE_CUDA, 3, "gpu").status().code() == SAGE_E_ABI_MISMATCH);
  Refused([](auto& t) { t.struct_size = 0; }, "it says it has 0 bytes");
  Refused([](auto& t) { t.struct_size = offsetof(sage_device_table, memory_info); }, "bytes");
  Refused([](auto& t) { t.struct_size = 1u << 20; }, "bytes");
  Refused([](auto& t) { t.device_type = SAGE_CPU; }, "it is that of cpu:3");
  Refused([](auto& t) { t.device_id = 0; }, "it is that of cuda:0");
  Refused([](auto& t) { t.alloc = nullptr; }, "`alloc` is null");
  Refused([](auto& t) { t.free = nullptr; }, "`free` is null");
  Refused([](auto& t) { t.copy = nullptr; }, "`copy` is null");
  Refused([](auto& t) { t.stream_create = nullptr; }, "`stream_create` is null");
  Refused([](auto& t) { t.stream_destroy = nullptr; }, "`stream_destroy` is null");
  Refused([](auto& t) { t.stream_synchronize = nullptr; }, "`stream_synchronize` is null");
  Refused([](auto& t) { t.event_create = nullptr; }, "`event_create` is null");
  Refused([](auto& t) { t.event_destroy = nullptr; }, "`event_destroy` is null");
  Refused([](auto& t) { t.event_record = nullptr; }, "`event_record` is null");
  Refused([](auto& t) { t.event_wait = nullptr; }, "`event_wait` is null");
  Refused([](auto& t) { t.memory_info = nullptr; }, "`memory_info` is null");
  Refused([](auto& t) { t.capture_begin = nullptr; }, "graph_destroy it has 3; all or none");
  Refused([](auto& t) { t.capture_end = nullptr, t.graph_launch = nullptr; }, "graph_destroy it has 2; all or none");
  Refused([](auto& t) { t.graph_destroy = nullptr; }, "graph_destroy it has 3; all or none");
  Refused([](auto& t) { t.host_alloc = nullptr; }, "of host_alloc and host_free it has one");
  Refused([](auto& t) { t.host_free = nullptr; }, "of host_alloc and host_free it has one");
  for (const double bad : {-1.0, std::nan(""), std::numeric_limits<double>::infinity(), 1e10}) {
    Refused([bad](auto& t) { t.copy_latency_ns = bad; }, "copy_latency_ns is");
    Refused([bad](auto& t) { t.copy_bytes_per_ns = bad; }, "copy_bytes_per_ns is");
  }
  Refused([](auto& t) { t.copy_bytes_per_ns = 0; }, "copy_bytes_per_ns is 0");
}

TEST_CASE("a device's table of a later minor: its tail and its flags are not ours to read") {
  Faults faults;
  struct {
    sage_device_table table;
    void* later;
  } longer{Table(&faults), nullptr};
  longer.table.struct_size = sizeof longer;
  longer.table.flags = ~SAGE_DEVICE_HOST_VISIBLE;
  const auto device = Device::TakeIn(&longer.table, SAGE_CUDA, 3, "gpu");
  REQUIRE_MESSAGE(device.ok(), device.status().message());
  CHECK((*device)->table().struct_size == sizeof(sage_device_table));
  CHECK_FALSE((*device)->host_visible());
  CHECK((*device)->name() == "cuda:3");
  CHECK((*device)->CopyNs(500) == 1050);
  longer.table.flags = SAGE_DEVICE_HOST_VISIBLE;
  CHECK((*Device::TakeIn(&longer.table, SAGE_CUDA, 3, "gpu"))->CopyNs(500) == 0);
}

TEST_CASE("a device's table of an earlier minor: it ends before recordings and page-locked memory, and has none") {
  Faults faults;
  sage_device_table table = Table(&faults);
  CHECK((*Device::TakeIn(&table, SAGE_CUDA, 3, "gpu"))->records());
  CHECK((*Device::TakeIn(&table, SAGE_CUDA, 3, "gpu"))->locks());
  table.struct_size = offsetof(sage_device_table, capture_begin);
  const auto device = Device::TakeIn(&table, SAGE_CUDA, 3, "gpu");
  REQUIRE_MESSAGE(device.ok(), device.status().message());
  CHECK_FALSE((*device)->records());
  CHECK_FALSE((*device)->locks());
}

TEST_CASE("a device's entries: errors keep their code, and what breaks the contract is named") {
  Faults faults;
  const sage_device_table table = Table(&faults);
  const auto device = *Device::TakeIn(&table, SAGE_CUDA, 3, "gpu");
  void* out = nullptr;
  REQUIRE(device->Alloc(64, 256, &out).ok());
  CHECK(out == memory);
  faults.misaligned = true;
  CHECK(device->Alloc(64, 256, &out).code() == SAGE_E_INTERNAL);
  CHECK(faults.freed == 1);
  CHECK(out == nullptr);
  faults.misaligned = false, faults.no_memory = true;
  CHECK(device->Alloc(64, 256, &out).code() == SAGE_E_OUT_OF_MEMORY);
  CHECK(device->HostAlloc(64, 256, &out).code() == SAGE_E_OUT_OF_MEMORY);
  CHECK(device->EndCapture(nullptr, &out).message() == "cuda:3: its `capture_end` gave neither a graph nor an error");
  faults.no_memory = false, faults.misaligned = true;
  CHECK(device->HostAlloc(64, 256, &out).code() == SAGE_E_INTERNAL);
  CHECK(faults.freed == 2);
  faults.misaligned = false, faults.status = SAGE_E_DEVICE;
  for (const Status& status :
       {device->Alloc(64, 256, &out), device->Copy(nullptr, nullptr, 0, nullptr), device->Synchronize(nullptr),
        device->CreateStream(&out), device->CreateEvent(&out), device->Record(nullptr, nullptr),
        device->Wait(nullptr, nullptr), device->BeginCapture(nullptr), device->EndCapture(nullptr, &out),
        device->Launch(nullptr, nullptr), device->HostAlloc(64, 256, &out)}) {
    CHECK(status.code() == SAGE_E_DEVICE);
    CHECK(status.native_code() == 41);
    CHECK(status.message() == "cuda:3: the bus is late");
  }
  faults.status = 999;
  CHECK(device->Synchronize(nullptr).message().find("returned 999, which is no status") != std::string::npos);
  faults.status = SAGE_OK, faults.overrun = true;
  CHECK(device->Copy(nullptr, nullptr, 0, nullptr).message().find("wrote past the end") != std::string::npos);
  faults.overrun = false, faults.throws = true;
  CHECK(device->Synchronize(nullptr).message().find("its `stream_synchronize` threw") != std::string::npos);
  CHECK(device->Alloc(64, 256, &out).code() == SAGE_E_INTERNAL);
}

TEST_CASE("a backend whose device cannot be believed is not created, and gives its instance back") {
  const auto host = std::make_shared<Host>(Options{}, 1, 1 << 20);
  Toy toy;
  sage_plugin table = ToyTable("gpu");
  table.device_type = SAGE_CUDA;
  table.device = [](sage_instance*, const sage_device_table** out, sage_error*) -> sage_status {
    *out = nullptr;
    return SAGE_OK;
  };
  auto made = Backend::Create(host, table, 0, 0, toy.Options());
  CHECK(made.status().code() == SAGE_E_ABI_MISMATCH);
  CHECK(toy.destroyed == 1);
  table.device = [](sage_instance*, const sage_device_table**, sage_error* err) -> sage_status {
    return sage_fail(err, SAGE_E_DEVICE, "the driver is asleep");
  };
  made = Backend::Create(host, table, 0, 0, toy.Options());
  CHECK(made.status().code() == SAGE_E_DEVICE);
  CHECK(made.status().message() == "gpu: the driver is asleep");
  CHECK(host->FindDevice(SAGE_CUDA, 0, nullptr) == nullptr);
}
