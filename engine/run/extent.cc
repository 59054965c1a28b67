#include "run/extent.h"

#include "sage/support/check_op.h"

namespace sage {

bool ExtentOf(const sage_tensor& tensor, Extent* out) {
  int64_t lowest = 0, highest = 0, count = 1;
  bool repeats = false;
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] == 0) {
      *out = {0, 0, true};
      return true;
    }
    int64_t reach = 0;
    if (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.stride[i], &reach) ||
        __builtin_add_overflow(reach < 0 ? lowest : highest, reach, reach < 0 ? &lowest : &highest)) {
      return false;
    }
    repeats = repeats || (tensor.stride[i] == 0 && tensor.shape[i] > 1) ||
              __builtin_mul_overflow(count, tensor.shape[i], &count);
  }
  const int64_t size = support::DtypeSize(tensor.dtype);
  const auto address = reinterpret_cast<intptr_t>(tensor.data);
  intptr_t span = 0, begin = 0, end = 0;
  if (__builtin_sub_overflow(highest, lowest, &span) || __builtin_mul_overflow(lowest, size, &lowest) ||
      __builtin_mul_overflow(highest, size, &highest) || __builtin_add_overflow(highest, size, &highest) ||
      __builtin_add_overflow(address, lowest, &begin) || __builtin_add_overflow(address, highest, &end)) {
    return false;
  }
  *out = {static_cast<uintptr_t>(begin), static_cast<uintptr_t>(end), !repeats && span == count - 1};
  return true;
}

bool MayOverlap(const sage_tensor& a, const sage_tensor& b) {
  Extent x, y;
  if (!ExtentOf(a, &x) || !ExtentOf(b, &y)) return true;
  return x.begin < y.end && y.begin < x.end;
}

}  // namespace sage
