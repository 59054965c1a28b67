// test_attention_contract.cc: what the border promises of the int8 backend: refusals and errors with reasons, forced
// instruction sets and modes, rows that do not depend on what lies beside them, runs that allocate nothing.
#include <doctest/doctest.h>

#include <limits>
#include <memory>

#include "int8_testing.h"
#include "support/fenced.h"
#include "support/heap_count.h"

namespace sage::test {
namespace {

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

std::string ReasonOf(const AttentionCase& attention, const std::string& mode = "auto") {
  Int8Backend int8("auto", mode);
  TestOp op(SAGE_OP_ATTENTION);
  attention.Describe(op);
  const sage_answer answer = int8.instance.Ask(op);
  CHECK(answer.verdict == SAGE_NO);
  return answer.reason;
}

// Codes of all three, with scales of one granularity.
AttentionCase Codes(uint32_t granularity, AttentionShape shape = {2, 2, 1, 5, 40, 16}) {
  AttentionCase codes(SAGE_F32, shape, 1);
  DrawCodes(&codes, SAGE_ATTN_Q, SAGE_ATTN_SCALE_Q, granularity, 8, shape.seq_q, 3);
  DrawCodes(&codes, SAGE_ATTN_K, SAGE_ATTN_SCALE_K, granularity, 8, shape.seq_kv, 5);
  DrawCodes(&codes, SAGE_ATTN_V, SAGE_ATTN_SCALE_V, granularity, 8, shape.seq_kv, 7);
  return codes;
}

constexpr const char* kModesOfFloats[] = {"per_tensor", "qk8_pv16", "full"};

}  // namespace

TEST_CASE("R5 R7 the instruction set and the mode are forced by options, and named where they are wrong") {
  for (const std::string& isa : Int8Isas())
    for (const char* mode : kModesOfFloats) {
      Int8Backend int8(isa, mode);
      REQUIRE(int8.instance.status() == SAGE_OK);
      AttentionCase attention(SAGE_F32, {1, 1, 1, 4, 4, 8}, 1);
      CHECK(Contains(attention.Run(int8.instance).answer.reason, mode));
    }
  Int8Backend unknown_mode("auto", "int4");
  CHECK(unknown_mode.instance.status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Contains(unknown_mode.instance.message(), "int4"));
  CHECK(Contains(unknown_mode.instance.message(), "qk8_pv16"));
  Int8Backend unknown_isa("sse9");
  CHECK(unknown_isa.instance.status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Contains(unknown_isa.instance.message(), "avx512vnni"));
  TestHost host;
  Instance unknown(int8_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host, "colour=red");
  CHECK(unknown.status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Contains(unknown.message(), "isa, mode"));
  for (const int8::Isa isa : {int8::Isa::kAvx2, int8::Isa::kAvx512Vnni, int8::Isa::kAmx, int8::Isa::kNeon,
                              int8::Isa::kDotprod, int8::Isa::kI8mm}) {
    if (int8::Runs(isa)) continue;
    MESSAGE("this machine lacks ", std::string(int8::IsaName(isa)), ": its kernels were not tested here");
    Int8Backend absent(int8::IsaName(isa));
    CHECK(absent.instance.status() == SAGE_E_UNSUPPORTED);
    CHECK(Contains(absent.instance.message(), "isa=auto"));
  }
}

TEST_CASE("R6 codes without scales and scales that do not fit are refused with the reason") {
  AttentionCase missing = Codes(SAGE_PER_TOKEN);
  missing[SAGE_ATTN_SCALE_K] = OwnedTensor();
  missing.attributes.granularity_k = 0;
  CHECK(Contains(ReasonOf(missing), "without SCALE_K"));
  AttentionCase by_channel = Codes(SAGE_PER_TENSOR);
  by_channel[SAGE_ATTN_SCALE_K] = OwnedTensor(SAGE_F32, {1, 1, 16}).Fill(0.01);
  by_channel.attributes.granularity_k = SAGE_PER_CHANNEL;
  CHECK(Contains(ReasonOf(by_channel), "per channel"));
  CHECK(Contains(ReasonOf(Codes(SAGE_PER_TOKEN), "per_tensor"), "mode=auto"));
  CHECK(Contains(ReasonOf(Codes(SAGE_PER_TOKEN), "kv_cache"), "float Q"));
  AttentionCase mixed = Codes(SAGE_PER_TENSOR);
  mixed.K() = OwnedTensor(SAGE_F32, {2, 1, 40, 16}), mixed.V() = mixed.K();
  mixed[SAGE_ATTN_SCALE_K] = mixed[SAGE_ATTN_SCALE_V] = OwnedTensor();
  mixed.attributes.granularity_k = mixed.attributes.granularity_v = 0;
  CHECK(Contains(ReasonOf(mixed), "leave Q a float"));
  AttentionCase of_floats(SAGE_F32, {1, 1, 1, 4, 4, 8}, 1);
  of_floats[SAGE_ATTN_SCALE_Q] = OwnedTensor(SAGE_F32, {1}).Fill(1);
  of_floats.attributes.granularity_q = SAGE_PER_TENSOR;
  CHECK(Contains(ReasonOf(of_floats), "not quantised"));
  // A shape that does not fit its granularity never gets as far as a backend.
  AttentionCase shape = Codes(SAGE_PER_TOKEN);
  shape[SAGE_ATTN_SCALE_V] = OwnedTensor(SAGE_F32, {2, 1, 39}).Fill(0.01);
  Int8Backend int8;
  const RunResult result = shape.Run(int8.instance);
  CHECK(result.status != SAGE_OK);
  CHECK(Contains(result.message, "SCALE_V"));
}

TEST_CASE("R6 a scale that is zero, negative, infinite or NaN is an error that says which") {
  for (const uint32_t granularity : {SAGE_PER_TENSOR, SAGE_PER_HEAD, SAGE_PER_TOKEN, SAGE_PER_BLOCK})
    for (const auto& [slot, name] : {std::pair{SAGE_ATTN_SCALE_Q, "SCALE_Q"}, std::pair{SAGE_ATTN_SCALE_K, "SCALE_K"},
                                     std::pair{SAGE_ATTN_SCALE_V, "SCALE_V"}})
      for (const double bad : {0.0, -0.0, -0.5, HUGE_VAL, std::nan("")}) {
        // The first are looked at many at a time, the last one by one.
        for (const bool last : {false, true}) {
          AttentionCase codes = Codes(granularity);
          OwnedTensor& scales = codes[static_cast<uint32_t>(slot)];
          scales.Put(last ? scales.size() - 1 : 0, bad);
          Int8Backend int8("auto", "auto", 3);
          const RunResult result = codes.Run(int8.instance);
          CHECK(result.status == SAGE_E_INVALID_ARGUMENT);
          CHECK(Contains(result.message, name));
        }
      }
  // What lies behind the keys in use is nobody's.
  for (const char* mode : {"full", "kv_cache"}) {
    AttentionCase codes = Codes(SAGE_PER_TOKEN);
    if (std::string(mode) == "kv_cache") {
      codes.Q() = OwnedTensor(SAGE_F32, {2, 2, 5, 16}).FillNormal(9);
      codes[SAGE_ATTN_SCALE_Q] = OwnedTensor();
      codes.attributes.granularity_q = 0;
    }
    codes.Integers(SAGE_ATTN_SEQUSED_K, {2}, {30, 30});
    for (uint64_t i = 0; i < codes[SAGE_ATTN_SCALE_K].size(); ++i)
      if (i % 40 >= 30) codes[SAGE_ATTN_SCALE_K].Put(i, std::nan("")), codes[SAGE_ATTN_SCALE_V].Put(i, -1);
    Int8Backend int8("auto", mode);
    CHECK(Failure(codes.Run(int8.instance)) == "");
  }
}

TEST_CASE("R5 heads that are longer than exact sums reach are refused, the longest is right") {
  AttentionCase longer(SAGE_F32, {1, 1, 1, 2, 3, 1025}, 1);
  CHECK(Contains(ReasonOf(longer), "1024"));
  Oracle oracle;
  for (const std::string& isa : Int8Isas()) {
    Int8Backend int8(isa, "qk8_pv16");
    AttentionCase codes = Codes(SAGE_PER_HEAD, {1, 1, 1, 3, 20, 1024}), want = codes;
    codes.Q().Fill(127), want.Q().Fill(127), codes.K().Fill(-127), want.K().Fill(-127);
    REQUIRE(Failure(codes.Run(int8.instance)) == "");
    REQUIRE(Failure(want.Run(oracle.instance)) == "");
    CHECK(DistanceOf(codes.O(), want.O()).relative_l1 < 1e-5);
  }
}

TEST_CASE("int8 refuses sizes that no machine has, and does not overflow over them") {
  for (const char* mode : {"full", "qk8_pv16", "per_tensor"}) {
    AttentionCase wide(SAGE_F32, {1, 1, 1, 1, 1, 8}, 1);
    wide.V().description().shape[3] = wide.O().description().shape[3] = int64_t{1} << 50;
    CHECK(Contains(ReasonOf(wide, mode), "channels"));
    AttentionCase keys(SAGE_F32, {1, 1, 1, 1, 1, 8}, 1);
    for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) keys[slot].description().shape[2] = int64_t{1} << 44;
    CHECK(Contains(ReasonOf(keys, mode), "workspace"));
  }
}

