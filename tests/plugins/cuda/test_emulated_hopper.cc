// test_emulated_hopper.cc: the Hopper kernel behind the backend's table: asked, planned and run as an engine does, in
// the emulation, against the float64 oracle. In a table of its own: beside it no other family is taken for a prompt.
#include <doctest/doctest.h>

#include <limits>

#include "../cpu/attention_testing.h"
#include "attention_emulated.h"
#include "attention_op.h"
#include "cuda/backend.h"
#include "fake_runtime.h"
#include "family_descriptions.h"
#include "hopper_emulated.h"
#include "hopper_mixtures.h"

namespace sage::test {
namespace {

using cuda::AttentionArguments;
using cuda::KernelFamily;
using cuda::Launched;
using cuda::Properties;

struct Counts {
  int hopper = 0, portable = 0, decode = 0, appends = 0;
};
// Tests run one after the other.
Counts& Launches() {
  static Counts counts;
  return counts;
}

Launched Report(std::string failure) {
  static std::string text;
  text = std::move(failure);
  return {cuda::kSuccess, text.empty() ? nullptr : text.c_str()};
}

// A device of three processors: blocks take several tiles each.
Launched EmulateHopper(const AttentionArguments& a, const Properties&, void* workspace, void*) {
  const auto seed = static_cast<uint64_t>(++Launches().hopper);
  return Report(LaunchEmulatedHopper(a, {.seed = seed, .blocks = 3, .workspace = static_cast<uint32_t*>(workspace)}));
}
Launched EmulatePortable(const AttentionArguments& a, const Properties&, void*, void*) {
  return Report(LaunchEmulated(Kernel::kPortable, a, static_cast<uint64_t>(++Launches().portable)));
}
Launched EmulateAppend(const AttentionArguments& a, void*) {
  return Report(LaunchAppendEmulated(a, static_cast<uint64_t>(++Launches().appends)));
}

Launched EmulateDecode(const AttentionArguments& a, const Properties& device, void* workspace, void*) {
  return Report(LaunchDecodeEmulated(a, device, workspace, static_cast<uint64_t>(++Launches().decode)));
}

constexpr KernelFamily kFamilies[] = {
    cuda::Built(cuda::kDecodeFamily, "80", EmulateDecode, EmulateAppend),
    cuda::Built(cuda::kPortableFamily, "80", EmulatePortable, EmulateAppend),
    cuda::Built(cuda::kHopperFamily, "90a-real", EmulateHopper, EmulateAppend),
};

cuda::FakeRuntime& TheRuntime() {
  static cuda::FakeRuntime runtime;
  return runtime;
}
void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  cuda::ProbeOver(TheRuntime(), {kFamilies}, device_id, count, answer);
}
sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                   std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  return cuda::CreateOver(TheRuntime(), {kFamilies}, host, device_id, options, out, err);
}
constexpr sage_plugin kTable = plugins::DeviceTable<Probe, Create>({.name = "cuda",
                                                                    .version = cuda::kVersion,
                                                                    .build = "emulation",
                                                                    .kinds = cuda::kKinds,
                                                                    .features = cuda::kLinkedFeatures,
                                                                    .device_type = SAGE_CUDA});

void OnDevice(AttentionCase& attention) {
  for (OwnedTensor& tensor : attention.slots)
    if (tensor.present()) tensor.description().device_type = SAGE_CUDA;
}

// Runs on the device what the oracle runs on the CPU. Empty, or what differs.
std::string Disagreement(AttentionCase& got, Instance& device) {
  static Oracle oracle;
  std::string failure;
  const AttentionCase want = Expected(got, oracle.instance, &failure);
  if (!failure.empty()) return "oracle: " + failure;
  OnDevice(got);
  return DisagreementWith(want, got, device);
}

void CheckMixtures(sage_dtype dtype, const char* options, bool appends, uint64_t first, uint64_t count) {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host, options);
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  const Counts before = Launches();
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    HopperMixture mixture(seed);
    if (appends) mixture.Appends();
    AttentionCase attention = mixture.Draw(dtype);
    CHECK(Disagreement(attention, device) == "");
  }
  CHECK(Launches().hopper - before.hopper > static_cast<int>(count / 2));  // a call without a row launches nothing
  if (appends) CHECK(Launches().appends > before.appends + static_cast<int>(count / 4));
}

