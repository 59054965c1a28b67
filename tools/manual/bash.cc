// bash.cc: completion for bash: a table of cases, and a function that walks the words before the cursor.
#include <fmt/format.h>

#include "manual/option_table.h"

namespace sage::tool {
namespace {

// Needs nothing of the package bash-completion. Bash splits --name=value into three words.
constexpr const char* kWalk = R"(
_sage_engine() {
  local current=${COMP_WORDS[COMP_CWORD]} path='' option='' word i
  local verbs options takes values
  COMPREPLY=()
  _sage_engine_table "$path"
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ -n $option ]]; then
      [[ $word == '=' ]] || option=''
    elif [[ $word == -* ]]; then
      [[ " $takes " == *" $word "* ]] && option=$word
    elif [[ " $verbs " == *" $word "* ]]; then
      path+=" $word"
      _sage_engine_table "$path"
    fi
  done
  if [[ -n $option ]]; then
    [[ $current == '=' ]] && current=''
    _sage_engine_values "$path $option"
  elif [[ $current == -* ]]; then
    values=$options
  elif [[ -n $verbs ]]; then
    values=$verbs
  else
    _sage_engine_values "$path"
  fi
  if [[ $values == '<file>' ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
  fi
}

complete -F _sage_engine sage-engine
)";

std::string Values(const OptionEntry& entry) {
  if (entry.kind == ValueKind::kChoice) return fmt::format("{}", fmt::join(entry.choices, " "));
  return entry.kind == ValueKind::kText ? "<file>" : "";
}

}  // namespace

std::string BashCompletion(const VerbEntry& program) {
  std::string table, values;
  for (const VerbEntry* verb : AllVerbs(program)) {
    std::vector<std::string> verbs, options, takes;
    for (const VerbEntry& below : verb->verbs) verbs.push_back(below.path.back());
    for (const OptionEntry& option : verb->options) {
      for (const std::string& name : option.names) {
        options.push_back(name);
        if (option.kind == ValueKind::kNone) continue;
        takes.push_back(name);
        if (option.kind != ValueKind::kNumber)
          values += fmt::format("    {}) values={} ;;\n", Quoted(PathText(*verb) + " " + name), Quoted(Values(option)));
      }
    }
    for (const OptionEntry& positional : verb->positionals)
      if (positional.kind != ValueKind::kNumber)
        values += fmt::format("    {}) values={} ;;\n", Quoted(PathText(*verb)), Quoted(Values(positional)));
    table += fmt::format("    {})\n      verbs={}\n      options={}\n      takes={}\n      ;;\n",
                         Quoted(PathText(*verb)), Quoted(fmt::format("{}", fmt::join(verbs, " "))),
                         Quoted(fmt::format("{}", fmt::join(options, " "))),
                         Quoted(fmt::format("{}", fmt::join(takes, " "))));
  }
  return "# Completion of sage-engine for bash; written by `sage-engine manual bash`.\n\n"
         "_sage_engine_table() {\n  case $1 in\n" +
         table + "  esac\n}\n\n_sage_engine_values() {\n  values=''\n  case $1 in\n" + values + "  esac\n}\n" + kWalk;
}

}  // namespace sage::tool
