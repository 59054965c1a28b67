// The problem string: what is printed reads back as the same problem, and what cannot be read is refused by name.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "plan/elements.h"
#include "plan/problem.h"
#include "sage/support/check_op.h"

namespace {

using sage::ParseProblem;
using sage::ProblemString;

constexpr uint64_t kBudget = 1ull << 28;

// One line in the order in which the printer writes, made from coin flips; some are refused by CheckOp.
std::string RandomLine(std::mt19937& generator) {
  const auto rng = [&generator] { return static_cast<unsigned>(generator()); };
  const auto coin = [&rng](unsigned n) { return rng() % n == 0; };
  const auto pick = [&rng](std::initializer_list<const char*> words) {
    return std::string(words.begin()[rng() % words.size()]);
  };
  const auto number = [&rng](unsigned low, unsigned high) { return std::to_string(low + rng() % (high - low + 1)); };
  const bool varlen = coin(4), paged = coin(4);
  const unsigned heads_kv = 1 + rng() % 3, heads = heads_kv * (1 + rng() % 3), dim = 1 + rng() % 40;
  const unsigned page = 1 + rng() % 7, seq_q = rng() % 41;
  const unsigned seq_kv = paged ? page * (1 + rng() % 6) : 1 + rng() % 50;
  const std::string dtype = pick({"f64", "f32", "f16", "bf16", "i8"});
  std::string line = "b" + number(1, 3) + ".hq" + std::to_string(heads) + ".hkv" + std::to_string(heads_kv);
  if (coin(5) && heads_kv != 1) line += ".hv1";
  line += ".sq" + std::to_string(seq_q) + ".skv" + std::to_string(seq_kv) + ".d" + std::to_string(dim);
  if (coin(4)) line += ".dv" + std::to_string(dim + 1 + rng() % 9);
  line += "." + dtype;
  std::string options;
  const auto add = [&options](const std::string& option) { options += (options.empty() ? ":" : ",") + option; };
  if (dtype == "f32" && coin(5)) add("kv=" + pick({"f16", "bf16"}));
  if (dtype == "i8" && coin(2)) add("o=f32");
  if (coin(6) && heads > 1 && seq_q > 1 && !varlen) add("layout=" + pick({"bshd", "strided"}));
  if (coin(3)) add("scale=" + pick({"0", "0.125", "0.1", "-2.5e-05"}));
  if (coin(5)) add("softcap=" + pick({"50", "0.5"}));
  const bool causal = coin(2), window = coin(3), alibi = coin(4);
  const std::string alignment = pick({"tl", "br"});
  if (causal) add("causal=" + alignment);
  if (!causal && (window || alibi)) add("align=" + alignment);
  if (window) add("window=" + pick({"0", "7", "3:2", "*:0", "*:5"}));
  if (alibi) add("alibi");
  if (coin(5)) add("sinks");
  if (!varlen) {
    if (coin(4)) add("bias=" + pick({"bhqk", "bhqk"}));
    if (coin(5)) add("mask=" + pick({"bhqk", "bhqk"}));
    if (coin(6)) add("bitmask=" + pick({"bhqk"}));
    if (coin(6)) {
      add("blockmask=16x8/bh");
    } else if (coin(6)) {
      add("csr=4x4/bh/" + number(0, 30));
    }
  }
  if (varlen) add("varlen");
  if (varlen && coin(3)) add("maxq=40");
  if (varlen && !paged && coin(3)) add("maxkv=50");
  if (coin(4)) add("qlens");
  const bool append = coin(5) && dtype != "i8";
  if (!append && coin(3)) add("kvlens");
  if (paged) add("page=" + std::to_string(page));
  if (paged && coin(4)) add("pages=64");
  if (append) add(varlen ? "append" : "append=" + number(0, 1));
  if (!varlen && coin(8)) add("dropout=0.25");
  if (coin(6)) add("scale_q=" + pick({"tensor", "head", "token", "channel"}));
  if (coin(6)) add("scale_k=" + pick({"tensor", "head", "channel"}));
  const bool block = !varlen && coin(8);
  if (block) add("scale_v=block"), add("scale_block=4");
  if (coin(3)) add("lse");
  if (!varlen && coin(6)) add("weights");
  if (!varlen && coin(6)) add("scores");
  if (coin(4)) add("algorithm=" + pick({"materialised", "flash"}));
  if (coin(5)) add("block=" + pick({"16x32", "0x64", "32x0"}));
  if (coin(6)) add("accuracy=" + pick({"exact", "native", "lossy"}));
  if (coin(5)) add("deterministic");
  if (coin(9)) add("scalar");
  if (coin(6)) add("dynamic=" + pick({"b", "sq", "b+skv", "sq+skv"}));
  return line + options;
}

TEST_CASE("a problem printed and parsed is the same problem, over 3000 seeded lines") {
  std::mt19937 rng(20261);
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string line = RandomLine(rng);
    CAPTURE(line);
    auto problem = ParseProblem(line);
    if (!problem.ok()) {
      CHECK(problem.status().message().rfind("problem: ", 0) == 0);
      continue;
    }
    ++accepted;
    CHECK(ProblemString((*problem)->op) == line);
    if (i % 5 != 0) continue;
    // Data that the rules of a run accept.
    sage::ProblemData data;
    (*problem)->seed = static_cast<uint64_t>(i);
    const sage::Status filled = sage::MakeProblemTensors(problem->get(), kBudget, &data);
    if (!filled.ok()) {
      CHECK(filled.message().rfind("problem: ", 0) == 0);
      continue;
    }
    sage::support::OpView view;
    std::string why;
    uint64_t features = 0;
    const char* reason = "";
    REQUIRE(sage::support::TakeInOp(&(*problem)->op, &view, &why) == SAGE_OK);
    REQUIRE(sage::support::DeriveAttentionFeatures(view, &features, &why) == SAGE_OK);
    CHECK(sage::support::CheckRunSlots(view, view.op.slots, view.op.num_slots, &reason) == SAGE_OK);
    const sage_status status = sage::support::CheckAttentionIndices(view.attributes.attention, features, view.op.slots,
                                                                    view.op.num_slots, &reason);
    CAPTURE(reason);
    CHECK(status == SAGE_OK);
  }
  CHECK(accepted > 2000);
}

