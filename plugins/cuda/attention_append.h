// attention_append.h: rows of K_NEW and V_NEW copied to their places in the cache: before any other kernel by one of
// its own, or by the decode kernel within itself.
//
// A row is a warp's, K's and V's apart. What does not fit behind the keys in use, or would go to a page that is not
// there, is not written. Elements are moved as words of their size.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_APPEND_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_APPEND_H_

#include "common/cuda/kernels/attention_sequence.h"

namespace sage::cuda {

constexpr int32_t kAppendWarps = 4;  // rows of a block

// New row i of a head, by a whole warp. E: an unsigned integer of the elements' size.
template <class E, bool kValues>
SAGE_DEVICE void AppendRow(const AttentionArguments& a, const Sequence& s, int32_t head, int32_t i) {
  const AttentionStrides& strides = kValues ? a.v_strides : a.k_strides;
  const int32_t j = s.kv_old + i, dim = kValues ? a.dim_v : a.dim_qk;
  const int64_t at =
      a.block_table != nullptr ? KeyOffset<true>(strides, a, s, head, j) : KeyOffset<false>(strides, a, s, head, j);
  if (at == kNoPage) return;
  const RowOf<E> from = KeyRow<E, kValues, true>(a, s, head, j);
  // The cache is in-out: an operand that the call reads and this kernel writes.
  E* const to = static_cast<E*>(const_cast<void*>(kValues ? a.v : a.k)) + at;
  const int32_t lane = static_cast<int32_t>(prim::ThreadX() % 32);
  struct alignas(16) Chunk {
    uint32_t words[4];
  };
  constexpr int32_t kPerChunk = 16 / static_cast<int32_t>(sizeof(E));
  const bool aligned = (reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from.first)) % 16 == 0;
  if (aligned && dim % kPerChunk == 0 && strides.column == 1 && from.step == 1) {
    for (int32_t d = lane * kPerChunk; d < dim; d += 32 * kPerChunk)
      *reinterpret_cast<Chunk*>(to + d) = *reinterpret_cast<const Chunk*>(from.first + d);
  } else {
    for (int32_t d = lane; d < dim; d += 32) to[d * strides.column] = from.first[d * from.step];
  }
}

// Rows that a sequence may append.
SAGE_DEVICE int32_t MostAppended(const AttentionArguments& a) { return a.appended < 0 ? a.seq_q : a.appended; }

// Of the kernel that does nothing else; rows vary fastest, then heads of K and of V, then sequences.
inline int64_t AppendBlocks(const AttentionArguments& a) {
  const int64_t most = a.appended < 0 ? a.seq_q : a.appended;
  const int64_t rows = most * (int64_t{a.heads_k} + a.heads_v) * a.batch;
  return (rows + kAppendWarps - 1) / kAppendWarps;
}

template <class E>
SAGE_DEVICE void AppendKeys(const AttentionArguments& a) {
  const int64_t n = int64_t{prim::BlockX()} * kAppendWarps + prim::ThreadX() / 32;
  const int32_t most = MostAppended(a), heads = a.heads_k + a.heads_v;
  const int64_t b = n / most / heads;
  if (b >= a.batch) return;
  const int32_t row = static_cast<int32_t>(n % most), head = static_cast<int32_t>(n / most % heads);
  const Sequence s = ReadSequence(a, static_cast<int32_t>(b));
  if (row >= s.kv_len - s.kv_old) return;
  if (head < a.heads_k)
    AppendRow<E, false>(a, s, head, row);
  else
    AppendRow<E, true>(a, s, head - a.heads_k, row);
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_APPEND_H_
