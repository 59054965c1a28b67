// attention_unfit.cc: rows of Q, K and V that the kernels' packed form cannot hold: they are packed as zeros, and what
// they matter to is computed by the kernels' `otherwise`.
//
// Decided for each row of Q and each tile of keys: by what is in that row and in the keys of that tile that it may see,
// and by nothing else, so a row has the same bits whatever lies beside it or behind its masks. Rare, so packed again
// for each group of rows: what must not be slow is the question.
#include <algorithm>

#include "attention_tile.h"

namespace sage::cpu {

template <class T>
int64_t QueryTile<T>::SetUnfitAside(uint32_t slot, int64_t count, int64_t length, uint8_t* unfit) {
  if (kernels_.find_unfit == nullptr) return 0;
  const int64_t found = kernels_.find_unfit(StoredAs(slot), row_pointers_, count, length, unfit);
  if (found == 0) return 0;
  std::fill_n(zeros_, std::max(design_.dim_padded, design_.dim_v_padded) * static_cast<int64_t>(sizeof(T)), char{0});
  for (int64_t r = 0; r < count; ++r)
    if (unfit[r] != 0) row_pointers_[r] = zeros_;
  return found;
}

template <class T>
bool QueryTile<T>::SeesUnfit(const KeyTile& keys, int64_t row, const uint8_t* unfit, bool all) {
  const int64_t low = all ? 0 : std::clamp(low_[row] - keys.first, int64_t{0}, keys.count);
  const int64_t high = all ? keys.count : std::clamp(high_[row] - keys.first, int64_t{0}, keys.count);
  if (low >= high || std::find(unfit + low, unfit + high, uint8_t{1}) == unfit + high) return false;
  const uint64_t* keep = !all && call_.Is(kDataMasks) ? KeepRow(keys, row, low, high) : nullptr;
  if (keep == nullptr) return true;
  for (int64_t k = low; k < high; ++k)
    if (unfit[k] != 0 && (keep[k / 64] >> (k % 64) & 1) != 0) return true;
  return false;
}

template <class T>
void QueryTile<T>::LoadOtherQueries(int64_t row, int64_t count) {
  for (int64_t r = 0; r < count; ++r)
    row_pointers_[r] = call_.QueryRow(SAGE_ATTN_Q, sequence_, b_, Head(row + r), Query(row + r));
  Gather(call_.Slot(SAGE_ATTN_Q), count, count, call_.sizes.dim_qk);
  kernels_.otherwise->pack_queries(StoredAs(SAGE_ATTN_Q), row_pointers_, count, call_.sizes.dim_qk, other_q_,
                                   design_.dim_padded);
}

template <class T>
void QueryTile<T>::LoadOtherKeys() {
  if (other_keys_loaded_) return;
  PointAtKeys(SAGE_ATTN_K, first_head_ / (call_.sizes.heads_q / call_.sizes.heads_k), loaded_, keys_padded_);
  kernels_.otherwise->pack_keys(StoredAs(SAGE_ATTN_K), row_pointers_, keys_padded_, call_.sizes.dim_qk, other_panels_,
                                nullptr);
  other_keys_loaded_ = true;
}

template <class T>
void QueryTile<T>::LoadOtherValues(const KeyTile& keys) {
  if (other_values_loaded_) return;
  PointAtKeys(SAGE_ATTN_V, first_head_ / (call_.sizes.heads_q / call_.sizes.heads_v), keys, keys.count);
  kernels_.otherwise->pack_values(StoredAs(SAGE_ATTN_V), row_pointers_, keys.count, call_.sizes.dim_v, other_values_,
                                  design_.dim_v_padded, nullptr);
  other_values_loaded_ = true;
}

template <class T>
void QueryTile<T>::DotsOtherwise(int64_t row, int64_t count, int64_t begin, int64_t end, bool all, T* scores) {
  const AttentionKernels<T>& other = *kernels_.otherwise;
  const int64_t stride = design_.score_stride, group = other.row_group;
  const auto unfit = [&](int64_t r) {
    return unfit_q_[r] != 0 || (num_unfit_k_ != 0 && SeesUnfit(loaded_, r, unfit_k_, all));
  };
  for (int64_t from = row, to = row; from < row + count; from = to) {
    const bool aside = unfit(from);
    for (to = from + 1; to < row + count && unfit(to) == aside; ++to) {
    }
    if (!aside) {
      kernels_.scores(static_cast<int32_t>(to - from), q_ + from * design_.dim_padded * kernels_.element,
                      design_.dim_padded, k_, keys_padded_, call_.sizes.dim_qk, begin, end,
                      scores + (from - row) * stride, stride);
      continue;
    }
    LoadOtherKeys();
    for (int64_t r = from; r < to; r += group) {
      const int64_t some = std::min(group, to - r);
      LoadOtherQueries(r, some);
      other.scores(static_cast<int32_t>(some), other_q_, design_.dim_padded, other_panels_, keys_padded_,
                   call_.sizes.dim_qk, begin, end, scores + (r - row) * stride, stride);
    }
  }
}

template <class T>
void QueryTile<T>::AccumulateOtherwise(const KeyTile& keys, int64_t row, int64_t count, const LaneRange& lanes,
                                       const T* weights) {
  const AttentionKernels<T>& other = *kernels_.otherwise;
  const int64_t stride = design_.score_stride, columns = design_.dim_v_padded;
  const int64_t used = (call_.sizes.dim_v + other.dim_step - 1) / other.dim_step * other.dim_step;
  for (int64_t from = row, to = row; from < row + count; from = to) {
    const bool aside = SeesUnfit(keys, from, unfit_v_, false);
    to = from + 1;
    if (aside) {
      LoadOtherValues(keys);
      other.accumulate_visible(weights + (from - row) * stride, other_values_, columns, lanes.low, lanes.high, used,
                               alpha_[from], out_ + from * columns);
      continue;
    }
    while (to < row + count && !SeesUnfit(keys, to, unfit_v_, false)) ++to;
    kernels_.accumulate(static_cast<int32_t>(to - from), weights + (from - row) * stride, stride, v_, v_stride_,
                        lanes.low, lanes.high, columns, alpha_ + from, out_ + from * columns, columns);
  }
}

template class QueryTile<float>;
template class QueryTile<double>;

}  // namespace sage::cpu
