// test_emulated_backend.cc: the whole backend on a machine without a device: its table, its reading of slots, its
// choice, and the kernels' own text in the emulation, against the float64 oracle.
#include <doctest/doctest.h>

#include <fstream>

#include "../cpu/attention_testing.h"
#include "attention_emulated.h"
#include "attention_mixtures.h"
#include "attention_op.h"
#include "cuda/backend.h"
#include "fake_runtime.h"
#include "family_descriptions.h"
#include "int8_emulated.h"
#include "lossy_gates.h"
#include "support/temporary_folder.h"

namespace sage::test {
namespace {

using cuda::AttentionArguments;
using cuda::KernelFamily;
using cuda::Launched;
using cuda::Properties;

// Tests run one after the other.
std::string& Failed() {
  static std::string text;
  return text;
}
int& Launches() {
  static int count = 0;
  return count;
}

template <Kernel kKernel>
Launched Emulate(const AttentionArguments& arguments, const Properties&, void*, void*) {
  Failed() = LaunchEmulated(kKernel, arguments, static_cast<uint64_t>(++Launches()));
  return {cuda::kSuccess, Failed().empty() ? nullptr : Failed().c_str()};
}

Launched EmulateDecode(const AttentionArguments& arguments, const Properties& device, void* workspace, void*) {
  Failed() = LaunchDecodeEmulated(arguments, device, workspace, static_cast<uint64_t>(++Launches()));
  return {cuda::kSuccess, Failed().empty() ? nullptr : Failed().c_str()};
}

Launched EmulateInt8(const AttentionArguments& arguments, const Properties&, void* workspace, void*) {
  Failed() = LaunchEmulatedInt8(arguments, workspace, {.seed = static_cast<uint64_t>(++Launches())});
  return {cuda::kSuccess, Failed().empty() ? nullptr : Failed().c_str()};
}

int& Appends() {
  static int count = 0;
  return count;
}
Launched EmulateAppend(const AttentionArguments& arguments, void*) {
  Failed() = LaunchAppendEmulated(arguments, static_cast<uint64_t>(++Appends()));
  return {cuda::kSuccess, Failed().empty() ? nullptr : Failed().c_str()};
}

constexpr KernelFamily Emulated(const KernelFamily& family, decltype(KernelFamily::launch) launch) {
  return cuda::Built(family, "80", launch, EmulateAppend);
}
constexpr KernelFamily kFamilies[] = {
    Emulated(cuda::kPlainFamily, Emulate<Kernel::kPlain>),
    Emulated(cuda::kSmallFamily, Emulate<Kernel::kSmall>),
    Emulated(cuda::kDecodeFamily, EmulateDecode),
    Emulated(cuda::kPortableFamily, Emulate<Kernel::kPortable>),
    Emulated(cuda::kInt8Family, EmulateInt8),
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

// Runs on the device what the oracle runs on the CPU. Empty, or what differs.
std::string Disagreement(AttentionCase& got, Instance& device) {
  static Oracle oracle;
  std::string failure;
  const AttentionCase want = Expected(got, oracle.instance, &failure);
  if (!failure.empty()) return "oracle: " + failure;
  for (OwnedTensor& tensor : got.slots)
    if (tensor.present()) tensor.description().device_type = SAGE_CUDA;
  return DisagreementWith(want, got, device);
}

void CheckMixtures(sage_dtype dtype, const char* options, bool whole_rows, uint64_t first, uint64_t count) {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host, options);
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  const int before = Launches();
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionCase attention = AttentionMixture(seed).Draw(dtype, 64, whole_rows);
    CHECK(Disagreement(attention, device) == "");
  }
  CHECK(Launches() - before > static_cast<int>(count / 2));  // a call without a row launches nothing
}

}  // namespace

TEST_CASE("P5 cuda backend: mixtures through the table agree with the oracle in bf16") {
  CheckMixtures(SAGE_BF16, nullptr, true, 2001, 30);
}
TEST_CASE("P5 cuda backend: mixtures through the table agree with the oracle in f16") {
  CheckMixtures(SAGE_F16, "kernels=portable", false, 3001, 30);
}
TEST_CASE("P5 cuda backend: mixtures through the table agree with the oracle in f32") {
  CheckMixtures(SAGE_F32, nullptr, true, 4001, 30);
}
TEST_CASE("P5 cuda backend: mixtures through the table agree with the oracle in f64") {
  CheckMixtures(SAGE_F64, nullptr, true, 5001, 30);
}

// Few queries, half of the calls with rows to append. A family by its name may refuse.
void CheckAppends(sage_dtype dtype, const char* options, uint64_t first, uint64_t count) {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host, options);
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  uint64_t run = 0, appended = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionMixture mixture(seed);
    mixture.FewQueries();
    if (seed % 4 != 0) mixture.Appends();
    AttentionCase attention = mixture.Draw(dtype, 64, false);
    const std::string text = Disagreement(attention, device);
    if (text.find("takes up to 64 rows") != std::string::npos) continue;
    CHECK(text == "");
    ++run, appended += attention.aliases != 0;
  }
  CHECK(run > count / 2);
  CHECK(appended > count / 3);
}

