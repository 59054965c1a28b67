// The fusion policy alone: weights, who is left out and in which order, interrupts, SNARC.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/sage/policy_inputs.h"
#include "sage/fusion.h"
#include "sage/random.h"
#include "sage/snarc.h"

namespace {

using namespace sage;
using namespace sage::test;

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

}  // namespace
