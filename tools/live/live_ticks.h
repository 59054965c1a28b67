// live_ticks.h: the machine's signals as ticks of the three graphs.
#ifndef SAGE_TOOLS_LIVE_LIVE_TICKS_H_
#define SAGE_TOOLS_LIVE_LIVE_TICKS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "live/counters.h"
#include "live/signal_history.h"

namespace sage::tool {

// Metabolic: one target a signal, salience its SNARC mean, state AUTO.
// Fusion: one sensor a signal with its last observations, its SNARC, trust learned from how predictable it has been,
//   goal relevance the signal's level; the goal is calm: every feature at its least.
// Expert: N experts, N / 8 a signal, each at home at one level of it. The router prefers the experts whose level is
// near
//   (minus squared distance), trust is learned from how well an expert's level foretold the next value; the context
//   is the most salient signal.
class LiveTicks {
 public:
  // kind: SAGE_MODEL_*. model: the file's bytes, for d_model, num_experts and bounds.
  LiveTicks(uint32_t kind, const std::vector<uint8_t>& model);
  // One JSON object without newline. ts in seconds.
  std::string Next(double ts, const std::array<double, kSignals>& signals);

 private:
  std::string Metabolic(double ts);
  std::string Fusion(double ts);
  std::string Expert(double ts);
  double Level(size_t expert) const;
  uint32_t kind_;
  size_t width_ = 0, experts_ = 0;
  std::array<double, kSignals> signals_{};
  std::array<SignalHistory, kSignals> history_;
  std::array<Snarc5, kSignals> snarc_{};
  std::vector<double> expert_trust_;
};

}  // namespace sage::tool

#endif  // SAGE_TOOLS_LIVE_LIVE_TICKS_H_
