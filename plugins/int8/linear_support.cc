// linear_support.cc: what LINEAR is refused here, each with its reason.
#include "linear.h"
#include "linear_slots.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::int8 {
namespace {

bool IsOperand(sage_dtype dtype) {
  return dtype == SAGE_F32 || dtype == SAGE_F16 || dtype == SAGE_BF16 || dtype == SAGE_I8;
}

bool RefuseScales(const OpView& view, sage_answer* answer) {
  if (view.Slot(kLinearY).dtype == SAGE_I32) {
    if (view.Has(kLinearScaleX) == view.Has(kLinearScaleW)) return false;
    sage_refuse(answer, 0,
                "Y is i32 with only one of SCALE_X and SCALE_W: without both it is the exact sum of products, with "
                "both it is rounded");
    return true;
  }
  const struct {
    const char *operand, *name;
    uint32_t slot, scale;
  } operands[] = {{"X", "SCALE_X", kLinearX, kLinearScaleX}, {"W", "SCALE_W", kLinearW, kLinearScaleW}};
  for (const auto& [operand, name, slot, scale] : operands) {
    if (view.Slot(slot).dtype != SAGE_I8 || view.Has(scale)) continue;
    sage_refuse(answer, 0,
                "%s is i8 without %s: codes mean nothing without their scale (of two i8 operands without scales the "
                "sums are served as i32)",
                operand, name);
    return true;
  }
  return false;
}

}  // namespace

bool RefuseLinear(const OpView& view, sage_answer* answer) {
  const sage_dtype x = view.Slot(kLinearX).dtype, w = view.Slot(kLinearW).dtype;
  if (!IsOperand(x) || !IsOperand(w)) {
    sage_refuse(answer, 0, "LINEAR of %s and %s is not supported here: X and W in f32, f16, bf16 and i8 are",
                support::DtypeName(x), support::DtypeName(w));
    return true;
  }
  if (const int64_t depth = view.Slot(kLinearW).shape[1]; depth > kDeepestSum) {
    sage_refuse(answer, 0,
                "K is %lld: sums of products of 8-bit codes are exact in 32 bits up to %lld (128 x 128 x %lld < 2^31)",
                static_cast<long long>(depth), static_cast<long long>(kDeepestSum),
                static_cast<long long>(kDeepestSum));
    return true;
  }
  return RefuseScales(view, answer);
}

}  // namespace sage::int8
