// pin.cc: see pin.h. The engine opens weights by stricter means when it loads them; here files are only read and
// summed.
#include "pin.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>

#include "exit_code.h"
#include "model/sha256.h"
#include "output.h"
#include "report/progress.h"

namespace sage::tool {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void Bad(const std::string& path, const std::string& why) {
  throw Failure(kExitBadFile, fmt::format("weight file {}: {}", path, why));
}

// The file a model means by `path`: beneath the folder, links followed.
std::string Locate(const std::string& path, const std::string& folder) {
  const fs::path relative(path);
  if (path.empty() || relative.is_absolute()) Bad(path, "a path beneath the model's folder is needed");
  std::error_code problem;
  const fs::path root = fs::canonical(folder, problem);
  if (problem) Bad(path, problem.message());
  const fs::path file = fs::canonical(root / relative, problem);
  if (problem) Bad(path, problem.message());
  const std::string inside = fs::path(file.lexically_relative(root)).string();
  if (inside.empty() || inside.starts_with("..")) Bad(path, "leads out of the model's folder");
  return file.string();
}

struct Pin {
  uint64_t size = 0;
  std::string sha256;
};

Pin Measure(const std::string& path, const std::string& file) {
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe is not waited for
  if (descriptor < 0) Bad(path, std::strerror(errno));
  struct stat info {};
  const bool regular = fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
  Pin pin;
  if (!regular || info.st_size == 0) {
    close(descriptor);
    Bad(path, regular ? "is empty" : "is no regular file");
  }
  pin.size = static_cast<uint64_t>(info.st_size);
  void* data = mmap(nullptr, pin.size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int reason = errno;
  close(descriptor);
  if (data == MAP_FAILED) Bad(path, std::strerror(reason));
  {
    const Busy busy("digest of " + path);
    pin.sha256 = Sha256Hex({static_cast<const uint8_t*>(data), pin.size});
  }
  munmap(data, pin.size);
  return pin;
}

}  // namespace

std::string PinWeights(const std::string& json, const std::string& folder) {
  auto model = nlohmann::ordered_json::parse(json);
  if (!model.contains("weight_files")) return json;
  for (auto& entry : model["weight_files"]) {
    const std::string path = entry.value("path", "");
    const Pin pin = Measure(path, Locate(path, folder));
    entry["size"] = pin.size;
    entry["sha256"] = pin.sha256;
  }
  return JsonText(model);
}

}  // namespace sage::tool
