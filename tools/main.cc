// sage-engine: the command. Data on stdout, talk on stderr; exit codes as in exit_code.h; no network, no colour off a
// terminal. Each verb is a file of its own.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "common.h"
#include "output.h"
#include "verbs.h"

namespace sage::tool {
namespace {

// Every name by which an option of this (sub)command may be written.
std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

const CLI::App* Innermost(const CLI::App& app) {
  const CLI::App* current = &app;
  while (!current->get_subcommands().empty()) current = current->get_subcommands().front();
  return current;
}

// " plugin show" of the verb `plugin show`, "" of the program itself.
std::string Path(const CLI::App& verb) {
  return verb.get_parent() == nullptr ? std::string() : Path(*verb.get_parent()) + " " + verb.get_name();
}

// CLI11 says what was wrong; we add the nearest name, since an unknown flag is mostly a typing slip, and say of an
// unknown word that it is unknown before we say that another one is missing.
int UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* verb = Innermost(app);
  std::string message = error.what();
  for (const std::string& word : verb->remaining(true)) {
    if (word.empty()) continue;
    if (word[0] == '-') {
      const std::string flag = word.substr(0, word.find('='));
      message = fmt::format("unknown flag \"{}\"{}", flag, DidYouMean(flag, OptionNames(*verb)));
      break;
    }
    std::vector<std::string> verbs;
    for (const CLI::App* sub : verb->get_subcommands([](const CLI::App*) { return true; }))
      verbs.push_back(sub->get_name());
    if (!verbs.empty()) {
      fmt::print(stderr, "sage-engine: unknown verb \"{}\"{}\n", word, DidYouMean(word, verbs));
      fmt::print(stderr, "Known: {}. Try: sage-engine{} --help\n", fmt::join(verbs, ", "), Path(*verb));
      return kExitUsage;
    }
    message = fmt::format("unexpected argument \"{}\"", word);
    break;
  }
  fmt::print(stderr, "sage-engine: {}\nTry: sage-engine{} --help\n", message, Path(*verb));
  return kExitUsage;
}

int Main(int argc, char** argv) {
  CLI::App app("Runs attention models through the best backend on this machine, and says what it chose and why.",
               "sage-engine");
  app.set_version_flag("--version", std::string("sage-engine ") + sage_version() + "\n" + sage_build_info());
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(
      "Exit codes: 0 right, 1 wrong answer, 2 usage, 3 bad file, 4 no backend, 5 device or memory, 130 interrupted.\n"
      "First steps: sage-engine doctor; sage-engine run MODEL --ticks FILE; sage-engine explain MODEL");
  Action action;
  AddRun(app, &action);
  AddExplain(app, &action);
  AddValidate(app, &action);
  AddDump(app, &action);
  AddConvert(app, &action);
  AddPlugin(app, &action);
  AddBench(app, &action);
  AddMemory(app, &action);
  AddDoctor(app, &action);
  AddManual(app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    std::ostringstream text;
    const int code = app.exit(asked, text);
    fmt::print("{}", text.str());
    return code;
  } catch (const CLI::ParseError& error) {
    return UsageError(app, error);
  }
  CatchInterrupts();
  return action();
}

}  // namespace
}  // namespace sage::tool

int main(int argc, char** argv) {
  return sage::tool::Guarded([&] { return sage::tool::Main(argc, argv); });
}
