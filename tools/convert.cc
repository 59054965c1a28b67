// convert.cc: the verb `convert`: JSON to binary and back, without loss.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "common.h"
#include "text_form.h"
#include "verbs.h"

namespace sage::tool {
namespace {

struct ConvertFlags {
  std::string input, output, to;
  bool defaults = false;
};

int Convert(const ConvertFlags& flags) {
  std::string to = flags.to;
  if (to.empty()) to = flags.output.ends_with(".json") ? "json" : "fbs";
  const ModelBytes model = ReadModelBytes(flags.input);
  std::string result;
  if (to == "json") {
    const Result<std::string> text = ModelToJson(model.bytes, flags.defaults);
    if (!text.ok()) throw Failure(kExitBadFile, fmt::format("{}: {}", flags.input, text.status().message()));
    result = *text;
  } else {
    result.assign(reinterpret_cast<const char*>(model.bytes.data()), model.bytes.size());
  }
  if (flags.output == "-") {
    if (to == "fbs" && IsTerminal(STDOUT_FILENO))
      throw Failure(kExitUsage, "binary is not written to a terminal; give a file, or --to json");
    if (std::fwrite(result.data(), 1, result.size(), stdout) != result.size())
      throw Failure(kExitBadFile, "stdout could not be written");
  } else {
    WriteFileAtomically(flags.output, result);
  }
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
  verb->callback([flags, action] { *action = [flags] { return Convert(*flags); }; });
}

}  // namespace sage::tool
