// test_attention_hopper_stages.cc: each of the Hopper kernel's variants, forced where the choice would be another, over
// sizes round the edges of its tiles; and the choice.
#include <bit>
#include <cstring>
#include <limits>

#include "hopper_testing.h"

namespace sage::test {
namespace {

using cuda::AttentionArguments;
using cuda::ChooseHopper;
using cuda::HopperVariant;

// Leaves the arguments alone.
template <class F>
HopperChange Forced(F&& force) {
  return [force](AttentionArguments&, HopperVariant* variant) {
    if (variant != nullptr) force(*variant);
  };
}
HopperChange Without(uint32_t stages) {
  return [stages](AttentionArguments& a, HopperVariant*) { a.stages_off = stages; };
}

const HopperChange kRows192 = Forced([](HopperVariant& v) { v.rows = 192, v.pack_shift = 0; });
const HopperChange kKeys176 = Forced([](HopperVariant& v) { v.keys = 176; });

// Of a call whose O is laid out with gaps: bytes of O that are no element's, as they were before.
std::string WrittenBeside(AttentionCase call, uint64_t seed, const HopperChange& change = {}) {
  AttentionArguments a = ArgumentsOf(call);
  if (change) change(a, nullptr);
  OwnedTensor& o = call.O();
  std::memset(const_cast<unsigned char*>(o.bytes().data()), 0x5a, o.bytes().size());
  const std::vector<unsigned char> before = o.bytes();
  if (std::string failure = EmulateHopper(a, 2, seed); !failure.empty()) return failure;
  std::vector<unsigned char> after = o.bytes();
  // What the elements are is put back: a difference lies beside them.
  for (uint64_t i = 0; i < o.size(); ++i) o.Put(i, 0);
  const std::vector<unsigned char> zeroed = o.bytes();
  for (size_t i = 0; i < after.size(); ++i)
    if (zeroed[i] == 0x5a && after[i] != before[i]) return "byte " + std::to_string(i) + " of O is written";
  return "";
}

}  // namespace

TEST_CASE("P2 Hopper attention with each stage left out is the oracle's") {
  for (const uint32_t off : {0u, 1u, 2u, 4u, 8u, 16u, 32u, 63u}) {
    CAPTURE(off);
    CheckHopper(HopperCall(kHalves[off % 2], 64, 210, 300, 4, 2), {1, 2}, 2, Without(off));
    CheckHopper(HopperCall(kHalves[off % 2], 128, 130, 350, 2), {3}, 2, Without(off));
  }
}

// Blocks that take many tiles one after the other: Q, the slab of O and the tile's number go round several times.
TEST_CASE("P2 Hopper attention: tiles follow each other through one block") {
  for (const uint32_t off : {0u, 1u, 2u, 3u, 4u}) {
    CAPTURE(off);
    CheckHopper(HopperCall(SAGE_BF16, 64, 257, 130, 3, 1, 2), {1, 2, 3, 4, 5, 6}, 1, Without(off | 16));
  }
  CheckHopper(HopperCall(SAGE_F16, 128, 200, 100, 3), {1, 2, 3}, 1);
  CheckHopper(HopperCall(SAGE_F16, 256, 200, 100, 2), {1, 2, 3}, 1);
}

TEST_CASE("P2 Hopper attention in tiles of 192 rows") {
  uint64_t seed = 0;
  for (const int64_t seq_q : {1, 64, 65, 129, 191, 192, 193, 400})
    for (const int64_t seq_kv : {1, 127, 129, 300}) {
      CAPTURE(seq_q);
      CAPTURE(seq_kv);
      ++seed;
      AttentionCase call = HopperCall(kHalves[seed % 2], seed % 5 == 0 ? 40 : 64, seq_q, seq_kv, 2, 1);
      if (seed % 3 == 1) call.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      if (seed % 3 == 2) call.Window(70, 30, SAGE_ALIGN_TOP_LEFT);
      CheckHopper(call, {seed}, 2, kRows192);
    }
  AttentionCase padded = HopperCall(SAGE_BF16, 64, 250, 260, 2, 2, 3);
  padded.Integers(SAGE_ATTN_SEQUSED_Q, {3}, {250, 1, 0});
  padded.Integers(SAGE_ATTN_SEQUSED_K, {3}, {0, 260, 17});
  CheckHopper(padded, {1, 2, 3}, 2, kRows192);
}

TEST_CASE("P2 Hopper attention in tiles of 176 keys") {
  uint64_t seed = 0;
  for (const int64_t seq_kv : {1, 175, 176, 177, 352, 353, 600})
    for (const int64_t seq_q : {1, 127, 129}) {
      CAPTURE(seq_q);
      CAPTURE(seq_kv);
      ++seed;
      AttentionCase call = HopperCall(kHalves[seed % 2], seed % 3 == 0 ? 96 : 128, seq_q, seq_kv, 2, 1);
      if (seed % 4 == 0) call.Scale(-0.1);
      CheckHopper(call, {seed}, 2, kKeys176);
      CheckHopper(call, {seed}, 1, [](AttentionArguments& a, HopperVariant* v) {
        a.stages_off = cuda::kHopperStore;
        if (v != nullptr) v->keys = 176;
      });
    }
}

TEST_CASE("P2 Hopper attention packs heads that share K and V") {
  HopperOracle oracle;
  uint64_t seed = 0;
  for (const int64_t share : {2, 4, 6, 8, 64})
    for (const int64_t seq_q : {1, 3, 15, 33, 65, 100}) {
      if (share == 64 && seq_q > 3) continue;
      CAPTURE(share);
      CAPTURE(seq_q);
      ++seed;
      AttentionCase call = HopperCall(kHalves[seed % 2], seed % 4 == 0 ? 128 : 64, seq_q, 150, 2 * share, 2);
      if (seed % 3 == 1) call.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      if (seed % 3 == 2) call.Window(20, seed % 2 == 0 ? 5 : -1, SAGE_ALIGN_BOTTOM_RIGHT);
      const int shift = std::min(6, std::countr_zero(static_cast<uint64_t>(share)));
      const auto packed = Forced([shift](HopperVariant& v) { v.rows = 128, v.pack_shift = shift; });
      const auto directly = Forced([shift](HopperVariant& v) { v.rows = 128, v.pack_shift = shift, v.by_tma = false; });
      CHECK(HopperDisagreement(call, seed, oracle, 2, packed) == "");
      CHECK(HopperDisagreement(call, seed + 1, oracle, 2, directly) == "");
    }
  // Heads of V that differ from those of K; lengths in use; rows before heads in memory.
  AttentionCase values(SAGE_BF16, {2, 8, 2, 30, 90, 64, 64, 4}, 3);
  CHECK(ChooseHopper(ArgumentsOf(values), 2).pack_shift == 1);
  CHECK(HopperDisagreement(values.WithLse(), 1, oracle) == "");
  AttentionCase used = HopperCall(SAGE_F16, 64, 40, 100, 8, 2, 2);
  used.Integers(SAGE_ATTN_SEQUSED_Q, {2}, {13, 0});
  used.Integers(SAGE_ATTN_SEQUSED_K, {2}, {100, 31});
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_O})
    used[slot] = OwnedTensor::Ordered(SAGE_F16, {2, 8, 40, 64}, {0, 2, 1, 3}).FillNormal(slot);
  CHECK(HopperDisagreement(used.Causal(SAGE_ALIGN_BOTTOM_RIGHT), 2, oracle) == "");
  AttentionCase sequences = HopperCall(SAGE_BF16, 64, 1, 1);
  sequences.Q() = OwnedTensor(SAGE_BF16, {60, 8, 64}).FillNormal(1);
  sequences.K() = sequences.V() = OwnedTensor(SAGE_BF16, {200, 2, 64}).FillNormal(2);
  sequences.O() = OwnedTensor(SAGE_BF16, {60, 8, 64});
  sequences.Integers(SAGE_ATTN_CU_SEQLENS_Q, {4}, {0, 1, 41, 60});
  sequences.Integers(SAGE_ATTN_CU_SEQLENS_K, {4}, {0, 70, 70, 200});
  sequences.WithLse();
  CHECK(HopperDisagreement(sequences.Causal(SAGE_ALIGN_TOP_LEFT), 3, oracle) == "");
}

