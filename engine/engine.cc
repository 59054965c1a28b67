// engine.cc: an engine is put together: options read, plugins found, created and put in order.
#include "engine.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>

#include "backend/feature_names.h"
#include "fmt/format.h"
#include "plan/placement.h"
#include "run/machine.h"

// The table of built-in plugins: explicit, so that no linker drops an entry that only registers itself.
extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage {
namespace {

struct BuiltIn {
  const char* name;
  sage_plugin_query_fn query;
};
constexpr uint32_t kMostDevices = kMaxDomains - 1;  // of one type; a plan's domains are those and the CPU

constexpr BuiltIn kBuiltIn[] = {{"reference", reference_plugin_query}};

// "isa=avx2\n..." for "cpu.isa" = "avx2".
std::string OptionsOf(const Options& options, std::string_view backend) {
  std::string lines;
  for (const auto& [key, value] : options.values) {
    if (key.size() <= backend.size() + 1 || !key.starts_with(backend) || key[backend.size()] != '.') continue;
    lines += fmt::format("{}{}={}", lines.empty() ? "" : "\n", key.substr(backend.size() + 1), value);
  }
  return lines;
}

Result<std::vector<std::string>> ExplicitPaths(const Options& options) {
  std::vector<std::string> paths;
  const std::string list = TextOption(options, "plugins", "");
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(':', begin), list.size());
    if (end == begin || list[begin] != '/')
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("option 'plugins' = '{}': absolute paths separated by ':' are expected", list));
    paths.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return paths;
}

// "all", or numbers separated by ','. More than any machine has are refused.
Result<std::vector<int32_t>> DeviceNumbers(const Options& options, bool* all) {
  const std::string list = TextOption(options, "devices", "0");
  *all = list == "all";
  if (*all) return std::vector<int32_t>{0};
  std::vector<int32_t> numbers;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    int32_t number = -1;
    const auto [stop, error] = std::from_chars(list.data() + begin, list.data() + end, number);
    if (error != std::errc() || stop != list.data() + end || number < 0 ||
        number >= static_cast<int32_t>(kMostDevices) ||
        std::find(numbers.begin(), numbers.end(), number) != numbers.end())
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("option 'devices' = '{}': 'all', or different numbers below {} separated by ',' are "
                                "expected",
                                list, kMostDevices));
    numbers.push_back(number);
    begin = end + 1;
  }
  return numbers;
}

Status CheckValues(const Options& options) {
  for (const auto& [key, value] : options.values) {
    SAGE_RETURN_IF_ERROR(CheckOptionKey(key));
    if (key.find('.') != std::string::npos && value.find('\n') != std::string::npos)
      return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("option '{}': a backend's option is one line", key));
  }
  constexpr std::string_view kLevels[] = {"off", "error", "warning", "info", "debug"};
  SAGE_RETURN_IF_ERROR(ChoiceOption(options, "log_level", kLevels, 0).status());
  return {};
}

}  // namespace

Result<std::shared_ptr<Engine>> Engine::Create(const Options& options) {
  SAGE_RETURN_IF_ERROR(CheckValues(options));
  SAGE_ASSIGN_OR_RETURN(const int64_t threads, IntegerOption(options, "threads", 1, 256, UsableCpus()));
  const uint64_t usable = DefaultMaxMemory();
  SAGE_ASSIGN_OR_RETURN(const int64_t max_memory,
                        IntegerOption(options, "max_memory", 1, std::numeric_limits<int64_t>::max(),
                                      static_cast<int64_t>(std::min<uint64_t>(usable, INT64_MAX))));
  PluginSearch search;
  SAGE_ASSIGN_OR_RETURN(search.explicit_paths, ExplicitPaths(options));
  SAGE_ASSIGN_OR_RETURN(search.use_environment, BoolOption(options, "plugin_environment", true));
  SAGE_ASSIGN_OR_RETURN(search.use_default_folders, BoolOption(options, "plugin_folders", true));

  const std::shared_ptr<Engine> engine(new Engine());
  engine->options_ = options;
  SAGE_ASSIGN_OR_RETURN(engine->devices_, DeviceNumbers(options, &engine->all_devices_));
  engine->host_ =
      std::make_shared<Host>(options, static_cast<uint32_t>(threads), static_cast<uint64_t>(max_memory), CacheFolder());

  // First, so that no file takes the oracle's name.
  for (const BuiltIn& built_in : kBuiltIn) {
    PluginFile file;
    file.path = file.origin = "built-in";
    SAGE_RETURN_IF_ERROR(NegotiatePlugin(built_in.query, built_in.name, &file));
    SAGE_RETURN_IF_ERROR(engine->Adopt(std::move(file)));
  }
  engine->reference_ = engine->FindBackend("reference");
  std::vector<PluginFile> found = FindPlugins(search, &engine->folders_);
  for (const PluginFolder& folder : engine->folders_)
    if (folder.skipped)
      engine->host_->Log(SAGE_LOG_WARNING,
                         fmt::format("plugins of {} ({}): {}", folder.path, folder.origin, folder.note));
  for (PluginFile& file : found) {
    const std::string name = file.table != nullptr ? file.table->name : "";
    const bool usable_so_far = file.refused.ok();
    const Status adopted = engine->Adopt(std::move(file));
    // A plugin that cannot be used is only reported, unless somebody set options for it: they asked for it.
    if (usable_so_far && !adopted.ok() && !OptionsOf(options, name).empty())
      return adopted.code() == SAGE_E_INVALID_ARGUMENT || adopted.code() == SAGE_E_UNSUPPORTED
                 ? adopted
                 : adopted.At(fmt::format("options are given for '{}', which cannot be used", name));
  }
  SAGE_RETURN_IF_ERROR(engine->CheckBackendOptions());
  return engine;
}

