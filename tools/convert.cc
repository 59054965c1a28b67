// convert.cc: the verb `convert`: JSON to binary and back, without loss; and the weights' digests written in. It proves
// that what it reads is a model, not that the model is right: that is `validate`.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "common.h"
#include "pin.h"
#include "text_form.h"
#include "verbs.h"

namespace sage::tool {
namespace {

struct ConvertFlags {
  std::string input, output, to;
  bool defaults = false, pin = false;
};

// The model's text, which also proves that the bytes are one.
std::string TextOrFail(const ConvertFlags& flags, const std::vector<uint8_t>& bytes, bool defaults) {
  const Result<std::string> text = ModelToJson(bytes, defaults);
  if (!text.ok()) throw Failure(kExitBadFile, fmt::format("{}: {}", Shown(flags.input), text.status().message()));
  return *text;
}

// Weights are looked for beside the model: a model written elsewhere may no longer find its own.
void WarnOfLostWeights(const ConvertFlags& flags, const std::string& text, const std::string& folder) {
  namespace fs = std::filesystem;
  const auto model = nlohmann::json::parse(text, nullptr, false);
  if (flags.output == "-" || !model.is_object()) return;
  fs::path beside = fs::path(flags.output).parent_path();
  if (beside.empty()) beside = ".";
  for (const auto& entry : model.value("weight_files", nlohmann::json::array())) {
    const std::string path = entry.value("path", "");
    std::error_code ignored;
    if (fs::exists(fs::path(folder) / path, ignored) && !fs::exists(beside / path, ignored))
      fmt::print(stderr, "sage-engine: note: weights are looked for beside the model; {} is not in {}\n", path,
                 beside.string());
  }
}

int Convert(const ConvertFlags& flags) {
  std::string to = flags.to;
  const bool text_to_stdout = flags.output == "-" && flags.defaults;
  if (to.empty()) to = flags.output.ends_with(".json") || text_to_stdout ? "json" : "fbs";
  if (to == "fbs" && flags.defaults)
    throw Failure(kExitUsage, "--defaults is for JSON: a binary model never holds them; add --to json");
  ModelBytes model = ReadModelBytes(flags.input);
  std::string text = TextOrFail(flags, model.bytes, flags.defaults);
  if (flags.pin) {
    Result<std::vector<uint8_t>> pinned = ModelToBinary(PinWeights(text, model.weights_folder));
    if (!pinned.ok()) throw Failure(kExitBadFile, fmt::format("{}: {}", Shown(flags.input), pinned.status().message()));
    model.bytes = std::move(*pinned);
    text = TextOrFail(flags, model.bytes, flags.defaults);
  }
  const std::string result =
      to == "json" ? text : std::string(reinterpret_cast<const char*>(model.bytes.data()), model.bytes.size());
  if (flags.output == "-") {
    if (to == "fbs" && IsTerminal(STDOUT_FILENO))
      throw Failure(kExitUsage, "binary is not written to a terminal; give a file, or --to json");
    fmt::print("{}", result);
  } else {
    WriteFileAtomically(flags.output, result);
  }
  WarnOfLostWeights(flags, text, model.weights_folder);
  return kExitOk;
}

}  // namespace

void AddConvert(CLI::App& app, Action* action) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* verb = app.add_subcommand("convert", "change a model's form: JSON or FlatBuffers text to binary, and back");
  verb->add_option("input", flags->input, "a model in any form; - for stdin")->required();
  verb->add_option("output", flags->output, "where to; - for stdout")->required();
  verb->add_option("--to", flags->to, "fbs or json; default: by the output's name, .json or else fbs")
      ->check(CLI::IsMember({"fbs", "json"}));
  verb->add_flag("--defaults", flags->defaults, "JSON: write the fields that have their default as well");
  verb->add_flag("--pin", flags->pin, "write each weight file's size and SHA-256, as they are now, into the model");
  verb->callback([flags, action] { *action = [flags] { return Convert(*flags); }; });
}

}  // namespace sage::tool