TEST_CASE("what cannot be served is refused with its reason by int8") {
  AttentionCase doubles(SAGE_F64, {1, 1, 1, 4, 4, 8}, 1), weights(SAGE_F32, {1, 1, 1, 4, 4, 8}, 1), dropout = weights;
  CHECK(Contains(ReasonOf(doubles), "f64"));
  weights.OverScores(SAGE_ATTN_WEIGHTS, SAGE_F32);
  weights.attributes.algorithm = SAGE_ALGORITHM_FLASH;
  CHECK(Contains(ReasonOf(weights), "MATERIALISED"));
  dropout.attributes.dropout_p = 0.1;
  dropout[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2});
  CHECK(Contains(ReasonOf(dropout), "dropout"));
  AttentionCase codes = Codes(SAGE_PER_TENSOR);
  codes[SAGE_ATTN_SCALE_O] = OwnedTensor(SAGE_F32, {1}).Fill(1);
  codes.attributes.granularity_o = SAGE_PER_TENSOR;
  CHECK(Contains(ReasonOf(codes), "SCALE_O"));
}

TEST_CASE("R5 R8 scratch for codes of K and V is a quarter of theirs as floats and grows with the keys alone") {
  Int8Backend int8("auto", "full");
  const auto scratch = [&](int64_t queries, int64_t keys) {
    AttentionCase attention(SAGE_F32, {1, 2, 2, queries, keys, 64}, 1);
    TestOp op(SAGE_OP_ATTENTION);
    attention.Describe(op);
    PlannedOp plan(int8.instance, op);
    const sage_plan_info& info = plan.info();
    // All that grows with the keys is said apart, so that a memory report does not take it for the working set.
    CHECK(info.workspace_bytes - info.packed_kv_bytes - info.partials_bytes < 4u << 20);
    return static_cast<double>(info.workspace_bytes);
  };
  // A block of 128 keys has 8 scales and 8 corrections of K's and as many of V's beside its codes.
  const double floats = 2.0 * 2 * 8192 * 64 * 4;
  const double grown = scratch(256, 16384) - scratch(256, 8192);
  CHECK(grown >= floats / 4);
  CHECK(grown <= floats / 4 * 1.25);
  CHECK(scratch(1024, 8192) == scratch(512, 8192));
}

