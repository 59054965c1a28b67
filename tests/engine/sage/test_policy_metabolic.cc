// The metabolic policy alone: allocations of each state, and when one state follows another. With no content attention
// is the softmax of the prior.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "engine/sage/policy_inputs.h"
#include "sage/metabolic.h"
#include "sage/random.h"
#include "sage/state_machine.h"

namespace {

using namespace sage;
using namespace sage::test;
using enum sage::MetabolicState;

TEST_CASE("G4 allocation goldens of every state, legacy and by the prior") {
  MetabolicParams params;
  const std::vector<double> salience = {.9, .6, .3};
  std::vector<uint32_t> order(3);
  std::vector<double> atp(3), logits(3);
  const auto expect = [&](MetabolicState state, std::vector<double> want) {
    LegacyAtp(params, state, 100, salience, 0, 0, order, atp);
    for (size_t i = 0; i < 3; ++i) CHECK(std::fabs(atp[i] - want[i]) < 5e-5);
    if (state == kDream) return;
    PriorLogits(params, state, salience, order, logits);
    const std::vector<double> shares = Softmax(logits);
    AtpFromShares(100, shares, atp);
    for (size_t i = 0; i < 3; ++i) CHECK(std::fabs(atp[i] - want[i]) < 1e-4);
  };
  expect(kWake, {41.666667, 33.333333, 25});
  expect(kFocus, {80, 15, 5});
  expect(kCrisis, {100, 0, 0});
  expect(kDream, {38.2955, 36.8016, 24.9029});
}

TEST_CASE("G12 gamma 0 equals legacy to 1e-12 in WAKE, FOCUS and CRISIS") {
  MetabolicParams params;
  std::mt19937 random(11);
  for (int trial = 0; trial < 500; ++trial) {
    const size_t n = 3 + random() % 30;
    const std::vector<double> salience = Draw(random, n);
    std::vector<uint32_t> order(n);
    std::vector<double> logits(n), atp(n), legacy(n);
    for (const MetabolicState state : {kWake, kFocus, kCrisis}) {
      PriorLogits(params, state, salience, order, logits);
      AtpFromShares(100, Softmax(logits), atp);
      LegacyAtp(params, state, 100, salience, 0, 0, order, legacy);
      for (size_t i = 0; i < n; ++i) CHECK(std::fabs(atp[i] - legacy[i]) < 1e-10);
    }
  }
}

TEST_CASE("G4 allocation invariants: nothing negative, the sum is A, Gini rises from WAKE to CRISIS") {
  MetabolicParams params;
  std::mt19937 random(12);
  for (int trial = 0; trial < 500; ++trial) {
    const size_t n = 1 + random() % 20;
    const std::vector<double> salience = Draw(random, n);
    const double total = Draw(random, 1, 0, 1000)[0];
    std::vector<uint32_t> order(n);
    std::vector<double> logits(n), atp(n);
    double gini[3] = {};
    for (const MetabolicState state : {kWake, kFocus, kDream, kCrisis}) {
      PriorLogits(params, state, salience, order, logits);
      AtpFromShares(total, Softmax(logits), atp);
      CHECK(std::fabs(std::accumulate(atp.begin(), atp.end(), 0.0) - total) <= 1e-6 * total);
      CHECK(*std::min_element(atp.begin(), atp.end()) >= 0);
      if (state != kDream) gini[state == kWake ? 0 : state == kFocus ? 1 : 2] = Gini(atp, order);
    }
    CHECK(gini[1] >= gini[0] - 1e-12);
    CHECK(gini[2] >= gini[1] - 1e-12);
  }
}

TEST_CASE("G4 all-zero salience: WAKE and DREAM uniform, FOCUS and CRISIS by index") {
  MetabolicParams params;
  const std::vector<double> salience(4, 0.0);
  std::vector<uint32_t> order(4);
  std::vector<double> logits(4);
  const auto shares = [&](MetabolicState state) {
    PriorLogits(params, state, salience, order, logits);
    return Softmax(logits);
  };
  for (const double p : shares(kWake)) CHECK(p == 0.25);
  for (const double p : shares(kDream)) CHECK(p == 0.25);
  CHECK(shares(kFocus)[0] == doctest::Approx(.8));
  CHECK(shares(kFocus)[1] == doctest::Approx(.15));
  CHECK(shares(kCrisis)[0] == 1);
  params.crisis_soft = true;
  CHECK(shares(kCrisis)[0] == 1);
}

TEST_CASE("G4 soft CRISIS is softmax(ln s / 0.1)") {
  MetabolicParams params;
  params.crisis_soft = true;
  const std::vector<double> salience = {.97, .96, 0};
  std::vector<uint32_t> order(3);
  std::vector<double> logits(3);
  PriorLogits(params, kCrisis, salience, order, logits);
  const auto p = Softmax(logits);
  CHECK(p[0] == doctest::Approx(.526).epsilon(.01));
  CHECK(p[1] == doctest::Approx(.474).epsilon(.01));
  CHECK(p[2] == 0);
}

TEST_CASE("G4 legacy leaves what FOCUS cannot place unspent") {
  MetabolicParams params;
  std::vector<uint32_t> order(2);
  std::vector<double> atp(2);
  const double two[] = {.2, .7};
  LegacyAtp(params, kFocus, 100, std::span(two, 1), 0, 0, std::span(order).first(1), std::span(atp).first(1));
  CHECK(atp[0] == 80);
  LegacyAtp(params, kFocus, 100, two, 0, 0, order, atp);
  CHECK(atp[1] == 80);
  CHECK(atp[0] == 15);
}

TEST_CASE("G4 every transition, its threshold on both sides") {
  const TransitionParams params;
  const auto next = [&](MetabolicState state, double seconds, double salience, uint64_t tick = 0) {
    return NextTransition(params, state, seconds, salience, 1, 0, tick);
  };
  const auto to = [&](const std::optional<Transition>& moved, MetabolicState state, Trigger trigger) {
    REQUIRE(moved.has_value());
    CHECK(moved->to == state);
    CHECK(moved->trigger == trigger);
  };
  for (const MetabolicState state : {kWake, kFocus, kRest, kDream}) {
    to(next(state, 0, .96), kCrisis, Trigger::kCrisisEnterSalience);
  }
  CHECK_FALSE(next(kCrisis, 0, .96).has_value());
  CHECK_FALSE(next(kCrisis, 0, .8).has_value());
  to(next(kCrisis, 0, .79), kFocus, Trigger::kCrisisExitSalience);
  to(next(kFocus, 0, .59), kWake, Trigger::kFocusExitSalience);
  CHECK_FALSE(next(kFocus, 300, .7).has_value());
  to(next(kFocus, 300.1, .7), kWake, Trigger::kFocusMaxSeconds);
  to(next(kWake, 0, .81), kFocus, Trigger::kFocusEnterSalience);
  CHECK_FALSE(next(kWake, 0, .8).has_value());
  CHECK_FALSE(next(kWake, 60, .29).has_value());
  CHECK_FALSE(next(kWake, 61, .3).has_value());
  to(next(kWake, 61, .29), kRest, Trigger::kRestEnterSalience);
  to(next(kRest, 0, .51), kWake, Trigger::kRestExitSalience);
  CHECK_FALSE(next(kRest, 0, .5).has_value());
  to(next(kDream, 0, .41), kWake, Trigger::kDreamExitSalience);
  CHECK_FALSE(next(kDream, 60, .4).has_value());
  to(next(kDream, 60.1, .4), kRest, Trigger::kDreamMaxSeconds);
  int dreams = 0;
  for (uint64_t tick = 0; tick < 5000; ++tick) {
    CHECK_FALSE(next(kRest, 120, .1, tick).has_value());
    dreams += next(kRest, 121, .1, tick).has_value() ? 1 : 0;
  }
  CHECK(dreams > 400);
  CHECK(dreams < 600);
}

TEST_CASE("G4 legacy_transitions: REST never wakes by salience") {
  TransitionParams params;
  params.legacy = true;
  CHECK_FALSE(NextTransition(params, kRest, 100, .7, 0, 0, 0).has_value());
  bool dreamt = false;
  for (uint64_t tick = 0; tick < 200; ++tick) {
    const auto moved = NextTransition(params, kRest, 400, .7, 0, 0, tick);
    if (moved.has_value()) CHECK(moved->to == kDream);
    dreamt = dreamt || moved.has_value();
  }
  CHECK(dreamt);
}

TEST_CASE("G13 the history is bounded, the oldest are dropped") {
  TransitionHistory history(3);
  for (int i = 0; i < 8; ++i) history.Add({kWake, kFocus, Trigger::kForced, static_cast<double>(i), 0});
  REQUIRE(history.size() == 3);
  for (size_t i = 0; i < 3; ++i) CHECK(history.at(i).ts == 5.0 + static_cast<double>(i));
  TransitionHistory none(0);
  none.Add({});
  CHECK(none.size() == 0);
}

}  // namespace
