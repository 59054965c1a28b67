// test_q15_contract.cc: what the border promises of 16-bit fixed point: refusals with reasons, scales that are numbers,
// runs that allocate nothing, cancellation.
#include <doctest/doctest.h>

#include "q15_testing.h"
#include "support/heap_count.h"

namespace sage::test {
namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string ReasonOf(const AttentionCase& attention, uint64_t blocking) {
  Int8Backend q15;
  TestOp op(SAGE_OP_ATTENTION);
  attention.Describe(op);
  const sage_answer answer = q15.instance.Ask(op);
  CHECK(answer.verdict == SAGE_NO);
  CHECK(answer.blocking == blocking);
  return answer.reason;
}

AttentionCase Small() { return Q15Case({2, 2, 1, 3, 5, 8}, 1); }

// Only described: nothing of it is read.
AttentionCase Described(int64_t keys, int64_t dim) {
  AttentionCase attention = Q15Case({1, 1, 1, 1, 1, 1}, 1);
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
    sage_tensor& tensor = attention[slot].description();
    if (slot == SAGE_ATTN_Q || slot == SAGE_ATTN_K) tensor.shape[3] = dim;
    if (slot == SAGE_ATTN_K || slot == SAGE_ATTN_V) tensor.shape[2] = keys, tensor.stride[2] = tensor.shape[3];
  }
  return attention;
}

}  // namespace

TEST_CASE("R20 Q15 codes without scales and scales without codes are refused with the reason") {
  const struct {
    const char* name;
    uint32_t slot;
    uint32_t sage_attention_attributes::*granularity;
  } operands[] = {{"SCALE_Q", SAGE_ATTN_SCALE_Q, &sage_attention_attributes::granularity_q},
                  {"SCALE_K", SAGE_ATTN_SCALE_K, &sage_attention_attributes::granularity_k},
                  {"SCALE_V", SAGE_ATTN_SCALE_V, &sage_attention_attributes::granularity_v},
                  {"SCALE_O", SAGE_ATTN_SCALE_O, &sage_attention_attributes::granularity_o}};
  for (const auto& [name, slot, granularity] : operands) {
    AttentionCase without = Small();
    without[slot] = OwnedTensor(), without.attributes.*granularity = 0;
    const std::string reason = ReasonOf(without, SAGE_ATTN_F_QUANT_SCALES);
    CHECK(Contains(reason, std::string("i16 without ") + name));
    CHECK(Contains(reason, "2^-15"));
    AttentionCase token = Small();
    const OwnedTensor& rows = token[slot == SAGE_ATTN_SCALE_O ? SAGE_ATTN_Q : slot - SAGE_ATTN_SCALE_Q];
    token[slot] = OwnedTensor(SAGE_F32, {2, rows.dim(1), rows.dim(2)}).Fill(1);
    token.attributes.*granularity = SAGE_PER_TOKEN;
    CHECK(Contains(ReasonOf(token, SAGE_ATTN_F_QUANT_SCALES), std::string(name) + " is per token"));
  }
  AttentionCase floats = Small();
  floats.O() = OwnedTensor(SAGE_F32, ShapeOf(floats.O()));
  CHECK(Contains(ReasonOf(floats, SAGE_ATTN_F_QUANT_SCALES), "SCALE_O is given, but O is f32"));
  AttentionCase weights = Small();
  weights[SAGE_ATTN_SCALE_P] = OwnedTensor(SAGE_F32, {1}).Fill(1);
  weights.attributes.granularity_p = SAGE_PER_TENSOR;
  CHECK(Contains(ReasonOf(weights, SAGE_ATTN_F_QUANT_SCALES), "SCALE_P"));
}

TEST_CASE("R20 Q15 types that do not go together are refused with the reason") {
  AttentionCase queries = Small(), keys = Small();
  keys.K() = OwnedTensor(SAGE_I8, ShapeOf(keys.K())), keys.V() = OwnedTensor(SAGE_I8, ShapeOf(keys.V()));
  CHECK(Contains(ReasonOf(keys, 0), "Q is i16, K and V are i8"));
  queries.Q() = OwnedTensor(SAGE_F32, ShapeOf(queries.Q()));
  queries.O() = OwnedTensor(SAGE_F32, ShapeOf(queries.O()));
  for (const uint32_t slot : {SAGE_ATTN_SCALE_Q, SAGE_ATTN_SCALE_O}) queries[slot] = OwnedTensor();
  queries.attributes.granularity_q = queries.attributes.granularity_o = 0;
  CHECK(Contains(ReasonOf(queries, 0), "Q is f32, K and V are i16"));
}