Engine::~Engine() {
  // Newest first. A device's supplier is held by every backend that shares it, so it goes last of them in any case.
  while (!backends_.empty()) backends_.pop_back();
}

Status Engine::Adopt(PluginFile file) {
  // One at a time, create included: "not called twice at once for one device".
  const std::lock_guard<std::mutex> lock(mutex_);
  Status refused = file.refused;
  bool declined = false;
  if (refused.ok()) {
    for (const PluginFile& other : files_)
      if (other.refused.ok() && other.shadowed_by.empty() && std::string_view(other.table->name) == file.table->name)
        file.shadowed_by = other.path;
    if (!file.shadowed_by.empty()) {
      refused = Status(SAGE_E_UNSUPPORTED, fmt::format("{}: backend '{}' is loaded already, from {}", file.path,
                                                       file.table->name, file.shadowed_by));
    } else {
      refused = file.refused = CreateBackends(file);
      // One for a device that this machine lacks, found where all plugins lie: nobody has to be warned of that.
      declined = refused.code() == SAGE_E_UNSUPPORTED && file.origin != "option";
    }
  }
  if (!file.warning.empty()) host_->Log(SAGE_LOG_WARNING, file.warning);
  if (!refused.ok())
    host_->Log(declined ? SAGE_LOG_INFO : SAGE_LOG_WARNING, fmt::format("plugin not used: {}", refused.message()));
  files_.push_back(std::move(file));
  return refused;
}

// One instance a device: the numbers of the option `devices`, or, of the CPU, the one there is. Some may fail.
Status Engine::CreateBackends(const PluginFile& file) {
  const std::string options = OptionsOf(options_, file.table->name);
  const bool on_cpu = file.table->device_type == SAGE_CPU;
  std::vector<int32_t> numbers = on_cpu ? std::vector<int32_t>{0} : devices_;
  Status first;
  size_t created = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    uint32_t count = 0;
    Result<std::shared_ptr<Backend>> backend =
        Backend::Create(host_, *file.table, file.agreed_minor, numbers[i], options, &count);
    // The probe of the first counts them.
    for (uint32_t next = 1; all_devices_ && !on_cpu && i == 0 && next < std::min(count, kMostDevices); ++next)
      numbers.push_back(static_cast<int32_t>(next));
    if (backend.ok()) {
      backends_.push_back(std::move(*backend));
      ++created;
      continue;
    }
    if (first.ok()) first = backend.status();
    if (numbers.size() > 1)
      host_->Log(SAGE_LOG_WARNING,
                 fmt::format("{} on {}: {}", file.table->name, DeviceName(file.table->device_type, numbers[i]),
                             backend.status().message()));
  }
  return created > 0 ? Status() : first;
}

Status Engine::WhyRefused(std::string_view name, const char* source) const {
  if (name.empty() || FindBackend(name) != nullptr) return {};
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const PluginFile& file : files_)
    if (file.table != nullptr && file.table->name == name && !file.refused.ok())
      return file.refused.At(fmt::format("backend '{}' (named by the {}'s policy)", name, source));
  return {};
}

std::vector<std::string_view> Engine::BackendNames() const {
  std::vector<std::string_view> names;
  for (const std::shared_ptr<Backend>& backend : backends_) names.emplace_back(backend->name());
  return names;
}

Status Engine::CheckBackendOptions() const {
  for (const auto& [key, value] : options_.values) {
    const size_t dot = key.find('.');
    if (dot == std::string::npos || FindBackend(std::string_view(key).substr(0, dot)) != nullptr) continue;
    const std::string name = key.substr(0, dot);
    for (const PluginFile& file : files_)
      if (file.table != nullptr && file.table->name == name && !file.refused.ok())
        return file.refused.At(fmt::format("option '{}'", key));
    const std::vector<std::string_view> names = BackendNames();
    const std::string nearest = NearestName(name, names);
    std::string message =
        fmt::format("option '{}': backend '{}' is not loaded{}; loaded are {}", key, name,
                    nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest), fmt::join(names, ", "));
    for (const PluginFolder& folder : folders_)
      if (folder.skipped) message += fmt::format("; plugins of {}: {}", folder.path, folder.note);
    return Status(SAGE_E_NOT_FOUND, message);
  }
  return {};
}

