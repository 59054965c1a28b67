// test_attention_random.cc: every mixture of features that a seed draws, in every mode and under every instruction set,
// against the float64 oracle.
#include <doctest/doctest.h>

#include <memory>

#include "../cpu/attention_random.h"
#include "int8_testing.h"

namespace sage::test {
namespace {

// What 8 bits may do: of O, as a multiple of the largest |V|; of scores and LSE, of the largest score. Scores that are
// each off by e move a weight by no more than 2 w (1 - w) e, which is at most e / 2.
struct Gates {
  double o, relative_l1, scores;
};

std::string CompareWith(const AttentionCase& want, AttentionCase& got, Instance& int8, const Gates& gates) {
  const RunResult result = got.Run(int8);
  if (result.status != SAGE_OK) return "int8: " + Failure(result);
  // Exact of codes, but for weights in 8 bits.
  const bool exact = got[SAGE_ATTN_K].dtype() == SAGE_I8 && gates.scores < 1e-4 && gates.o < 1e-4;
  if (result.answer.accuracy != (exact ? SAGE_ACCURACY_EXACT : SAGE_ACCURACY_LOSSY)) return "the class is wrong";
  std::string text;
  const auto check = [&](uint32_t slot, double unit, const char* name) {
    if (!got[slot].present()) return;
    const double error = ErrorIn(got[slot], want[slot], unit);
    if (!(error <= 1)) text += std::string(name) + " is off by " + std::to_string(error) + " gates; ";
  };
  double v = LargestMagnitude(want[SAGE_ATTN_V]);
  if (want[SAGE_ATTN_SCALE_V].present()) v *= LargestMagnitude(want[SAGE_ATTN_SCALE_V]);
  check(SAGE_ATTN_O, gates.o * std::max(0.1, v), "O");
  check(SAGE_ATTN_LSE, gates.scores * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_LSE])), "LSE");
  check(SAGE_ATTN_WEIGHTS, gates.scores * 2, "WEIGHTS");
  if (got[SAGE_ATTN_SCORES].present())
    check(SAGE_ATTN_SCORES, gates.scores * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_SCORES])), "SCORES");
  check(SAGE_ATTN_K, 1e-300, "K after the append");
  check(SAGE_ATTN_V, 1e-300, "V after the append");
  const Distance distance = DistanceOf(got.O(), want.O());
  if (!(distance.relative_l1 <= gates.relative_l1))
    text += "relative L1 of O is " + std::to_string(distance.relative_l1);
  return text.empty() ? text : text + " " + result.answer.reason;
}

// Codes keep the types of their call; floats are asked for in f64.
AttentionCase ExpectedOf(const AttentionCase& from, Instance& oracle, std::string* failure) {
  if (from[SAGE_ATTN_K].dtype() != SAGE_I8) return Expected(from, oracle, failure);
  AttentionCase want = from;
  want.attributes.algorithm = SAGE_ALGORITHM_AUTO;
  *failure = Failure(want.Run(oracle));
  return want;
}

struct Kind {
  const char* mode;
  Gates gates;
};

// prepare(case, seed) makes the operands what the mode wants; false: this one is not for it.
template <class Prepare>
void Sweep(sage_dtype dtype, uint64_t seeds, const std::vector<Kind>& kinds, const Prepare& prepare) {
  Oracle oracle;
  for (const Kind& kind : kinds) {
    std::vector<std::unique_ptr<Int8Backend>> backends;
    for (const std::string& isa : Int8Isas())
      for (const uint32_t workers : {1u, 3u})
        backends.push_back(std::make_unique<Int8Backend>(isa, kind.mode, workers));
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
      AttentionCase drawn = RandomAttention(seed).Draw(dtype);
      if (!prepare(&drawn, seed, std::string(kind.mode))) continue;
      CAPTURE(kind.mode);
      CAPTURE(seed);
      std::string failure;
      const AttentionCase want = ExpectedOf(drawn, oracle.instance, &failure);
      REQUIRE(failure == "");
      for (size_t isa = 0; isa < backends.size() / 2; ++isa) {
        AttentionCase got = drawn;
        CAPTURE(Int8Isas()[isa]);
        CHECK(CompareWith(want, got, backends[2 * isa + seed % 2]->instance, kind.gates) == "");
      }
    }
  }
}

