// attention_sequence.h: of one sequence of an attention call, on the device: which rows and keys it has, where they
// lie, and which keys a query may see. Every kernel family asks here.
//
// Lengths and page numbers come from device memory and are believed only as far as the operands reach. A page that is
// not there is read as zeros.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_SEQUENCE_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_SEQUENCE_H_

#include "common/cuda/attention_arguments.h"
#include "common/cuda/kernels/primitives.h"

namespace sage::cuda {

template <class N>
SAGE_DEVICE N Least(N a, N b) {
  return a < b ? a : b;
}
template <class N>
SAGE_DEVICE N Most(N a, N b) {
  return a > b ? a : b;
}

// Further than any key is from any query; sums of it and of positions stay within 32 bits.
constexpr int32_t kUnlimited = 1 << 29;

struct Sequence {
  int32_t b;
  int32_t q_rows, q_len;  // that there are, each of which is written; in use
  int32_t kv_len;
  int32_t kv_old;            // keys from here on are rows of K_NEW and V_NEW; kv_len where those are not given
  int32_t shift;             // query i stands at position i + shift among the keys
  int32_t left, right;       // keys seen on either side of the position; causal: none to the right
  int32_t q_begin, k_begin;  // row of the packed operands, 0 where they are not packed
};

// Kernels that hold accumulators ask again instead of keeping it.
SAGE_DEVICE Sequence ReadSequence(const AttentionArguments& a, int32_t b) {
  Sequence s{};
  s.b = b;
  s.q_rows = a.seq_q;
  if (a.cu_seqlens_q != nullptr) {
    const int32_t begin = Most(0, Least(a.cu_seqlens_q[b], a.total_q)), end = Least(a.cu_seqlens_q[b + 1], a.total_q);
    s.q_begin = begin;
    s.q_rows = Most(0, Least(end - begin, a.seq_q));
  }
  s.q_len = a.seqused_q != nullptr ? Most(0, Least(a.seqused_q[b], s.q_rows)) : s.q_rows;
  int32_t keys = a.seq_kv;
  if (a.cu_seqlens_k != nullptr) {
    const int32_t begin = Most(0, Least(a.cu_seqlens_k[b], a.total_k)), end = Least(a.cu_seqlens_k[b + 1], a.total_k);
    s.k_begin = begin;
    keys = Most(0, Least(end - begin, a.seq_kv));
  }
  s.kv_len = s.kv_old = keys;
  if (a.seqused_k != nullptr) {
    const int32_t before = Most(0, Least(a.seqused_k[b], keys));
    s.kv_len = Least(before + (a.appended < 0 ? s.q_rows : a.appended), keys);
    s.kv_old = a.k_new != nullptr ? before : s.kv_len;
  }
  s.shift = a.bottom_right ? s.kv_len - s.q_len : 0;
  const auto side = [](int64_t window) {
    return window < 0 || window > kUnlimited ? kUnlimited : static_cast<int32_t>(window);
  };
  s.left = side(a.window_left), s.right = a.causal ? 0 : side(a.window_right);
  return s;
}

// Element of row i of head h: of q, o and lse.
SAGE_DEVICE int64_t QueryOffset(const AttentionStrides& strides, const AttentionArguments& a, const Sequence& s,
                                int32_t h, int32_t i) {
  const int64_t batch = a.cu_seqlens_q != nullptr ? 0 : s.b * strides.batch;
  return batch + h * strides.head + int64_t{s.q_begin + i} * strides.row;
}

constexpr int64_t kNoPage = INT64_MIN;

// Element of key j of a head of K or V, or kNoPage.
template <bool kPaged>
SAGE_DEVICE int64_t KeyOffset(const AttentionStrides& strides, const AttentionArguments& a, const Sequence& s,
                              int32_t head, int32_t j) {
  if constexpr (kPaged) {
    const int32_t page = a.block_table[s.b * a.block_table_stride + (j >> a.page_shift)];
    if (page < 0 || page >= a.pages) return kNoPage;
    return page * strides.batch + head * strides.head + (j & ((1 << a.page_shift) - 1)) * strides.row;
  } else {
    const int64_t batch = a.cu_seqlens_k != nullptr ? 0 : s.b * strides.batch;
    return batch + head * strides.head + int64_t{s.k_begin + j} * strides.row;
  }
}

template <class T>
struct RowOf {
  const T* first;  // null where its page is not there
  int64_t step;    // from one element to the next
};

// Row j of a head of K, or of V: in the cache, or among the rows that this call appends, where a kernel does that.
template <class T, bool kValues, bool kAppends>
SAGE_DEVICE RowOf<T> KeyRow(const AttentionArguments& a, const Sequence& s, int32_t head, int32_t j) {
  if (kAppends && j >= s.kv_old) {
    const AttentionStrides& strides = kValues ? a.v_new_strides : a.k_new_strides;
    const T* const base = static_cast<const T*>(kValues ? a.v_new : a.k_new);
    return {base + QueryOffset(strides, a, s, head, j - s.kv_old), strides.column};
  }
  const AttentionStrides& strides = kValues ? a.v_strides : a.k_strides;
  const int64_t at =
      a.block_table != nullptr ? KeyOffset<true>(strides, a, s, head, j) : KeyOffset<false>(strides, a, s, head, j);
  return {at == kNoPage ? nullptr : static_cast<const T*>(kValues ? a.v : a.k) + at, strides.column};
}

SAGE_DEVICE int64_t ScoreOffset(const AttentionStrides& strides, int32_t b, int32_t h, int32_t i, int32_t j) {
  return b * strides.batch + h * strides.head + i * strides.row + j * strides.column;
}

SAGE_DEVICE bool HasMask(const AttentionArguments& a) {
  return a.mask != nullptr || a.bit_mask != nullptr || a.block_mask != nullptr;
}

SAGE_DEVICE bool TileKept(const AttentionArguments& a, int32_t b, int32_t h, int32_t tile_row, int32_t tile_column) {
  return a.block_mask[ScoreOffset(a.block_mask_strides, b, h, tile_row, tile_column)] != 0;
}

SAGE_DEVICE bool InMasks(const AttentionArguments& a, int32_t b, int32_t h, int32_t i, int32_t j) {
  if (a.mask != nullptr && a.mask[ScoreOffset(a.mask_strides, b, h, i, j)] == 0) return false;
  if (a.bit_mask != nullptr && (a.bit_mask[ScoreOffset(a.bit_mask_strides, b, h, i, j / 8)] >> (j % 8) & 1) == 0)
    return false;
  return a.block_mask == nullptr || TileKept(a, b, h, i / a.mask_block_q, j / a.mask_block_kv);
}

// Of a query and a key within the lengths.
SAGE_DEVICE bool InBand(const Sequence& s, int32_t i, int32_t j) {
  const int32_t position = i + s.shift;
  return j >= position - s.left && j <= position + s.right;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_SEQUENCE_H_
