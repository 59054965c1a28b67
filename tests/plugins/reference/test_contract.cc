// The reference as a plugin: its table, its refusals, and what a run may and may not do.
#include <doctest/doctest.h>

#include "reference_table.h"
#include "support/heap_count.h"

using namespace sage::test;

namespace {

AttentionCase Small() {
  AttentionCase c(SAGE_F32, {1, 2, 2, 3, 5, 4}, 1);
  return c.WithLse();
}

std::string Refusal(AttentionCase& c) {
  Reference reference;
  TestOp op(SAGE_OP_ATTENTION);
  c.Describe(op);
  const sage_answer answer = reference.instance.Ask(op);
  CHECK(answer.verdict == SAGE_NO);
  return answer.reason;
}

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("contract: the table is complete and honest about kinds and features") {
  CHECK(reference_plugin_query(SAGE_ABI_MAJOR + 1, 0) == nullptr);
  const sage_plugin* table = reference_plugin_query(SAGE_ABI_MAJOR, 99);
  REQUIRE(table != nullptr);
  CHECK(table == reference_plugin_query(SAGE_ABI_MAJOR, 0));
  CHECK(std::string(table->name) == "reference");
  CHECK(table->device_type == SAGE_CPU);
  CHECK(table->foreign_threads == nullptr);
  for (uint64_t kind = SAGE_OP_ATTENTION; kind <= SAGE_OP_POOL; ++kind)
    CHECK((table->kinds & SAGE_KIND_BIT(kind)) != 0);
  CHECK(table->features == (SAGE_ATTN_F_SCORES_OUT << 1) - 1);
  TestHost host;
  uint32_t count = 0;
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  CHECK(table->probe(host.table(), 0, &count, &answer, nullptr) == SAGE_OK);
  CHECK(count == 1);
  CHECK(answer.verdict == SAGE_YES);
}

TEST_CASE("contract: create refuses options it does not know and devices there are not") {
  TestHost host;
  Instance bad(reference_plugin_query(1, 0), host, "isa=avx2");
  CHECK(bad.status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Contains(bad.message(), "isa=avx2"));
  sage_instance* instance = nullptr;
  CHECK(reference_plugin_query(1, 0)->create(host.table(), 1, nullptr, &instance, nullptr) == SAGE_E_NOT_FOUND);
  CHECK(instance == nullptr);
}

TEST_CASE("contract: every NO has its reason") {
  AttentionCase capture = Small();
  capture.requirements = SAGE_REQUIRE_STREAM_CAPTURE;
  CHECK(Contains(Refusal(capture), "STREAM_CAPTURE"));
  AttentionCase device = Small();
  device.K().description().device_type = SAGE_CUDA;
  CHECK(Contains(Refusal(device), "device"));
  AttentionCase misfit = Small();
  misfit.K() = OwnedTensor(SAGE_F32, {1, 2, 5, 3});
  CHECK(!Refusal(misfit).empty());
  AttentionCase nowhere = Small();
  nowhere.attributes.features |= SAGE_ATTN_F_CAUSAL;  // without an alignment
  CHECK(Contains(Refusal(nowhere), "alignment"));

  Reference reference;
  TestOp unknown(99);
  const sage_answer answer = reference.instance.Ask(unknown);
  CHECK(answer.verdict == SAGE_NO);
  CHECK(answer.reason[0] != '\0');
  TestOp incomplete(SAGE_OP_LINEAR);
  PlannedOp plan(reference.instance, incomplete);
  CHECK(plan.status() != SAGE_OK);
  CHECK(!plan.message().empty());
}

TEST_CASE("contract: VARLEN with masks, biases, dropout or score outputs is NO") {
  for (const uint32_t slot : {SAGE_ATTN_BIAS, SAGE_ATTN_MASK, SAGE_ATTN_WEIGHTS, SAGE_ATTN_SCORES}) {
    AttentionCase c;
    c.Q() = OwnedTensor(SAGE_F32, {4, 1, 4}), c.K() = OwnedTensor(SAGE_F32, {4, 1, 4});
    c.V() = OwnedTensor(SAGE_F32, {4, 1, 4}), c.O() = OwnedTensor(SAGE_F32, {4, 1, 4});
    c.Integers(SAGE_ATTN_CU_SEQLENS_Q, {2}, {0, 4});
    c.Integers(SAGE_ATTN_CU_SEQLENS_K, {2}, {0, 4});
    c[slot] = OwnedTensor(slot == SAGE_ATTN_MASK ? SAGE_BOOL : SAGE_F32, {1, 1, 4, 4});
    CHECK(Contains(Refusal(c), "VARLEN"));
  }
}

TEST_CASE(
    "contract: required DETERMINISTIC and SCALAR are served, any block size and algorithm is accepted and said so") {
  AttentionCase c = Small();
  c.requirements = SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_SCALAR;
  c.attributes.algorithm = SAGE_ALGORITHM_FLASH;
  c.attributes.block_q = 32, c.attributes.block_kv = 128;
  Reference reference;
  const RunResult result = c.Run(reference.instance);
  CHECK(Failure(result) == "");
  CHECK(result.answer.accuracy == SAGE_ACCURACY_EXACT);
  CHECK(Contains(result.answer.reason, "no tiles"));
  CHECK(result.answer.cost_ns > 0);
}

TEST_CASE("contract: ask is pure and never looks at data") {
  AttentionCase c = Small();
  Reference reference;
  TestOp op(SAGE_OP_ATTENTION);
  c.Describe(op);
  const sage_answer first = reference.instance.Ask(op);
  c.Q().description().data = nullptr;
  c.K().description().data = reinterpret_cast<void*>(1);
  const sage_answer second = reference.instance.Ask(op);
  CHECK(std::memcmp(&first, &second, sizeof first) == 0);
}

TEST_CASE("R12 workspace: whole rows for each worker, nothing for elementwise kinds") {
  AttentionCase c(SAGE_F32, {1, 1, 1, 1, 1000, 8}, 1);
  Reference one(1), four(4);
  const RunResult a = c.Run(one.instance), b = c.Run(four.instance);
  CHECK(a.info.workspace_bytes >= 8000);
  CHECK(a.info.workspace_bytes < 9000);
  CHECK(b.info.workspace_bytes == 4 * a.info.workspace_bytes);
  CHECK(a.answer.workspace_bytes == a.info.workspace_bytes);
}

TEST_CASE("S16 contract: a run allocates nothing, from the heap or from the host") {
  AttentionCase c = Small();
  c.OverScores(SAGE_ATTN_MASK, SAGE_BOOL).Fill(1);
  Reference reference(2, Threads::kReal);
  TestOp op(SAGE_OP_ATTENTION);
  c.Describe(op);
  PlannedOp plan(reference.instance, op);
  REQUIRE(plan.status() == SAGE_OK);
  const auto slots = op.slots();
  REQUIRE(plan.Run(slots) == SAGE_OK);
  const uint64_t heap = HeapAllocations(), host = reference.host.allocations();
  const sage_status status = plan.Run(slots);
  const uint64_t after = HeapAllocations();
  CHECK(status == SAGE_OK);
  CHECK(after == heap);
  CHECK(reference.host.allocations() == host);
}

TEST_CASE("contract: dynamic axes may be smaller at run, other changes are refused") {
  AttentionCase c = Small();
  Reference reference;
  TestOp op(SAGE_OP_ATTENTION);
  c.Describe(op);
  op.DynamicAxes(SAGE_AXIS_SQ | SAGE_AXIS_SKV);
  PlannedOp plan(reference.instance, op);
  REQUIRE(plan.status() == SAGE_OK);
  AttentionCase shorter = c, expected(SAGE_F32, {1, 2, 2, 2, 4, 4}, 0);
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_O, SAGE_ATTN_LSE}) shorter[slot].description().shape[2] = 2;
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) shorter[slot].description().shape[2] = 4;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) expected[slot].FillValues(shorter[slot].Values());
  TestOp at_run(SAGE_OP_ATTENTION);
  shorter.Describe(at_run);
  std::string message;
  CHECK(plan.Run(at_run.slots(), &message) == SAGE_OK);
  REQUIRE(Failure(expected.Run(reference.instance)) == "");
  CHECK(MaxDifference(shorter.O(), expected.O()) == 0);

  shorter.K().description().shape[2] = 3;  // V still has 4 keys
  CHECK(plan.Run(at_run.slots(), &message) == SAGE_E_INVALID_ARGUMENT);
  CHECK(!message.empty());
  shorter.K().description().shape[2] = 6;
  CHECK(plan.Run(at_run.slots(), &message) == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("contract: a run with a small or crooked workspace is refused, not computed") {
  AttentionCase c = Small();
  Reference reference;
  TestOp op(SAGE_OP_ATTENTION);
  c.Describe(op);
  PlannedOp plan(reference.instance, op);
  REQUIRE(plan.status() == SAGE_OK);
  alignas(64) static unsigned char memory[4096];
  const auto slots = op.slots();
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.slots = slots.data(), args.num_slots = static_cast<uint32_t>(slots.size());
  args.workspace = memory, args.workspace_bytes = plan.info().workspace_bytes - 1;
  const sage_plugin* table = reference_plugin_query(1, 0);
  CHECK(table->run(plan.handle(), &args, nullptr) == SAGE_E_INVALID_ARGUMENT);
  args.workspace = memory + 8, args.workspace_bytes = plan.info().workspace_bytes;
  CHECK(table->run(plan.handle(), &args, nullptr) == SAGE_E_INVALID_ARGUMENT);
  args.workspace = memory;
  CHECK(table->run(plan.handle(), &args, nullptr) == SAGE_OK);
  CHECK(table->run(nullptr, &args, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(table->run(plan.handle(), nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("contract: cancellation is noticed and reported, and the plan stays usable") {
  AttentionCase c(SAGE_F32, {1, 4, 4, 64, 64, 16}, 1);
  Reference reference(2, Threads::kReal);
  TestOp op(SAGE_OP_ATTENTION);
  c.Describe(op);
  PlannedOp plan(reference.instance, op);
  REQUIRE(plan.status() == SAGE_OK);
  for (const uint64_t poll : {uint64_t{0}, uint64_t{3}}) {
    reference.host.CancelAtPoll(poll);
    CHECK(plan.Run(op.slots()) == SAGE_E_CANCELLED);
  }
  reference.host.CancelAtPoll(UINT64_MAX);
  CHECK(plan.Run(op.slots()) == SAGE_OK);
}

TEST_CASE("contract: eight threads share one plan") {
  AttentionCase c(SAGE_F32, {1, 2, 2, 17, 33, 8}, 1);
  Reference reference;
  TestOp op(SAGE_OP_ATTENTION);
  c.Describe(op);
  PlannedOp plan(reference.instance, op);
  REQUIRE(plan.Run(op.slots()) == SAGE_OK);
  const uint64_t bytes = plan.info().workspace_bytes;
  std::vector<AttentionCase> cases(8, c);
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (AttentionCase& mine : cases) {
    threads.emplace_back([&mine, &plan, &failed, bytes] {
      TestOp own(SAGE_OP_ATTENTION);
      mine.Describe(own);
      std::vector<unsigned char> memory(bytes + 64);
      const uint64_t skew = reinterpret_cast<uintptr_t>(memory.data()) % 64;
      sage_run_args args{};
      args.struct_size = sizeof args;
      args.slots = own.slots().data(), args.num_slots = static_cast<uint32_t>(own.slots().size());
      args.workspace = memory.data() + (64 - skew) % 64, args.workspace_bytes = bytes;
      for (int i = 0; i < 20; ++i)
        if (reference_plugin_query(1, 0)->run(plan.handle(), &args, nullptr) != SAGE_OK) ++failed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  for (const AttentionCase& mine : cases) CHECK(BitwiseEqual(mine.O(), c.O()));
}
