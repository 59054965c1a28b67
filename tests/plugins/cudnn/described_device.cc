// described_device.cc: see the header.
#include "described_device.h"

#include <dlfcn.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/cuda/cublaslt.h"
#include "library.h"

namespace sage::cudnn {
namespace {

// The toolkit's major version that cuDNN 9 for CUDA 13 is built on.
constexpr int kToolkit = 13000;

// Empty, or the loader's words of the last place.
std::string Open(const std::vector<std::string>& places, int flags) {
  std::string said = "no place is known";
  for (const std::string& place : places) {
    if (dlopen(place.c_str(), RTLD_NOW | RTLD_NODELETE | flags) != nullptr) return "";
    const char* const words = dlerror();
    said = words == nullptr ? place : words;
  }
  return said;
}

std::string Folder(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

std::string LoadAll(Library* out) {
#if defined(__SANITIZE_THREAD__)
  // Its compiler of kernels has threads and locks of its own, which ThreadSanitizer sees half of.
  return "cuDNN is not built for ThreadSanitizer";
#endif
  std::string why;
  if (why = Open({SAGE_STAND_IN_DRIVER}, RTLD_GLOBAL); !why.empty()) return "the stand-in for the driver: " + why;
  Library library;
  if (!Load("", &library, &why)) return why;
  // Both lie beside cuDNN, where it is the toolkit's; where it is Python's, in a folder of their own.
  const std::string beside = Folder(library.path);
  cuda::lt::Library cublaslt;
  if (!cuda::lt::Load("", kToolkit, &cublaslt, &why) &&
      (beside.empty() || !cuda::lt::Load(beside, kToolkit, &cublaslt, &why)))
    return why;
  const std::string nvrtc = "libnvrtc.so." + std::to_string(kToolkit / 1000);
  if (why = Open({nvrtc, beside + nvrtc, "/usr/local/cuda/lib64/" + nvrtc}, RTLD_LOCAL); !why.empty())
    return "NVRTC, which compiles cuDNN's kernels: " + why;
  *out = library;
  return "";
}

}  // namespace

const Library* LibraryWithoutDevice(std::string* why) {
  static Library library;
  static const std::string missing = LoadAll(&library);
  *why = missing;
  return missing.empty() ? &library : nullptr;
}

const std::vector<std::string>& DescribedDeviceNames() {
  static const std::vector<std::string> names{"a100", "orin", "rtx4090", "h200", "b200", "thor", "rtx5090", "gb10"};
  return names;
}

bool DescribedDevice::Make(const Library& library, const std::string& name, DescribedDevice* out, std::string* why) {
  std::ifstream file(std::string(SAGE_DESCRIBED_DEVICES) + "/" + name + ".json");
  std::ostringstream whole;
  whole << file.rdbuf();
  const std::string text = whole.str();
  const nlohmann::json read = nlohmann::json::parse(text, nullptr, false);
  if (!file || !read.is_object() || !read.contains("deviceVer"))
    return *why = "tests/plugins/cudnn/devices has no device " + name, false;
  Maker make(library);
  out->name_ = name, out->full_name_ = read.at("deviceName").get<std::string>();
  out->installed_ = {library.GetVersion(), read.at("deviceVer").get<int>() / 10};
  out->descriptor_ = make.Create(kDeviceProperties);
  make.Set(out->descriptor_, kDevicePropertiesJson, kTypeChar, static_cast<int64_t>(text.size()), text.data());
  make.Finalize(out->descriptor_, "describing a device");
  *why = make.failure().text;
  return make.ok();
}

}  // namespace sage::cudnn
