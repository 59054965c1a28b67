// host.cc: the services behind sage_host. Every C entry is a thin, non-throwing shell over a member.
#include "run/host.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "backend/device.h"
#include "fmt/format.h"
#include "plan/problem.h"
#include "sage/support/guard.h"

namespace sage {
namespace {

Host& Self(void* self) { return *static_cast<Host*>(self); }

sage_status HostAlloc(void* self, int32_t device_type, int32_t device_id, uint64_t bytes, uint64_t align, void** out,
                      sage_error* err) {
  if (out == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "host alloc: out is null");
  return support::Guard("host alloc", err,
                        [&] { return Deliver(Self(self).Alloc(device_type, device_id, bytes, align, out), err); });
}

void HostFree(void* self, int32_t device_type, int32_t device_id, void* ptr) {
  Self(self).Free(device_type, device_id, ptr);
}

void HostParallelFor(void* self, uint64_t n, uint64_t grain, sage_task_fn task, void* ctx) {
  Self(self).ParallelFor(n, grain, task, ctx);
}

void HostLog(void* self, int32_t level, const char* utf8, uint64_t length) {
  if (utf8 != nullptr) Self(self).Log(level, {utf8, length});
}

int32_t HostLogLevel(void* self) { return Self(self).log_level(); }

uint64_t HostSpanBegin(void*, void* run, const char* name) {
  const RunToken* token = static_cast<const RunToken*>(run);
  return token == nullptr || token->trace == nullptr || name == nullptr ? 0 : token->trace->Begin(name);
}

void HostSpanEnd(void*, void* run, uint64_t span) {
  const RunToken* token = static_cast<const RunToken*>(run);
  if (token != nullptr && token->trace != nullptr) token->trace->End(span);
}

void HostCount(void*, void* run, const char* name, uint64_t amount) {
  const RunToken* token = static_cast<const RunToken*>(run);
  if (token != nullptr && token->trace != nullptr) token->trace->Count(token->node, name, amount);
}

int32_t HostCancelled(void*, void* run) {
  const RunToken* token = static_cast<const RunToken*>(run);
  return token != nullptr && token->Cancelled() ? 1 : 0;
}

sage_status HostDevice(void* self, int32_t device_type, int32_t device_id, const sage_device_table** out,
                       sage_error* err) {
  if (out == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "host device: out is null");
  const std::shared_ptr<const Device> device = Self(self).FindDevice(device_type, device_id, nullptr);
  *out = device == nullptr ? nullptr : &device->table();  // the asking backend is made to hold the supplier
  return sage_succeed(err);
}

sage_status HostAttentionFeatures(void*, const sage_op* op, uint64_t* out, sage_error* err) {
  if (op == nullptr || out == nullptr)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "host attention_features: %s is null", op == nullptr ? "op" : "out");
  return support::Guard("host attention_features", err, [&] { return Deliver(AttentionFeatures(*op, out), err); });
}

const char* HostCacheFolder(void* self) {
  const std::string& folder = Self(self).cache_folder();
  return folder.empty() ? nullptr : folder.c_str();
}

int32_t LevelOf(const Options& options) {
  constexpr std::string_view kLevels[] = {"off", "error", "warning", "info", "debug"};
  const Result<uint32_t> level = ChoiceOption(options, "log_level", kLevels, SAGE_LOG_WARNING);
  return level.ok() ? static_cast<int32_t>(*level) : SAGE_LOG_WARNING;
}

}  // namespace

bool RunToken::Cancelled() const {
  if (cancelled.load(std::memory_order_relaxed) != 0) return true;
  return cancel != nullptr && cancel(cancel_user) != 0;
}

Host::Host(const Options& options, uint32_t threads, uint64_t max_memory, std::string cache_folder)
    : options_(options),
      pool_(options.parallel_for != nullptr ? 1 : threads),
      log_level_(LevelOf(options)),
      max_memory_(max_memory),
      cache_folder_(std::move(cache_folder)) {}

Host::~Host() = default;

const sage_host* Host::TableFor(uint32_t agreed_minor) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [entry, inserted] = tables_.try_emplace(agreed_minor);  // a map: addresses stay
  if (inserted) {
    sage_host& table = entry->second;
    table.struct_size = sizeof table;
    table.abi_minor = agreed_minor;
    table.self = this;
    table.num_workers = num_workers();
    table.alloc = HostAlloc;
    table.free = HostFree;
    table.parallel_for = HostParallelFor;
    table.log = HostLog;
    table.log_level = HostLogLevel;
    table.span_begin = HostSpanBegin;
    table.span_end = HostSpanEnd;
    table.cancelled = HostCancelled;
    table.device = HostDevice;
    table.attention_features = HostAttentionFeatures;
    table.count = HostCount;
    table.cache_folder = HostCacheFolder;
  }
  return &entry->second;
}

Status Host::Alloc(int32_t device_type, int32_t device_id, uint64_t bytes, uint64_t align, void** out) {
  return AllocAs(false, device_type, device_id, bytes, align, out);
}

Status Host::AllocLocked(int32_t device_type, int32_t device_id, uint64_t bytes, uint64_t align, void** out) {
  return AllocAs(true, device_type, device_id, bytes, align, out);
}

