// weights.h: the files beside a model: opened beneath its folder, checked, mapped; and the arrays found in them.
//
// A weight path is data from a stranger: it may not leave the folder by "..", by a leading "/" or by a link, and it
// must be a regular file of exactly the size the model says. Mapped pages of a file that is cut short later raise
// SIGBUS, as everywhere; ModelOptions.copy_weights reads the file instead.
#ifndef SAGE_ENGINE_MODEL_WEIGHTS_H_
#define SAGE_ENGINE_MODEL_WEIGHTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/graph.h"
#include "model/model.h"
#include "model/safetensors.h"
#include "status.h"

namespace sage {

// A file's bytes, mapped or read; they live as long as this.
class FileBytes {
 public:
  // folder: "" is the working directory. size: the exact size expected.
  static Result<std::shared_ptr<const FileBytes>> OpenBeneath(const std::string& folder, const std::string& relative,
                                                              uint64_t size, bool copy);
  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  FileBytes() = default;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  bool mapped_ = false;
  std::unique_ptr<uint8_t[]> copy_;
};

// Why a path may not be opened at all; success when it may.
Status CheckWeightPath(std::string_view path);

struct WeightFileSpec {
  std::string path;
  bool safetensors = true;
  uint64_t size = 0;
  std::string sha256;  // empty = not checked
};

struct WeightRequest {
  std::string file;  // empty = the only one
  std::string key;
  uint64_t offset = 0;
  std::optional<sage_dtype> dtype;            // as declared
  std::optional<std::vector<int64_t>> shape;  // as declared
};

struct WeightArray {
  Constant constant;
  sage_dtype dtype = 0;
  std::vector<int64_t> shape;
};

class Weights {
 public:
  explicit Weights(const ModelOptions& options) : options_(options) {}
  // Opens one file; the error is without the file's path in front.
  Status Open(const std::string& folder, const WeightFileSpec& spec);
  // Remembers a file that could not be opened, so that what lies in it is not reported as well.
  void Forget(const std::string& path) { files_[path] = nullptr; }
  // Finds an array and compares it with what was declared. *unknown: the reason is a file already reported.
  Result<WeightArray> Find(const WeightRequest& request, bool* unknown) const;

 private:
  struct File {
    WeightFileSpec spec;
    std::shared_ptr<const FileBytes> bytes;
    SafetensorsHeader header;
  };
  ModelOptions options_;
  uint64_t total_ = 0;
  std::map<std::string, std::shared_ptr<const File>, std::less<>> files_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_WEIGHTS_H_