TEST_CASE("R7 a NaN or an infinity is confined to the rows that see it") {
  Oracle oracle;
  for (const std::string& isa : Int8Isas())
    for (const char* mode : kModesOfFloats)
      for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL})
        for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) {
          AttentionCase clean(SAGE_F32, {1, 1, 1, 40, 40, 24}, 1);
          clean.Causal(SAGE_ALIGN_TOP_LEFT);
          AttentionCase dirty = clean;
          dirty[slot].Set({0, 0, 20, 3}, bad);
          // The clean row in its place, for the mean of K: it counts in none.
          Int8Backend int8(isa, mode);
          REQUIRE(Failure(clean.Run(int8.instance)) == "");
          REQUIRE(Failure(dirty.Run(int8.instance)) == "");
          CAPTURE(isa);
          CAPTURE(mode);
          CAPTURE(slot);
          int wrong = 0;
          for (int64_t i = 0; i < 40; ++i) {
            const bool sees = slot == SAGE_ATTN_Q ? i == 20 : i >= 20;
            for (int64_t c = 0; c < 24; ++c) {
              const double got = dirty.O().At({0, 0, i, c}), want = clean.O().At({0, 0, i, c});
              if (!sees) wrong += !(std::fabs(got - want) < 0.2);
            }
            wrong += sees && std::isfinite(dirty.O().At({0, 0, i, 3}));
          }
          CHECK(wrong == 0);
        }
}