TEST_CASE("P5 cuda backend: rows are appended and attended to on whichever family is the cheapest") {
  CheckAppends(SAGE_BF16, nullptr, 6001, 24);
  const int before = Appends();
  CheckAppends(SAGE_F16, "kernels=decode\nsplits=3", 6101, 24);
  CHECK(Appends() - before < 3);  // of calls without a query: else the decode kernel does it itself
}
TEST_CASE("P5 cuda backend: rows are appended before the kernels that do not do it themselves") {
  CheckAppends(SAGE_F32, nullptr, 6201, 16);
  CheckAppends(SAGE_F64, nullptr, 6301, 16);
  CheckAppends(SAGE_BF16, "kernels=portable", 6401, 16);
  CHECK(Appends() > 20);
}

// What a cache is filled with while nobody asks yet.
TEST_CASE("P7 cuda backend: rows are appended to a cache that no query reads") {
  TestHost host(1, Threads::kSimulated);
  for (const char* options : {"kernels=decode", "kernels=plain"}) {
    Instance device(&kTable, host, options);
    AttentionCase attention(SAGE_BF16, {.heads_q = 2, .heads_k = 2, .seq_q = 0, .seq_kv = 20, .dim_qk = 16}, 5);
    attention.Integers(SAGE_ATTN_SEQUSED_K, {1}, {7});
    attention[SAGE_ATTN_K_NEW] = OwnedTensor(SAGE_BF16, {1, 2, 13, 16}).FillNormal(8);
    attention[SAGE_ATTN_V_NEW] = OwnedTensor(SAGE_BF16, {1, 2, 13, 16}).FillNormal(9);
    attention.aliases = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
    CHECK(Disagreement(attention, device) == "");
    CHECK(attention.K().At({0, 1, 19, 3}) == attention[SAGE_ATTN_K_NEW].At({0, 1, 12, 3}));
  }
}

// The plan's workspace is that of the run, whatever the mixture.
TEST_CASE("P5 cuda backend: mixtures of class LOSSY in 8 bits through the table keep the gates") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host, "kernels=int8");
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  Oracle oracle;
  for (uint64_t seed = 6001; seed < 6031; ++seed) {
    CAPTURE(seed);
    AttentionCase attention = AttentionMixture(seed).Draw(seed % 2 == 0 ? SAGE_BF16 : SAGE_F16, 64, false);
    std::string failure;
    const AttentionCase want = Expected(attention, oracle.instance, &failure);
    REQUIRE(failure == "");
    for (OwnedTensor& tensor : attention.slots)
      if (tensor.present()) tensor.description().device_type = SAGE_CUDA;
    const RunResult refused = attention.Run(device);
    CHECK(refused.answer.verdict == SAGE_NO);
    CHECK(std::string(refused.answer.reason).find("of class LOSSY; AUTO, which is NATIVE") != std::string::npos);
    attention.accuracy = SAGE_ACCURACY_LOSSY;
    const RunResult result = attention.Run(device);
    CHECK(Failure(result) == "");
    CHECK(result.answer.accuracy == SAGE_ACCURACY_LOSSY);
    CHECK(LossyDisagreement(attention, want) == "");
  }
}

TEST_CASE("R19 cuda backend: a plan of the largest sizes runs smaller ones in 8 bits within its workspace") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host, "kernels=int8");
  Oracle oracle;
  const auto sized = [](int64_t batch, int64_t queries, int64_t keys) {
    AttentionCase attention(
        SAGE_BF16, {.batch = batch, .heads_q = 4, .heads_k = 2, .seq_q = queries, .seq_kv = keys, .dim_qk = 64}, 5);
    // A run keeps the strides that were planned.
    constexpr int64_t kQueries = 200, kKeys = 600;
    const auto laid = [](sage_dtype dtype, std::vector<int64_t> shape, std::vector<int64_t> strides, uint64_t seed) {
      return OwnedTensor(dtype, shape, strides).FillNormal(seed);
    };
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_O})
      attention[slot] = laid(SAGE_BF16, {batch, 4, queries, 64}, {4 * kQueries * 64, kQueries * 64, 64, 1}, slot + 1);
    for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V})
      attention[slot] = laid(SAGE_BF16, {batch, 2, keys, 64}, {2 * kKeys * 64, kKeys * 64, 64, 1}, slot + 1);
    attention[SAGE_ATTN_LSE] = laid(SAGE_F32, {batch, 4, queries}, {4 * kQueries, kQueries, 1}, 9);
    attention.accuracy = SAGE_ACCURACY_LOSSY;
    return attention;
  };
  const auto on_device = [](AttentionCase& attention) {
    for (OwnedTensor& tensor : attention.slots)
      if (tensor.present()) tensor.description().device_type = SAGE_CUDA;
  };
  AttentionCase largest = sized(3, 200, 600);
  on_device(largest);
  TestOp op(SAGE_OP_ATTENTION);
  largest.Describe(op);
  op.DynamicAxes(SAGE_AXIS_B | SAGE_AXIS_SQ | SAGE_AXIS_SKV);
  PlannedOp planned(device, op);
  REQUIRE_MESSAGE(planned.status() == SAGE_OK, planned.message());
  const struct {
    int64_t batch, queries, keys;
  } sizes[] = {{3, 200, 600}, {1, 1, 1}, {2, 129, 257}, {3, 63, 513}, {1, 200, 600}};
  for (const auto& [batch, queries, keys] : sizes) {
    CAPTURE(batch);
    CAPTURE(queries);
    CAPTURE(keys);
    AttentionCase attention = sized(batch, queries, keys);
    std::string failure;
    const AttentionCase want = Expected(attention, oracle.instance, &failure);
    REQUIRE(failure == "");
    on_device(attention);
    TestOp smaller(SAGE_OP_ATTENTION);
    attention.Describe(smaller);
    CHECK(planned.Run(smaller.slots(), &failure) == SAGE_OK);
    CHECK(failure == "");
    CHECK(LossyDisagreement(attention, want) == "");
  }
}

