// fake_values.cc: see the header.
#include "fake_values.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "reference/convert.h"

namespace sage::cudnn::fake {
namespace {

sage_dtype DtypeOf(int type) {
  switch (type) {
    case kHalf:
      return SAGE_F16;
    case kInt32:
      return SAGE_I32;
    case kBFloat16:
      return SAGE_BF16;
    case kInt64:
      return SAGE_I64;
    case kBoolean:
      return SAGE_BOOL;
    case kFp8E4M3:
      return SAGE_F8_E4M3FN;
    case kFp8E5M2:
      return SAGE_F8_E5M2;
    default:
      return SAGE_F32;
  }
}

int64_t CountOf(const std::vector<int64_t>& dims) {
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  return count;
}

// Calls each(place in row-major order, element in memory, whether it is in the part) for every element, in order.
template <class Each>
void ForEachElement(const Tensor& tensor, const Part& part, const Each& each) {
  const size_t rank = tensor.rank();
  std::vector<int64_t> index(rank, 0);
  const int64_t count = CountOf(tensor.dims), width = tensor.dims[rank - 1], step = tensor.strides[rank - 1];
  for (int64_t place = 0; place < count; place += width) {
    const auto batch = static_cast<size_t>(index[0]);
    int64_t at = part.starts != nullptr ? (*part.starts)[batch] : index[0] * tensor.strides[0];
    for (size_t i = 1; i + 1 < rank; ++i) at += index[i] * tensor.strides[i];
    int64_t inside = width;  // of this line
    if (part.rows != nullptr) {
      const int64_t rows = (*part.rows)[batch];
      const auto axis = static_cast<size_t>(part.axis);
      inside = axis + 1 == rank ? rows : index[axis] < rows ? width : 0;
    }
    for (int64_t i = 0; i < width; ++i) each(place + i, at + i * step, i < inside);
    for (size_t i = rank - 1; i-- > 0;) {
      if (++index[i] < tensor.dims[i]) break;
      index[i] = 0;
    }
  }
}

}  // namespace

Values::Values(std::vector<int64_t> shape, double value)
    : dims(std::move(shape)), data(static_cast<size_t>(CountOf(dims)), value) {}

double ReadElement(int type, const void* at) { return reference::Read(DtypeOf(type), at); }
void WriteElement(int type, void* at, double value) {
  const double largest = type == kFp8E4M3 ? 448 : type == kFp8E5M2 ? 57344 : 0;
  if (largest != 0 && !std::isnan(value)) value = std::clamp(value, -largest, largest);
  reference::Write(DtypeOf(type), at, value);
}

void RoundTo(int type, std::vector<double>* values) {
  if (type == kFloat) {
    for (double& value : *values) value = static_cast<double>(static_cast<float>(value));
    return;
  }
  uint64_t bytes = 0;
  for (double& value : *values) {
    WriteElement(type, &bytes, value);
    value = ReadElement(type, &bytes);
  }
}

Values Load(const Tensor& tensor, const void* memory, const Part& part) {
  Values values(tensor.dims);
  const auto* const bytes = static_cast<const char*>(memory);
  const int64_t size = ElementSize(tensor.type);
  ForEachElement(tensor, part, [&](int64_t place, int64_t at, bool inside) {
    if (inside) values.data[static_cast<size_t>(place)] = ReadElement(tensor.type, bytes + at * size);
  });
  return values;
}

void Store(const Tensor& tensor, void* memory, const Part& part, const Values& values) {
  auto* const bytes = static_cast<char*>(memory);
  const int64_t size = ElementSize(tensor.type);
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  ForEachElement(tensor, part, [&](int64_t place, int64_t at, bool inside) {
    if (!inside && part.starts != nullptr) return;
    WriteElement(tensor.type, bytes + at * size, inside ? values.data[static_cast<size_t>(place)] : kNan);
  });
}

}  // namespace sage::cudnn::fake
