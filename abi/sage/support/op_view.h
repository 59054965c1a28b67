// op_view.h: an op taken in: the struct_size rule applied to it, its attributes and its tensors, once, for the engine
// and for every backend written in C++.
//
// A view owns copies of the structs, not of the data. After TakeInOp and CheckOp succeed, code may index slots, shapes
// and strides without further checks. Not ABI: compiled into each side.
#ifndef SAGE_SUPPORT_OP_VIEW_H_
#define SAGE_SUPPORT_OP_VIEW_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sage/ops.h"

namespace sage::support {

struct OpView {
  sage_op op{};       // op.slots and op.attributes point into this view
  union Attributes {  // as the kind says; all zero where the op gave none
    sage_attention_attributes attention;
    sage_linear_attributes linear;
    sage_norm_attributes norm;
    sage_unary_attributes unary;
    sage_binary_attributes binary;
    sage_softmax_attributes softmax;
    sage_reduce_attributes reduce;
    sage_gather_attributes gather;
    sage_concat_attributes concat;
    sage_slice_attributes slice;
    sage_permute_attributes permute;
    sage_topk_attributes topk;
    sage_rope_attributes rope;
    sage_pool_attributes pool;
  } attributes{};
  // As many as the kind has slots (CONCAT: as many as given), so every known slot may be asked for.
  std::vector<sage_tensor> tensors;          // meaningless where absent
  std::vector<const sage_tensor*> pointers;  // null where absent

  OpView() = default;
  OpView(const OpView&) = delete;
  OpView& operator=(const OpView&) = delete;

  bool Has(uint32_t slot) const { return slot < pointers.size() && pointers[slot] != nullptr; }
  const sage_tensor& Slot(uint32_t slot) const { return tensors[slot]; }
};

// Applies the struct_size rule to everything the op points to. Returns SAGE_OK, SAGE_E_UNKNOWN_FIELD (a field, slot or
// kind newer than this build) or SAGE_E_INVALID_ARGUMENT; *why gets the sentence. A device_type of 0 becomes SAGE_CPU.
// Slots beyond the kind's known ones must be null; op.num_slots is the kind's afterwards. At most 4096 slots (CONCAT).
sage_status TakeInOp(const sage_op* theirs, OpView* out, std::string* why);

}  // namespace sage::support

#endif  // SAGE_SUPPORT_OP_VIEW_H_
