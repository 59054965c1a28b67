// engine.h: plugins, devices, threads: what sessions and attention plans are made from. Free-threaded.
//
// It owns nothing of what is made from it; those hold the engine. Backends are never taken out again.
#ifndef SAGE_ENGINE_ENGINE_H_
#define SAGE_ENGINE_ENGINE_H_

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "backend/plugin_loader.h"
#include "json.h"
#include "options.h"
#include "run/fork_mark.h"
#include "run/host.h"
#include "status.h"

namespace sage {

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  static Result<std::shared_ptr<Engine>> Create(const Options& options);
  ~Engine();

  Status LoadPlugin(const std::string& absolute_path);
  // Usable ones in search order, one a device (several of a name with the option `devices`); `reference` is always
  // among them. A snapshot: later loads do not change it.
  std::vector<std::shared_ptr<Backend>> backends() const;
  std::shared_ptr<Backend> FindBackend(std::string_view name) const;  // null when there is none
  // Why the backend of that name, which a policy insists on, was found and is not used; ok where it is, or where
  // nobody knows the name.
  Status WhyRefused(std::string_view name, const char* source) const;
  size_t backend_count() const;
  const char* backend_name(size_t index) const;  // null past the end; valid as long as the engine
  const std::shared_ptr<Backend>& reference() const { return reference_; }
  const std::shared_ptr<Host>& host() const { return host_; }
  const Options& options() const { return options_; }
  // False in a child after fork(): every public call then answers SAGE_E_FORKED. Costs no system call.
  bool SameProcess() const { return mark_.Here(); }
  // Options given to something made from this engine (a session, an attention plan: scope "session", "plan"). An
  // unknown key is refused; so is one that is read when an engine is created, unless the engine was given the same:
  // it would silently do nothing. A backend's ("cpu.isa") likewise.
  Status CheckOptions(const Options& options, std::string_view scope) const;
  // {"version","abi","threads","plugins":[...],"devices":[...],"folders":[...]}
  void Describe(JsonWriter& out) const;

 private:
  Engine() = default;
  Status Adopt(PluginFile file);  // probe, create, register; the refusal is kept in files_
  Status CreateBackends(const PluginFile& file);
  Status CheckBackendOptions() const;
  std::vector<std::string_view> BackendNames() const;  // mutex_ is not taken
  Options options_;
  std::vector<int32_t> devices_;  // numbers of the devices to use, of each type
  bool all_devices_ = false;      // those the probe counts
  std::shared_ptr<Host> host_;
  std::shared_ptr<Backend> reference_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Backend>> backends_;
  std::vector<PluginFile> files_;
  std::vector<PluginFolder> folders_;
  ForkMark mark_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_ENGINE_H_
