// refusals.cc: see refusals.h.
#include "refusals.h"

namespace sage::cpu {

bool RefusePlacement(const OpView& view, sage_answer* answer) {
  if ((view.op.requirements & SAGE_REQUIRE_STREAM_CAPTURE) != 0) {
    sage_refuse(answer, 0, "the op is to be captured into a CUDA graph; this backend runs on the CPU");
    return true;
  }
  if (view.op.aliases != 0) {
    sage_refuse(answer, 0, "%s in place is not supported: give the output memory of its own",
                support::KindName(view.op.kind));
    return true;
  }
  for (uint32_t s = 0; s < view.op.num_slots; ++s) {
    if (!view.Has(s)) continue;
    const int32_t device = view.Slot(s).device_type;
    if (device == SAGE_CPU || device == 0 || device == SAGE_CUDA_HOST) continue;
    sage_refuse(answer, 0, "slot %u lies on device type %d; this backend reads CPU memory only", s, device);
    return true;
  }
  return false;
}

bool RefuseNonFloats(const OpView& view, uint64_t others, sage_answer* answer) {
  if (RefusePlacement(view, answer)) return true;
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
