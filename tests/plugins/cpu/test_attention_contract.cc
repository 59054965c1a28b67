// test_attention_contract.cc: what the border promises: refusals with reasons, forced instruction sets, scratch that is
// bounded, work that is skipped, runs that allocate nothing, memory that is not overrun, cancellation.
#include <doctest/doctest.h>

#include "attention_testing.h"
#include "support/fenced.h"
#include "support/heap_count.h"

namespace sage::test {
namespace {

std::string ReasonOf(CpuBackend& cpu, AttentionCase& attention, uint64_t blocking, sage_error* = nullptr) {
  TestOp op(SAGE_OP_ATTENTION);
  attention.Describe(op);
  const sage_answer answer = cpu.instance.Ask(op);
  CHECK(answer.verdict == SAGE_NO);
  CHECK(answer.blocking == blocking);
  return answer.reason;
}

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

uint64_t WorkspaceOf(CpuBackend& cpu, const AttentionCase& attention) {
  TestOp op(SAGE_OP_ATTENTION);
  attention.Describe(op);
  const sage_answer answer = cpu.instance.Ask(op);
  REQUIRE(answer.verdict == SAGE_YES);
  PlannedOp plan(cpu.instance, op);
  CHECK(plan.info().workspace_bytes <= answer.workspace_bytes);
  return plan.info().workspace_bytes;
}

// Polls of one run: one for every key tile that was looked at, and one at the end.
uint64_t TilesOf(AttentionCase attention) {
  CpuBackend cpu;
  attention.attributes.block_q = 16, attention.attributes.block_kv = 16;
  REQUIRE(Failure(attention.Run(cpu.instance)) == "");
  return cpu.host.polls() - 1;
}

}  // namespace

TEST_CASE("N11 R13 the instruction set is detected, and forced by an option") {
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    REQUIRE(cpu.instance.status() == SAGE_OK);
    AttentionCase attention(SAGE_BF16, {1, 1, 1, 4, 4, 8}, 1);
    CHECK(Contains(attention.Run(cpu.instance).answer.reason, isa.c_str()));
  }
  const cpu::Isa best = cpu::DetectCpu().best;
  for (const cpu::Isa isa :
       {cpu::Isa::kAvx2, cpu::Isa::kAvx512, cpu::Isa::kAvx512Bf16, cpu::Isa::kAmx, cpu::Isa::kNeon}) {
    if (cpu::Runs(isa, best)) continue;
    MESSAGE("this machine lacks ", std::string(cpu::IsaName(isa)), ": its kernels were not tested here");
    CpuBackend cpu(cpu::IsaName(isa));
    CHECK(cpu.instance.status() == SAGE_E_UNSUPPORTED);
    CHECK(Contains(cpu.instance.message(), cpu::IsaName(isa)));
    CHECK(Contains(cpu.instance.message(), cpu::IsaName(best)));
    CHECK(Contains(cpu.instance.message(), "isa=auto"));
  }
  CHECK(CpuBackend("sse9").instance.status() == SAGE_E_INVALID_ARGUMENT);
  TestHost host;
  Instance unknown(cpu_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host, "isa=auto\ncolour=red");
  CHECK(unknown.status() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Contains(unknown.message(), "colour"));
}

TEST_CASE("R13 no instruction set of one platform is taken for one of another") {
  using cpu::Isa;
  for (const Isa x86 : {Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx}) {
    CHECK_FALSE(cpu::Runs(x86, Isa::kNeon));
    CHECK_FALSE(cpu::Runs(Isa::kNeon, x86));
    CHECK(cpu::Runs(x86, x86));
    CHECK(cpu::Runs(Isa::kScalar, x86));
  }
  CHECK(cpu::Runs(Isa::kAvx2, Isa::kAvx512));
  CHECK_FALSE(cpu::Runs(Isa::kAvx512, Isa::kAvx2));
  CHECK(cpu::Runs(Isa::kNeon, Isa::kNeon));
  CHECK(cpu::Runs(Isa::kScalar, Isa::kNeon));
  CHECK_FALSE(cpu::Runs(Isa::kNeon, Isa::kScalar));
  CHECK_FALSE(cpu::Runs(Isa::kAvx2, Isa::kScalar));
}

