// Before every run: do the slots fit the plan, do the index tensors stay inside, and does asking allocate nothing?
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "plan/problem.h"
#include "sage/support/check_op.h"

namespace {

using sage::Problem;
using sage::ProblemData;
using namespace sage::support;

struct Run {
  std::unique_ptr<Problem> problem;
  ProblemData data;
  OpView view;
  uint64_t features = 0;

  explicit Run(const char* line) {
    auto parsed = sage::ParseProblem(line);
    REQUIRE_MESSAGE(parsed.ok(), parsed.status().message());
    problem = std::move(*parsed);
    REQUIRE(sage::MakeProblemTensors(problem.get(), 1 << 26, &data).ok());
    std::string why;
    REQUIRE(TakeInOp(&problem->op, &view, &why) == SAGE_OK);
    if (problem->op.kind == SAGE_OP_ATTENTION) REQUIRE(DeriveAttentionFeatures(view, &features, &why) == SAGE_OK);
  }
  sage_status Slots(std::string* why = nullptr) {
    const char* said = "";
    const sage_status status = CheckRunSlots(view, problem->op.slots, problem->op.num_slots, &said);
    if (why != nullptr) *why = said;
    CHECK((status == SAGE_OK) == (said[0] == '\0'));
    return status;
  }
  std::string Indices() {
    const char* said = "";
    const sage_status status =
        CheckAttentionIndices(view.attributes.attention, features, problem->op.slots, problem->op.num_slots, &said);
    CHECK((status == SAGE_OK) == (said[0] == '\0'));
    return said;
  }
  void Set(uint32_t slot, int64_t index, int32_t value) {
    const sage_tensor& t = problem->tensors[slot];
    std::memcpy(static_cast<char*>(t.data) + index * t.stride[t.rank - 1] * 4, &value, 4);
  }
  sage_tensor& operator[](uint32_t slot) { return problem->tensors[slot]; }
};

TEST_CASE("run slots: as planned passes; dtype, rank, stride, device, absence and length are looked at") {
  const char* line = "b2.hq4.hkv2.sq6.skv8.d8.f32:lse";
  CHECK(Run(line).Slots() == SAGE_OK);
  const auto refused = [line](const char* word, auto&& change) {
    Run run(line);
    change(run);
    std::string why;
    CHECK(run.Slots(&why) != SAGE_OK);
    CAPTURE(why);
    CHECK(why.find(word) != std::string::npos);
  };
  refused("dtype", [](Run& r) { r[0].dtype = SAGE_F16; });
  refused("rank", [](Run& r) { r[0].rank = 3; });
  refused("strides", [](Run& r) { r[0].stride[2] += 1; });
  refused("device", [](Run& r) { r[0].device_type = SAGE_CUDA; });
  refused("longer", [](Run& r) { r[0].shape[2] += 1; });
  refused("negative", [](Run& r) { r[0].shape[2] = -1; });
  refused("not declared dynamic", [](Run& r) { r[0].shape[2] -= 1; });
  refused("no data", [](Run& r) { r[0].data = nullptr; });
  refused("lacks a slot", [](Run& r) { r.problem->pointers[1] = nullptr; });
  refused("lacks a slot", [](Run& r) { r.problem->op.num_slots = 2; });
  refused("without", [](Run& r) { r.problem->pointers[SAGE_ATTN_SINKS] = r.problem->pointers[0]; });
  refused("struct_size", [](Run& r) { r[0].struct_size = 40; });
  refused("slots is null", [](Run& r) { r.problem->op.slots = nullptr; });
}

TEST_CASE("run slots: dynamic axes may shrink, together only") {
  const auto shrink = [](Run& run) {
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_O, SAGE_ATTN_LSE}) run[slot].shape[2] = 4;
    for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) run[slot].shape[2] = 5;
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O, SAGE_ATTN_LSE})
      run[slot].shape[0] = 1;
  };
  Run all("b2.hq4.hkv2.sq6.skv8.d8.f32:lse,dynamic=b+sq+skv");
  shrink(all);
  CHECK(all.Slots() == SAGE_OK);
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O, SAGE_ATTN_LSE}) {
    Run one("b2.hq4.hkv2.sq6.skv8.d8.f32:lse,dynamic=b+sq+skv");
    one[slot].shape[2] -= 1;  // alone: reads or writes of the others would leave it
    CHECK(one.Slots() != SAGE_OK);
  }
  Run fixed("b2.hq4.hkv2.sq6.skv8.d8.f32:lse,dynamic=b+sq");
  shrink(fixed);
  CHECK(fixed.Slots() != SAGE_OK);
  Run linear("linear X=f32[8,4] W=f32[3,4] Y=f32[8,3]:dynamic=m");
  linear[0].shape[0] = linear[3].shape[0] = 5;
  CHECK(linear.Slots() == SAGE_OK);
  linear[3].shape[0] = 6;
  CHECK(linear.Slots() != SAGE_OK);
  Run weights("linear X=f32[8,4] W=f32[3,4] Y=f32[8,3]:dynamic=m");
  weights[1].shape[0] = 2;
  CHECK(weights.Slots() != SAGE_OK);
}

TEST_CASE("run slots: a constant stays the one that was planned with") {
  Run run("linear X=f32[8,4] W=f32[3,4]! Y=f32[8,3]");
  CHECK(run.Slots() == SAGE_OK);
  float other[12] = {};
  run[1].data = other;
  CHECK(run.Slots() != SAGE_OK);
}

