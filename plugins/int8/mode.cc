// mode.cc: see mode.h.
#include "mode.h"

#include "sage/attention.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::int8 {
namespace {

constexpr struct {
  Mode mode;
  const char* name;
} kNames[] = {{Mode::kAuto, "auto"},
              {Mode::kPerTensor, "per_tensor"},
              {Mode::kQk8Pv16, "qk8_pv16"},
              {Mode::kFull, "full"},
              {Mode::kKvCache, "kv_cache"}};

}  // namespace

const char* ModeName(Mode mode) {
  for (const auto& [value, name] : kNames)
    if (value == mode) return name;
  return "?";
}

bool ModeFromName(std::string_view name, Mode* out) {
  for (const auto& [value, own] : kNames) {
    if (name != own) continue;
    *out = value;
    return true;
  }
  return false;
}

bool ModeFor(Mode wanted, const OpView& view, Mode* out, sage_answer* answer) {
  const bool q_codes = view.Slot(SAGE_ATTN_Q).dtype == SAGE_I8, kv_codes = view.Slot(SAGE_ATTN_K).dtype == SAGE_I8;
  const sage_attention_attributes& attributes = view.attributes.attention;
  const bool exact = q_codes && view.op.accuracy == SAGE_ACCURACY_EXACT;
  *out = wanted != Mode::kAuto ? wanted : kv_codes && !q_codes ? Mode::kKvCache : exact ? Mode::kQk8Pv16 : Mode::kFull;
  if (*out == Mode::kKvCache && (q_codes || !kv_codes)) {
    sage_refuse(answer, 0, "mode kv_cache is for a float Q with K and V in i8, these are %s and %s: use mode=auto",
                support::DtypeName(view.Slot(SAGE_ATTN_Q).dtype), support::DtypeName(view.Slot(SAGE_ATTN_K).dtype));
    return false;
  }
  const auto finer = [](bool codes, uint32_t granularity) { return codes && granularity != SAGE_PER_TENSOR; };
  if (*out == Mode::kPerTensor &&
      (finer(q_codes, attributes.granularity_q) || finer(kv_codes, attributes.granularity_k) ||
       finer(kv_codes, attributes.granularity_v))) {
    sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES,
                "mode per_tensor has one scale for all of Q, K or V, but these have finer ones: use mode=auto");
    return false;
  }
  return true;
}

}  // namespace sage::int8
