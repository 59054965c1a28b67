// elements.h: one element of any dtype to a double and back: for the values a model writes out, for seeded test data
// and for comparing results.
//
// Exactness before speed: round to nearest even, integers saturate, NaN stays NaN. Kernels have their own conversions.
#ifndef SAGE_ENGINE_PLAN_ELEMENTS_H_
#define SAGE_ENGINE_PLAN_ELEMENTS_H_

#include "sage/types.h"

namespace sage {

// data may be at any address. 0 for an unknown dtype. i64 and u64 beyond 2^53 lose digits.
double LoadElement(const void* data, sage_dtype dtype);
void StoreElement(void* data, sage_dtype dtype, double value);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_ELEMENTS_H_
