// read_row.cc: one row of any dtype as doubles; see kernel.h.
#include "kernel.h"

namespace sage::reference {
namespace {

template <class T>
void ReadPlainRow(const char* at, int64_t step, int64_t count, double* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<double>(ReadRaw<T>(at + i * step));
}

}  // namespace

void ReadRow(const sage_tensor& tensor, int64_t offset, int64_t stride, int64_t count, double* out) {
  const char* at = AddressOf(tensor, offset);
  const int64_t step = stride * static_cast<int64_t>(support::DtypeSize(tensor.dtype));
  if (tensor.dtype == SAGE_F64) return ReadPlainRow<double>(at, step, count, out);
  if (tensor.dtype == SAGE_F32) return ReadPlainRow<float>(at, step, count, out);
  for (int64_t i = 0; i < count; ++i) out[i] = Read(tensor.dtype, at + i * step);
}

}  // namespace sage::reference
