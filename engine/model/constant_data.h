// constant_data.h: numbers written as text become a constant's bytes.
#ifndef SAGE_ENGINE_MODEL_CONSTANT_DATA_H_
#define SAGE_ENGINE_MODEL_CONSTANT_DATA_H_

#include <cstdint>
#include <vector>

#include "sage/types.h"

namespace sage {

// Appends value as one little-endian element of dtype, rounded to nearest even. Null on success, else why it cannot be
// ("is outside the range"), to be followed by "of F16". Nothing is appended then.
const char* AppendValue(sage_dtype dtype, double value, std::vector<uint8_t>* bytes);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_CONSTANT_DATA_H_