TEST_CASE("R7 threads, batches and heads change no bit") {
  for (const std::string& isa : Int8Isas())
    for (const char* mode : kModesOfFloats) {
      AttentionCase one(SAGE_F32, {2, 4, 2, 300, 700, 40}, 1);
      one.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
      AttentionCase first = one;
      Int8Backend alone(isa, mode);
      REQUIRE(Failure(one.Run(alone.instance)) == "");
      for (const uint32_t workers : {2u, 3u, 8u}) {
        AttentionCase shared = first;
        Int8Backend int8(isa, mode, workers);
        REQUIRE(Failure(shared.Run(int8.instance)) == "");
        CHECK(SameBits(shared.O(), one.O()));
        CHECK(SameBits(shared[SAGE_ATTN_LSE], one[SAGE_ATTN_LSE]));
      }
      // A batch entry of its own. Of per_tensor the scale is that of the whole batch.
      if (std::string(mode) == "per_tensor") continue;
      AttentionCase entry = first;
      for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
        entry[slot] = Part(first[slot], 0, 1, 1);
      entry.WithLse();
      REQUIRE(Failure(entry.Run(alone.instance)) == "");
      CHECK(SameBits(entry.O(), Part(one.O(), 0, 1, 1)));
    }
}

TEST_CASE("R7 packed sequences have the bits of each alone: no mean is taken over a batch") {
  for (const std::string& isa : Int8Isas()) {
    Int8Backend int8(isa, "full");
    const std::vector<int64_t> lengths{1, 37, 130, 600};
    const int64_t total = 768;
    AttentionCase packed;
    packed.Q() = OwnedTensor(SAGE_F32, {total, 2, 32}).FillNormal(1);
    packed.K() = OwnedTensor(SAGE_F32, {total, 1, 32}).FillNormal(2);
    packed.V() = OwnedTensor(SAGE_F32, {total, 1, 32}).FillNormal(3);
    packed.O() = OwnedTensor(SAGE_F32, {total, 2, 32});
    std::vector<double> starts{0};
    for (const int64_t length : lengths) starts.push_back(starts.back() + static_cast<double>(length));
    // One sequence's K stands off from zero, which the mean of another must not see.
    for (int64_t j = 38; j < 168; ++j)
      for (int64_t c = 0; c < 32; ++c) packed.K().Set({j, 0, c}, packed.K().At({j, 0, c}) + 9);
    packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {5}, starts);
    packed.Integers(SAGE_ATTN_CU_SEQLENS_K, {5}, starts);
    REQUIRE(Failure(packed.Run(int8.instance)) == "");
    for (size_t i = 0; i < lengths.size(); ++i) {
      AttentionCase alone(SAGE_F32, {1, 2, 1, lengths[i], lengths[i], 32}, 1);
      for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V})
        for (int64_t h = 0; h < alone[slot].dim(1); ++h)
          for (int64_t j = 0; j < lengths[i]; ++j)
            for (int64_t c = 0; c < 32; ++c)
              alone[slot].Set({0, h, j, c}, packed[slot].At({static_cast<int64_t>(starts[i]) + j, h, c}));
      REQUIRE(Failure(alone.Run(int8.instance)) == "");
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t j = 0; j < lengths[i]; ++j)
          for (int64_t c = 0; c < 32; ++c)
            REQUIRE(packed.O().At({static_cast<int64_t>(starts[i]) + j, h, c}) == alone.O().At({0, h, j, c}));
    }
  }
}

