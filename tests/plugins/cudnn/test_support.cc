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
      {"dropout needs PHILOX", [](auto&) {}, SAGE_ATTN_F_DROPOUT},
      {"WEIGHTS and SCORES", [](auto&) {}, SAGE_ATTN_F_WEIGHTS_OUT},
      {"WEIGHTS and SCORES", [](auto&) {}, SAGE_ATTN_F_SCORES_OUT},
      {"does not append", [](auto&) {}, SAGE_ATTN_F_APPEND_KV},
      {"as many heads of V as of K", [](auto&) {}, SAGE_ATTN_F_HV_DIFFERS},
      {"scales belong to operands of fp8", [](auto&) {}, SAGE_ATTN_F_QUANT_SCALES},
      {"newer than this backend", [](auto&) {}, 1ull << 40},
      {"f16, bf16 and fp8", [](auto& a) { a.type = AttentionType::kF32; }},
      {"f16, bf16 and fp8", [](auto& a) { a.type = AttentionType::kF64; }},
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

TEST_CASE("P12 S15 cudnn: every rule of fp8 refuses the call that breaks it") {
  constexpr Installed kB200 = {91900, 100}, kThor = {91900, 110}, kRtx5090 = {91900, 120}, kRtx4090 = {91900, 89};
  const auto biased = [](auto& a) {
    a.bias = Somewhere(), a.bias_type = AttentionType::kF32, a.bias_strides = {0, 0, 1024, 1};
  };
  const auto latent = [](auto& a) {
    a = Fp8Call(192), a.dim_v = 128, a.v_strides = {8 * 1024 * 128, 1024 * 128, 128, 1};
  };
  const std::vector<Broken> all = {
      {"from sm_90 on", [](auto&) {}, 0, kRtx4090},
      {"from sm_90 on", [](auto&) {}, 0, {91900, 80}},
      {"multiples of 16", [](auto& a) { a = Fp8Call(72); }},
      {"multiples of 16", [](auto& a) { a.dim_v = 24; }},
      {"16 bytes", [](auto& a) { a.q_strides.row = 136; }},
      {"up to 256", [](auto& a) { a = Fp8Call(272); }},
      {"up to 128", [](auto& a) { a = Fp8Call(256); }, 0, kB200},
      {"up to 128", [](auto& a) { a = Fp8Call(144); }, 0, kRtx5090},
      {"from 9.19 on", latent, 0, {91801, 100}},
      {"up to 128", latent, 0, kRtx5090},
      {"TOP_LEFT", [](auto& a) { a.causal = a.bottom_right = true; }},
      {"TOP_LEFT", [](auto& a) { a.window_left = 9, a.bottom_right = true; }},
      {"no packed sequences", [](auto& a) { a = Packed(a); }, 0, kRtx5090},
      {"BIAS is not added", biased},
      {"BIAS is not added", biased, 0, kB200},
      {"SINKS with fp8", [](auto& a) { a.sinks = Somewhere(); }},
      {"SINKS with fp8", [&](auto& a) { latent(a), a.sinks = Somewhere(); }, 0, kThor},
      {"one query of fp8", [](auto& a) { a = Fp8Call(128, 1); }},
      {"one query of fp8", [](auto& a) { a = Fp8Call(128, 1); }, 0, kB200},
  };
  for (const Broken& broken : all) {
    CAPTURE(broken.words);
    AttentionArguments a = Fp8Call();
    broken.change(a);
    const std::string said = Refusal(a, broken.features, broken.installed, Fp8Extras());
    CAPTURE(said);
    CHECK(said.find(broken.words) != std::string::npos);
    CHECK(said.starts_with("cuDNN " + VersionText(broken.installed.version) + ": "));
  }
  const auto with_o = [](AttentionType o_type, Installed installed) {
    return Refusal(Fp8Call(), SAGE_ATTN_F_QUANT_SCALES, installed, Fp8Extras(o_type));
  };
  CHECK(with_o(AttentionType::kBf16, kH200).find("but for sm_100") != std::string::npos);
  CHECK(with_o(AttentionType::kBf16, kRtx5090).find("but for sm_100") != std::string::npos);
  CHECK(with_o(AttentionType::kF32, kB200).find("f16 or bf16") != std::string::npos);
  CHECK(with_o(AttentionType::kF64, kB200).find("f64") != std::string::npos);
  for (const Installed installed : {kB200, kThor})
    for (const AttentionType o_type : {AttentionType::kF8E4m3fn, AttentionType::kBf16, AttentionType::kF16})
      CHECK(with_o(o_type, installed) == "");
  for (const Installed installed : {kH200, kB200, kThor, kRtx5090}) CHECK(with_o(Fp8Call().type, installed) == "");
  cuda::AttentionExtras finer = Fp8Extras();
  finer.finer_scales = true;
  CHECK(Refusal(Fp8Call(), SAGE_ATTN_F_QUANT_SCALES, kH200, finer).find("PER_TENSOR") != std::string::npos);
  // And what is no rule of theirs: masks by positions, lengths, pages, packed rows, long heads.
  AttentionArguments a = Fp8Call(256);
  a.causal = true, a.window_left = 50, a.softcap = 3, a.lse = Somewhere();
  CHECK(Refusal(a, 0, kH200, Fp8Extras()) == "");
  CHECK(Refusal(Packed(a), 0, kH200, Fp8Extras()) == "");
  CHECK(Refusal(Paged(a), 0, kH200, Fp8Extras()) == "");
  a = Fp8Call(), a.causal = a.bottom_right = true;
  CHECK(Refusal(a, 0, kB200, Fp8Extras()) == "");
  latent(a);
  CHECK(Refusal(a, 0, kB200, Fp8Extras()) == "");
  a = Fp8Call(), a.sinks = Somewhere();
  CHECK(Refusal(a, 0, kB200, Fp8Extras()) == "");
}

