// cache_file.h: a small file that a backend keeps from one process to the next and that nobody depends on: it is not
// there, not ours, not readable, not writable, and everything works without it, with a sentence for the log.
//
// What is read back is untrusted: whoever uses it checks it as it would check any input.
#ifndef SAGE_PLUGINS_COMMON_CACHE_FILE_H_
#define SAGE_PLUGINS_COMMON_CACHE_FILE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace sage::plugins {

// The whole file. False where there is none, with *why empty, or where it is not to be believed: it is a link, no
// regular file, another user's, may be written by others, or has more than most_bytes. Never waits on a pipe.
bool ReadCacheFile(const std::string& path, size_t most_bytes, std::string* text, std::string* why);

// The folder of a cache file, open and, where it can be had soon, locked against others who write there, until this
// ends.
class CacheFolder {
 public:
  // Makes what is missing (mode 0700). path: of the file, absolute. False with *why.
  bool Open(const std::string& path, std::string* why);
  // Replaces the file as a whole, so that a reader sees the old or the new one. False with *why: the old one is
  // untouched.
  bool Replace(std::string_view text, std::string* why) const;

  CacheFolder() = default;
  ~CacheFolder();
  CacheFolder(const CacheFolder&) = delete;
  CacheFolder& operator=(const CacheFolder&) = delete;

 private:
  int fd_ = -1;
  std::string path_;
};

}  // namespace sage::plugins

#endif  // SAGE_PLUGINS_COMMON_CACHE_FILE_H_
