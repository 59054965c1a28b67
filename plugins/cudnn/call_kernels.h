// call_kernels.h: the kernels of call.h.
#ifndef SAGE_PLUGINS_CUDNN_CALL_KERNELS_H_
#define SAGE_PLUGINS_CUDNN_CALL_KERNELS_H_

#include "call.h"
#include "common/cuda/kernels/attention_extras.h"
#include "common/cuda/kernels/attention_plain.h"

namespace sage::cudnn {

namespace prim = cuda::prim;
using cuda::Bf16;
using cuda::F16;
using cuda::F8E4m3fn;
using cuda::F8E5m2;
using cuda::NoExtras;
using cuda::RowDropout;
using cuda::RowScales;

constexpr int32_t kPrepareThreads = 128;

template <class N>
SAGE_DEVICE N* At(const Call& call, int64_t offset) {
  return reinterpret_cast<N*>(call.workspace + offset);
}

SAGE_DEVICE void WriteOffset(const Call& call, int64_t at, int32_t b, int64_t value) {
  if (at < 0) return;
  if (call.layout.wide_offsets)
    At<int64_t>(call, at)[b] = value;
  else
    At<int32_t>(call, at)[b] = static_cast<int32_t>(value);
}

// Weights are at most 1, so that without a SCALE_P they are stored as far up as 8 bits reach in powers of two: less of
// them is below the smallest number, and their product with V is none the wiser.
SAGE_DEVICE float ScaleOfWeights(const Call& call) {
  return cuda::ScaleOr(call.extras.scale_p, call.a.type == cuda::AttentionType::kF8E4m3fn ? 0x1p-8f : 0x1p-15f);
}

SAGE_DEVICE float NumberOf(const Call& call, int32_t number) {
  const cuda::AttentionExtras& extras = call.extras;
  switch (number) {
    case kScaleQ:
      return cuda::ScaleOr(extras.scale_q, 1);
    case kScaleK:
      return cuda::ScaleOr(extras.scale_k, 1);
    case kScaleV:
      return cuda::ScaleOr(extras.scale_v, 1);
    case kScaleP:
      return ScaleOfWeights(call);
    case kStoreP:
      return 1 / ScaleOfWeights(call);
    case kStoreO:
      return 1 / cuda::ScaleOr(extras.scale_o, 1);
    default:
      return 0;
  }
}

// A block for each sequence.
SAGE_DEVICE void Prepare(const Call& call) {
  const cuda::AttentionArguments& a = call.a;
  const auto b = static_cast<int32_t>(prim::BlockX()), thread = static_cast<int32_t>(prim::ThreadX());
  const cuda::Sequence s = cuda::ReadSequence(a, b);
  if (call.layout.scales >= 0 && b == 0 && thread < kScaleNumbers)
    *At<float>(call, call.layout.scales + thread * kNumberBytes) = NumberOf(call, thread);
  if (thread == 0) {
    if (call.layout.lengths_q >= 0) At<int32_t>(call, call.layout.lengths_q)[b] = s.q_len;
    if (call.layout.lengths_kv >= 0) At<int32_t>(call, call.layout.lengths_kv)[b] = s.kv_len;
    // The last block writes the end of the last sequence, too. Rows past a sequence's length in use are no other's.
    for (int32_t n = 0; n < (b + 1 == a.batch ? 2 : 1); ++n) {
      const int64_t row_q = s.q_begin + int64_t{n} * s.q_rows, row_k = s.k_begin + int64_t{n} * s.kv_len;
      WriteOffset(call, call.layout.offsets_q, b + n, row_q * a.q_strides.row);
      WriteOffset(call, call.layout.offsets_o, b + n, row_q * a.o_strides.row);
      WriteOffset(call, call.layout.offsets_k, b + n, row_k * a.k_strides.row);
      WriteOffset(call, call.layout.offsets_v, b + n, row_k * a.v_strides.row);
    }
  }
  if (call.layout.table < 0) return;
  // A page that is not there is some page: nothing is read elsewhere, and the row's result is the caller's fault.
  int32_t* const table = At<int32_t>(call, call.layout.table) + b * call.table_columns;
  SAGE_NO_UNROLL
  for (int64_t column = thread; column < call.table_columns; column += kPrepareThreads) {
    const bool used = (column << a.page_shift) < s.kv_len;
    const int32_t page = used ? a.block_table[b * a.block_table_stride + column] : 0;
    table[column] = cuda::Most(0, cuda::Least(page, a.pages - 1));
  }
}

constexpr int32_t kMaskThreads = 256, kMaskElements = 8;  // a thread writes 16 bytes

inline int64_t MaskBlocks(const Call& call) {
  const int64_t elements = int64_t{call.a.batch} * call.a.heads_q * call.a.seq_q * call.layout.mask_row;
  constexpr int64_t kOfBlock = int64_t{kMaskThreads} * kMaskElements;
  return (elements + kOfBlock - 1) / kOfBlock;
}

// Which weights dropout keeps. Rows of the mask are longer than the keys where those are no whole 16 bytes; the rest is
// 0. one: 1 in Q's type.
SAGE_DEVICE void WriteMask(const Call& call, uint32_t one) {
  const cuda::AttentionArguments& a = call.a;
  const cuda::AttentionExtras& extras = call.extras;
  const int64_t rows = int64_t{a.batch} * a.heads_q * a.seq_q, pitch = call.layout.mask_row;
  const int64_t thread = int64_t{prim::BlockX()} * kMaskThreads + prim::ThreadX(), at = thread * kMaskElements;
  const int64_t row = at / pitch, first = at % pitch;
  if (row >= rows) return;
  const uint64_t n = static_cast<uint64_t>(row * a.seq_kv + first);
  const uint64_t seed = extras.philox[0], offset = extras.philox[extras.philox_stride];
  // The elements' words lie in two blocks, or in three where n begins within one.
  uint64_t block = n / 4;
  plugins::PhiloxBlock words = plugins::PhiloxWords(seed, offset, block);
  prim::Words4 out{};
  SAGE_UNROLL
  for (int32_t e = 0; e < kMaskElements; ++e) {
    const uint64_t of = n + static_cast<uint64_t>(e);
    if (of / 4 != block) block = of / 4, words = plugins::PhiloxWords(seed, offset, block);
    const bool kept = first + e < a.seq_kv && plugins::WordOf(words, of) >= extras.least_kept;
    if (kept) out.word[e / 2] |= one << (e % 2 * 16);
  }
  *At<prim::Words4>(call, call.layout.mask + at * 2) = out;
}

// Whether an element of O is nothing that cuDNN can have meant: NaN, an infinity, or, of 8 bits, where it stops.
template <class T>
SAGE_DEVICE bool Spoilt(const Call& call, int64_t at) {
  if constexpr (sizeof(T) == 1) {
    return cuda::StoredBeyond(call.a.o, call.extras.o_type, at);
  } else {
    const float value = prim::ToFloat(static_cast<const T*>(call.a.o)[at]);
    return value - value != 0;
  }
}

// A warp for each row of O, as AttendPlain has them (kernels/attention_plain.h).
template <class T, class Extras>
SAGE_DEVICE void Finish(const Call& call) {
  const cuda::AttentionArguments& a = call.a;
  const int32_t tiles = (a.seq_q + cuda::kPlainWarps - 1) / cuda::kPlainWarps;
  const auto block = static_cast<int32_t>(prim::BlockX()), lane = static_cast<int32_t>(prim::ThreadX() % 32);
  const int32_t h = block / tiles % a.heads_q;
  const cuda::Sequence s = cuda::ReadSequence(a, block / tiles / a.heads_q);
  const int32_t i = block % tiles * cuda::kPlainWarps + static_cast<int32_t>(prim::ThreadX() / 32);
  if (i >= s.q_rows) return;
  const int32_t first = cuda::Most(0, i + s.shift - s.left), last = cuda::Least(s.kv_len - 1, i + s.shift + s.right);
  if (i < s.q_len && first <= last) {
    const int64_t o = cuda::QueryOffset(a.o_strides, a, s, h, i);
    bool spoilt = false;
    SAGE_NO_UNROLL
    for (int32_t d = lane; d < a.dim_v; d += 32) spoilt = spoilt || Spoilt<T>(call, o + d * a.o_strides.column);
    if (prim::Ballot(spoilt) == 0) {
      if (call.layout.statistics >= 0 && lane == 0) {
        const int64_t from = (int64_t{s.b} * a.heads_q + h) * call.layout.statistics_rows + i;
        static_cast<float*>(a.lse)[cuda::QueryOffset(a.lse_strides, a, s, h, i)] =
            At<float>(call, call.layout.statistics)[from];
      }
      return;
    }
  }
  cuda::PlainRow<T, false, Extras>(a, s, h, i, Extras::Of(call.extras)).Attend(false);
}

// Whether there is something to write but a mask.
inline bool NeedsPrepare(const Layout& layout) { return layout.lengths_q >= 0 || layout.scales >= 0; }
// 1 in Q's type.
inline uint32_t OneOf(cuda::AttentionType type) { return type == cuda::AttentionType::kF16 ? 0x3c00 : 0x3f80; }

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_CALL_KERNELS_H_
