// zsh.cc: completion for zsh: one function a verb, each a call of _arguments.
#include <fmt/format.h>

#include "manual/option_table.h"

namespace sage::tool {
namespace {

// Text inside [...] or between colons of a specification.
std::string Specified(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string Value(const OptionEntry& entry) {
  if (entry.kind == ValueKind::kNone) return "";
  std::string action = " ";  // nothing to offer
  if (entry.kind == ValueKind::kChoice) action = fmt::format("({})", fmt::join(entry.choices, " "));
  if (entry.kind == ValueKind::kText) action = "_files";
  return ":" + Specified(entry.value) + ":" + action;
}

// '(-i --input)'{-i+,--input=}'[text]:TEXT:_files', a specification for each name.
std::string Specifications(const OptionEntry& option) {
  std::string out;
  for (const std::string& name : option.names) {
    const bool is_long = name.starts_with("--");
    const std::string exclude = fmt::format("{}", fmt::join(option.names, " "));
    const std::string sign = option.kind == ValueKind::kNone ? "" : is_long ? "=" : "+";
    out += "    " +
           Quoted((option.repeats ? "*" : "(" + exclude + ")") + name + sign + "[" + Specified(option.description) +
                  "]" + Value(option)) +
           " \\\n";
  }
  return out;
}

std::string Function(const VerbEntry& verb) {
  std::string out = fmt::format("_{}() {{\n", FunctionName(verb));
  if (!verb.verbs.empty()) out += "  local context state state_descr line\n  typeset -A opt_args\n";
  out += verb.verbs.empty() ? "  _arguments -s -S \\\n" : "  _arguments -s -S -C \\\n";
  for (const OptionEntry& option : verb.options) out += Specifications(option);
  int position = 0;
  for (const OptionEntry& positional : verb.positionals) {
    const std::string where = positional.repeats ? "*" : std::to_string(++position);
    out += "    " + Quoted(where + Value(positional)) + " \\\n";
  }
  if (verb.verbs.empty()) return out + "    && return\n}\n\n";
  out +=
      "    '1:verb:->verb' '*::argument:->argument' && return\n  case $state in\n    verb)\n      local -a verbs\n"
      "      verbs=(\n";
  for (const VerbEntry& below : verb.verbs)
    out += "        " + Quoted(below.path.back() + ":" + Specified(below.description)) + "\n";
  out += "      )\n      _describe -t verbs verb verbs\n      ;;\n    argument)\n      case $line[1] in\n";
  for (const VerbEntry& below : verb.verbs)
    out += fmt::format("        {}) _{} ;;\n", below.path.back(), FunctionName(below));
  return out + "      esac\n      ;;\n  esac\n}\n\n";
}

}  // namespace

std::string ZshCompletion(const VerbEntry& program) {
  std::string out =
      "#compdef sage-engine\n# Completion of sage-engine for zsh; written by `sage-engine manual zsh`.\n\n";
  for (const VerbEntry* verb : AllVerbs(program)) out += Function(*verb);
  // Read as a function of fpath at the first completion, or sourced.
  return out +
         "if [[ $funcstack[1] == _sage-engine ]]; then\n  _sage_engine \"$@\"\nelse\n"
         "  compdef _sage_engine sage-engine\nfi\n";
}

}  // namespace sage::tool
