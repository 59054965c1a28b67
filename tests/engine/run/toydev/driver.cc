// driver.cc: see the header.
#include "driver.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>
#include <utility>

#include "sage/support/refuse.h"

namespace toydev {
namespace {

constexpr size_t kPage = 4096;
constexpr unsigned char kFresh = 0xFF;  // NaN in every float: what nobody wrote shows

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "toydev: %s\n", what);
  std::abort();
}

Driver& Self(void* self) { return *static_cast<Driver*>(self); }

}  // namespace

Driver::Driver(int32_t type, int32_t id, const Options& options) : options_(options) {
  table_.struct_size = sizeof table_;
  table_.flags = options.visible ? SAGE_DEVICE_HOST_VISIBLE : 0;
  table_.device_type = type, table_.device_id = id;
  table_.self = this;
  table_.copy_latency_ns = options.latency_ns, table_.copy_bytes_per_ns = options.bytes_per_ns;
  table_.alloc = [](void* self, uint64_t bytes, uint64_t align, void** out, sage_error* err) {
    return Self(self).Alloc(bytes, align, out, err);
  };
  table_.free = [](void* self, void* memory) { Self(self).Free(memory); };
  table_.copy = [](void*, void* to, const void* from, uint64_t bytes, void* stream, sage_error* err) {
    Command command;
    command.to = to, command.from = from, command.bytes = bytes;
    auto* mine = static_cast<Stream*>(stream);
    if (mine->capture != nullptr) mine->capture->spoilt |= !mine->driver->Reaches(to) || !mine->driver->Reaches(from);
    return mine->Enqueue(command, err);
  };
  table_.stream_create = [](void* self, void** out, sage_error* err) -> sage_status {
    *out = new (std::nothrow) Stream(&Self(self));
    return *out == nullptr ? sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory") : sage_succeed(err);
  };
  table_.stream_destroy = [](void*, void* stream) {
    auto* mine = static_cast<Stream*>(stream);
    if (mine->issued != mine->executed) Die("a stream was destroyed with work on it");
    delete mine;
  };
  table_.stream_synchronize = [](void*, void* stream, sage_error* err) -> sage_status {
    auto* mine = static_cast<Stream*>(stream);
    if (mine->capture != nullptr) {
      mine->capture->spoilt = true;
      return sage_fail(err, SAGE_E_DEVICE, "a stream that is recorded was waited for");
    }
    mine->ExecuteUntil(mine->issued);
    if (!mine->failed) return sage_succeed(err);
    mine->failed = false;
    const sage_status status = sage_fail(err, SAGE_E_DEVICE, "the toy device tripped over a node");
    if (err != nullptr) err->native_code = 77;
    return status;
  };
  table_.event_create = [](void*, void** out, sage_error* err) -> sage_status {
    *out = new (std::nothrow) Event();
    return *out == nullptr ? sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory") : sage_succeed(err);
  };
  table_.event_destroy = [](void*, void* event) { delete static_cast<Event*>(event); };
  table_.event_record = [](void*, void* event, void* stream, sage_error* err) -> sage_status {
    auto* mine = static_cast<Stream*>(stream);
    *static_cast<Event*>(event) = {mine, mine->issued};
    return sage_succeed(err);
  };
  table_.event_wait = [](void* self, void* event, void* stream, sage_error* err) {
    const auto* mine = static_cast<const Event*>(event);
    if (mine->stream->driver->table()->device_type != Self(self).table()->device_type)
      return sage_fail(err, SAGE_E_DEVICE, "an event of another type of device means nothing here");
    Command command;
    command.kind = Command::Kind::kWait;
    command.other = mine->stream, command.position = mine->position;
    return static_cast<Stream*>(stream)->Enqueue(command, err);
  };
  table_.memory_info = [](void*, uint64_t* free_bytes, uint64_t* total_bytes, sage_error* err) -> sage_status {
    *free_bytes = *total_bytes = 1u << 30;
    return sage_succeed(err);
  };
  if (options.records) OfferRecording();
}

void Driver::OfferRecording() {
  table_.capture_begin = [](void* self, void* stream, sage_error* err) -> sage_status {
    auto* mine = static_cast<Stream*>(stream);
    if (mine->capture != nullptr) return sage_fail(err, SAGE_E_DEVICE, "it is recorded already");
    mine->capture = new (std::nothrow) Graph();
    if (mine->capture == nullptr) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory");
    ++Self(self).graphs;
    return sage_succeed(err);
  };
  table_.capture_end = [](void* self, void* stream, void** graph, sage_error* err) -> sage_status {
    Graph* made = std::exchange(static_cast<Stream*>(stream)->capture, nullptr);
    if (made == nullptr) return sage_fail(err, SAGE_E_DEVICE, "it was not recorded");
    if (made->spoilt || Self(self).options().fail_capture) {
      delete made, --Self(self).graphs;
      return sage_fail(err, SAGE_E_DEVICE, "the toy device could not record this");
    }
    *graph = made;
    return sage_succeed(err);
  };
  table_.graph_launch = [](void*, void* graph, void* stream, sage_error* err) -> sage_status {
    for (const Command& command : static_cast<Graph*>(graph)->commands) {
      const sage_status status = static_cast<Stream*>(stream)->Enqueue(command, err);
      if (status != SAGE_OK) return status;
    }
    return sage_succeed(err);
  };
  table_.graph_destroy = [](void* self, void* graph) { delete static_cast<Graph*>(graph), --Self(self).graphs; };
  table_.host_alloc = [](void* self, uint64_t bytes, uint64_t align, void** out, sage_error* err) {
    return Self(self).HostAlloc(bytes, align, out, err);
  };
  table_.host_free = [](void* self, void* memory) { Self(self).HostFree(memory); };
}