TEST_CASE("R7 few rows of a cache in place have the numbers of many rows") {
  Oracle oracle;
  for (const std::string& isa : Int8Isas())
    for (const int64_t group : {1, 3, 4, 8})
      for (const int64_t dim : {16, 80, 192}) {
        AttentionCase cache(SAGE_F32, {2, group, 1, 1, 600, dim}, 1);
        DrawCodes(&cache, SAGE_ATTN_K, SAGE_ATTN_SCALE_K, SAGE_PER_TOKEN, 0, 600, 3);
        DrawCodes(&cache, SAGE_ATTN_V, SAGE_ATTN_SCALE_V, SAGE_PER_TOKEN, 0, 600, 5);
        AttentionCase want = cache;
        Int8Backend int8(isa, "kv_cache", 2);
        REQUIRE(Failure(cache.Run(int8.instance)) == "");
        REQUIRE(Failure(want.Run(oracle.instance)) == "");
        CAPTURE(isa);
        CAPTURE(group);
        CAPTURE(dim);
        CHECK(DistanceOf(cache.O(), want.O()).relative_l1 < 5e-6);
        // Who takes class NATIVE, as 16-bit queries do, gets 15 bits and more of what is on the float side.
        AttentionCase native = cache;
        native.accuracy = SAGE_ACCURACY_NATIVE;
        const RunResult result = native.Run(int8.instance);
        REQUIRE(Failure(result) == "");
        CHECK(result.answer.accuracy <= SAGE_ACCURACY_NATIVE);
        CHECK(DistanceOf(native.O(), want.O()).relative_l1 < 2e-4);
        // A query that is no number, and one of zeros.
        AttentionCase odd = cache;
        odd.Q().Set({0, 0, 0, 2}, std::nan(""));
        for (int64_t c = 0; c < dim; ++c) odd.Q().Set({1, 0, 0, c}, 0);
        AttentionCase odd_want = odd;
        REQUIRE(Failure(odd.Run(int8.instance)) == "");
        REQUIRE(Failure(odd_want.Run(oracle.instance)) == "");
        CHECK(std::isnan(odd.O().At({0, 0, 0, 0})));
        CHECK(DistanceOf(Part(odd.O(), 0, 1, 1), Part(odd_want.O(), 0, 1, 1)).relative_l1 < 5e-6);
      }
}

TEST_CASE("an int8 run allocates nothing") {
  for (const std::string& isa : Int8Isas())
    for (const uint32_t workers : {1u, 2u})
      for (const char* mode : kModesOfFloats) {
        Int8Backend int8(isa, mode, workers, workers == 1 ? Threads::kSimulated : Threads::kReal);
        AttentionCase attention(SAGE_BF16, {2, 6, 2, 130, 260, 33}, 1);
        attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse().OverScores(SAGE_ATTN_BIAS, SAGE_F32);
        TestOp op(SAGE_OP_ATTENTION);
        attention.Describe(op);
        PlannedOp plan(int8.instance, op);
        REQUIRE(plan.Run(op.slots()) == SAGE_OK);
        const uint64_t host_before = int8.host.allocations(), heap_before = HeapAllocations();
        REQUIRE(plan.Run(op.slots()) == SAGE_OK);
        CHECK(HeapAllocations() == heap_before);
        CHECK(int8.host.allocations() == host_before);
      }
}

