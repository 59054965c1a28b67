// attention_case.h: one attention call with its tensors, filled from a seed and easy to vary: what attention tests of
// every backend start from.
#ifndef SAGE_TESTS_SUPPORT_ATTENTION_CASE_H_
#define SAGE_TESTS_SUPPORT_ATTENTION_CASE_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "support/run_op.h"

namespace sage::test {

struct AttentionShape {
  int64_t batch = 1, heads_q = 1, heads_k = 1, seq_q = 1, seq_kv = 1, dim_qk = 8;
  int64_t dim_v = 0;    // 0 = dim_qk
  int64_t heads_v = 0;  // 0 = heads_k
};

// Slots and attributes are public: a test changes what it is about, then runs. Copyable.
struct AttentionCase {
  std::array<OwnedTensor, SAGE_ATTN_NUM_SLOTS> slots;
  sage_attention_attributes attributes{};
  uint64_t aliases = 0;
  uint32_t requirements = 0, accuracy = SAGE_ACCURACY_AUTO;

  AttentionCase() = default;
  // Dense [B,H,S,D], normal values; O in the inputs' dtype (f32 for integers and fp8).
  AttentionCase(sage_dtype dtype, AttentionShape shape, uint64_t seed) {
    if (shape.dim_v == 0) shape.dim_v = shape.dim_qk;
    if (shape.heads_v == 0) shape.heads_v = shape.heads_k;
    Q() = OwnedTensor(dtype, {shape.batch, shape.heads_q, shape.seq_q, shape.dim_qk}).FillNormal(seed);
    K() = OwnedTensor(dtype, {shape.batch, shape.heads_k, shape.seq_kv, shape.dim_qk}).FillNormal(seed + 1);
    V() = OwnedTensor(dtype, {shape.batch, shape.heads_v, shape.seq_kv, shape.dim_v}).FillNormal(seed + 2);
    const sage_dtype out = support::IsFloat(dtype) ? dtype : SAGE_F32;
    O() = OwnedTensor(out, {shape.batch, shape.heads_q, shape.seq_q, shape.dim_v}).Fill(7.0);
  }

  OwnedTensor& operator[](uint32_t slot) { return slots[slot]; }
  const OwnedTensor& operator[](uint32_t slot) const { return slots[slot]; }
  OwnedTensor& Q() { return slots[SAGE_ATTN_Q]; }
  OwnedTensor& K() { return slots[SAGE_ATTN_K]; }
  OwnedTensor& V() { return slots[SAGE_ATTN_V]; }
  OwnedTensor& O() { return slots[SAGE_ATTN_O]; }
  const OwnedTensor& O() const { return slots[SAGE_ATTN_O]; }

  AttentionCase& Causal(uint32_t alignment) {
    attributes.features |= SAGE_ATTN_F_CAUSAL;
    attributes.alignment = alignment;
    return *this;
  }
  AttentionCase& Scale(double scale) {
    attributes.features |= SAGE_ATTN_F_SCALE;
    attributes.scale = scale;
    return *this;
  }
  // A negative side is unlimited.
  AttentionCase& Window(int64_t left, int64_t right, uint32_t alignment) {
    if (left >= 0) attributes.features |= SAGE_ATTN_F_WINDOW_LEFT, attributes.window_left = left;
    if (right >= 0) attributes.features |= SAGE_ATTN_F_WINDOW_RIGHT, attributes.window_right = right;
    attributes.alignment = alignment;
    return *this;
  }
  // f64 for f64 inputs, else f32.
  sage_dtype StatisticsDtype() const { return slots[SAGE_ATTN_Q].dtype() == SAGE_F64 ? SAGE_F64 : SAGE_F32; }
  AttentionCase& WithLse() {
    const OwnedTensor &q = slots[SAGE_ATTN_Q], &starts = slots[SAGE_ATTN_CU_SEQLENS_Q];
    slots[SAGE_ATTN_LSE] = starts.present() ? OwnedTensor(StatisticsDtype(), {q.dim(1), q.dim(0)})
                                            : OwnedTensor(StatisticsDtype(), {q.dim(0), q.dim(1), q.dim(2)});
    return *this;
  }
  // An absent slot made present over [B,Hq,Sq,Skv]; dense K only.
  OwnedTensor& OverScores(uint32_t slot, sage_dtype dtype) {
    const OwnedTensor& q = slots[SAGE_ATTN_Q];
    return slots[slot] = OwnedTensor(dtype, {q.dim(0), q.dim(1), q.dim(2), slots[SAGE_ATTN_K].dim(2)});
  }
  OwnedTensor& Integers(uint32_t slot, const std::vector<int64_t>& shape, const std::vector<double>& values) {
    return slots[slot] = OwnedTensor(SAGE_I32, shape).FillValues(values);
  }

  void Describe(TestOp& op) const {
    op.Attributes(attributes).Aliases(aliases).Requirements(requirements).Accuracy(accuracy);
    for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) op.Slot(slot, slots[slot]);
  }
  RunResult Run(Instance& instance) {
    TestOp op(SAGE_OP_ATTENTION);
    Describe(op);
    return RunOp(instance, op);
  }
};

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_ATTENTION_CASE_H_
