// test_device.cc: the device's table over a runtime that fails as told: what is said, what is cleaned up, what is put
// back, and that no error stays behind for the next session.
#include <doctest/doctest.h>

#include <bit>

#include "common/cuda/device.h"
#include "fake_runtime.h"
#include "support/error_slot.h"
#include "support/test_host.h"

namespace sage::cuda {
namespace {

struct Slot : test::Error {
  std::string text() const { return message; }
};

bool Has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

struct Fixture {
  explicit Fixture(Properties properties = FakeH200(), int id = 0) {
    runtime.devices.assign(static_cast<size_t>(id) + 1, properties);
    Slot error;
    const sage_status status = Device::Create(runtime, *host.table(), id, properties, &device, &error);
    REQUIRE_MESSAGE(status == SAGE_OK, error.text());
    table = device->table();
    runtime.calls.clear();
  }
  test::TestHost host{1};
  FakeRuntime runtime;
  std::unique_ptr<Device> device;
  const sage_device_table* table = nullptr;
};

}  // namespace

TEST_CASE("R19 cuda: memory and copies both ways through the device's table") {
  Fixture f;
  Slot error;
  CHECK(f.table->device_type == SAGE_CUDA);
  CHECK(f.table->device_id == 0);
  CHECK(f.table->flags == 0);
  void *memory = nullptr, *stream = nullptr;
  CHECK(f.table->alloc(f.table->self, 1000, 256, &memory, &error) == SAGE_OK);
  CHECK(f.table->stream_create(f.table->self, &stream, &error) == SAGE_OK);
  std::vector<unsigned char> in(1000), out(1000);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<unsigned char>(i * 7);
  CHECK(f.table->copy(f.table->self, memory, in.data(), in.size(), stream, &error) == SAGE_OK);
  CHECK(f.table->copy(f.table->self, out.data(), memory, out.size(), stream, &error) == SAGE_OK);
  CHECK(f.table->stream_synchronize(f.table->self, stream, &error) == SAGE_OK);
  CHECK(in == out);
  CHECK(f.table->copy(f.table->self, nullptr, nullptr, 0, stream, &error) == SAGE_OK);  // nothing: nothing to name
  CHECK(f.table->copy(f.table->self, nullptr, in.data(), 5, stream, &error) == SAGE_E_INVALID_ARGUMENT);

  void* event = nullptr;
  CHECK(f.table->event_create(f.table->self, &event, &error) == SAGE_OK);
  CHECK(f.table->event_record(f.table->self, event, stream, &error) == SAGE_OK);
  CHECK(f.table->event_wait(f.table->self, event, stream, &error) == SAGE_OK);
  uint64_t free_bytes = 0, total = 0;
  CHECK(f.table->memory_info(f.table->self, &free_bytes, &total, &error) == SAGE_OK);
  CHECK(total == f.runtime.memory_limit);
  CHECK(free_bytes == total - 1000);
  f.table->event_destroy(f.table->self, event);
  f.table->stream_destroy(f.table->self, stream);
  f.table->free(f.table->self, memory);
  f.table->free(f.table->self, nullptr);
  CHECK(f.runtime.blocks() == 0);
  CHECK(f.runtime.streams() == 0);
  CHECK(f.runtime.events() == 0);
  CHECK(f.host.log_lines().empty());
}

TEST_CASE("S15 cuda: streams are recorded, recordings launched and page-locked memory given through the table") {
  Fixture f;
  Slot error;
  const sage_device_table& t = *f.table;
  void *stream = nullptr, *graph = nullptr, *memory = nullptr;
  REQUIRE(t.stream_create(t.self, &stream, &error) == SAGE_OK);
  REQUIRE(t.capture_begin(t.self, stream, &error) == SAGE_OK);
  REQUIRE(t.capture_end(t.self, stream, &graph, &error) == SAGE_OK);
  CHECK(graph != nullptr);
  CHECK(t.graph_launch(t.self, graph, stream, &error) == SAGE_OK);
  CHECK(t.graph_launch(t.self, nullptr, stream, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(f.runtime.graphs() == 1);
  t.graph_destroy(t.self, graph);
  t.graph_destroy(t.self, nullptr);
  CHECK(f.runtime.graphs() == 0);
  for (const uint64_t align : {1, 256, 4096}) {
    REQUIRE(t.host_alloc(t.self, 100, align, &memory, &error) == SAGE_OK);
    CHECK(reinterpret_cast<uintptr_t>(memory) % align == 0);
    t.host_free(t.self, memory);
  }
  for (const uint64_t align : {0, 48, 8192}) {
    CHECK(t.host_alloc(t.self, 100, align, &memory, &error) == SAGE_E_INVALID_ARGUMENT);
    CHECK(memory == nullptr);
  }
  CHECK(f.runtime.blocks() == 0);
  // A recording that ends badly leaves none behind.
  f.runtime.fail["EndCapture"] = 901;  // cudaErrorStreamCaptureInvalidated
  CHECK(t.capture_end(t.self, stream, &graph, &error) == SAGE_E_DEVICE);
  CHECK(graph == nullptr);
  CHECK(error.native_code == 901);
  CHECK(f.device->lost() == kSuccess);
  t.stream_destroy(t.self, stream);
}

TEST_CASE("R19 cuda: alignments wider than CUDA's own are kept and given back") {
  Fixture f;
  Slot error;
  for (uint64_t align = 1; align <= uint64_t{1} << 20; align *= 2) {
    void* memory = nullptr;
    REQUIRE(f.table->alloc(f.table->self, 100, align, &memory, &error) == SAGE_OK);
    CHECK(reinterpret_cast<uintptr_t>(memory) % align == 0);
    std::memset(memory, 1, 100);
    f.table->free(f.table->self, memory);
    CHECK(f.runtime.blocks() == 0);
  }
  void* memory = &f;
  CHECK(f.table->alloc(f.table->self, 100, 48, &memory, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(memory == nullptr);
  CHECK(f.table->alloc(f.table->self, 0, 256, &memory, &error) == SAGE_OK);
  CHECK(memory != nullptr);
  f.table->free(f.table->self, memory);
  CHECK(f.host.log_lines().empty());
}

TEST_CASE("G7 cuda: out of memory says how much was asked for and how much is free") {
  Fixture f;
  Slot error;
  void* memory = &f;
  CHECK(f.table->alloc(f.table->self, f.runtime.memory_limit + 1, 256, &memory, &error) == SAGE_E_OUT_OF_MEMORY);
  CHECK(memory == nullptr);
  CHECK(error.native_code == kMemoryAllocation);
  CHECK(error.text() ==
        "cuda:0: allocating 1073741825 bytes, of 1073741824 1073741824 are free: cudaErrorMemoryAllocation (2): out of "
        "memory; use smaller shapes or fewer plans, or end other programs that hold its memory");
  CHECK(f.runtime.pending_error() == kSuccess);  // the next session's launch does not find it
  CHECK(f.device->lost() == kSuccess);
  CHECK(f.table->alloc(f.table->self, UINT64_MAX, 4096, &memory, &error) == SAGE_E_OUT_OF_MEMORY);
  CHECK(f.table->alloc(f.table->self, 64, 256, &memory, &error) == SAGE_OK);
  f.table->free(f.table->self, memory);
}

TEST_CASE("R19 cuda: every call that fails has a sentence and its number and leaves no error behind") {
  const struct {
    const char *call, *doing;
    sage_status (*run)(const sage_device_table&, sage_error*);
  } calls[] = {
      {"Copy", "cuda:0: copying: ",
       [](const sage_device_table& t, sage_error* e) {
         char from = 0, to = 0;
         return t.copy(t.self, &to, &from, 1, nullptr, e);
       }},
      {"StreamCreate", "cuda:0: making a stream: ",
       [](const sage_device_table& t, sage_error* e) {
         void* out = nullptr;
         const sage_status status = t.stream_create(t.self, &out, e);
         CHECK((out == nullptr) == (status != SAGE_OK));
         return status;
       }},
      {"StreamSynchronize", "cuda:0: waiting for a stream: ",
       [](const sage_device_table& t, sage_error* e) { return t.stream_synchronize(t.self, nullptr, e); }},
      {"EventCreate", "cuda:0: making an event: ",
       [](const sage_device_table& t, sage_error* e) {
         void* out = nullptr;
         const sage_status status = t.event_create(t.self, &out, e);
         CHECK((out == nullptr) == (status != SAGE_OK));
         return status;
       }},
      {"BeginCapture", "cuda:0: beginning to record a stream: ",
       [](const sage_device_table& t, sage_error* e) { return t.capture_begin(t.self, nullptr, e); }},
      {"EndCapture", "cuda:0: recording a stream: ",
       [](const sage_device_table& t, sage_error* e) {
         void* graph = nullptr;
         return t.capture_end(t.self, nullptr, &graph, e);
       }},
      {"GraphLaunch", "cuda:0: launching a recording: ",
       [](const sage_device_table& t, sage_error* e) { return t.graph_launch(t.self, t.self, nullptr, e); }},
      {"HostAlloc", "cuda:0: allocating page-locked memory: ",
       [](const sage_device_table& t, sage_error* e) {
         void* out = nullptr;
         return t.host_alloc(t.self, 1, 1, &out, e);
       }},
      {"EventRecord", "cuda:0: recording an event: ",
       [](const sage_device_table& t, sage_error* e) { return t.event_record(t.self, t.self, nullptr, e); }},
      {"StreamWaitEvent", "cuda:0: having a stream wait: ",
       [](const sage_device_table& t, sage_error* e) { return t.event_wait(t.self, t.self, nullptr, e); }},
      {"MemoryInfo", "cuda:0: asking for free memory: ",
       [](const sage_device_table& t, sage_error* e) {
         uint64_t a = 0, b = 0;
         return t.memory_info(t.self, &a, &b, e);
       }},
      {"GetDevice", "cuda:0: copying: ",
       [](const sage_device_table& t, sage_error* e) {
         char from = 0, to = 0;
         return t.copy(t.self, &to, &from, 1, nullptr, e);
       }},
  };
  for (const auto& [call, doing, run] : calls) {
    CAPTURE(call);
    Fixture f;
    f.runtime.fail[call] = 999;
    Slot error;
    CHECK(run(*f.table, &error) == SAGE_E_DEVICE);
    CHECK(error.native_code == 999);
    CHECK(error.text() == std::string(doing) + "cudaErrorOther (999): something else");
    CHECK(f.runtime.pending_error() == kSuccess);
    CHECK(run(*f.table, nullptr) == SAGE_E_DEVICE);  // without a slot
    f.runtime.fail.clear();
    CHECK(run(*f.table, &error) == SAGE_OK);
    CHECK(error.text().empty());
  }
}

TEST_CASE("R19 cuda: an error that loses the device is remembered and said again by every call") {
  Fixture f;
  Slot error;
  f.runtime.fail["StreamSynchronize"] = kIllegalAddress;
  CHECK(f.table->stream_synchronize(f.table->self, nullptr, &error) == SAGE_E_DEVICE);
  CHECK(error.text() ==
        "cuda:0: waiting for a stream: cudaErrorIllegalAddress (700): an illegal memory access was encountered; the "
        "device is lost to this process: start it anew");
  CHECK(f.device->lost() == kIllegalAddress);
  void* memory = nullptr;
  CHECK(f.table->alloc(f.table->self, 10, 256, &memory, &error) == SAGE_E_DEVICE);
  CHECK(error.native_code == kIllegalAddress);

  // What no call could return is in the log.
  f.table->stream_destroy(f.table->self, f.table->self);
  REQUIRE(f.host.log_lines().size() == 1);
  CHECK(Has(f.host.log_lines()[0], "cuda:0: ending a stream: cudaErrorIllegalAddress (700)"));
}

TEST_CASE("R19 cuda: the calling thread's device is put back after every call") {
  Fixture f(FakeH200(), 2);
  CHECK(f.device->name() == "cuda:2");
  f.runtime.SetCurrent(1);
  Slot error;
  void* memory = nullptr;
  CHECK(f.table->alloc(f.table->self, 10, 256, &memory, &error) == SAGE_OK);
  CHECK(f.runtime.current_device() == 1);
  CHECK(f.runtime.calls == std::vector<std::string>{"GetDevice", "SetDevice", "Malloc", "SetDevice"});
  f.table->free(f.table->self, memory);
  CHECK(f.runtime.current_device() == 1);
  // Nothing to put back: nothing is set.
  f.runtime.SetCurrent(2);
  f.runtime.calls.clear();
  CHECK(f.table->stream_synchronize(f.table->self, nullptr, &error) == SAGE_OK);
  CHECK(f.runtime.calls == std::vector<std::string>{"GetDevice", "StreamSynchronize"});
}

TEST_CASE("G7 cuda: a device whose context cannot be made is refused when it is created") {
  for (const char* call : {"GetDevice", "SetDevice", "MemoryInfo"}) {
    CAPTURE(call);
    test::TestHost host(1);
    FakeRuntime runtime;
    runtime.fail[call] = kDevicesUnavailable;
    std::unique_ptr<Device> device;
    Slot error;
    CHECK(Device::Create(runtime, *host.table(), 0, FakeH200(), &device, &error) == SAGE_E_DEVICE);
    CHECK(device == nullptr);
    CHECK(error.native_code == kDevicesUnavailable);
    CHECK(Has(error.text(), "(46)"));
    CHECK(Has(error.text(), "another process has the device for itself"));
  }
}

TEST_CASE("R19 cuda: only memory that both sides reach at full speed is called shared") {
  Properties orin = FakeH200();
  orin.integrated = true;  // but it cannot reach what malloc gave
  CHECK(Fixture(orin).table->flags == 0);
  Properties board = FakeH200();
  board.pageable_access = board.concurrent_managed = true;  // over its bus
  CHECK(Fixture(board).table->flags == 0);
  Properties shared = orin;
  shared.pageable_access = shared.concurrent_managed = true;
  Fixture f(shared);
  CHECK(f.table->flags == SAGE_DEVICE_HOST_VISIBLE);
  Slot error;
  void* memory = nullptr;
  CHECK(f.table->alloc(f.table->self, 10, 256, &memory, &error) == SAGE_OK);
  CHECK(f.runtime.calls.back() == "MallocManaged");  // the CPU may look at it
  f.table->free(f.table->self, memory);
  CHECK(f.table->copy_bytes_per_ns > 0);
}

}  // namespace sage::cuda