TEST_CASE("problem strings of plain kinds read back") {
  for (const char* line : {
           "linear X=f32[128,768] W=f32[768,768]! Y=f32[128,768]:act=gelu",
           "linear X=f32[2,3,8] W=bf16[5,8] B=f32[5] Y=f16[2,3,5]:accuracy=native,dynamic=m",
           "linear X=i8[4,8] W=i8[5,8] Y=f32[4,5]",
           "matmul A=f64[2,3,4] B=f64[2,4,5]@[20,1,4] C=f64[2,3,5]",
           "norm X=f32[2,16] GAMMA=f32[16] Y=f32[2,16]:mode=rms,axis=1,epsilon=1e-05",
           "unary X=f32[3] Y=f32[3]:fn=elu,alpha=0.5",
           "unary X=f32[] Y=i8[]",
           "binary A=f32[2,3]@[0,1] B=f32[2,3] Y=f32[2,3]:fn=mul",
           "softmax X=f32[2,3] Y=f32[2,3]:axis=1",
           "reduce X=f32[2,3] Y=f32[2]:fn=mean,axes=2",
           "gather X=f32[9,4] INDICES=i64[3] Y=f32[3,4]",
           "concat Y=f32[5,2] X=f32[2,2] X=f32[3,2]",
           "slice X=f32[9,4] Y=f32[3,4]:begin=8x0,step=-2x0",
           "permute X=f32[2,3,4] Y=f32[4,2,3]:axes=2x0x1",
           "topk X=f32[2,9] VALUES=f32[2,3] INDICES=i32[2,3]:axis=1,smallest=1",
           "rope X=f32[1,2,3,8] POSITIONS=i32[1,3] Y=f32[1,2,3,8]:style=halves,rotary=4",
           "pool X=f32[2,9,4] MASK=bool[2,9] Y=f32[2,4,4]:fn=mean,window=3,stride=2,scalar",
       }) {
    CAPTURE(line);
    auto problem = ParseProblem(line);
    if (!problem.ok()) FAIL_CHECK(problem.status().message());
    if (!problem.ok()) continue;
    CHECK(ProblemString((*problem)->op) == line);
    sage::ProblemData data;
    CHECK(sage::MakeProblemTensors(problem->get(), kBudget, &data).ok());
  }
}

TEST_CASE("defaults: kv sizes follow the queries, batch is 1") {
  auto problem = ParseProblem("hq8.sq16.d64.f32:seed=5");
  REQUIRE(problem.ok());
  CHECK(ProblemString((*problem)->op) == "b1.hq8.hkv8.sq16.skv16.d64.f32");
  CHECK((*problem)->seed == 5);
}

