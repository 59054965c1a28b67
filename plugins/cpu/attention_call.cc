// attention_call.cc: a run's slots read: how long each sequence is, where its rows lie, and keys appended.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "attention.h"
#include "numbers.h"

namespace sage::cpu {
namespace {

char* Address(const sage_tensor& tensor, int64_t offset) {
  return static_cast<char*>(tensor.data) + offset * ElementSize(tensor.dtype);
}

}  // namespace

int32_t ReadIndex(const sage_tensor& tensor, int64_t i0, int64_t i1, int64_t i2) {
  return ReadAs<int32_t>(Address(tensor, i0 * tensor.stride[0] + i1 * tensor.stride[1] + i2 * tensor.stride[2]));
}

AttentionSizes ReadAttentionSizes(const sage_tensor* const* slots, uint32_t num_slots) {
  AttentionSizes sizes{support::ReadAttentionDims(slots, num_slots)};
  sizes.group = std::gcd(sizes.heads_q / sizes.heads_k, sizes.heads_q / sizes.heads_v);
  return sizes;
}

int64_t AttentionCall::QueryRows(int64_t b) const {
  if (!sizes.varlen) return sizes.seq_q;
  const sage_tensor& starts = Slot(SAGE_ATTN_CU_SEQLENS_Q);
  return ReadIndex(starts, b + 1) - ReadIndex(starts, b);
}

AttentionSequence AttentionCall::Sequence(int64_t b) const {
  AttentionSequence sequence{};
  sequence.q_rows = QueryRows(b);
  if (sizes.varlen) sequence.q_begin = ReadIndex(Slot(SAGE_ATTN_CU_SEQLENS_Q), b);
  sequence.q_used = Has(SAGE_ATTN_SEQUSED_Q) ? ReadIndex(Slot(SAGE_ATTN_SEQUSED_Q), b) : sequence.q_rows;
  sequence.k_used = sizes.seq_kv;
  if (sizes.packed_kv()) {
    sequence.k_begin = ReadIndex(Slot(SAGE_ATTN_CU_SEQLENS_K), b);
    sequence.k_used = ReadIndex(Slot(SAGE_ATTN_CU_SEQLENS_K), b + 1) - sequence.k_begin;
  }
  if (Has(SAGE_ATTN_SEQUSED_K)) {
    sequence.k_used = ReadIndex(Slot(SAGE_ATTN_SEQUSED_K), b);
    if (sizes.append) sequence.k_used += sizes.varlen ? sequence.q_rows : Slot(SAGE_ATTN_K_NEW).shape[2];
  }
  sequence.shift = Is(SAGE_ATTN_F_BOTTOM_RIGHT) ? sequence.k_used - sequence.q_used : 0;
  return sequence;
}

void AttentionCall::CountTiles(int64_t computed, int64_t skipped) const {
  const sage_host* host = design.context->host;
  host->count(host->self, args.run, "tiles_computed", static_cast<uint64_t>(computed));
  host->count(host->self, args.run, "tiles_skipped", static_cast<uint64_t>(skipped));
}

bool AttentionCall::Cancelled() {
  if (cancelled.load(std::memory_order_relaxed)) return true;
  const sage_host* host = design.context->host;
  if (host->cancelled(host->self, args.run) == 0) return false;
  cancelled.store(true, std::memory_order_relaxed);
  return true;
}

char* AttentionCall::QueryRow(uint32_t slot, const AttentionSequence& sequence, int64_t b, int64_t h, int64_t i) const {
  const sage_tensor& tensor = Slot(slot);
  if (sizes.varlen) return Address(tensor, (sequence.q_begin + i) * tensor.stride[0] + h * tensor.stride[1]);
  return Address(tensor, b * tensor.stride[0] + h * tensor.stride[1] + i * tensor.stride[2]);
}

char* AttentionCall::KeyRow(uint32_t slot, const AttentionSequence& sequence, int64_t b, int64_t head,
                            int64_t j) const {
  const sage_tensor& tensor = Slot(slot);
  if (sizes.paged) {
    const int64_t page = ReadIndex(Slot(SAGE_ATTN_BLOCK_TABLE), b, j / sizes.page);
    return Address(tensor, page * tensor.stride[0] + head * tensor.stride[1] + j % sizes.page * tensor.stride[2]);
  }
  if (sizes.varlen) return Address(tensor, (sequence.k_begin + j) * tensor.stride[0] + head * tensor.stride[1]);
  return Address(tensor, b * tensor.stride[0] + head * tensor.stride[1] + j * tensor.stride[2]);
}

void AppendKeys(const AttentionCall& call) {
  const AttentionSizes& sizes = call.sizes;
  for (const auto& [cache, fresh] : {std::pair<uint32_t, uint32_t>{SAGE_ATTN_K, SAGE_ATTN_K_NEW},
                                     std::pair<uint32_t, uint32_t>{SAGE_ATTN_V, SAGE_ATTN_V_NEW}}) {
    const sage_tensor& from = call.Slot(fresh);
    const uint32_t last = sizes.varlen ? 2 : 3, cache_last = sizes.packed_kv() ? 2 : 3;
    const auto size = ElementSize(from.dtype);
    const int64_t length = from.shape[last], from_step = from.stride[last] * size;
    const int64_t to_step = call.Slot(cache).stride[cache_last] * size;
    for (int64_t b = 0; b < sizes.batch; ++b) {
      const AttentionSequence sequence = call.Sequence(b);
      const int64_t count = sizes.varlen ? sequence.q_rows : from.shape[2];
      for (int64_t head = 0; head < from.shape[1]; ++head) {
        for (int64_t i = 0; i < count; ++i) {
          const char* source = call.QueryRow(fresh, sequence, b, head, i);
          char* target = call.KeyRow(cache, sequence, b, head, sequence.k_used - count + i);
          if (from_step == size && to_step == size) {
            std::memcpy(target, source, static_cast<size_t>(length * size));
            continue;
          }
          for (int64_t c = 0; c < length; ++c)
            std::memcpy(target + c * to_step, source + c * from_step, static_cast<size_t>(size));
        }
      }
    }
  }
}

}  // namespace sage::cpu
