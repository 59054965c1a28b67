// fish.cc: completion for fish: one `complete` a verb, option and positional, each under the verb it belongs to.
#include <fmt/format.h>

#include "manual/option_table.h"

namespace sage::tool {
namespace {

// In fish, ' and \ are escaped inside '...'.
std::string FishQuoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

// Verbs may stand behind options and their values, which are no verbs whatever they are called.
constexpr const char* kPath = R"(
# Whether the words before the cursor lead to exactly this verb.
function __sage_engine_at
    set -l path ''
    set -l takes (__sage_engine_takes '')
    set -l verbs (__sage_engine_verbs '')
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word $takes
            set skip 1
        else if contains -- $word $verbs
            set path "$path $word"
            set takes (__sage_engine_takes $path)
            set verbs (__sage_engine_verbs $path)
        end
    end
    test "$path" = "$argv[1]"
end

)";

std::string Complete(const VerbEntry& verb, const OptionEntry& option) {
  std::string out = "complete -c sage-engine -n " + FishQuoted("__sage_engine_at " + FishQuoted(PathText(verb)));
  for (const std::string& name : option.names)
    out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (option.kind == ValueKind::kText) out += " -r -F";
  if (option.kind == ValueKind::kNumber) out += " -x";
  if (option.kind == ValueKind::kChoice)
    out += " -x -a " + FishQuoted(fmt::format("{}", fmt::join(option.choices, " ")));
  return out + " -d " + FishQuoted(option.description) + "\n";
}

// function NAME: the words for each path.
std::string Table(const std::string& name, const std::vector<const VerbEntry*>& verbs,
                  std::vector<std::string> (*words)(const VerbEntry&)) {
  std::string out = "function " + name + "\n    switch $argv[1]\n";
  for (const VerbEntry* verb : verbs) {
    const std::vector<std::string> all = words(*verb);
    if (!all.empty())
      out += fmt::format("        case {}\n            printf '%s\\n' {}\n", FishQuoted(PathText(*verb)),
                         fmt::join(all, " "));
  }
  return out + "    end\nend\n";
}

std::vector<std::string> TakesValue(const VerbEntry& verb) {
  std::vector<std::string> names;
  for (const OptionEntry& option : verb.options)
    if (option.kind != ValueKind::kNone) names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

std::vector<std::string> Below(const VerbEntry& verb) {
  std::vector<std::string> names;
  for (const VerbEntry& below : verb.verbs) names.push_back(below.path.back());
  return names;
}

}  // namespace

std::string FishCompletion(const VerbEntry& program) {
  const std::vector<const VerbEntry*> verbs = AllVerbs(program);
  std::string out = "# Completion of sage-engine for fish; written by `sage-engine manual fish`.\n\n" +
                    Table("__sage_engine_takes", verbs, TakesValue) + Table("__sage_engine_verbs", verbs, Below) +
                    kPath + "complete -c sage-engine -f\n";
  for (const VerbEntry* verb : verbs) {
    const std::string at =
        "complete -c sage-engine -n " + FishQuoted("__sage_engine_at " + FishQuoted(PathText(*verb)));
    for (const VerbEntry& below : verb->verbs)
      out += at + " -a " + below.path.back() + " -d " + FishQuoted(below.description) + "\n";
    for (const OptionEntry& positional : verb->positionals) {
      if (positional.kind == ValueKind::kChoice)
        out += at + " -a " + FishQuoted(fmt::format("{}", fmt::join(positional.choices, " "))) + "\n";
      else
        out += at + " -F\n";
    }
    for (const OptionEntry& option : verb->options) out += Complete(*verb, option);
  }
  return out;
}

}  // namespace sage::tool