TEST_CASE("R20 Q15 features that integers do not have are refused with the reason") {
  AttentionCase attention = Small();
  attention.OverScores(SAGE_ATTN_BIAS, SAGE_F32);
  CHECK(Contains(ReasonOf(attention, SAGE_ATTN_F_BIAS), "bias"));
  attention = Small();
  attention.OverScores(SAGE_ATTN_MASK, SAGE_BOOL);
  CHECK(Contains(ReasonOf(attention, SAGE_ATTN_F_BOOL_MASK), "masks"));
  attention = Small();
  attention[SAGE_ATTN_SINKS] = OwnedTensor(SAGE_F32, {2});
  CHECK(Contains(ReasonOf(attention, SAGE_ATTN_F_SINKS), "sinks"));
  attention = Small();
  attention.attributes.softcap = 5;
  CHECK(Contains(ReasonOf(attention, SAGE_ATTN_F_SOFTCAP), "softcap"));
  CHECK(Contains(ReasonOf(Small().WithLse(), SAGE_ATTN_F_LSE), "LSE"));
  attention = Small();
  attention.OverScores(SAGE_ATTN_WEIGHTS, SAGE_F32);
  CHECK(Contains(ReasonOf(attention, SAGE_ATTN_F_WEIGHTS_OUT), "WEIGHTS"));
  attention = Small();
  attention.attributes.dropout_p = 0.5;
  attention[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2});
  CHECK(Contains(ReasonOf(attention, SAGE_ATTN_F_DROPOUT), "dropout"));
  attention = Small();
  attention.attributes.algorithm = SAGE_ALGORITHM_FLASH;
  CHECK(Contains(ReasonOf(attention, 0), "flash"));
}

TEST_CASE("R20 Q15 sizes beyond exact sums are refused with the bound") {
  Int8Backend q15;
  TestOp op(SAGE_OP_ATTENTION);
  AttentionCase longest = Described(262144, 65536);
  longest.Describe(op);
  CHECK(q15.instance.Ask(op).verdict == SAGE_YES);
  CHECK(Contains(ReasonOf(Described(1, 65537), 0), "65536"));
  CHECK(Contains(ReasonOf(Described(262145, 8), 0), "262144"));
  AttentionCase wide = Described(1, 1);
  for (const uint32_t slot : {SAGE_ATTN_V, SAGE_ATTN_O}) wide[slot].description().shape[3] = int64_t{1} << 45;
  CHECK(Contains(ReasonOf(wide, 0), "workspace"));
}

TEST_CASE("R20 Q15 scales that are no positive numbers are errors that name slot and place") {
  const struct {
    uint32_t slot;
    const char* name;
  } slots[] = {{SAGE_ATTN_SCALE_Q, "SCALE_Q"},
               {SAGE_ATTN_SCALE_K, "SCALE_K"},
               {SAGE_ATTN_SCALE_V, "SCALE_V"},
               {SAGE_ATTN_SCALE_O, "SCALE_O"}};
  Int8Backend q15;
  for (const auto& [slot, name] : slots) {
    for (const double bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
      AttentionCase attention = Small();
      const bool per_query_head = slot == SAGE_ATTN_SCALE_Q || slot == SAGE_ATTN_SCALE_O;
      attention[slot] = OwnedTensor(SAGE_F32, {2, per_query_head ? 2 : 1}).Fill(0.5);
      const int64_t head = per_query_head ? 1 : 0;
      attention[slot].Set({1, head}, bad);
      sage_attention_attributes& a = attention.attributes;
      (slot == SAGE_ATTN_SCALE_Q   ? a.granularity_q
       : slot == SAGE_ATTN_SCALE_K ? a.granularity_k
       : slot == SAGE_ATTN_SCALE_V ? a.granularity_v
                                   : a.granularity_o) = SAGE_PER_HEAD;
      const RunResult result = attention.Run(q15.instance);
      CHECK(result.status == SAGE_E_INVALID_ARGUMENT);
      CHECK(Contains(result.message, name));
      CHECK(Contains(result.message, "batch entry 1, head " + std::to_string(head)));
      CHECK(Contains(result.message, "finite number above 0"));
    }
  }
}

TEST_CASE("R20 Q15 a scale that is refused leaves the cache as it was") {
  AttentionCase attention = Q15Case({1, 1, 1, 1, 4, 8}, 1);
  attention[SAGE_ATTN_K_NEW] = OwnedTensor(SAGE_I16, {1, 1, 1, 8}).Fill(5);
  attention[SAGE_ATTN_V_NEW] = OwnedTensor(SAGE_I16, {1, 1, 1, 8}).Fill(5);
  attention.Integers(SAGE_ATTN_SEQUSED_K, {1}, {2});
  attention.aliases = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
  attention[SAGE_ATTN_SCALE_O].Fill(0);
  const OwnedTensor before = attention.K();
  Int8Backend q15;
  CHECK(attention.Run(q15.instance).status == SAGE_E_INVALID_ARGUMENT);
  CHECK(SameBits(attention.K(), before));
}