Driver::~Driver() {
  if (graphs != 0) Die("the device was destroyed with recordings still alive");
  if (!locked_.empty()) Die("the device was destroyed with page-locked memory still given out");
  if (!blocks_.empty()) Die("the device was destroyed with memory still given out");
}

sage_status Driver::Alloc(uint64_t bytes, uint64_t align, void** out, sage_error* err) {
  if (bytes > options_.largest_alloc) {
    const sage_status status = sage_fail(err, SAGE_E_OUT_OF_MEMORY, "the toy device has no %llu bytes left",
                                         static_cast<unsigned long long>(bytes));
    if (err != nullptr) err->native_code = 2;
    return status;
  }
  if (align > kPage) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "aligned to a page at most");
  const size_t size = (static_cast<size_t>(bytes) + kPage - 1) / kPage * kPage;
  // A page on either side that nobody may ever touch.
  void* pages = mmap(nullptr, size + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no pages");
  void* memory = static_cast<unsigned char*>(pages) + kPage;
  if (mprotect(memory, size, PROT_READ | PROT_WRITE) != 0) Die("mprotect failed");
  std::memset(memory, kFresh, size);
  if (!options_.visible && mprotect(memory, size, PROT_NONE) != 0) Die("mprotect failed");
  const std::lock_guard<std::mutex> lock(mutex_);
  blocks_[static_cast<unsigned char*>(memory)] = size;
  *out = memory;
  return sage_succeed(err);
}

void Driver::Free(void* memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = blocks_.find(static_cast<unsigned char*>(memory));
  if (found == blocks_.end()) Die("memory was freed that was not given out");
  munmap(static_cast<unsigned char*>(memory) - kPage, found->second + 2 * kPage);
  blocks_.erase(found);
}

sage_status Driver::HostAlloc(uint64_t bytes, uint64_t align, void** out, sage_error* err) {
  void* memory = nullptr;
  if (posix_memalign(&memory, align, bytes) != 0) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory");
  const std::lock_guard<std::mutex> lock(mutex_);
  locked_[static_cast<unsigned char*>(memory)] = bytes;
  *out = memory;
  return sage_succeed(err);
}

void Driver::HostFree(void* memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (locked_.erase(static_cast<unsigned char*>(memory)) == 0)
    Die("page-locked memory was freed that was not given out");
  std::free(memory);
}

bool Driver::Reaches(const void* at) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto holds = [&](const auto& blocks) {
    auto after = blocks.upper_bound(static_cast<unsigned char*>(const_cast<void*>(at)));
    return after != blocks.begin() && at < std::prev(after)->first + std::prev(after)->second;
  };
  return holds(blocks_) || holds(locked_);
}

void Driver::Protect(int protection) {
  if (options_.visible) return;
  for (const auto& [memory, size] : blocks_)
    if (mprotect(memory, size, protection) != 0) Die("mprotect failed");
}

void Driver::Execute(Stream* stream, const Command& command) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Protect(PROT_READ | PROT_WRITE);
  if (command.kind == Command::Kind::kCopy) {
    std::memcpy(command.to, command.from, command.bytes);
  } else if (++nodes_ == options_.failing_command) {
    stream->failed = true;
  } else {
    command.node(command);
  }
  Protect(PROT_NONE);
}

sage_status Stream::Enqueue(const Command& command, sage_error* err) {
  if (capture != nullptr) {
    capture->spoilt |= command.kind == Command::Kind::kWait;
    capture->commands.push_back(command);
    return sage_succeed(err);
  }
  if (issued - executed == kCapacity) return sage_fail(err, SAGE_E_DEVICE, "the toy device's queue is full");
  queue[issued++ % kCapacity] = command;
  return sage_succeed(err);
}

void Stream::ExecuteUntil(uint64_t position) {
  while (executed < position) {
    const Command& command = queue[executed % kCapacity];
    if (command.kind == Command::Kind::kWait)
      command.other->ExecuteUntil(command.position);
    else
      driver->Execute(this, command);
    ++executed;
  }
}

}  // namespace toydev
