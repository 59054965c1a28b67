// tune_file.cc: see tune_file.h.
#include "tune_file.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string_view>

#include "common/cache_file.h"

namespace sage::cpu {
namespace {

// The number goes up when what a choice means changes: files of another are of another version.
constexpr std::string_view kHead = "{\"format\": \"sage-engine tune-cpu 1\",\n\"choices\": [\n";
constexpr std::string_view kAnyHead = "{\"format\": \"sage-engine tune-cpu ";
constexpr std::string_view kTail = "]}\n";

// Reads the text of a file from its front.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}
  bool Take(std::string_view literal) {
    if (!rest_.starts_with(literal)) return false;
    rest_.remove_prefix(literal.size());
    return true;
  }
  bool Name(std::string* out) {
    const size_t end = rest_.find('"');
    if (end == std::string_view::npos || end == 0) return false;
    *out = rest_.substr(0, end);
    if (TuneName(*out) != *out) return false;
    rest_.remove_prefix(end);
    return true;
  }
  template <class Number>
  bool Within(Number least, Number most, Number* out) {
    const auto [stop, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), *out);
    if (error != std::errc() || !(*out >= least && *out <= most)) return false;
    rest_.remove_prefix(static_cast<size_t>(stop - rest_.data()));
    return true;
  }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

bool Parse(std::string_view text, std::vector<TunedTiles>* choices) {
  Scanner scan(text);
  if (!scan.Take(kHead)) return false;
  if (scan.Take(kTail)) return scan.done();
  while (choices->size() < kMostTuned) {
    TunedTiles choice;
    const bool whole = scan.Take("{\"machine\": \"") && scan.Name(&choice.machine) &&
                       scan.Take("\", \"problem\": \"") && scan.Name(&choice.problem) && scan.Take("\", \"rows\": ") &&
                       scan.Within<int64_t>(1, kMostTunedTile, &choice.rows) && scan.Take(", \"keys\": ") &&
                       scan.Within<int64_t>(1, kMostTunedTile, &choice.keys) && scan.Take(", \"gain\": ") &&
                       scan.Within<double>(1, 1000, &choice.gain) && scan.Take("}");
    if (!whole) return false;
    choices->push_back(std::move(choice));
    if (!scan.Take(",\n")) return scan.Take("\n") && scan.Take(kTail) && scan.done();
  }
  return false;
}

std::string Format(const std::vector<TunedTiles>& choices) {
  std::string text(kHead);
  for (const TunedTiles& choice : choices) {
    char numbers[96];
    std::snprintf(numbers, sizeof numbers, "\", \"rows\": %lld, \"keys\": %lld, \"gain\": %.4f}",
                  static_cast<long long>(choice.rows), static_cast<long long>(choice.keys), choice.gain);
    text += &choice == choices.data() ? "" : ",\n";
    text += "{\"machine\": \"" + choice.machine + "\", \"problem\": \"" + choice.problem + numbers;
  }
  text += choices.empty() ? "" : "\n";
  return text.append(kTail);
}

}  // namespace

std::string TuneName(const std::string& text) {
  std::string name = text.substr(0, kMostTuneName);
  for (char& c : name)
    if (c < ' ' || c > '~' || c == '"' || c == '\\') c = '?';
  return name;
}

std::vector<TunedTiles> ReadTuneFile(const std::string& path, std::string* note) {
  note->clear();
  const auto ignored = [&](const std::string& why) {
    *note = "tuned tiles: " + path + " is ignored: " + why;
    return std::vector<TunedTiles>();
  };
  std::string text, why;
  if (!plugins::ReadCacheFile(path, kMostTuneBytes, &text, &why)) {
    if (why.empty()) return {};
    return ignored(why);
  }
  const std::string_view whole(text);
  if (!whole.starts_with(kHead) && whole.starts_with(kAnyHead)) return ignored("it is of another version");
  std::vector<TunedTiles> choices;
  if (!Parse(whole, &choices)) return ignored("it is damaged; the next choice that is stored replaces it");
  return choices;
}

bool StoreTuned(const std::string& path, const TunedTiles& choice, std::string* note) {
  note->clear();
  const auto failed = [&](const std::string& why) {
    *note = "tuned tiles: " + path + " is not written: " + why;
    return false;
  };
  std::string why;
  plugins::CacheFolder folder;
  if (!folder.Open(path, &why)) return failed(why);
  std::vector<TunedTiles> choices = ReadTuneFile(path, &why);  // what was damaged is replaced
  std::erase_if(choices, [&](const TunedTiles& other) {
    return other.machine == choice.machine && other.problem == choice.problem;
  });
  if (choices.size() >= kMostTuned)
    choices.erase(choices.begin(), choices.begin() + static_cast<std::ptrdiff_t>(choices.size() - kMostTuned + 1));
  choices.push_back(choice);

  return folder.Replace(Format(choices), &why) || failed(why);
}

}  // namespace sage::cpu