TEST_CASE("P2 Hopper attention stores O by TMA where that can follow it and else directly") {
  HopperOracle oracle;
  const auto laid = [](std::vector<int64_t> strides, uint32_t extra_bytes = 0) {
    return OwnedTensor(SAGE_BF16, {2, 3, 70, 24}, strides, extra_bytes);
  };
  AttentionCase call(SAGE_BF16, {2, 3, 1, 70, 90, 64, 24}, 7);
  call.WithLse();
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    for (OwnedTensor o : {laid({3 * 72 * 32, 72 * 32, 32, 1}), laid({70 * 3 * 40, 40, 3 * 40, 1})}) {
      call.O() = o;  // gaps behind rows and heads
      CHECK(HopperDisagreement(call, seed, oracle) == "");
      CHECK(WrittenBeside(call, seed) == "");
      CHECK(WrittenBeside(call, seed, Without(63)) == "");
    }
    call.O() = laid({3 * 70 * 26, 70 * 26, 26, 1});  // rows of 52 bytes
    CHECK(HopperDisagreement(call, seed, oracle) == "");
    call.O() = laid({3 * 70 * 24, 70 * 24, 24, 1}, 4);  // at no multiple of 16
    CHECK(HopperDisagreement(call, seed, oracle) == "");
  }
}

