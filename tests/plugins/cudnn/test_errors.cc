// test_errors.cc: what is missing, what fails and what becomes of it: by classes, each with its sentence; options; runs
// that are recorded; data on the device that would have cuDNN read elsewhere.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "../cuda/attention_op.h"
#include "backend_testing.h"
#include "library.h"
#include "support/temporary_folder.h"

namespace sage::cudnn {
namespace {

using test::AttentionCase;
using test::Error;
using test::Instance;
using test::PlannedOp;
using test::TestHost;
using test::TestOp;
using test::Threads;

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Device {
  explicit Device(const char* options = nullptr) : host(1, Threads::kSimulated), instance(FakeTable(), host, options) {}
  std::string Reason(const sage_op* op) {
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    REQUIRE(FakeTable()->ask(instance.handle(), op, &answer, nullptr) == SAGE_OK);
    return answer.verdict == SAGE_NO ? answer.reason : "";
  }
  TestHost host;
  Instance instance;
};

AttentionCase Small() {
  return AttentionCase(SAGE_BF16, {.batch = 2, .heads_q = 4, .heads_k = 2, .seq_q = 9, .seq_kv = 20, .dim_qk = 16}, 3);
}

std::string ProbeText(int32_t id = 0) {
  uint32_t count = 0;
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  TestHost host(1, Threads::kSimulated);
  REQUIRE(FakeTable()->probe(host.table(), id, &count, &answer, nullptr) == SAGE_OK);
  return (answer.verdict == SAGE_NO ? "no: " : "yes: ") + std::string(answer.reason);
}

}  // namespace

TEST_CASE("S19 cudnn: probe says what is there and what is missing") {
  BeginFake();
  CHECK(Has(ProbeText(), "yes: cuDNN 9.19.0, NVIDIA H200, sm_90"));
  TheRuntime().driver_version = 0;
  CHECK(Has(ProbeText(), "no: no NVIDIA driver was found"));
  TheRuntime().driver_version = 13000;
  WhatIsMissing().cudnn = "cuDNN could not be loaded: libcudnn.so.9: cannot open shared object file";
  CHECK(Has(ProbeText(), "no: cuDNN could not be loaded: libcudnn.so.9"));
  BeginFake();
}

TEST_CASE("S19 cudnn: versions that are known to be wrong are not used") {
  CHECK(VersionRefusal(91900) == nullptr);
  CHECK(VersionRefusal(91302) == nullptr);
  CHECK(Has(VersionRefusal(91000), "older than this build needs: 9.13.2"));
  CHECK(Has(VersionRefusal(91301), "older"));
  CHECK(Has(VersionRefusal(8907), "older"));
  CHECK(Has(VersionRefusal(100000), "newer than this build knows"));
  Library library;
  std::string why;
  CHECK_FALSE(Load("/no/such/libcudnn.so.9", &library, &why));
  CHECK(Has(why, "cuDNN could not be loaded: /no/such/libcudnn.so.9: cannot open shared object file"));
  CHECK_FALSE(Load("libm.so.6", &library, &why));
  CHECK(Has(why, "libm.so.6 is no cuDNN 9 that this build can use: it has no function cudnnGetVersion"));
  const test::Folder folder;
  CHECK(Candidates(folder.path) == std::vector<std::string>{folder.path + "/libcudnn.so.9"});
  CHECK(Candidates("").front() == "libcudnn.so.9");
}

TEST_CASE("P12 cudnn: of what the library says of its engines the reasons are told") {
  CHECK(GistOf("") == "");
  CHECK(GistOf("one line\nand another") == "one line");
  CHECK(GistOf("Warning: X; Reason: no handle at: handle == nullptr\nmore") == "no handle at: handle == nullptr");
  CHECK(
      GistOf(
          "{\"engineId\":2,\"smVersion\":900}\nWarning: W; Reason: d is odd at: d % 8 != 0\nWarning: W; Reason: f()\n\n"
          "{\"engineId\":1}\nWarning: W; Reason: d is odd at: d % 8 != 0\n\n{\"engineId\":10}\nReason: another "
          "device\n") == "engine 2, 1: d is odd; engine 10: another device");
  CHECK(GistOf("{\"engineId\":") == "{\"engineId\":");
}

TEST_CASE("S10 cudnn: options are read or refused with what is expected") {
  BeginFake();
  for (const char* good :
       {"library=/there", "library=auto", "cublas=auto", "graph=auto", "graph=composite", "graph=unified",
        "capture=stream", "capture=native", "plans=off", "plans=auto", "plans=/tmp/nowhere", "\n\n"}) {
    CAPTURE(good);
    const Device device(good);
    CHECK_MESSAGE(device.instance.status() == SAGE_OK, device.instance.message());
  }
  const struct {
    const char *options, *words;
  } bad[] = {
      {"graf=auto", "option \"graf\" is unknown to cudnn; it has: library, cublas, graph, capture, plans, rates"},
      {"graph=both", "graph is \"both\", expected auto, composite or unified"},
      {"capture=", "capture is \"\", expected stream or native"},
      {"plans=here", "plans is \"here\", expected off, auto, or the absolute path of a folder"},
      {"rates=", "rates is \"\", expected a file of rates"},
      {"rates=/nowhere", "create: rates is \"/nowhere\", which cannot be read"},
      {"library=", "library is \"\", expected auto, or where libcudnn.so.9 is"},
      {"library=/elsewhere", "create: /elsewhere: no such file"}};
  for (const auto& [options, words] : bad) {
    const Device device(options);
    CHECK(device.instance.status() != SAGE_OK);
    CHECK_MESSAGE(Has(device.instance.message(), words), device.instance.message());
  }
}

TEST_CASE("S19 cudnn: without cuBLASLt it is not begun with, as cuDNN would end the process") {
  BeginFake();
  WhatIsMissing().cublaslt = "cuBLASLt could not be loaded: libcublasLt.so.13: no such file";
  const Device device;
  CHECK(device.instance.status() == SAGE_E_UNSUPPORTED);
  CHECK_MESSAGE(Has(device.instance.message(), "libcublasLt.so.13: no such file; cuDNN cannot do without it"),
                device.instance.message());
  BeginFake();
}

TEST_CASE("S19 cudnn: a library that does not begin is a sentence") {
  BeginFake().failures.push_back({.function = "Create", .status = 1008, .text = "libcudnn_graph.so.9 not found"});
  const Device device;
  CHECK(device.instance.status() == SAGE_E_UNSUPPORTED);
  CHECK_MESSAGE(Has(device.instance.message(), "cuDNN 9.19.0 on cuda:0: "), device.instance.message());
  CHECK(Has(device.instance.message(), "libcudnn_graph.so.9 not found"));
  BeginFake();
}

TEST_CASE("P12 cudnn: what cuDNN refuses is a NO with its own words, for the next backend") {
  BeginFake();
  Device device;
  fake::The().judge = [](DescriptorType, const std::string&, std::string* text) {
    return *text = "no such pattern", 3001;
  };
  AttentionCase call = Small();
  Move(&call);
  const test::RunResult result = call.Run(device.instance);
  CHECK(result.status != SAGE_OK);
  CHECK_MESSAGE(Has(result.message, "no such pattern"), result.message);
}

TEST_CASE("P12 cudnn: a library that turns out unusable is disabled with its reason for every later question") {
  BeginFake();
  Device device;
  fake::The().failures.push_back({.function = "BackendFinalize",
                                  .status = 1008,
                                  .text = "libcudnn_engines.so.9 not found",
                                  .descriptor = kEngineHeuristics,
                                  .times = 1});
  cuda::AttentionOp op;
  CHECK(Has(device.Reason(op.op()), "libcudnn_engines.so.9 not found"));
  cuda::AttentionOp other;
  other.Set(SAGE_ATTN_Q, SAGE_BF16, {2, 8, 32, 64}), other.Set(SAGE_ATTN_O, SAGE_BF16, {2, 8, 32, 64});
  CHECK(Has(device.Reason(other.op()), "cuDNN 9.19.0 is not usable: "));
  CHECK(Has(device.Reason(other.op()), "libcudnn_engines.so.9 not found"));
}

TEST_CASE("P12 cudnn: what else goes wrong while asking is heard of") {
  BeginFake();
  Device device;
  fake::The().failures.push_back(
      {.function = "BackendFinalize", .status = 4000, .text = "something broke", .descriptor = kEngineHeuristics});
  cuda::AttentionOp op;
  CHECK(Has(device.Reason(op.op()), "something broke"));
  bool heard = false;
  for (const std::string& line : device.host.log_lines()) heard = heard || Has(line, "something broke");
  CHECK(heard);
}

TEST_CASE("P12 cudnn: a run that fails is an error with its class and its text") {
  BeginFake();
  Device device;
  AttentionCase call = Small();
  Move(&call);
  TestOp op(SAGE_OP_ATTENTION);
  call.Describe(op);
  PlannedOp planned(device.instance, op);
  REQUIRE_MESSAGE(planned.status() == SAGE_OK, planned.message());
  const struct {
    int status;
    sage_status becomes;
  } cases[] = {{5000, SAGE_E_DEVICE}, {4004, SAGE_E_OUT_OF_MEMORY}, {2000, SAGE_E_DEVICE}, {3000, SAGE_E_UNSUPPORTED}};
  for (const auto& [status, becomes] : cases) {
    CAPTURE(status);
    fake::The().failures = {{.function = "BackendExecute", .status = status, .text = "as told"}};
    std::string failure;
    CHECK(planned.Run(op.slots(), &failure) == becomes);
    CHECK_MESSAGE(Has(failure, "run: cuda:0: cudnnBackendExecute: "), failure);
    CHECK(Has(failure, "as told"));
  }
  fake::The().failures.clear();
  std::string failure;
  CHECK(planned.Run(op.slots(), &failure) == SAGE_OK);
}

TEST_CASE("P12 cudnn: what a plan of one shape cannot be asked for is refused") {
  BeginFake();
  Device device;
  cuda::AttentionOp op;
  op.dynamic_axes = SAGE_AXIS_SQ;
  CHECK(Has(device.Reason(op.op()), "a plan of cuDNN is of one shape"));
  op.dynamic_axes = 0, op.accuracy = SAGE_ACCURACY_EXACT;
  CHECK(Has(device.Reason(op.op()), "class NATIVE; EXACT is asked for"));
  op.accuracy = SAGE_ACCURACY_AUTO, op.attributes.algorithm = SAGE_ALGORITHM_MATERIALISED;
  CHECK(Has(device.Reason(op.op()), "MATERIALISED"));
  op.attributes.algorithm = SAGE_ALGORITHM_AUTO;
  CHECK(device.Reason(op.op()) == "");
  Device unified("graph=unified");
  CHECK(unified.Reason(op.op()) == "");
  op.attributes.softcap = 3;
  CHECK(Has(unified.Reason(op.op()), "the unified op has no masks"));
}

TEST_CASE("P12 cudnn: the unified op is asked for where the composite graph has no engine") {
  BeginFake();
  Device device;
  fake::The().judge = [](DescriptorType, const std::string& graph, std::string* text) {
    *text = "no composite graphs";
    return graph.find("matmul") == std::string::npos ? kSuccess : 3001;
  };
  AttentionCase call = Small();
  CHECK(Disagreement(call, device.instance) == "");
  CHECK(fake::The().runs.size() == 1);
}

TEST_CASE("S15 cudnn: a recorded run adds the plan's own nodes where that is asked for") {
  BeginFake();
  fake::The().engines[kHeuristicA] = {{.index = 1, .behavior_notes = {kNoteNativeGraph}}};
  Device device("capture=native");
  AttentionCase call = Small();
  Move(&call);
  TestOp op(SAGE_OP_ATTENTION);
  call.Describe(op);
  PlannedOp planned(device.instance, op);
  std::string failure;
  // Not recorded: as ever.
  CHECK(planned.Run(op.slots(), &failure) == SAGE_OK);
  CHECK(fake::The().runs.size() == 1);
  TheRuntime().recording = true;
  const int before = TheRuntime().added_nodes;
  CHECK(planned.Run(op.slots(), &failure) == SAGE_OK);
  CHECK(fake::The().populated.size() == 1);
  CHECK(fake::The().runs.size() == 1);
  CHECK(TheRuntime().added_nodes == before + 1);
  CHECK(TheRuntime().graphs() == 0);
  // What cannot be added is told, and nothing of it stays.
  fake::The().failures = {{.function = "BackendPopulateCudaGraph", .status = 3013, .text = "not natively"}};
  CHECK(planned.Run(op.slots(), &failure) == SAGE_E_UNSUPPORTED);
  CHECK(Has(failure, "not natively"));
  CHECK(TheRuntime().added_nodes == before + 1);
  CHECK(TheRuntime().graphs() == 0);
  // Through the stream.
  Device stream("capture=stream");
  PlannedOp through(stream.instance, op);
  fake::The().failures.clear();
  CHECK(through.Run(op.slots(), &failure) == SAGE_OK);
  CHECK(fake::The().runs.size() == 2);
  TheRuntime().recording = false;
}

TEST_CASE("P7 cudnn: lengths, offsets and pages that are wrong do not reach cuDNN") {
  BeginFake();
  Device device;
  AttentionCase lengths = Small();
  lengths.Integers(SAGE_ATTN_SEQUSED_K, {2}, {1e9, -5});
  lengths.Integers(SAGE_ATTN_SEQUSED_Q, {2}, {-1e9, 1e6});
  AttentionCase packed;
  packed.Q() = packed.O() = test::OwnedTensor(SAGE_BF16, {20, 4, 16}).FillNormal(1);
  packed.K() = packed.V() = test::OwnedTensor(SAGE_BF16, {30, 2, 16}).FillNormal(2);
  packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {4}, {-7, 5, 1000, 2000});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_K, {4}, {0, 25, 26, 1e9});
  AttentionCase paged = Small();
  paged.K() = paged.V() = test::OwnedTensor(SAGE_BF16, {5, 2, 8, 16}).FillNormal(3);
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {2, 3}, {-1, 1e9, 4, 5, 2, -7});
  paged.Integers(SAGE_ATTN_SEQUSED_K, {2}, {24, 1e9});
  for (AttentionCase* call : {&lengths, &packed, &paged}) {
    Move(call);
    const test::RunResult result = call->Run(device.instance);
    CHECK_MESSAGE(result.status == SAGE_OK, result.message);
    CHECK(TakeEmulationFault() == "");
    CHECK(fake::The().Faults() == "");
  }
}

