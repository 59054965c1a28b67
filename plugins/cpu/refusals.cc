// refusals.cc: see refusals.h.
#include "refusals.h"

namespace sage::cpu {

bool RefuseNonFloats(const OpView& view, uint64_t others, sage_answer* answer) {
  for (uint32_t s = 0; s < view.op.num_slots; ++s) {
    if (!view.Has(s) || (s < 64 && ((others >> s) & 1) != 0)) continue;
    if (support::IsFloat(view.Slot(s).dtype)) continue;
    sage_refuse(answer, 0, "%s with %s in slot %u is not supported here: f64, f32, f16 and bf16 are",
                support::KindName(view.op.kind), support::DtypeName(view.Slot(s).dtype), s);
    return true;
  }
  return false;
}

bool AnyIsDouble(const OpView& view) {
  for (uint32_t s = 0; s < view.op.num_slots; ++s)
    if (view.Has(s) && view.Slot(s).dtype == SAGE_F64) return true;
  return false;
}

}  // namespace sage::cpu
