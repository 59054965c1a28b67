// sdpa_mixtures.h: attention calls drawn from a seed, of what the table of support.cc lets pass for the most part: of
// 16 bits, of fp8 with scales, and with dropout.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_SDPA_MIXTURES_H_
#define SAGE_TESTS_PLUGINS_CUDNN_SDPA_MIXTURES_H_

#include <algorithm>
#include <random>
#include <vector>

#include "support/attention_case.h"
#include "support/draws.h"

namespace sage::test {

class SdpaMixture : Draws {
 public:
  explicit SdpaMixture(uint64_t seed) : Draws(seed * 7151 + 11), seed_(seed) {}

  // Of fp8: what sm_90 has, with an O of fp8, or, wide, what later ones have.
  AttentionCase Draw(sage_dtype dtype, bool wide = false) {
    dtype_ = dtype;
    const bool fp8 = support::IsQuantised(dtype);
    const int64_t batch = Between(1, 3), heads_k = OneOf({1, 2, 3}), heads_q = heads_k * OneOf({1, 1, 2, 4});
    const int64_t seq_q = OneOf({1, 1, 2, 7, 16, 33, 64}),
                  seq_kv = std::max(seq_q, OneOf({1, 9, 32, 63, 64, 100, 129}));
    const int64_t dim = fp8 ? OneOf({16, 32, 48, 64}) : OneOf({8, 24, 40, 64});
    const int64_t dim_v = Chance(3) ? OneOf({fp8 ? 48 : 8, 16, 64}) : dim;
    const bool varlen = Chance(4), paged = Chance(4);
    const int64_t page = OneOf({8, 16, 64}), max_pages = (seq_kv + page - 1) / page;
    std::vector<double> starts_q{0}, starts_k{0}, used_q, used_k;
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t rows_q = varlen ? Between(0, seq_q) : seq_q;
      const int64_t rows_k = paged ? max_pages * page : varlen ? Between(0, seq_kv) : seq_kv;
      starts_q.push_back(starts_q.back() + static_cast<double>(rows_q));
      starts_k.push_back(starts_k.back() + static_cast<double>(rows_k));
      used_q.push_back(static_cast<double>(Between(0, rows_q)));
      used_k.push_back(static_cast<double>(Chance(2) ? rows_k : Between(0, rows_k)));
    }
    const auto queries = [&](int64_t d) {
      return varlen ? std::vector<int64_t>{static_cast<int64_t>(starts_q.back()), heads_q, d}
                    : std::vector<int64_t>{batch, heads_q, seq_q, d};
    };
    const auto keys = [&](int64_t d) {
      if (paged) return std::vector<int64_t>{batch * max_pages + 2, heads_k, page, d};
      return varlen ? std::vector<int64_t>{static_cast<int64_t>(starts_k.back()), heads_k, d}
                    : std::vector<int64_t>{batch, heads_k, seq_kv, d};
    };
    AttentionCase call;
    call.Q() = Laid(queries(dim), 1), call.O() = Laid(queries(dim_v), 4);
    if (wide) call.O() = OwnedTensor(Chance(2) ? SAGE_BF16 : SAGE_F16, queries(dim_v)).Fill(7);
    call.K() = Laid(keys(dim), 2), call.V() = Laid(keys(dim_v), 3);
    if (varlen) {
      call.Integers(SAGE_ATTN_CU_SEQLENS_Q, {batch + 1}, starts_q);
      if (Chance(2)) call.attributes.max_seq_q = seq_q;
      if (!paged) call.Integers(SAGE_ATTN_CU_SEQLENS_K, {batch + 1}, starts_k);
      if (!paged && Chance(2)) call.attributes.max_seq_kv = seq_kv;
    }
    if (paged) {
      std::vector<double> table(static_cast<size_t>(batch * max_pages + 2));
      for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<double>(i);
      std::shuffle(table.begin(), table.end(), random_);
      table.resize(static_cast<size_t>(batch * max_pages));
      call.Integers(SAGE_ATTN_BLOCK_TABLE, {batch, max_pages}, table);
    }
    if (Chance(5)) call.Integers(SAGE_ATTN_SEQUSED_Q, {batch}, used_q);
    if (paged || Chance(4)) call.Integers(SAGE_ATTN_SEQUSED_K, {batch}, used_k);
    const bool from_end = Chance(2) && (!fp8 || wide), bias = !varlen && Chance(4) && !fp8;
    const uint32_t alignment = from_end ? SAGE_ALIGN_BOTTOM_RIGHT : SAGE_ALIGN_TOP_LEFT;
    const bool causal = Chance(2);
    if (causal) call.Causal(alignment);
    if (Chance(3)) {
      const int64_t left = Chance(3) ? -1 : Between(0, 70), right = Chance(2) ? -1 : Between(0, 40);
      call.Window(left, right, alignment);
    }
    if (bias) call[SAGE_ATTN_BIAS] = Bias(batch, heads_q, seq_q, seq_kv, varlen || paged ? max_pages * page : seq_kv);
    const std::vector<int64_t> per_head{heads_q};
    if (causal && !from_end && Chance(4))
      call[SAGE_ATTN_ALIBI] = OwnedTensor(SAGE_F32, per_head).FillNormal(seed_ + 71, 0.2);
    if (Chance(5) && !fp8) call[SAGE_ATTN_SINKS] = OwnedTensor(SAGE_F32, per_head).FillNormal(seed_ + 72);
    if (fp8) AddScales(&call);
    if (Chance(4)) call.attributes.softcap = static_cast<double>(OneOf({1, 5, 30}));
    if (Chance(4)) call.Scale(static_cast<double>(OneOf({0, 1, 2, -1})) * 0.125);
    if (Chance(2)) {
      call.WithLse();
      if (!varlen && Chance(3))
        call[SAGE_ATTN_LSE] = OwnedTensor::Ordered(SAGE_F32, {batch, heads_q, seq_q}, {0, 2, 1});
    }
    return call;
  }

