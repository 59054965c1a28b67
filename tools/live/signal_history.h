// signal_history.h: one signal's past, and the SNARC salience that follows from it.
#ifndef SAGE_TOOLS_LIVE_SIGNAL_HISTORY_H_
#define SAGE_TOOLS_LIVE_SIGNAL_HISTORY_H_

#include <cstddef>
#include <deque>
#include <vector>

namespace sage::tool {

// Five numbers in [0,1], from history alone:
//   surprise  distance from an exponential moving prediction, in its own typical errors (x/(1+x))
//   novelty   distance to the nearest remembered value that is not recent, times 4
//   arousal   the value itself: intensity
//   reward    how much it fell since the last tick: relief is what a machine's goal is
//   conflict  distance from the mean of the other signals
struct Snarc5 {
  double surprise = 0, novelty = 0, arousal = 0, reward = 0, conflict = 0;
  double Mean() const { return (surprise + novelty + arousal + reward + conflict) / 5; }
};

class SignalHistory {
 public:
  static constexpr size_t kWindow = 4;  // observations in a fusion window
  static constexpr size_t kRemembered = 64;

  // value in [0,1]; others: the mean of the other signals at this tick.
  Snarc5 Observe(double value, double others);
  // The feature vector of the last observation: value, change, prediction, error, mean, spread, least, largest of what
  // is remembered, centred; zero beyond, cut to `width`.
  std::vector<double> Features(size_t width) const;
  // Up to kWindow of them, oldest first.
  std::vector<std::vector<double>> Window(size_t width) const;
  // How well the prediction met the last value, in [0,1]: what a sensor's trust is learned from.
  double Quality() const { return quality_; }
  double Trust() const { return trust_; }  // moving average of Quality from 0.5

 private:
  struct Row {
    double value, change, prediction, error, mean, spread, least, largest;
  };
  std::deque<double> remembered_;
  std::deque<Row> rows_;
  double prediction_ = 0, typical_error_ = 0.05, last_ = 0, quality_ = 0.5, trust_ = 0.5;
  bool first_ = true;
};

}  // namespace sage::tool

#endif  // SAGE_TOOLS_LIVE_SIGNAL_HISTORY_H_
