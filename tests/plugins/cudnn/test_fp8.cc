// test_fp8.cc: attention of fp8 with scales, and attention with dropout: the whole backend against the float64 oracle,
// over a cuDNN that takes its graphs at their word.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>

#include "../cpu/attention_testing.h"
#include "backend_testing.h"
#include "common/cuda/attention_operands.h"
#include "common/cuda/kernels/small_float.h"
#include "sdpa_mixtures.h"

namespace sage::cudnn {
namespace {

using test::AttentionCase;
using test::Instance;
using test::OwnedTensor;
using test::TestHost;
using test::Threads;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// sm of the fake runtime's device for as long as it lives.
class OnArchitecture {
 public:
  OnArchitecture(int major, int minor) : before_(TheRuntime().devices[0]) {
    TheRuntime().devices[0].major = major, TheRuntime().devices[0].minor = minor;
  }
  ~OnArchitecture() { TheRuntime().devices[0] = before_; }
  OnArchitecture(const OnArchitecture&) = delete;
  OnArchitecture& operator=(const OnArchitecture&) = delete;

 private:
  const cuda::Properties before_;
};

double ScaleIn(const AttentionCase& call, uint32_t slot) { return call[slot].present() ? call[slot].At({0}) : 1; }

// Half a unit in the last place of 1.
double HalfUlpOf(sage_dtype dtype) {
  return dtype == SAGE_F8_E4M3FN ? 0x1p-4 : dtype == SAGE_F8_E5M2 ? 0x1p-3 : dtype == SAGE_F16 ? 0x1p-11 : 0x1p-8;
}

// Runs on the device what the oracle computes of the same stored values into an O of f64, scales taken off. Weights are
// rounded to 8 bits, and so is O.
std::string Fp8Disagreement(AttentionCase& call, Instance& device) {
  static test::Oracle oracle;
  AttentionCase want = call;
  std::vector<int64_t> shape;
  for (uint32_t axis = 0; axis < call.O().rank(); ++axis) shape.push_back(call.O().dim(axis));
  want.O() = OwnedTensor(SAGE_F64, shape);
  if (const test::RunResult said = want.Run(oracle.instance); said.status != SAGE_OK) return "oracle: " + said.message;
  Move(&call);
  const test::RunResult result = call.Run(device);
  const std::string faults = TakeEmulationFault() + fake::The().Faults();
  if (result.status != SAGE_OK || !faults.empty()) return result.message + faults;
  if (result.answer.accuracy != SAGE_ACCURACY_LOSSY) return "its class is not LOSSY";
  const double weights = HalfUlpOf(call.Q().dtype()), output = HalfUlpOf(call.O().dtype());
  const double largest = test::LargestMagnitude(want.V()) * ScaleIn(call, SAGE_ATTN_SCALE_V);
  const double gate = weights * largest / ScaleIn(call, SAGE_ATTN_SCALE_O) + 0x1p-10;  // half of e4m3's smallest
  std::string text;
  for (uint64_t i = 0, n = call.O().size(); i < n; ++i) {
    const double got = call.O().Get(i), expected = want.O().Get(i);
    if (std::isnan(got) && std::isnan(expected)) continue;
    if (std::fabs(got - expected) <= gate + output * std::fabs(expected)) continue;
    text += "O[" + std::to_string(i) + "] is " + std::to_string(got) + ", not " + std::to_string(expected) + "; ";
    if (text.size() > 300) break;
  }
  if (call[SAGE_ATTN_LSE].present()) {
    const double unit = 5e-6 * std::max(4.0, test::LargestMagnitude(want[SAGE_ATTN_LSE]));
    const double error = test::ErrorIn(call[SAGE_ATTN_LSE], want[SAGE_ATTN_LSE], unit);
    if (!(error <= 1)) text += "LSE is off by " + std::to_string(error) + " gates; ";
  }
  return text;
}

void CheckFp8Mixtures(sage_dtype dtype, bool wide, uint64_t first, uint64_t count) {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  uint64_t served = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionCase call = test::SdpaMixture(seed).Draw(dtype, wide);
    const std::string text = Fp8Disagreement(call, device);
    if (text.find("cuDNN 9.19.0: ") != std::string::npos) continue;
    CHECK(text == "");
    ++served;
  }
  CHECK(served > count / 2);
}

// One sequence of fp8, [1,2,20,32] over 30 keys.
AttentionCase SmallFp8(sage_dtype dtype = SAGE_F8_E4M3FN) {
  AttentionCase call(dtype, {.batch = 1, .heads_q = 2, .heads_k = 1, .seq_q = 20, .seq_kv = 30, .dim_qk = 32}, 77);
  call.O() = OwnedTensor(dtype, {1, 2, 20, 32}).Fill(7);
  return call;
}
void GiveScale(AttentionCase* call, uint32_t slot, uint32_t* granularity, double scale) {
  (*call)[slot] = OwnedTensor(SAGE_F32, {1}).FillValues({scale}), *granularity = SAGE_PER_TENSOR;
}

}  // namespace

