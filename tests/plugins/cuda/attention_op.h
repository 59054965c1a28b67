// attention_op.h: attention ops on a device that is only described, for what is decided before anything runs.
#ifndef SAGE_TESTS_PLUGINS_CUDA_ATTENTION_OP_H_
#define SAGE_TESTS_PLUGINS_CUDA_ATTENTION_OP_H_

#include <initializer_list>
#include <vector>

#include "sage/attention.h"
#include "sage/ops.h"

namespace sage::cuda {

// b2.hq8.hkv2.sq64.skv96.d64, bf16, on cuda:0. Everything may be changed before op() is called.
class AttentionOp {
 public:
  explicit AttentionOp(sage_dtype dtype = SAGE_BF16) {
    attributes.struct_size = sizeof attributes;
    Set(SAGE_ATTN_Q, dtype, {2, 8, 64, 64});
    Set(SAGE_ATTN_K, dtype, {2, 2, 96, 64});
    Set(SAGE_ATTN_V, dtype, {2, 2, 96, 64});
    Set(SAGE_ATTN_O, dtype, {2, 8, 64, 64});
  }
  AttentionOp(const AttentionOp&) = delete;
  AttentionOp& operator=(const AttentionOp&) = delete;

  sage_tensor& Set(uint32_t slot, sage_dtype dtype, std::initializer_list<int64_t> shape) {
    const std::vector<int64_t> sizes(shape);
    sage_tensor_init(&tensors[slot], dtype, static_cast<uint32_t>(sizes.size()), sizes.data(), nullptr);
    tensors[slot].device_type = SAGE_CUDA;
    slots[slot] = &tensors[slot];
    return tensors[slot];
  }
  sage_tensor& operator[](uint32_t slot) { return tensors[slot]; }

  const sage_op* op() {
    op_.struct_size = sizeof op_;
    op_.kind = SAGE_OP_ATTENTION;
    op_.attributes = &attributes;
    op_.slots = slots;
    op_.num_slots = SAGE_ATTN_NUM_SLOTS;
    op_.aliases = aliases;
    op_.requirements = requirements, op_.accuracy = accuracy, op_.dynamic_axes = dynamic_axes;
    return &op_;
  }

  sage_attention_attributes attributes{};
  uint64_t aliases = 0;
  uint32_t requirements = 0, accuracy = SAGE_ACCURACY_AUTO, dynamic_axes = 0;
  sage_tensor tensors[SAGE_ATTN_NUM_SLOTS]{};
  const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS]{};

 private:
  sage_op op_{};
};

}  // namespace sage::cuda

#endif  // SAGE_TESTS_PLUGINS_CUDA_ATTENTION_OP_H_
