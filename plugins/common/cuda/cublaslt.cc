// cublaslt.cc: see the header.
#include "common/cuda/cublaslt.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <cstring>

namespace sage::cuda::lt {
namespace {

// A header's inline functions call those with "_internal"; they are as fixed as the rest.
constexpr struct {
  const char* name;
  size_t offset;
} kFunctions[] = {
    {"cublasLtCreate", offsetof(Library, Create)},
    {"cublasLtDestroy", offsetof(Library, Destroy)},
    {"cublasLtGetVersion", offsetof(Library, GetVersion)},
    {"cublasLtGetStatusName", offsetof(Library, GetStatusName)},
    {"cublasLtGetStatusString", offsetof(Library, GetStatusString)},
    {"cublasLtMatrixLayoutInit_internal", offsetof(Library, MatrixLayoutInit)},
    {"cublasLtMatrixLayoutSetAttribute", offsetof(Library, MatrixLayoutSetAttribute)},
    {"cublasLtMatmulDescInit_internal", offsetof(Library, MatmulDescInit)},
    {"cublasLtMatmulDescSetAttribute", offsetof(Library, MatmulDescSetAttribute)},
    {"cublasLtMatmulPreferenceInit_internal", offsetof(Library, MatmulPreferenceInit)},
    {"cublasLtMatmulPreferenceSetAttribute", offsetof(Library, MatmulPreferenceSetAttribute)},
    {"cublasLtMatmulAlgoGetHeuristic", offsetof(Library, MatmulAlgoGetHeuristic)},
    {"cublasLtMatmul", offsetof(Library, Matmul)},
};

std::string FileName(int built_for) { return "libcublasLt.so." + std::to_string(built_for / 1000); }

bool IsFolder(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool Resolve(void* handle, Library* out, const char** missing) {
  for (const auto& [name, offset] : kFunctions) {
    void* const symbol = dlsym(handle, name);
    if (symbol == nullptr) return *missing = name, false;
    // POSIX promises that an object pointer holds a function's address.
    std::memcpy(reinterpret_cast<char*>(out) + offset, &symbol, sizeof symbol);
  }
  return true;
}

}  // namespace

std::vector<std::string> Candidates(const std::string& path, int built_for) {
  const std::string file = FileName(built_for);
  if (!path.empty()) return {IsFolder(path) ? path + "/" + file : path};
  // By its bare name first: the loader's own places, and one that another library of the process has loaded already.
  const std::string versioned = "/usr/local/cuda-" + std::to_string(built_for / 1000);
  return {file, "/usr/local/cuda/lib64/" + file, versioned + "/lib64/" + file};
}

bool Load(const std::string& path, int built_for, Library* out, std::string* why) {
  why->clear();
  for (const std::string& candidate : Candidates(path, built_for)) {
    void* const handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == nullptr) {
      const char* const said = dlerror();
      if (why->empty()) *why = "cuBLASLt could not be loaded: " + std::string(said == nullptr ? candidate : said);
      continue;
    }
    Library library;
    const char* missing = nullptr;
    if (!Resolve(handle, &library, &missing)) {
      *why = candidate + " is no cuBLASLt that this build can use: it has no function " + missing;
      continue;
    }
    // 130102 is 13.1.2.
    if (const size_t version = library.GetVersion(); version / 10000 != static_cast<size_t>(built_for / 1000)) {
      *why = candidate + " is cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
             "; this build needs " + std::to_string(built_for / 1000) + ".x";
      continue;
    }
    library.path = candidate;
    *out = library;
    why->clear();
    return true;
  }
  return false;
}

std::string StatusText(const Library& library, int status) {
  const char *name = library.GetStatusName(status), *text = library.GetStatusString(status);
  return std::string(name == nullptr ? "cublasStatus" : name) + " (" + std::to_string(status) +
         "): " + (text == nullptr ? "no text" : text);
}

}  // namespace sage::cuda::lt