Status Engine::CheckOptions(const Options& options, std::string_view scope) const {
  for (const auto& [key, value] : options.values) {
    SAGE_RETURN_IF_ERROR(CheckOptionKey(key));
    const auto ours = options_.values.find(key);
    if (ours != options_.values.end() && ours->second == value) continue;
    bool applies = false;
    std::string_view read_by = "engine";
    for (const OptionSpec& spec : KnownOptions()) {
      if (key != spec.key) continue;
      read_by = spec.scope;
      applies = std::string_view(spec.scope).find(scope) != std::string_view::npos;
    }
    if (!applies)
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("option '{}' has no effect on a {}; it is read by: {}", key, scope, read_by));
  }
  return {};
}

Status Engine::LoadPlugin(const std::string& absolute_path) {
  return Adopt(LoadPluginFile(absolute_path, "option", true));
}

std::vector<std::shared_ptr<Backend>> Engine::backends() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return backends_;
}

std::shared_ptr<Backend> Engine::FindBackend(std::string_view name) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const std::shared_ptr<Backend>& backend : backends_)
    if (backend->name() == name) return backend;
  return nullptr;
}

size_t Engine::backend_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return backends_.size();
}

const char* Engine::backend_name(size_t index) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return index < backends_.size() ? backends_[index]->name().c_str() : nullptr;
}

void Engine::Describe(JsonWriter& out) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto strings = [&out](std::string_view key, const std::vector<std::string>& values) {
    out.Key(key);
    out.BeginArray();
    for (const std::string& value : values) out.String(value);
    out.EndArray();
  };
  const auto text_or_null = [&out](std::string_view key, std::string_view text) {
    out.Key(key);
    if (text.empty())
      out.Null();
    else
      out.String(text);
  };
  out.BeginObject();
  out.Member("version", SAGE_VERSION);
  out.Member("abi", fmt::format("{}.{}", SAGE_ABI_MAJOR, SAGE_ABI_MINOR));
  out.Member("library", LibraryPath());
  out.Member("threads", host_->num_workers());
  out.Member("max_memory", host_->max_memory());
  out.Member("bytes_in_use", host_->bytes_in_use());
  text_or_null("cache_folder", host_->cache_folder());
  out.Key("plugins");
  out.BeginArray();
  for (const PluginFile& file : files_) {
    out.BeginObject();
    if (file.table != nullptr) {
      out.Member("name", file.table->name);
      out.Member("version", file.table->version);
    }
    out.Member("path", file.path);
    out.Member("origin", file.origin);
    out.Member("usable", file.refused.ok() && file.shadowed_by.empty());
    text_or_null("refused", file.refused.message());
    text_or_null("status", file.refused.ok() ? "" : StatusName(file.refused.code()));
    text_or_null("shadowed_by", file.shadowed_by);
    text_or_null("warning", file.warning);
    if (file.table != nullptr) {
      out.Member("abi", fmt::format("{}.{}", file.table->abi_major, file.table->abi_minor));
      out.Member("build", file.table->build);
      text_or_null("foreign_threads", file.table->foreign_threads == nullptr ? "" : file.table->foreign_threads);
      out.Member("device", DeviceTypeName(file.table->device_type));
      strings("kinds", KindNames(file.table->kinds));
      strings("features", FeatureNames(file.table->features));
    }
    out.EndObject();
  }
  out.EndArray();
  out.Key("devices");
  out.BeginArray();
  std::set<const Device*> shown;
  for (const std::shared_ptr<Backend>& backend : backends_) {
    const Device* device = backend->device().get();
    if (device == nullptr || !shown.insert(device).second) continue;
    uint64_t free_bytes = 0, total_bytes = 0;
    const Status known = device->MemoryInfo(&free_bytes, &total_bytes);
    out.BeginObject();
    out.Member("device", device->name());
    out.Member("supplied_by", device->supplier());
    out.Member("host_visible", device->host_visible());
    out.Member("copy_latency_ns", device->copy_latency_ns());
    out.Member("copy_bytes_per_ns", device->copy_bytes_per_ns());
    if (known.ok()) out.Member("free_bytes", free_bytes), out.Member("total_bytes", total_bytes);
    text_or_null("error", known.message());
    out.EndObject();
  }
  out.EndArray();
  out.Key("folders");
  out.BeginArray();
  for (const PluginFolder& folder : folders_) {
    out.BeginObject();
    out.Member("path", folder.path);
    out.Member("origin", folder.origin);
    out.Member("note", folder.note);
    out.EndObject();
  }
  out.EndArray();
  out.EndObject();
}

}  // namespace sage
