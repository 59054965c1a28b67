// extent.h: which bytes a tensor lies in, and whether two tensors meet.
#ifndef SAGE_ENGINE_RUN_EXTENT_H_
#define SAGE_ENGINE_RUN_EXTENT_H_

#include <cstdint>

#include "sage/types.h"

namespace sage {

// [begin, end) holds every element; dense: there is no room between them, each byte is an element's. Empty tensors have
// begin = end.
struct Extent {
  uintptr_t begin, end;
  bool dense;
};

// False when address or offsets leave 64 bits. Shapes are >= 0.
bool ExtentOf(const sage_tensor& tensor, Extent* out);

// Their extents meet, or one has none. Elements may still lie between each other's.
bool MayOverlap(const sage_tensor& a, const sage_tensor& b);

// They surely share an element. False where strides leave room between elements, as those of an output that lies
// between the rows of a wider buffer do. x and y are the extents of a and b.
inline bool SurelyOverlap(const sage_tensor& a, const Extent& x, const sage_tensor& b, const Extent& y) {
  if (x.begin >= y.end || y.begin >= x.end) return false;
  return (x.dense && y.dense) || a.data == b.data;
}

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_EXTENT_H_
