// attention_small.h: attention over few keys, where what counts is how many times memory is waited for: once for Q, K
// and V together, and once more for what the output's warps have to say to each other.
//
// A block has all keys of one sequence and one head of K and V, and up to kRows packed rows (query i and head h of the
// group are row i * group + h). Several lanes share a key, 16 bytes each; whole rows of scores lie in shared memory, so
// that the softmax knows its maximum before it begins, and WEIGHTS and SCORES cost no second pass. All arithmetic is in
// float: exact for f32, more than that for f16 and bf16. Not for many keys, and not for tensor cores.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_SMALL_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_SMALL_H_

#include "common/cuda/kernels/attention_plain.h"

namespace sage::cuda {

constexpr int32_t kSmallWarps = 8, kSmallThreads = 32 * kSmallWarps;
constexpr int32_t kSmallMostKeys = 1024, kSmallMostDim = 128;  // with them a block's shared memory is below 48 KiB

// By value to the kernel; PlanSmall makes it.
struct SmallArguments {
  AttentionArguments a;
  int32_t group = 1;                  // heads that share one head of K and one of V
  int32_t tiles = 1;                  // of kRows packed rows, of a sequence and group
  int32_t lanes_qk = 1, lanes_v = 1;  // that share a key; powers of two
};

// Floats of shared memory: Q's rows and the scores, in whose place come the warps' shares of the output; then a sum a
// row.
template <int32_t kRows>
SAGE_DEVICE int32_t SmallFloats(const AttentionArguments& a) {
  return kRows * Most(a.dim_qk + a.seq_kv, kSmallWarps * a.dim_v) + kRows;
}

template <class T, int32_t kRows>
class SmallBlock {
 public:
  SAGE_DEVICE SmallBlock(const SmallArguments& p, const Sequence& s, int32_t first_head, int32_t first_row)
      : p_(p),
        a_(p.a),
        s_(s),
        first_head_(first_head),
        first_row_(first_row),
        thread_(static_cast<int32_t>(prim::ThreadX())),
        q_(reinterpret_cast<float*>(prim::Shared())),
        scores_(q_ + kRows * a_.dim_qk),
        sums_(q_ + SmallFloats<kRows>(a_) - kRows) {}

  SAGE_DEVICE void Attend() {
    LoadQ();
    Slice early[kEarly];  // V's first keys are on their way while the scores are made
    const int32_t column = thread_ % p_.lanes_v * kElements;
    const int32_t first_key = thread_ / p_.lanes_v, stride = kSmallThreads / p_.lanes_v;
    const int32_t head_v = first_head_ / (a_.heads_q / a_.heads_v);
    LoadSlices(a_.v, a_.v_strides, head_v, column, a_.dim_v, first_key, stride, early);
    prim::SyncThreads();
    Products();
    prim::SyncThreads();
    for (int32_t row = thread_ / 32; row < kRows; row += kSmallWarps) Softmax(row);
    prim::SyncThreads();

    float out[kRows][kElements] = {};
    AddValues(early, first_key, stride, out);
    SAGE_NO_UNROLL
    for (int32_t j = first_key + kEarly * stride; j < s_.kv_len; j += kEarly * stride) {
      Slice late[kEarly];
      LoadSlices(a_.v, a_.v_strides, head_v, column, a_.dim_v, j, stride, late);
      AddValues(late, j, stride, out);
    }
    WriteOutput(column, out);
  }

 private:
  using Number = PlainNumber<T>;
  static constexpr int32_t kElements = 16 / static_cast<int32_t>(sizeof(T));  // of 16 bytes
  static constexpr int32_t kEarly = 4;
  static constexpr float kUnseen = -1;  // in place of a weight; what a key weighs that is seen is never below zero
  static constexpr float kInfinity = __builtin_huge_valf();
  struct alignas(16) Slice {
    T values[kElements];
  };

  SAGE_DEVICE int32_t Head(int32_t row) const { return first_head_ + (first_row_ + row) % p_.group; }
  SAGE_DEVICE int32_t Query(int32_t row) const { return (first_row_ + row) / p_.group; }

