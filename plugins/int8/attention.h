// attention.h: attention in 8 bits on the query tiles of the cpu backend.
#ifndef SAGE_PLUGINS_INT8_ATTENTION_H_
#define SAGE_PLUGINS_INT8_ATTENTION_H_

#include <memory>

#include "cpu/attention.h"
#include "isa.h"
#include "kernel_table.h"
#include "mode.h"

namespace sage::int8 {

constexpr uint64_t kAttentionFeatures = cpu::kAttentionFeatures | SAGE_ATTN_F_QUANT_SCALES;

// One mode on one instruction set.
class Flavour final : public cpu::AttentionFlavour {
 public:
  Flavour(Mode mode, Isa isa);

  void Select(cpu::AttentionDesign* design) const override;
  double OperandBytes(const cpu::AttentionDesign& design) const override;
  double OperandNs(const cpu::AttentionDesign& design) const override;
  sage_status Prepare(const cpu::AttentionCall& call, char* at, const cpu::AttentionOperands** out,
                      sage_error* err) const override;

 private:
  Mode mode_;
  Isa isa_;
  const Int8Kernels& kernels_;
  cpu::AttentionKernels<float> with_floats_;  // but of full
  cpu::AttentionKernels<float> with_bf16_;    // of qk8_pv16, where has_bf16_
  bool has_bf16_ = false;
  cpu::AttentionKernels<float> native_;  // of kv_cache, for who takes class NATIVE
};

// True where *answer has become NO: support.cc. view passed CheckOp.
bool RefuseAttention(const OpView& view, uint64_t features, sage_answer* answer);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_ATTENTION_H_
