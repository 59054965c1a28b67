// attention_mixtures.h: attention calls drawn from a seed for the emulation: any mixture of what the kernels of
// plugins/cuda take, at sizes round the edges of their tiles, small because a thread is a fiber here.
#ifndef SAGE_TESTS_PLUGINS_CUDA_ATTENTION_MIXTURES_H_
#define SAGE_TESTS_PLUGINS_CUDA_ATTENTION_MIXTURES_H_

#include <algorithm>
#include <random>
#include <vector>

#include "support/attention_case.h"
#include "support/draws.h"

namespace sage::test {

class AttentionMixture : Draws {
 public:
  explicit AttentionMixture(uint64_t seed) : Draws(seed * 104729 + 3), seed_(seed) {}

  // Few queries over more keys, and rows appended to K and V: for the decode kernel.
  AttentionMixture& FewQueries() { return few_queries_ = true, *this; }
  AttentionMixture& Appends() { return appends_ = true, *this; }

  // largest_dim: of heads. whole_rows: WEIGHTS and SCORES may be asked for.
  AttentionCase Draw(sage_dtype dtype, int64_t largest_dim, bool whole_rows) {
    dtype_ = dtype, statistics_ = dtype == SAGE_F64 ? SAGE_F64 : SAGE_F32;
    case_ = AttentionCase();
    DrawShape(largest_dim);
    varlen_ = Chance(4), paged_ = Chance(4);
    DrawOperands();
    DrawLengths();
    DrawPositions();
    if (!varlen_) DrawMasks(whole_rows);
    DrawNumbers();
    return case_;
  }

 private:
  void DrawShape(int64_t largest_dim) {
    shape_.batch = Between(1, 2);
    const int64_t common = OneOf({1, 1, 2});
    shape_.heads_k = common * OneOf({1, 1, 2});
    shape_.heads_q = shape_.heads_k * OneOf({1, 2, 3, 4});
    shape_.heads_v = Chance(4) ? (Chance(2) ? common : shape_.heads_q) : shape_.heads_k;
    shape_.seq_q = OneOf({1, 1, 3, 16, 31, 43, 64, 65, 130});
    shape_.seq_kv = OneOf({1, 7, 31, 32, 63, 64, 65, 127, 129, 150, 200});
    if (few_queries_) {
      shape_.heads_q = shape_.heads_k * OneOf({1, 2, 3, 4, 8, 16});
      if (shape_.heads_v != common) shape_.heads_v = Chance(8) ? shape_.heads_q : shape_.heads_k;
      shape_.seq_q = OneOf({1, 1, 1, 2, 3, 5});
      shape_.seq_kv = OneOf({1, 15, 16, 17, 63, 64, 127, 128, 129, 200, 300, 520});
    }
    const auto dim = [&] {
      if (largest_dim > 128 && Chance(2)) return OneOf({129, 160, 192, 200, 255, 256});
      return std::min(largest_dim, OneOf({8, 16, 24, 32, 40, 64, 64, 72, 96, 100, 128, 7, 33}));
    };
    shape_.dim_qk = dim();
    shape_.dim_v = Chance(3) ? dim() : shape_.dim_qk;
  }

