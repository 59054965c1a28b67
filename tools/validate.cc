// validate.cc: the verb `validate`: everything that is wrong with a file, each with its path; then weights and plan;
// on request how far its answers are from exact ones (against.h).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "against.h"
#include "common.h"
#include "output.h"
#include "report/progress.h"
#include "verbs.h"

namespace sage::tool {
namespace {

struct ValidateFlags {
  EngineFlags engine;
  SessionFlags session;
  AgainstFlags against;
  std::vector<std::string> models;
  bool json = false;
};

// The report of one file: {"file", "valid", "errors": [{"path", "message"}]}, and its bytes.
nlohmann::ordered_json Check(sage_engine* engine, const ValidateFlags& flags, const std::string& path,
                             ModelBytes* bytes) {
  nlohmann::ordered_json report;
  report["file"] = Shown(path);
  report["valid"] = false;
  report["errors"] = nlohmann::ordered_json::array();
  ModelBytes& model = *bytes;
  try {
    model = ReadModelBytes(path);
  } catch (const Failure& failure) {
    // The file's name stands in "file" already.
    const std::string named = Shown(path) + ": ";
    const std::string message =
        failure.message.starts_with(named) ? failure.message.substr(named.size()) : failure.message;
    report["errors"].push_back({{"path", ""}, {"message", message}});
    return report;
  }
  Error error;
  uint64_t needed = 0;
  Require(sage_model_check_buffer(engine, model.bytes.data(), model.bytes.size(), model.weights_folder.c_str(), nullptr,
                                  0, &needed, &error),
          error, path);
  std::string text(needed, '\0');
  Require(sage_model_check_buffer(engine, model.bytes.data(), model.bytes.size(), model.weights_folder.c_str(),
                                  text.data(), text.size(), &needed, &error),
          error, path);
  const auto checked = nlohmann::ordered_json::parse(text.c_str());
  report["errors"] = checked.value("errors", nlohmann::ordered_json::array());
  report["valid"] = checked.value("valid", false);
  if (!report["valid"].get<bool>()) return report;
  // A file may be right and still not run here: the plan is the last check.
  try {
    sage_model* raw_model = nullptr;
    Require(sage_model_load_buffer(engine, model.bytes.data(), model.bytes.size(), model.weights_folder.c_str(),
                                   &raw_model, &error),
            error);
    const ModelPtr loaded(raw_model);
    const OptionsPtr options = flags.session.Create(flags.engine);
    sage_session* raw_session = nullptr;
    Require(sage_session_create(loaded.get(), options.get(), &raw_session, &error), error);
    const SessionPtr session(raw_session);
    TextOf(sage_session_explain, session.get());
    report["planned"] = true;
  } catch (const Failure& failure) {
    report["planned"] = false;
    report["plan_error"] = failure.message;
    report["plan_exit_code"] = failure.code;
  }
  return report;
}

int Validate(const ValidateFlags& flags) {
  const EnginePtr engine = flags.engine.Create();
  int code = kExitOk;
  for (const std::string& path : flags.models) {
    ModelBytes model;
    const auto report = [&] {
      const Busy busy("verifying " + path);
      return Check(engine.get(), flags, path, &model);
    }();
    const bool valid = report["valid"].get<bool>();
    if (valid && report["planned"].get<bool>() && !flags.against.against.empty())
      return RunAgainstExact(flags.against, flags.engine, flags.session, engine.get(), model, path, flags.json);
    if (flags.json) {
      fmt::print("{}\n", JsonText(report));
    } else if (!valid) {
      fmt::print("{}: {} error{}\n", Shown(path), report["errors"].size(), report["errors"].size() == 1 ? "" : "s");
      for (const auto& error : report["errors"]) {
        const std::string place = error.value("path", "");
        fmt::print("  {}{}{}\n", place, place.empty() ? "" : ": ", error.value("message", ""));
      }
    } else if (!report["planned"].get<bool>()) {
      fmt::print("{}: valid, but cannot be planned here: {}\n", Shown(path), report["plan_error"].get<std::string>());
    } else {
      fmt::print("{}: valid\n", Shown(path));
    }
    if (!valid)
      code = kExitBadFile;
    else if (!report["planned"].get<bool>() && code == kExitOk)
      code = report["plan_exit_code"].get<int>();
  }
  return code;
}

}  // namespace

void AddValidate(CLI::App& app, Action* action) {
  auto flags = std::make_shared<ValidateFlags>();
  CLI::App* verb = app.add_subcommand(
      "validate", "verify models, their weights and digests, and plan them; compare with an exact run");
  verb->add_option("models", flags->models, "the files; - for stdin")->required();
  verb->add_flag("--json", flags->json, "one JSON object a file");
  flags->against.AddTo(verb);
  flags->session.AddTo(verb);
  flags->engine.AddTo(verb);
  verb->callback([flags, verb, action] {
    *action = [flags, verb] {
      flags->against.Check(*verb, flags->models.size());
      return Validate(*flags);
    };
  });
}

}  // namespace sage::tool