// Which kernels a call gets whose 32 or 64 heads have rows of 128.
std::string ChoiceOf(Instance& device, int64_t batch, int64_t heads_q, int64_t heads_k, int64_t seq_q, int64_t seq_kv) {
  cuda::AttentionOp op;
  op.Set(SAGE_ATTN_Q, SAGE_BF16, {batch, heads_q, seq_q, 128});
  op.Set(SAGE_ATTN_K, SAGE_BF16, {batch, heads_k, seq_kv, 128});
  op.Set(SAGE_ATTN_V, SAGE_BF16, {batch, heads_k, seq_kv, 128});
  op.Set(SAGE_ATTN_O, SAGE_BF16, {batch, heads_q, seq_q, 128});
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  REQUIRE(kTable.ask(device.handle(), op.op(), &answer, nullptr) == SAGE_OK);
  const std::string reason = answer.reason;
  return reason.substr(0, reason.find(' '));
}

}  // namespace

TEST_CASE("P5 cuda backend: mixtures through the table by the Hopper kernel agree with the oracle") {
  CheckMixtures(SAGE_BF16, "kernels=hopper", false, 7001, 20);
  CheckMixtures(SAGE_F16, "kernels=hopper", false, 7101, 20);
}

TEST_CASE("P5 cuda backend: rows are appended before the Hopper kernel reads them") {
  CheckMixtures(SAGE_BF16, "kernels=hopper", true, 7201, 16);
}

// The launch gets the plan's workspace, in which it zeroes its counter: RunOp fills it with other bytes.
TEST_CASE("P1 cuda backend: the Hopper kernel counts its tiles in the workspace of the plan") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host, "kernels=hopper");
  AttentionCase attention(SAGE_BF16, {.batch = 2, .heads_q = 2, .seq_q = 300, .seq_kv = 200, .dim_qk = 64}, 5);
  OnDevice(attention);
  TestOp op(SAGE_OP_ATTENTION);
  attention.Describe(op);
  PlannedOp planned(device, op);
  REQUIRE_MESSAGE(planned.status() == SAGE_OK, planned.message());
  CHECK(planned.info().workspace_bytes == cuda::kHopperWorkspaceBytes);
  for (int run = 0; run < 2; ++run) CHECK(Disagreement(attention, device) == "");
}

TEST_CASE("P7 cuda backend: the Hopper kernel keeps what a query does not see from its result") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host, "kernels=hopper");
  for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16}) {
    AttentionCase attention(dtype, {.heads_q = 2, .seq_q = 150, .seq_kv = 260, .dim_qk = 64}, 5);
    attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
    attention.V().Set({0, 0, 255, 9}, std::numeric_limits<double>::quiet_NaN());
    attention.V().Set({0, 0, 140, 63}, std::numeric_limits<double>::infinity());
    CHECK(Disagreement(attention, device) == "");
  }
}

TEST_CASE("P12 cuda backend: a prompt goes to the Hopper kernel and crooked addresses to the other") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host);
  AttentionCase attention(SAGE_BF16, {.heads_q = 4, .heads_k = 2, .seq_q = 256, .seq_kv = 256, .dim_qk = 64}, 5);
  Counts before = Launches();
  CHECK(Disagreement(attention, device) == "");
  CHECK(Launches().hopper == before.hopper + 1);
  // The plan is the same; the address is known in the run.
  before = Launches();
  AttentionCase crooked = attention;
  crooked.Q() = OwnedTensor(SAGE_BF16, {1, 4, 256, 64}, {4 * 256 * 64, 256 * 64, 64, 1}, 2).FillNormal(3);
  CHECK(Disagreement(crooked, device) == "");
  CHECK(Launches().hopper == before.hopper);
  CHECK(Launches().portable == before.portable + 1);
}

TEST_CASE("P12 cuda backend: one query over many keys is not the Hopper kernel's though it packs heads") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host);
  CHECK(ChoiceOf(device, 1, 32, 8, 1, 8192) == "decode");
  CHECK(ChoiceOf(device, 64, 64, 8, 1, 8192) == "decode");
  CHECK(ChoiceOf(device, 64, 32, 32, 1, 4096) == "decode");
  CHECK(ChoiceOf(device, 1, 64, 8, 8, 4096) == "decode");
  CHECK(ChoiceOf(device, 64, 64, 8, 16, 4096) == "hopper");
  CHECK(ChoiceOf(device, 8, 32, 8, 100, 8192) == "hopper");
  CHECK(ChoiceOf(device, 1, 32, 8, 2048, 2048) == "hopper");
}

}  // namespace sage::test