TEST_CASE("what cannot be served is refused with its reason") {
  CpuBackend cpu;
  AttentionCase dropout(SAGE_F32, {1, 1, 1, 4, 4, 8}, 1), scaled(SAGE_I8, {1, 1, 1, 4, 4, 8}, 1), mixed = dropout,
                                                                                                  weights = dropout;
  dropout.attributes.dropout_p = 0.1;
  dropout[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2});
  CHECK(Contains(ReasonOf(cpu, dropout, SAGE_ATTN_F_DROPOUT), "dropout"));
  CHECK(Contains(ReasonOf(cpu, scaled, 0), "i8"));
  AttentionCase quantised(SAGE_F32, {1, 1, 1, 4, 4, 8}, 1);
  quantised[SAGE_ATTN_SCALE_K] = OwnedTensor(SAGE_F32, {1}).Fill(1);
  quantised.attributes.granularity_k = SAGE_PER_TENSOR;
  CHECK(Contains(ReasonOf(cpu, quantised, SAGE_ATTN_F_QUANT_SCALES), "scales"));
  mixed.Q() = OwnedTensor(SAGE_F64, {1, 1, 4, 8}), mixed.O() = mixed.Q();
  CHECK(Contains(ReasonOf(cpu, mixed, 0), "f64"));
  weights.OverScores(SAGE_ATTN_WEIGHTS, SAGE_F32);
  weights.attributes.algorithm = SAGE_ALGORITHM_FLASH;
  CHECK(Contains(ReasonOf(cpu, weights, SAGE_ATTN_F_WEIGHTS_OUT), "MATERIALISED"));
  AttentionCase capture(SAGE_F32, {1, 1, 1, 4, 4, 8}, 1), device = capture, newer = capture;
  capture.requirements = SAGE_REQUIRE_STREAM_CAPTURE;
  CHECK(Contains(ReasonOf(cpu, capture, 0), "capture"));
  device.Q().description().device_type = SAGE_CUDA;
  CHECK(Contains(ReasonOf(cpu, device, 0), "device"));
  newer.attributes.features |= 1ull << 60;
  CHECK(ReasonOf(cpu, newer, 0) != "");
}

TEST_CASE("N6 P13 R12 scratch does not grow with the sequence, and is small beside the scores") {
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa, 2);
    const auto at = [&](sage_dtype dtype, int64_t seq, int64_t batch, uint32_t block) {
      AttentionCase attention;
      attention.attributes.block_kv = attention.attributes.block_q = block;
      for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
        attention[slot] = OwnedTensor(dtype, {1, 1, 1, 64});
        attention[slot].description().shape[0] = batch;  // described only: nothing of it is read
        attention[slot].description().shape[2] = seq;
        attention[slot].description().stride[0] = seq * 64;
      }
      return WorkspaceOf(cpu, attention);
    };
    for (const uint32_t block : {0u, 64u}) {  // 0: by cpu's own choice
      CHECK(at(SAGE_F32, 512, 1, block) == at(SAGE_F32, 8192, 1, block));
      const uint64_t scores = 4ull * 4096 * 4096 * 8;
      CHECK(at(SAGE_F64, 4096, 4, block) < scores / 100);
    }
  }
}

