// call_kernels.h: the two kernels of call.h.
#ifndef SAGE_PLUGINS_CUDNN_CALL_KERNELS_H_
#define SAGE_PLUGINS_CUDNN_CALL_KERNELS_H_

#include "call.h"
#include "common/cuda/kernels/attention_plain.h"

namespace sage::cudnn {

namespace prim = cuda::prim;
using cuda::Bf16;
using cuda::F16;

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

// A block for each sequence.
SAGE_DEVICE void Prepare(const Call& call) {
  const cuda::AttentionArguments& a = call.a;
  const auto b = static_cast<int32_t>(prim::BlockX()), thread = static_cast<int32_t>(prim::ThreadX());
  const cuda::Sequence s = cuda::ReadSequence(a, b);
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

// A warp for each row of O, as AttendPlain has them (kernels/attention_plain.h).
template <class T>
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
    const T* const o = static_cast<const T*>(a.o) + cuda::QueryOffset(a.o_strides, a, s, h, i);
    bool spoilt = false;
    SAGE_NO_UNROLL
    for (int32_t d = lane; d < a.dim_v; d += 32) {
      const float value = prim::ToFloat(o[d * a.o_strides.column]);
      spoilt = spoilt || value - value != 0;  // of NaN and of infinities
    }
    if (prim::Ballot(spoilt) == 0) {
      if (call.layout.statistics >= 0 && lane == 0) {
        const int64_t from = (int64_t{s.b} * a.heads_q + h) * call.layout.statistics_rows + i;
        static_cast<float*>(a.lse)[cuda::QueryOffset(a.lse_strides, a, s, h, i)] =
            At<float>(call, call.layout.statistics)[from];
      }
      return;
    }
  }
  cuda::PlainRow<T>(a, s, h, i).Attend(false);
}

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_CALL_KERNELS_H_