TEST_CASE("P1 cuda backend: an exact answer of 16-bit operands is asked for and given") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host);
  AttentionCase attention(SAGE_BF16, {.heads_q = 2, .heads_k = 1, .seq_q = 33, .seq_kv = 65, .dim_qk = 32}, 5);
  attention.accuracy = SAGE_ACCURACY_EXACT;
  CHECK(Disagreement(attention, device) == "");  // at the gate of f32
}

// Which kernels a call of q queries of a sequence gets.
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

TEST_CASE("P12 cuda backend: few queries go to the decode kernel and many to the others") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host);
  CHECK(ChoiceOf(device, 1, 32, 8, 1, 8192) == "decode");
  CHECK(ChoiceOf(device, 1, 12, 4, 1, 128) == "small");
  CHECK(ChoiceOf(device, 64, 64, 8, 1, 8192) == "decode");
  CHECK(ChoiceOf(device, 64, 32, 32, 1, 4096) == "decode");   // a head of K for each of Q
  CHECK(ChoiceOf(device, 1, 64, 8, 8, 4096) == "decode");     // eight tiles of the others would leave the device idle
  CHECK(ChoiceOf(device, 64, 64, 8, 8, 4096) == "portable");  // four tiles of rows would read the keys four times
  CHECK(ChoiceOf(device, 1, 32, 8, 2048, 2048) == "portable");
  CHECK(ChoiceOf(device, 8, 32, 8, 100, 8192) == "portable");
}

// The table knows every family by its name, and explain shows what the price is from.
TEST_CASE("P12 cuda backend: every family is priced by its row of a file and says so") {
  const Folder folder;
  const std::string path = folder.path + "/rates.txt";
  TestHost host(1, Threads::kSimulated);
  for (const KernelFamily& family : kFamilies) {
    CAPTURE(family.name);
    std::ofstream(path) << "cuda." << family.name << " 90 128 decode none 1024 0.01 measured\n";
    double prices[2] = {};
    for (const bool by_file : {false, true}) {
      std::string options = std::string("kernels=") + family.name;
      if (by_file) options += "\nrates=" + path;
      Instance device(&kTable, host, options.c_str());
      REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
      cuda::AttentionOp op;  // 16 queries of four heads to one: 64 rows
      for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_O}) op.Set(slot, SAGE_BF16, {64, 8, 16, 64});
      for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) op.Set(slot, SAGE_BF16, {64, 2, 1024, 64});
      op.accuracy = SAGE_ACCURACY_LOSSY;
      sage_answer answer{};
      answer.struct_size = sizeof answer;
      REQUIRE(kTable.ask(device.handle(), op.op(), &answer, nullptr) == SAGE_OK);
      REQUIRE_MESSAGE(answer.verdict == SAGE_YES, answer.reason);
      CHECK(std::string(answer.reason).ends_with(by_file ? "priced by rates of " + path : "priced by an estimate"));
      prices[by_file ? 1 : 0] = answer.cost_ns;
    }
    CHECK(prices[1] > 2 * prices[0]);
  }
}

TEST_CASE("P7 cuda backend: no key at all gives zeros and the sink as LSE") {
  TestHost host(1, Threads::kSimulated);
  Instance device(&kTable, host);
  for (const sage_dtype dtype : {SAGE_BF16, SAGE_F32}) {
    AttentionCase attention(dtype, {.heads_q = 2, .seq_q = 5, .seq_kv = 9, .dim_qk = 16}, 5);
    attention.Integers(SAGE_ATTN_SEQUSED_K, {1}, {0});
    attention.WithLse();
    CHECK(Disagreement(attention, device) == "");
    for (uint64_t i = 0; i < attention.O().size(); ++i) CHECK(attention.O().Get(i) == 0);
  }
}

}  // namespace sage::test
