// tensor_argument.cc: the little grammar of --input, --output and --expect.
#include "tensor_argument.h"

#include <fmt/format.h>

#include <charconv>
#include <vector>

#include "common.h"
#include "sage/support/check_op.h"

namespace sage::tool {
namespace {

constexpr const char* kForms = "expected NAME=@file.npy or NAME=2x8x64xf32:random,seed=1 (also value=V, range)";
constexpr uint64_t kMaxBytes = 16ull << 30;

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

sage_dtype DtypeByName(const std::string& name) {
  for (sage_dtype dtype :
       {SAGE_F32, SAGE_F64, SAGE_F16, SAGE_BF16, SAGE_I8, SAGE_I16, SAGE_I32, SAGE_I64, SAGE_U8, SAGE_U64, SAGE_BOOL})
    if (name == support::DtypeName(dtype)) return dtype;
  return 0;
}

template <class T>
bool Read(const std::string& text, T* value) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return problem == std::errc() && end == text.data() + text.size() && !text.empty();
}

// SplitMix64: short, and the same everywhere.
uint64_t NextRandom(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace

NamedFile ParseFileArgument(const std::string& text, const std::string& flag) {
  const size_t equals = text.find("=@");
  if (equals == std::string::npos || equals == 0 || equals + 2 == text.size())
    throw Failure(kExitUsage, fmt::format("{} {}: expected NAME=@file.npy", flag, text));
  return {text.substr(0, equals), text.substr(equals + 2)};
}

NamedTensor ParseTensorArgument(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw Failure(kExitUsage, fmt::format("--input {}: {}", text, kForms));
  NamedTensor result;
  result.name = text.substr(0, equals);
  const std::string rest = text.substr(equals + 1);
  if (rest[0] == '@') {
    result.tensor = ReadNpy(rest.substr(1));
    return result;
  }
  const size_t colon = rest.find(':');
  if (colon == std::string::npos)
    throw Failure(kExitUsage, fmt::format("--input {}: nothing after the shape; {}", text, kForms));
  std::vector<std::string> sizes = Split(rest.substr(0, colon), 'x');
  HostTensor& tensor = result.tensor;
  tensor.dtype = DtypeByName(sizes.back());
  if (tensor.dtype == 0)
    throw Failure(kExitUsage,
                  fmt::format("--input {}: \"{}\" is not a type; known: f32 f64 f16 bf16 i8 i16 i32 i64 u8 u64 bool",
                              text, sizes.back()));
  sizes.pop_back();
  uint64_t bytes = support::DtypeSize(tensor.dtype);
  for (const std::string& part : sizes) {
    int64_t size = 0;
    if (!Read(part, &size) || size < 0)
      throw Failure(kExitUsage, fmt::format("--input {}: \"{}\" is not a size", text, part));
    if (size != 0 && bytes > kMaxBytes / static_cast<uint64_t>(size))
      throw Failure(kExitUsage, fmt::format("--input {}: larger than 16 GiB", text));
    bytes *= static_cast<uint64_t>(size);
    tensor.shape.push_back(size);
  }
  if (tensor.shape.size() > SAGE_MAX_RANK)
    throw Failure(kExitUsage, fmt::format("--input {}: more than {} dimensions", text, SAGE_MAX_RANK));
  std::string kind;
  uint64_t seed = 0;
  double value = 0, times = 1;
  for (const std::string& part : Split(rest.substr(colon + 1), ',')) {
    if (part == "random" || part == "range")
      kind = part;
    else if (part.starts_with("seed=") && Read(part.substr(5), &seed))
      continue;
    else if (part.starts_with("times=") && Read(part.substr(6), &times))
      continue;
    else if (part.starts_with("value=") && Read(part.substr(6), &value))
      kind = "value";
    else
      throw Failure(kExitUsage, fmt::format("--input {}: \"{}\" is not one of random, range, seed=N, times=F, value=V",
                                            text, part));
  }
  if (kind.empty()) throw Failure(kExitUsage, fmt::format("--input {}: {}", text, kForms));
  tensor.bytes.resize(bytes);
  const int64_t count = tensor.elements();
  uint64_t state = seed;
  for (int64_t i = 0; i < count; ++i) {
    const double random = static_cast<double>(NextRandom(&state) >> 11) * 0x1p-52 - 1;
    SetElement(&tensor, i, kind == "random" ? random * times : kind == "range" ? static_cast<double>(i) : value);
  }
  return result;
}

}  // namespace sage::tool