TEST_CASE("S15 S19 cudnn: scales and dropout of an op as they are bound") {
  const auto bind = [](const AttentionCase& call, cuda::AttentionExtras* extras) -> std::string {
    const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS];
    for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) slots[slot] = call[slot].tensor();
    cuda::AttentionArguments a;
    const char* const why = cuda::BindAttention(call.attributes, 0, slots, SAGE_ATTN_NUM_SLOTS, &a, extras);
    return why == nullptr ? "" : why;
  };
  AttentionCase call = SmallFp8();
  GiveScale(&call, SAGE_ATTN_SCALE_K, &call.attributes.granularity_k, 3);
  cuda::AttentionExtras extras;
  CHECK(bind(call, nullptr) == "Q is neither f64 nor f32, f16 or bf16");
  CHECK(bind(call, &extras) == "");
  CHECK(extras.o_type == cuda::AttentionType::kF8E4m3fn);
  CHECK(extras.scale_k == call[SAGE_ATTN_SCALE_K].tensor()->data);
  CHECK(extras.scale_q == nullptr);
  CHECK(extras.philox == nullptr);
  CHECK_FALSE(extras.finer_scales);
  call.O() = OwnedTensor(SAGE_F16, {1, 2, 20, 32});
  CHECK(bind(call, &extras) == "");
  CHECK(extras.o_type == cuda::AttentionType::kF16);
  call.O() = OwnedTensor(SAGE_F8_E5M2, {1, 2, 20, 32});
  CHECK(bind(call, &extras) == "Q, K, V and O are not of one dtype");
  call.O() = SmallFp8().O(), call.attributes.granularity_k = SAGE_PER_HEAD;
  CHECK(bind(call, &extras) == "");
  CHECK(extras.finer_scales);
  // The first word that is kept: p * 2^32, of which a part counts whole.
  AttentionCase drops(SAGE_F16, {.seq_q = 2, .seq_kv = 2}, 1);
  drops[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2}, {3});
  const struct {
    double p;
    uint64_t least;
  } ends[] = {{0.5, 1ull << 31}, {0x1p-40, 1}, {0x1p-32, 1}, {0x1.8p-32, 2}, {1 - 0x1p-53, 1ull << 32}};
  for (const auto& [p, least] : ends) {
    drops.attributes.dropout_p = p;
    CHECK(bind(drops, &extras) == "");
    CHECK(extras.least_kept == least);
    CHECK(extras.kept == 1 / (1 - p));
    CHECK(extras.philox_stride == 3);
  }
  drops.attributes.dropout_p = 0;
  CHECK(bind(drops, &extras) == "");
  CHECK(extras.philox == nullptr);
}

TEST_CASE("S15 cudnn: every number of 8 bits is loaded as it is and stored as it was") {
  for (uint32_t bits = 0; bits < 256; ++bits) {
    CAPTURE(bits);
    const auto byte = static_cast<uint8_t>(bits);
    const auto check = [&](float loaded, double expected, uint8_t stored) {
      if (std::isnan(expected)) {
        CHECK(std::isnan(loaded));
      } else {
        CHECK(static_cast<double>(loaded) == expected);
        CHECK(std::signbit(loaded) == std::signbit(expected));
        CHECK(stored == byte);
      }
    };
    const float e4m3 = cuda::PlainNumber<cuda::F8E4m3fn>::Load({byte}),
                e5m2 = cuda::PlainNumber<cuda::F8E5m2>::Load({byte});
    check(e4m3, test::DecodeSmallFloat(bits, 4, 3, true), cuda::ToSmall(cuda::kFormatE4m3fn, e4m3));
    check(e5m2, test::DecodeSmallFloat(bits, 5, 2), cuda::ToSmall(cuda::kFormatE5m2, e5m2));
  }
}

