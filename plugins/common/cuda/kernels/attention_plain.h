// attention_plain.h: attention row by row, a warp for each, in the type of its statistics: f64 in double, the others in
// float. Exact for f64 and f32, any head dimension and any strides, and what writes WEIGHTS and SCORES.
//
// Each lane takes a key of 32 for the scores and every 32nd column for the output; the softmax runs online, so that
// memory does not grow with the keys. The 16-bit kernels call AttendRow too, for rows that came out not finite: a value
// of NaN or infinity behind a key that a row does not see must not touch it, and 0 * NaN would.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_PLAIN_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_PLAIN_H_

#include "common/cuda/kernels/attention_score.h"
#include "common/cuda/kernels/number.h"

namespace sage::cuda {

constexpr int32_t kPlainWarps = 4;  // rows of a block

// A row that has nothing besides AttentionArguments. Other kinds are in attention_extras.h.
struct NoExtras {
  static constexpr bool kScales = false, kDrops = false;
  SAGE_DEVICE static NoExtras Of(const AttentionExtras&) { return {}; }
};

// kAppends: whether keys may lie in K_NEW and V_NEW yet.
template <class T, bool kAppends = false, class Extras = NoExtras>
class PlainRow {
 public:
  using Number = PlainNumber<T>;
  using N = typename Number::Statistics;

  SAGE_DEVICE PlainRow(const AttentionArguments& a, const Sequence& s, int32_t h, int32_t i, Extras extras = {})
      : a_(a),
        s_(s),
        h_(h),
        i_(i),
        head_k_(h / (a.heads_q / a.heads_k)),
        head_v_(h / (a.heads_q / a.heads_v)),
        keys_(i < s.q_len ? s.kv_len : 0),
        lane_(static_cast<int32_t>(prim::ThreadX() % 32)),
        q_(static_cast<const T*>(a.q) + QueryOffset(a.q_strides, a, s, h, i)),
        extras_(extras) {}

  // By the whole warp. outputs_only: LSE and the rest have been written.
  SAGE_DEVICE void Attend(bool outputs_only) {
    first_ = Most(0, i_ + s_.shift - s_.left);
    last_ = Least(keys_ - 1, i_ + s_.shift + s_.right);
    const int64_t o = QueryOffset(a_.o_strides, a_, s_, h_, i_);
    for (int32_t column = 0; column < a_.dim_v; column += kColumns) Columns(o, column);
    if (outputs_only) return;
    if (a_.lse != nullptr && lane_ == 0)
      static_cast<N*>(a_.lse)[QueryOffset(a_.lse_strides, a_, s_, h_, i_)] =
          sum_ == 0 ? -kInfinity : largest_ + prim::Log(sum_);
    WriteScores();
  }

 private:
  static constexpr int32_t kPerLane = 8, kColumns = 32 * kPerLane;
  static constexpr N kInfinity = static_cast<N>(__builtin_huge_val());