bool AsDrawn(AttentionCase*, uint64_t, const std::string&) { return true; }

// Codes with their caller's scales, of a granularity that the seed draws.
bool AsCodes(AttentionCase* attention, uint64_t seed, const std::string& mode) {
  const bool per_tensor = mode == "per_tensor", append = (*attention)[SAGE_ATTN_K_NEW].present();
  const OwnedTensor &k = (*attention)[SAGE_ATTN_K], &table = (*attention)[SAGE_ATTN_BLOCK_TABLE];
  const bool packed_q = (*attention)[SAGE_ATTN_Q].rank() == 3, packed_k = k.rank() == 3;
  const int64_t rows_q = (*attention)[SAGE_ATTN_Q].dim(packed_q ? 0 : 2);
  const int64_t rows_k = table.present() ? table.dim(1) * k.dim(2) : k.dim(packed_k ? 0 : 2);
  constexpr uint32_t kGranularities[] = {SAGE_PER_TENSOR, SAGE_PER_HEAD, SAGE_PER_TOKEN, SAGE_PER_BLOCK,
                                         SAGE_PER_CHANNEL};
  const auto granularity = [&](uint64_t draw, bool packed, bool channels) {
    if (per_tensor) return uint32_t{SAGE_PER_TENSOR};
    const uint32_t drawn = kGranularities[draw % (channels ? 5 : 4)];
    return drawn == SAGE_PER_BLOCK && packed ? uint32_t{SAGE_PER_TOKEN} : drawn;
  };
  const uint32_t block = static_cast<uint32_t>(1 + seed % 70);
  if (mode != "kv_cache")
    DrawCodes(attention, SAGE_ATTN_Q, SAGE_ATTN_SCALE_Q, granularity(seed, packed_q, false), block, rows_q, seed * 11);
  DrawCodes(attention, SAGE_ATTN_K, SAGE_ATTN_SCALE_K, granularity(seed / 4, packed_k, false), block, rows_k,
            seed * 11 + 3);
  DrawCodes(attention, SAGE_ATTN_V, SAGE_ATTN_SCALE_V, granularity(seed / 16, packed_k, true), block, rows_k,
            seed * 11 + 5);
  if (append) {
    DrawCodes(attention, SAGE_ATTN_K_NEW, SAGE_ATTN_NUM_SLOTS, 0, 0, 0, seed * 11 + 7);
    DrawCodes(attention, SAGE_ATTN_V_NEW, SAGE_ATTN_NUM_SLOTS, 0, 0, 0, seed * 11 + 8);
  }
  // Of an integer Q the bias is an f32.
  OwnedTensor& bias = (*attention)[SAGE_ATTN_BIAS];
  return !bias.present() || bias.dtype() == SAGE_F32;
}

}  // namespace

TEST_CASE("R5 R7 random mixtures of features in f32 stay near the oracle in the modes that quantise") {
  Sweep(SAGE_F32, 120,
        {{"full", {0.12, 0.06, 0.02}}, {"qk8_pv16", {0.12, 0.06, 0.02}}, {"per_tensor", {0.3, 0.12, 0.05}}}, AsDrawn);
}
TEST_CASE("R5 R7 random mixtures of features in bf16 and f16 stay near the oracle in the modes that quantise") {
  Sweep(SAGE_BF16, 40, {{"full", {0.12, 0.06, 0.02}}, {"qk8_pv16", {0.12, 0.06, 0.02}}}, AsDrawn);
  Sweep(SAGE_F16, 40, {{"full", {0.12, 0.06, 0.02}}, {"qk8_pv16", {0.12, 0.06, 0.02}}}, AsDrawn);
}
// Dots of codes are exact, so only weights in 8 bits are left to differ.
TEST_CASE("R5 R6 R7 random mixtures of features on codes with their caller's scales agree with the oracle") {
  Sweep(SAGE_F32, 150,
        {{"full", {0.02, 0.012, 1e-5}}, {"qk8_pv16", {5e-6, 2e-5, 5e-6}}, {"per_tensor", {5e-6, 2e-5, 5e-6}}}, AsCodes);
}
TEST_CASE("R5 R7 random mixtures of features on a cache of codes agree with the oracle") {
  Sweep(SAGE_F32, 250, {{"kv_cache", {5e-6, 2e-5, 5e-6}}}, AsCodes);
}

}  // namespace sage::test
