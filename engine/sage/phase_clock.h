// phase_clock.h: where a tick's time goes: reading its text, deciding, writing the record. The trace's clock, and only
// while tracing is on: a record never depends on it.
#ifndef SAGE_ENGINE_SAGE_PHASE_CLOCK_H_
#define SAGE_ENGINE_SAGE_PHASE_CLOCK_H_

#include <array>
#include <cstdint>

#include "json.h"
#include "run/trace.h"

namespace sage {

class PhaseClock {
 public:
  enum Phase : uint32_t { kRead, kDecide, kWrite };
  explicit PhaseClock(bool on) : on_(on) {}

  // A tick begins, by being read.
  void Begin() {
    ns_ = {};
    phase_ = kRead;
    if (on_) since_ = Trace::NowNs();
  }
  // What runs from here on belongs to `next`; a phase may be entered again and adds up.
  void Enter(Phase next) {
    if (!on_) return;
    const uint64_t now = Trace::NowNs();
    ns_[phase_] += now - since_;
    since_ = now;
    phase_ = next;
  }
  void End() { Enter(phase_); }

  // "ns":{"read":..,"decide":..,"write":..} of the last tick; nothing while tracing is off.
  void Write(JsonWriter& out) const {
    if (!on_) return;
    out.Key("ns");
    out.BeginObject();
    out.Member("read", ns_[kRead]);
    out.Member("decide", ns_[kDecide]);
    out.Member("write", ns_[kWrite]);
    out.EndObject();
  }

 private:
  bool on_;
  Phase phase_ = kRead;
  uint64_t since_ = 0;
  std::array<uint64_t, 3> ns_{};
};

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_PHASE_CLOCK_H_