TEST_CASE("R17 R19 what is masked by position or by blocks is skipped, not computed") {
  const AttentionCase square(SAGE_F32, {1, 1, 1, 256, 256, 8}, 1);
  CHECK(TilesOf(square) == 16 * 16);
  CHECK(TilesOf(AttentionCase(square).Causal(SAGE_ALIGN_TOP_LEFT)) == 16 * 17 / 2);
  CHECK(TilesOf(AttentionCase(square).Window(15, 0, SAGE_ALIGN_TOP_LEFT)) == 15 * 2 + 1);
  // (i - W, i] keys: twice the rows, twice the tiles.
  const AttentionCase longer(SAGE_F32, {1, 1, 1, 512, 512, 8}, 1);
  CHECK(TilesOf(AttentionCase(longer).Window(15, 0, SAGE_ALIGN_TOP_LEFT)) == 31 * 2 + 1);
  AttentionCase lengths = square;
  lengths.Integers(SAGE_ATTN_SEQUSED_K, {1}, {17});
  CHECK(TilesOf(lengths) == 16 * 2);
  // Block-diagonal, said twice.
  AttentionCase blocks = square, columns = square;
  for (AttentionCase* attention : {&blocks, &columns})
    attention->attributes.mask_block_q = attention->attributes.mask_block_kv = 16;
  blocks[SAGE_ATTN_BLOCK_MASK] = OwnedTensor(SAGE_U8, {1, 1, 16, 16}).FillBy([](uint64_t n) { return n % 17 == 0; });
  std::vector<double> rows;
  for (int i = 0; i < 17; ++i) rows.push_back(i);
  columns.Integers(SAGE_ATTN_CSR_INDPTR, {1, 1, 17}, rows);
  rows.pop_back();
  columns.Integers(SAGE_ATTN_CSR_INDICES, {16}, rows);
  CHECK(TilesOf(blocks) == 16);
  CHECK(TilesOf(columns) == 16);
}

TEST_CASE("R19 a sliding window of W keys sees (i-W, i]") {
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    AttentionCase attention(SAGE_F32, {1, 1, 1, 8, 8, 1}, 1);
    attention.Window(3, 0, SAGE_ALIGN_TOP_LEFT).OverScores(SAGE_ATTN_WEIGHTS, SAGE_F32);
    REQUIRE(Failure(attention.Run(cpu.instance)) == "");
    for (int64_t i = 0; i < 8; ++i)
      for (int64_t j = 0; j < 8; ++j)
        CHECK((attention[SAGE_ATTN_WEIGHTS].At({0, 0, i, j}) > 0) == (j <= i && i - j < 4));
  }
}

TEST_CASE("a run allocates nothing") {
  for (const std::string& isa : Isas()) {
    for (const uint32_t workers : {1u, 2u}) {
      CpuBackend cpu(isa, workers, workers == 1 ? Threads::kSimulated : Threads::kReal);
      AttentionCase attention(SAGE_BF16, {2, 6, 2, 130, 260, 33}, 1);
      attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse().OverScores(SAGE_ATTN_BIAS, SAGE_F32);
      TestOp op(SAGE_OP_ATTENTION);
      attention.Describe(op);
      PlannedOp plan(cpu.instance, op);
      REQUIRE(plan.Run(op.slots()) == SAGE_OK);
      const uint64_t host_before = cpu.host.allocations(), heap_before = HeapAllocations();
      REQUIRE(plan.Run(op.slots()) == SAGE_OK);
      CHECK(HeapAllocations() == heap_before);
      CHECK(cpu.host.allocations() == host_before);
    }
  }
}

TEST_CASE("nothing is read or written past the end of any tensor") {
  for (const std::string& isa : Isas()) {
    for (const sage_dtype dtype : {SAGE_F32, SAGE_F64, SAGE_BF16, SAGE_F16}) {
      for (const int64_t dim : {1, 7, 16, 24, 33}) {
        for (const int64_t keys : {1, 15, 40, 129}) {
          AttentionCase attention(dtype, {2, 2, 1, 5, keys, dim}, 1);
          attention.WithLse();
          attention.OverScores(SAGE_ATTN_BIAS, attention.StatisticsDtype()).FillNormal(3);
          attention.OverScores(SAGE_ATTN_MASK, SAGE_BOOL).FillIntegers(4, 0, 1);
          CpuBackend cpu(isa);
          TestOp op(SAGE_OP_ATTENTION);
          attention.Describe(op);
          PlannedOp plan(cpu.instance, op);
          std::vector<std::unique_ptr<Fenced>> fenced;
          std::vector<const sage_tensor*> slots;
          for (const sage_tensor* slot : op.slots()) {
            slots.push_back(nullptr);
            if (slot == nullptr) continue;
            const OwnedTensor& owned = attention[static_cast<uint32_t>(slots.size() - 1)];
            fenced.push_back(std::make_unique<Fenced>(owned));
            slots.back() = fenced.back()->tensor();
          }
          std::string message;
          CHECK(plan.Run(slots, &message) == SAGE_OK);
        }
      }
    }
  }
}

