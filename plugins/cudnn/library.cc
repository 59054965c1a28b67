// library.cc: see the header.
#include "library.h"

#include "common/cuda/dynamic_library.h"

namespace sage::cudnn {
namespace {

constexpr cuda::FunctionAt kFunctions[] = {
    {"cudnnGetVersion", offsetof(Library, GetVersion)},
    {"cudnnGetErrorString", offsetof(Library, GetErrorString)},
    {"cudnnGetLastErrorString", offsetof(Library, GetLastErrorString)},
    {"cudnnCreate", offsetof(Library, Create)},
    {"cudnnDestroy", offsetof(Library, Destroy)},
    {"cudnnSetStream", offsetof(Library, SetStream)},
    {"cudnnBackendCreateDescriptor", offsetof(Library, BackendCreateDescriptor)},
    {"cudnnBackendDestroyDescriptor", offsetof(Library, BackendDestroyDescriptor)},
    {"cudnnBackendFinalize", offsetof(Library, BackendFinalize)},
    {"cudnnBackendSetAttribute", offsetof(Library, BackendSetAttribute)},
    {"cudnnBackendGetAttribute", offsetof(Library, BackendGetAttribute)},
    {"cudnnBackendExecute", offsetof(Library, BackendExecute)},
    {"cudnnBackendPopulateCudaGraph", offsetof(Library, BackendPopulateCudaGraph)},
};

constexpr char kFile[] = "libcudnn.so.9";

}  // namespace

std::vector<std::string> Candidates(const std::string& path) {
  if (!path.empty()) return {cuda::FileIn(path, kFile)};
  // By its bare name first: the loader's own places, and one that another library of the process has loaded already.
  std::vector<std::string> all{kFile};
#ifdef SAGE_CUDNN_FOLDER
  all.push_back(std::string(SAGE_CUDNN_FOLDER) + "/" + kFile);  // where the build found it
#endif
  for (const char* folder : {"/usr/local/cuda/lib64", "/usr/local/cuda-13/lib64"})
    all.push_back(std::string(folder) + "/" + kFile);
  return all;
}

bool Load(const std::string& path, Library* out, std::string* why) {
  why->clear();
  for (const std::string& candidate : Candidates(path)) {
    Library library;
    const char* missing = nullptr;
    std::string said;
    if (!cuda::OpenLibrary(candidate, kFunctions, &library, &missing, &said)) {
      if (missing != nullptr)
        *why = candidate + " is no cuDNN 9 that this build can use: it has no function " + missing;
      else if (why->empty())
        *why = "cuDNN could not be loaded: " + said;
      continue;
    }
    const size_t version = library.GetVersion();
    if (const char* const refusal = VersionRefusal(version); refusal != nullptr) {
      *why = candidate + " is cuDNN " + VersionText(version) + ", " + refusal;
      continue;
    }
    library.path = candidate;
    *out = library;
    why->clear();
    return true;
  }
  return false;
}

const char* VersionRefusal(size_t version) {
  if (version / 10000 > 9) return "newer than this build knows: it needs 9.13.2 or a later 9.x";
  if (version < kOldestVersion) return "older than this build needs: 9.13.2 or a later 9.x";
  return nullptr;
}

std::string StatusText(const Library& library, int status) {
  const char* const name = library.GetErrorString(status);
  std::string text = std::string(name == nullptr ? "cudnnStatus" : name) + " (" + std::to_string(status) + ")";
  char said[512] = "";
  library.GetLastErrorString(said, sizeof said);
  said[sizeof said - 1] = '\0';
  if (said[0] != '\0') text += std::string(": ") + said;
  return text;
}

}  // namespace sage::cudnn
