// check_indices.cc: the index tensors of attention, looked at before a run reads through them.
//
// Exactly what keeps a kernel inside its buffers, and what the contract calls an error: starts that rise, lengths that
// fit, pages that exist, columns in order, no page written twice. Reads through strides and at any alignment; allocates
// nothing. Slots have passed CheckRunSlots.
#include <algorithm>
#include <cstring>

#include "sage/support/check_internal.h"

namespace sage::support {
namespace {

int64_t Load(const sage_tensor& tensor, int64_t i0, int64_t i1 = 0, int64_t i2 = 0) {
  const int64_t offset = i0 * tensor.stride[0] + (tensor.rank > 1 ? i1 * tensor.stride[1] : 0) +
                         (tensor.rank > 2 ? i2 * tensor.stride[2] : 0);
  int32_t value = 0;
  std::memcpy(&value, static_cast<const unsigned char*>(tensor.data) + offset * 4, sizeof value);
  return value;
}

// What each sequence uses, whatever the layout.
class Sequences {
 public:
  Sequences(const OpRef& op, const AttentionDims& dims) : op_(op), dims_(dims) {}

  int64_t QueryCapacity(int64_t b) const { return dims_.varlen ? Segment(SAGE_ATTN_CU_SEQLENS_Q, b) : dims_.seq_q; }
  int64_t KeyCapacity(int64_t b) const {
    return dims_.varlen && !dims_.paged ? Segment(SAGE_ATTN_CU_SEQLENS_K, b) : dims_.seq_kv;
  }
  int64_t New(int64_t b) const {
    if (!dims_.append) return 0;
    return dims_.varlen ? Segment(SAGE_ATTN_CU_SEQLENS_Q, b) : dims_.seq_new;
  }
  // Before an append.
  int64_t Keys(int64_t b) const {
    return op_.Has(SAGE_ATTN_SEQUSED_K) ? Load(op_[SAGE_ATTN_SEQUSED_K], b) : KeyCapacity(b);
  }

