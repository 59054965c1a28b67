// test_backend_runs.cc: what a plan keeps and a run hands to kernels that are toys, and what becomes of everything that
// fails.
#include <memory>

#include "backend_toys.h"

namespace sage::cuda {

TEST_CASE("R19 cuda: a run hands its tensors and its stream to the kernels") {
  Fixture f;
  AttentionOp op;
  op.dynamic_axes = SAGE_AXIS_SQ;
  op.attributes.features = SAGE_ATTN_F_CAUSAL;
  op.attributes.alignment = SAGE_ALIGN_TOP_LEFT;
  GiveAddresses(op);
  Planned plan(f, op);
  REQUIRE_MESSAGE(plan.status == SAGE_OK, plan.error.message);
  CHECK(plan.info.workspace_bytes == 512);
  CHECK(plan.info.prepack_bytes == 0);
  op[SAGE_ATTN_Q].shape[2] = op[SAGE_ATTN_O].shape[2] = 40;  // fewer rows, planned strides
  const size_t calls = f.toys.runtime.calls.size();
  REQUIRE_MESSAGE(plan.Run() == SAGE_OK, plan.error.message);
  CHECK(Seen().fast == 1);
  CHECK(Seen().last.seq_q == 40);
  CHECK(Seen().last.q_strides.head == 64 * 64);
  CHECK(Seen().last.q == op[SAGE_ATTN_Q].data);
  CHECK(Seen().last.o == op[SAGE_ATTN_O].data);
  CHECK(Seen().last.causal);
  CHECK(Seen().workspace == plan.workspace);
  CHECK(Seen().stream == &plan);
  CHECK(f.toys.runtime.calls.size() == calls + 1);  // GetDevice: nothing is allocated, nothing is waited for
  op[SAGE_ATTN_Q].shape[2] = op[SAGE_ATTN_O].shape[2] = 0;
  CHECK(plan.Run() == SAGE_OK);
  CHECK(Seen().fast == 1);  // a grid of no blocks is an error of CUDA's
}

TEST_CASE("R19 cuda: operands that lie crooked for wide reads go to kernels that take any address") {
  Fixture f;
  AttentionOp op;
  GiveAddresses(op, 0x100002);
  Planned plan(f, op);
  REQUIRE(plan.status == SAGE_OK);
  CHECK(plan.Run() == SAGE_OK);
  CHECK(Seen().fast == 0);
  CHECK(Seen().plain == 1);
  GiveAddresses(op, 0x100001);  // not even an element lies right: the device would fault, and be lost
  CHECK(plan.Run() == SAGE_E_INVALID_ARGUMENT);
  CHECK(plan.error.Says("the address of Q is no multiple of 2 bytes, the size of its elements"));
  CHECK(Seen().plain == 1);

  Fixture only("kernels=fast");
  GiveAddresses(op, 0x100002);
  Planned insisted(only, op);
  REQUIRE(insisted.status == SAGE_OK);
  CHECK(insisted.Run() == SAGE_E_INVALID_ARGUMENT);
  CHECK(insisted.error.Says("the address of Q is no multiple of 16 bytes, which the kernels \"fast\" need"));
}

TEST_CASE("G7 cuda: kernels that wait may be launched early where that is asked for and compiled in") {
  Properties ada = FakeH200();
  ada.major = 8, ada.minor = 9;
  const struct {
    const char* options;
    bool waits;
    const char* architectures;
    Properties device;
    bool dependent;
  } cases[] = {{"dependent_launch=on\nkernels=fast", true, "80-real 90-real", FakeH200(), true},
               {"dependent_launch=off\nkernels=fast", true, "80-real 90-real", FakeH200(), false},
               {"kernels=fast", true, "80-real 90-real", FakeH200(), false},
               {"dependent_launch=on\nkernels=fast", false, "80-real 90-real", FakeH200(), false},
               {"dependent_launch=on\nkernels=fast", true, "80", FakeH200(), false},  // PTX of sm_80 does not wait
               {"dependent_launch=on\nkernels=fast", true, "80-real", ada, false}};
  for (const auto& c : cases) {
    CAPTURE(c.options);
    CAPTURE(c.architectures);
    // The families are taken when the instance is made.
    Fixture f(c.options, c.device, [&](std::vector<KernelFamily>& families) {
      for (KernelFamily& family : families) family.waits = c.waits, family.architectures = c.architectures;
    });
    REQUIRE_MESSAGE(f.status == SAGE_OK, f.error.message);
    AttentionOp op;
    GiveAddresses(op);
    Planned plan(f, op);
    REQUIRE(plan.status == SAGE_OK);
    CHECK(plan.Run() == SAGE_OK);
    CHECK(Seen().last.dependent == c.dependent);
  }
  Fixture wrong("dependent_launch=maybe");
  CHECK(wrong.status == SAGE_E_INVALID_ARGUMENT);
  CHECK(wrong.error.Says("dependent_launch is \"maybe\", expected on or off"));
}

TEST_CASE("G7 cuda: stages of a kernel are left out by their names") {
  static constexpr const char* kStages[] = {"first", "second", "third"};
  const auto staged = [](std::vector<KernelFamily>& families) {
    for (KernelFamily& family : families)
      if (std::string(family.name) == "fast") family.stages = kStages, family.stages_off = 4;
  };
  const struct {
    const char* options;
    uint32_t off;
  } cases[] = {{"kernels=fast", 4},
               {"kernels=fast\nhopper_stages=all", 0},
               {"hopper_stages=none\nkernels=fast", 7},
               {"kernels=fast\nhopper_stages=second", 5},
               {"kernels=fast\nhopper_stages=third,first", 2}};
  for (const auto& c : cases) {
    CAPTURE(c.options);
    Fixture f(c.options, FakeH200(), staged);
    REQUIRE_MESSAGE(f.status == SAGE_OK, f.error.message);
    AttentionOp op;
    GiveAddresses(op);
    Planned plan(f, op);
    REQUIRE(plan.status == SAGE_OK);
    CHECK(plan.Run() == SAGE_OK);
    CHECK(Seen().last.stages_off == c.off);
  }
  Fixture wrong("hopper_stages=first,fourth", FakeH200(), staged);
  CHECK(wrong.status == SAGE_E_INVALID_ARGUMENT);
  CHECK(wrong.error.Says("hopper_stages names \"fourth\", expected all, none, or some of first, second, third with"));
  Fixture empty("hopper_stages=", FakeH200(), staged);
  CHECK(empty.error.Says("hopper_stages is empty"));
  Fixture none("kernels=plain\nhopper_stages=first", FakeH200(), staged);
  CHECK(none.error.Says("hopper_stages is \"first\", but the kernels \"plain\" have no stages"));
}

TEST_CASE("cuda: what a plan fixes of splits is given to its runs") {
  Fixture f("splits=5\nkernels=fast");
  REQUIRE(f.status == SAGE_OK);
  AttentionOp op;
  GiveAddresses(op);
  {
    Planned plan(f, op);
    REQUIRE(plan.status == SAGE_OK);
    CHECK(plan.info.partials_bytes == 24);
    CHECK(plan.Run() == SAGE_OK);
    CHECK(Seen().last.splits.asked == 5);
    CHECK(Seen().last.splits.keys == 128);
    CHECK(Seen().last.splits.partials == 3);
  }
  op.dynamic_axes = SAGE_AXIS_B;  // runs may be smaller
  Planned plan(f, op);
  REQUIRE(plan.status == SAGE_OK);
  CHECK(plan.Run() == SAGE_OK);
  CHECK(Seen().last.splits.keys == 64);
  for (const char* wrong : {"splits=0", "splits=129", "splits=4x", "splits=-1", "splits="}) {
    CAPTURE(wrong);
    Fixture none(wrong);
    CHECK(none.status == SAGE_E_INVALID_ARGUMENT);
    CHECK(none.error.Says("expected auto or 1 to 128"));
  }
  Fixture plain("splits=4\nkernels=plain");
  CHECK(plain.status == SAGE_E_INVALID_ARGUMENT);
  CHECK(plain.error.Says("splits is 4, but the kernels \"plain\" do not split keys"));
  Fixture as_ever("splits=4\nsplits=auto\nkernels=plain");
  CHECK(as_ever.status == SAGE_OK);
}

TEST_CASE("P7 cuda: rows are appended before kernels that find them in the cache") {
  Fixture f("kernels=plain");
  AttentionOp op;
  op.Set(SAGE_ATTN_SEQUSED_K, SAGE_I32, {2});
  op.Set(SAGE_ATTN_K_NEW, SAGE_BF16, {2, 2, 5, 64});
  op.Set(SAGE_ATTN_V_NEW, SAGE_BF16, {2, 2, 5, 64});
  op.aliases = 1u << SAGE_ATTN_K | 1u << SAGE_ATTN_V;
  op.dynamic_axes = SAGE_AXIS_SQ;
  GiveAddresses(op);
  Planned plan(f, op);
  REQUIRE_MESSAGE(plan.status == SAGE_OK, plan.error.message);
  CHECK(plan.Run() == SAGE_OK);
  CHECK(Seen().appends == 1);
  CHECK(Seen().plain == 1);
  CHECK(Seen().last.k_new == nullptr);  // they lie in the cache now
  CHECK(Seen().last.appended == 5);
  Seen().append_code = kNoKernelImage;
  CHECK(plan.Run() == SAGE_E_DEVICE);
  CHECK(Seen().plain == 1);
  CHECK(plan.error.Says("launching the kernels \"plain\""));
  Seen().append_code = kSuccess;
  // No query, rows to append all the same; then neither.
  op[SAGE_ATTN_Q].shape[2] = op[SAGE_ATTN_O].shape[2] = 0;
  CHECK(plan.Run() == SAGE_OK);
  CHECK(Seen().appends == 3);
  CHECK(Seen().plain == 1);
}

TEST_CASE("R19 cuda: constants are copied once and shared with the plan of another bucket") {
  Fixture f;
  AttentionOp op;
  GiveAddresses(op);
  std::vector<uint16_t> keys(2 * 2 * 96 * 64);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<uint16_t>(i);
  op[SAGE_ATTN_K].device_type = SAGE_CPU;
  op[SAGE_ATTN_K].flags = SAGE_TENSOR_CONSTANT;
  op[SAGE_ATTN_K].data = keys.data();
  // Walked backwards: the copy starts before element 0.
  op[SAGE_ATTN_K].stride[2] = -64;
  op[SAGE_ATTN_K].data = keys.data() + 95 * 64;
  {
    Planned plan(f, op);
    REQUIRE_MESSAGE(plan.status == SAGE_OK, plan.error.message);
    CHECK(plan.info.prepack_bytes == keys.size() * 2);
    CHECK(f.toys.runtime.blocks() == 1);
    REQUIRE_MESSAGE(plan.Run() == SAGE_OK, plan.error.message);
    const auto* copied = static_cast<const uint16_t*>(Seen().last.k);
    CHECK(copied != op[SAGE_ATTN_K].data);
    CHECK(std::memcmp(copied - 95 * 64, keys.data(), keys.size() * 2) == 0);
    {
      Planned bucket(f, op, &plan);
      REQUIRE(bucket.status == SAGE_OK);
      CHECK(bucket.info.prepack_bytes == 0);
      CHECK(f.toys.runtime.blocks() == 1);
      CHECK(bucket.Run() == SAGE_OK);
      CHECK(Seen().last.k == copied);
    }
    CHECK(f.toys.runtime.blocks() == 1);
  }
  CHECK(f.toys.runtime.blocks() == 0);
  // No room, or a copy that fails: no plan, nothing left.
  f.toys.runtime.memory_limit = 10;
  Planned none(f, op);
  CHECK(none.status == SAGE_E_OUT_OF_MEMORY);
  CHECK(none.error.Says("cuda:0: allocating 49152 bytes, of 10 10 are free"));
  f.toys.runtime.memory_limit = 1 << 30;
  f.toys.runtime.fail["Copy"] = 999;
  Planned failed(f, op);
  CHECK(failed.status == SAGE_E_DEVICE);
  CHECK(f.toys.runtime.blocks() == 0);
  CHECK(f.log.empty());
}

TEST_CASE("R19 cuda: a launch that fails is a sentence and no error is left to the next session") {
  Fixture f;
  AttentionOp op;
  GiveAddresses(op);
  Planned plan(f, op);
  REQUIRE(plan.status == SAGE_OK);
  Seen().code = kNoKernelImage;
  f.toys.runtime.LeaveError(kNoKernelImage);
  CHECK(plan.Run() == SAGE_E_DEVICE);
  CHECK(plan.error.native_code == kNoKernelImage);
  CHECK(plan.error.Says(
      "cuda:0: launching the kernels \"fast\": cudaErrorOther (209): something else; build the plugin"));
  CHECK(f.toys.runtime.pending_error() == kSuccess);
  Seen().code = kSuccess, Seen().why = "the driver refused a tensor map";
  f.toys.runtime.LeaveError(1);
  CHECK(plan.Run() == SAGE_E_DEVICE);
  CHECK(plan.error.Says("cuda:0: launching the kernels \"fast\": the driver refused a tensor map"));
  CHECK(f.toys.runtime.pending_error() == kSuccess);
  Seen() = {};
  CHECK(plan.Run() == SAGE_OK);  // the plan stays usable
}

TEST_CASE("G7 cuda: after an error that loses the device every answer is no with the reason") {
  Fixture f;
  AttentionOp op;
  GiveAddresses(op);
  Planned plan(f, op);
  REQUIRE(plan.status == SAGE_OK);
  CHECK(f.Ask(op).verdict == SAGE_YES);
  Error error;
  f.toys.runtime.fail["StreamSynchronize"] = kIllegalAddress;
  CHECK(f.device->stream_synchronize(f.device->self, nullptr, &error) == SAGE_E_DEVICE);
  CHECK(
      f.Reason(op) ==
      "cuda:0 was lost to this process by an earlier run: cudaErrorIllegalAddress (700): an illegal memory access was "
      "encountered; start the process anew");
  Planned another(f, op);
  CHECK(another.status != SAGE_OK);
  // A new engine in this process finds it out when it makes its instance.
  sage_instance* instance = nullptr;
  CHECK(kTable.create(&f.services, 0, nullptr, &instance, &error) == SAGE_E_DEVICE);
  CHECK(error.Says("start it anew"));
}

}  // namespace sage::cuda
