// test_manual.cc: the man page and the shells' completions: whole, accepted by those who read them, and at work.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tools/tool_runner.h"

using sage::test::RunShell;
using sage::test::RunTool;
using sage::test::TempFolder;
using sage::test::ToolResult;

namespace {

// What --help says of one verb.
struct Verb {
  std::vector<std::string> path;
  std::set<std::string> options, verbs;
  std::string positional;  // the first one's name
};

// The path, each word after `before`: " plugin show", "_plugin_show".
std::string Path(const Verb& verb, const std::string& before) {
  std::string text;
  for (const std::string& word : verb.path) text += before + word;
  return text;
}

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Verb ReadHelp(const std::vector<std::string>& path) {
  std::vector<std::string> arguments = path;
  arguments.push_back("--help");
  const ToolResult help = RunTool(arguments);
  REQUIRE(help.code == 0);
  Verb verb{path, {}, {}, {}};
  std::istringstream lines(help.out);
  std::string section;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line[0] != ' ' && line.back() == ':') section = line;
    if (line.size() < 3 || line.compare(0, 2, "  ") != 0 || line[2] == ' ') continue;
    const std::string first = line.substr(2, line.find(' ', 2) - 2);
    if (section == "Subcommands:") verb.verbs.insert(first);
    if (section == "Positionals:" && verb.positional.empty()) verb.positional = first;
    if (section != "Options:") continue;
    std::istringstream names(first);
    for (std::string name; std::getline(names, name, ',');) verb.options.insert(name);
  }
  return verb;
}

std::vector<Verb> AllOfHelp() {
  std::vector<Verb> all{ReadHelp({})};
  for (size_t i = 0; i < all.size(); ++i)
    for (const std::string& below : std::set<std::string>(all[i].verbs)) {
      std::vector<std::string> path = all[i].path;
      path.push_back(below);
      all.push_back(ReadHelp(path));
    }
  return all;
}

std::set<std::string> Words(const std::string& text) {
  std::istringstream in(text);
  std::set<std::string> words;
  for (std::string word; in >> word;) words.insert(word);
  return words;
}

bool Has(const std::string& program) { return RunShell("command -v " + program, TempFolder()).code == 0; }

// The text between two marks; the rest of it where the second is not there.
std::string Between(const std::string& text, const std::string& begin, const std::string& end) {
  const size_t at = text.find(begin);
  if (at == std::string::npos) return {};
  const size_t from = at + begin.size();
  return text.substr(from, text.find(end, from) - from);
}

// A bash in which the completions are loaded; `complete WORDS...` prints what the last one may become.
std::string Bash(const std::string& script, const TempFolder& folder) {
  const ToolResult result = RunShell(R"(
source <($TOOL manual bash)
ask() { COMP_WORDS=(sage-engine "$@"); COMP_CWORD=$#; COMPREPLY=(); _sage_engine; printf '%s\n' "${COMPREPLY[@]}"; }
cd $DIR
)" + script,
                                     folder);
  CHECK(result.code == 0);
  CHECK(result.err.empty());
  return result.out;
}

// zsh at a terminal of its own: types each argument and the tab key, and shows between << and >> what comes of it.
const char* kAskZsh = R"(
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1='' fpath=($PWD \$fpath); autoload -U compinit; compinit -u -d $PWD/dump; bindkey '^I' complete-word"
zpty -w z 'show() { print -r -- "<<$BUFFER>>"; BUFFER=; zle .accept-line }; zle -N show; bindkey "^G" show'
for line in "$@"; do zpty -w -n z "$line"$'\t\C-g'; done
zpty -w z exit
while zpty -r z out; do text+=$out; done 2>/dev/null
print -r -- $text
)";

}  // namespace

TEST_CASE("manual: every verb and option of --help is in the man page, and in each completion under its verb") {
  const std::vector<Verb> all = AllOfHelp();
  REQUIRE(all.size() > 12);
  const std::string man = RunTool({"manual", "man"}).out + ".SH \"", bash = RunTool({"manual", "bash"}).out,
                    zsh = RunTool({"manual", "zsh"}).out, fish = RunTool({"manual", "fish"}).out;
  size_t options = 0;
  for (const Verb& verb : all) {
    const std::string path = Path(verb, " ");
    CAPTURE(path);
    std::string section = Between(man, ".SH \"sage\\-engine" + path + "\"\n", ".SH \"");
    if (verb.path.empty()) section = Between(man, ".SH OPTIONS\n", ".SH \"");
    const std::string words = Between(bash, "    '" + path + "')\n", ";;");
    const std::string function = Between(zsh, "\n_sage_engine" + Path(verb, "_") + "() {\n", "\n}\n");
    const std::string at = "-n '__sage_engine_at \\'" + path + "\\''";
    for (const std::string& option : verb.options) {
      CAPTURE(option);
      ++options;
      std::string escaped;
      for (const char c : option) escaped += c == '-' ? "\\-" : std::string(1, c);
      CHECK(Says(section, "\\fB" + escaped + "\\fR"));
      CHECK(Words(Between(words, "options='", "'")).count(option) == 1);
      CHECK((Says(function, option + "[") || Says(function, option + "=[") || Says(function, option + "+[")));
      std::istringstream lines(fish);
      bool found = false;
      const std::string in_fish = option.rfind("--", 0) == 0 ? " -l " + option.substr(2) : " -s " + option.substr(1);
      for (std::string line; std::getline(lines, line);)
        found = found || (Says(line, at) && Says(line + " ", in_fish + " "));
      CHECK(found);
    }
    for (const std::string& below : verb.verbs) {
      CAPTURE(below);
      CHECK(Says(section, "\\fB" + below + "\\fR"));
      CHECK(Words(Between(words, "verbs='", "'")).count(below) == 1);
      CHECK(Says(function, "'" + below + ":"));
      CHECK(Says(fish, at + " -a " + below + " "));
    }
    if (!verb.positional.empty()) CHECK(Says(section, "\\fI" + verb.positional + "\\fR"));
  }
  CHECK(options > 80);
}

