// common.cc: shared flags, files and interrupts of the verbs.
#include "common.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "isolate.h"
#include "sage/plugin.h"
#include "text_form.h"

namespace sage::tool {
namespace {

constexpr uint64_t kMaxModelBytes = 64ull << 20;
std::atomic<int> interrupts{0};

void Set(sage_options* options, const std::string& key, const std::string& value) {
  Error error;
  Require(sage_options_set(options, key.c_str(), value.c_str(), &error), error);
}

void SetPair(sage_options* options, const std::string& pair) {
  const size_t equals = pair.find('=');
  if (equals == std::string::npos || equals == 0)
    throw Failure(kExitUsage, fmt::format("--option {}: expected KEY=VALUE, such as threads=1 or cpu.isa=avx2", pair));
  Set(options, pair.substr(0, equals), pair.substr(equals + 1));
}

// Which of the library's options an engine reads; dotted ones are a backend's, which the engine hands on.
bool IsEngines(std::string_view key) {
  if (key.find('.') != std::string_view::npos) return true;
  for (const std::string_view own : {"threads", "log_level", "max_memory", "plugins", "plugin_environment",
                                     "plugin_folders", "devices", "copy_weights"})
    if (key == own) return true;
  return false;
}

void LogToStderr(void* user, int32_t level, const char* utf8, uint64_t length) {
  const auto* sink = static_cast<const EngineFlags::LogSink*>(user);
  if (level >= SAGE_LOG_DEBUG) NoteNode({utf8, length});
  if (level > sink->level) return;
  const char* names[] = {"", "error", "warning", "info", "debug"};
  fmt::print(stderr, "sage-engine: {}: {}\n", level >= 1 && level <= 4 ? names[level] : "log",
             std::string_view(utf8, length));
}

}  // namespace

void EngineFlags::AddTo(CLI::App* app) {
  app->add_option("--threads", threads, "worker threads, the caller counted; default: what this process may use")
      ->check(CLI::Range(1, 256));
  app->add_option("--plugin", plugins, "load this backend as well, from its file; may be repeated")
      ->allow_extra_args(false);
  app->add_option("--option", options,
                  "any option of the library as KEY=VALUE, such as cpu.isa=scalar; may be repeated")
      ->allow_extra_args(false);
  app->add_flag("-v,--verbose", verbose, "what the library logs, on stderr");
}

EnginePtr EngineFlags::Create(const std::function<void(sage_options*)>& more) const {
  Error error;
  sage_options* raw = nullptr;
  Require(sage_options_create(&raw, &error), error);
  OptionsPtr bag(raw);
  if (threads > 0) Set(raw, "threads", std::to_string(threads));
  for (const std::string& pair : options) {
    if (IsEngines(pair.substr(0, pair.find('=')))) SetPair(raw, pair);  // the rest is a session's, and set there
  }
  bool asked = false;
  for (const std::string& pair : options) asked = asked || pair.starts_with("log_level=");
  sink->level = verbose || asked ? INT32_MAX : SAGE_LOG_WARNING;
  if (InIsolatedChild()) {  // the node at hand is a debug line
    Set(raw, "log_level", "debug");
    if (sink->level > SAGE_LOG_INFO) sink->level = SAGE_LOG_INFO;
  } else if (verbose) {
    Set(raw, "log_level", "info");
  }
  Require(sage_options_set_log(raw, LogToStderr, sink.get(), &error), error);
  if (more) more(raw);
  sage_engine* engine = nullptr;
  Require(sage_engine_create(raw, &engine, &error), error);
  EnginePtr result(engine);
  const int32_t level = sink->level;
  for (const std::string& path : plugins) {
    sink->level = SAGE_LOG_ERROR;  // what the library would warn of is what we fail with
    const sage_status status = sage_engine_load_plugin(engine, AbsolutePath(path).c_str(), &error);
    sink->level = level;
    Require(status, error, "--plugin");
  }
  return result;
}

void SessionFlags::AddTo(CLI::App* app) {
  app->add_option("--backend", backend, "this backend or an error; default: the cheapest that can");
  app->add_option("--accuracy", accuracy, "least exact class accepted: auto, exact, native, lossy")
      ->check(CLI::IsMember({"auto", "exact", "native", "lossy"}));
  app->add_option("--verify", verify, "rerun nodes on the reference and report the difference: off, first, always")
      ->check(CLI::IsMember({"off", "first", "always"}));
}

OptionsPtr SessionFlags::Create(const EngineFlags& engine,
                                const std::vector<std::pair<std::string, std::string>>& more) const {
  Error error;
  sage_options* raw = nullptr;
  Require(sage_options_create(&raw, &error), error);
  OptionsPtr bag(raw);
  if (!backend.empty()) Set(raw, "backend", backend);
  if (!accuracy.empty()) Set(raw, "accuracy", accuracy);
  if (!verify.empty()) Set(raw, "verify", verify);
  for (const auto& [key, value] : more) Set(raw, key, value);
  for (const std::string& pair : engine.options) {
    const std::string key = pair.substr(0, pair.find('='));
    if (!IsEngines(key) || key == "max_memory") SetPair(raw, pair);  // max_memory bounds both
  }
  Require(sage_options_set_cancel(raw, CancelCallback, nullptr, &error), error);
  return bag;
}

ModelBytes ReadModelBytes(const std::string& path) {
  ModelBytes result;
  const std::string text = ReadFile(path, kMaxModelBytes);
  if (text.empty()) throw Failure(kExitBadFile, fmt::format("{}: an empty file, not a model", Shown(path)));
  result.weights_folder = path == "-" ? "." : std::filesystem::path(path).parent_path().string();
  if (result.weights_folder.empty()) result.weights_folder = ".";
  Result<std::vector<uint8_t>> bytes = ModelToBinary(text);
  if (!bytes.ok()) throw Failure(kExitBadFile, fmt::format("{}: {}", Shown(path), bytes.status().message()));
  result.bytes = std::move(*bytes);
  return result;
}

ModelPtr LoadModel(sage_engine* engine, const std::string& path) {
  const ModelBytes model = ReadModelBytes(path);
  Error error;
  sage_model* raw = nullptr;
  Require(sage_model_load_buffer(engine, model.bytes.data(), model.bytes.size(), model.weights_folder.c_str(), &raw,
                                 &error),
          error, Shown(path));
  return ModelPtr(raw);
}

void CatchInterrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupts.fetch_add(1, std::memory_order_relaxed); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the second Ctrl-C ends the process the usual way
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a closed stdout is seen where it is written
}

