// weights.cc: from a declared path to checked bytes, and from a key to an array.
#include "model/weights.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "descriptor.h"
#include "model/names.h"
#include "model/open_beneath.h"
#include "model/sha256.h"
#include "model/shapes.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

Status SystemError(std::string_view what, int error) {
  const sage_status code = error == ENOENT || error == ENOTDIR ? SAGE_E_NOT_FOUND : SAGE_E_IO;
  return Status(code, fmt::format("{}: {}", what, std::strerror(error)), error);
}

Status ReadAll(int fd, uint8_t* to, uint64_t size) {
  for (uint64_t done = 0; done < size;) {
    const ssize_t got = pread(fd, to + done, std::min<uint64_t>(size - done, 1u << 30), static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError("cannot be read", errno);
    if (got == 0) return Status(SAGE_E_BAD_DATA, "became shorter while it was read");
    done += static_cast<uint64_t>(got);
  }
  return {};
}

}  // namespace

Status CheckWeightPath(std::string_view path) {
  const auto refuse = [&](const char* why) {
    return Status(SAGE_E_BAD_DATA, fmt::format("\"{}\" {}: name a file beneath the model's folder", path, why));
  };
  if (path.empty()) return refuse("is empty");
  if (path.size() > 4095) return Status(SAGE_E_BAD_DATA, "is longer than 4095 bytes");
  if (path.find('\0') != std::string_view::npos) return refuse("has a NUL in it");
  if (path.front() == '/') return refuse("is absolute");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part == "..") return refuse("leaves the folder by \"..\"");
    if (part.empty() || part == ".") return refuse("has an empty part or a \".\"");
    begin = end + 1;
  }
  return {};
}

FileBytes::~FileBytes() {
  if (mapped_) munmap(const_cast<uint8_t*>(data_), size_);
}