  // Axes in a drawn order in memory, sometimes with gaps or reversed; rows of whole 16 bytes as often as not.
  OwnedTensor Laid(const std::vector<int64_t>& shape, uint64_t salt, double deviation = 1) {
    std::vector<int64_t> strides(shape.size(), 1);
    std::vector<size_t> order(shape.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (Chance(2)) std::shuffle(order.begin(), order.end() - (Chance(6) ? 0 : 1), random_);
    int64_t step = Chance(8) ? 2 : 1;
    for (size_t i = order.size(); i-- > 0;) {
      strides[order[i]] = Chance(12) ? -step : step;
      step *= std::max<int64_t>(1, shape[order[i]]);
      if (Chance(8)) step += Chance(2) ? 8 : 3;
    }
    const auto element = static_cast<uint32_t>(support::DtypeSize(dtype_));
    return OwnedTensor(dtype_, shape, strides, Chance(6) ? element : 0).FillNormal(seed_ * 101 + salt, deviation);
  }

  void DrawOperands() {
    const AttentionShape& s = shape_;
    rows_q_.clear(), rows_k_.clear();
    int64_t total_q = 0, total_k = 0;
    for (int64_t b = 0; b < s.batch; ++b) {
      rows_q_.push_back(varlen_ ? Between(0, s.seq_q) : s.seq_q);
      rows_k_.push_back(varlen_ && !paged_ ? Between(0, s.seq_kv) : s.seq_kv);
      total_q += rows_q_.back(), total_k += rows_k_.back();
    }
    page_ = OneOf({1, 4, 16, 64}), max_pages_ = (s.seq_kv + page_ - 1) / page_;
    pages_ = s.batch * max_pages_ + 2;
    const auto queries = [&](int64_t dim) {
      return varlen_ ? std::vector<int64_t>{total_q, s.heads_q, dim}
                     : std::vector<int64_t>{s.batch, s.heads_q, s.seq_q, dim};
    };
    const auto keys = [&](int64_t heads, int64_t dim) {
      if (paged_) return std::vector<int64_t>{pages_, heads, page_, dim};
      return varlen_ ? std::vector<int64_t>{total_k, heads, dim} : std::vector<int64_t>{s.batch, heads, s.seq_kv, dim};
    };
    case_.Q() = Laid(queries(s.dim_qk), 1, Chance(4) ? 3.0 : 1.0);
    case_.K() = Laid(keys(s.heads_k, s.dim_qk), 2);
    case_.V() = Laid(keys(s.heads_v, s.dim_v), 3);
    case_.O() = Laid(queries(s.dim_v), 4);
    const auto starts = [](const std::vector<int64_t>& lengths) {
      std::vector<double> sums{0};
      for (const int64_t length : lengths) sums.push_back(sums.back() + static_cast<double>(length));
      return sums;
    };
    if (varlen_) {
      case_.Integers(SAGE_ATTN_CU_SEQLENS_Q, {s.batch + 1}, starts(rows_q_));
      if (!paged_) case_.Integers(SAGE_ATTN_CU_SEQLENS_K, {s.batch + 1}, starts(rows_k_));
    }
    if (paged_) {
      std::vector<double> table(static_cast<size_t>(pages_));
      for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<double>(i);
      std::shuffle(table.begin(), table.end(), random_);
      table.resize(static_cast<size_t>(s.batch * max_pages_));
      case_.Integers(SAGE_ATTN_BLOCK_TABLE, {s.batch, max_pages_}, table);
      for (int64_t& rows : rows_k_) rows = max_pages_ * page_;
    }
    if (Chance(2)) case_.WithLse();
  }

  void DrawLengths() {
    std::vector<double> used_q, used_k;
    for (size_t b = 0; b < rows_q_.size(); ++b) {
      used_q.push_back(static_cast<double>(Between(0, rows_q_[b])));
      used_k.push_back(static_cast<double>(Chance(2) ? rows_k_[b] : Between(0, rows_k_[b])));
    }
    if (appends_ && DrawAppend(used_k)) return;
    if (Chance(6)) case_.Integers(SAGE_ATTN_SEQUSED_Q, {shape_.batch}, used_q);
    if (paged_ || Chance(4)) case_.Integers(SAGE_ATTN_SEQUSED_K, {shape_.batch}, used_k);
  }

  // Whether there is room for it.
  bool DrawAppend(std::vector<double>& used_k) {
    const int64_t least = *std::min_element(rows_k_.begin(), rows_k_.end());
    const int64_t count = std::min(least, OneOf({1, 1, 2, 5, 17, 40}));
    for (size_t b = 0; b < rows_q_.size(); ++b) {
      const int64_t room = rows_k_[b] - (varlen_ ? rows_q_[b] : count);
      if (room < 0) return false;
      used_k[b] = static_cast<double>(Chance(2) ? room : Between(0, room));
    }
    case_.Integers(SAGE_ATTN_SEQUSED_K, {shape_.batch}, used_k);
    const auto fresh = [&](int64_t heads, int64_t dim) {
      return varlen_ ? std::vector<int64_t>{case_.Q().dim(0), heads, dim}
                     : std::vector<int64_t>{shape_.batch, heads, count, dim};
    };
    case_[SAGE_ATTN_K_NEW] = Laid(fresh(shape_.heads_k, shape_.dim_qk), 13);
    case_[SAGE_ATTN_V_NEW] = Laid(fresh(shape_.heads_v, shape_.dim_v), 14);
    case_.aliases = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
    return true;
  }

  void DrawPositions() {
    const uint32_t alignment = Chance(2) ? SAGE_ALIGN_TOP_LEFT : SAGE_ALIGN_BOTTOM_RIGHT;
    if (Chance(2)) case_.Causal(alignment);
    if (Chance(3)) {
      const int64_t right = Chance(2) ? -1 : Between(0, 20), left = Chance(3) ? -1 : Between(0, 70);
      case_.Window(left, right, alignment);
    }
    if (Chance(4)) {
      case_[SAGE_ATTN_ALIBI] = OwnedTensor(statistics_, {shape_.heads_q}).FillUniform(seed_ + 7, 0.0, 0.5);
      case_.attributes.alignment = alignment;
    }
  }

  int64_t Keys() const { return paged_ ? max_pages_ * page_ : shape_.seq_kv; }

  // [B,Hq,Sq,Skv] with some axes repeated by stride 0.
  OwnedTensor Repeated(sage_dtype dtype, int64_t last) {
    const std::vector<int64_t> shape{shape_.batch, shape_.heads_q, shape_.seq_q, last};
    std::vector<int64_t> strides(4);
    int64_t step = 1;
    for (size_t i = 4; i-- > 0;) {
      strides[i] = Chance(3) ? 0 : step;
      if (strides[i] != 0) step *= shape[i];
    }
    return OwnedTensor(dtype, shape, strides);
  }

  void DrawMasks(bool whole_rows) {
    const AttentionShape& s = shape_;
    if (Chance(3)) {
      case_[SAGE_ATTN_BIAS] = Repeated(Chance(2) ? dtype_ : statistics_, Keys()).FillNormal(seed_ + 8);
      if (Chance(3)) case_[SAGE_ATTN_BIAS].Put(0, -HUGE_VAL);
    }
    if (Chance(4)) case_[SAGE_ATTN_MASK] = Repeated(SAGE_BOOL, Keys()).FillIntegers(seed_ + 9, 0, 1);
    if (Chance(6)) case_[SAGE_ATTN_BIT_MASK] = Repeated(SAGE_U8, (Keys() + 7) / 8).FillIntegers(seed_ + 10, 0, 255);
    if (Chance(4)) {
      const int64_t height = OneOf({1, 3, 16, 64}), width = OneOf({1, 4, 16, 128});
      case_.attributes.mask_block_q = static_cast<uint32_t>(height);
      case_.attributes.mask_block_kv = static_cast<uint32_t>(width);
      const int64_t batch = Chance(2) ? 1 : s.batch, heads = Chance(2) ? 1 : s.heads_q;
      case_[SAGE_ATTN_BLOCK_MASK] =
          OwnedTensor(SAGE_U8, {batch, heads, (s.seq_q + height - 1) / height, (Keys() + width - 1) / width})
              .FillBy([&](uint64_t) { return Chance(4) ? 1.0 : 0.0; });
    }
    const std::vector<int64_t> scores{s.batch, s.heads_q, s.seq_q, Keys()};
    if (whole_rows && Chance(4)) case_[SAGE_ATTN_WEIGHTS] = OwnedTensor(statistics_, scores).Fill(7);
    if (whole_rows && Chance(4)) case_[SAGE_ATTN_SCORES] = OwnedTensor(statistics_, scores).Fill(7);
  }

  void DrawNumbers() {
    if (Chance(4)) case_.Scale(static_cast<double>(OneOf({0, 1, 2, -1})) * 0.125);
    if (Chance(4)) case_.attributes.softcap = Chance(2) ? 2.0 : 30.0;
    if (Chance(4)) case_[SAGE_ATTN_SINKS] = OwnedTensor(statistics_, {shape_.heads_q}).FillNormal(seed_ + 12, 2.0);
  }

  uint64_t seed_;
  sage_dtype dtype_ = 0, statistics_ = 0;
  AttentionShape shape_;
  AttentionCase case_;
  bool few_queries_ = false, appends_ = false, varlen_ = false, paged_ = false;
  std::vector<int64_t> rows_q_, rows_k_;
  int64_t page_ = 0, max_pages_ = 0, pages_ = 0;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_ATTENTION_MIXTURES_H_