TEST_CASE("a bad line names its bad token") {
  const struct {
    const char *line, *named;
  } cases[] = {
      {"", "expected"},
      {"hq8.sq16.d64", "dtype"},
      {"hq8.sq16.d64.f31", "'f31'"},
      {"hq8.sq1x.d64.f32", "'sq1x'"},
      {"hq8.hq8.sq1.d64.f32", "'hq8'"},
      {"hq8.sq99999999999999.d64.f32", "'sq99999999999999'"},
      {"hq8.sq99999999999999999999999.d64.f32", "'sq99999999999999999999999'"},
      {"hq8.sq1.d0.f32", "needs d with the head dimension"},
      {"hq0.sq1.d1.f32", "hq"},
      {"hq8.hkv3.sq1.d1.f32", "multiple"},
      {"hq8.sq1.d1.f32:causal", "'causal'"},
      {"hq8.sq1.d1.f32:causal=up", "'causal=up'"},
      {"hq8.sq1.d1.f32:causal=tl,align=br", "'align=br'"},
      {"hq8.sq1.d1.f32:window=3", "alignment"},
      {"hq8.sq1.d1.f32:causal=tl,causal=tl", "'causal=tl'"},
      {"hq8.sq1.d1.f32:softcap=nan", "softcap"},
      {"hq8.sq1.d1.f32:softcap=-1", "softcap"},
      {"hq8.sq1.d1.f32:dropout=1", "dropout_p"},
      {"hq8.sq1.d1.f32:lse=1", "'lse=1'"},
      {"hq8.sq1.d1.f32:frobnicate", "'frobnicate'"},
      {"hq8.sq1.d1.f32:", "''"},
      {"hq8.sq1.d1.f32:mask=bhq", "'mask=bhq'"},
      {"hq8.sq1.d1.f32:csr=0x4", "'csr=0x4'"},
      {"hq8.sq4.d1.f32:page=3", "'page=3'"},
      {"hq8.sq4.d1.f32:varlen,mask", "VARLEN"},
      {"hq8.sq4.d1.f32:block=99999x4", "block_q"},
      {"hq1000000.sq1000000.skv1000000000.d1000000.f32", "2^"},
      {"softmax X=f32[2,3] Y=f32[2,3]:axis=7", "axis 7"},
      {"softmax X=f32[2,3] Y=f32[2,3]:axis=1,axis=0", "'axis=0'"},
      {"softmax X=f32[2,3] Z=f32[2,3]", "'Z=f32[2,3]'"},
      {"softmax X=f32[2,3 Y=f32[2,3]", "'X=f32[2,3'"},
      {"softmax X=f32[1,1,1,1,1,1,1,1,1]", "8 numbers"},
      {"concat", "CONCAT needs"},
      {"binary A=f32[2] B=f32[2] Y=f32[2]:fn=pow", "fn=pow"},
  };
  for (const auto& [line, named] : cases) {
    CAPTURE(line);
    auto problem = ParseProblem(line);
    CHECK_FALSE(problem.ok());
    if (problem.ok()) continue;
    CAPTURE(problem.status().message());
    CHECK(problem.status().message().find(named) != std::string::npos);
  }
}

TEST_CASE("no mutation of a line crashes the parser") {
  const std::string line = "b2.hq4.hkv2.sq3.skv8.d4.f32:causal=br,window=3:2,csr=2x2/1h/7,page=4,scale_q=token/1";
  std::mt19937 rng(7);
  for (size_t i = 0; i <= line.size(); ++i) (void)ParseProblem(line.substr(0, i));
  for (int i = 0; i < 20000; ++i) {
    std::string mutated = line;
    for (unsigned k = 0; k <= rng() % 3; ++k) mutated[rng() % mutated.size()] = static_cast<char>(rng() % 256);
    if (auto problem = ParseProblem(mutated); problem.ok()) (void)ProblemString((*problem)->op);
  }
}

