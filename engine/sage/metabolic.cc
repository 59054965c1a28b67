// metabolic.cc: the table of states of the design, row by row.
#include "sage/metabolic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "sage/random.h"

namespace sage {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

double Sum(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0); }

// even/N + (1-even)*salience/sum; a salience sum of zero makes it uniform.
double Blend(double even, double salience, double sum, double count) {
  return sum > 0 ? (1 - even) * salience / sum + even / count : 1 / count;
}

// The three ranks of FOCUS before any renormalisation.
double FocusShare(const MetabolicParams& params, size_t rank, size_t count) {
  if (rank == 0) return params.focus_primary;
  if (rank == 1) return params.focus_secondary;
  return std::max(0.0, 1 - params.focus_primary - params.focus_secondary) / static_cast<double>(count - 2);
}

size_t Strongest(std::span<const double> salience) {
  return static_cast<size_t>(std::max_element(salience.begin(), salience.end()) - salience.begin());
}

}  // namespace

const char* MetabolicStateName(MetabolicState state) {
  switch (state) {
    case MetabolicState::kWake:
      return "WAKE";
    case MetabolicState::kFocus:
      return "FOCUS";
    case MetabolicState::kRest:
      return "REST";
    case MetabolicState::kDream:
      return "DREAM";
    case MetabolicState::kCrisis:
      return "CRISIS";
  }
  return "?";
}

bool ParseMetabolicState(std::string_view name, MetabolicState* out) {
  for (uint8_t i = 0; i <= static_cast<uint8_t>(MetabolicState::kCrisis); ++i) {
    const std::string_view known = MetabolicStateName(static_cast<MetabolicState>(i));
    const bool same =
        known.size() == name.size() && std::equal(known.begin(), known.end(), name.begin(), [](char a, char b) {
          return a == (b >= 'a' && b <= 'z' ? static_cast<char>(b - 'a' + 'A') : b);
        });
    if (same) {
      *out = static_cast<MetabolicState>(i);
      return true;
    }
  }
  return false;
}

void RankBySalience(std::span<const double> salience, std::span<uint32_t> order) {
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return salience[a] != salience[b] ? salience[a] > salience[b] : a < b; });
}

void PriorLogits(const MetabolicParams& params, MetabolicState state, std::span<const double> salience,
                 std::span<uint32_t> order, std::span<double> logits) {
  const size_t count = salience.size();
  const auto n = static_cast<double>(count);
  const double sum = Sum(salience);
  switch (state) {
    case MetabolicState::kWake:
    case MetabolicState::kRest:
      for (size_t i = 0; i < count; ++i) logits[i] = std::log(Blend(params.wake_spread, salience[i], sum, n));
      break;
    case MetabolicState::kFocus: {
      RankBySalience(salience, order);
      double total = 0;
      for (size_t rank = 0; rank < count; ++rank) total += FocusShare(params, rank, count);
      for (size_t rank = 0; rank < count; ++rank) {
        // Two or fewer targets leave a remainder; a distribution has none, so it is renormalised.
        logits[order[rank]] = total > 0 ? std::log(FocusShare(params, rank, count) / (count <= 2 ? total : 1)) : 0;
      }
      break;
    }
    case MetabolicState::kDream:
      for (size_t i = 0; i < count; ++i) logits[i] = std::log(Blend(1 - params.dream_bias, salience[i], sum, n));
      break;
    case MetabolicState::kCrisis:
      if (params.crisis_soft && sum > 0) {
        for (size_t i = 0; i < count; ++i) logits[i] = std::log(salience[i]) / params.crisis_temperature;
      } else {
        std::fill(logits.begin(), logits.end(), kMinusInfinity);
        logits[Strongest(salience)] = 0;
      }
      break;
  }
}

bool DropShares(double dropout, std::span<const double> draws, std::span<double> shares) {
  double kept = 0;
  for (size_t i = 0; i < shares.size(); ++i) kept += draws[i] < dropout ? 0 : shares[i];
  if (!(kept > 0)) return true;
  for (size_t i = 0; i < shares.size(); ++i) {
    if (draws[i] < dropout) shares[i] = 0;
  }
  return false;
}

void AtpFromShares(double total, std::span<const double> shares, std::span<double> atp) {
  if (shares.empty()) return;
  const double sum = Sum(shares);
  for (size_t i = 0; i < shares.size(); ++i) {
    atp[i] = total * (sum > 0 ? shares[i] / sum : 1 / static_cast<double>(shares.size()));
  }
  const size_t largest = Strongest(atp);
  double others = 0;
  for (size_t i = 0; i < atp.size(); ++i) others += i == largest ? 0 : atp[i];
  atp[largest] = std::max(0.0, total - others);
}

void LegacyAtp(const MetabolicParams& params, MetabolicState state, double total, std::span<const double> salience,
               uint64_t seed, uint64_t tick, std::span<uint32_t> order, std::span<double> atp) {
  const size_t count = salience.size();
  if (count == 0) return;
  const auto n = static_cast<double>(count);
  const double sum = Sum(salience);
  switch (state) {
    case MetabolicState::kWake:
    case MetabolicState::kRest:
      for (size_t i = 0; i < count; ++i) atp[i] = total * Blend(params.wake_spread, salience[i], sum, n);
      break;
    case MetabolicState::kFocus:
      RankBySalience(salience, order);
      for (size_t rank = 0; rank < count; ++rank) atp[order[rank]] = total * FocusShare(params, rank, count);
      break;
    case MetabolicState::kDream: {
      NumpyRandom random(static_cast<uint32_t>(seed + tick));
      double remaining = total;
      for (size_t i = 0; i < count; ++i) {
        atp[i] = random.UniformBetween(0, remaining * 0.5);
        remaining -= atp[i];
      }
      for (double& value : atp) value += remaining / n;
      break;
    }
    case MetabolicState::kCrisis:
      std::fill(atp.begin(), atp.end(), 0.0);
      atp[Strongest(salience)] = total;
      break;
  }
}

double Gini(std::span<const double> shares, std::span<uint32_t> order) {
  const auto n = static_cast<double>(shares.size());
  const double sum = Sum(shares);
  if (!(sum > 0)) return 0;
  RankBySalience(shares, order);  // descending
  double weighted = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    weighted += (n - static_cast<double>(rank)) * shares[order[rank]];
  }
  return (2 * weighted) / (n * sum) - (n + 1) / n;
}

}  // namespace sage
