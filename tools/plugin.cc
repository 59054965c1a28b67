// plugin.cc: the verb `plugin`: list, show, probe, check: the backends that are there, and whether one keeps the
// contract.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "common.h"
#include "conformance/conformance.h"
#include "isolate.h"
#include "output.h"
#include "report/backend_list.h"
#include "report/progress.h"
#include "verbs.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

struct PluginFlags {
  EngineFlags engine;
  std::string file;
  bool json = false;
  double limit = 10;
  uint64_t seed = 1;
  int problems = 200;
};

// What the engine says of the one library; a refused one is described too.
Json DescribeOne(const PluginFlags& flags) {
  const std::string path = AbsolutePath(flags.file);
  EngineFlags own = flags.engine;
  const EnginePtr engine = own.Create();
  Error error;
  const sage_status status = sage_engine_load_plugin(engine.get(), path.c_str(), &error);
  const Json describe = Json::parse(TextOf(sage_engine_describe, engine.get()));
  for (const Json& plugin : describe.value("plugins", Json::array()))
    if (plugin.value("path", "") == path) return plugin;
  Json plugin;
  plugin["path"] = path;
  if (status != SAGE_OK) plugin["refused"] = error.message;
  return plugin;
}

int List(const PluginFlags& flags) {
  const EnginePtr engine = flags.engine.Create();
  const std::string describe = TextOf(sage_engine_describe, engine.get());
  if (flags.json)
    fmt::print("{}\n", describe);
  else
    PrintBackends(stdout, describe);
  return kExitOk;
}

int Show(const PluginFlags& flags) {
  const Json plugin = DescribeOne(flags);
  if (flags.json) {
    fmt::print("{}\n", JsonText(plugin));
  } else {
    for (const auto& [key, value] : plugin.items()) {
      if (value.is_null() || (value.is_string() && value.get<std::string>().empty())) continue;
      std::string text;
      if (value.is_array())
        for (const Json& item : value)
          text += (text.empty() ? "" : " ") + (item.is_string() ? item.get<std::string>() : JsonText(item));
      else
        text = value.is_string() ? value.get<std::string>() : JsonText(value);
      fmt::print("{:<16} {}\n", key, text);
    }
  }
  const bool refused =
      plugin.contains("refused") && plugin["refused"].is_string() && !plugin["refused"].get<std::string>().empty();
  return refused ? kExitNoBackend : kExitOk;
}

int Check(const PluginFlags& flags) {
  conformance::ConformanceOptions options;
  options.seed = flags.seed;
  options.problems = flags.problems;
  const std::string path = AbsolutePath(flags.file);
  // Group by group, so that a person sees how far it is.
  conformance::ConformanceReport report;
  const std::vector<std::string> groups = conformance::GroupNames();
  {
    Progress progress("checking", static_cast<double>(groups.size()));
    for (size_t i = 0; i < groups.size() && !Interrupted(); ++i) {
      progress.Show(static_cast<double>(i), fmt::format("checking: {}", groups[i]));
      options.groups = {groups[i]};
      for (auto& check : conformance::RunConformance(path, options).checks) report.checks.push_back(std::move(check));
    }
  }
  int failed = 0, passed = 0, skipped = 0;
  Json checks = Json::array();
  for (const auto& check : report.checks) {
    const char* verdict = check.outcome == conformance::Outcome::kPass   ? "pass"
                          : check.outcome == conformance::Outcome::kSkip ? "skip"
                                                                         : "FAIL";
    passed += check.outcome == conformance::Outcome::kPass, skipped += check.outcome == conformance::Outcome::kSkip,
        failed += check.outcome == conformance::Outcome::kFail;
    if (flags.json)
      checks.push_back({{"check", check.name}, {"outcome", verdict}, {"detail", check.detail}});
    else
      fmt::print("{:<5} {:<40} {}\n", verdict, check.name, check.detail);
  }
  if (flags.json) {
    Json json;
    json["plugin"] = path;
    json["checks"] = checks;
    fmt::print("{}\n", JsonText(json));
  } else {
    fmt::print("{} passed, {} failed, {} skipped\n", passed, failed, skipped);
  }
  if (Interrupted()) return kExitInterrupted;
  return failed == 0 ? kExitOk : kExitWrongAnswer;
}

CLI::App* AddSub(CLI::App* verb, const std::shared_ptr<PluginFlags>& flags, const char* name, const char* help,
                 bool takes_file) {
  CLI::App* sub = verb->add_subcommand(name, help);
  if (takes_file) sub->add_option("file", flags->file, "the shared library")->required();
  sub->add_flag("--json", flags->json, "as JSON");
  flags->engine.AddTo(sub);
  return sub;
}

}  // namespace

void AddPlugin(CLI::App& app, Action* action) {
  auto flags = std::make_shared<PluginFlags>();
  CLI::App* verb = app.add_subcommand("plugin", "the backends: list, show, probe, check");
  verb->require_subcommand(1);
  AddSub(verb, flags, "list", "every library found, usable or refused, and the folders looked into", false)
      ->callback([flags, action] { *action = [flags] { return List(*flags); }; });
  AddSub(verb, flags, "show", "one library: version, ABI, kinds, features, why refused", true)
      ->callback([flags, action] { *action = [flags] { return Show(*flags); }; });
  CLI::App* probe = AddSub(verb, flags, "probe", "as show, in a child process with a time limit", true);
  probe->add_option("--limit", flags->limit, "seconds")->capture_default_str()->check(CLI::Range(0.1, 3600.0));
  probe->callback(
      [flags, action] { *action = [flags] { return Isolated([flags] { return Show(*flags); }, flags->limit); }; });
  CLI::App* check =
      AddSub(verb, flags, "check", "the conformance kit: does it keep the contract, and is it right?", true);
  check->add_option("--seed", flags->seed, "of the random problems")->capture_default_str();
  check->add_option("--problems", flags->problems, "how many random problems")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  check->callback([flags, action] { *action = [flags] { return Isolated([flags] { return Check(*flags); }); }; });
}

}  // namespace sage::tool
