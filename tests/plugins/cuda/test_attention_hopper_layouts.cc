// test_attention_hopper_layouts.cc: the Hopper kernel in the emulation on lengths in use, packed sequences, pages, and
// mixtures of all that it takes, against the float64 oracle.
#include <limits>
#include <random>

#include "hopper_testing.h"

namespace sage::test {
namespace {

// A call drawn from a seed: any mixture of what the kernel takes, at sizes round the edges of its tiles.
class HopperMixture {
 public:
  explicit HopperMixture(uint64_t seed) : seed_(seed), random_(seed * 6271 + 5) {}

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
    if (Chance(5)) call.Integers(SAGE_ATTN_SEQUSED_Q, {batch}, used_q);
    if (paged || Chance(4)) call.Integers(SAGE_ATTN_SEQUSED_K, {batch}, used_k);
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
  bool Chance(uint32_t one_in) { return random_() % one_in == 0; }
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  int64_t OneOf(std::initializer_list<int64_t> values) {
    return *(values.begin() + Between(0, static_cast<int64_t>(values.size()) - 1));
  }
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
  std::mt19937_64 random_;
  sage_dtype dtype_ = 0;
};

void CheckMixtures(sage_dtype dtype, uint64_t first, uint64_t count) {
  HopperOracle oracle;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    CHECK(HopperDisagreement(HopperMixture(seed).Draw(dtype), seed, oracle, 1 + seed % 4) == "");
  }
}

}  // namespace

TEST_CASE("P2 Hopper attention: mixtures agree with the oracle in bf16") { CheckMixtures(SAGE_BF16, 1, 60); }
TEST_CASE("P2 Hopper attention: mixtures agree with the oracle in f16") { CheckMixtures(SAGE_F16, 1001, 60); }

TEST_CASE("P2 Hopper attention of lengths in use, empty ones too") {
  for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
    AttentionCase call = HopperCall(SAGE_BF16, 64, 150, 260, 2, 1, 4);
    call.Integers(SAGE_ATTN_SEQUSED_Q, {4}, {150, 1, 0, 129});
    call.Integers(SAGE_ATTN_SEQUSED_K, {4}, {0, 260, 17, 128});
    CheckHopper(call, {1, 2}, 3);
    CheckHopper(call.Causal(alignment), {3, 4}, 3);
  }
  CheckHopper(HopperCall(SAGE_BF16, 64, 5, 0), {1});
}

TEST_CASE("P2 Hopper attention of packed sequences") {
  const std::vector<double> starts_q{0, 1, 130, 130, 400}, starts_k{0, 70, 200, 333, 500};
  for (const int64_t dim : {64, 128})
    for (const uint32_t alignment : {SAGE_ALIGN_TOP_LEFT, SAGE_ALIGN_BOTTOM_RIGHT}) {
      AttentionCase call = HopperCall(kHalves[dim == 64], dim, 1, 1);
      call.Q() = OwnedTensor(call.Q().dtype(), {400, 4, dim}).FillNormal(1);
      call.K() = OwnedTensor(call.Q().dtype(), {500, 2, dim}).FillNormal(2);
      call.V() = OwnedTensor(call.Q().dtype(), {500, 2, dim}).FillNormal(3);
      call.O() = OwnedTensor(call.Q().dtype(), {400, 4, dim});
      call.Integers(SAGE_ATTN_CU_SEQLENS_Q, {5}, starts_q);
      call.Integers(SAGE_ATTN_CU_SEQLENS_K, {5}, starts_k);
      call.WithLse();
      CheckHopper(call, {1, 2});
      CheckHopper(call.Causal(alignment), {3, 4});
    }
}

TEST_CASE("P2 Hopper attention of pages") {
  HopperOracle oracle;
  uint64_t seed = 0;
  for (const int64_t page : {8, 16, 64, 128, 256}) {
    const int64_t per_sequence = 512 / page, pages = 2 * per_sequence + 3;
    for (const int64_t dim : {64, 128}) {
      CAPTURE(page);
      CAPTURE(dim);
      AttentionCase call = HopperCall(kHalves[++seed % 2], dim, 100, 1, 4, 2, 2);
      const sage_dtype dtype = call.Q().dtype();
      call.K() = OwnedTensor(dtype, {pages, 2, page, dim}).FillNormal(seed + 10);
      call.V() = OwnedTensor(dtype, {pages, 2, page, dim}).FillNormal(seed + 20);
      std::vector<double> table;  // backwards, and what lies past the lengths names no page
      const double used[] = {static_cast<double>(512 - page / 2), 129};
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t i = 0; i < per_sequence; ++i)
          table.push_back(static_cast<double>(i * page) < used[b] ? static_cast<double>(pages - 1 - 2 * i - b) : 1e9);
      call.Integers(SAGE_ATTN_BLOCK_TABLE, {2, per_sequence}, table);
      call.Integers(SAGE_ATTN_SEQUSED_K, {2}, {used[0], used[1]});
      CHECK(HopperDisagreement(call, seed, oracle) == "");
      call.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      CHECK(HopperDisagreement(call, seed + 1, oracle) == "");
      if (page != 16 || dim != 64) continue;
      // The last page is in use by half: what lies behind is seen by nobody, and rows it spoils are made again.
      call.V().Set({pages - 1 - 2 * (per_sequence - 1), 1, page - 1, 3}, std::numeric_limits<double>::quiet_NaN());
      CHECK(HopperDisagreement(call, seed + 2, oracle) == "");
    }
  }
}

TEST_CASE("P2 Hopper attention does not follow lengths or pages out of its operands") {
  AttentionCase call = HopperCall(SAGE_BF16, 64, 100, 150, 1, 1, 2);
  call.Integers(SAGE_ATTN_SEQUSED_K, {2}, {2e9, -2e9});
  call.Integers(SAGE_ATTN_SEQUSED_Q, {2}, {-5, 2e9});
  CHECK(EmulateHopper(ArgumentsOf(call), 2, 1) == "");

  AttentionCase packed = HopperCall(SAGE_BF16, 64, 1, 1);
  packed.Q() = OwnedTensor(SAGE_BF16, {90, 1, 64}).FillNormal(1);
  packed.K() = packed.V() = OwnedTensor(SAGE_BF16, {70, 1, 64}).FillNormal(2);
  packed.O() = OwnedTensor(SAGE_BF16, {90, 1, 64});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {3}, {-7, 2e9, 40});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_K, {3}, {2e9, -2e9, 60});
  packed.WithLse();
  CHECK(EmulateHopper(ArgumentsOf(packed), 2, 1) == "");

  AttentionCase paged = HopperCall(SAGE_BF16, 64, 20, 1);
  paged.K() = paged.V() = OwnedTensor(SAGE_BF16, {3, 1, 16, 64}).FillNormal(2);
  paged.V().Set({0, 0, 3, 3}, std::numeric_limits<double>::quiet_NaN());  // so that rows are made again
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {1, 4}, {-1, 0, 2e9, 3});
  paged.Integers(SAGE_ATTN_SEQUSED_K, {1}, {2e9});
  CHECK(EmulateHopper(ArgumentsOf(paged), 2, 1) == "");
}

}  // namespace sage::test
