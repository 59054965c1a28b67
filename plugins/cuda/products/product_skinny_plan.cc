// product_skinny_plan.cc: see the header.
#include "products/product_skinny_plan.h"

namespace sage::cuda {

const char* SkinnyRefusal(const ProductArguments& a) {
  if (a.m > kSkinnyMaxRows) return "more than 8 rows";
  if (a.x_type != a.w_type || (!IsHalf(a.x_type) && a.x_type != ProductType::kF32 && a.x_type != ProductType::kF64))
    return "X and W are not of one of f64, f32, f16 and bf16";
  // Its sums are in X's own precision.
  if (a.x_type != ProductType::kF64 && SumOf(a) == ProductSum::kF64) return "f64 beside narrower operands";
  if (a.k > 1 && (a.x_column != 1 || a.w_column != 1)) return "X or W is not contiguous along K";
  const int64_t piece = kSkinnyAlign / SizeOf(a.x_type);
  const auto crooked = [&](int64_t size, int64_t stride) { return size > 1 && stride % piece != 0; };
  bool odd = crooked(a.m, a.x_row) || crooked(a.n, a.w_row);
  for (int32_t axis = 0; axis < a.batch_axes; ++axis)
    odd = odd || crooked(a.axes[axis].size, a.axes[axis].x) || crooked(a.axes[axis].size, a.axes[axis].w);
  return odd ? "rows of X or W do not begin at multiples of 16 bytes" : nullptr;
}

int32_t SkinnySplit(const ProductArguments& a, int32_t multiprocessors) {
  constexpr int64_t kWarpsToFill = 16;  // of a multiprocessor, that hide the memory's latency
  const int64_t pieces = a.k / static_cast<int64_t>(kSkinnyAlign / SizeOf(a.x_type));
  const int64_t warps = int64_t{a.n} * a.batch;
  int32_t split = 1;
  while (split < kSkinnyWarps && warps * split < kWarpsToFill * multiprocessors && pieces >= 32 * 2 * split) split *= 2;
  return split;
}

}  // namespace sage::cuda
