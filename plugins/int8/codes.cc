// codes.cc: see codes.h.
#include "codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/numbers.h"

namespace sage::int8 {

void ReadRow(sage_dtype dtype, const void* row, int64_t step, int64_t count, float* to) {
  ReadFloats(dtype, row, step, count, to);
  std::fill(to + count, to + PaddedRow(count), 0.0f);
}

const float* FloatRow(sage_dtype dtype, const void* row, int64_t step, int64_t count, float* room) {
  if (dtype == SAGE_F32 && step == static_cast<int64_t>(sizeof(float)) && count % kPanel == 0 &&
      reinterpret_cast<uintptr_t>(row) % alignof(float) == 0)
    return static_cast<const float*>(row);
  ReadRow(dtype, row, step, count, room);
  return room;
}

void ReadFloats(sage_dtype dtype, const void* row, int64_t step, int64_t count, float* to) {
  const char* const from = static_cast<const char*>(row);
  if (dtype == SAGE_F32) {
    if (step == static_cast<int64_t>(sizeof(float))) {
      std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
      return;
    }
    for (int64_t i = 0; i < count; ++i) to[i] = cpu::ReadAs<float>(from + i * step);
  } else if (dtype == SAGE_BF16) {
    for (int64_t i = 0; i < count; ++i) to[i] = cpu::Bf16ToFloat(cpu::ReadAs<uint16_t>(from + i * step));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = cpu::F16ToFloat(cpu::ReadAs<uint16_t>(from + i * step));
  }
}

void ReadCodes(const void* row, int64_t step, int64_t count, int8_t* to) {
  const char* const from = static_cast<const char*>(row);
  if (step == 1) {
    std::memcpy(to, from, static_cast<size_t>(count));
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i] = cpu::ReadAs<int8_t>(from + i * step);
}

float ScaleOf(float largest) {
  if (!std::isfinite(largest)) return std::numeric_limits<float>::quiet_NaN();
  return largest / 127.0f;
}

void Encode(const Int8Kernels& kernels, const float* row, int64_t padded, float scale, int8_t* codes) {
  // Below it the inverse is beyond a float: what is left is nothing beside any other number.
  if (scale >= 0x1p-126f)
    kernels.encode_row(row, 1.0f / scale, padded, codes);
  else
    std::fill_n(codes, padded, int8_t{0});
}

}  // namespace sage::int8
