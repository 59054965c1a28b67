// test_attention_small.cc: the kernel for few keys, its own text, against the float64 oracle.
#include <doctest/doctest.h>

#include "attention_emulated.h"
#include "attention_mixtures.h"

namespace sage::test {
namespace {

bool Taken(AttentionCase& attention) {
  const cuda::AttentionArguments a = ArgumentsOf(attention);
  const auto crooked = [](const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 != 0; };
  return cuda::SmallRefusal(a) == nullptr && !crooked(a.k) && !crooked(a.v);
}

void CheckMixtures(sage_dtype dtype, uint64_t first, int taken) {
  for (uint64_t seed = first; taken > 0; ++seed) {
    REQUIRE(seed < first + 2000);
    CAPTURE(seed);
    AttentionCase attention = AttentionMixture(seed).Draw(dtype, 128, true);
    if (!Taken(attention)) continue;
    --taken;
    CHECK(EmulatedDisagreement(Kernel::kSmall, attention, seed) == "");
  }
}

TEST_CASE("P5 cuda small kernel: mixtures agree with the oracle in f32") { CheckMixtures(SAGE_F32, 1, 25); }
TEST_CASE("P5 cuda small kernel: mixtures agree with the oracle in bf16") { CheckMixtures(SAGE_BF16, 5001, 25); }
TEST_CASE("P5 cuda small kernel: mixtures agree with the oracle in f16") { CheckMixtures(SAGE_F16, 9001, 25); }

TEST_CASE("G7 P5 cuda small kernel: one query over 128 experts, 12 heads over 4") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F16, SAGE_BF16}) {
    AttentionCase attention(dtype, {.heads_q = 12, .heads_k = 4, .seq_q = 1, .seq_kv = 128, .dim_qk = 64}, 3);
    attention.WithLse();
    attention[SAGE_ATTN_WEIGHTS] = OwnedTensor(SAGE_F32, {1, 12, 1, 128}).Fill(7);
    attention[SAGE_ATTN_BIAS] = OwnedTensor(SAGE_F32, {1, 12, 1, 128}).FillNormal(5);
    CHECK(EmulatedDisagreement(Kernel::kSmall, attention, 1) == "");
    double sum = 0;
    for (uint64_t i = 0; i < 12 * 128; ++i) sum += attention[SAGE_ATTN_WEIGHTS].Get(i);
    CHECK(sum == doctest::Approx(12).epsilon(1e-5));
  }
}

TEST_CASE("G9 P5 cuda small kernel: sensors that look at each other") {
  AttentionCase attention(SAGE_F32, {.batch = 2, .heads_q = 4, .heads_k = 4, .seq_q = 8, .seq_kv = 8, .dim_qk = 32}, 3);
  attention[SAGE_ATTN_WEIGHTS] = OwnedTensor(SAGE_F32, {2, 4, 8, 8}).Fill(7);
  CHECK(EmulatedDisagreement(Kernel::kSmall, attention, 1) == "");
}

TEST_CASE("P5 cuda small kernel: as many keys and columns as it takes, and one more is refused") {
  for (const int64_t keys : {1023, 1024, 1025}) {
    AttentionCase attention(SAGE_BF16, {.heads_q = 8, .heads_k = 1, .seq_q = 2, .seq_kv = keys, .dim_qk = 128}, 3);
    CHECK(Taken(attention) == (keys <= 1024));
    if (keys <= 1024) CHECK(EmulatedDisagreement(Kernel::kSmall, attention, 1) == "");
  }
  AttentionCase wide(SAGE_BF16, {.seq_kv = 9, .dim_qk = 64, .dim_v = 136}, 3);
  CHECK_FALSE(Taken(wide));
  AttentionCase odd(SAGE_F32, {.seq_kv = 9, .dim_qk = 30}, 3);
  CHECK_FALSE(Taken(odd));
  AttentionCase exact(SAGE_F64, {.seq_kv = 9, .dim_qk = 32}, 3);
  CHECK_FALSE(Taken(exact));
}

TEST_CASE("P5 cuda small kernel: every order of threads gives the same bits") {
  AttentionCase first(SAGE_F32, {.heads_q = 6, .heads_k = 2, .seq_q = 5, .seq_kv = 200, .dim_qk = 64}, 11);
  first.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
  CHECK(EmulatedDisagreement(Kernel::kSmall, first, 1) == "");
  for (uint64_t seed = 2; seed <= 6; ++seed) {
    CAPTURE(seed);
    AttentionCase again = first;
    again.O().Fill(7), again[SAGE_ATTN_LSE].Fill(7);
    CHECK(RunEmulated(Kernel::kSmall, again, seed) == "");
    CHECK(again.O().bytes() == first.O().bytes());
    CHECK(again[SAGE_ATTN_LSE].bytes() == first[SAGE_ATTN_LSE].bytes());
  }
}

TEST_CASE("P5 cuda small kernel: launched early it reads nothing before the grid that makes it has ended") {
  AttentionCase on_time(SAGE_F32, {.heads_q = 6, .heads_k = 2, .seq_q = 2, .seq_kv = 100, .dim_qk = 64}, 11);
  on_time.Integers(SAGE_ATTN_SEQUSED_K, {1}, {90});
  AttentionCase late = on_time;
  CHECK(RunEmulated(Kernel::kSmall, on_time, 1) == "");
  // Everything it reads is still something else when it begins.
  const std::array<uint32_t, 4> inputs = {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_SEQUSED_K};
  for (const uint32_t slot : inputs) late[slot].Fill(slot == SAGE_ATTN_SEQUSED_K ? 1 : 7);
  CHECK(LaunchEmulated(Kernel::kSmall, ArgumentsOf(late), 1, true, [&] {
          for (const uint32_t slot : inputs)
            for (uint64_t i = 0; i < late[slot].size(); ++i) late[slot].Put(i, on_time[slot].Get(i));
        }) == "");
  CHECK(late.O().bytes() == on_time.O().bytes());
}

TEST_CASE("P5 cuda small kernel: NaN and Inf behind a key that is not seen touch nothing") {
  for (const double poison : {std::nan(""), HUGE_VAL}) {
    AttentionCase attention(SAGE_F32, {.heads_q = 2, .heads_k = 1, .seq_q = 3, .seq_kv = 40, .dim_qk = 32}, 5);
    attention.Integers(SAGE_ATTN_SEQUSED_K, {1}, {30});
    attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
    for (uint64_t d = 0; d < 32; ++d)
      for (const uint64_t key : {29, 35}) {  // past the diagonal of all but the last query; past the length
        attention.K().Put(key * 32 + d, poison);
        attention.V().Put(key * 32 + d, poison);
      }
    REQUIRE(Taken(attention));
    CHECK(RunEmulated(Kernel::kSmall, attention, 1) == "");
    for (uint64_t head = 0; head < 2; ++head)
      for (uint64_t row = 0; row < 2; ++row) CHECK(std::isfinite(attention.O().Get((head * 3 + row) * 32)));
  }
}

}  // namespace
}  // namespace sage::test
