// refusals.h: what the kinds besides attention refuse alike, and the accuracy they deliver.
#ifndef SAGE_PLUGINS_CPU_REFUSALS_H_
#define SAGE_PLUGINS_CPU_REFUSALS_H_

#include "family.h"
#include "sage/support/check_op.h"

namespace sage::cpu {

// Sums are taken in float blocks or in double, and every result is rounded once to its own type: at least as exact as
// the naive kernel in that type, for the 16-bit types too.
constexpr uint32_t kAccuracy = SAGE_ACCURACY_EXACT;

// True where *answer has become NO: every present slot but those in `others` (bit s) must be f64, f32, f16 or bf16.
bool RefuseNonFloats(const OpView& view, uint64_t others, sage_answer* answer);
bool AnyIsDouble(const OpView& view);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_REFUSALS_H_