bool Interrupted() { return interrupts.load(std::memory_order_relaxed) != 0; }
int32_t CancelCallback(void*) { return Interrupted() ? 1 : 0; }

bool IsTerminal(int descriptor) { return isatty(descriptor) == 1; }

std::string DidYouMean(const std::string& given, const std::vector<std::string>& known) {
  // A typing slip, not another word: at most three edits, fewer in short words.
  size_t best = given.size() < 2 ? 1 : std::clamp<size_t>(given.size() / 3, 1, 3) + 1;
  std::string nearest;
  for (const std::string& name : known) {
    std::vector<size_t> row(name.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= given.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= name.size(); ++j) {
        const size_t substitute = diagonal + (given[i - 1] == name[j - 1] ? 0u : 1u);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
      }
    }
    if (row[name.size()] < best && row[name.size()] < std::max(name.size(), given.size()))
      best = row[name.size()], nearest = name;
  }
  return nearest.empty() ? std::string() : fmt::format("; did you mean \"{}\"?", nearest);
}

std::string Duration(double nanoseconds) {
  if (nanoseconds < 1e3) return fmt::format("{:.3g} ns", nanoseconds);
  if (nanoseconds < 1e6) return fmt::format("{:.3g} us", nanoseconds / 1e3);
  if (nanoseconds < 1e9) return fmt::format("{:.3g} ms", nanoseconds / 1e6);
  return fmt::format("{:.3g} s", nanoseconds / 1e9);
}

std::string Bytes(double bytes) {
  const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) bytes /= 1024, ++unit;
  return unit == 0 ? fmt::format("{:.0f} bytes", bytes) : fmt::format("{:.3g} {}", bytes, units[unit]);
}

}  // namespace sage::tool
