// state_machine.cc: the transitions, one line a rule, in the order in which they are tried.
#include "sage/state_machine.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "sage/random.h"

namespace sage {
namespace {

constexpr const char* kTriggers[] = {"forced",
                                     "crisis_enter_salience",
                                     "crisis_exit_salience",
                                     "focus_enter_salience",
                                     "focus_exit_salience",
                                     "focus_max_seconds",
                                     "rest_enter_salience",
                                     "rest_exit_salience",
                                     "rest_to_dream_seconds",
                                     "dream_exit_salience",
                                     "dream_max_seconds"};

constexpr size_t kReservedAtOnce = 65536;

}  // namespace

const char* TriggerName(Trigger trigger) { return kTriggers[static_cast<size_t>(trigger)]; }

bool ParseTrigger(const char* text, size_t size, Trigger* out) {
  for (size_t i = 0; i < std::size(kTriggers); ++i) {
    if (std::string_view(text, size) == kTriggers[i]) {
      *out = static_cast<Trigger>(i);
      return true;
    }
  }
  return false;
}

std::optional<Transition> NextTransition(const TransitionParams& params, MetabolicState state, double seconds,
                                         double salience, double ts, uint64_t seed, uint64_t tick) {
  using enum MetabolicState;
  const auto move = [&](MetabolicState to, Trigger why) { return Transition{state, to, why, ts, salience}; };
  if (salience > params.crisis_enter_salience) {
    if (state == kCrisis) return std::nullopt;
    return move(kCrisis, Trigger::kCrisisEnterSalience);
  }
  switch (state) {
    case kCrisis:
      if (salience < params.crisis_exit_salience) return move(kFocus, Trigger::kCrisisExitSalience);
      break;
    case kFocus:
      if (salience < params.focus_exit_salience) return move(kWake, Trigger::kFocusExitSalience);
      if (seconds > params.focus_max_seconds) return move(kWake, Trigger::kFocusMaxSeconds);
      break;
    case kWake:
      if (salience > params.focus_enter_salience) return move(kFocus, Trigger::kFocusEnterSalience);
      if (salience < params.rest_enter_salience && seconds > params.wake_to_rest_seconds) {
        return move(kRest, Trigger::kRestEnterSalience);
      }
      break;
    case kRest:
      if (!params.legacy && salience > params.rest_exit_salience) return move(kWake, Trigger::kRestExitSalience);
      if (seconds > params.rest_to_dream_seconds &&
          Uniform(seed, tick, RandomStream::kDreamEnter, 0) < params.dream_probability) {
        return move(kDream, Trigger::kRestToDreamSeconds);
      }
      break;
    case kDream:
      if (salience > params.dream_exit_salience) return move(kWake, Trigger::kDreamExitSalience);
      if (seconds > params.dream_max_seconds) return move(kRest, Trigger::kDreamMaxSeconds);
      break;
  }
  return std::nullopt;
}

TransitionHistory::TransitionHistory(uint32_t capacity) : capacity_(capacity) {
  items_.reserve(std::min<size_t>(capacity, kReservedAtOnce));
}

void TransitionHistory::Add(const Transition& transition) {
  if (capacity_ == 0) return;
  if (items_.size() < capacity_) {
    items_.push_back(transition);
    return;
  }
  items_[first_] = transition;
  first_ = (first_ + 1) % items_.size();
}

}  // namespace sage
