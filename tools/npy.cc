// npy.cc: the header is a Python dictionary literal of three known keys, so it is read by finding them, strictly.
#include "npy.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "common.h"
#include "sage/support/check_op.h"

namespace sage::tool {
namespace {

constexpr uint64_t kMaxFile = 16ull << 30;

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

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31u, mantissa = bits & 1023u;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 0x7f800000u | mantissa << 13 : (exponent + 112) << 23 | mantissa << 13;
  return std::bit_cast<float>(sign | wide);
}

uint16_t FloatToHalf(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000u : 0u;
  const double magnitude = std::fabs(value);
  if (std::isnan(value)) return 0x7e00u;
  if (magnitude >= 65520.0) return static_cast<uint16_t>(sign | 0x7c00u);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // Spacing of halves near the value: 2^(e-11), never below 2^-24. nearbyint rounds ties to even.
  const int shift = std::max(exponent - 11, -24);
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(magnitude, -shift)), shift);
  if (rounded == 0) return sign;
  std::frexp(rounded, &exponent);
  if (exponent - 1 < -14) return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::ldexp(rounded, 24)));
  const auto mantissa = static_cast<uint16_t>(std::ldexp(rounded, 11 - exponent)) & 1023u;
  return static_cast<uint16_t>(sign | static_cast<uint16_t>((exponent + 14) << 10) | mantissa);
}

uint16_t FloatToBfloat(double value) {
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <class T>
T Load(const HostTensor& tensor, int64_t i) {
  T value;
  std::memcpy(&value, tensor.bytes.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}
template <class T>
void Store(HostTensor* tensor, int64_t i, T value) {
  std::memcpy(tensor->bytes.data() + static_cast<size_t>(i) * sizeof(T), &value, sizeof(T));
}
template <class T>
T Saturate(double value) {
  if (std::isnan(value)) return 0;
  if (value <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  if (value >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  return static_cast<T>(std::nearbyint(value));
}

}  // namespace

int64_t HostTensor::elements() const {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

HostTensor ReadNpy(const std::string& path) {
  const std::string file = ReadFile(path, kMaxFile);
  if (file.size() < 10 || file.compare(0, 6, "\x93NUMPY") != 0) Bad(path, "it does not begin with \\x93NUMPY");
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
  switch (tensor.dtype) {
    case SAGE_F32:
      return static_cast<double>(Load<float>(tensor, i));
    case SAGE_F64:
      return Load<double>(tensor, i);
    case SAGE_F16:
      return static_cast<double>(HalfToFloat(Load<uint16_t>(tensor, i)));
    case SAGE_BF16:
      return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(Load<uint16_t>(tensor, i)) << 16));
    case SAGE_I8:
      return Load<int8_t>(tensor, i);
    case SAGE_I16:
      return Load<int16_t>(tensor, i);
    case SAGE_I32:
      return Load<int32_t>(tensor, i);
    case SAGE_I64:
      return static_cast<double>(Load<int64_t>(tensor, i));
    case SAGE_U8:
    case SAGE_BOOL:
      return Load<uint8_t>(tensor, i);
    case SAGE_U64:
      return static_cast<double>(Load<uint64_t>(tensor, i));
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

void SetElement(HostTensor* tensor, int64_t i, double value) {
  switch (tensor->dtype) {
    case SAGE_F32:
      return Store(tensor, i, static_cast<float>(value));
    case SAGE_F64:
      return Store(tensor, i, value);
    case SAGE_F16:
      return Store(tensor, i, FloatToHalf(value));
    case SAGE_BF16:
      return Store(tensor, i, FloatToBfloat(value));
    case SAGE_I8:
      return Store(tensor, i, Saturate<int8_t>(value));
    case SAGE_I16:
      return Store(tensor, i, Saturate<int16_t>(value));
    case SAGE_I32:
      return Store(tensor, i, Saturate<int32_t>(value));
    case SAGE_I64:
      return Store(tensor, i, Saturate<int64_t>(value));
    case SAGE_U8:
      return Store(tensor, i, Saturate<uint8_t>(value));
    case SAGE_U64:
      return Store(tensor, i, Saturate<uint64_t>(value));
    case SAGE_BOOL:
      return Store(tensor, i, static_cast<uint8_t>(value != 0 ? 1 : 0));
    default:
      return;
  }
}

}  // namespace sage::tool