TEST_CASE("P1 P2 P3 P4 P7 S15 cudnn: mixtures of e4m3 with scales agree with the oracle") {
  CheckFp8Mixtures(SAGE_F8_E4M3FN, false, 5001, 100);
}
TEST_CASE("P1 P2 P3 P4 P7 S15 cudnn: mixtures of e5m2 with scales agree with the oracle") {
  CheckFp8Mixtures(SAGE_F8_E5M2, false, 6001, 80);
}
TEST_CASE("P2 P4 P7 S15 cudnn: on sm_100 O of fp8 operands is f16 or bf16 and positions count from the end") {
  const OnArchitecture blackwell(10, 0);
  CheckFp8Mixtures(SAGE_F8_E4M3FN, true, 7001, 100);
}

TEST_CASE("S15 cudnn: without SCALE_P weights of long fp8 rows are not lost below the smallest number") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  AttentionCase call(SAGE_F8_E4M3FN, {.batch = 1, .heads_q = 1, .heads_k = 1, .seq_q = 2, .seq_kv = 3000, .dim_qk = 16},
                     78);
  call.O() = OwnedTensor(SAGE_F8_E4M3FN, {1, 1, 2, 16}).Fill(7);
  call.Scale(0);  // every weight is 1/3000, less than half of the smallest number of e4m3
  call.V().Fill(1);
  CHECK(Fp8Disagreement(call, device) == "");
  CHECK(std::fabs(call.O().At({0, 0, 1, 3}) - 1) < 0.07);
}

TEST_CASE("P2 S15 cudnn: NaN behind keys that a row of fp8 does not see does not touch it") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  for (const sage_dtype dtype : {SAGE_F8_E4M3FN, SAGE_F8_E5M2}) {
    AttentionCase causal = SmallFp8(dtype);
    causal.Causal(SAGE_ALIGN_TOP_LEFT).WithLse();
    GiveScale(&causal, SAGE_ATTN_SCALE_Q, &causal.attributes.granularity_q, 1.5);
    GiveScale(&causal, SAGE_ATTN_SCALE_K, &causal.attributes.granularity_k, 0.5);
    GiveScale(&causal, SAGE_ATTN_SCALE_V, &causal.attributes.granularity_v, 3);
    GiveScale(&causal, SAGE_ATTN_SCALE_O, &causal.attributes.granularity_o, 0.25);
    causal.V().Set({0, 0, 15, 3}, kNan), causal.K().Set({0, 0, 17, 0}, kNan);
    CHECK(Fp8Disagreement(causal, device) == "");
    CHECK_FALSE(std::isnan(causal.O().At({0, 1, 14, 3})));
    CHECK(std::isnan(causal.O().At({0, 1, 15, 3})));
  }
}

TEST_CASE("P7 S15 cudnn: rows of fp8 without a key are 0 and their LSE is -inf") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  AttentionCase call = SmallFp8();
  call.Integers(SAGE_ATTN_SEQUSED_K, {1}, {0});
  call.WithLse();
  CHECK(Fp8Disagreement(call, device) == "");
  CHECK(call.O().At({0, 0, 3, 3}) == 0);
}

TEST_CASE("S15 cudnn: what O of fp8 has no room for is what a cast makes of it") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  for (const sage_dtype dtype : {SAGE_F8_E4M3FN, SAGE_F8_E5M2}) {
    AttentionCase call = SmallFp8(dtype);
    GiveScale(&call, SAGE_ATTN_SCALE_O, &call.attributes.granularity_o, dtype == SAGE_F8_E5M2 ? 1e-5 : 1e-3);
    AttentionCase want = call;
    test::Oracle oracle;
    REQUIRE(want.Run(oracle.instance).status == SAGE_OK);
    Move(&call);
    REQUIRE(call.Run(device).status == SAGE_OK);
    uint64_t beyond = 0;
    for (uint64_t i = 0; i < call.O().size(); ++i) {
      const double got = call.O().Get(i), expected = want.O().Get(i);
      beyond += std::isfinite(expected) ? 0 : 1;
      // In a row that is made again nothing of fp8 is between, so that not even roundings differ but at a tie.
      if (!std::isfinite(expected)) CHECK(((std::isnan(got) && std::isnan(expected)) || got == expected));
    }
    CHECK(beyond > 10);
  }
}

TEST_CASE("S15 cudnn: fp8 is of class LOSSY and none above it") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  for (const uint32_t accuracy : {SAGE_ACCURACY_NATIVE, SAGE_ACCURACY_EXACT}) {
    AttentionCase call = SmallFp8();
    call.accuracy = accuracy;
    Move(&call);
    const test::RunResult result = call.Run(device);
    CHECK(result.status == SAGE_E_UNSUPPORTED);
    CHECK(result.message.find("class LOSSY; a higher class is asked for") != std::string::npos);
  }
  for (const uint32_t accuracy : {SAGE_ACCURACY_AUTO, SAGE_ACCURACY_LOSSY}) {
    AttentionCase call = SmallFp8();
    call.accuracy = accuracy;
    CHECK(Fp8Disagreement(call, device) == "");
  }
}

