// option_table.cc: the parser's options as data, and the verb `manual` that prints them in the forms there are.
#include "manual/option_table.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <sstream>

#include "exit_code.h"
#include "sage/sage.h"
#include "verbs.h"

namespace sage::tool {
namespace {

std::vector<std::string> SplitList(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

// The type's name is "TEXT:{auto,exact}" or "INT:INT in [1 - 256]": the type, then what the value is checked for.
void ReadType(const CLI::Option& option, OptionEntry* entry) {
  const std::string type = option.get_type_name();
  const size_t colon = type.find(':');
  entry->value = type.substr(0, colon);
  const std::string check = colon == std::string::npos ? std::string() : type.substr(colon + 1);
  if (check.size() > 2 && check.front() == '{' && check.back() == '}') {
    entry->kind = ValueKind::kChoice;
    entry->choices = SplitList(check.substr(1, check.size() - 2));
  } else if (entry->value == "INT" || entry->value == "UINT" || entry->value == "FLOAT") {
    entry->kind = ValueKind::kNumber;
    entry->range = check.find('[') == std::string::npos ? std::string() : check.substr(check.find('['));
  } else {
    entry->kind = ValueKind::kText;
  }
}

OptionEntry ReadOption(const CLI::Option& option) {
  OptionEntry entry;
  if (option.nonpositional()) {
    for (const std::string& name : option.get_snames()) entry.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) entry.names.push_back("--" + name);
  } else {
    entry.names.push_back(option.get_name(true));
  }
  if (option.get_items_expected_max() > 0) {
    ReadType(option, &entry);
    entry.preset = option.get_default_str();
    entry.repeats = option.get_expected_max() > 1;
  }
  entry.description = option.get_description();
  entry.required = option.get_required();
  return entry;
}

VerbEntry ReadVerb(const CLI::App& app, const std::vector<std::string>& path) {
  VerbEntry verb;
  verb.path = path;
  verb.description = app.get_description();
  verb.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // hidden, in --help as well
    (option->nonpositional() ? verb.options : verb.positionals).push_back(ReadOption(*option));
  }
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); })) {
    std::vector<std::string> below = path;
    below.push_back(sub->get_name());
    verb.verbs.push_back(ReadVerb(*sub, below));
  }
  return verb;
}

}  // namespace

VerbEntry ReadOptionTable(const CLI::App& app) { return ReadVerb(app, {}); }

std::vector<const VerbEntry*> AllVerbs(const VerbEntry& verb) {
  std::vector<const VerbEntry*> all{&verb};
  for (const VerbEntry& below : verb.verbs)
    for (const VerbEntry* one : AllVerbs(below)) all.push_back(one);
  return all;
}

std::string PathText(const VerbEntry& verb) {
  std::string text;
  for (const std::string& word : verb.path) text += " " + word;
  return text;
}

std::string FunctionName(const VerbEntry& verb) {
  std::string name = "sage_engine" + PathText(verb);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ' ' || c == '-'; }, '_');
  return name;
}

std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void AddManual(CLI::App& app, Action* action) {
  CLI::App* verb = app.add_subcommand("manual", "the man page, or what completes command lines in a shell");
  auto form = std::make_shared<std::string>();
  verb->add_option("form", *form, "man (a page for man -l), bash, zsh, fish")
      ->required()
      ->check(CLI::IsMember({"man", "bash", "zsh", "fish"}));
  verb->callback([&app, form, action] {
    *action = [&app, form] {
      const VerbEntry program = ReadOptionTable(app);
      fmt::print("{}", *form == "man"    ? ManPage(program, sage_version())
                       : *form == "bash" ? BashCompletion(program)
                       : *form == "zsh"  ? ZshCompletion(program)
                                         : FishCompletion(program));
      return kExitOk;
    };
  });
}

}  // namespace sage::tool
