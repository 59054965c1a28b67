// options.cc: the table of options, and reading them so that a bad one is a sentence.
#include "options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

#include "fmt/format.h"

namespace sage {
namespace {

constexpr OptionSpec kOptions[] = {
    {"threads", "1..256", "the CPUs this process may use", "engine",
     "workers of the engine's pool, the caller included"},
    {"log_level", "error|warning|info|debug", "warning", "engine", "lines above it are dropped"},
    {"max_memory", "bytes", "80 % of the memory this process may use", "engine session",
     "plans and arenas above it are refused before anything is allocated"},
    {"plugins", "absolute paths, separated by ':'", "", "engine", "plugins to load before all others"},
    {"plugin_environment", "true|false", "true", "engine", "whether SAGE_PLUGIN_PATH is searched"},
    {"plugin_folders", "true|false", "true", "engine", "whether the folder beside libsage and the compiled-in one are"},
    {"devices", "all, or numbers separated by ','", "0", "engine",
     "which devices of a type are used; the CPU always is"},
    {"backend", "name", "", "session plan", "this backend or an error; without it the cheapest that can"},
    {"backend_order", "names, separated by ','", "", "session plan", "these first among those that can"},
    {"accuracy", "auto|exact|native|lossy", "auto", "session plan", "the least exact class accepted"},
    {"algorithm", "auto|materialised|flash", "auto", "session plan", "how attention is computed"},
    {"flash_threshold", "0..4294967295", "0", "session plan",
     "under algorithm = auto: flash when there are more keys than this, 0 = by the backends' prices"},
    {"block_q", "0..65536", "0", "session plan", "query rows of a kernel tile, 0 = the backend's choice"},
    {"block_kv", "0..65536", "0", "session plan", "keys of a kernel tile, 0 = the backend's choice"},
    {"preset", "default|long_sequence|low_memory", "default", "session plan", "tile sizes for a purpose"},
    {"use_simd", "true|false", "true", "session plan", "false = portable scalar kernels only"},
    {"deterministic", "true|false", "false", "session plan", "same bits from run to run, for any number of threads"},
    {"stream_capture", "true|false", "false", "session plan", "runs must be legal inside CUDA graph capture"},
    {"strict", "true|false", "false", "session plan", "a wish that cannot be met is an error, not a fallback"},
    {"verify", "off|first|always", "off", "session plan", "rerun on `reference` and compare"},
    {"guard", "on|off", "on", "session plan", "guard bands round the workspace, looked at after each run"},
    {"max_latency_ms", "milliseconds", "0", "session", "explain warns when the planned cost is above it, 0 = none"},
    {"warmup", "lazy|all", "lazy", "session", "plan each bucket of shapes when first met, or all at once"},
    {"trace", "true|false", "false", "session", "keep the spans of the last run"},
    {"accuracy_report", "on|off", "off", "session",
     "measure each attention of a run against `reference`, for sage_session_accuracy"},
    {"graph_capture", "on|off", "off", "session",
     "record what a run gives a device, and replay it while shapes and addresses stay (CUDA graphs)"},
    {"copy_weights", "true|false", "false", "engine", "read weight files instead of mapping them"},
};

Status Refuse(std::string_view key, std::string_view value, std::string_view accepted) {
  return Status(SAGE_E_INVALID_ARGUMENT,
                fmt::format("option '{}' = '{}': expected {}", key, value.substr(0, 80), accepted));
}

const std::string* Find(const Options& options, std::string_view key) {
  const auto found = options.values.find(key);
  return found == options.values.end() ? nullptr : &found->second;
}

// Optimal string alignment: insert, delete, change, and swap of neighbours cost 1 each.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last), last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::span<const OptionSpec> KnownOptions() { return kOptions; }

std::string NearestName(std::string_view given, std::span<const std::string_view> known) {
  // Longer input is no typing error of a name, and the distance costs their product.
  if (given.empty() || given.size() > 128) return {};
  std::string_view best;
  size_t best_distance = std::numeric_limits<size_t>::max();
  for (const std::string_view name : known) {
    if (name.size() > 128) continue;
    const size_t distance = EditDistance(given, name);
    if (distance < best_distance) best = name, best_distance = distance;
  }
  // A third of the letters wrong is still a typing error; more is another word.
  const size_t tolerated = std::max<size_t>(1, std::max(given.size(), best.size()) / 3);
  return best_distance <= tolerated ? std::string(best) : std::string();
}

Status CheckOptionKey(std::string_view key) {
  const size_t dot = key.find('.');
  if (dot != std::string_view::npos) {
    if (dot > 0 && dot + 1 < key.size()) return {};
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("option '{}': a backend's option is written <backend>.<key>", key.substr(0, 80)));
  }
  std::vector<std::string_view> names;
  for (const OptionSpec& spec : kOptions) {
    if (key == spec.key) return {};
    names.emplace_back(spec.key);
  }
  const std::string nearest = NearestName(key, names);
  if (!nearest.empty())
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("unknown option '{}'; did you mean '{}'?", key.substr(0, 80), nearest));
  return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("unknown option '{}'; known are {}, and <backend>.<key>",
                                                     key.substr(0, 80), fmt::join(names, ", ")));
}

Result<int64_t> IntegerOption(const Options& options, std::string_view key, int64_t minimum, int64_t maximum,
                              int64_t fallback) {
  const std::string* text = Find(options, key);
  if (text == nullptr) return fallback;
  int64_t value = 0;
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || stop != end || value < minimum || value > maximum)
    return Refuse(key, *text, fmt::format("a whole number from {} to {}", minimum, maximum));
  return value;
}

Result<bool> BoolOption(const Options& options, std::string_view key, bool fallback) {
  const std::string* text = Find(options, key);
  if (text == nullptr) return fallback;
  if (*text == "true" || *text == "1" || *text == "on") return true;
  if (*text == "false" || *text == "0" || *text == "off") return false;
  return Refuse(key, *text, "true or false (also 1, 0, on, off)");
}

Result<double> NumberOption(const Options& options, std::string_view key, double minimum, double maximum,
                            double fallback) {
  const std::string* text = Find(options, key);
  if (text == nullptr) return fallback;
  double value = 0;
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value) || value < minimum || value > maximum)
    return Refuse(key, *text, fmt::format("a number from {} to {}", minimum, maximum));
  return value;
}

std::string TextOption(const Options& options, std::string_view key, std::string_view fallback) {
  const std::string* text = Find(options, key);
  return text == nullptr ? std::string(fallback) : *text;
}

Result<uint32_t> ChoiceOption(const Options& options, std::string_view key, std::span<const std::string_view> choices,
                              uint32_t fallback) {
  const std::string* text = Find(options, key);
  if (text == nullptr) return fallback;
  for (size_t i = 0; i < choices.size(); ++i)
    if (*text == choices[i]) return static_cast<uint32_t>(i);
  const std::string nearest = NearestName(*text, choices);
  std::string accepted = fmt::format("one of {}", fmt::join(choices, ", "));
  if (!nearest.empty()) accepted += fmt::format("; did you mean '{}'?", nearest);
  return Refuse(key, *text, accepted);
}

}  // namespace sage
