// files.cc: see files.h.
#include "files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "common.h"
#include "exit_code.h"

namespace sage::tool {
namespace {

// 0, or the errno of what went wrong.
int WriteAll(int descriptor, const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = write(descriptor, bytes.data() + done, bytes.size() - done);
    if (count > 0)
      done += static_cast<size_t>(count);
    else if (count < 0 && errno != EINTR)
      return errno;
  }
  return 0;
}

[[noreturn]] void CannotWrite(const std::string& path, int reason) {
  throw Failure(kExitBadFile, fmt::format("{}: cannot be written: {}", path, std::strerror(reason)));
}

// Where a symbolic link leads, as far as it can be followed, so that a rename does not replace the link itself.
std::string Target(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code problem;
  fs::path target = path;
  for (int links = 0; links < 40 && fs::is_symlink(target, problem); ++links) {
    const fs::path next = fs::read_symlink(target, problem);
    if (problem) return path;
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  return target.string();
}

}  // namespace

std::string Shown(const std::string& path) { return path == "-" ? "stdin" : path; }

std::string AbsolutePath(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr)
    throw Failure(kExitBadFile, fmt::format("{}: {}", path, std::strerror(errno)));
  return resolved;
}

int OpenToRead(const std::string& path) {
  if (path == "-") return STDIN_FILENO;
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Failure(kExitBadFile, fmt::format("{}: {}", path, std::strerror(errno)));
  struct stat info {};
  if (fstat(descriptor, &info) == 0 && S_ISDIR(info.st_mode)) {
    close(descriptor);
    throw Failure(kExitBadFile, fmt::format("{}: is a folder, not a file", path));
  }
  return descriptor;
}

void CloseRead(int descriptor) {
  if (descriptor != STDIN_FILENO) close(descriptor);
}

uint64_t SizeOfFile(int descriptor) {
  struct stat info {};
  return fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) ? static_cast<uint64_t>(info.st_size) : 0;
}

std::string ReadFile(const std::string& path, uint64_t limit_bytes, std::string_view magic) {
  const int descriptor = OpenToRead(path);
  std::string content;
  char chunk[65536];
  ssize_t count = 0;
  while ((count = read(descriptor, chunk, sizeof chunk)) != 0) {
    if (count < 0 && errno == EINTR) {
      if (!Interrupted()) continue;
      CloseRead(descriptor);
      throw Failure(kExitInterrupted, fmt::format("{}: interrupted while it was read", Shown(path)));
    }
    if (count < 0) {
      const int reason = errno;
      CloseRead(descriptor);
      throw Failure(kExitBadFile, fmt::format("{}: {}", Shown(path), std::strerror(reason)));
    }
    content.append(chunk, static_cast<size_t>(count));
    if (content.size() >= magic.size() && !content.starts_with(magic)) break;
    if (content.size() > limit_bytes) {
      CloseRead(descriptor);
      throw Failure(kExitBadFile, fmt::format("{}: larger than {}, the most that is read", Shown(path),
                                              Bytes(static_cast<double>(limit_bytes))));
    }
  }
  CloseRead(descriptor);
  return content;
}

bool NestsDeeper(std::string_view json, size_t limit) {
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > limit) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

void WriteFileAtomically(const std::string& path, const std::string& bytes) {
  const std::string target = Target(path);
  struct stat old {};
  const bool exists = stat(target.c_str(), &old) == 0;
  if (exists && S_ISDIR(old.st_mode)) CannotWrite(path, EISDIR);
  if (exists && !S_ISREG(old.st_mode)) {
    const int descriptor = open(target.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) CannotWrite(path, errno);
    int reason = WriteAll(descriptor, bytes);
    if (close(descriptor) != 0 && reason == 0) reason = errno;
    if (reason != 0) CannotWrite(path, reason);
    return;
  }
  std::string temporary = target + ".XXXXXX";
  const int descriptor = mkstemp(temporary.data());
  if (descriptor < 0) CannotWrite(path, errno);
  int reason = WriteAll(descriptor, bytes);
  // mkstemp's 0600 would surprise whoever else reads the results: what it had, or what any new file has.
  const mode_t mask = umask(0);
  umask(mask);
  const mode_t mode = exists ? old.st_mode & 0777 : 0666 & ~mask;
  if (reason == 0 && (fchmod(descriptor, mode) != 0 || fsync(descriptor) != 0)) reason = errno;
  if (close(descriptor) != 0 && reason == 0) reason = errno;
  if (reason == 0 && std::rename(temporary.c_str(), target.c_str()) != 0) reason = errno;
  if (reason != 0) {
    unlink(temporary.c_str());
    CannotWrite(path, reason);
  }
}

void RequireWritable(const std::string& path) {
  const std::filesystem::path target = Target(path);
  struct stat old {};
  if (stat(target.c_str(), &old) == 0) {
    if (S_ISDIR(old.st_mode)) CannotWrite(path, EISDIR);
    if (!S_ISREG(old.st_mode)) return;
  }
  const std::string folder = target.has_parent_path() ? target.parent_path().string() : ".";
  if (access(folder.c_str(), W_OK | X_OK) != 0) CannotWrite(path, errno);
}

}  // namespace sage::tool