  SAGE_DEVICE void LoadQ() const {
    for (int32_t n = thread_; n < kRows * a_.dim_qk; n += kSmallThreads) {
      const int32_t row = n / a_.dim_qk, d = n % a_.dim_qk, i = Query(row);
      q_[n] = i < s_.q_len ? Number::Load(static_cast<const T*>(
                                 a_.q)[QueryOffset(a_.q_strides, a_, s_, Head(row), i) + d * a_.q_strides.column])
                           : 0.0f;
    }
  }

  // Of keys first, first + stride ...; zeros where there is no key, no page or no column.
  SAGE_DEVICE void LoadSlices(const void* base, const AttentionStrides& strides, int32_t head, int32_t column,
                              int32_t dim, int32_t first, int32_t stride, Slice (&slices)[kEarly]) const {
    SAGE_UNROLL
    for (int32_t n = 0; n < kEarly; ++n) {
      const int32_t j = first + n * stride;
      int64_t at = kNoPage;
      if (j < s_.kv_len && column < dim)
        at = a_.block_table != nullptr ? KeyOffset<true>(strides, a_, s_, head, j)
                                       : KeyOffset<false>(strides, a_, s_, head, j);
      slices[n] = at == kNoPage ? Slice{} : *reinterpret_cast<const Slice*>(static_cast<const T*>(base) + at + column);
    }
  }

  SAGE_DEVICE void Products() const {
    const int32_t mine = thread_ % p_.lanes_qk, column = mine * kElements;
    const int32_t stride = kSmallThreads / p_.lanes_qk, head = first_head_ / (a_.heads_q / a_.heads_k);
    // Every lane of the warp takes every turn: they meet in the shuffles.
    SAGE_NO_UNROLL
    for (int32_t begin = 0; begin < s_.kv_len; begin += kEarly * stride) {
      const int32_t first = begin + thread_ / p_.lanes_qk;
      Slice slices[kEarly];
      LoadSlices(a_.k, a_.k_strides, head, column, a_.dim_qk, first, stride, slices);
      SAGE_UNROLL
      for (int32_t n = 0; n < kEarly; ++n) {
        const int32_t j = first + n * stride;
        SAGE_UNROLL
        for (int32_t row = 0; row < kRows; ++row) {
          float product = 0;
          if (column < a_.dim_qk) {
            SAGE_UNROLL
            for (int32_t e = 0; e < kElements; ++e)
              product = prim::Fma(q_[row * a_.dim_qk + column + e], Number::Load(slices[n].values[e]), product);
          }
          for (int32_t lanes = p_.lanes_qk / 2; lanes > 0; lanes /= 2)
            product += prim::ShuffleXor(product, static_cast<uint32_t>(lanes));
          if (mine == 0 && j < s_.kv_len) scores_[row * a_.seq_kv + j] = product;
        }
      }
    }
  }

  // Of one row, by a warp: products become weights, not yet over their sum.
  SAGE_DEVICE void Softmax(int32_t row) const {
    const int32_t lane = thread_ % 32, h = Head(row), i = Query(row);
    const int32_t keys = i < s_.q_len ? s_.kv_len : 0;
    float* const weights = scores_ + row * a_.seq_kv;
    const bool sinks = a_.sinks != nullptr && i < s_.q_rows;
    const float sink = sinks ? static_cast<const float*>(a_.sinks)[h * a_.sinks_stride] : -kInfinity;
    float largest = sink;
    for (int32_t j = lane; j < keys; j += 32) {
      const float score = Score<float>(a_, s_, h, i, j, weights[j]);
      if (a_.scores != nullptr) static_cast<float*>(a_.scores)[ScoreOffset(a_.scores_strides, s_.b, h, i, j)] = score;
      weights[j] = InBand(s_, i, j) && InMasks(a_, s_.b, h, i, j) ? score : -kInfinity;
      largest = prim::Max(largest, weights[j]);
    }
    SAGE_UNROLL
    for (uint32_t lanes = 16; lanes > 0; lanes /= 2) largest = prim::Max(largest, prim::ShuffleXor(largest, lanes));
    float sum = lane == 0 && sink != -kInfinity ? prim::Exp(sink - largest) : 0.0f;
    for (int32_t j = lane; j < s_.kv_len; j += 32) {
      const bool seen = j < keys && weights[j] != -kInfinity;
      weights[j] = seen ? prim::Exp(weights[j] - largest) : kUnseen;
      if (seen) sum += weights[j];
    }
    SAGE_UNROLL
    for (uint32_t lanes = 16; lanes > 0; lanes /= 2) sum += prim::ShuffleXor(sum, lanes);
    if (lane == 0) sums_[row] = sum;
    if (i >= s_.q_rows) return;
    if (a_.lse != nullptr && lane == 0)
      static_cast<float*>(a_.lse)[QueryOffset(a_.lse_strides, a_, s_, h, i)] =
          sum == 0 ? -kInfinity : largest + prim::Log(sum);
    for (int32_t j = lane; j < a_.seq_kv; j += 32) {
      if (a_.weights != nullptr)
        static_cast<float*>(a_.weights)[ScoreOffset(a_.weights_strides, s_.b, h, i, j)] =
            j < keys && weights[j] != kUnseen ? weights[j] / sum : 0.0f;
      if (a_.scores != nullptr && j >= keys)
        static_cast<float*>(a_.scores)[ScoreOffset(a_.scores_strides, s_.b, h, i, j)] = 0;
    }
  }

