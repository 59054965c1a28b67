// number.h: doubles in and out of the float types a tensor may have. Rounds to nearest even, as a cast op would.
#ifndef SAGE_ENGINE_SAGE_NUMBER_H_
#define SAGE_ENGINE_SAGE_NUMBER_H_

#include <cstdint>
#include <span>

#include "sage/types.h"

namespace sage {

// The largest finite value; 0 when the type is none of F64, F32, F16, BF16.
double LargestFinite(sage_dtype dtype);
// Writes values to `base` from element `first` on; base may be at any alignment.
void StoreNumbers(sage_dtype dtype, void* base, int64_t first, std::span<const double> values);
double LoadNumber(sage_dtype dtype, const void* base, int64_t index);
// Elements first, first + 1, ...: as LoadNumber one by one, and faster.
void LoadNumbers(sage_dtype dtype, const void* base, int64_t first, std::span<double> out);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_NUMBER_H_