Result<std::shared_ptr<const FileBytes>> FileBytes::OpenBeneath(const std::string& folder, const std::string& relative,
                                                                uint64_t size, bool copy) {
  SAGE_RETURN_IF_ERROR(CheckWeightPath(relative));
  const Descriptor directory(open(folder.empty() ? "." : folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) return SystemError(fmt::format("folder \"{}\" cannot be opened", folder), errno);
  const Descriptor file = sage::OpenBeneath(directory.get(), relative);
  if (file.get() < 0) {
    if (errno == EXDEV || errno == ELOOP)
      return Status(SAGE_E_BAD_DATA, "leads out of the model's folder by a link; weights must lie beneath it", errno);
    return SystemError(fmt::format("cannot be opened in folder \"{}\"", folder.empty() ? "." : folder), errno);
  }
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return SystemError("cannot be examined", errno);
  if (!S_ISREG(info.st_mode)) return Status(SAGE_E_BAD_DATA, "is no regular file");
  if (static_cast<uint64_t>(info.st_size) != size)
    return Status(SAGE_E_BAD_DATA, fmt::format("is {} bytes, the model says {}: another file, or an incomplete copy",
                                               info.st_size, size));
  std::shared_ptr<FileBytes> out(new FileBytes);
  out->size_ = static_cast<size_t>(size);
  if (copy) {
    out->copy_.reset(new uint8_t[out->size_]);
    SAGE_RETURN_IF_ERROR(ReadAll(file.get(), out->copy_.get(), size));
    out->data_ = out->copy_.get();
  } else {
    void* const at = mmap(nullptr, out->size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (at == MAP_FAILED) return SystemError("cannot be mapped", errno);
    out->data_ = static_cast<const uint8_t*>(at);
    out->mapped_ = true;
  }
  return std::shared_ptr<const FileBytes>(std::move(out));
}

Status Weights::Open(const std::string& folder, const WeightFileSpec& spec) {
  if (spec.size == 0)
    return Status(SAGE_E_BAD_DATA, "size is missing: give the file's exact size in bytes (0 is no weight file)");
  if (__builtin_add_overflow(total_, spec.size, &total_) || total_ > options_.max_weight_bytes)
    return Status(SAGE_E_OUT_OF_MEMORY,
                  fmt::format("brings the weights above the limit of {} bytes", options_.max_weight_bytes));
  auto file = std::make_shared<File>();
  file->spec = spec;
  SAGE_ASSIGN_OR_RETURN(file->bytes, FileBytes::OpenBeneath(folder, spec.path, spec.size, options_.copy_weights));
  if (!spec.sha256.empty()) {
    const std::string digest = Sha256Hex(file->bytes->bytes());
    std::string wanted = spec.sha256;
    std::transform(wanted.begin(), wanted.end(), wanted.begin(),
                   [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
    if (digest != wanted)
      return Status(SAGE_E_BAD_DATA, fmt::format("has sha256 {}, the model says {}", digest, wanted));
  }
  if (spec.safetensors) {
    SAGE_ASSIGN_OR_RETURN(file->header, ParseSafetensors(file->bytes->bytes()));
  }
  files_[spec.path] = std::move(file);
  return {};
}

Result<WeightArray> Weights::Find(const WeightRequest& request, bool* unknown) const {
  *unknown = false;
  const auto bad = [](std::string message) { return Status(SAGE_E_BAD_DATA, std::move(message)); };
  auto found = files_.find(request.file);
  if (request.file.empty()) {
    if (files_.empty()) return bad("is in a weight file, but the model names none: add it to weight_files");
    if (files_.size() > 1)
      return bad(fmt::format("does not say in which of the {} weight files it is: give file", files_.size()));
    found = files_.begin();
  }
  if (found == files_.end()) {
    std::vector<std::string_view> known;
    for (const auto& [path, file] : files_) known.push_back(path);
    return bad(fmt::format("file \"{}\" is not in weight_files{}", request.file, DidYouMean(request.file, known)));
  }
  if (found->second == nullptr) {
    *unknown = true;
    return bad("its file could not be read");
  }
  const File& file = *found->second;
  const std::span<const uint8_t> bytes = file.bytes->bytes();
  WeightArray array;
  uint64_t offset = 0, length = 0;
  if (file.spec.safetensors) {
    if (request.key.empty()) return bad(fmt::format("needs a key: the array's name in \"{}\"", file.spec.path));
    if (request.offset != 0) return bad("offset is for RAW files: a safetensors header knows where its arrays lie");
    const auto entry = file.header.find(request.key);
    if (entry == file.header.end()) {
      std::vector<std::string_view> known;
      for (const auto& [name, ignored] : file.header) known.push_back(name);
      const std::string hint = DidYouMean(request.key, known);
      return bad(fmt::format("key \"{}\" is not in \"{}\"{}", request.key, file.spec.path,
                             hint.empty() ? fmt::format(", which has {} arrays", known.size()) : hint));
    }
    const SafetensorsEntry& in = entry->second;
    if (in.dtype == 0)
      return bad(fmt::format("key \"{}\" is {}, a type this engine does not know", request.key, in.dtype_name));
    if (in.shape.size() > SAGE_MAX_RANK)
      return bad(fmt::format("key \"{}\" has {} dimensions, at most {} are possible", request.key, in.shape.size(),
                             SAGE_MAX_RANK));
    if (request.dtype && *request.dtype != in.dtype)
      return bad(fmt::format("must be {}, \"{}\" in \"{}\" is {}", support::DtypeName(*request.dtype), request.key,
                             file.spec.path, support::DtypeName(in.dtype)));
    if (request.shape && *request.shape != in.shape)
      return bad(fmt::format("must be [{}], \"{}\" in \"{}\" is [{}]", fmt::join(*request.shape, ", "), request.key,
                             file.spec.path, fmt::join(in.shape, ", ")));
    array.dtype = in.dtype;
    array.shape = in.shape;
    offset = in.offset;
    length = in.bytes;
  } else {
    if (!request.key.empty()) return bad("key is for safetensors files: a RAW file has no names, give offset");
    if (!request.dtype || !request.shape) return bad("lies in a RAW file, which says nothing: declare dtype and shape");
    SAGE_ASSIGN_OR_RETURN(const int64_t elements, ElementCount(*request.shape));
    array.dtype = *request.dtype;
    array.shape = *request.shape;
    offset = request.offset;
    if (__builtin_mul_overflow(static_cast<uint64_t>(elements), uint64_t{support::DtypeSize(array.dtype)}, &length) ||
        offset > bytes.size() || length > bytes.size() - offset)
      return bad(fmt::format("needs {} elements of {} from byte {} on, \"{}\" has {} bytes", elements,
                             support::DtypeName(array.dtype), offset, file.spec.path, bytes.size()));
  }
  array.constant.data = bytes.data() + offset;
  array.constant.bytes = length;
  array.constant.owner = file.bytes;
  if (array.dtype == SAGE_BOOL &&
      std::any_of(bytes.data() + offset, bytes.data() + offset + length, [](uint8_t value) { return value > 1; }))
    return bad("is BOOL and has a byte that is neither 0 nor 1");
  return array;
}

}  // namespace sage