TEST_CASE("P7 cudnn: an address that a graph cannot take is an error that says so") {
  BeginFake();
  Device device;
  AttentionCase call = Small();
  Move(&call);
  TestOp op(SAGE_OP_ATTENTION);
  call.Describe(op);
  PlannedOp planned(device.instance, op);
  sage_tensor moved = *call.K().tensor();
  moved.data = static_cast<char*>(moved.data) + 8;
  TestOp crooked(SAGE_OP_ATTENTION);
  call.Describe(crooked);
  crooked.Slot(SAGE_ATTN_K, &moved);
  std::string failure;
  CHECK(planned.Run(crooked.slots(), &failure) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(Has(failure, "the address of K is no multiple of 16 bytes"), failure);
}

TEST_CASE("P12 cudnn: one plan is run by eight threads, one after the other in the library") {
  BeginFake();
  Device device;
  AttentionCase call = Small().WithLse();
  CHECK(Disagreement(call, device.instance) == "");
  const AttentionCase want = call;
  TestOp op(SAGE_OP_ATTENTION);
  call.Describe(op);
  PlannedOp planned(device.instance, op);
  std::vector<AttentionCase> calls(8, call);
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (AttentionCase& own : calls)
    threads.emplace_back([&own, &planned, &failed] {
      TestOp slots(SAGE_OP_ATTENTION);
      own.Describe(slots);
      // Each with a workspace of its own: the plan is all that they share.
      std::vector<unsigned char> memory(planned.info().workspace_bytes + 256);
      sage_run_args args{};
      args.struct_size = sizeof args;
      args.num_slots = static_cast<uint32_t>(slots.slots().size()), args.slots = slots.slots().data();
      args.workspace = memory.data() + (256 - reinterpret_cast<uintptr_t>(memory.data()) % 256);
      args.workspace_bytes = planned.info().workspace_bytes;
      for (int i = 0; i < 5; ++i)
        if (FakeTable()->run(planned.handle(), &args, nullptr) != SAGE_OK) ++failed;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(fake::The().Faults() == "");
  for (const AttentionCase& own : calls)
    for (uint64_t i = 0; i < own.O().size(); ++i) REQUIRE(own.O().Get(i) == want.O().Get(i));
}

}  // namespace sage::cudnn
