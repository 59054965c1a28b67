// linear_slots.h: the slots of a LINEAR op, sage/ops.h.
#ifndef SAGE_PLUGINS_INT8_LINEAR_SLOTS_H_
#define SAGE_PLUGINS_INT8_LINEAR_SLOTS_H_

#include <cstdint>

#include "sage/types.h"

namespace sage::int8 {

constexpr uint32_t kLinearX = 0, kLinearW = 1, kLinearBias = 2, kLinearY = 3, kLinearScaleX = 4, kLinearScaleW = 5;

// Rows of X or Y: all axes but the last.
inline int64_t LinearRows(const sage_tensor& tensor) {
  int64_t rows = 1;
  for (uint32_t i = 0; i + 1 < tensor.rank; ++i) rows *= tensor.shape[i];
  return rows;
}

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_LINEAR_SLOTS_H_