TEST_CASE("manual: the man page is one, without a warning; its sections and values are there") {
  const TempFolder folder;
  const std::string man = RunTool({"manual", "man"}).out;
  for (const char* part : {".SH NAME\nsage\\-engine \\- ", ".SH SYNOPSIS\n", ".SH EXIT STATUS\n.TP\n\\fB0\\fR\nright\n",
                           "interrupted\n", ".SH EXAMPLES\n", "one of \\fBtext\\fR, \\fBmd\\fR, \\fBhtml\\fR",
                           "in [1 \\- 256]", "default \\fB0.5\\fR", "required"})
    CHECK_MESSAGE(Says(man, part), part);
  CHECK(RunTool({"manual", "man"}).out == man);  // no clock in it
  folder.Write("page.1", man);
  if (Has("groff")) {
    const ToolResult set = RunShell("groff -man -ww -Tutf8 $DIR/page.1 | head -3", folder);
    CHECK(set.err.empty());
    CHECK(Says(set.out, "User Commands"));
  } else if (Has("mandoc")) {
    CHECK(RunShell("mandoc -T lint -W warning $DIR/page.1 | grep -v 'missing date'", folder).out.empty());
  } else {
    MESSAGE("neither groff nor mandoc is here");
  }
}

TEST_CASE("manual: bash completes verbs, options, their values and files") {
  const TempFolder folder;
  folder.Write("a model.json", "{}");
  folder.Write("b.fbs", "");
  const auto ask = [&](const std::string& words) { return Bash("ask " + words, folder); };
  CHECK(Says(Bash("complete -p sage-engine", folder), "-F _sage_engine sage-engine"));
  for (const Verb& verb : AllOfHelp()) {
    std::string path;
    for (const std::string& word : verb.path) path += word + " ";
    CAPTURE(path);
    CHECK(Words(ask(path + "-")) == verb.options);
    if (!verb.verbs.empty()) CHECK(Words(ask(path + "''")) == verb.verbs);
  }
  CHECK(ask("pl") == "plugin\n");
  CHECK(ask("plugin sh") == "show\n");
  CHECK(ask("bench --format ''") == "text\nmd\nhtml\ncsv\njson\n");
  CHECK(ask("bench --format h") == "html\n");
  CHECK(ask("bench --format = h") == "html\n");  // as bash splits --format=h
  CHECK(ask("bench --format =") == "text\nmd\nhtml\ncsv\njson\n");
  CHECK(ask("bench --threads ''") == "\n");  // a number
  CHECK(ask("run --ticks b") == "b.fbs\n");
  CHECK(ask("run --ticks plugin --bac") == "--backend\n");  // a value is no verb
  CHECK(ask("run --ticks = b.fbs --bac") == "--backend\n");
  CHECK(ask("run a") == "a model.json\n");
  CHECK(ask("manual ''") == "man\nbash\nzsh\nfish\n");
  CHECK(ask("nonsense") == "\n");
}

TEST_CASE("manual: zsh and fish read their completions, where they are installed") {
  const TempFolder folder;
  folder.Write("_sage-engine", RunTool({"manual", "zsh"}).out);
  folder.Write("sage-engine.fish", RunTool({"manual", "fish"}).out);
  folder.Write("b.fbs", "");
  if (Has("zsh")) {
    CHECK(RunShell("zsh -n $DIR/_sage-engine", folder).code == 0);
    folder.Write("ask.zsh", kAskZsh);
    const ToolResult asked = RunShell(
        "cd $DIR; zsh -f ask.zsh 'sage-engine plu' 'sage-engine plugin sh' 'sage-engine bench --format ht' "
        "'sage-engine bench "
        "--format=ht' 'sage-engine run --ticks plugin --bac' 'sage-engine run b.f' | grep -o '<<[^$>]*>>'",
        folder);
    CHECK(asked.out ==
          "<<sage-engine plugin >>\n<<sage-engine plugin show >>\n<<sage-engine bench --format html >>\n"
          "<<sage-engine bench --format=html >>\n<<sage-engine run --ticks plugin --backend=>>\n"
          "<<sage-engine run b.fbs >>\n");
  } else {
    MESSAGE("zsh is not here");
  }
  if (!Has("fish")) {
    MESSAGE("fish is not here");
    return;
  }
  CHECK(RunShell("fish -n $DIR/sage-engine.fish", folder).code == 0);
  const auto ask = [&](const std::string& line) {
    const ToolResult result = RunShell(
        "cd $DIR; HOME=$DIR fish -N -c 'source ./sage-engine.fish; complete -C \"sage-engine " + line + "\"' | cut -f1",
        folder);
    CHECK(result.err.empty());
    return Words(result.out);
  };
  CHECK(ask("pl") == std::set<std::string>{"plugin"});
  CHECK(ask("plugin ") == ReadHelp({"plugin"}).verbs);
  CHECK(ask("bench --format ") == std::set<std::string>{"text", "md", "html", "csv", "json"});
  CHECK(ask("run --ticks plugin --bac") == std::set<std::string>{"--backend"});
  CHECK(ask("run b").count("b.fbs") == 1);
  CHECK(ask("manual ") == std::set<std::string>{"man", "bash", "zsh", "fish"});
}