TEST_CASE("a cancelled run says so, and the plan stays usable") {
  for (const uint32_t algorithm : {SAGE_ALGORITHM_FLASH, SAGE_ALGORITHM_MATERIALISED}) {
    CpuBackend cpu("auto", 2, Threads::kReal);
    AttentionCase attention(SAGE_F32, {1, 4, 4, 200, 400, 32}, 1);
    attention.attributes.algorithm = algorithm;
    TestOp op(SAGE_OP_ATTENTION);
    attention.Describe(op);
    PlannedOp plan(cpu.instance, op);
    cpu.host.CancelAtPoll(3);
    std::string message;
    CHECK(plan.Run(op.slots(), &message) == SAGE_E_CANCELLED);
    CHECK(Contains(message, "cancelled"));
    cpu.host.CancelAtPoll(UINT64_MAX);
    CHECK(plan.Run(op.slots(), &message) == SAGE_OK);
  }
}

TEST_CASE("indices that lead outside and slots that are not as planned are errors") {
  CpuBackend cpu;
  AttentionCase lengths(SAGE_F32, {2, 1, 1, 3, 10, 8}, 1);
  lengths.Integers(SAGE_ATTN_SEQUSED_K, {2}, {10, 11});
  CHECK(lengths.Run(cpu.instance).status == SAGE_E_INVALID_ARGUMENT);
  AttentionCase paged(SAGE_F32, {2, 1, 1, 3, 10, 8}, 1);
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {2, 1}, {0, 2});
  CHECK(paged.Run(cpu.instance).status == SAGE_E_INVALID_ARGUMENT);
  CHECK(Contains(paged.Run(cpu.instance).message, "BLOCK_TABLE"));

  AttentionCase plain(SAGE_F32, {2, 1, 1, 3, 10, 8}, 1), longer(SAGE_F32, {2, 1, 1, 4, 10, 8}, 1);
  TestOp op(SAGE_OP_ATTENTION), other(SAGE_OP_ATTENTION);
  plain.Describe(op), longer.Describe(other);
  PlannedOp plan(cpu.instance, op);
  CHECK(plan.Run(other.slots()) == SAGE_E_INVALID_ARGUMENT);
  sage_error error{};
  error.struct_size = sizeof error;
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.num_slots = static_cast<uint32_t>(op.slots().size()), args.slots = op.slots().data();
  CHECK(cpu.instance.table()->run(plan.handle(), &args, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(Contains(error.message, "workspace"));
  CHECK(cpu.instance.table()->run(plan.handle(), nullptr, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(cpu.instance.table()->run(nullptr, &args, &error) == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("empty batches, no keys and no queries are served") {
  Oracle oracle;
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    for (const auto& [batch, rows, keys, dim_v] :
         {std::array<int64_t, 4>{0, 3, 4, 8}, {2, 0, 4, 8}, {2, 3, 0, 8}, {2, 3, 4, 8}}) {
      AttentionCase attention(SAGE_F32, {batch, 2, 1, rows, keys, 8, dim_v}, 1);
      attention.WithLse();
      CHECK(Disagreement(attention, cpu.instance, oracle.instance) == "");
    }
  }
}

TEST_CASE("sizes that no machine has are refused, not overflowed") {
  CpuBackend cpu;
  AttentionCase attention(SAGE_F32, {1, 1, 1, 1, 1, 1}, 1);
  attention.attributes.algorithm = SAGE_ALGORITHM_MATERIALISED;
  attention.attributes.block_q = 65536;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    attention[slot].description().shape[2] = slot == SAGE_ATTN_K || slot == SAGE_ATTN_V ? int64_t{1} << 44 : 4096;
  TestOp op(SAGE_OP_ATTENTION);
  attention.Describe(op);
  const sage_answer answer = cpu.instance.Ask(op);
  CHECK(answer.verdict == SAGE_NO);
  CHECK(Contains(answer.reason, "workspace"));
}

}  // namespace sage::test
