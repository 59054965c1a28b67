// operands.h: from the slots of an attention op to what a kernel is given.
#ifndef SAGE_PLUGINS_COMMON_CUDA_ATTENTION_OPERANDS_H_
#define SAGE_PLUGINS_COMMON_CUDA_ATTENTION_OPERANDS_H_

#include <cstdint>

#include "common/cuda/attention_arguments.h"
#include "sage/plugin.h"
#include "sage/support/op_view.h"

namespace sage::cuda {

// Null: *arguments holds the call, pointers included. Else why it cannot be said in arguments, in words that follow
// "attention is refused: ". slots: SAGE_ATTN_* order, of an op that passed CheckOp, or of a run as planned. Allocates
// nothing. extras (optional): who has no use for them has operands of 8 bits refused; dropout and scales are for the
// asker's own list of features.
const char* BindAttention(const sage_attention_attributes& attributes, uint64_t features,
                          const sage_tensor* const* slots, uint32_t num_slots, AttentionArguments* arguments,
                          AttentionExtras* extras = nullptr);

// The same of an op that is asked about. Addresses are not known yet and may not change the answer: all are the same
// good one, and only what is absent is null.
const char* BindAskedAttention(const support::OpView& view, uint64_t features, AttentionArguments* arguments,
                               AttentionExtras* extras = nullptr);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_ATTENTION_OPERANDS_H_
