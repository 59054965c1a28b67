// attention_tile.cc: the steps of a query tile; see attention_tile.h.
#include "attention_tile.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "numbers.h"

namespace sage::cpu {
namespace {

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

uint32_t LastAxis(const sage_tensor& tensor) { return tensor.rank - 1; }

}  // namespace

template <class T>
QueryTile<T>::QueryTile(AttentionCall& call, const AttentionKernels<T>& kernels, char* scratch)
    : call_(call), design_(call.design), kernels_(kernels) {
  const AttentionScratch& at = design_.scratch;
  const auto numbers = [scratch](uint64_t offset) { return reinterpret_cast<T*>(scratch + offset); };
  q_ = scratch + at.q, panels_ = scratch + at.panels, values_ = scratch + at.values;
  scores_ = numbers(at.scores), alpha_ = numbers(at.alpha);
  out_ = numbers(at.out), maximum_ = numbers(at.maximum), sum_ = numbers(at.sum);
  total_out_ = numbers(at.total_out), total_maximum_ = numbers(at.total_maximum);
  total_sum_ = numbers(at.total_sum);
  bias_ = numbers(at.bias);
  keep_ = reinterpret_cast<uint64_t*>(scratch + at.keep);
  low_ = reinterpret_cast<int64_t*>(scratch + at.low), high_ = reinterpret_cast<int64_t*>(scratch + at.high);
  query_ = reinterpret_cast<int64_t*>(scratch + at.query), head_ = reinterpret_cast<int64_t*>(scratch + at.head);
  row_pointers_ = reinterpret_cast<const void**>(scratch + at.rows);
  ahead_pointers_ = reinterpret_cast<const void**>(scratch + at.ahead);
  gathered_ = scratch + at.gathered;
  converted_ = reinterpret_cast<float*>(scratch + at.converted);
  factors_ = reinterpret_cast<float*>(scratch + at.factors);
  other_q_ = scratch + at.other_q, other_panels_ = scratch + at.other_panels;
  other_values_ = scratch + at.other_values, zeros_ = scratch + at.zeros;
  const auto marks = [scratch](uint64_t offset) { return reinterpret_cast<uint8_t*>(scratch + offset); };
  unfit_q_ = marks(at.unfit_q), unfit_k_ = marks(at.unfit_k), unfit_v_ = marks(at.unfit_v);
  group_ = call.sizes.group;
  constexpr uint64_t kShaped = SAGE_ATTN_F_SOFTCAP | SAGE_ATTN_F_BIAS | SAGE_ATTN_F_ALIBI | kDataMasks;
  factor_ = static_cast<T>(design_.scale);
  plain_ = !call.Is(kShaped) && factor_ > 0;
  in_place_ = call.operands == nullptr || call.operands->ReadInPlace();
}

template <class T>
Stored QueryTile<T>::StoredAs(uint32_t slot) const {
  const sage_dtype dtype = call_.Slot(slot).dtype;
  return dtype == SAGE_BF16  ? Stored::kBf16
         : dtype == SAGE_F16 ? Stored::kF16
         : dtype == SAGE_I8  ? Stored::kI8
                             : Stored::kNative;
}

template <class T>
void QueryTile<T>::Gather(const sage_tensor& tensor, int64_t count, int64_t padded, int64_t length) {
  const int64_t step = tensor.stride[LastAxis(tensor)];
  if (step != 1 && length > 1) {
    const auto size = ElementSize(tensor.dtype);
    for (int64_t r = 0; r < count; ++r) {
      const char* from = static_cast<const char*>(row_pointers_[r]);
      char* to = gathered_ + r * length * size;
      for (int64_t c = 0; c < length; ++c)
        std::memcpy(to + c * size, from + c * step * size, static_cast<size_t>(size));
      row_pointers_[r] = to;
    }
  }
  for (int64_t r = count; r < padded; ++r) row_pointers_[r] = row_pointers_[count - 1];
}

template <class T>
void QueryTile<T>::Begin(int64_t task) {
  const int64_t groups = call_.sizes.heads_q / group_;
  const int64_t* first = call_.first_tile;
  const int64_t place = std::upper_bound(first, first + call_.sizes.batch + 1, task / groups) - first - 1;
  b_ = call_.order[place];
  sequence_ = call_.Sequence(b_);
  // Within a sequence the last tiles come first: under a causal mask they are the long ones.
  const int64_t within = task - first[place] * groups, tiles = first[place + 1] - first[place];
  const int64_t tile = tiles - 1 - within / groups;
  first_head_ = within % groups * group_;
  const int64_t first_row = tile * call_.tile_rows;
  rows_ = std::min(call_.tile_rows, sequence_.q_rows * group_ - first_row);

  const sage_attention_attributes& attributes = design_.view->attributes.attention;
  constexpr int64_t kFar = int64_t{1} << 60;  // further than any tensor reaches
  const int64_t left = std::min(attributes.window_left, kFar), right = std::min(attributes.window_right, kFar);
  first_key_ = sequence_.k_used, last_key_ = 0;
  int64_t query = first_row / group_, in_group = first_row % group_;
  for (int64_t r = 0; r < rows_; ++r) {
    query_[r] = query, head_[r] = first_head_ + in_group;
    if (++in_group == group_) in_group = 0, ++query;
    const int64_t position = Query(r) + sequence_.shift;
    int64_t low = 0, high = sequence_.k_used;
    if (call_.Is(SAGE_ATTN_F_CAUSAL)) high = std::min(high, position + 1);
    if (call_.Is(SAGE_ATTN_F_WINDOW_LEFT)) low = std::max(low, position - left);
    if (call_.Is(SAGE_ATTN_F_WINDOW_RIGHT)) high = std::min(high, position + right + 1);
    if (Query(r) >= sequence_.q_used || low >= high) low = high = 0;
    low_[r] = low, high_[r] = high;
    if (low < high) first_key_ = std::min(first_key_, low), last_key_ = std::max(last_key_, high);
    row_pointers_[r] = call_.QueryRow(SAGE_ATTN_Q, sequence_, b_, Head(r), Query(r));
  }
  Gather(call_.Slot(SAGE_ATTN_Q), rows_, rows_, call_.sizes.dim_qk);
  num_unfit_q_ = SetUnfitAside(SAGE_ATTN_Q, rows_, call_.sizes.dim_qk, unfit_q_);
  if (call_.operands != nullptr && call_.operands->PacksQueries())
    call_.operands->PackQueries({sequence_, b_, rows_, row_pointers_, head_, query_}, q_);
  else
    kernels_.pack_queries(StoredAs(SAGE_ATTN_Q), row_pointers_, rows_, call_.sizes.dim_qk, q_, design_.dim_padded);
  chunk_aside_ = false;
  Clear();
}

template <class T>
void QueryTile<T>::Clear() {
  std::fill_n(maximum_, rows_, -std::numeric_limits<T>::infinity());
  std::fill_n(sum_, rows_, T(0));
  std::fill_n(alpha_, rows_, T(1));
  std::fill_n(out_, rows_ * design_.dim_v_padded, T(0));
}

template <class T>
void QueryTile<T>::EndChunk() {
  if (chunk_aside_) {
    MergeChunks();
    chunk_aside_ = false;
  }
  std::swap(out_, total_out_), std::swap(maximum_, total_maximum_), std::swap(sum_, total_sum_);
  chunk_aside_ = true;
  Clear();
}

template <class T>
void QueryTile<T>::MergeChunks() {
  if (!chunk_aside_) return;
  for (int64_t r = 0; r < rows_; ++r) {
    const int64_t at = r * design_.dim_v_padded;
    kernels_.merge(design_.dim_v_padded, maximum_[r], sum_[r], out_ + at, total_maximum_ + r, total_sum_ + r,
                   total_out_ + at);
  }
  std::swap(out_, total_out_), std::swap(maximum_, total_maximum_), std::swap(sum_, total_sum_);
  chunk_aside_ = false;
}

template <class T>
void QueryTile<T>::StorePartial(char* partial) const {
  T* to = reinterpret_cast<T*>(partial);
  std::copy_n(maximum_, rows_, to);
  std::copy_n(sum_, rows_, to + rows_);
  std::copy_n(out_, rows_ * design_.dim_v_padded, to + 2 * rows_);
}

template <class T>
void QueryTile<T>::MergePartial(const char* partial) {
  const T* from = reinterpret_cast<const T*>(partial);
  for (int64_t r = 0; r < rows_; ++r) {
    const int64_t at = r * design_.dim_v_padded;
    kernels_.merge(design_.dim_v_padded, from[r], from[rows_ + r], from + 2 * rows_ + at, maximum_ + r, sum_ + r,
                   out_ + at);
  }
}

template <class T>
void QueryTile<T>::AddressKeys(uint32_t slot, int64_t head, const KeyTile& keys, const void** pointers) const {
  if (call_.sizes.paged) {
    for (int64_t k = 0; k < keys.count; ++k) pointers[k] = call_.KeyRow(slot, sequence_, b_, head, keys.first + k);
    return;
  }
  const sage_tensor& tensor = call_.Slot(slot);
  const char* at = call_.KeyRow(slot, sequence_, b_, head, keys.first);
  const int64_t step = tensor.stride[tensor.rank == 3 ? 0 : 2] * ElementSize(tensor.dtype);
  for (int64_t k = 0; k < keys.count; ++k, at += step) pointers[k] = at;
}

template <class T>
void QueryTile<T>::PointAtKeys(uint32_t slot, int64_t head, const KeyTile& keys, int64_t padded) {
  const sage_tensor& tensor = call_.Slot(slot);
  AddressKeys(slot, head, keys, row_pointers_);
  Gather(tensor, keys.count, padded, tensor.shape[LastAxis(tensor)]);
}

template <class T>
void QueryTile<T>::Foresee(const KeyTile& keys, const KeyTile& next) {
  k_ahead_ = v_ahead_ = nullptr;
  const sage_tensor &k = call_.Slot(SAGE_ATTN_K), &v = call_.Slot(SAGE_ATTN_V);
  const bool in_order = k.stride[LastAxis(k)] == 1 && v.stride[LastAxis(v)] == 1;
  if (!in_order || (next.count == 0 && keys.count <= kAheadKeys)) return;
  const int64_t k_head = first_head_ / (call_.sizes.heads_q / call_.sizes.heads_k);
  const int64_t v_head = first_head_ / (call_.sizes.heads_q / call_.sizes.heads_v);
  const void** at = ahead_pointers_;
  AddressKeys(SAGE_ATTN_K, k_head, keys, at);
  AddressKeys(SAGE_ATTN_V, v_head, keys, at + keys.count);
  at += 2 * keys.count;
  const int64_t count = std::min(next.count, kAheadKeys);
  AddressKeys(SAGE_ATTN_K, k_head, {next.first, count}, at);
  // Behind the end there is nothing to ask for but what was read last.
  std::fill(at + count, ahead_pointers_ + AheadRows(keys.count), at[count - 1]);
  k_ahead_ = ahead_pointers_ + kAheadKeys;
  if (!design_.materialised) v_ahead_ = k_ahead_ + keys.count;  // else V is read long after
}

template <class T>
void QueryTile<T>::LoadKeys(const KeyTile& keys, const KeyTile& next) {
  keys_padded_ = RoundUp(keys.count, kernels_.width);  // at most the design's: tiles are no longer than planned
  const int64_t head = first_head_ / (call_.sizes.heads_q / call_.sizes.heads_k);
  loaded_ = keys, other_keys_loaded_ = false;
  k_ = panels_;
  if (call_.operands != nullptr && call_.operands->PacksKeys()) {
    int64_t count = 0;
    k_ = call_.operands->Keys(b_, head, keys.first, &count);
    keys_padded_ = RoundUp(count, kernels_.width);
    num_unfit_k_ = 0;
    return;
  }
  Foresee(keys, next);
  PointAtKeys(SAGE_ATTN_K, head, keys, keys_padded_);
  num_unfit_k_ = SetUnfitAside(SAGE_ATTN_K, keys_padded_, call_.sizes.dim_qk, unfit_k_);
  const Stored stored = Converted(SAGE_ATTN_K, head, keys, keys_padded_);
  kernels_.pack_keys(stored, row_pointers_, keys_padded_, call_.sizes.dim_qk, panels_, k_ahead_);
}

template <class T>
Stored QueryTile<T>::Converted(uint32_t slot, int64_t head, const KeyTile& keys, int64_t padded) {
  if (call_.operands == nullptr || !call_.operands->Converts(slot)) return StoredAs(slot);
  const sage_tensor& tensor = call_.Slot(slot);
  const int64_t length = tensor.shape[LastAxis(tensor)];
  call_.operands->Convert(slot, sequence_, b_, head, keys.first, keys.count, row_pointers_, length, converted_);
  for (int64_t k = 0; k < padded; ++k) row_pointers_[k] = converted_ + std::min(k, keys.count - 1) * length;
  return Stored::kNative;
}

template <class T>
void QueryTile<T>::MultiplyByFactors(uint32_t slot, int64_t head, const KeyTile& keys, const LaneRange& lanes,
                                     T* rows) {
  if (call_.operands == nullptr || !call_.operands->Converts(slot)) return;
  if constexpr (sizeof(T) == sizeof(float)) {
    call_.operands->Factors(slot, sequence_, b_, head, keys.first, keys.count, factors_);
    std::fill(factors_ + keys.count, factors_ + std::max(lanes.end, keys.count), 1.0f);
    kernels_.multiply_rows(static_cast<int32_t>(rows_), factors_, lanes.begin, lanes.end, rows, design_.score_stride);
  }
}

template <class T>
void QueryTile<T>::DotsInPlace(const KeyTile& keys, const KeyTile& next, const LaneRange& lanes) {
  const int64_t head = first_head_ / (call_.sizes.heads_q / call_.sizes.heads_k);
  Foresee(keys, next);
  const bool listed = k_ahead_ != nullptr && keys.count % kernels_.width == 0;
  if (!listed) PointAtKeys(SAGE_ATTN_K, head, keys, RoundUp(keys.count, kernels_.width));
  const void* const* const rows = listed ? Listed(k_ahead_) : row_pointers_;
  kernels_.scores_in_place(StoredAs(SAGE_ATTN_K), static_cast<int32_t>(rows_), q_, design_.dim_padded,
                           rows + lanes.begin, lanes.end - lanes.begin, call_.sizes.dim_qk, scores_ + lanes.begin,
                           design_.score_stride, k_ahead_ == nullptr ? nullptr : k_ahead_ + lanes.begin);
  MultiplyByFactors(SAGE_ATTN_K, head, keys, lanes, scores_);
}

template <class T>
void QueryTile<T>::AccumulateFew(const KeyTile& keys, const LaneRange& lanes, T* weights) {
  const bool whole =
      lanes.uniform && (lanes.low | lanes.high) % kernels_.value_step == 0 && call_.sizes.dim_v == design_.dim_v_padded;
  if (!whole) {
    LoadValues(keys);
    for (int64_t row = 0; row < rows_; row += kernels_.row_group)
      Accumulate(keys, row, std::min<int64_t>(kernels_.row_group, rows_ - row), lanes,
                 weights + row * design_.score_stride);
    return;
  }
  const int64_t head = first_head_ / (call_.sizes.heads_q / call_.sizes.heads_v);
  if (v_ahead_ == nullptr) PointAtKeys(SAGE_ATTN_V, head, keys, keys.count);
  MultiplyByFactors(SAGE_ATTN_V, head, keys, lanes, weights);
  kernels_.accumulate_in_place(StoredAs(SAGE_ATTN_V), static_cast<int32_t>(rows_), weights, design_.score_stride,
                               v_ahead_ == nullptr ? row_pointers_ : Listed(v_ahead_), lanes.low, lanes.high,
                               call_.sizes.dim_v, alpha_, out_, design_.dim_v_padded, v_ahead_);
}

template <class T>
void QueryTile<T>::LoadValues(const KeyTile& keys) {
  const sage_tensor& tensor = call_.Slot(SAGE_ATTN_V);
  const int64_t head = first_head_ / (call_.sizes.heads_q / call_.sizes.heads_v);
  v_finite_ = -1;
  if (call_.operands != nullptr && call_.operands->PacksValues()) {
    v_ = call_.operands->Values(b_, head, keys.first, &v_stride_);
    v_ahead_ = nullptr;
    num_unfit_v_ = 0;
    return;
  }
  const bool converts = call_.operands != nullptr && call_.operands->Converts(SAGE_ATTN_V);
  // In place where rows are whole registers of T at one distance; else a packed copy.
  if (kernels_.values_in_place != 0 && StoredAs(SAGE_ATTN_V) == Stored::kNative && !converts && !call_.sizes.paged &&
      tensor.stride[LastAxis(tensor)] == 1 && call_.sizes.dim_v % kernels_.width == 0) {
    const char* at = call_.KeyRow(SAGE_ATTN_V, sequence_, b_, head, keys.first);
    if (reinterpret_cast<uintptr_t>(at) % sizeof(T) == 0) {
      v_ = at;
      v_stride_ = tensor.stride[tensor.rank == 3 ? 0 : 2];
      return;
    }
  }
  PointAtKeys(SAGE_ATTN_V, head, keys, keys.count);
  num_unfit_v_ = SetUnfitAside(SAGE_ATTN_V, keys.count, call_.sizes.dim_v, unfit_v_);
  other_values_loaded_ = false;
  const Stored stored = Converted(SAGE_ATTN_V, head, keys, keys.count);
  kernels_.pack_values(stored, row_pointers_, keys.count, call_.sizes.dim_v, values_, design_.dim_v_padded, v_ahead_);
  v_ahead_ = nullptr;
  v_ = values_;
  v_stride_ = design_.dim_v_padded;
}

template <class T>
LaneRange QueryTile<T>::GroupLanes(const KeyTile& keys, int64_t row, int64_t count) const {
  LaneRange lanes{0, 0, keys.count, 0, true};
  for (int64_t r = row; r < row + count; ++r) {
    const int64_t low = std::clamp(low_[r] - keys.first, int64_t{0}, keys.count);
    const int64_t high = std::clamp(high_[r] - keys.first, int64_t{0}, keys.count);
    if (r > row && (low != lanes.low || high != lanes.high)) lanes.uniform = false;
    if (low >= high) continue;
    lanes.low = std::min(lanes.low, low), lanes.high = std::max(lanes.high, high);
  }
  if (lanes.low >= lanes.high) return {0, 0, 0, 0, true};
  lanes.begin = lanes.low / kernels_.width * kernels_.width;
  lanes.end = RoundUp(lanes.high, kernels_.width);
  return lanes;
}

template <class T>
void QueryTile<T>::Dots(int64_t row, int64_t count, int64_t begin, int64_t end, bool all, T* scores) {
  if ((num_unfit_q_ | num_unfit_k_) != 0) return DotsOtherwise(row, count, begin, end, all, scores);
  kernels_.scores(static_cast<int32_t>(count), q_ + row * design_.dim_padded * kernels_.element, design_.dim_padded, k_,
                  keys_padded_, call_.sizes.dim_qk, begin, end, scores, design_.score_stride);
}

template <class T>
const T* QueryTile<T>::BiasRow(const KeyTile& keys, int64_t row, int64_t begin, int64_t end) {
  const sage_tensor& tensor = call_.Slot(SAGE_ATTN_BIAS);
  const auto size = ElementSize(tensor.dtype);
  const char* at =
      call_.QueryRow(SAGE_ATTN_BIAS, sequence_, b_, Head(row), Query(row)) + keys.first * tensor.stride[3] * size;
  if (StoredAs(SAGE_ATTN_BIAS) == Stored::kNative && tensor.stride[3] == 1 && end <= keys.count &&
      reinterpret_cast<uintptr_t>(at) % sizeof(T) == 0)
    return reinterpret_cast<const T*>(at);
  const int64_t last = std::min(end, keys.count);
  for (int64_t k = begin; k < last; ++k)
    bias_[k] = static_cast<T>(ReadFloat(tensor.dtype, at + k * tensor.stride[3] * size));
  std::fill(bias_ + last, bias_ + std::max(end, last), T(0));
  return bias_;
}

template <class T>
T QueryTile<T>::Prepare(const KeyTile& keys, int64_t row, int64_t begin, int64_t end, bool all, T* scores,
                        bool* partly) {
  const sage_attention_attributes& attributes = design_.view->attributes.attention;
  ScoreRow<T> line{};
  line.begin = begin, line.end = end;
  line.low = all ? 0 : std::clamp(low_[row] - keys.first, int64_t{0}, keys.count);
  line.high = all ? keys.count : std::clamp(high_[row] - keys.first, int64_t{0}, keys.count);
  line.softcap = static_cast<T>(attributes.softcap);
  line.factor = factor_;
  if (call_.Is(SAGE_ATTN_F_ALIBI)) {
    const sage_tensor& slopes = call_.Slot(SAGE_ATTN_ALIBI);
    line.alibi_slope =
        static_cast<T>(ReadFloat(slopes.dtype, static_cast<const char*>(slopes.data) +
                                                   Head(row) * slopes.stride[0] * ElementSize(slopes.dtype)));
    line.alibi_origin = static_cast<T>(Query(row) + sequence_.shift - keys.first);
  }
  if (call_.Is(SAGE_ATTN_F_BIAS)) {
    line.bias = BiasRow(keys, row, begin, end);
    *partly = true;  // a bias of -inf hides a key as well
  }
  if (!all && call_.Is(kDataMasks) && line.low < line.high) {
    line.keep = KeepRow(keys, row, line.low, line.high);
    if (line.keep != nullptr) *partly = true;
  }
  return kernels_.prepare(line, scores);
}

template <class T>
void QueryTile<T>::Online(const KeyTile& keys, int64_t row, int64_t count, const LaneRange& lanes, T* scores,
                          bool* partly) {
  if (plain_ && lanes.uniform && lanes.low == lanes.begin && lanes.high == lanes.end) {
    kernels_.online_plain(static_cast<int32_t>(count), factor_, lanes.begin, lanes.end, scores, design_.score_stride,
                          maximum_ + row, sum_ + row, alpha_ + row);
    return;
  }
  for (int64_t r = row; r < row + count; ++r) {
    T* line = scores + (r - row) * design_.score_stride;
    const T best = Prepare(keys, r, lanes.begin, lanes.end, false, line, partly);
    kernels_.online_prepared(best, lanes.begin, lanes.end, line, maximum_ + r, sum_ + r, alpha_ + r);
  }
}

template <class T>
void QueryTile<T>::Accumulate(const KeyTile& keys, int64_t row, int64_t count, const LaneRange& lanes,
                              const T* weights) {
  if (num_unfit_v_ != 0) return AccumulateOtherwise(keys, row, count, lanes, weights);
  T* out = out_ + row * design_.dim_v_padded;
  // Keys that nobody sees are multiplied where the kernel takes several together.
  if (!lanes.uniform || (lanes.low | lanes.high) % kernels_.value_step != 0) {
    if (v_finite_ < 0) v_finite_ = kernels_.all_finite(v_, v_stride_, 0, keys.count, design_.dim_v_padded);
    if (v_finite_ == 0) {
      for (int64_t r = 0; r < count; ++r)
        kernels_.accumulate_visible(weights + r * design_.score_stride, v_, v_stride_, lanes.low, lanes.high,
                                    design_.dim_v_padded, alpha_[row + r], out + r * design_.dim_v_padded);
      return;
    }
  }
  // The first group is who fetches V from memory where it is not packed.
  if (row == 0 && v_ahead_ != nullptr)
    return kernels_.accumulate_in_place(Stored::kNative, static_cast<int32_t>(count), weights, design_.score_stride,
                                        Listed(v_ahead_), lanes.low, lanes.high, design_.dim_v_padded, alpha_, out,
                                        design_.dim_v_padded, v_ahead_);
  kernels_.accumulate(static_cast<int32_t>(count), weights, design_.score_stride, v_, v_stride_, lanes.low, lanes.high,
                      design_.dim_v_padded, alpha_ + row, out, design_.dim_v_padded);
}

template <class T>
double QueryTile<T>::SinkOf(int64_t row) const {
  const sage_tensor& sinks = call_.Slot(SAGE_ATTN_SINKS);
  return ReadFloat(sinks.dtype,
                   static_cast<const char*>(sinks.data) + Head(row) * sinks.stride[0] * ElementSize(sinks.dtype));
}

template <class T>
double QueryTile<T>::Denominator(int64_t row) const {
  const auto sum = static_cast<double>(sum_[row]);
  if (sum == 0 || !call_.Is(SAGE_ATTN_F_SINKS)) return sum;
  return sum + std::exp(SinkOf(row) - static_cast<double>(maximum_[row]));
}

template <class T>
void QueryTile<T>::Store() const {
  const sage_tensor& o = call_.Slot(SAGE_ATTN_O);
  const auto size = ElementSize(o.dtype);
  const int64_t step = o.stride[LastAxis(o)], length = call_.sizes.dim_v;
  const bool same = size == static_cast<int64_t>(sizeof(T)) && step == 1;
  for (int64_t r = 0; r < rows_; ++r) {
    char* to = call_.QueryRow(SAGE_ATTN_O, sequence_, b_, Head(r), Query(r));
    const T* from = out_ + r * design_.dim_v_padded;
    const auto denominator = static_cast<T>(Denominator(r));
    const bool empty = denominator == 0;
    if (same && reinterpret_cast<uintptr_t>(to) % sizeof(T) == 0) {
      T* out = reinterpret_cast<T*>(to);
      for (int64_t c = 0; c < length; ++c) out[c] = empty ? T(0) : from[c] / denominator;
    } else if (kernels_.store_bf16 != nullptr && o.dtype == SAGE_BF16 && step == 1 && !empty) {
      kernels_.store_bf16(from, denominator, length, to);
    } else {
      for (int64_t c = 0; c < length; ++c)
        WriteFloat(o.dtype, to + c * step * size, empty ? 0.0 : static_cast<double>(from[c] / denominator));
    }
    if (!call_.Is(SAGE_ATTN_F_LSE)) continue;
    const sage_tensor& lse = call_.Slot(SAGE_ATTN_LSE);
    const int64_t offset = call_.sizes.varlen ? Head(r) * lse.stride[0] + (sequence_.q_begin + Query(r)) * lse.stride[1]
                                              : b_ * lse.stride[0] + Head(r) * lse.stride[1] + Query(r) * lse.stride[2];
    const auto sum = static_cast<double>(sum_[r]), maximum = static_cast<double>(maximum_[r]);
    double value = sum == 0 ? -std::numeric_limits<double>::infinity() : maximum + std::log(sum);
    if (call_.Is(SAGE_ATTN_F_SINKS)) {
      const double sink = SinkOf(r), top = std::max(sink, maximum);
      value = sum == 0 ? sink : top + std::log(sum * std::exp(maximum - top) + std::exp(sink - top));
    }
    WriteFloat(lse.dtype, static_cast<char*>(lse.data) + offset * ElementSize(lse.dtype), value);
  }
}

template class QueryTile<float>;
template class QueryTile<double>;

}  // namespace sage::cpu
