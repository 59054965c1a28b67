// codes.h: rows of what is stored, and the scale that a row's largest magnitude gives its codes: value = scale x code,
// codes from -127 to 127.
#ifndef SAGE_PLUGINS_INT8_CODES_H_
#define SAGE_PLUGINS_INT8_CODES_H_

#include <cstdint>

#include "kernels.h"
#include "sage/types.h"

namespace sage::int8 {

constexpr int64_t PaddedRow(int64_t length) { return (length + kPanel - 1) / kPanel * kPanel; }

// Elements of a row of f32, f16 or bf16, `step` bytes apart, at any byte address, as floats.
void ReadFloats(sage_dtype dtype, const void* row, int64_t step, int64_t count, float* to);
// The same, with zeros up to PaddedRow.
void ReadRow(sage_dtype dtype, const void* row, int64_t step, int64_t count, float* to);
// The same: the row itself where the kernels can read it as it lies, else what ReadRow makes of it in `room`.
const float* FloatRow(sage_dtype dtype, const void* row, int64_t step, int64_t count, float* room);
void ReadCodes(const void* row, int64_t step, int64_t count, int8_t* to);

// Of a row whose largest magnitude is `largest`: NaN where it is not finite, 0 where all is 0.
float ScaleOf(float largest);
// The codes of a padded row whose magnitudes are at most 127 times the scale; zeros of a scale of 0 or NaN.
void Encode(const Int8Kernels& kernels, const float* row, int64_t padded, float scale, int8_t* codes);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_CODES_H_
