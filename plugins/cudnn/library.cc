// library.cc: see the header.
#include "library.h"

#include <algorithm>
#include <cstring>
#include <utility>

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

std::string LastError(const Library& library) {
  std::string said(size_t{16} << 10, '\0');
  library.GetLastErrorString(said.data(), said.size());
  said.resize(std::strlen(said.c_str()));
  return GistOf(said);
}

std::string GistOf(std::string_view said) {
  constexpr std::string_view kEngine = "\"engineId\":", kReason = "Reason: ", kCondition = " at: ";
  constexpr size_t kMostReasons = 3;
  // Engines by their first reason, in the order in which those come.
  std::vector<std::pair<std::string, std::string>> reasons;
  for (size_t at = said.find(kEngine); at != std::string_view::npos; at = said.find(kEngine, at)) {
    at += kEngine.size();
    std::string_view section = said.substr(at, said.find(kEngine, at) - at);
    const std::string engine(section.substr(0, section.find_first_not_of("0123456789")));
    const size_t reason = section.find(kReason);
    if (reason == std::string_view::npos) continue;
    section.remove_prefix(reason + kReason.size());
    section = section.substr(0, section.find('\n'));
    const std::string why(section.substr(0, section.find(kCondition)));
    const auto same =
        std::find_if(reasons.begin(), reasons.end(), [&](const auto& known) { return known.second == why; });
    if (same != reasons.end()) {
      // An engine is listed once for each of its configurations.
      if (!same->first.ends_with(" " + engine)) same->first += ", " + engine;
    } else {
      reasons.emplace_back("engine " + engine, why);
    }
  }
  std::string gist;
  for (size_t i = 0; i < std::min(reasons.size(), kMostReasons); ++i)
    gist += (i == 0 ? "" : "; ") + reasons[i].first + ": " + reasons[i].second;
  if (!gist.empty()) return gist;
  const size_t reason = said.find(kReason);
  if (reason != std::string_view::npos) said.remove_prefix(reason + kReason.size());
  return std::string(said.substr(0, said.find('\n')));
}

std::string StatusText(const Library& library, int status) {
  const char* const name = library.GetErrorString(status);
  std::string text = std::string(name == nullptr ? "cudnnStatus" : name) + " (" + std::to_string(status) + ")";
  if (const std::string said = LastError(library); !said.empty()) text += ": " + said;
  return text;
}

}  // namespace sage::cudnn
