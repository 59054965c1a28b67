// hopper_mixtures.h: attention calls drawn from a seed, of what the Hopper kernel takes and nothing else.
#ifndef SAGE_TESTS_PLUGINS_CUDA_HOPPER_MIXTURES_H_
#define SAGE_TESTS_PLUGINS_CUDA_HOPPER_MIXTURES_H_

#include <algorithm>
#include <random>
#include <vector>

#include "support/attention_case.h"
#include "support/draws.h"

namespace sage::test {

// A call drawn from a seed: any mixture of what the kernel takes, at sizes round the edges of its tiles.
class HopperMixture : Draws {
 public:
  explicit HopperMixture(uint64_t seed) : Draws(seed * 6271 + 5), seed_(seed) {}

  // Rows appended to K and V, where there is room for them.
  HopperMixture& Appends() { return appends_ = true, *this; }

  AttentionCase Draw(sage_dtype dtype) {
    dtype_ = dtype;
    const int64_t batch = Between(1, 2), common = OneOf({1, 1, 2});
    const int64_t heads_k = common * OneOf({1, 2}), heads_v = Chance(4) ? common : heads_k;
    const int64_t heads_q = heads_k * OneOf({1, 1, 2, 3});
    const int64_t seq_q = OneOf({1, 5, 63, 65, 127, 128, 129, 200, 257});
    const int64_t seq_kv = OneOf({1, 9, 64, 127, 128, 129, 255, 300, 390});
    const int64_t dim = OneOf({8, 24, 64, 64, 72, 128, 128, 160}), dim_v = Chance(3) ? OneOf({16, 64, 96, 128}) : dim;
    const bool varlen = Chance(4), paged = Chance(4);
    const int64_t page = OneOf({8, 32, 128, 512}), max_pages = (seq_kv + page - 1) / page;
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
    const auto keys = [&](int64_t heads, int64_t d) {
      if (paged) return std::vector<int64_t>{batch * max_pages + 2, heads, page, d};
      return varlen ? std::vector<int64_t>{static_cast<int64_t>(starts_k.back()), heads, d}
                    : std::vector<int64_t>{batch, heads, seq_kv, d};
    };
    AttentionCase call;
    call.Q() = Laid(queries(dim), 1), call.O() = Laid(queries(dim_v), 4);
    call.K() = Laid(keys(heads_k, dim), 2), call.V() = Laid(keys(heads_v, dim_v), 3);
    if (varlen) call.Integers(SAGE_ATTN_CU_SEQLENS_Q, {batch + 1}, starts_q);
    if (varlen && !paged) call.Integers(SAGE_ATTN_CU_SEQLENS_K, {batch + 1}, starts_k);
    if (paged) {
      std::vector<double> table(static_cast<size_t>(batch * max_pages + 2));
      for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<double>(i);
      std::shuffle(table.begin(), table.end(), random_);
      table.resize(static_cast<size_t>(batch * max_pages));
      call.Integers(SAGE_ATTN_BLOCK_TABLE, {batch, max_pages}, table);
    }
    if (Chance(5) && !appends_) call.Integers(SAGE_ATTN_SEQUSED_Q, {batch}, used_q);
    if (paged || Chance(4)) call.Integers(SAGE_ATTN_SEQUSED_K, {batch}, used_k);
    if (appends_) {
      const int64_t fresh_rows = std::min(seq_kv, seq_q);
      const auto count = [&](size_t b) {
        return varlen ? starts_q[b + 1] - starts_q[b] : static_cast<double>(fresh_rows);
      };
      bool room = true;
      for (size_t b = 0; b < used_k.size(); ++b) {
        const double rows = paged    ? static_cast<double>(max_pages * page)
                            : varlen ? starts_k[b + 1] - starts_k[b]
                                     : static_cast<double>(seq_kv);
        used_k[b] = std::min(used_k[b], rows - count(b));
        room = room && used_k[b] >= 0;
      }
      if (room) {
        const auto fresh = [&](int64_t heads, int64_t d) {
          return varlen ? std::vector<int64_t>{static_cast<int64_t>(starts_q.back()), heads, d}
                        : std::vector<int64_t>{batch, heads, fresh_rows, d};
        };
        call.Integers(SAGE_ATTN_SEQUSED_K, {batch}, used_k);
        call[SAGE_ATTN_K_NEW] = Laid(fresh(heads_k, dim), 13), call[SAGE_ATTN_V_NEW] = Laid(fresh(heads_v, dim_v), 14);
        call.aliases = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
      }
    }
    const uint32_t alignment = Chance(2) ? SAGE_ALIGN_TOP_LEFT : SAGE_ALIGN_BOTTOM_RIGHT;
    if (Chance(2)) call.Causal(alignment);
    if (Chance(3)) {
      const int64_t right = Chance(2) ? -1 : Between(0, 40), left = Chance(3) ? -1 : Between(0, 200);
      call.Window(left, right, alignment);
    }
    if (Chance(4)) call.Scale(static_cast<double>(OneOf({0, 1, 2, -1})) * 0.125);
    if (Chance(2)) call.WithLse();
    return call;
  }

 private:
  // Axes but the last in a drawn order in memory, sometimes with gaps of 16 bytes.
  OwnedTensor Laid(const std::vector<int64_t>& shape, uint64_t salt) {
    std::vector<int64_t> strides(shape.size(), 1);
    std::vector<size_t> order(shape.size() - 1);
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (Chance(2)) std::shuffle(order.begin(), order.end(), random_);
    int64_t step = shape.back() + (Chance(3) ? 8 : 0);
    for (size_t i = order.size(); i-- > 0;) {
      strides[order[i]] = step;
      step = step * std::max<int64_t>(1, shape[order[i]]) + (Chance(4) ? 16 : 0);
    }
    return OwnedTensor(dtype_, shape, strides).FillNormal(seed_ * 101 + salt, Chance(4) ? 2.0 : 1.0);
  }

  uint64_t seed_;
  sage_dtype dtype_ = 0;
  bool appends_ = false;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_HOPPER_MIXTURES_H_