TEST_CASE("R20 Q15 is said by explain and chosen whatever the mode of 8 bits") {
  for (const char* mode : {"auto", "per_tensor", "qk8_pv16", "full", "kv_cache"}) {
    Int8Backend q15("auto", mode);
    AttentionCase attention = Small();
    const RunResult result = attention.Run(q15.instance);
    REQUIRE(Failure(result) == "");
    CHECK(result.answer.accuracy == SAGE_ACCURACY_LOSSY);
    CHECK(Contains(result.answer.reason, "16-bit fixed point"));
  }
  for (const std::string& isa : Q15Isas()) {
    Int8Backend q15(isa);
    AttentionCase attention = Small();
    CHECK(Contains(attention.Run(q15.instance).answer.reason, isa));
  }
}

TEST_CASE("R20 Q15 a run allocates nothing") {
  for (const std::string& isa : Q15Isas()) {
    for (const uint32_t workers : {1u, 2u}) {
      Int8Backend q15(isa, "auto", workers, workers == 1 ? Threads::kSimulated : Threads::kReal);
      AttentionCase attention = Q15Case({2, 6, 2, 130, 260, 33}, 1);
      attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      TestOp op(SAGE_OP_ATTENTION);
      attention.Describe(op);
      PlannedOp plan(q15.instance, op);
      REQUIRE(plan.Run(op.slots()) == SAGE_OK);
      const uint64_t host_before = q15.host.allocations(), heap_before = HeapAllocations();
      REQUIRE(plan.Run(op.slots()) == SAGE_OK);
      CHECK(HeapAllocations() == heap_before);
      CHECK(q15.host.allocations() == host_before);
    }
  }
}

TEST_CASE("R20 Q15 a cancelled run says so, and the plan stays usable") {
  Int8Backend q15("auto", "auto", 2, Threads::kReal);
  AttentionCase attention = Q15Case({1, 4, 4, 200, 400, 32}, 1);
  TestOp op(SAGE_OP_ATTENTION);
  attention.Describe(op);
  PlannedOp plan(q15.instance, op);
  for (const uint64_t poll : {uint64_t{0}, uint64_t{3}, uint64_t{50}}) {
    q15.host.CancelAtPoll(poll);
    std::string message;
    CHECK(plan.Run(op.slots(), &message) == SAGE_E_CANCELLED);
    CHECK(Contains(message, "cancelled"));
    q15.host.CancelAtPoll(UINT64_MAX);
    CHECK(plan.Run(op.slots(), &message) == SAGE_OK);
  }
}

TEST_CASE("R20 Q15 empty batches, no keys and no queries are served") {
  Oracle oracle;
  for (const std::string& isa : Q15Isas()) {
    Int8Backend q15(isa);
    for (const auto& [batch, rows, keys, dim_v] :
         {std::array<int64_t, 4>{0, 3, 4, 8}, {2, 0, 4, 8}, {2, 3, 0, 8}, {2, 3, 4, 8}}) {
      AttentionCase codes = Q15Case({batch, 2, 1, rows, keys, 8, dim_v}, 1), floats = WithFloatOutput(codes);
      for (AttentionCase* attention : {&codes, &floats}) {
        const Q15Result result = ErrorOf(*attention, q15.instance, oracle.instance);
        CHECK(result.failure == "");
        CHECK(result.error <= 0x1p-15);
      }
    }
  }
}

TEST_CASE("R20 Q15 a plan for upper bounds gives a smaller run the bits of its own plan") {
  Int8Backend q15("auto", "auto", 2);
  AttentionCase large = Q15Case({3, 4, 2, 64, 300, 16}, 91);
  large.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
  TestOp planned(SAGE_OP_ATTENTION);
  large.Describe(planned);
  planned.DynamicAxes(SAGE_AXIS_B | SAGE_AXIS_SQ | SAGE_AXIS_SKV);
  PlannedOp plan(q15.instance, planned);
  REQUIRE(plan.status() == SAGE_OK);
  for (const auto& [batch, rows, keys] : {std::array<int64_t, 3>{3, 64, 300}, {1, 1, 1}, {2, 13, 129}, {1, 64, 7}}) {
    AttentionCase run = large, exact = large;
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
      const int64_t length = slot == SAGE_ATTN_Q || slot == SAGE_ATTN_O ? rows : keys;
      run[slot].description().shape[0] = batch;
      run[slot].description().shape[2] = length;
      exact[slot] = Part(Part(large[slot], 0, 0, batch), 2, 0, length);
    }
    TestOp now(SAGE_OP_ATTENTION);
    run.Describe(now);
    std::string message;
    CHECK(plan.Run(now.slots(), &message) == SAGE_OK);
    CHECK(message == "");
    REQUIRE(Failure(exact.Run(q15.instance)) == "");
    CHECK(SameBits(run.O(), exact.O()));
  }
}

}  // namespace sage::test
