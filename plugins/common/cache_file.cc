// cache_file.cc: see the header.
#include "common/cache_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace sage::plugins {
namespace {

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

bool ReadCacheFile(const std::string& path, size_t most_bytes, std::string* text, std::string* why) {
  why->clear();
  const auto ignored = [&](const std::string& reason) { return *why = reason, false; };
  const Descriptor file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0 && (errno == ENOENT || errno == ENOTDIR)) return false;
  if (file.get() < 0) return ignored(errno == ELOOP ? "it is a symbolic link" : Reason(errno));
  struct stat about {};
  if (fstat(file.get(), &about) != 0) return ignored(Reason(errno));
  if (!S_ISREG(about.st_mode)) return ignored("it is not a regular file");
  if (about.st_uid != geteuid() && about.st_uid != 0) return ignored("it belongs to another user");
  if ((about.st_mode & (S_IWGRP | S_IWOTH)) != 0) return ignored("others than its owner may write to it");
  if (about.st_size > static_cast<off_t>(most_bytes))
    return ignored("it has " + std::to_string(about.st_size) + " bytes, at most " + std::to_string(most_bytes) +
                   " are expected");
  text->assign(most_bytes + 1, '\0');  // it may grow meanwhile
  size_t size = 0;
  while (size < text->size()) {
    const ssize_t got = read(file.get(), text->data() + size, text->size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ignored(Reason(errno));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text->resize(size);
  return true;
}

CacheFolder::~CacheFolder() {
  if (fd_ >= 0) close(fd_);
}

bool CacheFolder::Open(const std::string& path, std::string* why) {
  why->clear();
  const auto failed = [&](const std::string& reason) { return *why = reason, false; };
  const size_t slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || slash + 1 == path.size())
    return failed("an absolute path of a file is expected");
  path_ = path;
  const std::string folder = slash == 0 ? "/" : path.substr(0, slash), name = path.substr(slash + 1);
  MakeFolders(folder);
  fd_ = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0) return failed(Reason(errno));
  struct stat about {};
  if (fstatat(fd_, name.c_str(), &about, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(about.st_mode))
    return failed("there is something that is not a regular file");
  // So that two who read, add and write do not lose each other's. Nobody is waited for longer than this: without the
  // lock what one of them wrote may be lost, which costs doing it again.
  for (int attempt = 0; attempt < 20 && flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; ++attempt)
    usleep(5000);
  return true;
}

bool CacheFolder::Replace(std::string_view text, std::string* why) const {
  std::string temporary = path_ + ".XXXXXX";
  const Descriptor out(mkostemp(temporary.data(), O_CLOEXEC));
  if (out.get() < 0) return *why = Reason(errno), false;
  const bool written = WriteAll(out.get(), text) && fsync(out.get()) == 0;
  if (written && rename(temporary.c_str(), path_.c_str()) == 0) return true;
  const int error = errno;
  unlink(temporary.c_str());
  return *why = Reason(error), false;
}

}  // namespace sage::plugins
