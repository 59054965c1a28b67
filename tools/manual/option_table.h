// option_table.h: what --help prints, as data: verbs, options, values. Read off the parser itself, so that the man page
// and the shells' completions say what the tool takes, by construction.
#ifndef SAGE_TOOLS_MANUAL_OPTION_TABLE_H_
#define SAGE_TOOLS_MANUAL_OPTION_TABLE_H_

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace sage::tool {

// What may stand behind an option, or at a position.
enum class ValueKind { kNone, kChoice, kNumber, kText };  // kText: a file's name, most of the time

struct OptionEntry {
  std::vector<std::string> names;  // "-i", "--input"; of a positional its name alone
  ValueKind kind = ValueKind::kNone;
  std::string value;                 // how --help calls it: TEXT, INT, FILE
  std::string range;                 // what a number is checked for; may be empty
  std::vector<std::string> choices;  // of kChoice
  std::string preset;                // the default, where --help shows one
  std::string description;
  bool required = false;
  bool repeats = false;
};

struct VerbEntry {
  std::vector<std::string> path;  // {"plugin", "show"}; empty: the program itself
  std::string description;
  std::string footer;  // of the program
  std::vector<OptionEntry> options, positionals;
  std::vector<VerbEntry> verbs;
};

// Of the whole program.
VerbEntry ReadOptionTable(const CLI::App& app);

// verb and all below it, parents first.
std::vector<const VerbEntry*> AllVerbs(const VerbEntry& verb);

// " plugin show": a blank before each word.
std::string PathText(const VerbEntry& verb);

// "sage_engine_plugin_show": for names of functions.
std::string FunctionName(const VerbEntry& verb);

// The text in '...', for a POSIX shell, zsh included.
std::string Quoted(const std::string& text);

// The forms, each a whole file.
std::string ManPage(const VerbEntry& program, const std::string& version);
std::string BashCompletion(const VerbEntry& program);
std::string ZshCompletion(const VerbEntry& program);
std::string FishCompletion(const VerbEntry& program);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_MANUAL_OPTION_TABLE_H_