Status Host::AllocAs(bool locked, int32_t device_type, int32_t device_id, uint64_t bytes, uint64_t align, void** out) {
  *out = nullptr;
  if (!std::has_single_bit(align) || align > (uint64_t{1} << 30))
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("alignment {}: a power of two up to 2^30 is expected", align));
  const bool on_cpu = device_type == 0 || device_type == SAGE_CPU;
  const std::shared_ptr<const Device> device = on_cpu ? nullptr : FindDevice(device_type, device_id, nullptr);
  if (!on_cpu && device == nullptr)
    return Status(SAGE_E_DEVICE,
                  fmt::format("no backend has supplied device type {} number {}", device_type, device_id));

  // Reserved before it is allocated, so that two callers cannot pass the bound together.
  uint64_t in_use = bytes_in_use_.load(std::memory_order_relaxed);
  do {
    if (bytes > max_memory_ || in_use > max_memory_ - bytes)
      return Status(SAGE_E_OUT_OF_MEMORY,
                    fmt::format("{} bytes asked for, {} in use, max_memory is {}: raise the option "
                                "max_memory, or use smaller shapes or fewer plans",
                                bytes, in_use, max_memory_));
  } while (!bytes_in_use_.compare_exchange_weak(in_use, in_use + bytes, std::memory_order_relaxed));

  void* memory = nullptr;
  Status failed;
  const uint64_t asked = std::max<uint64_t>(bytes, 1);  // a zero-size block is still a distinct pointer
  if (device != nullptr) {
    failed = locked ? device->HostAlloc(asked, align, &memory) : device->Alloc(asked, align, &memory);
  } else if (options_.alloc != nullptr) {
    memory = options_.alloc(options_.alloc_user, asked, std::max<uint64_t>(align, sizeof(void*)));
    if (memory != nullptr && reinterpret_cast<uintptr_t>(memory) % align != 0) {
      options_.free(options_.alloc_user, memory, asked);
      memory = nullptr;
      failed = Status(SAGE_E_INVALID_ARGUMENT,
                      fmt::format("the caller's allocator returned memory that is not aligned to {} bytes", align));
    }
  } else if (posix_memalign(&memory, std::max<uint64_t>(align, sizeof(void*)), asked) != 0) {
    memory = nullptr;
  }
  if (memory == nullptr && failed.ok())
    failed = Status(SAGE_E_OUT_OF_MEMORY, fmt::format("the system has no {} bytes left", bytes));
  if (failed.ok()) {
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_[memory] = {bytes, on_cpu ? SAGE_CPU : device_type, device_id, locked};
  } else {
    bytes_in_use_.fetch_sub(bytes, std::memory_order_relaxed);
    return failed;
  }
  allocations_.fetch_add(1, std::memory_order_relaxed);
  uint64_t peak = peak_bytes_.load(std::memory_order_relaxed);
  while (peak < in_use + bytes && !peak_bytes_.compare_exchange_weak(peak, in_use + bytes, std::memory_order_relaxed)) {
  }
  *out = memory;
  return {};
}

void Host::Free(int32_t device_type, int32_t device_id, void* ptr) {
  if (ptr == nullptr) return;
  Block block{};
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = blocks_.find(ptr);
    if (found == blocks_.end()) {
      // Never handed to free(): memory we did not give out is not ours to release.
      Log(SAGE_LOG_ERROR, "a plugin freed memory that this host did not allocate, or freed it twice; ignored");
      return;
    }
    block = found->second;
    blocks_.erase(found);
  }
  (void)device_type, (void)device_id;  // what the block was allocated on holds
  if (block.device_type != SAGE_CPU) {
    if (const auto device = FindDevice(block.device_type, block.device_id, nullptr))
      block.locked ? device->HostFree(ptr) : device->Free(ptr);
  } else if (options_.free != nullptr) {
    options_.free(options_.alloc_user, ptr, std::max<uint64_t>(block.bytes, 1));
  } else {
    std::free(ptr);
  }
  bytes_in_use_.fetch_sub(block.bytes, std::memory_order_relaxed);
}

void Host::ParallelFor(uint64_t n, uint64_t grain, sage_task_fn task, void* ctx) {
  if (task == nullptr || n == 0) return;
  if (options_.parallel_for != nullptr)
    options_.parallel_for(options_.parallel_user, n, std::max<uint64_t>(grain, 1), task, ctx);
  else
    pool_.ParallelFor(n, grain, task, ctx);
}

uint32_t Host::num_workers() const {
  return options_.parallel_for != nullptr ? std::max<uint32_t>(options_.num_workers, 1) : pool_.num_workers();
}

void Host::Log(int32_t level, std::string_view line) const {
  if (options_.log != nullptr && level <= log_level_) options_.log(options_.log_user, level, line.data(), line.size());
}

void Host::SetDevice(std::shared_ptr<const Device> device, std::weak_ptr<const void> supplier) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::pair<int32_t, int32_t> key(device->type(), device->id());
  devices_[key] = {std::move(device), std::move(supplier)};
}

void Host::ForgetDevice(int32_t type, int32_t id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  devices_.erase({type, id});
}

std::shared_ptr<const Device> Host::FindDevice(int32_t type, int32_t id, std::shared_ptr<const void>* supplier) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = devices_.find({type, id});
  if (found == devices_.end()) return nullptr;
  if (supplier == nullptr) return found->second.device;
  *supplier = found->second.supplier.lock();
  return *supplier == nullptr ? nullptr : found->second.device;
}

}  // namespace sage
