// test_attention_numerics.cc: how exact the results are: against float64 on hard inputs, against the naive kernel of
// the same type, and against closed forms.
#include <doctest/doctest.h>

#include "attention_testing.h"
#include "naive_attention.h"

namespace sage::test {
namespace {

// Under every instruction set; `change` may be null.
void CheckAgainstOracle(const AttentionCase& attention, double gate = 0) {
  Oracle oracle;
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    CpuBackend cpu(isa, 2);
    AttentionCase copy = attention;
    CHECK(Disagreement(copy, cpu.instance, oracle.instance, gate) == "");
  }
}

void CheckHardInputs(sage_dtype dtype, uint32_t algorithm, uint32_t block) {
  AttentionCase base(dtype, {1, 2, 2, 9, 300, 8}, 71);
  base.WithLse();
  base.attributes.algorithm = algorithm;
  base.attributes.block_kv = block;
  AttentionCase huge = base, equal = base, rising = base, falling = base, tiny = base, outlier = base, sink = base;
  // Scores of +-1e4, whole numbers so that both sides round alike.
  huge.Scale(1).Q().FillIntegers(72, -60, 60), huge.K().FillIntegers(73, -60, 60);
  CheckAgainstOracle(huge);
  equal.K().Fill(0.5);
  CheckAgainstOracle(equal);
  rising.Q().Fill(1), rising.K().FillBy([](uint64_t n) { return static_cast<double>(n / 8 % 300) * 0.25; });
  CheckAgainstOracle(rising);
  falling.Q().Fill(1), falling.K().FillBy([](uint64_t n) { return 75 - static_cast<double>(n / 8 % 300) * 0.25; });
  CheckAgainstOracle(falling);
  tiny.Q().Fill(dtype == SAGE_F32 ? 1e-41 : 1e-310);
  CheckAgainstOracle(tiny);
  for (int64_t j = 0; j < 300; ++j) outlier.K().Set({0, 0, j, 3}, 24.0), outlier.V().Set({0, 1, j, 2}, 1000.0);
  CheckAgainstOracle(outlier);
  for (const double strong : {80.0, 2.5}) {  // beyond all scores, and among them
    sink[SAGE_ATTN_SINKS] = OwnedTensor(sink.StatisticsDtype(), {2}).FillValues({strong, -strong});
    CheckAgainstOracle(sink);
  }
}

}  // namespace

TEST_CASE("P1 P3 P4 P5 the listed shapes of the PyTorch example in every dtype") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64, SAGE_BF16, SAGE_F16}) {
    CheckAgainstOracle(AttentionCase(dtype, {2, 8, 8, 16, 16, 64}, 1));
    CheckAgainstOracle(AttentionCase(dtype, {2, 8, 8, 16, 16, 64}, 2).Causal(SAGE_ALIGN_TOP_LEFT));
    CheckAgainstOracle(AttentionCase(dtype, {2, 8, 8, 16, 16, 64}, 3).Scale(0.1));
    CheckAgainstOracle(AttentionCase(dtype, {2, 8, 8, 16, 16, 64}, 4).Scale(0.125));
    CheckAgainstOracle(AttentionCase(dtype, {2, 12, 4, 16, 16, 64}, 5));
    CheckAgainstOracle(AttentionCase(dtype, {2, 12, 4, 9, 25, 64}, 6));
    CheckAgainstOracle(AttentionCase(dtype, {1, 4, 4, 8, 8, 64}, 7));
  }
}

TEST_CASE("N1 N2 f64 at the seed's shapes and blocks") {
  const struct {
    int64_t batch, seq, dim, dim_v;
    uint32_t block;
    double gate;
  } cases[] = {
      {2, 64, 32, 32, 16, 1e-12}, {2, 128, 64, 64, 32, 1e-12}, {4, 256, 64, 64, 64, 1e-12}, {2, 65, 32, 48, 16, 1e-12}};
  for (const auto& [batch, seq, dim, dim_v, block, gate] : cases) {
    AttentionCase attention(SAGE_F64, {batch, 1, 1, seq, seq, dim, dim_v}, 11);
    attention.attributes.block_q = attention.attributes.block_kv = block;
    CheckAgainstOracle(attention, gate);
    CheckAgainstOracle(attention.Causal(SAGE_ALIGN_TOP_LEFT), gate);
  }
}

