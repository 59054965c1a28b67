// movement.cc: GATHER, CONCAT, SLICE and PERMUTE: bytes from one place to another, whatever they mean.
#include "kernel.h"

namespace sage::reference {
namespace {

void CopyElement(const sage_tensor& x, int64_t x_offset, const sage_tensor& y, int64_t y_offset) {
  std::memcpy(AddressOf(y, y_offset), AddressOf(x, x_offset), support::DtypeSize(y.dtype));
}

int64_t ReadIndex(const sage_tensor& indices, int64_t offset) {
  const char* at = AddressOf(indices, offset);
  return indices.dtype == SAGE_I64 ? ReadRaw<int64_t>(at) : static_cast<int64_t>(ReadRaw<int32_t>(at));
}

}  // namespace

sage_status RunGather(const Job& job) {
  const sage_tensor &x = job.Slot(0), &indices = job.Slot(1), &y = job.Slot(2);
  const uint32_t axis = static_cast<uint32_t>(job.planned.attributes.gather.axis);
  const int64_t count = ElementCount(indices);
  for (int64_t i = 0; i < count; ++i) {
    int64_t index[SAGE_MAX_RANK];
    Unravel(i, indices.shape, indices.rank, index);
    const int64_t wanted = ReadIndex(indices, OffsetOf(indices, index));
    if (wanted < 0 || wanted >= x.shape[axis])
      return sage_fail(
          job.err, SAGE_E_INVALID_ARGUMENT, "GATHER: index %lld (place %lld) is outside axis %u of length %lld",
          static_cast<long long>(wanted), static_cast<long long>(i), axis, static_cast<long long>(x.shape[axis]));
  }
  // Y's axes are X's before `axis`, those of INDICES, X's after it.
  return ForEach(job, ElementCount(y), 20, [&](int64_t item, uint32_t) {
    int64_t index[SAGE_MAX_RANK], x_index[SAGE_MAX_RANK];
    Unravel(item, y.shape, y.rank, index);
    for (uint32_t i = 0; i < x.rank; ++i)
      x_index[i] = i < axis ? index[i] : i == axis ? 0 : index[i - 1 + indices.rank];
    x_index[axis] = ReadIndex(indices, OffsetOf(indices, index + axis));
    CopyElement(x, OffsetOf(x, x_index), y, OffsetOf(y, index));
  });
}

sage_status RunConcat(const Job& job) {
  const sage_tensor& y = job.Slot(0);
  const uint32_t axis = static_cast<uint32_t>(job.planned.attributes.concat.axis);
  int64_t begin = 0;
  for (uint32_t slot = 1; slot < job.planned.pointers.size(); ++slot) {
    const sage_tensor& x = job.Slot(slot);
    const sage_status status = ForEach(job, ElementCount(x), 20, [&](int64_t item, uint32_t) {
      int64_t index[SAGE_MAX_RANK];
      Unravel(item, x.shape, x.rank, index);
      CopyElement(x, OffsetOf(x, index), y, OffsetOf(y, index) + begin * y.stride[axis]);
    });
    if (status != SAGE_OK) return status;
    begin += x.shape[axis];
  }
  return SAGE_OK;
}

sage_status RunSlice(const Job& job) {
  const sage_tensor &x = job.Slot(0), &y = job.Slot(1);
  const sage_slice_attributes& attributes = job.planned.attributes.slice;
  return ForEach(job, ElementCount(y), 20, [&](int64_t item, uint32_t) {
    int64_t index[SAGE_MAX_RANK], x_offset = 0;
    Unravel(item, y.shape, y.rank, index);
    for (uint32_t axis = 0; axis < x.rank; ++axis) {
      const int64_t step = attributes.step[axis] == 0 ? 1 : attributes.step[axis];
      x_offset += (attributes.begin[axis] + index[axis] * step) * x.stride[axis];
    }
    CopyElement(x, x_offset, y, OffsetOf(y, index));
  });
}

sage_status RunPermute(const Job& job) {
  const sage_tensor &x = job.Slot(0), &y = job.Slot(1);
  const sage_permute_attributes& attributes = job.planned.attributes.permute;
  return ForEach(job, ElementCount(y), 20, [&](int64_t item, uint32_t) {
    int64_t index[SAGE_MAX_RANK], x_offset = 0;
    Unravel(item, y.shape, y.rank, index);
    for (uint32_t i = 0; i < y.rank; ++i) x_offset += index[i] * x.stride[attributes.axes[i]];
    CopyElement(x, x_offset, y, OffsetOf(y, index));
  });
}

}  // namespace sage::reference