TEST_CASE("P7 indices: packed starts begin at 0, do not fall, end at T, and fit the bound") {
  const char* line = "b3.hq2.sq12.skv15.d4.f32:varlen,maxq=12,maxkv=15";
  CHECK(Run(line).Indices().empty());
  const auto refused = [line](uint32_t slot, int64_t index, int32_t value) {
    Run run(line);
    run.Set(slot, index, value);
    CHECK_FALSE(run.Indices().empty());
  };
  for (const uint32_t slot : {SAGE_ATTN_CU_SEQLENS_Q, SAGE_ATTN_CU_SEQLENS_K}) {
    refused(slot, 0, 1), refused(slot, 0, -1), refused(slot, 1, 100), refused(slot, 1, -1);
    refused(slot, 3, 11), refused(slot, 3, 16), refused(slot, 2, INT32_MIN), refused(slot, 2, INT32_MAX);
  }
  Run tight("b1.hq2.sq4.skv4.d4.f32:varlen,maxq=4");
  const_cast<sage_attention_attributes&>(tight.view.attributes.attention).max_seq_q = 3;
  CHECK(tight.Indices().find("max_seq") != std::string::npos);
}

TEST_CASE("P7 indices: lengths lie within their sequences, with room for an append") {
  Run run("b2.hq2.sq4.skv8.d4.f32:qlens,kvlens");
  CHECK(run.Indices().empty());
  run.Set(SAGE_ATTN_SEQUSED_K, 1, 8), run.Set(SAGE_ATTN_SEQUSED_Q, 0, 0);
  CHECK(run.Indices().empty());
  run.Set(SAGE_ATTN_SEQUSED_K, 1, 9);
  CHECK(run.Indices().find("SEQUSED_K") != std::string::npos);
  run.Set(SAGE_ATTN_SEQUSED_K, 1, -1);
  CHECK(run.Indices().find("SEQUSED_K") != std::string::npos);
  run.Set(SAGE_ATTN_SEQUSED_K, 1, 0), run.Set(SAGE_ATTN_SEQUSED_Q, 0, 5);
  CHECK(run.Indices().find("SEQUSED_Q") != std::string::npos);
  Run append("b2.hq2.sq4.skv8.d4.f32:append=3");
  append.Set(SAGE_ATTN_SEQUSED_K, 0, 5);
  CHECK(append.Indices().empty());
  append.Set(SAGE_ATTN_SEQUSED_K, 0, 6);
  CHECK(append.Indices().find("does not fit") != std::string::npos);
}

TEST_CASE("indices: pages that will be read exist, others are not looked at; no page is written twice") {
  Run run("b2.hq2.sq1.skv16.d4.f32:kvlens,page=4");
  for (int i = 0; i < 2; ++i) run.Set(SAGE_ATTN_SEQUSED_K, i, 5);
  run.Set(SAGE_ATTN_BLOCK_TABLE, 2, 9999), run.Set(SAGE_ATTN_BLOCK_TABLE, 3, -1);
  CHECK(run.Indices().empty());
  run.Set(SAGE_ATTN_BLOCK_TABLE, 1, 8);  // 8 pages: 0..7
  CHECK(run.Indices().find("BLOCK_TABLE") != std::string::npos);
  run.Set(SAGE_ATTN_BLOCK_TABLE, 1, -1);
  CHECK(run.Indices().find("BLOCK_TABLE") != std::string::npos);
  Run append("b2.hq2.sq1.skv16.d4.f32:page=4,pages=70000,append=2");
  for (int i = 0; i < 2; ++i) append.Set(SAGE_ATTN_SEQUSED_K, i, 6);
  for (int i = 0; i < 8; ++i) append.Set(SAGE_ATTN_BLOCK_TABLE, i, i * 9000);
  CHECK(append.Indices().empty());
  append.Set(SAGE_ATTN_BLOCK_TABLE, 4, 0);  // a shared prefix page is only read
  CHECK(append.Indices().empty());
  append.Set(SAGE_ATTN_BLOCK_TABLE, 5, 9000);  // the page both write
  CHECK(append.Indices().find("same page") != std::string::npos);
  append.Set(SAGE_ATTN_SEQUSED_K, 1, 0);  // now row 1 writes page 0 of row 0, which row 0 only reads
  CHECK(append.Indices().empty());
}

TEST_CASE("R17 indices: CSR offsets do not fall, columns exist and ascend") {
  const char* line = "b1.hq1.sq4.skv8.d4.f32:csr=1x2/bh/8";
  CHECK(Run(line).Indices().empty());
  const auto refused = [line](uint32_t slot, int64_t index, int32_t value) {
    Run run(line);
    run.Set(slot, index, value);
    CHECK_FALSE(run.Indices().empty());
  };
  refused(SAGE_ATTN_CSR_INDPTR, 0, -1);
  refused(SAGE_ATTN_CSR_INDPTR, 4, 9);
  refused(SAGE_ATTN_CSR_INDPTR, 1, 100);
  refused(SAGE_ATTN_CSR_INDPTR, 2, 0);
  refused(SAGE_ATTN_CSR_INDICES, 0, -1);
  refused(SAGE_ATTN_CSR_INDICES, 1, 4);
  Run same(line);
  same.Set(SAGE_ATTN_CSR_INDICES, 0, 2), same.Set(SAGE_ATTN_CSR_INDICES, 1, 2);
  CHECK_FALSE(same.Indices().empty());
}

}  // namespace
