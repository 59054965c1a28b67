// fusion.h: sensor fusion as pure functions: scores, who takes part, the bias of every observation, legacy weights.
//
// Everything is in double and in the order of the sensors. A sensor's window has its own length; the age term makes its
// rows share the sensor's weight, so that a longer window does not weigh more. Functions write to the caller's spans.
#ifndef SAGE_ENGINE_SAGE_FUSION_H_
#define SAGE_ENGINE_SAGE_FUSION_H_

#include <cstdint>
#include <span>
#include <vector>

#include "model/sage_params.h"

namespace sage {

// Why a sensor takes no part, in the order in which it is found out.
enum class Excluded : uint8_t { kNo, kInhibited, kEmpty, kGate, kRank, kInterrupt };
const char* ExcludedName(Excluded excluded);  // "inhibited", "empty", "gate", "rank", "interrupt"

struct Sensor {
  double salience = 0, trust = 0.5, memory = 0.5, goal_relevance = 0.5;  // each in [0,1]
  bool inhibited = false;
  uint32_t first_row = 0, rows = 0;  // its window in the packed rows
};

// clamp(goal_weight*goal + salience_weight*salience + memory_weight*memory + trust_weight*trust, 0, 1)
double SensorScore(const FusionParams& params, const Sensor& sensor);

// The interrupt before this tick, and after it.
struct InterruptState {
  int64_t sensor = -1;  // index in this tick; -1 = none
  uint32_t hold = 0;    // further ticks it lasts
};

struct Participation {
  std::vector<Excluded> why;  // a sensor; kNo = takes part
  int64_t active = 0;
  bool gate_ignored = false, all_excluded = false;
  InterruptState interrupt;  // after the tick; sensor = who has it in this tick
  bool interrupt_is_new = false;

  void Reserve(int64_t sensors);
};

// held: the interrupt of the tick before (its sensor's index now, -1 when it is gone). order: scratch.
void Participate(const FusionParams& params, std::span<const Sensor> sensors, std::span<const double> scores,
                 const InterruptState& held, std::vector<uint32_t>* order, Participation* out);

// ln max(score,1e-6) - r*age(t) - ln sum exp(-r*age(t')) for the rows of every sensor that takes part, -inf for the
// others. Under an interrupt the score is left out: there is nothing to weigh it against. ages, bias: packed rows.
void RowBias(const FusionParams& params, std::span<const Sensor> sensors, std::span<const double> scores,
             const Participation& part, std::span<const double> ages, std::span<double> bias);

// score/sum over those that take part, uniform when all are zero; one-hot under an interrupt.
void LegacyWeights(std::span<const double> scores, const Participation& part, std::span<double> weights);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_FUSION_H_
