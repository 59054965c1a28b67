// model.cc: a file or bytes become a Model, or the sentences that say why not.
#include "model/model.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/reader.h"
#include "model/verify.h"

namespace sage {
namespace {

constexpr size_t kErrorsInMessage = 8;

struct File {
  std::vector<uint8_t> bytes;  // our own memory: what is verified cannot change while it is read
  std::string folder;          // where weight paths begin
  std::string stem;            // the file's name without folder and extension
};

Result<File> ReadFile(const std::string& path) {
  const auto failed = [&](int error) {
    const sage_status code = error == ENOENT || error == ENOTDIR ? SAGE_E_NOT_FOUND : SAGE_E_IO;
    return Status(code, fmt::format("model \"{}\" cannot be read: {}", path, std::strerror(error)), error);
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return failed(errno);
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } closer{fd};
  struct stat info {};
  if (fstat(fd, &info) != 0) return failed(errno);
  if (S_ISDIR(info.st_mode))
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("\"{}\" is a folder; name the model file in it", path));
  File file;
  // A pipe has no size: read to its end, but never more than a model may have.
  const size_t limit = ModelReader::kMaxFileBytes + 1;
  file.bytes.resize(S_ISREG(info.st_mode) ? std::min(limit, static_cast<size_t>(info.st_size)) : size_t{65536});
  size_t size = 0;
  while (size < limit) {
    if (size == file.bytes.size()) {
      if (S_ISREG(info.st_mode)) break;
      file.bytes.resize(std::min(limit, 2 * size));
    }
    const ssize_t got = read(fd, file.bytes.data() + size, file.bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  file.bytes.resize(size);
  const size_t slash = path.rfind('/');
  file.folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const size_t dot = name.rfind('.');
  file.stem = dot == std::string::npos || dot == 0 ? name : name.substr(0, dot);
  return file;
}

Status Failure(const std::string& what, const std::vector<ModelError>& errors) {
  return Status(SAGE_E_BAD_DATA, fmt::format("{}: {}", what, ErrorText(errors, kErrorsInMessage)));
}

std::vector<ModelError> ReadBuffer(std::span<const uint8_t> bytes, const std::string& weights_folder,
                                   const ModelOptions& options, Model* model) {
  // The caller's memory may change, and may lie at any alignment. A size that no model has is answered by the reader
  // without a look at the bytes, which are hardly there.
  const bool copied = bytes.size() <= ModelReader::kMaxFileBytes;
  const std::vector<uint8_t> copy(bytes.begin(), copied ? bytes.end() : bytes.begin());
  std::vector<ModelError> errors;
  ModelReader::Read(copied ? std::span<const uint8_t>(copy) : bytes, weights_folder.empty() ? nullptr : &weights_folder,
                    "model", options, model, &errors);
  return errors;
}

}  // namespace

Result<std::shared_ptr<const Model>> Model::Load(const std::string& path, const ModelOptions& options) {
  SAGE_ASSIGN_OR_RETURN(const File file, ReadFile(path));
  auto model = std::make_shared<Model>();
  std::vector<ModelError> errors;
  ModelReader::Read(file.bytes, &file.folder, file.stem, options, model.get(), &errors);
  if (!errors.empty()) return Failure(fmt::format("model \"{}\"", path), errors);
  return std::shared_ptr<const Model>(std::move(model));
}

Result<std::shared_ptr<const Model>> Model::LoadBuffer(std::span<const uint8_t> bytes,
                                                       const std::string& weights_folder, const ModelOptions& options) {
  auto model = std::make_shared<Model>();
  const std::vector<ModelError> errors = ReadBuffer(bytes, weights_folder, options, model.get());
  if (!errors.empty()) return Failure("model", errors);
  return std::shared_ptr<const Model>(std::move(model));
}

std::vector<ModelError> Model::CheckBuffer(std::span<const uint8_t> bytes, const std::string& weights_folder,
                                           const ModelOptions& options) {
  Model model;
  return ReadBuffer(bytes, weights_folder, options, &model);
}

Result<std::vector<ModelError>> Model::Check(const std::string& path, const ModelOptions& options) {
  SAGE_ASSIGN_OR_RETURN(const File file, ReadFile(path));
  Model model;
  std::vector<ModelError> errors;
  ModelReader::Read(file.bytes, &file.folder, file.stem, options, &model, &errors);
  return errors;
}

}  // namespace sage