TEST_CASE("P2 Hopper attention by pairs of blocks that share copies of K and V") {
  HopperOracle oracle;
  const auto pairs = Forced([](HopperVariant& v) {
    v.pack_shift = 0, v.cluster = 2;
    if (v.dim == 128) v.keys = 176;
  });
  uint64_t seed = 0;
  for (const int64_t dim : {128, 256})
    for (const int64_t seq_q : {129, 400})
      for (const int64_t seq_kv : {1, 63, 177, 530}) {
        CAPTURE(dim);
        CAPTURE(seq_q);
        CAPTURE(seq_kv);
        ++seed;
        AttentionCase call = HopperCall(kHalves[seed % 2], dim == 128 && seed % 3 == 0 ? 72 : dim, seq_q, seq_kv, 2, 1);
        CHECK(HopperDisagreement(call, seed, oracle, seed % 3 == 0 ? 4 : 2, pairs) == "");
      }
  for (seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    AttentionCase used = HopperCall(SAGE_BF16, 128, 250, 200, 2, 1, 3);
    used.Integers(SAGE_ATTN_SEQUSED_K, {3}, {200, 0, 177});
    CHECK(HopperDisagreement(used, seed, oracle, 2, pairs) == "");
    AttentionCase spoilt = HopperCall(SAGE_F16, 256, 250, 100, 1);
    spoilt.Integers(SAGE_ATTN_SEQUSED_K, {1}, {90});
    spoilt.V().Set({0, 0, 91, 200}, std::numeric_limits<double>::quiet_NaN());
    CHECK(HopperDisagreement(spoilt, seed, oracle, 2, pairs) == "");
  }
}

