// attention_geometry.h: where the rows of an attention call lie, and which keys a query may see.
//
// Lengths and alignment are of the sequence at hand: kv_len is what is there after an append (SEQUSED_K plus the new
// keys), q_len the queries in use (SEQUSED_Q), and BOTTOM_RIGHT puts the last query in use at the last key in use.
#ifndef SAGE_PLUGINS_REFERENCE_ATTENTION_GEOMETRY_H_
#define SAGE_PLUGINS_REFERENCE_ATTENTION_GEOMETRY_H_

#include <cstdint>

#include "kernel.h"
#include "sage/support/attention_dims.h"

namespace sage::reference {

// One query row of one head.
struct QueryRow {
  int64_t b, h, i;  // i counts within its sequence
  int64_t q_row;    // i, or the row of the packed Q
  int64_t q_len, kv_len;
  int64_t shift;  // query i stands at position i + shift among the keys
  bool used() const { return i < q_len; }
};

class AttentionGeometry : public support::AttentionDims {
 public:
  AttentionGeometry(const support::OpView& planned, const sage_tensor* const* slots, uint32_t num_slots)
      : support::AttentionDims(support::ReadAttentionDims(slots, num_slots)),
        attributes_(planned.attributes.attention),
        slots_(slots),
        num_slots_(num_slots) {}

  int64_t row_count() const { return (varlen ? 1 : batch) * heads_q * seq_q; }
  QueryRow RowAt(int64_t item) const;
  int64_t NewKeys(int64_t b) const;     // appended by this call
  int64_t KeysBefore(int64_t b) const;  // in use before the append
  int64_t QueryBegin(int64_t b) const { return varlen ? Length(SAGE_ATTN_CU_SEQLENS_Q, b) : 0; }

  // Offsets into Q and O (tensor: that slot's), and into K and V at key j of head g.
  int64_t QueryOffset(const sage_tensor& tensor, const QueryRow& row) const;
  int64_t KeyOffset(const sage_tensor& tensor, int64_t b, int64_t g, int64_t j) const;

  // Causal, window and masks; lengths are the caller's loop bounds.
  bool Visible(const QueryRow& row, int64_t j) const;
  // The dequantisation factor of an operand at (b, head, token s, channel d); 1 where there is no scale slot.
  // packed_row: the token's row where the operand is packed. per_channel: whether d matters.
  double ScaleAt(uint32_t slot, uint32_t granularity, int64_t b, int64_t head, int64_t s, int64_t packed_row,
                 int64_t d) const;
  // The row of K or V, PER_TOKEN scales of packed operands are indexed by it.
  int64_t PackedKey(int64_t b, int64_t j) const { return packed_kv() ? Length(SAGE_ATTN_CU_SEQLENS_K, b) + j : j; }

 private:
  bool Has(uint32_t slot) const { return slot < num_slots_ && slots_[slot] != nullptr; }
  const sage_tensor& Slot(uint32_t slot) const { return *slots_[slot]; }
  int64_t Length(uint32_t slot, int64_t b) const;
  bool InTiles(const QueryRow& row, int64_t j) const;

  const sage_attention_attributes& attributes_;
  const sage_tensor* const* slots_;
  uint32_t num_slots_;
};

}  // namespace sage::reference

#endif  // SAGE_PLUGINS_REFERENCE_ATTENTION_GEOMETRY_H_