TEST_CASE("the same line gives the same bytes, another seed gives others, and the budget holds") {
  const char* line = "b2.hq4.hkv2.sq9.skv16.d8.bf16:layout=strided,causal=br,page=4,append=2,lse";
  auto a = ParseProblem(line), b = ParseProblem(line), c = ParseProblem(std::string(line) + ",seed=1");
  REQUIRE((a.ok() && b.ok() && c.ok()));
  sage::ProblemData da, db, dc;
  REQUIRE(sage::MakeProblemTensors(a->get(), kBudget, &da).ok());
  REQUIRE(sage::MakeProblemTensors(b->get(), kBudget, &db).ok());
  REQUIRE(sage::MakeProblemTensors(c->get(), kBudget, &dc).ok());
  CHECK(da.buffers == db.buffers);
  CHECK(da.buffers != dc.buffers);
  CHECK(sage::MakeProblemTensors(a->get(), 1000, &da).code() == SAGE_E_OUT_OF_MEMORY);
}

TEST_CASE("features follow from slots and numbers, and contradictions are refused") {
  auto problem = ParseProblem("b1.hq4.hkv2.hv1.sq8.skv8.d4.dv6.f32:causal=br,mask=bhqk,sinks,softcap=3,lse");
  REQUIRE(problem.ok());
  uint64_t features = 0;
  REQUIRE(sage::AttentionFeatures((*problem)->op, &features).ok());
  CHECK(features ==
        (SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT | SAGE_ATTN_F_BOOL_MASK | SAGE_ATTN_F_SOFTCAP |
         SAGE_ATTN_F_SINKS | SAGE_ATTN_F_LSE | SAGE_ATTN_F_DV_DIFFERS | SAGE_ATTN_F_HV_DIFFERS));
  // A plugin sees all bits; giving them back changes nothing.
  (*problem)->attributes.attention.features = features;
  uint64_t again = 0;
  REQUIRE(sage::AttentionFeatures((*problem)->op, &again).ok());
  CHECK(again == features);
  (*problem)->attributes.attention.features = features | SAGE_ATTN_F_ALIBI;
  CHECK(sage::AttentionFeatures((*problem)->op, &again).code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(ProblemString((*problem)->op).rfind("malformed attention: ", 0) == 0);
}

TEST_CASE("elements: known bit patterns, round to nearest even, saturation, every 16-bit value round trips") {
  const struct {
    sage_dtype dtype;
    double value;
    uint32_t bits;
  } known[] = {{SAGE_F16, 1.0, 0x3c00},
               {SAGE_F16, 65504, 0x7bff},
               {SAGE_F16, 65520, 0x7c00},
               {SAGE_F16, 65519.9, 0x7bff},
               {SAGE_F16, 0x1p-24, 0x0001},
               {SAGE_F16, 0x1p-25, 0x0000},
               {SAGE_F16, 0x1.8p-24, 0x0002},
               {SAGE_F16, -2.0, 0xc000},
               {SAGE_BF16, 1.0, 0x3f80},
               {SAGE_BF16, 1.00390625, 0x3f80},
               {SAGE_BF16, 1.01171875, 0x3f82},
               {SAGE_F8_E4M3FN, 448, 0x7e},
               {SAGE_F8_E4M3FN, 1.0, 0x38},
               {SAGE_F8_E5M2, 57344, 0x7b},
               {SAGE_F8_E5M2, 1.0, 0x3c},
               {SAGE_I8, 200, 0x7f},
               {SAGE_I8, -200, 0x80},
               {SAGE_I8, 2.5, 2},
               {SAGE_BOOL, 7, 1},
               {SAGE_I16, -40000, 0x8000}};
  for (const auto& [dtype, value, bits] : known) {
    CAPTURE(value);
    uint32_t stored = 0;
    sage::StoreElement(&stored, dtype, value);
    CHECK(stored == bits);
  }
  for (const sage_dtype dtype : {SAGE_F16, SAGE_BF16, SAGE_F8_E4M3FN, SAGE_F8_E5M2}) {
    const uint32_t count = sage::support::DtypeSize(dtype) == 1 ? 256 : 65536;
    uint32_t wrong = 0;
    for (uint32_t bits = 0; bits < count; ++bits) {
      uint32_t back = 0;
      const double value = sage::LoadElement(&bits, dtype);
      sage::StoreElement(&back, dtype, value);
      if (std::isnan(value) ? !std::isnan(sage::LoadElement(&back, dtype)) : back != bits) ++wrong;
    }
    CHECK(wrong == 0);
  }
  // One float that is a tie and one beside it, against the compiler's own conversion.
  float f = 0;
  sage::StoreElement(&f, SAGE_F32, 0.1);
  CHECK(f == 0.1f);
}

}  // namespace
