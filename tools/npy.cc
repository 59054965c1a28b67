// npy.cc: the header is a Python dictionary literal of three known keys, so it is read by finding them, strictly.
#include "npy.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

#include "common.h"
#include "plan/elements.h"
#include "sage/support/check_op.h"

namespace sage::tool {
namespace {

constexpr uint64_t kMaxFile = 16ull << 30;
constexpr std::string_view kMagic = "\x93NUMPY";

struct NumpyType {
  const char* descr;
  sage_dtype dtype;
};
constexpr NumpyType kTypes[] = {{"<f4", SAGE_F32}, {"<f8", SAGE_F64},  {"<f2", SAGE_F16},  {"|i1", SAGE_I8},
                                {"<i2", SAGE_I16}, {"<i4", SAGE_I32},  {"<i8", SAGE_I64},  {"|u1", SAGE_U8},
                                {"<u8", SAGE_U64}, {"|b1", SAGE_BOOL}, {"<u2", SAGE_BF16}, {"<V2", SAGE_BF16},
                                {"|V2", SAGE_BF16}};

[[noreturn]] void Bad(const std::string& path, const std::string& why) {
  throw Failure(kExitBadFile, fmt::format("{}: not a usable .npy file: {}", path, why));
}

// The text after "'key':" up to its end, or an error.
std::string_view ValueOf(const std::string& path, std::string_view header, std::string_view key) {
  const std::string quoted = fmt::format("'{}':", key);
  const size_t at = header.find(quoted);
  if (at == std::string_view::npos) Bad(path, fmt::format("its header has no {}", quoted));
  std::string_view rest = header.substr(at + quoted.size());
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  return rest;
}

}  // namespace

int64_t HostTensor::elements() const {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

HostTensor ReadNpy(const std::string& path) {
  const std::string file = ReadFile(path, kMaxFile, kMagic);
  if (file.size() < 10 || !file.starts_with(kMagic)) Bad(path, "it does not begin with \\x93NUMPY");
  const int major = static_cast<unsigned char>(file[6]);
  size_t length = 0, start = 0;
  if (major == 1) {
    length = static_cast<unsigned char>(file[8]) | static_cast<size_t>(static_cast<unsigned char>(file[9])) << 8,
    start = 10;
  } else if ((major == 2 || major == 3) && file.size() >= 12) {
    for (size_t i = 0; i < 4; ++i) length |= static_cast<size_t>(static_cast<unsigned char>(file[8 + i])) << (8 * i);
    start = 12;
  } else {
    Bad(path, fmt::format("format version {}; known are 1 to 3", major));
  }
  if (length > file.size() - start) Bad(path, "its header is cut short");
  const std::string_view header = std::string_view(file).substr(start, length);
  const std::string_view descr = ValueOf(path, header, "descr");
  HostTensor tensor;
  bool known = false;
  for (const NumpyType& type : kTypes) {
    if (descr.size() > 4 && descr.substr(1, 3) == type.descr) tensor.dtype = type.dtype, known = true;
  }
  if (!known)
    Bad(path, fmt::format("element type {}; known are <f2 <f4 <f8 |i1 <i2 <i4 <i8 |u1 <u8 |b1, and <u2 for bf16",
                          descr.substr(0, descr.find(','))));
  const bool fortran = ValueOf(path, header, "fortran_order").starts_with("True");
  std::string_view shape = ValueOf(path, header, "shape");
  const size_t close = shape.find(')');
  if (shape.empty() || shape.front() != '(' || close == std::string_view::npos) Bad(path, "its shape is not a tuple");
  const char* at = shape.data() + 1;
  const char* end = shape.data() + close;
  uint64_t bytes = support::DtypeSize(tensor.dtype);
  while (at < end) {
    while (at < end && (*at == ' ' || *at == ',')) ++at;
    if (at == end) break;
    int64_t size = 0;
    const auto [next, problem] = std::from_chars(at, end, size);
    if (problem != std::errc() || size < 0) Bad(path, "its shape holds something that is not a size");
    if (size != 0 && bytes > kMaxFile / static_cast<uint64_t>(size))
      Bad(path, "its shape is larger than any file that is read");
    bytes *= static_cast<uint64_t>(size);
    tensor.shape.push_back(size);
    at = next;
  }
  if (tensor.shape.size() > SAGE_MAX_RANK)
    Bad(path, fmt::format("{} dimensions; at most {} are known", tensor.shape.size(), SAGE_MAX_RANK));
  if (file.size() - start - length != bytes)
    Bad(path, fmt::format("{} bytes of data; the shape needs {}", file.size() - start - length, bytes));
  const char* data = file.data() + start + length;
  tensor.bytes.assign(data, data + bytes);
  if (fortran && tensor.shape.size() > 1 && bytes > 0) {
    const std::vector<uint8_t> column_major = tensor.bytes;
    const size_t element = support::DtypeSize(tensor.dtype);
    const int64_t count = tensor.elements();
    for (int64_t i = 0; i < count; ++i) {  // row-major index i -> column-major position
      int64_t rest = i, position = 0;
      std::vector<int64_t> index(tensor.shape.size());
      for (size_t axis = tensor.shape.size(); axis-- > 0;)
        index[axis] = rest % tensor.shape[axis], rest /= tensor.shape[axis];
      for (size_t axis = tensor.shape.size(); axis-- > 0;) position = position * tensor.shape[axis] + index[axis];
      std::memcpy(tensor.bytes.data() + static_cast<size_t>(i) * element,
                  column_major.data() + static_cast<size_t>(position) * element, element);
    }
  }
  return tensor;
}

void WriteNpy(const std::string& path, const HostTensor& tensor) {
  const char* descr = nullptr;
  for (const NumpyType& type : kTypes)
    if (descr == nullptr && type.dtype == tensor.dtype) descr = type.descr;
  if (descr == nullptr)
    throw Failure(kExitUsage, fmt::format("{}: {} has no .npy form", path, support::DtypeName(tensor.dtype)));
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr,
                                   fmt::join(tensor.shape, ", "), tensor.shape.size() == 1 ? "," : "");
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 255), file += static_cast<char>(header.size() >> 8);
  file += header;
  file.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  WriteFileAtomically(path, file);
}

double ElementAsDouble(const HostTensor& tensor, int64_t i) {
  return LoadElement(tensor.bytes.data() + static_cast<size_t>(i) * support::DtypeSize(tensor.dtype), tensor.dtype);
}

void SetElement(HostTensor* tensor, int64_t i, double value) {
  StoreElement(tensor->bytes.data() + static_cast<size_t>(i) * support::DtypeSize(tensor->dtype), tensor->dtype, value);
}

}  // namespace sage::tool
