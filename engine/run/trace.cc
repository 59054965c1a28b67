// trace.cc: spans in a fixed array, a slot taken by one atomic increment.
#include "run/trace.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace sage {

uint64_t Trace::NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

void Trace::Enable(uint32_t capacity) {
  spans_.assign(capacity, Span{});
  spans_.shrink_to_fit();
  count_.store(0, std::memory_order_relaxed);
}

void Trace::Reset() {
  const uint64_t used = std::min<uint64_t>(count_.load(std::memory_order_relaxed), spans_.size());
  std::fill_n(spans_.begin(), used, Span{});
  count_.store(0, std::memory_order_relaxed);
  for (uint64_t i = 0; i < num_counts_; ++i) {
    counts_[i].name.store(nullptr, std::memory_order_relaxed);
    counts_[i].amount.store(0, std::memory_order_relaxed);
  }
}

void Trace::EnableCounts(uint32_t nodes) {
  num_counts_ = uint64_t{nodes} * kCountsPerNode;
  counts_ = std::make_unique<Counted[]>(num_counts_);
}

void Trace::Count(uint32_t node, const char* name, uint64_t amount) {
  const uint64_t first = uint64_t{node} * kCountsPerNode;
  if (name == nullptr || first >= num_counts_) return;
  for (uint64_t i = first; i < first + kCountsPerNode; ++i) {
    Counted& counted = counts_[i];
    const char* held = counted.name.load(std::memory_order_acquire);
    // Taken by whoever comes first; a loser sees the winner's name and may find it is its own.
    if (held == nullptr && counted.name.compare_exchange_strong(held, name, std::memory_order_acq_rel)) held = name;
    if (held != name && strcmp(held, name) != 0) continue;
    counted.amount.fetch_add(amount, std::memory_order_relaxed);
    return;
  }
}

void Trace::WriteCounts(JsonWriter& out, uint32_t node) const {
  out.BeginObject();
  const uint64_t first = uint64_t{node} * kCountsPerNode;
  for (uint64_t i = first; i < first + kCountsPerNode && first < num_counts_; ++i) {
    const char* name = counts_[i].name.load(std::memory_order_acquire);
    if (name == nullptr) break;
    out.Member(name, counts_[i].amount.load(std::memory_order_relaxed));
  }
  out.EndObject();
}

uint64_t Trace::Begin(const char* name, uint32_t worker) {
  if (spans_.empty()) return 0;
  const uint64_t index = count_.fetch_add(1, std::memory_order_relaxed);
  if (index >= spans_.size()) return 0;  // counted as dropped
  spans_[index] = {name, NowNs(), 0, worker};
  return index + 1;
}

void Trace::End(uint64_t span) {
  if (span == 0 || span > spans_.size()) return;  // the number may come back from a plugin
  spans_[span - 1].end_ns = NowNs();
}

uint64_t Trace::dropped() const {
  const uint64_t count = count_.load(std::memory_order_relaxed);
  return count > spans_.size() && !spans_.empty() ? count - spans_.size() : 0;
}

std::vector<Trace::Span> Trace::Spans() const {
  const uint64_t used = std::min<uint64_t>(count_.load(std::memory_order_relaxed), spans_.size());
  return {spans_.begin(), spans_.begin() + static_cast<std::ptrdiff_t>(used)};
}

void Trace::WriteEvents(JsonWriter& out) const {
  out.Key("traceEvents");
  out.BeginArray();
  const int64_t process = getpid();
  for (const Span& span : Spans()) {
    if (span.name == nullptr) continue;
    out.BeginObject();
    out.Member("name", span.name);
    // "B" without its "E" is how the viewers show what never ended, a cancelled node for instance.
    out.Member("ph", span.end_ns != 0 ? "X" : "B");
    out.Member("ts", static_cast<double>(span.begin_ns) / 1e3);
    if (span.end_ns != 0) out.Member("dur", static_cast<double>(span.end_ns - span.begin_ns) / 1e3);
    out.Member("pid", process);
    out.Member("tid", span.worker);
    out.EndObject();
  }
  out.EndArray();
}

}  // namespace sage
