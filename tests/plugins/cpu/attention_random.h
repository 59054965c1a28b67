// attention_random.h: attention calls drawn from a seed: any mixture of features that the contract allows, odd sizes,
// layouts and strides.
#ifndef SAGE_TESTS_PLUGINS_CPU_ATTENTION_RANDOM_H_
#define SAGE_TESTS_PLUGINS_CPU_ATTENTION_RANDOM_H_

#include <random>

#include "attention_testing.h"

namespace sage::test {

class RandomAttention {
 public:
  explicit RandomAttention(uint64_t seed) : seed_(seed), random_(seed * 7919 + 1) {}

  AttentionCase Draw(sage_dtype dtype) {
    dtype_ = dtype;
    statistics_ = dtype == SAGE_F64 ? SAGE_F64 : SAGE_F32;
    DrawShape();
    case_ = AttentionCase();
    varlen_ = Chance(6), paged_ = Chance(6), append_ = Chance(6);
    DrawOperands();
    DrawLengths();
    DrawPositions();
    if (!varlen_) DrawMasks();
    DrawNumbers();
    return case_;
  }

 private:
  bool Chance(uint32_t one_in) { return random_() % one_in == 0; }
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  int64_t OneOf(std::initializer_list<int64_t> values) {
    return *(values.begin() + Between(0, static_cast<int64_t>(values.size()) - 1));
  }

  void DrawShape() {
    shape_.batch = Between(1, 3);
    const int64_t common = OneOf({1, 1, 2, 3});
    shape_.heads_k = common * OneOf({1, 1, 2});
    shape_.heads_v = Chance(5) ? common : shape_.heads_k;
    shape_.heads_q = shape_.heads_k * OneOf({1, 1, 2, 3});
    shape_.seq_q = OneOf({1, 1, 2, 3, 5, 8, 15, 17, 31, 33, 50, 64, 70});
    shape_.seq_kv = OneOf({1, 2, 7, 15, 16, 17, 33, 63, 65, 97, 127, 128, 129, 150, 260});
    shape_.dim_qk = OneOf({1, 3, 7, 8, 15, 16, 17, 31, 32, 40, 59, 64, 80});
    shape_.dim_v = Chance(3) ? OneOf({1, 5, 8, 16, 24, 33, 64, 67}) : shape_.dim_qk;
  }

