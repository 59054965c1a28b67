// open_beneath.cc: see the header.
#include "model/open_beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace sage {
namespace {

constexpr int kFile = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;  // non-blocking: a FIFO must not hang the load

bool IsLink(int folder, const std::string& name) {
  struct stat info {};
  return fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
}

}  // namespace

Descriptor OpenBeneathByKernel(int folder, const std::string& relative) {
  open_how how{};
  how.flags = kFile;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (int tries = 0; tries < 16; ++tries) {  // EAGAIN: a rename raced with the walk
    const long fd = syscall(SYS_openat2, folder, relative.c_str(), &how, sizeof how);
    if (fd >= 0) return Descriptor(static_cast<int>(fd));
    if (errno != EAGAIN) break;
  }
  return Descriptor();
}

Descriptor OpenBeneathByWalking(int folder, const std::string& relative) {
  Descriptor at(dup(folder));
  for (size_t begin = 0;;) {
    const size_t end = relative.find('/', begin);
    const bool last = end == std::string::npos;
    const std::string part = relative.substr(begin, last ? end : end - begin);
    // CheckWeightPath lets neither through; a walk that took one would leave the folder.
    if (part == ".." || part.empty()) {
      errno = EXDEV;
      return Descriptor();
    }
    const int flags = last ? kFile | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    Descriptor next(openat(at.get(), part.c_str(), flags));
    if (next.get() < 0) {
      const int error = errno;
      errno = error == ENOTDIR && IsLink(at.get(), part) ? ELOOP : error;
      return next;
    }
    if (last) return next;
    at = std::move(next);
    begin = end + 1;
  }
}

Descriptor OpenBeneath(int folder, const std::string& relative) {
  Descriptor file = OpenBeneathByKernel(folder, relative);
  if (file.get() >= 0 || (errno != ENOSYS && errno != EPERM)) return file;
  return OpenBeneathByWalking(folder, relative);
}

}  // namespace sage
