// trace.h: the spans and counters of a run, kept in memory set aside beforehand and written as Chrome/Perfetto JSON.
#ifndef SAGE_ENGINE_RUN_TRACE_H_
#define SAGE_ENGINE_RUN_TRACE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "json.h"

namespace sage {

// Spans and counters of one session's last run. Begin and End are free-threaded and allocate nothing; spans beyond the
// capacity are counted, not kept. With tracing off Begin returns 0 and End(0) does nothing.
class Trace {
 public:
  explicit Trace(uint32_t capacity = 0) { Enable(capacity); }  // 0 = off
  void Enable(uint32_t capacity);
  bool enabled() const { return !spans_.empty(); }
  static uint64_t NowNs();                                // of the clock that all of it is measured by
  void Reset();                                           // forgets the spans; at the start of a run
  uint64_t Begin(const char* name, uint32_t worker = 0);  // name must live as long as the trace
  void End(uint64_t span);

  // Counters of `nodes` nodes, kCountsPerNode names each; called with the spans' Enable. Count is free-threaded, takes
  // no lock and allocates nothing; a name is told by its text. What finds no room, or no tracing, is not counted.
  static constexpr uint32_t kCountsPerNode = 8;
  void EnableCounts(uint32_t nodes);
  void Count(uint32_t node, const char* name, uint64_t amount);
  // {"tiles_computed":n,...} of one node, in the order its names came.
  void WriteCounts(JsonWriter& out, uint32_t node) const;

  uint64_t dropped() const;
  // {"traceEvents":[{"name","ph":"X","ts","dur","pid","tid"}...]} members are appended to an open object by the caller.
  void WriteEvents(JsonWriter& out) const;

  struct Span {
    const char* name = nullptr;
    uint64_t begin_ns = 0, end_ns = 0;
    uint32_t worker = 0;
  };
  // Finished and unfinished spans in the order they began.
  std::vector<Span> Spans() const;

 private:
  struct Counted {
    std::atomic<const char*> name{nullptr};
    std::atomic<uint64_t> amount{0};
  };
  std::vector<Span> spans_;
  std::atomic<uint64_t> count_{0};
  std::unique_ptr<Counted[]> counts_;
  uint64_t num_counts_ = 0;
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_TRACE_H_