  // With dropout, of what it is served with; seeds and offsets of 64 bits, whose low words run over within a call.
  AttentionCase DrawDropout(sage_dtype dtype) {
    AttentionCase call;
    do call = Draw(dtype);
    while (call[SAGE_ATTN_CU_SEQLENS_Q].present() || call[SAGE_ATTN_BLOCK_TABLE].present() || call.Q().dim(2) == 1 ||
           call.attributes.alignment == SAGE_ALIGN_BOTTOM_RIGHT);
    call.attributes.dropout_p = static_cast<double>(OneOf({1, 10, 30, 50})) / 100;
    const double seed = static_cast<double>(Between(1, int64_t{1} << 52)),
                 offset = static_cast<double>(0xffffffffu) - 9;
    const int64_t step = OneOf({1, 2});
    call[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2}, {step}).FillValues({seed, Chance(2) ? offset : 3});
    return call;
  }

 private:
  // Axes but the last in a drawn order in memory, sometimes with gaps of 16 bytes. At a multiple of 16 bytes.
  OwnedTensor Laid(const std::vector<int64_t>& shape, uint64_t salt) {
    std::vector<int64_t> strides(shape.size(), 1);
    std::vector<size_t> order(shape.size() - 1);
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (Chance(2)) std::shuffle(order.begin(), order.end(), random_);
    int64_t step = shape.back() + (Chance(4) ? 16 / static_cast<int64_t>(support::DtypeSize(dtype_)) : 0);
    for (size_t i = order.size(); i-- > 0;) {
      strides[order[i]] = step;
      step *= std::max<int64_t>(1, shape[order[i]]);
      if (Chance(6)) step += 16;
    }
    return OwnedTensor(dtype_, shape, strides).FillNormal(seed_ * 211 + salt);
  }
  // Each there or not. O's keeps its stored values within 8 bits.
  void AddScales(AttentionCase* call) {
    const auto add = [&](uint32_t slot, uint32_t* granularity, std::initializer_list<int64_t> in_1024) {
      if (Chance(3)) return;
      const double scale = static_cast<double>(OneOf(in_1024)) / 1024;
      (*call)[slot] = OwnedTensor(SAGE_F32, {1}).FillValues({scale}), *granularity = SAGE_PER_TENSOR;
    };
    add(SAGE_ATTN_SCALE_Q, &call->attributes.granularity_q, {300, 700, 1500, 2500});
    add(SAGE_ATTN_SCALE_K, &call->attributes.granularity_k, {300, 700, 1500, 2500});
    add(SAGE_ATTN_SCALE_V, &call->attributes.granularity_v, {300, 900, 3000});
    add(SAGE_ATTN_SCALE_P, &call->attributes.granularity_p, {3, 4, 8});
    add(SAGE_ATTN_SCALE_O, &call->attributes.granularity_o, {50, 500, 1400});
  }
  // Its rows are of whole 16 bytes; batch and heads may share one.
  OwnedTensor Bias(int64_t batch, int64_t heads, int64_t rows, int64_t columns, int64_t of_keys) {
    const sage_dtype dtype = Chance(2) ? SAGE_F32 : dtype_;
    const int64_t row = (std::max(columns, of_keys) + 7) / 8 * 8, head = Chance(2) ? rows * row : 0;
    const int64_t sequence = Chance(2) ? (head == 0 ? rows * row : heads * head) : 0;
    return OwnedTensor(dtype, {batch, heads, rows, std::max(columns, of_keys)}, {sequence, head, row, 1})
        .FillNormal(seed_ * 211 + 9);
  }

  uint64_t seed_;
  sage_dtype dtype_ = SAGE_BF16;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDNN_SDPA_MIXTURES_H_