  // A tensor with its axes in a drawn order in memory, sometimes at an odd address or reversed.
  OwnedTensor Laid(sage_dtype dtype, const std::vector<int64_t>& shape, uint64_t salt, double deviation = 1) {
    std::vector<int64_t> strides(shape.size(), 1);
    std::vector<size_t> order(shape.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (Chance(2)) std::shuffle(order.begin(), order.end() - (Chance(4) ? 0 : 1), random_);
    int64_t step = Chance(6) ? 2 : 1;
    for (size_t i = order.size(); i-- > 0;) {
      strides[order[i]] = Chance(12) ? -step : step;
      step *= std::max<int64_t>(1, shape[order[i]]) + (Chance(8) ? 3 : 0);
    }
    const uint32_t skew = Chance(4) ? static_cast<uint32_t>(Between(1, 3)) : 0;
    return OwnedTensor(dtype, shape, strides, skew).FillNormal(seed_ * 101 + salt, deviation);
  }

  void DrawOperands() {
    sage_dtype stored = dtype_;
    if (dtype_ != SAGE_F64 && Chance(3)) stored = Chance(2) ? SAGE_BF16 : SAGE_F16;
    const AttentionShape& s = shape_;
    rows_q_.clear(), rows_k_.clear();
    int64_t total_q = 0, total_k = 0;
    for (int64_t b = 0; b < s.batch; ++b) {
      rows_q_.push_back(varlen_ ? Between(0, s.seq_q) : s.seq_q);
      rows_k_.push_back(varlen_ && !paged_ ? Between(0, s.seq_kv) : s.seq_kv);
      total_q += rows_q_.back(), total_k += rows_k_.back();
    }
    const auto queries = [&](int64_t heads, int64_t dim) {
      return varlen_ ? std::vector<int64_t>{total_q, heads, dim} : std::vector<int64_t>{s.batch, heads, s.seq_q, dim};
    };
    page_ = OneOf({1, 3, 16, 32}), max_pages_ = (s.seq_kv + page_ - 1) / page_;
    pages_ = s.batch * max_pages_ + 2;
    const auto keys = [&](int64_t heads, int64_t dim) {
      if (paged_) return std::vector<int64_t>{pages_, heads, page_, dim};
      return varlen_ ? std::vector<int64_t>{total_k, heads, dim} : std::vector<int64_t>{s.batch, heads, s.seq_kv, dim};
    };
    case_.Q() = Laid(dtype_, queries(s.heads_q, s.dim_qk), 1, Chance(4) ? 4.0 : 1.0);
    case_.K() = Laid(stored, keys(s.heads_k, s.dim_qk), 2);
    case_.V() = Laid(stored, keys(s.heads_v, s.dim_v), 3);
    case_.O() = Laid(dtype_, queries(s.heads_q, s.dim_v), 4);
    if (varlen_) {
      case_.Integers(SAGE_ATTN_CU_SEQLENS_Q, {s.batch + 1}, Starts(rows_q_));
      if (!paged_) case_.Integers(SAGE_ATTN_CU_SEQLENS_K, {s.batch + 1}, Starts(rows_k_));
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
    stored_ = stored;
  }

  static std::vector<double> Starts(const std::vector<int64_t>& lengths) {
    std::vector<double> starts{0};
    for (const int64_t length : lengths) starts.push_back(starts.back() + static_cast<double>(length));
    return starts;
  }

  void DrawLengths() {
    const AttentionShape& s = shape_;
    const int64_t fresh = std::min<int64_t>(Between(0, 5), s.seq_kv);
    if (append_)
      for (size_t b = 0; b < rows_q_.size(); ++b)
        if (varlen_ && rows_q_[b] > rows_k_[b]) append_ = false;
    std::vector<double> used_q, used_k;
    for (size_t b = 0; b < rows_q_.size(); ++b) {
      const int64_t added = !append_ ? 0 : varlen_ ? rows_q_[b] : fresh;
      used_q.push_back(static_cast<double>(Between(0, rows_q_[b])));
      used_k.push_back(static_cast<double>(Between(0, rows_k_[b] - added)));
    }
    if (Chance(6)) case_.Integers(SAGE_ATTN_SEQUSED_Q, {s.batch}, used_q);
    if (append_ || paged_ || Chance(5)) case_.Integers(SAGE_ATTN_SEQUSED_K, {s.batch}, used_k);
    if (!append_) return;
    const auto shape = [&](int64_t heads, int64_t dim) {
      return varlen_ ? std::vector<int64_t>{case_.Q().dim(0), heads, dim}
                     : std::vector<int64_t>{s.batch, heads, fresh, dim};
    };
    case_[SAGE_ATTN_K_NEW] = Laid(stored_, shape(s.heads_k, s.dim_qk), 5);
    case_[SAGE_ATTN_V_NEW] = Laid(stored_, shape(s.heads_v, s.dim_v), 6);
    case_.aliases = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
  }

  void DrawPositions() {
    const uint32_t alignment = Chance(2) ? SAGE_ALIGN_TOP_LEFT : SAGE_ALIGN_BOTTOM_RIGHT;
    if (Chance(3)) case_.Causal(alignment);
    if (Chance(5)) {  // one after the other: as arguments their order would be the compiler's
      const int64_t right = Chance(2) ? -1 : Between(0, 20), left = Chance(3) ? -1 : Between(0, 40);
      case_.Window(left, right, alignment);
    }
    if (Chance(5))
      case_[SAGE_ATTN_ALIBI] = OwnedTensor(statistics_, {shape_.heads_q}).FillUniform(seed_ + 7, 0.0, 0.5),
      case_.attributes.alignment = alignment;
  }

  int64_t Keys() const { return paged_ ? max_pages_ * page_ : shape_.seq_kv; }

  // [B,Hq,Sq,Skv] with some axes repeated by stride 0.
  OwnedTensor Repeated(sage_dtype dtype, int64_t last) {
    const std::vector<int64_t> shape{shape_.batch, shape_.heads_q, shape_.seq_q, last};
    std::vector<int64_t> strides(4);
    int64_t step = 1;
    for (size_t i = 4; i-- > 0;) {
      strides[i] = Chance(3) ? 0 : step;
      if (strides[i] != 0) step *= std::max<int64_t>(1, shape[i]);
    }
    return OwnedTensor(dtype, shape, strides, Chance(4) ? 1 : 0);
  }

  void DrawMasks() {
    const AttentionShape& s = shape_;
    if (Chance(4)) {
      case_[SAGE_ATTN_BIAS] = Repeated(Chance(2) ? dtype_ : statistics_, Keys()).FillNormal(seed_ + 8);
      if (Chance(3)) case_[SAGE_ATTN_BIAS].Put(0, -HUGE_VAL);
    }
    if (Chance(5)) case_[SAGE_ATTN_MASK] = Repeated(SAGE_BOOL, Keys()).FillIntegers(seed_ + 9, 0, 1);
    if (Chance(6)) case_[SAGE_ATTN_BIT_MASK] = Repeated(SAGE_U8, (Keys() + 7) / 8).FillIntegers(seed_ + 10, 0, 255);
    const bool block = Chance(6), csr = Chance(6);
    if (block || csr) {
      const int64_t height = OneOf({1, 3, 16, 64}), width = OneOf({1, 4, 16, 128});
      case_.attributes.mask_block_q = static_cast<uint32_t>(height);
      case_.attributes.mask_block_kv = static_cast<uint32_t>(width);
      const int64_t rows = (s.seq_q + height - 1) / height, columns = (Keys() + width - 1) / width;
      const int64_t batch = Chance(2) ? 1 : s.batch, heads = Chance(2) ? 1 : s.heads_q;
      if (block) {
        case_[SAGE_ATTN_BLOCK_MASK] =
            OwnedTensor(SAGE_U8, {batch, heads, rows, columns}).FillIntegers(seed_ + 11, 0, 1);
      }
      if (csr) {
        std::vector<double> offsets, indices;
        for (int64_t line = 0; line < batch * heads; ++line) {
          for (int64_t row = 0; row <= rows; ++row) {
            offsets.push_back(static_cast<double>(indices.size()));
            for (int64_t column = 0; row < rows && column < columns; ++column)
              if (Chance(2)) indices.push_back(static_cast<double>(column));
          }
        }
        case_.Integers(SAGE_ATTN_CSR_INDPTR, {batch, heads, rows + 1}, offsets);
        case_.Integers(SAGE_ATTN_CSR_INDICES, {static_cast<int64_t>(indices.size())}, indices);
      }
    }
    const std::vector<int64_t> scores{s.batch, s.heads_q, s.seq_q, Keys()};
    if (Chance(6)) case_[SAGE_ATTN_WEIGHTS] = OwnedTensor(statistics_, scores).Fill(7);
    if (Chance(8)) case_[SAGE_ATTN_SCORES] = OwnedTensor(statistics_, scores).Fill(7);
  }

  void DrawNumbers() {
    if (Chance(4)) case_.Scale(static_cast<double>(OneOf({0, 1, 2})) * 0.125);
    if (Chance(6)) case_.attributes.softcap = Chance(2) ? 2.0 : 30.0;
    if (Chance(5)) case_[SAGE_ATTN_SINKS] = OwnedTensor(statistics_, {shape_.heads_q}).FillNormal(seed_ + 12, 2.0);
    const bool whole_rows = case_[SAGE_ATTN_WEIGHTS].present() || case_[SAGE_ATTN_SCORES].present();
    if (Chance(4))
      case_.attributes.algorithm = SAGE_ALGORITHM_MATERIALISED;
    else if (!whole_rows && Chance(3))
      case_.attributes.algorithm = SAGE_ALGORITHM_FLASH;
    if (Chance(3)) case_.attributes.block_q = static_cast<uint32_t>(OneOf({1, 5, 16, 64, 256}));
    if (Chance(3)) case_.attributes.block_kv = static_cast<uint32_t>(OneOf({1, 7, 16, 32, 64, 256}));
  }

  uint64_t seed_;
  std::mt19937_64 random_;
  sage_dtype dtype_ = 0, statistics_ = 0, stored_ = 0;
  AttentionShape shape_;
  AttentionCase case_;
  bool varlen_ = false, paged_ = false, append_ = false;
  std::vector<int64_t> rows_q_, rows_k_;
  int64_t page_ = 0, max_pages_ = 0, pages_ = 0;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_ATTENTION_RANDOM_H_