TEST_CASE("P7 Hopper attention: rows that are made again leave with the others in every variant") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const auto spoilt = [&](int64_t dim, int64_t heads_q, int64_t seq_q) {
    AttentionCase call = HopperCall(SAGE_BF16, dim, seq_q, 200, heads_q, 1);
    call.Integers(SAGE_ATTN_SEQUSED_K, {1}, {150});
    call.V().Set({0, 0, 151, 3}, kNan);
    return call;
  };
  for (const uint64_t seed : {1, 2}) {
    CheckHopper(spoilt(64, 1, 200), {seed}, 1, kRows192);
    CheckHopper(spoilt(128, 1, 140), {seed}, 1, kKeys176);
    CheckHopper(spoilt(128, 1, 140), {seed}, 1);
    CheckHopper(spoilt(256, 1, 70), {seed}, 1);
    CheckHopper(spoilt(64, 4, 20), {seed}, 1);
    CheckHopper(spoilt(64, 4, 20), {seed}, 1, Without(63));
  }
}

TEST_CASE("P12 the Hopper kernel's variant is chosen by sizes") {
  const auto choice = [](int64_t dim, int64_t seq_q, int64_t seq_kv, int64_t heads_q, int64_t heads_k, uint32_t off = 0,
                         bool causal = false) {
    AttentionArguments a;
    a.dim_qk = a.dim_v = static_cast<int32_t>(dim);
    a.seq_q = static_cast<int32_t>(seq_q), a.seq_kv = static_cast<int32_t>(seq_kv);
    a.heads_q = static_cast<int32_t>(heads_q), a.heads_k = a.heads_v = static_cast<int32_t>(heads_k);
    a.causal = causal, a.stages_off = off;
    return ChooseHopper(a, 132);
  };
  // A tile of 192 rows where they fill the device and little is padding.
  CHECK(choice(64, 8192, 8192, 32, 8).rows == 192);
  CHECK(choice(64, 8192, 8192, 2, 1).rows == 128);
  CHECK(choice(64, 8192, 8192, 32, 8, cuda::kHopperRows192).rows == 128);
  CHECK(choice(64, 128, 8192, 512, 512).rows == 128);
  CHECK(choice(128, 8192, 8192, 32, 8).rows == 128);
  // 176 keys where nothing is masked and little is padding.
  CHECK(choice(128, 8192, 8192, 32, 8).keys == 176);
  CHECK(choice(128, 8192, 2048, 32, 8).keys == 176);
  CHECK(choice(128, 8192, 256, 32, 8).keys == 128);
  CHECK(choice(128, 8192, 8192, 32, 8, 0, true).keys == 128);
  CHECK(choice(128, 8192, 8192, 32, 8, cuda::kHopperKeys176).keys == 128);
  CHECK(choice(256, 8192, 8192, 32, 8).keys == 64);
  // Pairs of blocks where nothing is masked and tiles are even.
  CHECK(choice(128, 8192, 8192, 32, 8).cluster == 2);
  CHECK(choice(256, 8192, 8192, 32, 8).cluster == 2);
  CHECK(choice(64, 8192, 8192, 32, 8).cluster == 1);
  CHECK(choice(256, 8192 - 128, 8192, 32, 8).cluster == 1);
  CHECK(choice(256, 8192, 8192, 32, 8, 0, true).cluster == 1);
  CHECK(choice(256, 256, 8192, 4, 4).cluster == 1);
  CHECK(choice(128, 8192, 8192, 32, 8, cuda::kHopperStagesOff).cluster == 1);
  // Heads are packed where one head's rows leave a tile empty.
  CHECK(choice(128, 8192, 8192, 32, 8).pack_shift == 0);
  CHECK(choice(128, 20, 8192, 32, 8).pack_shift == 2);
  CHECK(choice(128, 20, 8192, 24, 8).pack_shift == 0);  // three heads are no power of two
  CHECK(choice(128, 128, 8192, 32, 8).pack_shift == 0);
  CHECK(choice(128, 160, 8192, 32, 8).pack_shift == 2);
  CHECK(choice(128, 20, 8192, 32, 8, cuda::kHopperPackedHeads).pack_shift == 0);
}

}  // namespace sage::test
