// fusion.cc: the formulas of sensor fusion.
#include "sage/fusion.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace sage {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
constexpr double kLeastScore = 1e-6;

}  // namespace

const char* ExcludedName(Excluded excluded) {
  switch (excluded) {
    case Excluded::kNo:
      return "";
    case Excluded::kInhibited:
      return "inhibited";
    case Excluded::kEmpty:
      return "empty";
    case Excluded::kGate:
      return "gate";
    case Excluded::kRank:
      return "rank";
    case Excluded::kInterrupt:
      return "interrupt";
  }
  return "?";
}

double SensorScore(const FusionParams& params, const Sensor& sensor) {
  return std::clamp(params.goal_weight * sensor.goal_relevance + params.salience_weight * sensor.salience +
                        params.memory_weight * sensor.memory + params.trust_weight * sensor.trust,
                    0.0, 1.0);
}

void Participation::Reserve(int64_t sensors) { why.reserve(static_cast<size_t>(sensors)); }

void Participate(const FusionParams& params, std::span<const Sensor> sensors, std::span<const double> scores,
                 const InterruptState& held, std::vector<uint32_t>* order, Participation* out) {
  const size_t count = sensors.size();
  out->why.assign(count, Excluded::kNo);
  out->gate_ignored = out->all_excluded = out->interrupt_is_new = false;
  out->interrupt = {};
  out->active = 0;

  size_t present = 0, strongest = count;
  for (size_t i = 0; i < count; ++i) {
    if (sensors[i].inhibited) {
      out->why[i] = Excluded::kInhibited;
    } else if (sensors[i].rows == 0) {
      out->why[i] = Excluded::kEmpty;
    } else {
      ++present;
      if (strongest == count || sensors[i].salience > sensors[strongest].salience) strongest = i;
    }
  }
  if (present == 0) {
    out->all_excluded = true;
    return;
  }

  const auto held_index = static_cast<size_t>(held.sensor);
  const bool holds = held.sensor >= 0 && held.hold > 0 && held_index < count && out->why[held_index] == Excluded::kNo;
  out->interrupt_is_new = sensors[strongest].salience >= params.interrupt_salience;
  if (out->interrupt_is_new || holds) {
    const size_t taker = out->interrupt_is_new ? strongest : held_index;
    out->interrupt = {static_cast<int64_t>(taker), out->interrupt_is_new ? params.interrupt_hold_ticks : held.hold - 1};
    for (size_t i = 0; i < count; ++i) {
      if (i != taker && out->why[i] == Excluded::kNo) out->why[i] = Excluded::kInterrupt;
    }
    out->active = 1;
    return;
  }

  if (params.gate_hard) {
    size_t passing = 0;
    for (size_t i = 0; i < count; ++i) {
      passing += out->why[i] == Excluded::kNo && sensors[i].salience > params.gate_salience ? 1 : 0;
    }
    out->gate_ignored = passing == 0;
    for (size_t i = 0; i < count && passing > 0; ++i) {
      if (out->why[i] == Excluded::kNo && !(sensors[i].salience > params.gate_salience)) out->why[i] = Excluded::kGate;
    }
  }

  order->clear();
  for (size_t i = 0; i < count; ++i) {
    if (out->why[i] == Excluded::kNo) order->push_back(static_cast<uint32_t>(i));
  }
  std::sort(order->begin(), order->end(),
            [&](uint32_t a, uint32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  const size_t kept =
      params.max_active == 0 ? order->size() : std::min(order->size(), static_cast<size_t>(params.max_active));
  for (size_t rank = kept; rank < order->size(); ++rank) out->why[(*order)[rank]] = Excluded::kRank;
  out->active = static_cast<int64_t>(kept);
}

void RowBias(const FusionParams& params, std::span<const Sensor> sensors, std::span<const double> scores,
             const Participation& part, std::span<const double> ages, std::span<double> bias) {
  for (size_t i = 0; i < sensors.size(); ++i) {
    const auto rows = ages.subspan(sensors[i].first_row, sensors[i].rows);
    const auto out = bias.subspan(sensors[i].first_row, sensors[i].rows);
    if (part.why[i] != Excluded::kNo || rows.empty()) {
      std::fill(out.begin(), out.end(), kMinusInfinity);
      continue;
    }
    // Ages are measured from the youngest row: the difference is the same and exp never vanishes for all of them.
    const double youngest = *std::min_element(rows.begin(), rows.end());
    double sum = 0;
    for (const double age : rows) sum += std::exp(-params.age_rate * (age - youngest));
    const double score = part.interrupt.sensor >= 0 ? 0 : std::log(std::max(scores[i], kLeastScore));
    for (size_t t = 0; t < rows.size(); ++t) {
      out[t] = score - params.age_rate * (rows[t] - youngest) - std::log(sum);
    }
  }
}

void LegacyWeights(std::span<const double> scores, const Participation& part, std::span<double> weights) {
  double sum = 0;
  for (size_t i = 0; i < scores.size(); ++i) sum += part.why[i] == Excluded::kNo ? scores[i] : 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    weights[i] = part.why[i] != Excluded::kNo ? 0 : sum > 0 ? scores[i] / sum : 1 / static_cast<double>(part.active);
  }
}

}  // namespace sage
