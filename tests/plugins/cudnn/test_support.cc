// test_support.cc: the table of what is put to cuDNN: each rule by a call that breaks it and nothing else, and what two
// calls must differ in to need two plans.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "sdpa_testing.h"

namespace sage::cudnn {
namespace {

using cuda::AttentionArguments;
using cuda::AttentionType;

// A call, changed, is refused with these words.
struct Broken {
  const char* words;
  std::function<void(AttentionArguments&)> change;
  uint64_t features = 0;
  Installed installed = kH200;
};

}  // namespace

TEST_CASE("P12 cudnn: every rule refuses the call that breaks it in a sentence with the version") {
  const std::vector<Broken> all = {
      {"no masks but causal", [](auto&) {}, SAGE_ATTN_F_BOOL_MASK},
      {"no masks but causal", [](auto&) {}, SAGE_ATTN_F_BIT_MASK},
      {"no masks but causal", [](auto&) {}, SAGE_ATTN_F_BLOCK_MASK},
      {"no masks but causal", [](auto&) {}, SAGE_ATTN_F_CSR_MASK},
      {"Philox", [](auto&) {}, SAGE_ATTN_F_DROPOUT},
      {"WEIGHTS and SCORES", [](auto&) {}, SAGE_ATTN_F_WEIGHTS_OUT},
      {"WEIGHTS and SCORES", [](auto&) {}, SAGE_ATTN_F_SCORES_OUT},
      {"does not append", [](auto&) {}, SAGE_ATTN_F_APPEND_KV},
      {"as many heads of V as of K", [](auto&) {}, SAGE_ATTN_F_HV_DIFFERS},
      {"quantised", [](auto&) {}, SAGE_ATTN_F_QUANT_SCALES},
      {"newer than this backend", [](auto&) {}, 1ull << 40},
      {"f16 and bf16", [](auto& a) { a.type = AttentionType::kF32; }},
      {"f16 and bf16", [](auto& a) { a.type = AttentionType::kF64; }},
      {"without elements", [](auto& a) { a.seq_kv = 0; }},
      {"without elements", [](auto& a) { a.batch = 0; }},
      {"a single key", [](auto& a) { a = PlainCall(128, 1, 1); }},
      {"multiples of 8", [](auto& a) { a = PlainCall(100); }},
      {"multiples of 8", [](auto& a) { a.dim_v = 60; }},
      {"2^24", [](auto& a) { a.seq_kv = (1 << 24) + 1; }},
      {"no pages", [](auto& a) { a = Paged(a), a.pages = 0; }},
      {"up to 256", [](auto& a) { a = PlainCall(264); }},
      {"of one query", [](auto& a) { a = PlainCall(192, 1); }, 0, {91900, 80}},
      {"of one query", [](auto& a) { a = PlainCall(192, 1); }, 0, {91900, 100}},
      {"contiguous", [](auto& a) { a.k_strides.column = 2; }},
      {"contiguous", [](auto& a) { a.o_strides.column = 3; }},
      {"16 bytes", [](auto& a) { a.q_strides.row = 132; }},
      {"16 bytes", [](auto& a) { a.v_strides.head = 1 << 20 | 4; }},
      {"no axis repeat", [](auto& a) { a.k_strides.batch = 0; }},
      {"positive", [](auto& a) { a.k_strides.row = -128; }},
      {"f32 or of Q's dtype",
       [](auto& a) {
         a.bias = Somewhere(), a.bias_type = AttentionType::kF16, a.bias_strides = {0, 0, 1024, 1};
       }},
      {"a row of its own",
       [](auto& a) {
         a.bias = Somewhere(), a.bias_type = AttentionType::kF32, a.bias_strides = {0, 0, 0, 1};
       }},
      {"strides of BIAS",
       [](auto& a) {
         a.bias = Somewhere(), a.bias_type = AttentionType::kF32, a.bias_strides = {0, 0, 1025, 1};
       }},
      {"strides of BIAS",
       [](auto& a) {
         a.bias = Somewhere(), a.bias_type = AttentionType::kF32, a.bias_strides = {0, -4096, 1024, 1};
       }},
      {"ALIBI must be contiguous", [](auto& a) { a.alibi = Somewhere(), a.alibi_stride = 2, a.causal = true; }},
      {"SINKS must be contiguous", [](auto& a) { a.sinks = Somewhere(), a.sinks_stride = 0; }},
      {"under a causal mask only", [](auto& a) { a.alibi = Somewhere(); }},
      {"not combined with BIAS or ALiBi", [](auto& a) { a.alibi = Somewhere(), a.causal = a.bottom_right = true; }},
      {"not combined with BIAS or ALiBi",
       [](auto& a) {
         a.bias = Somewhere(), a.bias_type = AttentionType::kF32, a.bias_strides = {0, 0, 1024, 1};
         a.causal = a.bottom_right = true;
       }},
      {"no more queries than keys", [](auto& a) { a = PlainCall(128, 600, 500), a.causal = a.bottom_right = true; }},
      {"a window needs no more queries", [](auto& a) { a = PlainCall(128, 600, 500), a.window_left = 5; }},
      {"9.18.1", [](auto& a) { a = Packed(a); }, 0, {91800, 80}},
      {"SINKS are not taken with one query", [](auto& a) { a = PlainCall(128, 1), a.sinks = Somewhere(); }},
      {"one query under a mask", [](auto& a) { a = PlainCall(128, 1), a.causal = true; }},
      {"one query under a mask", [](auto& a) { a = PlainCall(128, 1), a.window_left = 100, a.bottom_right = true; }},
      {"9.14", [](auto& a) { a = PlainCall(128, 512, 2048), a.window_left = 5, a.window_right = 5; }, 0, {91400, 90}},
  };
  for (const Broken& broken : all) {
    CAPTURE(broken.words);
    AttentionArguments a = PlainCall();
    broken.change(a);
    const std::string said = Refusal(a, broken.features, broken.installed);
    CAPTURE(said);
    CHECK(said.find(broken.words) != std::string::npos);
    CHECK(said.starts_with("cuDNN " + VersionText(broken.installed.version) + ": "));
  }
}

TEST_CASE("P2 P4 P7 cudnn: what breaks no rule is described") {
  AttentionArguments a = PlainCall();
  CHECK(Refusal(a, SAGE_ATTN_F_GQA | SAGE_ATTN_F_SCALE) == "");
  a.causal = true;
  CHECK(Refusal(a) == "");
  a.bottom_right = true, a.window_left = 100, a.lse = Somewhere(), a.softcap = 20, a.sinks = Somewhere();
  CHECK(Refusal(a) == "");
  CHECK(Refusal(Packed(a)) == "");
  CHECK(Refusal(Packed(a), 0, {91801, 80}) == "");
  CHECK(Refusal(Paged(a)) == "");
  a = PlainCall(192), a.dim_v = 128, a.v_strides = {8 * 1024 * 128, 1024 * 128, 128, 1};
  CHECK(Refusal(a, SAGE_ATTN_F_DV_DIFFERS, {91900, 100}) == "");
  CHECK(Refusal(PlainCall(256, 1)) == "");
  // More queries than keys: fine where positions count from the first, and where lengths are data.
  a = PlainCall(128, 600, 500), a.causal = true;
  CHECK(Refusal(a) == "");
  a.bottom_right = true, a.seqused_k = Somewhere();
  CHECK(Refusal(a) == "");
}

TEST_CASE("P2 cudnn: one query that counts from the end is put without its causal mask") {
  AttentionArguments a = PlainCall(128, 1);
  a.causal = a.bottom_right = true;
  CHECK(Refusal(a) == "");
  CHECK_FALSE(Described(a).banded());
  CHECK(Described(a) == Described(PlainCall(128, 1)));
  a.causal = false, a.window_right = 3;
  CHECK_FALSE(Described(a).banded());
}

TEST_CASE("R19 cudnn: a window that reaches every key is none") {
  AttentionArguments a = PlainCall();
  a.window_left = 1024, a.window_right = int64_t{1} << 40, a.bottom_right = true;
  CHECK(Described(a) == Described(PlainCall()));
  a.window_left = 1023;
  CHECK(Described(a).window_left == 1023);
}

TEST_CASE("P7 cudnn: one plan serves all longest sequences up to a power of two") {
  const auto packed = [](int32_t longest) {
    AttentionArguments a = Packed(PlainCall());
    a.seq_q = a.seq_kv = longest;
    return Described(a);
  };
  CHECK(packed(513) == packed(1000));
  CHECK(packed(1024) == packed(1000));
  CHECK(packed(1025) != packed(1000));
  CHECK(packed(1).seq_q == 1);
  const auto paged = [](int32_t keys) {
    AttentionArguments a = Paged(PlainCall(128, 1, keys));
    return Described(a);
  };
  CHECK(paged(1040) == paged(2048));
  CHECK(paged(1024) != paged(2048));
  CHECK(paged(1040).table_columns * 16 == 2048);
  AttentionArguments biased = Paged(PlainCall(128, 16, 1040));
  biased.bias = Somewhere(), biased.bias_type = AttentionType::kF32, biased.bias_strides = {0, 0, 1040, 1};
  CHECK(Described(biased).seq_kv == 1040);  // BIAS ends there
  // What is not told by data is told by the plan.
  CHECK(Described(PlainCall(128, 1000)) != Described(PlainCall(128, 1001)));
}

TEST_CASE("P12 cudnn: calls that differ in what a plan hangs on are other plans") {
  const std::vector<std::function<void(AttentionArguments&)>> changes = {
      [](auto& a) { a.type = AttentionType::kF16; },
      [](auto& a) { a.batch = 3; },
      [](auto& a) { a.heads_q = 16; },
      [](auto& a) { a.seq_q = 511; },
      [](auto& a) { a.seq_kv = 1023; },
      [](auto& a) { a.dim_v = 64; },
      [](auto& a) { a.q_strides.row += 8; },
      [](auto& a) { a.q_strides.head += 8; },
      [](auto& a) { a.q_strides.batch += 8; },
      [](auto& a) { a.k_strides.row += 8; },
      [](auto& a) { a.v_strides.head += 8; },
      [](auto& a) { a.o_strides.batch += 8; },
      [](auto& a) { a.causal = true; },
      [](auto& a) { a.causal = a.bottom_right = true; },
      [](auto& a) { a.window_left = 7; },
      [](auto& a) { a.window_left = 8; },
      [](auto& a) { a.window_right = 7; },
      [](auto& a) { a.seqused_k = Somewhere(); },
      [](auto& a) { a.lse = Somewhere(); },
      [](auto& a) { a.softcap = 3; },
      [](auto& a) { a.sinks = Somewhere(); },
      [](auto& a) { a.causal = true, a.alibi = Somewhere(); },
      [](auto& a) {
        a.bias = Somewhere(), a.bias_type = AttentionType::kF32, a.bias_strides = {0, 0, 1024, 1};
      },
      [](auto& a) {
        a.bias = Somewhere(), a.bias_type = AttentionType::kBf16, a.bias_strides = {0, 0, 1024, 1};
      },
      [](auto& a) {
        a.bias = Somewhere(), a.bias_type = AttentionType::kF32, a.bias_strides = {0, 0, 1028, 1};
      },
      [](auto& a) {
        a.bias = Somewhere(), a.bias_type = AttentionType::kF32, a.bias_strides = {0, 1024 * 512, 1024, 1};
      },
      [](auto& a) { a = Packed(a); },
      [](auto& a) { a = Packed(a), a.cu_seqlens_k = nullptr, a.k_strides = PlainCall().k_strides; },
      [](auto& a) { a = Paged(a); },
      [](auto& a) { a = Paged(a, 5); },
      [](auto& a) { a = Paged(a), a.pages = 300; },
  };
  std::vector<Sdpa> all{Described(PlainCall())};
  for (const auto& change : changes) {
    AttentionArguments a = PlainCall();
    change(a);
    all.push_back(Described(a));
  }
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      CAPTURE(i);
      CAPTURE(j);
      CHECK(all[i] != all[j]);
      CHECK(TextOf(all[i]) != TextOf(all[j]));
    }
  // Numbers that a run binds are none of it, and neither are strides of axes that are not walked.
  AttentionArguments a = PlainCall();
  a.scale = 3;
  CHECK(Described(a) == all[0]);
  AttentionArguments single = PlainCall(128, 1), other = single;
  single.batch = other.batch = 1;
  single.q_strides.batch = 0, single.q_strides.row = 8;
  CHECK(Described(single) == Described(other));
}

TEST_CASE("P4 cudnn: LSE is put where the caller has it only where cuDNN can write it there") {
  AttentionArguments a = PlainCall();
  a.lse = Somewhere();
  a.lse_strides = {32 * 512, 512, 1, 0};
  CHECK(StatisticsInPlace(a));
  a.lse_strides = {32 * 512, 1, 32, 0};
  CHECK_FALSE(StatisticsInPlace(a));
  a = Packed(a), a.lse_strides = {0, 1024, 1, 0};
  CHECK_FALSE(StatisticsInPlace(a));
}

}  // namespace sage::cudnn
