// library.cc: see library.h.
#include "library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstring>

namespace sage::openblas {
namespace {

constexpr const char* kInstall = "install the pthread build (on Debian: libopenblas0-pthread)";

constexpr const char* kCandidates[] = {
#if defined(__x86_64__)
    "/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0",
#elif defined(__aarch64__)
    "/usr/lib/aarch64-linux-gnu/openblas-pthread/libopenblas.so.0",
#endif
    "libopenblas.so.0", nullptr};

template <class Function>
bool Resolve(void* handle, const char* name, Function* out) {
  void* symbol = dlsym(handle, name);
  std::memcpy(out, &symbol, sizeof symbol);  // POSIX promises that an object pointer holds a function's address
  return symbol != nullptr;
}

}  // namespace

const char* const* DefaultCandidates() { return kCandidates; }

bool LoadLibrary(const char* const* candidates, Library* out, std::string* why) {
  *why = std::string("no OpenBLAS was found; ") + kInstall;
  for (; *candidates != nullptr; ++candidates) {
    const std::string path = *candidates;
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == nullptr) continue;
    Library library;
    char* (*get_config)() = nullptr;
    int (*get_parallel)() = nullptr;
    if (!Resolve(handle, "cblas_sgemm", &library.sgemm) || !Resolve(handle, "cblas_dgemm", &library.dgemm) ||
        !Resolve(handle, "openblas_set_num_threads", &library.set_num_threads) ||
        !Resolve(handle, "openblas_get_config", &get_config) ||
        !Resolve(handle, "openblas_get_parallel", &get_parallel)) {
      *why = path + " lacks a function of OpenBLAS; " + kInstall;
      continue;
    }
    const int parallel = get_parallel();
    if (parallel != 1) {
      *why = path +
             (parallel == 0 ? " is the serial build, which is not safe to call from two threads; "
                            : " is the OpenMP build, which brings a thread pool of its own kind; ") +
             kInstall;
      continue;
    }
    const char* config = get_config();
    library.config = config != nullptr ? config : "";
    if (library.config.find("USE64BITINT") != std::string::npos) {
      *why = path + " takes 64-bit integers; " + kInstall;
      continue;
    }
    library.path = path;
    *out = library;
    why->clear();
    return true;
  }
  return false;
}

bool LibraryIsThere(const char* const* candidates, std::string* why) {
  for (const char* const* candidate = candidates; *candidate != nullptr; ++candidate)
    if (std::strstr(*candidate, "/openblas-pthread/") != nullptr && access(*candidate, R_OK) == 0) return true;
  Library library;
  return LoadLibrary(candidates, &library, why);
}

}  // namespace sage::openblas
