// check_op.h: is an op what its kind says? Ranks, shapes, dtypes, attributes: the rules of ops.h and attention.h as
// code.
//
// The engine checks every op before a backend sees it; a backend checks again (it may be called by someone else). Data
// is not looked at here: index tensors are checked by CheckAttentionIndices when they are about to be used.
#ifndef SAGE_SUPPORT_CHECK_OP_H_
#define SAGE_SUPPORT_CHECK_OP_H_

#include <string>

#include "sage/support/op_view.h"

namespace sage::support {

// Shapes, strides and dtypes are consistent with the kind's line in ops.h, attributes are known and in range, required
// slots are there, sizes do not overflow, outputs do not repeat by stride 0. The first violation is *why.
sage_status CheckOp(const OpView& view, std::string* why);

// All SAGE_ATTN_F_* bits of an attention op that passed CheckOp; the four a caller sets are kept. A contradiction (a
// number without its bit, positions without alignment) is SAGE_E_INVALID_ARGUMENT.
sage_status DeriveAttentionFeatures(const OpView& view, uint64_t* out, std::string* why);

// Attention, at run, CPU tensors: CU_SEQLENS start at 0, rise, end at T; lengths within the padded sizes; block-table
// entries that will be read lie within the pages; CSR offsets rise and columns are ascending and within the tiles;
// APPEND_KV fits. Allocates nothing; *why may stay null and is a string with static lifetime otherwise.
// features: as derived at plan time. slots: the run's, SAGE_ATTN_* order.
sage_status CheckAttentionIndices(const sage_attention_attributes& attributes, uint64_t features,
                                  const sage_tensor* const* slots, uint32_t num_slots, const char** why);

// The run's slots fit what was planned: same dtypes, ranks, strides and devices; axes equal, or smaller where dynamic;
// data there. Allocates nothing. planned: of the op the plan was made from (after TakeInOp).
sage_status CheckRunSlots(const OpView& planned, const sage_tensor* const* slots, uint32_t num_slots, const char** why);

uint32_t DtypeSize(sage_dtype dtype);     // bytes; 0 when unknown
const char* DtypeName(sage_dtype dtype);  // "f32"; "?" when unknown
const char* KindName(uint32_t kind);      // "ATTENTION"; "?" when unknown
bool IsFloat(sage_dtype dtype);           // f64 f32 f16 bf16
bool IsQuantised(sage_dtype dtype);       // i8 i16 f8_e4m3fn f8_e5m2: what scales belong to
// Elements of a tensor that passed CheckOp, whose product does not overflow.
inline int64_t ElementCount(const sage_tensor& tensor) {
  int64_t count = 1;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) count *= tensor.shape[axis];
  return count;
}
// The number of slots a kind has; CONCAT: UINT32_MAX. 0 = unknown kind.
uint32_t SlotCount(uint32_t kind);
bool SlotIsOutput(uint32_t kind, uint32_t slot);
// An output, or one of the op's aliases.
inline bool SlotIsWritten(uint32_t kind, uint64_t aliases, uint32_t slot) {
  return SlotIsOutput(kind, slot) || (slot < 64 && (aliases >> slot & 1u) != 0);
}
uint32_t AttributesSize(uint32_t kind);              // sizeof the kind's attributes; 0 = none (MATMUL) or unknown
const char* SlotName(uint32_t kind, uint32_t slot);  // "SEQUSED_K"; "X" for every input of CONCAT; "?" when unknown

}  // namespace sage::support

#endif  // SAGE_SUPPORT_CHECK_OP_H_