TEST_CASE("N4 N8 R2 block sizes agree and are honoured, the last one not full too") {
  AttentionCase attention(SAGE_F64, {1, 2, 1, 200, 203, 16}, 21);
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    AttentionCase first = attention;
    REQUIRE(Failure(first.Run(cpu.instance)) == "");
    for (const uint32_t block : {1u, 16u, 32u, 64u, 100u, 128u, 256u}) {
      AttentionCase other = attention;
      other.attributes.block_q = other.attributes.block_kv = block;
      const RunResult result = other.Run(cpu.instance);
      REQUIRE(Failure(result) == "");
      CHECK(MaxDifference(first.O(), other.O()) <= 1e-12);
      if (block <= 128)
        CHECK(std::string(result.answer.reason).find(std::to_string(block) + " keys") != std::string::npos);
    }
    AttentionCase preset = attention;
    preset.attributes.block_q = 32, preset.attributes.block_kv = 128;
    CHECK(std::string(preset.Run(cpu.instance).answer.reason).find("32 rows by 128 keys") != std::string::npos);
  }
}

TEST_CASE("N5 inputs up to 100 with one of 1000 stay finite and exact") {
  AttentionCase attention(SAGE_F64, {1, 1, 1, 64, 64, 32}, 31);
  attention.Q().FillUniform(31, 0, 100), attention.K().FillUniform(32, 0, 100);
  attention.Q().Put(7, 1000.0);
  CheckAgainstOracle(attention, 1e-8);
}

TEST_CASE("N7 N8 heads split and merged, flash against materialised, scalar against vectors") {
  // [B,S,d_model] seen as [B,H,S,d] by strides.
  const std::vector<int64_t> strides{128 * 256, 32, 256, 1};
  AttentionCase attention(SAGE_F64, {2, 8, 8, 128, 128, 32}, 41);
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    attention[slot] = OwnedTensor(SAGE_F64, {2, 8, 128, 32}, strides).FillNormal(41 + slot);
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa, 2);
    AttentionCase flash = attention, standard = attention, scalar = attention;
    flash.attributes.algorithm = SAGE_ALGORITHM_FLASH;
    standard.attributes.algorithm = SAGE_ALGORITHM_MATERIALISED;
    scalar.requirements = SAGE_REQUIRE_SCALAR;
    REQUIRE(Failure(flash.Run(cpu.instance)) == "");
    REQUIRE(Failure(standard.Run(cpu.instance)) == "");
    const RunResult forced = scalar.Run(cpu.instance);
    REQUIRE(Failure(forced) == "");
    CHECK(std::string(forced.answer.reason).find("scalar") != std::string::npos);
    CHECK(MaxDifference(flash.O(), standard.O()) <= 1e-12);
    CHECK(MaxDifference(flash.O(), scalar.O()) <= 1e-12);
  }
}

TEST_CASE("R1 R3 R9 the seed's small cases, with its closed form") {
  for (const uint32_t block : {4u, 8u}) {
    AttentionCase square(SAGE_F32, {1, 1, 1, 16, 16, 8}, 51), cross(SAGE_F32, {1, 1, 1, 8, 16, 4}, 52);
    square.attributes.block_q = square.attributes.block_kv = cross.attributes.block_q = 4;
    cross.attributes.block_kv = block;
    CheckAgainstOracle(square);
    CheckAgainstOracle(cross);
  }
  CheckAgainstOracle(AttentionCase(SAGE_F32, {1, 2, 2, 4, 4, 4}, 53));
  AttentionCase constant(SAGE_F32, {1, 1, 1, 8, 8, 4}, 54);
  constant.Causal(SAGE_ALIGN_TOP_LEFT);
  constant.Q().Fill(1), constant.K().Fill(1);
  constant.V().FillBy([](uint64_t n) { return static_cast<double>(n / 4 + 1); });
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    REQUIRE(Failure(constant.Run(cpu.instance)) == "");
    for (int64_t i = 0; i < 8; ++i)
      CHECK(constant.O().At({0, 0, i, 0}) == doctest::Approx((static_cast<double>(i) + 2) / 2).epsilon(1e-6));
  }
}