  SAGE_DEVICE N Product(int32_t j) const {
    const RowOf<T> k = KeyRow<T, false, kAppends>(a_, s_, head_k_, j);
    if (k.first == nullptr) return 0;
    N sums[4] = {};  // shorter chains round less
    int32_t d = 0;
    for (; d + 4 <= a_.dim_qk; d += 4) {
      SAGE_UNROLL
      for (int32_t n = 0; n < 4; ++n)
        sums[n] = prim::Fma(Number::Load(q_[(d + n) * a_.q_strides.column]), Number::Load(k.first[(d + n) * k.step]),
                            sums[n]);
    }
    for (; d < a_.dim_qk; ++d)
      sums[0] = prim::Fma(Number::Load(q_[d * a_.q_strides.column]), Number::Load(k.first[d * k.step]), sums[0]);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
  SAGE_DEVICE N ScoreOf(int32_t j) const {
    N product = Product(j);
    if constexpr (Extras::kScales) product = extras_.Product(product);
    return Score<N>(a_, s_, h_, i_, j, product);
  }
  SAGE_DEVICE bool Sees(int32_t j) const { return j >= first_ && j <= last_ && InMasks(a_, s_.b, h_, i_, j); }

  SAGE_DEVICE static N WarpMax(N value) {
    SAGE_UNROLL
    for (uint32_t lanes = 16; lanes > 0; lanes /= 2) value = prim::Max(value, prim::ShuffleXor(value, lanes));
    return value;
  }
  SAGE_DEVICE static N WarpSum(N value) {
    SAGE_UNROLL
    for (uint32_t lanes = 16; lanes > 0; lanes /= 2) value += prim::ShuffleXor(value, lanes);
    return value;
  }

  // The softmax over all keys and kColumns columns of the output from `column` on.
  SAGE_DEVICE void Columns(int64_t o, int32_t column) {
    N out[kPerLane] = {};
    N largest = -kInfinity, sum = 0;
    if (a_.sinks != nullptr) {
      largest = static_cast<const N*>(a_.sinks)[h_ * a_.sinks_stride];
      sum = lane_ == 0 && largest != -kInfinity ? N{1} : N{0};
    }
    SAGE_NO_UNROLL
    for (int32_t begin = first_ / 32 * 32; begin <= last_; begin += 32) {
      const int32_t j = begin + lane_;
      const N score = Sees(j) ? ScoreOf(j) : -kInfinity;
      uint32_t seen = prim::Ballot(score != -kInfinity);
      if (seen == 0) continue;
      const N larger = prim::Max(largest, WarpMax(score));
      const N factor = largest == larger ? N{1} : prim::Exp(largest - larger);
      N p = score == -kInfinity ? N{0} : prim::Exp(score - larger);
      largest = larger;
      sum = sum * factor + p;
      if constexpr (Extras::kDrops) {  // V of a key that is dropped is not read
        const N kept = extras_.Kept(a_, s_.b, h_, i_, j);
        p *= kept;
        seen &= prim::Ballot(kept != 0);
      }
      SAGE_UNROLL
      for (N& value : out) value *= factor;
      SAGE_NO_UNROLL
      for (uint32_t key = 0; key < 32; ++key) {
        if ((seen >> key & 1) != 0) AddValue(begin + static_cast<int32_t>(key), prim::Shuffle(p, key), column, out);
      }
    }
    sum = WarpSum(sum);
    SAGE_UNROLL
    for (int32_t n = 0; n < kPerLane; ++n) {
      const int32_t d = column + 32 * n + lane_;
      if (d < a_.dim_v) Store(o + d * a_.o_strides.column, sum == 0 ? N{0} : out[n] / sum);
    }
    largest_ = largest, sum_ = sum;
  }

  SAGE_DEVICE void Store(int64_t at, N value) const {
    if constexpr (Extras::kScales)
      extras_.Store(a_.o, at, value);
    else
      static_cast<T*>(a_.o)[at] = Number::Store(value);
  }

  SAGE_DEVICE void AddValue(int32_t j, N p, int32_t column, N (&out)[kPerLane]) const {
    const RowOf<T> v = KeyRow<T, true, kAppends>(a_, s_, head_v_, j);
    if (v.first == nullptr) return;
    SAGE_UNROLL
    for (int32_t n = 0; n < kPerLane; ++n) {
      const int32_t d = column + 32 * n + lane_;
      if (d < a_.dim_v) out[n] = prim::Fma(p, Number::Load(v.first[d * v.step]), out[n]);
    }
  }

  SAGE_DEVICE void WriteScores() const {
    if (a_.weights == nullptr && a_.scores == nullptr) return;
    for (int32_t j = lane_; j < a_.seq_kv; j += 32) {
      const bool key = j < keys_;
      const N score = key ? ScoreOf(j) : N{0};
      if (a_.scores != nullptr) static_cast<N*>(a_.scores)[ScoreOffset(a_.scores_strides, s_.b, h_, i_, j)] = score;
      if (a_.weights == nullptr) continue;
      const bool seen = key && Sees(j) && score != -kInfinity;
      static_cast<N*>(a_.weights)[ScoreOffset(a_.weights_strides, s_.b, h_, i_, j)] =
          seen ? prim::Exp(score - largest_) / sum_ : N{0};
    }
  }

  const AttentionArguments& a_;
  const Sequence& s_;
  const int32_t h_, i_, head_k_, head_v_, keys_, lane_;
  const T* const q_;
  const Extras extras_;
  int32_t first_ = 0, last_ = -1;  // keys in the band
  N largest_ = -kInfinity, sum_ = 0;
};

// Blocks of a launch; rows vary fastest, then heads, then sequences.
inline int64_t PlainBlocks(const AttentionArguments& a) {
  return int64_t{(a.seq_q + kPlainWarps - 1) / kPlainWarps} * a.heads_q * a.batch;
}

template <class T>
SAGE_DEVICE void AttendPlain(const AttentionArguments& a) {
  const int32_t tiles = (a.seq_q + kPlainWarps - 1) / kPlainWarps, block = static_cast<int32_t>(prim::BlockX());
  const int32_t h = block / tiles % a.heads_q;
  const Sequence s = ReadSequence(a, block / tiles / a.heads_q);
  const int32_t i = block % tiles * kPlainWarps + static_cast<int32_t>(prim::ThreadX() / 32);
  if (i >= s.q_rows) return;
  PlainRow<T>(a, s, h, i).Attend(false);
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_PLAIN_H_