TEST_CASE("int8 reads and writes nothing past the end of any tensor") {
  const auto run = [](AttentionCase& attention, const std::string& isa, const char* mode) {
    Int8Backend int8(isa, mode);
    TestOp op(SAGE_OP_ATTENTION);
    attention.Describe(op);
    PlannedOp plan(int8.instance, op);
    std::vector<std::unique_ptr<Fenced>> fenced;
    std::vector<const sage_tensor*> slots;
    for (const sage_tensor* slot : op.slots()) {
      slots.push_back(nullptr);
      if (slot == nullptr) continue;
      fenced.push_back(std::make_unique<Fenced>(attention[static_cast<uint32_t>(slots.size() - 1)]));
      slots.back() = fenced.back()->tensor();
    }
    std::string message;
    CHECK(plan.Run(slots, &message) == SAGE_OK);
  };
  for (const std::string& isa : Int8Isas())
    for (const int64_t dim : {1, 7, 33, 80})
      for (const int64_t keys : {1, 15, 129}) {
        for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16})
          for (const char* mode : kModesOfFloats) {
            AttentionCase attention(dtype, {2, 2, 1, 5, keys, dim}, 1);
            attention.WithLse();
            run(attention, isa, mode);
          }
        AttentionCase codes = Codes(SAGE_PER_TOKEN, {2, 2, 1, 5, keys, dim});
        for (const char* mode : {"full", "qk8_pv16"}) run(codes, isa, mode);
        for (const int64_t queries : {1, 5}) {
          AttentionCase cache(SAGE_F32, {2, 2, 1, queries, keys, dim}, 1);
          DrawCodes(&cache, SAGE_ATTN_K, SAGE_ATTN_SCALE_K, SAGE_PER_TOKEN, 0, keys, 3);
          DrawCodes(&cache, SAGE_ATTN_V, SAGE_ATTN_SCALE_V, SAGE_PER_TOKEN, 0, keys, 5);
          run(cache, isa, "kv_cache");
        }
      }
}

TEST_CASE("a cancelled int8 run says so, and the plan stays usable") {
  for (const char* mode : kModesOfFloats) {
    Int8Backend int8("auto", mode, 2, Threads::kReal);
    AttentionCase attention(SAGE_F32, {1, 4, 4, 200, 400, 32}, 1);
    TestOp op(SAGE_OP_ATTENTION);
    attention.Describe(op);
    PlannedOp plan(int8.instance, op);
    int8.host.CancelAtPoll(3);
    std::string message;
    CHECK(plan.Run(op.slots(), &message) == SAGE_E_CANCELLED);
    int8.host.CancelAtPoll(UINT64_MAX);
    CHECK(plan.Run(op.slots(), &message) == SAGE_OK);
  }
}

TEST_CASE("R5 empty batches, no keys, no queries, and zeros everywhere are served by int8") {
  Oracle oracle;
  for (const std::string& isa : Int8Isas())
    for (const char* mode : kModesOfFloats) {
      Int8Backend int8(isa, mode);
      for (const auto& [batch, rows, keys] : {std::array<int64_t, 3>{0, 3, 4}, {2, 0, 4}, {2, 3, 0}, {2, 3, 4}}) {
        AttentionCase attention(SAGE_F32, {batch, 2, 1, rows, keys, 8}, 1);
        attention.WithLse();
        for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) attention[slot].Fill(0);
        CHECK(Disagreement(attention, int8.instance, oracle.instance) == "");
      }
      // Equal keys: weights are equal, whatever the scores.
      AttentionCase equal(SAGE_F32, {1, 1, 1, 3, 50, 8}, 1);
      equal.K().Fill(3), equal.V().Fill(0.5);
      REQUIRE(Failure(equal.Run(int8.instance)) == "");
      for (const double value : equal.O().Values()) CHECK(std::fabs(value - 0.5) < 2e-3);
    }
}

}  // namespace sage::test
