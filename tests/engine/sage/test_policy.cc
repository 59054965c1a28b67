// The policies alone: random numbers against published vectors, formulas against closed forms, invariants over seeded
// random inputs. Where attention is needed, with no content it is the softmax of the prior.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "sage/expert.h"
#include "sage/fusion.h"
#include "sage/lowering.h"
#include "sage/metabolic.h"
#include "sage/number.h"
#include "sage/random.h"
#include "sage/snarc.h"
#include "sage/state_machine.h"

namespace {

using namespace sage;
using enum sage::MetabolicState;

std::vector<double> Softmax(const std::vector<double>& logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> out;
  double sum = 0;
  for (const double logit : logits) out.push_back(std::exp(logit - top)), sum += out.back();
  for (double& p : out) p /= sum;
  return out;
}

std::vector<double> Draw(std::mt19937& random, size_t n, double low = 0, double high = 1) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> out(n);
  for (double& value : out) value = uniform(random);
  return out;
}

TEST_CASE("G13 Philox 4x32-10 gives the published vectors") {
  using Words = std::array<uint32_t, 4>;
  CHECK(Philox4x32({0, 0, 0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox4x32({~0u, ~0u, ~0u, ~0u}, ~0ull) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822ull) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  CHECK(HashId("") == static_cast<uint32_t>(0xcbf29ce484222325u ^ 0xcbf29ce484222325u >> 32));
  CHECK(HashId("door") != HashId("lamp"));
  double sum = 0;
  for (uint64_t tick = 0; tick < 20000; ++tick) {
    const double draw = Uniform(5, tick, RandomStream::kDreamDrop, 9);
    REQUIRE(draw >= 0);
    REQUIRE(draw < 1);
    sum += draw;
  }
  CHECK(std::fabs(sum / 20000 - 0.5) < 0.01);
}

TEST_CASE("G13 numpy's legacy seeds are reproduced") {
  NumpyRandom random(0);
  CHECK(random.Sample() == 0.5488135039273248);
  CHECK(random.Sample() == 0.7151893663724195);
  CHECK(random.Sample() == 0.6027633760716439);
}

TEST_CASE("G6 numbers: 16-bit floats round to nearest even and read back") {
  const auto f16 = [](double value) {
    uint16_t bits = 0;
    StoreNumbers(SAGE_F16, &bits, 0, {&value, 1});
    return bits;
  };
  const auto bf16 = [](double value) {
    uint16_t bits = 0;
    StoreNumbers(SAGE_BF16, &bits, 0, {&value, 1});
    return bits;
  };
  CHECK(f16(1) == 0x3c00);
  CHECK(f16(-2) == 0xc000);
  CHECK(f16(65504) == 0x7bff);
  CHECK(f16(65520) == 0x7c00);
  CHECK(f16(0x1p-24) == 1);
  CHECK(f16(0x1p-25) == 0);  // a tie, to even
  CHECK(f16(1 + 0x1p-11) == 0x3c00);
  CHECK(f16(1 + 3 * 0x1p-11) == 0x3c02);
  CHECK(bf16(1) == 0x3f80);
  CHECK(bf16(1 + 0x1p-8) == 0x3f80);
  CHECK(bf16(1 + 3 * 0x1p-8) == 0x3f82);
  CHECK(std::isnan(LoadNumber(SAGE_BF16, std::vector<uint16_t>{0x7fc0}.data(), 0)));
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto word = static_cast<uint16_t>(bits);
    REQUIRE(f16(LoadNumber(SAGE_F16, &word, 0)) == word);
  }
}

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

TEST_CASE("G3 expert identities: gamma 0 ranks as legacy for every alpha, alpha 1 as the router") {
  std::mt19937 random(21);
  for (int trial = 0; trial < 300; ++trial) {
    ExpertParams params;
    params.attention.query_heads = params.attention.kv_heads = 1;
    params.alpha = trial % 11 / 10.0;
    const size_t n = 2 + random() % 127;
    const auto router = Draw(random, n, -3, 3), trust = Draw(random, n);
    std::vector<uint8_t> available(n, 1);
    for (size_t i = 0; i + 1 < n; ++i) available[i] = random() % 5 != 0;
    ExpertRow row;
    row.router = router, row.trust = trust, row.available = available;
    std::vector<double> bias(n), scores(n), legacy(n);
    ExpertBias(params, row, 0, bias);
    AttentionScores(params, row, Softmax(bias), scores);
    LegacyScores(params, row, legacy);
    std::vector<int64_t> order;
    ExpertSelection ours, theirs;
    SelectByScore(row, scores, 8, &order, &ours);
    SelectByScore(row, legacy, 8, &order, &theirs);
    CHECK(ours.ids == theirs.ids);
    for (size_t i = 0; i < ours.ids.size(); ++i) {
      CHECK(available[static_cast<size_t>(ours.ids[i])] == 1);
      CHECK(std::fabs(ours.gates[i] - theirs.gates[i]) < 1e-12);
      CHECK(std::fabs((ours.scores[i] - theirs.scores[i]) - (ours.scores[0] - theirs.scores[0])) < 1e-12);
    }
    if (params.alpha == 1) {
      SelectByScore(row, router, 8, &order, &theirs);
      CHECK(ours.ids == theirs.ids);
    }
    CHECK(std::accumulate(ours.gates.begin(), ours.gates.end(), 0.0) == doctest::Approx(1));
  }
}

TEST_CASE("G2 raising an expert's trust never lowers its weight, for every link and content") {
  std::mt19937 random(22);
  for (int trial = 0; trial < 300; ++trial) {
    ExpertParams params;
    params.attention.query_heads = params.attention.kv_heads = 1;
    params.trust_link = static_cast<TrustLink>(trial % 3);
    params.lambda = trial % 4;
    const size_t n = 2 + random() % 20, which = random() % n;
    const auto router = Draw(random, n), content = Draw(random, n, -2, 2);
    auto trust = Draw(random, n);
    ExpertRow row;
    row.router = router;
    const auto weight = [&] {
      row.trust = trust;
      std::vector<double> bias(n);
      ExpertBias(params, row, 0, bias);
      for (size_t i = 0; i < n; ++i) bias[i] += content[i];
      return Softmax(bias)[which];
    };
    const double before = weight();
    trust[which] += (1 - trust[which]) * Draw(random, 1)[0];
    CHECK(weight() >= before - 1e-15);
  }
}

TEST_CASE("G2 per-group trust reaches its own heads; legacy uses the mean") {
  ExpertParams params;
  params.attention.query_heads = 4, params.attention.kv_heads = 2;
  const std::vector<double> router(2, 0.0), trust = {.1, .2, .7, .8};
  ExpertRow row;
  row.router = router, row.trust = trust, row.groups = 2;
  std::vector<double> bias(2);
  for (int64_t head = 0; head < 4; ++head) {
    ExpertBias(params, row, head, bias);
    CHECK(bias[0] == (head < 2 ? .1 : .7));
    CHECK(bias[1] == (head < 2 ? .2 : .8));
  }
  CHECK(MeanTrust(row, 0) == doctest::Approx(.4));
}

TEST_CASE("G2 ties go to the lower id, k is clamped, nothing available gives nothing") {
  const std::vector<double> scores(5, 1.0), trust(5, .5);
  std::vector<uint8_t> available = {0, 1, 1, 0, 1};
  ExpertRow row;
  row.router = scores, row.trust = trust, row.available = available;
  std::vector<int64_t> order;
  ExpertSelection selection;
  SelectByScore(row, scores, 2, &order, &selection);
  CHECK(selection.ids == std::vector<int64_t>{1, 2});
  CHECK_FALSE(selection.clamped);
  SelectByScore(row, scores, 9, &order, &selection);
  CHECK(selection.ids == std::vector<int64_t>{1, 2, 4});
  CHECK(selection.clamped);
  available.assign(5, 0);
  SelectByScore(row, scores, 2, &order, &selection);
  CHECK(selection.ids.empty());
  CHECK(selection.gates.empty());
}

TEST_CASE("G2 substitution: loaded, same cluster, trusted, best value, distinct ids, scores of those returned") {
  ExpertParams params;
  const std::vector<double> scores = {6, 5, 4, 3, 2, 1}, trust = {.9, .9, .7, .9, .61, .59};
  const std::vector<uint8_t> loaded = {0, 0, 1, 1, 1, 1};
  const std::vector<int64_t> clusters = {1, 1, 1, 2, 1, 1};
  ExpertRow row;
  row.router = scores, row.trust = trust;
  LoadedExperts ready;
  ready.given = true, ready.loaded = loaded, ready.clusters = clusters;
  std::vector<int64_t> order;
  std::vector<uint8_t> taken;
  ExpertSelection selection;
  SelectByScore(row, scores, 3, &order, &selection);  // 0, 1, 2
  Substitute(params, row, ready, scores, &taken, &selection);
  CHECK(selection.ids == std::vector<int64_t>{4, 1, 2});  // 2 was chosen anyway, 5 is below 0.6: one substitute only
  CHECK(selection.scores == std::vector<double>{2, 5, 4});
  CHECK(selection.hits == 2);
  CHECK(selection.misses == 1);
  REQUIRE(selection.substitutions.size() == 1);
  CHECK(selection.substitutions[0].from == 0);
  CHECK(selection.substitutions[0].to == 4);
  const double sum = std::exp(2) + std::exp(5) + std::exp(4);
  CHECK(selection.gates[0] == doctest::Approx(std::exp(2) / sum));

  const std::vector<double> delta = {0, 0, 0, 0, 0, 2};
  const std::vector<double> better = {.9, .9, .7, .9, .61, .6};
  row.trust = better, ready.quality_delta = delta;
  SelectByScore(row, scores, 1, &order, &selection);
  Substitute(params, row, ready, scores, &taken, &selection);
  CHECK(selection.ids == std::vector<int64_t>{5});  // .7*.6 + .3*2.5 beats 2's .7*.7 + .3*.5
  const std::vector<int64_t> apart = {-1, -1, -1, -1, -1, -1};
  ready.clusters = apart;
  SelectByScore(row, scores, 2, &order, &selection);
  Substitute(params, row, ready, scores, &taken, &selection);
  CHECK(selection.misses == 2);
}

TEST_CASE("G2 TRUST_FIRST: explores at its rate, else by trust where it is earned, else by the router") {
  ExpertParams params;
  params.selection = Selection::kTrustFirst;
  const std::vector<double> router = {3, 2, 1, 0}, trust = {.2, .4, .9, .8};
  const std::vector<int64_t> evidence = {9, 3, 3, 2};
  ExpertRow row;
  row.router = router, row.trust = trust, row.evidence = evidence;
  std::vector<int64_t> order;
  std::vector<double> scores(4);
  ExpertSelection selection;
  int explored = 0, counts[4] = {};
  for (uint64_t tick = 0; tick < 4000; ++tick) {
    SelectTrustFirst(params, row, 2, 1, tick, 0, &order, scores, &selection);
    REQUIRE(selection.ids.size() == 2);
    CHECK(selection.ids[0] != selection.ids[1]);
    if (selection.chosen_by == ChosenBy::kExplore) {
      ++explored;
      for (const int64_t id : selection.ids) ++counts[id];
      CHECK(selection.gates == std::vector<double>{.5, .5});
    } else {
      CHECK(selection.chosen_by == ChosenBy::kTrust);
      CHECK(selection.ids == std::vector<int64_t>{2, 1});
      CHECK(selection.gates[0] == doctest::Approx(.9 / 1.3));
    }
  }
  CHECK(explored > 700);
  CHECK(explored < 900);
  for (const int count : counts) CHECK(count > explored / 2 - 120);
  params.epsilon = 0;
  SelectTrustFirst(params, row, 4, 1, 0, 0, &order, scores, &selection);
  CHECK(selection.ids == std::vector<int64_t>{2, 1, 0, 3});  // without evidence: 0.5, and after those with it
  const std::vector<int64_t> little = {9, 0, 3, 2};
  row.evidence = little;  // 0 is proven but not trusted: only one has earned it
  SelectTrustFirst(params, row, 2, 1, 0, 0, &order, scores, &selection);
  CHECK(selection.chosen_by == ChosenBy::kRouter);
  CHECK(selection.ids == std::vector<int64_t>{0, 1});
  CHECK(selection.gates[0] == doctest::Approx(1 / (1 + std::exp(-1))));
}

std::vector<Sensor> Sensors(std::mt19937& random, size_t n) {
  std::vector<Sensor> sensors(n);
  uint32_t row = 0;
  for (Sensor& sensor : sensors) {
    const auto draw = Draw(random, 4);
    sensor.salience = draw[0] * .89, sensor.trust = draw[1], sensor.memory = draw[2], sensor.goal_relevance = draw[3];
    sensor.first_row = row;
    sensor.rows = 1 + static_cast<uint32_t>(random() % 5);
    row += sensor.rows;
  }
  return sensors;
}

TEST_CASE("G5 fusion golden and gamma 0 equals legacy whatever the windows and ages") {
  FusionParams params;
  std::vector<Sensor> sensors(3);
  sensors[0] = {.8, .9, .5, .9, false, 0, 1};
  sensors[1] = {.3, .95, .5, .5, false, 1, 1};
  sensors[2] = {.1, .85, .5, .5, false, 2, 1};
  std::vector<double> scores, weights(3);
  for (const Sensor& sensor : sensors) scores.push_back(SensorScore(params, sensor));
  std::vector<uint32_t> order;
  Participation part;
  Participate(params, sensors, scores, {}, &order, &part);
  LegacyWeights(scores, part, weights);
  const double want[] = {.79, .485, .415}, w[] = {.467456, .286982, .245562};
  for (size_t i = 0; i < 3; ++i) CHECK(scores[i] == doctest::Approx(want[i]).epsilon(1e-12));
  for (size_t i = 0; i < 3; ++i) CHECK(std::fabs(weights[i] - w[i]) < 5e-7);

  std::mt19937 random(31);
  for (int trial = 0; trial < 300; ++trial) {
    params.max_active = trial % 5;
    params.age_rate = trial % 3 * .7;
    sensors = Sensors(random, 1 + random() % 9);
    const size_t n = sensors.size(), rows = sensors.back().first_row + sensors.back().rows;
    auto ages = Draw(random, rows, 0, trial % 7 == 0 ? 1e6 : 10);
    scores.clear();
    for (const Sensor& sensor : sensors) scores.push_back(SensorScore(params, sensor));
    Participate(params, sensors, scores, {}, &order, &part);
    std::vector<double> bias(rows), legacy(n);
    RowBias(params, sensors, scores, part, ages, bias);
    LegacyWeights(scores, part, legacy);
    const auto p = Softmax(bias);
    for (size_t i = 0; i < n; ++i) {
      double weight = 0;
      for (size_t t = 0; t < sensors[i].rows; ++t) weight += p[sensors[i].first_row + t];
      CHECK(std::fabs(weight - legacy[i]) < 1e-12);
    }
  }
}

TEST_CASE("G5 exclusion in order: inhibited or empty, gate, rank; ties to the lower index") {
  FusionParams params;
  params.max_active = 2;
  params.gate_hard = true;
  std::vector<Sensor> sensors(6);
  for (uint32_t i = 0; i < 6; ++i) sensors[i] = {.6, .5, .5, .5, false, i, 1};
  sensors[0].inhibited = true, sensors[0].salience = 1;
  sensors[1].rows = 0, sensors[1].salience = 1;
  sensors[2].salience = .5;
  const std::vector<double> scores = {1, 1, 1, .4, .7, .4};
  std::vector<uint32_t> order;
  Participation part;
  Participate(params, sensors, scores, {}, &order, &part);
  using enum Excluded;
  CHECK(part.why == std::vector<Excluded>{kInhibited, kEmpty, kGate, kNo, kNo, kRank});
  CHECK(part.active == 2);
  CHECK(part.interrupt.sensor == -1);  // neither an inhibited nor an empty sensor interrupts
  for (Sensor& sensor : sensors) sensor.salience = std::min(sensor.salience, .5);
  Participate(params, sensors, scores, {}, &order, &part);
  CHECK(part.gate_ignored);
  CHECK(part.why == std::vector<Excluded>{kInhibited, kEmpty, kNo, kRank, kNo, kRank});
  for (Sensor& sensor : sensors) sensor.inhibited = true;
  Participate(params, sensors, scores, {}, &order, &part);
  CHECK(part.all_excluded);
  CHECK(part.active == 0);
}

TEST_CASE("G5 interrupts: the strongest, ties to the lowest index, held, and let go with their sensor") {
  FusionParams params;
  params.interrupt_hold_ticks = 2;
  std::vector<Sensor> sensors(3);
  for (uint32_t i = 0; i < 3; ++i) sensors[i] = {.2, .5, .5, .5, false, i, 1};
  const std::vector<double> scores = {.5, .5, .5};
  std::vector<uint32_t> order;
  Participation part;
  sensors[1].salience = sensors[2].salience = .95;
  Participate(params, sensors, scores, {}, &order, &part);
  CHECK(part.interrupt.sensor == 1);
  CHECK(part.interrupt.hold == 2);
  CHECK(part.interrupt_is_new);
  CHECK(part.why[0] == Excluded::kInterrupt);
  std::vector<double> weights(3);
  LegacyWeights(scores, part, weights);
  CHECK(weights == std::vector<double>{0, 1, 0});
  sensors[1].salience = sensors[2].salience = .2;
  Participate(params, sensors, scores, {1, 2}, &order, &part);
  CHECK(part.interrupt.sensor == 1);
  CHECK(part.interrupt.hold == 1);
  CHECK_FALSE(part.interrupt_is_new);
  Participate(params, sensors, scores, {1, 0}, &order, &part);
  CHECK(part.interrupt.sensor == -1);
  sensors[1].rows = 0;
  Participate(params, sensors, scores, {1, 2}, &order, &part);
  CHECK(part.interrupt.sensor == -1);
  CHECK(part.active == 2);
}

TEST_CASE("G5 weights rise with trust and salience") {
  std::mt19937 random(33);
  FusionParams params;
  params.max_active = 0;
  for (int trial = 0; trial < 200; ++trial) {
    auto sensors = Sensors(random, 2 + random() % 6);
    const size_t which = random() % sensors.size();
    const auto weight = [&] {
      std::vector<double> scores, weights(sensors.size());
      for (const Sensor& sensor : sensors) scores.push_back(SensorScore(params, sensor));
      std::vector<uint32_t> order;
      Participation part;
      Participate(params, sensors, scores, {}, &order, &part);
      LegacyWeights(scores, part, weights);
      return weights[which];
    };
    const double before = weight();
    double& field = trial % 2 == 0 ? sensors[which].trust : sensors[which].salience;
    field += (.89 - std::min(field, .89)) * .5;
    CHECK(weight() >= before - 1e-15);
  }
}

TEST_CASE("G5 SNARC folds five numbers by the model's weights") {
  CHECK(SnarcSalience({}, {1, 1, 1, 1, 1}) == doctest::Approx(1));
  CHECK(SnarcSalience({}, {.1, .2, .2, 0, 0}) == doctest::Approx(.1));
  CHECK(SnarcSalience({.3, .3, .2, .2, 0}, {1, 0, 0, 0, 1}) == doctest::Approx(.3));
  CHECK(SnarcSalience({1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}) == 1);
}

TEST_CASE("G12 IDENTITY projections: cosines per head, a mean over the group, absent and zero rows stay zero") {
  SageAttention attention;
  attention.d_model = 8, attention.query_heads = 4, attention.kv_heads = 2, attention.head_dim = 2;
  const std::vector<double> x = {3, 4, 1, 0, 0, 0, 0, 0};
  std::vector<double> q(8), k(4);
  ProjectQuery(attention, x, q);
  ProjectKey(attention, x, k);
  const double norm = std::hypot(2, 2);
  CHECK(k[0] == doctest::Approx(2 / norm));
  CHECK(k[1] == doctest::Approx(2 / norm));
  CHECK(k[2] == 0);
  for (size_t i = 0; i < 8; ++i) CHECK(q[i] == k[i / 4 * 2 + i % 2]);
  ProjectKey(attention, {}, k);
  for (const double value : k) CHECK(value == 0);
  const std::vector<double> huge(8, 1e300);
  ProjectKey(attention, huge, k);
  CHECK(k[0] == doctest::Approx(std::sqrt(.5)));
}

TEST_CASE("G12 SEEDED weights are U(-1/sqrt(D), 1/sqrt(D)) and depend on the seed and the matrix") {
  SageAttention attention;
  attention.d_model = 64, attention.weight_seed = 7;
  double sum = 0, low = 1, high = -1;
  for (int64_t i = 0; i < 4096; ++i) {
    const double value = SeededWeight(attention, 0, i);
    sum += value, low = std::min(low, value), high = std::max(high, value);
  }
  CHECK(low >= -.125);
  CHECK(high < .125);
  CHECK(high - low > .24);
  CHECK(std::fabs(sum / 4096) < .005);
  CHECK(SeededWeight(attention, 0, 5) != SeededWeight(attention, 1, 5));
  attention.weight_seed = 8;
  const double other = SeededWeight(attention, 0, 5);
  attention.weight_seed = 7;
  CHECK(SeededWeight(attention, 0, 5) != other);
}

}  // namespace