TEST_CASE("R10 online softmax closed form, and any split merges by LSE") {
  const std::vector<double> scores{1, 2, 3, 2.5, 1.5};
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    for (const uint32_t block : {1u, 2u, 3u, 4u, 5u}) {
      AttentionCase attention(SAGE_F64, {1, 1, 1, 1, 5, 1, 4}, 61);
      attention.Scale(1).Q().Fill(1);
      attention.K().FillValues(scores);
      attention.V().FillBy([](uint64_t n) { return n >= 16 || n % 4 == n / 4 ? 1.0 : 0.0; });
      attention.attributes.block_kv = block;
      REQUIRE(Failure(attention.Run(cpu.instance)) == "");
      const std::vector<double> rounded{0.1536, 0.2533, 0.5243, 0.3556};
      double total = 0;
      for (const double score : scores) total += std::exp(score);
      for (uint64_t c = 0; c < 4; ++c) {
        CHECK(std::fabs(attention.O().Get(c) - rounded[c]) < 1e-4);
        CHECK(std::fabs(attention.O().Get(c) - (std::exp(scores[c]) + std::exp(scores[4])) / total) < 1e-15);
      }
    }
    AttentionCase whole(SAGE_F64, {1, 2, 1, 3, 170, 16}, 62);
    whole.WithLse();
    REQUIRE(Failure(whole.Run(cpu.instance)) == "");
    for (const int64_t split : {1, 63, 128, 169}) {
      AttentionCase left = whole, right = whole;
      left.Integers(SAGE_ATTN_SEQUSED_K, {1}, {static_cast<double>(split)});
      right.OverScores(SAGE_ATTN_MASK, SAGE_BOOL).FillBy([&](uint64_t n) {
        return static_cast<int64_t>(n % 170) >= split ? 1.0 : 0.0;
      });
      REQUIRE(Failure(left.Run(cpu.instance)) == "");
      REQUIRE(Failure(right.Run(cpu.instance)) == "");
      for (uint64_t n = 0; n < whole.O().size(); ++n) {
        const double a = left[SAGE_ATTN_LSE].Get(n / 16), b = right[SAGE_ATTN_LSE].Get(n / 16);
        const double top = std::max(a, b), wa = std::exp(a - top), wb = std::exp(b - top);
        REQUIRE(std::fabs((left.O().Get(n) * wa + right.O().Get(n) * wb) / (wa + wb) - whole.O().Get(n)) < 1e-13);
        REQUIRE(std::fabs(top + std::log(wa + wb) - whole[SAGE_ATTN_LSE].Get(n / 16)) < 1e-13);
      }
    }
  }
}

TEST_CASE("hard inputs: huge and one-hot scores, equal ones, rising maxima, denormals, outliers, sinks") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64})
    for (const uint32_t algorithm : {SAGE_ALGORITHM_FLASH, SAGE_ALGORITHM_MATERIALISED}) {
      CheckHardInputs(dtype, algorithm, 0);
      CheckHardInputs(dtype, algorithm, 64);  // five tiles of keys, whatever the backend's own choice
    }
}

TEST_CASE("huge scores that are whole numbers keep their differences") {
  // Of 512 queries some have their two best keys one apart.
  for (const uint32_t algorithm : {SAGE_ALGORITHM_FLASH, SAGE_ALGORITHM_MATERIALISED}) {
    AttentionCase attention(SAGE_F32, {1, 1, 1, 512, 400, 8}, 74);
    attention.attributes.algorithm = algorithm;
    attention.Scale(1).Q().FillIntegers(75, -60, 60), attention.K().FillIntegers(76, -60, 60);
    CheckAgainstOracle(attention);
    attention.OverScores(SAGE_ATTN_BIAS, SAGE_F32).FillIntegers(77, -3, 3);
    CheckAgainstOracle(attention);
  }
}

TEST_CASE("head dimensions and lengths of every parity") {
  for (const int64_t dim : {1, 3, 7, 8, 15, 16, 17, 31, 32, 40, 59, 64, 80, 96, 111, 128, 160, 192, 224, 256, 512})
    CheckAgainstOracle(AttentionCase(SAGE_F32, {1, 1, 1, 5, 33, dim}, static_cast<uint64_t>(dim)));
  for (const int64_t seq : {1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 97, 113, 127, 128, 129, 200, 257, 384})
    CheckAgainstOracle(
        AttentionCase(SAGE_F32, {1, 1, 1, seq, seq, 8}, static_cast<uint64_t>(seq)).Causal(SAGE_ALIGN_TOP_LEFT));
  CheckAgainstOracle(AttentionCase(SAGE_F32, {1, 2, 1, 3, 1025, 16}, 5));
}

