// attention_dims.cc: see the header.
#include "sage/support/attention_dims.h"

#include "sage/attention.h"
#include "sage/support/check_internal.h"

namespace sage::support {

AttentionDims ReadAttentionDims(const sage_tensor* const* slots, uint32_t num_slots) {
  const auto slot = [&](uint32_t index) { return index < num_slots ? slots[index] : nullptr; };
  const sage_tensor &q = *slots[SAGE_ATTN_Q], &k = *slots[SAGE_ATTN_K], &v = *slots[SAGE_ATTN_V];
  const sage_tensor *starts = slot(SAGE_ATTN_CU_SEQLENS_Q), *table = slot(SAGE_ATTN_BLOCK_TABLE),
                    *fresh = slot(SAGE_ATTN_K_NEW);
  AttentionDims d;
  d.varlen = starts != nullptr;
  d.paged = table != nullptr;
  d.append = fresh != nullptr;
  d.batch = d.varlen ? starts->shape[0] - 1 : q.shape[0];
  d.heads_q = q.shape[1];
  d.heads_k = k.shape[1];
  d.heads_v = v.shape[1];
  d.seq_q = d.varlen ? q.shape[0] : q.shape[2];
  d.dim_qk = q.shape[d.varlen ? 2 : 3];
  d.dim_v = v.shape[d.packed_kv() ? 2 : 3];
  d.seq_kv = d.packed_kv() ? k.shape[0] : k.shape[2];
  if (d.paged) {
    d.page = k.shape[2];
    d.pages = k.shape[0];
    d.max_pages = table->shape[1];
    // A table too long for its product is refused by name later; until then the number must not overflow.
    d.seq_kv = ProductFits({d.max_pages, d.page}, kMaxReachBytes) ? d.max_pages * d.page : 0;
  }
  if (d.append) d.seq_new = d.varlen ? d.seq_q : fresh->rank == 4 ? fresh->shape[2] : 0;
  return d;
}

}  // namespace sage::support
