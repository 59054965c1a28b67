// test_backend.cc: what is chosen of kernels that are toys, and what is refused and how.
#include <memory>

#include "backend_toys.h"

namespace sage::cuda {

TEST_CASE("G7 cuda: probe names the device and create fails with the sentence of probe") {
  Toys toys;
  Current() = &toys;
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  uint32_t count = 0;
  CHECK(kTable.probe(nullptr, 0, &count, &answer, nullptr) == SAGE_OK);
  CHECK(answer.verdict == SAGE_YES);
  CHECK(count == 1);
  CHECK(std::string(answer.reason) == "NVIDIA H200, sm_90, 153600 MiB");
  toys.runtime.driver_version = 0;
  CHECK(kTable.probe(nullptr, 0, &count, &answer, nullptr) == SAGE_OK);
  CHECK(answer.verdict == SAGE_NO);
  CHECK(count == 0);
  CHECK(Has(answer.reason, "no NVIDIA driver was found"));
  test::TestHost host(1);
  sage_instance* instance = nullptr;
  Error error;
  CHECK(kTable.create(host.table(), 0, nullptr, &instance, &error) == SAGE_E_UNSUPPORTED);
  CHECK(instance == nullptr);
  CHECK(error.Says("create: no NVIDIA driver was found"));
  // Without any kernel there is no device either.
  toys.runtime.driver_version = 13000;
  toys.families.clear();
  CHECK(kTable.probe(nullptr, 0, &count, &answer, nullptr) == SAGE_OK);
  CHECK(Has(answer.reason, "this build has code for no architecture"));
}

TEST_CASE("P1 cuda: the cheapest family that serves an op is chosen and its class is said") {
  Fixture f;
  REQUIRE(f.status == SAGE_OK);
  AttentionOp half;
  const sage_answer yes = f.Ask(half);
  REQUIRE(yes.verdict == SAGE_YES);
  CHECK(yes.accuracy == SAGE_ACCURACY_NATIVE);
  CHECK(yes.cost_source == SAGE_COST_MODEL);
  CHECK(yes.workspace_bytes == 512);
  CHECK(std::string(yes.reason) == "fast kernels of bf16 for sm_90 on NVIDIA H200, priced by an estimate");
  // Exact arithmetic of 16-bit types, f32, and a feature that only the slower ones have.
  half.accuracy = SAGE_ACCURACY_EXACT;
  CHECK(f.Ask(half).accuracy == SAGE_ACCURACY_EXACT);
  CHECK(
      Has(f.Reason(half), "plain kernels of bf16 for sm_90, translated by the driver when first used, on NVIDIA H200"));
  AttentionOp wide(SAGE_F32);
  CHECK(f.Ask(wide).accuracy == SAGE_ACCURACY_EXACT);
  CHECK(Has(f.Reason(wide), "plain kernels of f32"));
  AttentionOp with_lse;
  with_lse.Set(SAGE_ATTN_LSE, SAGE_F32, {2, 8, 64});
  CHECK(Has(f.Reason(with_lse), "plain kernels of bf16"));
  // Addresses change nothing.
  AttentionOp placed;
  GiveAddresses(placed, 0x100001);
  CHECK(f.Reason(placed) == yes.reason);
}

TEST_CASE("P1 cuda: kernels of class LOSSY serve who accepts that and take long sequences only") {
  Fixture f;
  REQUIRE(f.status == SAGE_OK);
  const auto sized = [](AttentionOp& op, int64_t rows) {
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
      op.Set(slot, SAGE_BF16, {2, 8, rows, 64});
  };
  AttentionOp op;
  for (const int64_t rows : {64, 8192}) {
    CAPTURE(rows);
    sized(op, rows);
    for (const uint32_t accuracy : {SAGE_ACCURACY_AUTO, SAGE_ACCURACY_NATIVE}) {
      op.accuracy = accuracy;
      CHECK(Has(f.Reason(op), "fast kernels"));
      CHECK(f.Ask(op).accuracy == SAGE_ACCURACY_NATIVE);
    }
    op.accuracy = SAGE_ACCURACY_LOSSY;
    CHECK(Has(f.Reason(op), rows == 64 ? "fast kernels" : "rough kernels"));
    CHECK(f.Ask(op).accuracy == (rows == 64 ? SAGE_ACCURACY_NATIVE : SAGE_ACCURACY_LOSSY));
  }
  AttentionOp wide(SAGE_F32);
  wide.accuracy = SAGE_ACCURACY_LOSSY;
  CHECK(f.Ask(wide).accuracy == SAGE_ACCURACY_EXACT);
  // What takes any address in place of the chosen one is no less exact.
  sized(op, 64);
  GiveAddresses(op, 0x100002);
  Planned plan(f, op);
  REQUIRE(plan.status == SAGE_OK);
  CHECK(plan.Run() == SAGE_OK);
  CHECK(Seen().plain == 1);
  CHECK(Seen().rough == 0);

  Fixture only("kernels=rough");
  REQUIRE(only.status == SAGE_OK);
  op.accuracy = SAGE_ACCURACY_AUTO;
  CHECK(only.Reason(op) ==
        "the kernels \"rough\" of bf16 are of class LOSSY; AUTO, which is NATIVE at most, is asked for");
  op.accuracy = SAGE_ACCURACY_NATIVE;
  CHECK(only.Reason(op) == "the kernels \"rough\" of bf16 are of class LOSSY; NATIVE is asked for");
  op.accuracy = SAGE_ACCURACY_LOSSY;
  CHECK(only.Ask(op).verdict == SAGE_YES);
}

TEST_CASE("P1 cuda: every refusal has its reason") {
  Fixture f;
  REQUIRE(f.status == SAGE_OK);
  {
    AttentionOp op;
    op.Set(SAGE_ATTN_SINKS, SAGE_F32, {8});
    const sage_answer no = f.Ask(op);
    CHECK(no.verdict == SAGE_NO);
    CHECK(no.blocking == SAGE_ATTN_F_SINKS);
    CHECK(Has(no.reason, "of bf16 do not serve feature bits 0x2000"));
  }
  {
    AttentionOp op;
    op[SAGE_ATTN_K].device_type = SAGE_CPU;
    CHECK(f.Reason(op) == "K lies on device (1, 0); this instance reads the memory of cuda:0");
    op[SAGE_ATTN_K].device_type = SAGE_CUDA, op[SAGE_ATTN_K].device_id = 1;
    CHECK(f.Reason(op) == "K lies on device (2, 1); this instance reads the memory of cuda:0");
  }
  {
    AttentionOp op;
    op.requirements = SAGE_REQUIRE_SCALAR;
    CHECK(Has(f.Reason(op), "SCALAR is required"));
    op.requirements = SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_STREAM_CAPTURE;
    CHECK(f.Ask(op).verdict == SAGE_YES);
  }
  {
    AttentionOp op;
    op.attributes.algorithm = SAGE_ALGORITHM_MATERIALISED;
    CHECK(Has(f.Reason(op), "algorithm MATERIALISED is asked for"));
    op.attributes.algorithm = SAGE_ALGORITHM_FLASH;
    CHECK(f.Ask(op).verdict == SAGE_YES);
    op.attributes.block_q = 32;
    CHECK(Has(f.Reason(op), "tiles of 32 x 0 are asked for"));
  }
  {
    AttentionOp op;
    op.Set(SAGE_ATTN_SEQUSED_K, SAGE_I32, {2}).stride[0] = 3;
    CHECK(f.Reason(op) == "attention is refused: SEQUSED_K is not contiguous");
  }
  {
    AttentionOp op;
    op.Set(SAGE_ATTN_Q, SAGE_BF16, {2000, 8, 64, 64});
    op.Set(SAGE_ATTN_K, SAGE_BF16, {2000, 2, 96, 64});
    op.Set(SAGE_ATTN_V, SAGE_BF16, {2000, 2, 96, 64});
    op.Set(SAGE_ATTN_O, SAGE_BF16, {2000, 8, 64, 64});
    CHECK(f.Reason(op) == "a run needs 1099511627776 bytes of workspace; cuda:0 has 161061273600");
  }
}

TEST_CASE("P1 cuda: the option kernels insists on one family and its refusals are its own") {
  {
    Fixture f("kernels=fast");
    REQUIRE(f.status == SAGE_OK);
    AttentionOp op(SAGE_F32);
    CHECK(f.Reason(op) == "no kernel of this build computes attention of f32 on sm_90");
    AttentionOp exact;
    exact.accuracy = SAGE_ACCURACY_EXACT;
    CHECK(f.Reason(exact) == "the kernels \"fast\" of bf16 are of class NATIVE; EXACT is asked for");
    AttentionOp wide;
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K})
      wide.Set(slot, SAGE_BF16, {2, slot == SAGE_ATTN_Q ? 8 : 2, slot == SAGE_ATTN_Q ? 64 : 96, 512});
    wide.Set(SAGE_ATTN_V, SAGE_BF16, {2, 2, 96, 512});
    wide.Set(SAGE_ATTN_O, SAGE_BF16, {2, 8, 64, 512});
    CHECK(f.Reason(wide) == "the kernels \"fast\": head dimensions up to 256 only");
  }
  {
    Fixture f("kernels=auto\nkernels=plain\n");
    REQUIRE(f.status == SAGE_OK);
    AttentionOp op;
    CHECK(Has(f.Reason(op), "plain kernels"));
  }
  {
    Fixture f("kernels=slow");
    CHECK(f.status == SAGE_E_INVALID_ARGUMENT);
    CHECK(f.error.Says("kernels is \"slow\", expected one of: auto, plain, fast, rough"));
  }
  {
    Fixture f("speed=11");
    CHECK(f.status == SAGE_E_INVALID_ARGUMENT);
    CHECK(
        f.error.Says("option \"speed\" is unknown to cuda; it has: kernels, splits, cublas, dependent_launch, "
                     "hopper_stages, rates"));
  }
  {
    // One that has no code for this device is no kernel of it.
    Properties ada = FakeH200();
    ada.name = "NVIDIA B200", ada.major = 10;
    Fixture f("kernels=fast", ada);
    CHECK(f.status == SAGE_E_UNSUPPORTED);
    CHECK(f.error.Says("NVIDIA B200 is sm_100; this build has code for sm_80, sm_90a"));
    Fixture any(nullptr, ada);
    REQUIRE(any.status == SAGE_OK);
    AttentionOp op;
    CHECK(Has(any.Reason(op), "plain kernels of bf16 for sm_100, translated by the driver"));
  }
}

}  // namespace sage::cuda
