// q15_support.cc: what Q15 attention is refused, each with its reason.
#include "q15.h"
#include "sage/support/attention_dims.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::int8 {
namespace {

bool RefuseDtypes(const OpView& view, sage_answer* answer) {
  const sage_dtype q = view.Slot(SAGE_ATTN_Q).dtype, k = view.Slot(SAGE_ATTN_K).dtype;
  if (q != SAGE_I16 || k != SAGE_I16) {  // V has K's
    sage_refuse(answer, 0, "Q is %s, K and V are %s: 16-bit fixed point has all three in i16", support::DtypeName(q),
                support::DtypeName(k));
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
                  {"V", "SCALE_V", SAGE_ATTN_V, attributes.granularity_v},
                  {"O", "SCALE_O", SAGE_ATTN_O, attributes.granularity_o}};
  for (const auto& [operand, name, slot, granularity] : operands) {
    const bool codes = view.Slot(slot).dtype == SAGE_I16;
    if (codes && granularity == 0) {
      sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES,
                  "%s is i16 without %s: codes mean nothing without their scale; that of Q15 is 2^-15", operand, name);
      return true;
    }
    if (!codes && granularity != 0) {
      sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES, "%s is given, but %s is %s and not quantised", name, operand,
                  support::DtypeName(view.Slot(slot).dtype));
      return true;
    }
    if (granularity > SAGE_PER_HEAD) {
      sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES,
                  "%s is per token, channel or block: 16-bit fixed point has one factor a head, so it is per tensor or "
                  "per head",
                  name);
      return true;
    }
  }
  if (attributes.granularity_p != 0) {
    sage_refuse(answer, SAGE_ATTN_F_QUANT_SCALES,
                "SCALE_P is not supported in 16-bit fixed point: weights have 30 bits of their own");
    return true;
  }
  return false;
}

bool RefuseFeatures(const OpView& view, uint64_t features, sage_answer* answer) {
  const struct {
    uint64_t bits;
    const char* reason;
  } reasons[] = {{SAGE_ATTN_F_DROPOUT, "dropout is for training; this backend computes inference: set it to 0"},
                 {SAGE_ATTN_F_BIAS | SAGE_ATTN_F_ALIBI | SAGE_ATTN_F_SINKS,
                  "bias, ALiBi and sinks are added to scores as floats; in 16-bit fixed point scores are integers: use "
                  "i8 or floats"},
                 {SAGE_ATTN_F_SOFTCAP,
                  "a softcap is a tanh of floats; in 16-bit fixed point scores are integers: use i8 or floats"},
                 {SAGE_ATTN_F_BOOL_MASK | SAGE_ATTN_F_BIT_MASK | SAGE_ATTN_F_BLOCK_MASK | SAGE_ATTN_F_CSR_MASK,
                  "masks that are data are not supported in 16-bit fixed point: causal, windows and lengths are"},
                 {SAGE_ATTN_F_LSE, "LSE is a logarithm in floats; 16-bit fixed point writes O only"},
                 {SAGE_ATTN_F_WEIGHTS_OUT | SAGE_ATTN_F_SCORES_OUT,
                  "WEIGHTS and SCORES are floats; 16-bit fixed point writes O only"}};
  for (const auto& [bits, reason] : reasons) {
    if ((features & bits) == 0) continue;
    sage_refuse(answer, features & bits, "%s", reason);
    return true;
  }
  if (const uint64_t unknown = features & ~kQ15Features; unknown != 0) {
    sage_refuse(answer, unknown, "feature bits 0x%llx are not supported in 16-bit fixed point",
                static_cast<unsigned long long>(unknown));
    return true;
  }
  if (view.attributes.attention.algorithm == SAGE_ALGORITHM_FLASH) {
    sage_refuse(
        answer, 0,
        "the flash algorithm rescales as it goes; 16-bit fixed point keeps the scores of whole rows, so that it "
        "never does: use MATERIALISED or AUTO");
    return true;
  }
  return false;
}

bool RefuseSizes(const OpView& view, sage_answer* answer) {
  const support::AttentionDims dims = support::ReadAttentionDims(view.pointers.data(), view.op.num_slots);
  if (dims.dim_qk > kQ15LongestHead) {
    sage_refuse(
        answer, 0,
        "head dimension %lld: sums of products of 16-bit codes have the 47 bits that fixed point takes up to %lld "
        "(2^30 x %lld)",
        static_cast<long long>(dims.dim_qk), static_cast<long long>(kQ15LongestHead),
        static_cast<long long>(kQ15LongestHead));
    return true;
  }
  if (const int64_t longest = Q15LongestKv(view); longest > kQ15LongestRow) {
    sage_refuse(answer, 0,
                "%lld keys: sums of 30-bit weights times 16-bit codes are exact in 64 bits up to %lld; of packed rows "
                "max_seq_kv says how long one sequence is",
                static_cast<long long>(longest), static_cast<long long>(kQ15LongestRow));
    return true;
  }
  return false;
}

}  // namespace

bool IsQ15(const OpView& view) {
  return view.op.kind == SAGE_OP_ATTENTION &&
         (view.Slot(SAGE_ATTN_Q).dtype == SAGE_I16 || view.Slot(SAGE_ATTN_K).dtype == SAGE_I16);
}

int64_t Q15LongestKv(const OpView& view) {
  const support::AttentionDims dims = support::ReadAttentionDims(view.pointers.data(), view.op.num_slots);
  const int64_t bound = view.attributes.attention.max_seq_kv;
  return dims.packed_kv() && bound > 0 && bound < dims.seq_kv ? bound : dims.seq_kv;
}

bool RefuseQ15(const OpView& view, uint64_t features, sage_answer* answer) {
  return RefuseDtypes(view, answer) || RefuseScales(view, answer) || RefuseFeatures(view, features, answer) ||
         RefuseSizes(view, answer);
}

}  // namespace sage::int8
