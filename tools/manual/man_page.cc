// man_page.cc: the option table as a man(7) page.
#include <fmt/format.h>

#include <algorithm>

#include "manual/option_table.h"

namespace sage::tool {
namespace {

// Text that means itself: no requests, no escapes, hyphens that can be copied into a shell.
std::string Plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\n') {
      out += ' ';
    } else {
      if (out.empty() && (c == '.' || c == '\'')) out += "\\&";
      out += c;
    }
  }
  return out;
}

std::string Bold(const std::string& text) { return "\\fB" + Plain(text) + "\\fR"; }
std::string Slanted(const std::string& text) { return "\\fI" + Plain(text) + "\\fR"; }

std::string Join(const std::vector<std::string>& parts, const std::string& between) {
  return fmt::format("{}", fmt::join(parts, between));
}

// `-i`, `--input` TEXT
std::string Term(const OptionEntry& option, bool positional) {
  std::vector<std::string> names;
  for (const std::string& name : option.names) names.push_back(positional ? Slanted(name) : Bold(name));
  std::string term = Join(names, ", ");
  if (!positional && option.kind != ValueKind::kNone) term += " " + Slanted(option.value);
  return term;
}

std::string Describe(const OptionEntry& option) {
  std::string text = Plain(option.description);
  const auto add = [&text](const std::string& more) { text += (text.empty() ? "" : "; ") + more; };
  if (option.kind == ValueKind::kChoice) {
    std::vector<std::string> choices;
    for (const std::string& choice : option.choices) choices.push_back(Bold(choice));
    add("one of " + Join(choices, ", "));
  }
  if (!option.range.empty()) add("in " + Plain(option.range));
  if (!option.preset.empty()) add("default " + Bold(option.preset));
  if (option.required) add("required");
  return text;
}

std::string Entries(const std::vector<OptionEntry>& entries, bool positional) {
  std::string out;
  for (const OptionEntry& entry : entries) out += ".TP\n" + Term(entry, positional) + "\n" + Describe(entry) + "\n";
  return out;
}

std::string Usage(const VerbEntry& verb) {
  std::string line = Bold("sage-engine" + PathText(verb)) + " [" + Slanted("options") + "]";
  for (const OptionEntry& positional : verb.positionals) {
    const std::string name = Slanted(positional.names[0]) + (positional.repeats ? "..." : "");
    line += positional.required ? " " + name : " [" + name + "]";
  }
  if (!verb.verbs.empty()) line += " " + Slanted("verb");
  return line + "\n";
}

// The footer of --help: a line "Exit codes: 0 right, 1 ..." becomes a list, "First steps: a; b" examples.
std::string Footer(const std::string& footer) {
  std::string out;
  size_t begin = 0;
  while (begin < footer.size()) {
    const size_t end = std::min(footer.find('\n', begin), footer.size());
    const std::string line = footer.substr(begin, end - begin);
    begin = end + 1;
    const bool codes = line.starts_with("Exit codes: ");
    const std::string separator = codes ? ", " : "; ";
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    out += codes ? ".SH EXIT STATUS\n" : ".SH EXAMPLES\n";
    std::string rest = line.substr(colon + 2);
    if (!rest.empty() && rest.back() == '.') rest.pop_back();
    while (!rest.empty()) {
      const size_t cut = std::min(rest.find(separator), rest.size());
      const std::string item = rest.substr(0, cut);
      rest.erase(0, std::min(rest.size(), cut + separator.size()));
      const size_t blank = item.find(' ');
      if (codes && blank != std::string::npos)
        out += ".TP\n" + Bold(item.substr(0, blank)) + "\n" + Plain(item.substr(blank + 1)) + "\n";
      else
        out += ".PP\n.nf\n" + Plain(item) + "\n.fi\n";
    }
  }
  return out;
}

}  // namespace

std::string ManPage(const VerbEntry& program, const std::string& version) {
  // Without a date: the page is made by the build, and the same sources give the same bytes.
  std::string out = fmt::format(".TH SAGE\\-ENGINE 1 \"\" \"sage\\-engine {}\" \"User Commands\"\n", Plain(version));
  out += ".SH NAME\nsage\\-engine \\- run attention models through the best backend of this machine\n.SH SYNOPSIS\n";
  out += Usage(program);
  out += ".SH DESCRIPTION\n" + Plain(program.description) + "\n";
  out += ".SH OPTIONS\n" + Entries(program.options, false);
  out += ".SH VERBS\n";
  for (const VerbEntry& verb : program.verbs)
    out += ".TP\n" + Bold(PathText(verb).substr(1)) + "\n" + Plain(verb.description) + "\n";
  for (const VerbEntry* verb : AllVerbs(program)) {
    if (verb->path.empty()) continue;
    out += ".SH \"" + Plain("sage-engine" + PathText(*verb)) + "\"\n" + Usage(*verb) + ".PP\n" +
           Plain(verb->description) + "\n";
    for (const VerbEntry& below : verb->verbs)
      out += ".TP\n" + Bold(below.path.back()) + "\n" + Plain(below.description) + "\n";
    out += Entries(verb->positionals, true) + Entries(verb->options, false);
  }
  return out + Footer(program.footer);
}

}  // namespace sage::tool
