// signal_history.cc: see signal_history.h.
#include "live/signal_history.h"

#include <algorithm>
#include <cmath>

namespace sage::tool {

Snarc5 SignalHistory::Observe(double value, double others) {
  if (first_) prediction_ = last_ = value;
  const double error = std::fabs(value - prediction_);
  Snarc5 snarc;
  const double surprise = error / (typical_error_ + 1e-3);
  snarc.surprise = first_ ? 0 : surprise / (1 + surprise);
  double nearest = 1;
  constexpr size_t kRecent = 8;  // what just happened is not a memory yet
  for (size_t i = 0; i + kRecent < remembered_.size(); ++i)
    nearest = std::min(nearest, std::fabs(remembered_[i] - value));
  snarc.novelty = remembered_.size() > kRecent ? std::clamp(4 * nearest, 0.0, 1.0) : 0;
  snarc.arousal = value;
  snarc.reward = std::clamp(last_ - value, 0.0, 1.0);
  snarc.conflict = std::clamp(std::fabs(value - others), 0.0, 1.0);

  quality_ = std::clamp(1 - error, 0.0, 1.0);
  trust_ = 0.9 * trust_ + 0.1 * quality_;
  remembered_.push_back(value);
  if (remembered_.size() > kRemembered) remembered_.pop_front();
  double sum = 0, squares = 0;
  for (double v : remembered_) sum += v, squares += v * v;
  const double count = static_cast<double>(remembered_.size()), mean = sum / count;
  const auto [least, largest] = std::minmax_element(remembered_.begin(), remembered_.end());
  rows_.push_back({value, value - last_, prediction_, value - prediction_, mean,
                   std::sqrt(std::max(0.0, squares / count - mean * mean)), *least, *largest});
  if (rows_.size() > kWindow) rows_.pop_front();
  typical_error_ = 0.95 * typical_error_ + 0.05 * error;
  prediction_ = 0.7 * prediction_ + 0.3 * value;
  last_ = value;
  first_ = false;
  return snarc;
}

std::vector<double> SignalHistory::Features(size_t width) const {
  const auto window = Window(width);
  return window.empty() ? std::vector<double>(width, 0.0) : window.back();
}

std::vector<std::vector<double>> SignalHistory::Window(size_t width) const {
  std::vector<std::vector<double>> window;
  for (const Row& row : rows_) {
    const double features[] = {row.value - 0.5, row.change, row.prediction - 0.5, row.error,
                               row.mean - 0.5,  row.spread, row.least - 0.5,      row.largest - 0.5};
    std::vector<double> vector(width, 0.0);
    for (size_t i = 0; i < std::min(width, std::size(features)); ++i) vector[i] = features[i];
    window.push_back(std::move(vector));
  }
  return window;
}

}  // namespace sage::tool
