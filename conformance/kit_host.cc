// kit_host.cc: see kit_host.h.
#include "conformance/kit_host.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "plan/problem.h"
#include "sage/support/refuse.h"

namespace sage::conformance {
namespace {

constexpr uint64_t kGuard = 64;
constexpr unsigned char kGuardByte = 0xC5;

thread_local bool inside_task = false;

}  // namespace

KitHost::KitHost(uint32_t workers) {
  table_.struct_size = sizeof table_;
  table_.abi_minor = SAGE_ABI_MINOR;
  table_.self = this;
  table_.num_workers = workers;
  table_.alloc = Alloc;
  table_.free = Free;
  table_.parallel_for = ParallelFor;
  table_.log = [](void*, int32_t, const char*, uint64_t) {};
  table_.log_level = [](void*) -> int32_t { return SAGE_LOG_DEBUG; };
  table_.span_begin = [](void*, void*, const char*) -> uint64_t { return 1; };
  table_.span_end = [](void*, void*, uint64_t) {};
  table_.cancelled = [](void* self, void*) -> int32_t {
    auto* host = static_cast<KitHost*>(self);
    ++host->polls;
    return host->cancel;
  };
  table_.device = [](void*, int32_t, int32_t, const sage_device_table** out, sage_error* err) {
    *out = nullptr;
    return sage_succeed(err);
  };
  table_.attention_features = [](void*, const sage_op* op, uint64_t* out, sage_error* err) -> sage_status {
    const Status status = AttentionFeatures(*op, out);
    return status.ok() ? sage_succeed(err) : sage_fail(err, status.code(), "%s", status.message().c_str());
  };
  table_.count = [](void*, void*, const char*, uint64_t) {};
}

sage_status KitHost::Alloc(void* self, int32_t, int32_t, uint64_t bytes, uint64_t align, void** out, sage_error* err) {
  auto* host = static_cast<KitHost*>(self);
  ++host->allocs;
  if (host->running) ++host->allocs_in_run;
  *out = nullptr;
  if (align == 0 || (align & (align - 1)) != 0)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "alignment %llu is no power of two",
                     static_cast<unsigned long long>(align));
  if (host->fail_alloc_after == 0) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "the kit refuses memory from here on");
  if (host->fail_alloc_after > 0) --host->fail_alloc_after;
  const uint64_t lead = std::max(align, kGuard);
  if (bytes > (1ull << 40)) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "more than a TiB");
  const uint64_t total = (lead + bytes + kGuard + lead - 1) / lead * lead;
  auto* base = static_cast<unsigned char*>(std::aligned_alloc(lead, total));
  if (base == nullptr) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory");
  std::memset(base, kGuardByte, total);
  std::memset(base + lead, 0xFF, bytes);  // not zero: a plugin must not count on cleared memory
  *out = base + lead;
  ++host->live;
  const std::lock_guard lock(host->mutex_);
  host->blocks_[*out] = {bytes, base};
  return sage_succeed(err);
}

void KitHost::Free(void* self, int32_t, int32_t, void* ptr) {
  auto* host = static_cast<KitHost*>(self);
  if (ptr == nullptr) return;
  Block block;
  {
    const std::lock_guard lock(host->mutex_);
    const auto found = host->blocks_.find(ptr);
    if (found == host->blocks_.end()) {
      ++host->bad_frees;
      return;
    }
    block = found->second;
    host->blocks_.erase(found);
  }
  --host->live;
  auto* data = static_cast<unsigned char*>(ptr);
  const auto whole = [](const unsigned char* from, uint64_t count) {
    return std::all_of(from, from + count, [](unsigned char byte) { return byte == kGuardByte; });
  };
  if (!whole(data + block.bytes, kGuard) || !whole(data - kGuard, kGuard)) ++host->damaged;
  std::free(block.base);
}

void KitHost::ParallelFor(void* self, uint64_t n, uint64_t grain, sage_task_fn task, void* ctx) {
  const auto* host = static_cast<KitHost*>(self);
  grain = std::max<uint64_t>(grain, 1);
  const uint64_t pieces = n / grain + (n % grain != 0 ? 1 : 0);
  const auto workers = static_cast<uint32_t>(std::min<uint64_t>(host->table_.num_workers, pieces));
  if (n == 0) return;
  if (workers <= 1 || inside_task) return task(ctx, 0, n, 0);
  std::atomic<uint64_t> next{0};
  const auto work = [&](uint32_t worker) {
    inside_task = true;
    for (uint64_t piece = next++; piece < pieces; piece = next++)
      task(ctx, piece * grain, std::min(n, (piece + 1) * grain), worker);
    inside_task = false;
  };
  std::vector<std::thread> threads;
  for (uint32_t worker = 1; worker < workers; ++worker) threads.emplace_back(work, worker);
  work(0);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace sage::conformance
