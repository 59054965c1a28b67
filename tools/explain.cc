// explain.cc: the verb `explain`: the choice per node, without running.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "common.h"
#include "io.h"
#include "output.h"
#include "report/tuned_tiles.h"
#include "verbs.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

struct ExplainFlags {
  EngineFlags engine;
  SessionFlags session;
  std::string model;
  std::vector<std::string> inputs;
  bool json = false;
};

std::string Text(const Json& value) { return value.is_string() ? value.get<std::string>() : JsonText(value); }

// What class of accuracy the node takes and from where, wherever that is not simply EXACT from an exact backend.
void PrintAccuracy(const Json& node) {
  if (!node.contains("accuracy")) return;
  const std::string accepted = node["accuracy"].value("accepted", "?");
  bool inexact = accepted != "exact", chosen_lossy = false;
  for (const Json& verdict : node.value("verdicts", Json::array())) {
    const std::string delivered = verdict.value("accuracy", "exact");
    inexact = inexact || delivered != "exact";
    chosen_lossy = chosen_lossy || (delivered == "lossy" && verdict.value("backend", "") == Text(node["chosen"]));
  }
  if (!inexact) return;
  fmt::print("  accuracy: {} or better is taken: {}\n", accepted, node["accuracy"].value("why", ""));
  if (chosen_lossy)
    fmt::print(
        "    the chosen one is LOSSY; `sage-engine validate --against exact` says what that costs on your data\n");
  else if (accepted != "lossy")
    fmt::print(
        "    a LOSSY backend is used only when asked for: by accuracy = lossy, or by accuracy = auto and inputs of "
        "i8, i16 or fp8, whose caller has quantised; naming the backend does not ask for it\n");
}

void PrintNode(const Json& node) {
  fmt::print("{}  {}\n", node.value("name", "?"), node.value("problem", node.value("kind", "")));
  fmt::print("  chosen: {} - {}\n",
             node.contains("chosen") && node["chosen"].is_string() ? node["chosen"].get<std::string>() : "none",
             node.value("why", ""));
  if (node.contains("fallback") && node["fallback"].is_string())
    fmt::print("  fallback: {}\n", node["fallback"].get<std::string>());
  for (const Json& verdict : node.value("verdicts", Json::array())) {
    const bool yes = verdict.value("yes", false);
    fmt::print("    {:<10} {:<4}", verdict.value("backend", "?"), yes ? "yes" : "NO");
    if (yes)
      fmt::print(" {:>9} ({}), {}, workspace {}", Duration(verdict.value("cost_ns", NAN)),
                 Text(verdict.value("cost_source", Json("?"))), Text(verdict.value("accuracy", Json("?"))),
                 Bytes(verdict.value("workspace_bytes", 0.0)));
    fmt::print("  {}\n", verdict.value("reason", ""));
  }
  PrintAccuracy(node);
  if (node.contains("policy") && node["policy"].is_object()) {
    std::string line;
    for (const auto& [key, entry] : node["policy"].items()) {
      if (entry.is_object() && entry.value("source", "default") == "default") continue;
      line += fmt::format("{}{} = {}{}", line.empty() ? "" : ", ", key,
                          entry.is_object() ? Text(entry.value("value", Json())) : Text(entry),
                          entry.is_object() ? " (" + entry.value("source", "?") + ")" : "");
    }
    if (!line.empty()) fmt::print("  policy: {}\n", line);
  }
  if (node.contains("bench") && node["bench"].is_string())
    fmt::print("  reproduce: {}\n", node["bench"].get<std::string>());
}

int Explain(const ExplainFlags& flags) {
  const EnginePtr engine = flags.engine.Create();
  const ModelPtr model = LoadModel(engine.get(), flags.model);
  const OptionsPtr options = flags.session.Create(flags.engine);
  const SessionPtr session = OpenSession(model.get(), options.get(), flags.model, flags.inputs);
  const std::string text = TextOf(sage_session_explain, session.get());
  if (flags.json) {
    fmt::print("{}\n", text);
    return kExitOk;
  }
  const Json explain = Json::parse(text);
  for (const auto& [key, value] : explain.items()) {
    if (key == "nodes" || key == "warnings" || value.is_structured()) continue;
    if (key.ends_with("_bytes"))
      fmt::print("{}: {}\n", key, Bytes(value.get<double>()));
    else if (key.ends_with("_ns"))
      fmt::print("{}: {}\n", key, Duration(value.get<double>()));
    else
      fmt::print("{}: {}\n", key, Text(value));
  }
  for (const Json& node : explain.value("nodes", Json::array())) fmt::print("\n"), PrintNode(node);
  if (explain.value("nodes", Json::array()).empty())
    fmt::print("no nodes: nothing of this model runs on a backend (LEGACY mode)\n");
  const Json tuned = TunedTiles(flags.engine, Json::parse(TextOf(sage_engine_describe, engine.get())));
  if (!tuned["choices"].empty() || tuned.contains("note")) fmt::print("\n"), PrintTunedFile(tuned);
  for (const Json& warning : explain.value("warnings", Json::array())) fmt::print("\nwarning: {}\n", Text(warning));
  return kExitOk;
}

}  // namespace

void AddExplain(CLI::App& app, Action* action) {
  auto flags = std::make_shared<ExplainFlags>();
  CLI::App* verb = app.add_subcommand("explain", "who would run each node, and why, without running");
  verb->add_option("model", flags->model, "the model: binary (.fbs), JSON, or - for stdin")->required();
  verb->add_option("--input,-i", flags->inputs, "NAME=2x8x64xf32:value=0: the shape to explain; default: the largest")
      ->allow_extra_args(false);
  verb->add_flag("--json", flags->json, "all of it as JSON");
  flags->session.AddTo(verb);
  flags->engine.AddTo(verb);
  verb->callback([flags, action] { *action = [flags] { return Explain(*flags); }; });
}

}  // namespace sage::tool