 private:
  int64_t Segment(uint32_t slot, int64_t b) const { return Load(op_[slot], b + 1) - Load(op_[slot], b); }
  const OpRef& op_;
  const AttentionDims& dims_;
};

const char* CheckStarts(const sage_tensor& starts, int64_t rows, int64_t longest) {
  const int64_t count = starts.shape[0];
  if (Load(starts, 0) != 0) return "CU_SEQLENS must start at 0";
  for (int64_t i = 1; i < count; ++i) {
    const int64_t length = Load(starts, i) - Load(starts, i - 1);
    if (length < 0) return "CU_SEQLENS must not fall";
    if (longest > 0 && length > longest) return "a sequence is longer than max_seq_q or max_seq_kv allows";
  }
  if (Load(starts, count - 1) != rows) return "CU_SEQLENS must end at the number of packed rows";
  return nullptr;
}

const char* CheckLengths(const OpRef& op, const AttentionDims& d, const Sequences& sequences) {
  for (int64_t b = 0; b < d.batch; ++b) {
    if (op.Has(SAGE_ATTN_SEQUSED_Q)) {
      const int64_t used = Load(op[SAGE_ATTN_SEQUSED_Q], b);
      if (used < 0 || used > sequences.QueryCapacity(b)) return "SEQUSED_Q has a length outside its sequence";
    }
    if (!op.Has(SAGE_ATTN_SEQUSED_K)) continue;
    const int64_t used = sequences.Keys(b);
    if (used < 0 || used > sequences.KeyCapacity(b)) return "SEQUSED_K has a length outside its sequence";
    if (sequences.New(b) > sequences.KeyCapacity(b) - used)
      return "K_NEW does not fit behind the SEQUSED_K keys of a sequence";
  }
  return nullptr;
}

// Calls visit(page) for every page that the append writes.
template <class Visit>
void ForWrittenPages(const OpRef& op, const AttentionDims& d, const Sequences& sequences, Visit&& visit) {
  for (int64_t b = 0; b < d.batch; ++b) {
    const int64_t from = sequences.Keys(b), count = sequences.New(b);
    if (count == 0) continue;
    for (int64_t i = from / d.page; i <= (from + count - 1) / d.page; ++i) visit(Load(op[SAGE_ATTN_BLOCK_TABLE], b, i));
  }
}

// No page is written twice. Windows of page numbers against a bitmap on the stack: linear for any sane pool, without
// memory of its own.
bool WritesAreApart(const OpRef& op, const AttentionDims& d, const Sequences& sequences) {
  constexpr int64_t kWindow = 1 << 15;
  int64_t lowest = INT64_MAX, highest = -1, written = 0;
  ForWrittenPages(op, d, sequences, [&](int64_t page) {
    lowest = std::min(lowest, page);
    highest = std::max(highest, page);
    ++written;
  });
  if (written < 2) return true;
  uint64_t seen[kWindow / 64];
  for (int64_t window = lowest; window <= highest; window += kWindow) {
    std::memset(seen, 0, sizeof seen);
    bool apart = true;
    ForWrittenPages(op, d, sequences, [&](int64_t page) {
      if (page < window || page >= window + kWindow) return;
      const auto bit = static_cast<uint64_t>(page - window);
      if ((seen[bit / 64] >> (bit % 64) & 1u) != 0) apart = false;
      seen[bit / 64] |= 1ull << (bit % 64);
    });
    if (!apart) return false;
  }
  return true;
}

const char* CheckPages(const OpRef& op, const AttentionDims& d, const Sequences& sequences) {
  for (int64_t b = 0; b < d.batch; ++b) {
    const int64_t used = CeilDiv(sequences.Keys(b) + sequences.New(b), d.page);
    for (int64_t i = 0; i < used; ++i) {
      const int64_t page = Load(op[SAGE_ATTN_BLOCK_TABLE], b, i);
      if (page < 0 || page >= d.pages) return "BLOCK_TABLE names a page that K does not have";
    }
  }
  if (d.append && !WritesAreApart(op, d, sequences)) return "two rows of BLOCK_TABLE would append to the same page";
  return nullptr;
}

const char* CheckCsr(const OpRef& op, int64_t columns) {
  const sage_tensor &offsets = op[SAGE_ATTN_CSR_INDPTR], &indices = op[SAGE_ATTN_CSR_INDICES];
  const int64_t count = indices.shape[0];
  for (int64_t b = 0; b < offsets.shape[0]; ++b) {
    for (int64_t h = 0; h < offsets.shape[1]; ++h) {
      int64_t begin = Load(offsets, b, h, 0);
      if (begin < 0 || begin > count) return "CSR_INDPTR has an offset outside CSR_INDICES";
      for (int64_t row = 1; row < offsets.shape[2]; ++row) {
        const int64_t end = Load(offsets, b, h, row);
        if (end < begin) return "CSR_INDPTR must not fall";
        if (end > count) return "CSR_INDPTR has an offset outside CSR_INDICES";
        int64_t last = -1;
        for (int64_t i = begin; i < end; ++i) {
          const int64_t column = Load(indices, i);
          if (column >= columns) return "CSR_INDICES names a tile column beyond the keys";
          if (column <= last) return "CSR_INDICES must be >= 0 and ascend within a row";
          last = column;
        }
        begin = end;
      }
    }
  }
  return nullptr;
}

const char* Check(const sage_attention_attributes& attributes, const OpRef& op) {
  for (const uint32_t slot : {SAGE_ATTN_CU_SEQLENS_Q, SAGE_ATTN_CU_SEQLENS_K, SAGE_ATTN_SEQUSED_Q, SAGE_ATTN_SEQUSED_K,
                              SAGE_ATTN_BLOCK_TABLE, SAGE_ATTN_CSR_INDPTR, SAGE_ATTN_CSR_INDICES})
    if (op.Has(slot) && op[slot].device_type > SAGE_CPU) return "an index tensor is not in CPU memory";
  const AttentionDims d = ReadAttentionDims(op);
  const Sequences sequences(op, d);
  const char* wrong = nullptr;
  if (d.varlen) wrong = CheckStarts(op[SAGE_ATTN_CU_SEQLENS_Q], d.seq_q, attributes.max_seq_q);
  if (wrong == nullptr && op.Has(SAGE_ATTN_CU_SEQLENS_K))
    wrong = CheckStarts(op[SAGE_ATTN_CU_SEQLENS_K], d.seq_kv, attributes.max_seq_kv);
  if (wrong == nullptr) wrong = CheckLengths(op, d, sequences);
  if (wrong == nullptr && d.paged) wrong = CheckPages(op, d, sequences);
  if (wrong == nullptr && op.Has(SAGE_ATTN_CSR_INDPTR))
    wrong = CheckCsr(op, CeilDiv(d.seq_kv, attributes.mask_block_kv));
  return wrong;
}

}  // namespace

sage_status CheckAttentionIndices(const sage_attention_attributes& attributes, uint64_t features,
                                  const sage_tensor* const* slots, uint32_t num_slots, const char** why) {
  constexpr uint64_t kIndexed = SAGE_ATTN_F_VARLEN | SAGE_ATTN_F_Q_LENGTHS | SAGE_ATTN_F_KV_LENGTHS |
                                SAGE_ATTN_F_PAGED_KV | SAGE_ATTN_F_APPEND_KV | SAGE_ATTN_F_CSR_MASK;
  if ((features & kIndexed) == 0) return SAGE_OK;
  const OpRef op{SAGE_OP_ATTENTION, 0, nullptr, slots, num_slots};
  const char* wrong = Check(attributes, op);
  if (wrong == nullptr) return SAGE_OK;
  if (why != nullptr) *why = wrong;
  return SAGE_E_INVALID_ARGUMENT;
}

}  // namespace sage::support
