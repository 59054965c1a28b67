// plugin_file.cc: the checks before dlopen, and dlopen itself.
#include "backend/plugin_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "fmt/format.h"

namespace sage {
namespace {

Status SystemRefusal(const std::string& what, const std::string& path) {
  const int error = errno;
  char buffer[128];
  return Status(error == ENOENT || error == ENOTDIR ? SAGE_E_NOT_FOUND : SAGE_E_IO,
                fmt::format("{} {}: {}", what, path, strerror_r(error, buffer, sizeof buffer)), error);
}

// The group may write, but it is nobody else's: what a umask of 002 leaves where every user has a group of their own.
bool WritableByOthers(const struct stat& info) {
  if ((info.st_mode & S_IWOTH) != 0) return true;
  if ((info.st_mode & S_IWGRP) == 0) return false;
  return info.st_uid != geteuid() || !IsPrivateGroup(info.st_uid, info.st_gid);
}

// The folder that holds a resolved path; "" above "/".
std::string ParentOf(const std::string& path) {
  if (path == "/") return "";
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

// getpwuid_r and getgrgid_r, which want more room until they have enough; null where there is no such entry.
template <typename Entry, typename Id>
const Entry* Look(int (*ask)(Id, Entry*, char*, size_t, Entry**), Id id, Entry* entry, std::vector<char>* room) {
  constexpr size_t kMostBytes = 1 << 20;
  for (room->resize(1024); room->size() <= kMostBytes; room->resize(2 * room->size())) {
    Entry* found = nullptr;
    const int error = ask(id, entry, room->data(), room->size(), &found);
    if (error != ERANGE && error != EINTR) return found;
  }
  return nullptr;
}

}  // namespace

bool IsPrivateGroup(uid_t user, gid_t group) {
  if (user == 0) return false;  // nobody shares root's files by accident
  passwd password{};
  struct group members {};
  std::vector<char> password_room, group_room;
  if (Look(getpwuid_r, user, &password, &password_room) == nullptr || password.pw_gid != group ||
      Look(getgrgid_r, group, &members, &group_room) == nullptr || strcmp(members.gr_name, password.pw_name) != 0)
    return false;
  for (char** member = members.gr_mem; *member != nullptr; ++member)
    if (strcmp(*member, password.pw_name) != 0) return false;
  return true;
}

std::string FolderRefusal(const std::string& resolved_folder) {
  for (std::string folder = resolved_folder; !folder.empty(); folder = ParentOf(folder)) {
    struct stat info {};
    if (lstat(folder.c_str(), &info) != 0) {
      char buffer[128];
      return fmt::format("{}: {}", folder, strerror_r(errno, buffer, sizeof buffer));
    }
    if (!S_ISDIR(info.st_mode)) return fmt::format("{} is not a folder", folder);
    if (WritableByOthers(info) && (info.st_mode & S_ISVTX) == 0)
      return fmt::format(
          "{} may be written by its group or by everyone, who could put another library there; "
          "chmod go-w {}",
          folder, folder);
  }
  return {};
}

Result<CheckedFile> OpenPluginFile(const std::string& path, bool explicitly_named) {
  if (path.empty())
    return Status(SAGE_E_INVALID_ARGUMENT, "the path of a plugin is empty, an absolute path is expected");
  if (path[0] != '/')
    return Status(
        SAGE_E_INVALID_ARGUMENT,
        fmt::format("{}: an absolute path is expected; plugins are never looked for in the working folder", path));
  if (path.find('\0') != std::string::npos)
    return Status(SAGE_E_INVALID_ARGUMENT, "the path of a plugin holds a NUL byte");
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(path.c_str(), nullptr), free);
  if (resolved == nullptr) return SystemRefusal("plugin", path);
  CheckedFile file;
  file.path = resolved.get();

  // Non-blocking, so that a pipe put in a library's place does not hang the process; no link is followed any more.
  file.descriptor = Descriptor(open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (file.descriptor.get() < 0) return SystemRefusal("plugin", file.path);
  struct stat info {};
  if (fstat(file.descriptor.get(), &info) != 0) return SystemRefusal("plugin", file.path);
  if (!S_ISREG(info.st_mode))
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("{} is {}, a regular file is expected", file.path,
                              S_ISDIR(info.st_mode) ? "a folder" : "a device, pipe or socket"));
  if (info.st_uid != 0 && info.st_uid != geteuid()) {
    const std::string sentence =
        fmt::format("{} belongs to user {}, neither to root nor to you (user {})", file.path, info.st_uid, geteuid());
    if (!explicitly_named)
      return Status(SAGE_E_IO, fmt::format("{}: not loaded; chown it, or name the file explicitly", sentence), EPERM);
    file.warning = sentence;
  }
  if (WritableByOthers(info))
    return Status(
        SAGE_E_IO,
        fmt::format("{} may be written by its group or by everyone: not loaded; chmod go-w {}", file.path, file.path),
        EPERM);
  if (const std::string why = FolderRefusal(ParentOf(file.path)); !why.empty())
    return Status(SAGE_E_IO, fmt::format("{}: not loaded: the folder {}", file.path, why), EPERM);
  return file;
}

Result<void*> LoadDescriptor(int descriptor, const std::string& path) {
  struct stat info {};
  if (fstat(descriptor, &info) != 0) return SystemRefusal("plugin", path);
  // glibc remembers a library under every name it was opened by and compares names before files, so /proc/self/fd/7
  // would for ever mean the first library that was loaded as number 7. The file's identity, spelled in components that
  // the kernel skips ("./" a one, "/" a zero), makes the name unique to the file: a loaded file's inode is never
  // reused.
  std::string name = "/proc/self/fd/";
  for (const uint64_t number : {static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino)})
    for (int bit = 0; bit < 64; ++bit) name += (number >> bit & 1) != 0 ? "./" : "/";
  name += std::to_string(descriptor);

  dlerror();
  void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle != nullptr) return handle;
  const char* text = dlerror();
  std::string why = text == nullptr ? "no reason given" : text;
  for (size_t at; (at = why.find(name)) != std::string::npos;) why.replace(at, name.size(), path);
  return Status(SAGE_E_IO, fmt::format("dlopen: {}", why));
}

}  // namespace sage
