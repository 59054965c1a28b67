// attention_dims.h: the sizes of an attention call, as its slots say them: packed, padded or paged.
//
// The rules are those of attention.h; whoever needs a size asks here, so that there is one reading of them. Not ABI:
// compiled into each side.
#ifndef SAGE_SUPPORT_ATTENTION_DIMS_H_
#define SAGE_SUPPORT_ATTENTION_DIMS_H_

#include <cstdint>

#include "sage/types.h"

namespace sage::support {

struct AttentionDims {
  bool varlen = false, paged = false, append = false;
  int64_t batch = 0, heads_q = 0, heads_k = 0, heads_v = 0;
  int64_t seq_q = 0;   // padded length, T when varlen
  int64_t seq_kv = 0;  // padded length, T of K when packed_kv(), max_pages * page when paged
  int64_t dim_qk = 0, dim_v = 0;
  int64_t page = 0, pages = 0, max_pages = 0;  // keys a page, pages of K, pages a sequence may have
  int64_t seq_new = 0;                         // appended keys a sequence; T when varlen

  bool packed_kv() const { return varlen && !paged; }
};

// slots: SAGE_ATTN_* order; Q, K, V, CU_SEQLENS_Q and BLOCK_TABLE have the ranks of attention.h. Of an op that has not
// passed CheckOp yet, sizes may not fit together; seq_kv is 0 where max_pages * page would be absurd.
AttentionDims ReadAttentionDims(const sage_tensor* const* slots, uint32_t num_slots);

}  // namespace sage::support

#endif  // SAGE_SUPPORT_ATTENTION_DIMS_H_