  SAGE_DEVICE void AddValues(const Slice (&slices)[kEarly], int32_t first, int32_t stride,
                             float (&out)[kRows][kElements]) const {
    SAGE_UNROLL
    for (int32_t n = 0; n < kEarly; ++n) {
      const int32_t j = first + n * stride;
      if (j >= s_.kv_len) return;
      SAGE_UNROLL
      for (int32_t row = 0; row < kRows; ++row) {
        const float weight = scores_[row * a_.seq_kv + j];
        if (weight == kUnseen) continue;  // whose value may be anything
        SAGE_UNROLL
        for (int32_t e = 0; e < kElements; ++e)
          out[row][e] = prim::Fma(weight, Number::Load(slices[n].values[e]), out[row][e]);
      }
    }
  }

  // Shares of the lanes of a warp, then those of the warps, in their order.
  SAGE_DEVICE void WriteOutput(int32_t column, float (&out)[kRows][kElements]) const {
    float* const shares = q_ + thread_ / 32 * kRows * a_.dim_v;
    prim::SyncThreads();  // Q and the weights have been read
    SAGE_UNROLL
    for (int32_t row = 0; row < kRows; ++row) {
      SAGE_UNROLL
      for (int32_t e = 0; e < kElements; ++e) {
        for (int32_t lanes = p_.lanes_v; lanes < 32; lanes *= 2)
          out[row][e] += prim::ShuffleXor(out[row][e], static_cast<uint32_t>(lanes));
        if (thread_ % 32 < p_.lanes_v && column < a_.dim_v) shares[row * a_.dim_v + column + e] = out[row][e];
      }
    }
    prim::SyncThreads();
    for (int32_t n = thread_; n < kRows * a_.dim_v; n += kSmallThreads) {
      const int32_t row = n / a_.dim_v, i = Query(row);
      if (i >= s_.q_rows) continue;
      float total = 0;
      SAGE_UNROLL
      for (int32_t warp = 0; warp < kSmallWarps; ++warp) total += q_[warp * kRows * a_.dim_v + n];
      static_cast<T*>(a_.o)[QueryOffset(a_.o_strides, a_, s_, Head(row), i) + n % a_.dim_v * a_.o_strides.column] =
          Number::Store(sums_[row] == 0 ? 0.0f : total / sums_[row]);
    }
  }

  const SmallArguments& p_;
  const AttentionArguments& a_;
  const Sequence& s_;
  const int32_t first_head_, first_row_, thread_;
  float *const q_, *const scores_, *const sums_;
};

template <class T, int32_t kRows>
SAGE_DEVICE void AttendSmall(const SmallArguments& p) {
  prim::WaitForEarlierGrids();
  prim::AllowLaterGrids();
  const int32_t block = static_cast<int32_t>(prim::BlockX()), groups = p.a.heads_q / p.group;
  const int32_t first_row = block % p.tiles * kRows;
  const Sequence s = ReadSequence(p.a, block / p.tiles / groups);
  if (first_row / p.group >= s.q_rows) return;
  SmallBlock<T, kRows>(p, s, block / p.tiles % groups * p.group, first_row).Attend();
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_SMALL_H_
