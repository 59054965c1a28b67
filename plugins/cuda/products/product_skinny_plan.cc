// product_skinny_plan.cc: see the header.
#include "products/product_skinny_plan.h"

namespace sage::cuda {

SkinnyOrder SkinnyOrderOf(const ProductArguments& a) {
  if (a.m > kSkinnyMaxRows || a.x_type != a.w_type) return SkinnyOrder::kNone;
  if (int64_t{a.n} * a.batch > INT32_MAX) return SkinnyOrder::kNone;  // a launch has no more blocks
  if (!IsHalf(a.x_type) && a.x_type != ProductType::kF32 && a.x_type != ProductType::kF64) return SkinnyOrder::kNone;
  // Its sums are in X's own precision.
  if (a.x_type != ProductType::kF64 && SumOf(a) == ProductSum::kF64) return SkinnyOrder::kNone;
  const int64_t piece = kSkinnyAlign / SizeOf(a.x_type);
  const auto crooked = [&](int64_t size, int64_t stride) { return size > 1 && stride % piece != 0; };
  bool crooked_w = false, crooked_x = crooked(a.m, a.x_row);
  for (int32_t axis = 0; axis < a.batch_axes; ++axis) {
    crooked_w = crooked_w || crooked(a.axes[axis].size, a.axes[axis].w);
    crooked_x = crooked_x || crooked(a.axes[axis].size, a.axes[axis].x);
  }
  if (crooked_w) return SkinnyOrder::kNone;
  if ((a.k <= 1 || (a.x_column == 1 && a.w_column == 1)) && !crooked(a.n, a.w_row) && !crooked_x)
    return SkinnyOrder::kAlongK;
  if ((a.n <= 1 || a.w_row == 1) && !crooked(a.k, a.w_column)) return SkinnyOrder::kAlongN;
  return SkinnyOrder::kNone;
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