TEST_CASE("class EXACT: no less exact than the naive kernel of the same type") {
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    CpuBackend cpu(isa);
    Oracle oracle;
    Errors mine, naive;
    for (const auto& [seq, dim] : {std::pair<int64_t, int64_t>{64, 64}, {257, 64}, {700, 32}, {128, 128}, {97, 17}}) {
      AttentionCase attention(SAGE_F32, {1, 2, 2, 24, seq, dim}, static_cast<uint64_t>(seq));
      AttentionCase want = AsDouble(attention);
      REQUIRE(Failure(want.Run(oracle.instance)) == "");
      const RunResult result = attention.Run(cpu.instance);
      REQUIRE(Failure(result) == "");
      CHECK(result.answer.accuracy == SAGE_ACCURACY_EXACT);
      const Errors a = ErrorsOf(attention.O().Values(), want.O().Values());
      const Errors b = ErrorsOf(NaiveAttention<float>(attention), want.O().Values());
      mine.rms += a.rms, naive.rms += b.rms;
      mine.largest = std::max(mine.largest, a.largest), naive.largest = std::max(naive.largest, b.largest);
    }
    CHECK(mine.rms <= naive.rms);
    CHECK(mine.largest <= 1.25 * naive.largest);
  }
}

TEST_CASE("P5 class NATIVE: at most twice the error of the naive kernel that rounds its weights to bf16") {
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    CpuBackend cpu(isa);
    Oracle oracle;
    for (const auto& [seq, dim] : {std::pair<int64_t, int64_t>{64, 64}, {257, 64}, {700, 32}, {128, 128}, {97, 17}}) {
      AttentionCase attention(SAGE_BF16, {1, 2, 2, 24, seq, dim}, static_cast<uint64_t>(seq));
      if (seq == 700) attention.attributes.block_kv = 640;  // longer than what is multiplied at once
      AttentionCase want = AsDouble(attention), exact = attention;
      REQUIRE(Failure(want.Run(oracle.instance)) == "");
      const RunResult result = attention.Run(cpu.instance);
      REQUIRE(Failure(result) == "");
      const Errors mine = ErrorsOf(attention.O().Values(), want.O().Values());
      const Errors naive = ErrorsOf(NaiveAttention<float>(attention, SAGE_BF16), want.O().Values());
      CHECK(mine.largest <= 2 * naive.largest + 1e-5);
      CHECK(mine.rms <= 2 * naive.rms);
      // Whoever asks for EXACT gets fp32 arithmetic.
      exact.accuracy = SAGE_ACCURACY_EXACT;
      const RunResult in_f32 = exact.Run(cpu.instance);
      REQUIRE(Failure(in_f32) == "");
      CHECK(in_f32.answer.accuracy == SAGE_ACCURACY_EXACT);
      CHECK(ErrorIn(exact.O(), want.O(), 5e-6 * LargestMagnitude(want.V())) <= 1);
    }
  }
}

TEST_CASE("keys in another order, a shifted logit and a stretched V do what algebra says") {
  AttentionCase plain(SAGE_F64, {1, 2, 2, 7, 90, 12}, 81);
  plain.WithLse().OverScores(SAGE_ATTN_BIAS, SAGE_F64).FillNormal(82);
  AttentionCase turned = plain, shifted = plain, stretched = plain;
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t j = 0; j < 90; ++j) {
      const int64_t from = (j * 37 + 11) % 90;
      for (int64_t c = 0; c < 12; ++c) {
        turned.K().Set({0, h, j, c}, plain.K().At({0, h, from, c}));
        turned.V().Set({0, h, j, c}, plain.V().At({0, h, from, c}));
      }
      for (int64_t i = 0; i < 7; ++i)
        turned[SAGE_ATTN_BIAS].Set({0, h, i, j}, plain[SAGE_ATTN_BIAS].At({0, h, i, from}));
    }
  shifted[SAGE_ATTN_BIAS].FillBy([&](uint64_t n) { return plain[SAGE_ATTN_BIAS].Get(n) + 3; });
  stretched.V().FillBy([&](uint64_t n) { return 2 * plain.V().Get(n) - 5; });
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    for (AttentionCase* attention : {&plain, &turned, &shifted, &stretched})
      REQUIRE(Failure(attention->Run(cpu.instance)) == "");
    CHECK(MaxDifference(plain.O(), turned.O()) < 1e-13);
    CHECK(MaxDifference(plain.O(), shifted.O()) < 1e-13);
    for (uint64_t n = 0; n < plain.O().size(); ++n) {
      REQUIRE(std::fabs(stretched.O().Get(n) - (2 * plain.O().Get(n) - 5)) < 1e-12);
      REQUIRE(std::fabs(plain.O().Get(n)) <= LargestMagnitude(plain.V()));
    }
    for (uint64_t n = 0; n < plain[SAGE_ATTN_LSE].size(); ++n)
      REQUIRE(std::fabs(shifted[SAGE_ATTN_LSE].Get(n) - plain[SAGE_ATTN_LSE].Get(n) - 3) < 1e-13);
  }
}

}  // namespace sage::test
