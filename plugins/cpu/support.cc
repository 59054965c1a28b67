// support.cc: what attention is refused here, each with its reason.
#include "attention.h"
#include "sage/support/check_op.h"

namespace sage::cpu {
namespace {

bool RefuseDtypes(const OpView& view, sage_answer* answer) {
  const sage_dtype q = view.Slot(SAGE_ATTN_Q).dtype, k = view.Slot(SAGE_ATTN_K).dtype;
  if (!support::IsFloat(q) || !support::IsFloat(k)) {
    sage_refuse(answer, 0, "attention with %s queries and %s keys is not supported here: f64, f32, f16 and bf16 are",
                support::DtypeName(q), support::DtypeName(k));
    return true;
  }
  if ((q == SAGE_F64) != (k == SAGE_F64)) {
    sage_refuse(answer, 0, "attention with %s queries and %s keys is not supported here: f64 goes with f64 only",
                support::DtypeName(q), support::DtypeName(k));
    return true;
  }
  return false;
}

bool RefuseScales(uint64_t features, sage_answer* answer) {
  if ((features & SAGE_ATTN_F_QUANT_SCALES) == 0) return false;
  sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES, "quantisation scales are not supported by this backend");
  return true;
}

}  // namespace

bool RefuseFeatures(const OpView& view, uint64_t features, uint64_t served, sage_answer* answer) {
  if ((features & SAGE_ATTN_F_DROPOUT) != 0) {
    sage_refuse(answer, SAGE_ATTN_F_DROPOUT, "dropout %g is for training; this backend computes inference: set it to 0",
                view.attributes.attention.dropout_p);
    return true;
  }
  if (const uint64_t unknown = features & ~served; unknown != 0) {
    sage_refuse(answer, unknown, "feature bits 0x%llx are not supported by this backend",
                static_cast<unsigned long long>(unknown));
    return true;
  }
  constexpr uint64_t kWholeRows = SAGE_ATTN_F_WEIGHTS_OUT | SAGE_ATTN_F_SCORES_OUT;
  if (view.attributes.attention.algorithm == SAGE_ALGORITHM_FLASH && (features & kWholeRows) != 0) {
    sage_refuse(answer, features & kWholeRows,
                "the flash algorithm never has whole rows of scores, which the %s output asks for: use MATERIALISED or "
                "AUTO",
                (features & SAGE_ATTN_F_WEIGHTS_OUT) != 0 ? "WEIGHTS" : "SCORES");
    return true;
  }
  return false;
}

bool RefuseAttention(const OpView& view, uint64_t features, sage_answer* answer) {
  return RefuseDtypes(view, answer) || RefuseScales(features, answer) ||
         RefuseFeatures(view, features, kAttentionFeatures, answer);
}

}  // namespace sage::cpu
