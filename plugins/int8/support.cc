// support.cc: what attention is refused here, each with its reason.
#include "attention.h"
#include "operands.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::int8 {
namespace {

bool IsRowType(sage_dtype dtype) {
  return dtype == SAGE_F32 || dtype == SAGE_F16 || dtype == SAGE_BF16 || dtype == SAGE_I8;
}

bool RefuseDtypes(const OpView& view, sage_answer* answer) {
  const sage_dtype q = view.Slot(SAGE_ATTN_Q).dtype, k = view.Slot(SAGE_ATTN_K).dtype;
  const sage_dtype v = view.Slot(SAGE_ATTN_V).dtype;
  if (!IsRowType(q) || !IsRowType(k) || !IsRowType(v)) {
    sage_refuse(answer, 0, "attention with %s queries and %s keys is not supported here: f32, f16, bf16 and i8 are",
                support::DtypeName(q), support::DtypeName(k));
    return true;
  }
  if ((k == SAGE_I8) != (v == SAGE_I8)) {
    sage_refuse(answer, 0, "K is %s and V is %s: both are codes here, or neither", support::DtypeName(k),
                support::DtypeName(v));
    return true;
  }
  if (q == SAGE_I8 && k != SAGE_I8) {
    sage_refuse(answer, 0, "Q is i8 and K is %s: quantise K and V as well, or leave Q a float", support::DtypeName(k));
    return true;
  }
  if (!support::IsFloat(view.Slot(SAGE_ATTN_O).dtype)) {
    sage_refuse(answer, 0, "O is %s: this backend writes floats", support::DtypeName(view.Slot(SAGE_ATTN_O).dtype));
    return true;
  }
  return false;
}

bool RefuseScales(const OpView& view, sage_answer* answer) {
  const sage_attention_attributes& attributes = view.attributes.attention;
  const struct {
    const char *operand, *name;
    uint32_t slot, granularity;
  } operands[] = {{"Q", "SCALE_Q", SAGE_ATTN_Q, attributes.granularity_q},
                  {"K", "SCALE_K", SAGE_ATTN_K, attributes.granularity_k},
                  {"V", "SCALE_V", SAGE_ATTN_V, attributes.granularity_v}};
  for (const auto& [operand, name, slot, granularity] : operands) {
    const bool codes = view.Slot(slot).dtype == SAGE_I8;
    if (codes && granularity == 0) {
      sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES,
                  "%s is i8 without %s: codes mean nothing without their scale (sage_quantize makes both)", operand,
                  name);
      return true;
    }
    if (!codes && granularity != 0) {
      sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES, "%s is given, but %s is %s and not quantised", name, operand,
                  support::DtypeName(view.Slot(slot).dtype));
      return true;
    }
    if (granularity == SAGE_PER_CHANNEL && slot != SAGE_ATTN_V) {
      sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES,
                  "%s is per channel: a sum over channels of integers cannot have it; per tensor, head, token or block "
                  "it can",
                  name);
      return true;
    }
  }
  for (const auto& [name, granularity] :
       {std::pair{"SCALE_P", attributes.granularity_p}, std::pair{"SCALE_O", attributes.granularity_o}}) {
    if (granularity == 0) continue;
    sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES,
                "%s is not supported by this backend: weights have scales of their own here, and O is a float", name);
    return true;
  }
  return false;
}

bool RefuseLength(const OpView& view, sage_answer* answer) {
  const sage_tensor& q = view.Slot(SAGE_ATTN_Q);
  if (const int64_t length = q.shape[q.rank - 1]; length > kLongestHead) {
    sage_refuse(answer, 0,
                "head dimension %lld: sums of products of 8-bit codes are exact in f32 up to %lld (127 x 127 x %lld < "
                "2^24)",
                static_cast<long long>(length), static_cast<long long>(kLongestHead),
                static_cast<long long>(kLongestHead));
    return true;
  }
  const sage_tensor& v = view.Slot(SAGE_ATTN_V);
  if (const int64_t length = v.shape[v.rank - 1]; length > kMostValueChannels) {
    sage_refuse(answer, 0, "V of %lld channels: up to %lld are supported here", static_cast<long long>(length),
                static_cast<long long>(kMostValueChannels));
    return true;
  }
  return false;
}

}  // namespace

bool RefuseAttention(const OpView& view, uint64_t features, sage_answer* answer) {
  return RefuseDtypes(view, answer) || RefuseScales(view, answer) ||
         cpu::RefuseFeatures(view, features, kAttentionFeatures, answer) || RefuseLength(view, answer);
}

}  // namespace sage::int8
