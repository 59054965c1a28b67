// live_ticks.cc: numbers are rounded to five decimals, so that recorded ticks stay short enough to read.
#include "live/live_ticks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "common.h"
#include "sage/sage.h"
#include "text_form.h"

namespace sage::tool {
namespace {

double Short(double value) { return std::round(value * 1e5) / 1e5 + 0.0; }

std::string Vector(const std::vector<double>& values) {
  size_t used = values.size();
  std::string text = "[";
  for (size_t i = 0; i < used; ++i) text += fmt::format("{}{}", i == 0 ? "" : ",", Short(values[i]));
  return text + "]";
}

std::string Snarc(const Snarc5& s) {
  return fmt::format(R"({{"surprise":{},"novelty":{},"arousal":{},"reward":{},"conflict":{}}})", Short(s.surprise),
                     Short(s.novelty), Short(s.arousal), Short(s.reward), Short(s.conflict));
}

}  // namespace

LiveTicks::LiveTicks(uint32_t kind, const std::vector<uint8_t>& model) : kind_(kind) {
  const Result<std::string> text = ModelToJson(model, false);
  if (!text.ok()) throw Failure(kExitBadFile, text.status().message());
  const nlohmann::json graph = nlohmann::json::parse(*text).value("graph", nlohmann::json::object());
  const nlohmann::json attention = graph.value("attention", nlohmann::json::object());
  width_ = attention.value("d_model", kind == SAGE_MODEL_EXPERT ? size_t{768} : size_t{256});
  experts_ = graph.value("num_experts", size_t{128});
  if (kind == SAGE_MODEL_EXPERT && experts_ < kSignals)
    throw Failure(kExitUsage,
                  fmt::format("--live needs at least {} experts, one a signal; the model has {}", kSignals, experts_));
  if (kind == SAGE_MODEL_FUSION && graph.value("max_sensors", kSignals) < kSignals)
    throw Failure(kExitUsage, fmt::format("--live has {} sensors; the model's max_sensors is {}", kSignals,
                                          graph.value("max_sensors", kSignals)));
  expert_trust_.assign(experts_, 0.5);
}

std::string LiveTicks::Next(double ts, const std::array<double, kSignals>& signals) {
  double sum = 0;
  for (double value : signals) sum += value;
  for (size_t i = 0; i < experts_ && kind_ == SAGE_MODEL_EXPERT; ++i) {
    const double quality = 1 - std::fabs(Level(i) - signals[i % kSignals]);
    // Only an expert that was near enough to be asked learns.
    if (std::fabs(Level(i) - signals_[i % kSignals]) < 0.25) expert_trust_[i] = 0.9 * expert_trust_[i] + 0.1 * quality;
  }
  signals_ = signals;
  for (size_t i = 0; i < kSignals; ++i)
    snarc_[i] = history_[i].Observe(signals[i], (sum - signals[i]) / (kSignals - 1));
  switch (kind_) {
    case SAGE_MODEL_METABOLIC:
      return Metabolic(ts);
    case SAGE_MODEL_FUSION:
      return Fusion(ts);
    default:
      return Expert(ts);
  }
}

// Experts are dealt to signals in turn; those of one signal stand at evenly spaced levels.
double LiveTicks::Level(size_t expert) const {
  const size_t levels = (experts_ + kSignals - 1) / kSignals;
  return (static_cast<double>(expert / kSignals) + 0.5) / static_cast<double>(levels);
}

std::string LiveTicks::Metabolic(double ts) {
  std::string text = fmt::format(R"({{"ts":{},"state":"AUTO","targets":[)", Short(ts));
  for (size_t i = 0; i < kSignals; ++i)
    text += fmt::format(R"({}{{"id":"{}","salience":{},"embedding":{}}})", i == 0 ? "" : ",", kSignalNames[i],
                        Short(snarc_[i].Mean()), Vector(history_[i].Features(width_)));
  return text + "]}";
}

std::string LiveTicks::Fusion(double ts) {
  std::vector<double> calm(width_, 0.0);
  for (size_t i = 0; i < std::min<size_t>(width_, 8); i += 2) calm[i] = -0.5;  // value, prediction, mean, least: low
  std::string text = fmt::format(R"({{"ts":{},"goal":{},"sensors":[)", Short(ts), Vector(calm));
  for (size_t i = 0; i < kSignals; ++i) {
    text += fmt::format(R"({}{{"id":"{}","goal_relevance":{},"trust":{},"snarc":{},"window":[)", i == 0 ? "" : ",",
                        kSignalNames[i], Short(signals_[i]), Short(history_[i].Trust()), Snarc(snarc_[i]));
    const auto window = history_[i].Window(width_);
    for (size_t row = 0; row < window.size(); ++row) text += (row == 0 ? "" : ",") + Vector(window[row]);
    text += "]}";
  }
  return text + "]}";
}

std::string LiveTicks::Expert(double ts) {
  size_t salient = 0;
  for (size_t i = 1; i < kSignals; ++i)
    if (snarc_[i].Mean() > snarc_[salient].Mean()) salient = i;
  std::vector<double> router(experts_), context(width_, 0.0);
  for (size_t i = 0; i < experts_; ++i) {
    const double distance = Level(i) - signals_[i % kSignals];
    // The most salient signal's experts are preferred; sharpness 8 makes the neighbouring level about half a unit
    // worse.
    router[i] = snarc_[i % kSignals].Mean() * 2 - 8 * distance * distance;
  }
  for (size_t i = 0; i < std::min(width_, kSignals); ++i) context[i] = signals_[i] - 0.5;
  return fmt::format(R"({{"ts":{},"context":"{}","context_embedding":{},"router_logits":{},"trust":{}}})", Short(ts),
                     kSignalNames[salient], Vector(context), Vector(router), Vector(expert_trust_));
}

}  // namespace sage::tool
