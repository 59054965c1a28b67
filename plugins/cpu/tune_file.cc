// tune_file.cc: see tune_file.h.
#include "tune_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace sage::cpu {
namespace {

// The number goes up when what a choice means changes: files of another are of another version.
constexpr std::string_view kHead = "{\"format\": \"sage-engine tune-cpu 1\",\n\"choices\": [\n";
constexpr std::string_view kAnyHead = "{\"format\": \"sage-engine tune-cpu ";
constexpr std::string_view kTail = "]}\n";

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string Reason(int error) {
  char buffer[128];
  return strerror_r(error, buffer, sizeof buffer);
}

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

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// Those of folder that are missing, from the root on. What fails shows when the folder is opened.
void MakeFolders(const std::string& folder) {
  for (size_t slash = folder.find('/', 1);; slash = folder.find('/', slash + 1)) {
    mkdir(folder.substr(0, slash).c_str(), 0700);
    if (slash == std::string::npos) return;
  }
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
  const Descriptor file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0 && (errno == ENOENT || errno == ENOTDIR)) return {};
  if (file.get() < 0) return ignored(errno == ELOOP ? "it is a symbolic link" : Reason(errno));
  struct stat about {};
  if (fstat(file.get(), &about) != 0) return ignored(Reason(errno));
  if (!S_ISREG(about.st_mode)) return ignored("it is not a regular file");
  if (about.st_uid != geteuid() && about.st_uid != 0) return ignored("it belongs to another user");
  if (about.st_size > static_cast<off_t>(kMostTuneBytes))
    return ignored("it has " + std::to_string(about.st_size) + " bytes, at most " + std::to_string(kMostTuneBytes) +
                   " are expected");
  std::string text(kMostTuneBytes + 1, '\0');  // it may grow meanwhile
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ignored(Reason(errno));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  const std::string_view whole(text.data(), size);
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
  const size_t slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || slash + 1 == path.size())
    return failed("an absolute path of a file is expected");
  const std::string folder = slash == 0 ? "/" : path.substr(0, slash), name = path.substr(slash + 1);
  MakeFolders(folder);
  const Descriptor at(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (at.get() < 0) return failed(Reason(errno));
  struct stat about {};
  if (fstatat(at.get(), name.c_str(), &about, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(about.st_mode))
    return failed("there is something that is not a regular file");
  // So that two who read, add and write do not lose each other's. Nobody is waited for longer than this: without the
  // lock a choice may be lost, which costs one measurement.
  for (int attempt = 0; attempt < 20 && flock(at.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; ++attempt)
    usleep(5000);

  std::string why;  // what was damaged is replaced
  std::vector<TunedTiles> choices = ReadTuneFile(path, &why);
  std::erase_if(choices, [&](const TunedTiles& other) {
    return other.machine == choice.machine && other.problem == choice.problem;
  });
  if (choices.size() >= kMostTuned)
    choices.erase(choices.begin(), choices.begin() + static_cast<std::ptrdiff_t>(choices.size() - kMostTuned + 1));
  choices.push_back(choice);

  std::string temporary = path + ".XXXXXX";
  const Descriptor out(mkostemp(temporary.data(), O_CLOEXEC));
  if (out.get() < 0) return failed(Reason(errno));
  const bool written = WriteAll(out.get(), Format(choices)) && fsync(out.get()) == 0;
  if (written && rename(temporary.c_str(), path.c_str()) == 0) return true;
  const int error = errno;
  unlink(temporary.c_str());
  return failed(Reason(error));
}

}  // namespace sage::cpu
