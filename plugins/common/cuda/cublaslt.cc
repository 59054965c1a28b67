// cublaslt.cc: see the header.
#include "common/cuda/cublaslt.h"

#include "common/cuda/dynamic_library.h"

namespace sage::cuda::lt {
namespace {

// A header's inline functions call those with "_internal"; they are as fixed as the rest.
constexpr FunctionAt kFunctions[] = {
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

}  // namespace

std::vector<std::string> Candidates(const std::string& path, int built_for) {
  const std::string file = FileName(built_for);
  if (!path.empty()) return {FileIn(path, file)};
  // By its bare name first: the loader's own places, and one that another library of the process has loaded already.
  const std::string versioned = "/usr/local/cuda-" + std::to_string(built_for / 1000);
  return {file, "/usr/local/cuda/lib64/" + file, versioned + "/lib64/" + file};
}

bool Load(const std::string& path, int built_for, Library* out, std::string* why) {
  why->clear();
  for (const std::string& candidate : Candidates(path, built_for)) {
    Library library;
    const char* missing = nullptr;
    std::string said;
    if (!OpenLibrary(candidate, kFunctions, &library, &missing, &said)) {
      if (missing != nullptr)
        *why = candidate + " is no cuBLASLt that this build can use: it has no function " + missing;
      else if (why->empty())
        *why = "cuBLASLt could not be loaded: " + said;
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
