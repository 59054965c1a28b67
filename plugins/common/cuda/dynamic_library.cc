// dynamic_library.cc: see the header.
#include "common/cuda/dynamic_library.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <cstring>

namespace sage::cuda {

bool OpenLibrary(const std::string& file, std::span<const FunctionAt> functions, void* table, const char** missing,
                 std::string* why) {
  *missing = nullptr;
  void* const handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    const char* const said = dlerror();
    *why = said == nullptr ? file : said;
    return false;
  }
  for (const auto& [name, offset] : functions) {
    void* const symbol = dlsym(handle, name);
    if (symbol == nullptr) return *missing = name, false;
    // POSIX promises that an object pointer holds a function's address.
    std::memcpy(static_cast<char*>(table) + offset, &symbol, sizeof symbol);
  }
  return true;
}

std::string FileIn(const std::string& path, const std::string& file) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) ? path + "/" + file : path;
}

}  // namespace sage::cuda