TEST_CASE("S15 cudnn: scales of another granularity and operands of two types are refused") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  AttentionCase heads = SmallFp8();
  heads[SAGE_ATTN_SCALE_K] = OwnedTensor(SAGE_F32, {1, 1}).FillValues({2});
  heads.attributes.granularity_k = SAGE_PER_HEAD;
  CHECK(Fp8Disagreement(heads, device).find("PER_TENSOR") != std::string::npos);
  AttentionCase mixed = SmallFp8();
  mixed.K() = OwnedTensor(SAGE_F8_E5M2, {1, 1, 30, 32}).FillNormal(1);
  mixed.V() = OwnedTensor(SAGE_F8_E5M2, {1, 1, 30, 32}).FillNormal(2);
  CHECK(Fp8Disagreement(mixed, device).find("not of one dtype") != std::string::npos);
  AttentionCase wide = SmallFp8();
  wide.O() = OwnedTensor(SAGE_BF16, {1, 2, 20, 32});
  CHECK(Fp8Disagreement(wide, device).find("O of fp8 operands is fp8, but for sm_100") != std::string::npos);
}

TEST_CASE("P1 P2 P3 P4 cudnn: dropout drops what Philox says in bf16 and f16") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  uint64_t served = 0;
  for (uint64_t seed = 8001; seed < 8081; ++seed) {
    CAPTURE(seed);
    AttentionCase call = test::SdpaMixture(seed).DrawDropout(seed % 2 == 0 ? SAGE_BF16 : SAGE_F16);
    const std::string text = Disagreement(call, device);
    if (text.find("cuDNN 9.19.0: ") != std::string::npos) continue;
    CHECK(text == "");
    ++served;
  }
  CHECK(served > 50);
}

TEST_CASE("P2 cudnn: a row that is made again drops the same weights") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  AttentionCase call(SAGE_BF16, {.batch = 2, .heads_q = 4, .heads_k = 2, .seq_q = 20, .seq_kv = 30, .dim_qk = 16}, 5);
  call.Causal(SAGE_ALIGN_TOP_LEFT).WithLse();
  call.attributes.dropout_p = 0.5;
  call[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2}).FillValues({99, 7});
  // Rows from 3 on would have it, those before made NaN of it, and those that drop key 3 do not.
  call.V().Set({0, 1, 3, 5}, kNan);
  CHECK(Disagreement(call, device) == "");
  uint64_t with = 0;
  for (int64_t i = 0; i < 20; ++i) with += std::isnan(call.O().At({0, 2, i, 5})) ? 1 : 0;
  CHECK(with > 2);
  CHECK(with < 15);
}

TEST_CASE("S19 cudnn: probabilities at the ends of what may be given") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  for (const double p : {0x1p-40, 0.999}) {
    AttentionCase call(SAGE_F16, {.batch = 1, .heads_q = 2, .heads_k = 2, .seq_q = 33, .seq_kv = 45, .dim_qk = 16}, 6);
    call.attributes.dropout_p = p;
    call[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2}).FillValues({3, 0});
    const std::string text = Disagreement(call, device);
    // A kept weight is 1000 times itself under the second, and so is its rounding.
    if (p < 0.5) CHECK(text == "");
    uint64_t zero = 0;
    for (const double value : call.O().Values()) zero += value == 0 ? 1 : 0;
    CHECK((p < 0.5 ? zero == 0 : zero > call.O().size() / 2));
  }
}

TEST_CASE("R19 cudnn: a mask beyond the bound is refused in a sentence and not made") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  // Rows that repeat would be refused; heads of a few elements are enough to be beyond 2 GiB.
  AttentionCase call(SAGE_BF16, {.batch = 4, .heads_q = 70, .heads_k = 1, .seq_q = 2048, .seq_kv = 2048, .dim_qk = 8},
                     1);
  call.attributes.dropout_p = 0.1;
  call[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2}).FillValues({3, 0});
  Move(&call);
  const test::RunResult result = call.Run(device);
  CHECK(result.status == SAGE_E_UNSUPPORTED);
  CHECK(result.message.find("more than 2 GiB") != std::string::npos);
}

}  // namespace sage::cudnn
