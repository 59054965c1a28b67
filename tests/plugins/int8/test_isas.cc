// test_isas.cc: the names of instruction sets, which of them run, and that whole attention calls give the same bits
// under each.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>

#include "../cpu/attention_random.h"
#include "int8_testing.h"
#include "kernel_table.h"

namespace sage::test {
namespace {

using int8::Isa;

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512Vnni, Isa::kAmx, Isa::kNeon, Isa::kDotprod, Isa::kI8mm};

// Scales become powers of two: sums, products and rounding are then those of integers.
void ToPowersOfTwo(OwnedTensor* scales) {
  if (!scales->present()) return;
  for (uint64_t i = 0; i < scales->size(); ++i) scales->Put(i, std::exp2(std::floor(std::log2(scales->Get(i)))));
}

// Integer Q, K and V with scales of their own that are powers of two.
bool AsIntegers(AttentionCase* attention, uint64_t seed) {
  const bool packed_q = attention->Q().rank() == 3, packed_k = attention->K().rank() == 3;
  const OwnedTensor& table = (*attention)[SAGE_ATTN_BLOCK_TABLE];
  const int64_t rows_q = attention->Q().dim(packed_q ? 0 : 2);
  const int64_t rows_k = table.present() ? table.dim(1) * attention->K().dim(2) : attention->K().dim(packed_k ? 0 : 2);
  const uint32_t granularity = seed % 3 == 0 ? uint32_t{SAGE_PER_TENSOR} : uint32_t{SAGE_PER_TOKEN};
  const OwnedTensor& bias = (*attention)[SAGE_ATTN_BIAS];
  if (bias.present() && bias.dtype() != SAGE_F32) return false;
  DrawCodes(attention, SAGE_ATTN_Q, SAGE_ATTN_SCALE_Q, granularity, 1, rows_q, seed * 11);
  DrawCodes(attention, SAGE_ATTN_K, SAGE_ATTN_SCALE_K, granularity, 1, rows_k, seed * 11 + 3);
  DrawCodes(attention, SAGE_ATTN_V, SAGE_ATTN_SCALE_V, granularity, 1, rows_k, seed * 11 + 5);
  if ((*attention)[SAGE_ATTN_K_NEW].present()) {
    DrawCodes(attention, SAGE_ATTN_K_NEW, SAGE_ATTN_NUM_SLOTS, 0, 0, 0, seed * 11 + 7);
    DrawCodes(attention, SAGE_ATTN_V_NEW, SAGE_ATTN_NUM_SLOTS, 0, 0, 0, seed * 11 + 8);
  }
  for (const uint32_t slot : {SAGE_ATTN_SCALE_Q, SAGE_ATTN_SCALE_K, SAGE_ATTN_SCALE_V})
    ToPowersOfTwo(&(*attention)[slot]);
  return true;
}

// Outputs of a call under every set against those under scalar.
void CheckSameBits(const AttentionCase& drawn, Int8Backend& scalar,
                   const std::vector<std::unique_ptr<Int8Backend>>& others) {
  AttentionCase want = drawn;
  REQUIRE(Failure(want.Run(scalar.instance)) == "");
  for (size_t i = 0; i < others.size(); ++i) {
    AttentionCase got = drawn;
    CAPTURE(Int8Isas()[i]);
    REQUIRE(Failure(got.Run(others[i]->instance)) == "");
    for (const uint32_t slot :
         {SAGE_ATTN_O, SAGE_ATTN_LSE, SAGE_ATTN_WEIGHTS, SAGE_ATTN_SCORES, SAGE_ATTN_K, SAGE_ATTN_V}) {
      CAPTURE(slot);
      CHECK(SameBits(got[slot], want[slot]));
    }
  }
}

std::vector<std::unique_ptr<Int8Backend>> Backends() {
  std::vector<std::unique_ptr<Int8Backend>> backends;
  for (const std::string& isa : Int8Isas()) backends.push_back(std::make_unique<Int8Backend>(isa, "full"));
  return backends;
}

}  // namespace

TEST_CASE("R7 R21 attention on integers with scales of powers of two has the same bits under every instruction set") {
  const std::vector<std::unique_ptr<Int8Backend>> backends = Backends();
  Int8Backend scalar("scalar", "full");
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    CAPTURE(seed);
    AttentionCase drawn = RandomAttention(seed).Draw(SAGE_F32);
    if (AsIntegers(&drawn, seed)) CheckSameBits(drawn, scalar, backends);
  }
}

TEST_CASE("R7 R21 attention on floats has the same bits under every instruction set in mode full") {
  const std::vector<std::unique_ptr<Int8Backend>> backends = Backends();
  Int8Backend scalar("scalar", "full");
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    CAPTURE(seed);
    CheckSameBits(RandomAttention(seed).Draw(seed % 4 == 0 ? SAGE_BF16 : SAGE_F32), scalar, backends);
  }
}

TEST_CASE("R21 instruction sets of int8: names lead back to them and a table that runs bears its name") {
  for (const Isa isa : kAll) {
    const std::string name = int8::IsaName(isa);
    Isa back = isa == Isa::kScalar ? Isa::kAvx2 : Isa::kScalar;
    CHECK(int8::IsaFromName(name, &back));
    CHECK(back == isa);
    CHECK(int8::IsaNames().find(name) != std::string::npos);
    if (int8::Runs(isa)) CHECK(int8::KernelsOf(isa).name == name);
  }
  Isa untouched = Isa::kAmx;
  for (const char* name : {"", "auto", "AVX2", "avx2 ", "avx", "vnni"})
    CHECK_FALSE(int8::IsaFromName(name, &untouched));
  CHECK(untouched == Isa::kAmx);
  CHECK(int8::IsaNames().starts_with("auto, scalar, "));
}

TEST_CASE("R21 instruction sets of int8: those of another architecture do not run and the best one does") {
  CHECK(int8::Runs(Isa::kScalar));
  CHECK(int8::Runs(int8::BestIsa()));
  const bool x86 = int8::Runs(Isa::kAvx2) || int8::Runs(Isa::kAvx512Vnni) || int8::Runs(Isa::kAmx);
  const bool arm = int8::Runs(Isa::kNeon) || int8::Runs(Isa::kDotprod) || int8::Runs(Isa::kI8mm);
  CHECK_FALSE((x86 && arm));
#if defined(__x86_64__)
  CHECK_FALSE(arm);
  const cpu::Isa best = cpu::DetectCpu().best;
  CHECK(int8::Runs(Isa::kAvx2) == cpu::Runs(cpu::Isa::kAvx2, best));
  if (int8::Runs(Isa::kAvx512Vnni) || int8::Runs(Isa::kAmx)) CHECK(cpu::Runs(cpu::Isa::kAvx512, best));
#elif defined(__aarch64__)
  CHECK_FALSE(x86);
  CHECK(int8::Runs(Isa::kNeon));
  if (int8::Runs(Isa::kI8mm)) CHECK(int8::Runs(Isa::kDotprod));
#endif
  std::string missing;
  for (const Isa isa : kAll)
    if (!int8::Runs(isa)) missing += std::string(" ") + int8::IsaName(isa);
  if (!missing.empty()) MESSAGE("this machine lacks" << missing << ": their kernels were not tested here");
}

}  // namespace sage::test
