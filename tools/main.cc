// sage-engine: the command. Data on stdout, talk on stderr; exit codes as in exit_code.h; no network, no colour off a
// terminal. Each verb is a file of its own.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "common.h"
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

// CLI11 says what was wrong; we add the nearest name, since an unknown flag is mostly a typing slip.
int UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* verb = Innermost(app);
  std::string hint;
  for (const std::string& word : verb->remaining(true)) {
    if (word.empty()) continue;
    if (word[0] == '-') {
      hint = DidYouMean(word.substr(0, word.find('=')), OptionNames(*verb));
    } else {
      std::vector<std::string> verbs;
      for (const CLI::App* sub : verb->get_subcommands([](const CLI::App*) { return true; }))
        verbs.push_back(sub->get_name());
      if (!verbs.empty()) {
        fmt::print(stderr, "sage-engine: unknown verb \"{}\"{}\n", word, DidYouMean(word, verbs));
        fmt::print(stderr, "Known: {}. Try: sage-engine --help\n", fmt::join(verbs, ", "));
        return kExitUsage;
      }
    }
    break;
  }
  fmt::print(stderr, "sage-engine: {}{}\n", error.what(), hint);
  const std::string name = verb->get_name();
  fmt::print(stderr, "Try: sage-engine {}{}--help\n", name == "sage-engine" ? "" : name,
             name == "sage-engine" ? "" : " ");
  return kExitUsage;
}

int Main(int argc, char** argv) {
  CLI::App app("Runs attention models through the best backend on this machine, and says what it chose and why.",
               "sage-engine");
  app.set_version_flag("--version", std::string("sage-engine ") + sage_version() + "\n" + sage_build_info());
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(
      "Exit codes: 0 right, 1 wrong answer, 2 usage, 3 bad file, 4 no backend, 5 device or memory.\n"
      "First steps: sage-engine doctor; sage-engine run MODEL --ticks FILE; sage-engine explain MODEL");
  Action action;
  AddRun(app, &action);
  AddExplain(app, &action);
  AddValidate(app, &action);
  AddDump(app, &action);
  AddConvert(app, &action);
  AddPlugin(app, &action);
  AddBench(app, &action);
  AddDoctor(app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    return UsageError(app, error);
  }
  CatchInterrupts();
  const int code = action();
  // A full disk or a closed pipe shows up here, not in the prints before.
  if (std::fflush(stdout) != 0) {
    fmt::print(stderr, "sage-engine: stdout could not be written\n");
    return code == kExitOk ? kExitBadFile : code;
  }
  return code;
}

}  // namespace
}  // namespace sage::tool

int main(int argc, char** argv) {
  try {
    return sage::tool::Main(argc, argv);
  } catch (const sage::tool::Failure& failure) {
    fmt::print(stderr, "sage-engine: {}\n", failure.message);
    return failure.code;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "sage-engine: out of memory\n");
    return sage::tool::kExitDevice;
  } catch (const std::exception& caught) {
    fmt::print(stderr, "sage-engine: a bug, please report it: {}\n", caught.what());
    return sage::tool::kExitWrongAnswer;
  }
}
