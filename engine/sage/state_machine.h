// state_machine.h: when the metabolic state changes by itself. Time and randomness are passed in; nothing is drawn
// unless the rule that needs it has come to pass, and a draw depends on (seed, tick) only.
#ifndef SAGE_ENGINE_SAGE_STATE_MACHINE_H_
#define SAGE_ENGINE_SAGE_STATE_MACHINE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "model/sage_params.h"

namespace sage {

// Why a state changed; the names are the fields of the model's `transitions`, or "forced".
enum class Trigger : uint8_t {
  kForced,
  kCrisisEnterSalience,
  kCrisisExitSalience,
  kFocusEnterSalience,
  kFocusExitSalience,
  kFocusMaxSeconds,
  kRestEnterSalience,
  kRestExitSalience,
  kRestToDreamSeconds,
  kDreamExitSalience,
  kDreamMaxSeconds,
};
const char* TriggerName(Trigger trigger);
bool ParseTrigger(const char* text, size_t size, Trigger* out);

struct Transition {
  MetabolicState from{}, to{};
  Trigger trigger = Trigger::kForced;
  double ts = 0;        // seconds
  double salience = 0;  // the largest of the tick
};

// What moves in this tick, if anything: at most one transition. seconds: time spent in `state`; salience: the largest
// of the tick, 0 without targets. In REST waking comes before dreaming; with params.legacy REST never wakes by
// salience, as the original could not.
std::optional<Transition> NextTransition(const TransitionParams& params, MetabolicState state, double seconds,
                                         double salience, double ts, uint64_t seed, uint64_t tick);

// The last `capacity` transitions, oldest first. Allocates in the constructor, or while it grows towards a large bound.
class TransitionHistory {
 public:
  explicit TransitionHistory(uint32_t capacity);
  void Add(const Transition& transition);
  void Clear() { first_ = 0, items_.clear(); }
  size_t size() const { return items_.size(); }
  const Transition& at(size_t i) const { return items_[(first_ + i) % items_.size()]; }

 private:
  uint32_t capacity_;
  size_t first_ = 0;
  std::vector<Transition> items_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_STATE_MACHINE_H_
