// cast.h: any dtype to any other, one element or a line of them: SAGE_FN_IDENTITY with differing dtypes.
//
// Rounds once, to nearest even, also from 64-bit integers. Integers saturate and take NaN as 0; a bool is "not zero";
// a float too large for its target becomes infinity, or NaN where the target (E4M3FN) has none.
#ifndef SAGE_PLUGINS_CPU_CAST_H_
#define SAGE_PLUGINS_CPU_CAST_H_

#include <cstdint>

#include "lines.h"

namespace sage::cpu {

// n elements, steps apart in elements, at any byte address.
void CastLine(const LineKernels& lines, sage_dtype from, const char* source, int64_t source_step, sage_dtype to,
              char* target, int64_t target_step, int64_t n);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_CAST_H_