TEST_CASE("P12 cudnn: every rule of dropout refuses the call that breaks it") {
  const std::vector<Broken> all = {
      {"over fp8", [](auto& a) { a = Fp8Call(); }},
      {"packed sequences", [](auto& a) { a = Packed(a); }},
      {"over pages", [](auto& a) { a = Paged(a); }},
      {"with one query", [](auto& a) { a = PlainCall(128, 1); }},
      {"BOTTOM_RIGHT", [](auto& a) { a.causal = a.bottom_right = true; }},
      {"2 GiB", [](auto& a) { a = PlainCall(128, 4096, 4104); }},
      {"2 GiB", [](auto& a) { a = PlainCall(128, 1 << 24, 1 << 24), a.batch = 1 << 20; }},
  };
  for (const Broken& broken : all) {
    CAPTURE(broken.words);
    AttentionArguments a = PlainCall();
    broken.change(a);
    cuda::AttentionExtras extras = Dropout();
    extras.o_type = a.type;
    const std::string said = Refusal(a, SAGE_ATTN_F_DROPOUT, kH200, extras);
    CAPTURE(said);
    CHECK(said.find(broken.words) != std::string::npos);
  }
  AttentionArguments a = PlainCall();
  a.causal = true, a.window_left = 9, a.seqused_k = Somewhere(), a.sinks = Somewhere(), a.softcap = 3;
  CHECK(Refusal(a, SAGE_ATTN_F_DROPOUT, kH200, Dropout()) == "");
  CHECK(Refusal(a, SAGE_ATTN_F_DROPOUT, {91900, 80}, Dropout()) == "");
  CHECK(Refusal(PlainCall(128, 4096, 4096), SAGE_ATTN_F_DROPOUT, kH200, Dropout()) == "");
}

TEST_CASE("P12 cudnn: fp8 and dropout are other plans") {
  AttentionArguments e5m2 = Fp8Call();
  e5m2.type = AttentionType::kF8E5m2;
  constexpr Installed kB200 = {91900, 100};
  const Sdpa all[] = {Described(PlainCall()),
                      Described(PlainCall(), kH200, Dropout()),
                      Described(Fp8Call(), kB200, Fp8Extras()),
                      Described(Fp8Call(), kB200, Fp8Extras(AttentionType::kBf16)),
                      Described(Fp8Call(), kB200, Fp8Extras(AttentionType::kF16)),
                      Described(e5m2, kB200, Fp8Extras(AttentionType::kF8E5m2))};
  for (size_t i = 0; i < std::size(all); ++i)
    for (size_t j = 0; j < i; ++j) {
      CHECK(all[i] != all[j]);
      CHECK(TextOf(all[i]) != TextOf(all[j]));
    }
  // Scales and the seed are numbers that a run binds.
  cuda::AttentionExtras scaled = Fp8Extras();
  scaled.scale_q = scaled.scale_o = reinterpret_cast<const float*>(Somewhere());
  CHECK(Described(Fp8Call(), kB200, scaled) == all[2]);
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

TEST_CASE("P12 cudnn: the unified op is for what it can say") {
  CHECK(UnifiedHas(Described(PlainCall()), 91301));
  CHECK_FALSE(UnifiedHas(Described(PlainCall()), 91300));
  CHECK(UnifiedHas(Described(Paged(PlainCall())), 91500));
  CHECK_FALSE(UnifiedHas(Described(Paged(PlainCall())), 91499));
  const std::vector<std::function<void(Sdpa&)>> changes = {
      [](Sdpa& s) { s.causal = true; }, [](Sdpa& s) { s.window_left = 3; }, [](Sdpa& s) { s.window_right = 0; },
      [](Sdpa& s) { s.bias = true; },   [](Sdpa& s) { s.alibi = true; },    [](Sdpa& s) { s.softcap = true; },
      [](Sdpa& s) { s.sinks = true; },  [](Sdpa& s) { s.dropout = true; },  [](Sdpa& s) { s.type = kFp8E4M3; },
  };
  for (const auto& change : changes) {
    Sdpa sdpa = Described(PlainCall());
    change(sdpa);
    CHECK_FALSE(UnifiedHas(sdpa, 91900));
  }
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
