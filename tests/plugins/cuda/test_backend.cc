// test_backend.cc: the backend over kernels and a runtime of the test's own: what is chosen, what is refused and how,
// what a run hands to the kernels, and what becomes of everything that fails.
#include <doctest/doctest.h>

#include <functional>

#include <memory>

#include "attention_op.h"
#include "backend.h"
#include "fake_runtime.h"
#include "support/error_slot.h"
#include "support/test_host.h"

namespace sage::cuda {
namespace {

using test::Error;

// What the toy kernels were given, and what they answer. Tests run one after the other.
struct Launches {
  int plain = 0, fast = 0, appends = 0, rough = 0, code = kSuccess, append_code = kSuccess;
  const char* why = nullptr;
  AttentionArguments last;
  void *workspace = nullptr, *stream = nullptr;
};
Launches& Seen() {
  static Launches launches;
  return launches;
}
Launched Launch(int Launches::*count, const AttentionArguments& a, void* workspace, void* stream) {
  Launches& seen = Seen();
  ++(seen.*count);
  seen.last = a, seen.workspace = workspace, seen.stream = stream;
  return {seen.code, seen.why};
}

constexpr uint32_t kHalves = TypeBit(AttentionType::kF16) | TypeBit(AttentionType::kBf16);

std::vector<KernelFamily> Families() {
  KernelFamily plain;
  plain.name = "plain", plain.architectures = "80";
  plain.features = SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT |
                   SAGE_ATTN_F_LSE | SAGE_ATTN_F_BIAS | SAGE_ATTN_F_BOOL_MASK | SAGE_ATTN_F_KV_LENGTHS |
                   SAGE_ATTN_F_APPEND_KV;
  plain.types = kHalves | TypeBit(AttentionType::kF32) | TypeBit(AttentionType::kF64);
  plain.efficiency = 0.1;
  plain.workspace_bytes = [](const AttentionArguments&, const Properties&) { return uint64_t{64}; };
  plain.launch = [](const AttentionArguments& a, const Properties&, void* workspace, void* stream) {
    return Launch(&Launches::plain, a, workspace, stream);
  };
  plain.append = [](const AttentionArguments& a, void* stream) {
    CHECK(a.k_new != nullptr);
    CHECK(stream != nullptr);
    ++Seen().appends;
    return Launched{Seen().append_code, nullptr};
  };
  KernelFamily fast = plain;
  fast.name = "fast", fast.architectures = "80-real 90a-real";
  fast.features =
      SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT | SAGE_ATTN_F_BOOL_MASK;
  fast.types = kHalves;
  fast.accuracy = SAGE_ACCURACY_NATIVE, fast.tensor_cores = true;
  fast.efficiency = 0.5;
  fast.align = 16;
  fast.refuse = [](const AttentionArguments& a, const Properties&) -> const char* {
    return a.dim_qk > 256 ? "head dimensions up to 256 only" : nullptr;
  };
  fast.workspace_bytes = [](const AttentionArguments& a, const Properties&) {
    return a.batch > 1000 ? uint64_t{1} << 40 : uint64_t{256} * static_cast<uint64_t>(a.batch);
  };
  fast.split = [](const AttentionArguments&, const Properties&, int32_t asked, bool smaller) {
    return AttentionSplits{asked, smaller ? 64 : 128, 3};
  };
  fast.partials_bytes = [](const AttentionArguments& a) { return static_cast<uint64_t>(a.splits.partials) * 8; };
  fast.launch = [](const AttentionArguments& a, const Properties&, void* workspace, void* stream) {
    return Launch(&Launches::fast, a, workspace, stream);
  };
  KernelFamily rough = fast;  // half of its products at twice the rate, and passes ahead of them
  rough.name = "rough", rough.accuracy = SAGE_ACCURACY_LOSSY;
  rough.qk_in_8_bits = true, rough.least_ns = 12000;
  rough.ahead_bytes = [](const AttentionArguments& a) { return 1.0 * a.dim_qk * a.seq_kv; };
  rough.align = 1;
  rough.launch = [](const AttentionArguments& a, const Properties&, void* workspace, void* stream) {
    return Launch(&Launches::rough, a, workspace, stream);
  };
  return {plain, fast, rough};
}

// The toys behind a table, with a runtime that the test holds.
struct Toys {
  FakeRuntime runtime;
  std::vector<KernelFamily> families = Families();
};
Toys*& Current() {
  static Toys* current = nullptr;
  return current;
}
void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  ProbeOver(Current()->runtime, {Current()->families}, device_id, count, answer);
}
sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                   std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  return CreateOver(Current()->runtime, {Current()->families}, host, device_id, options, out, err);
}
constexpr sage_plugin kTable = plugins::DeviceTable<Probe, Create>(
    {.name = "cuda", .version = kVersion, .build = "toys", .kinds = kKinds, .device_type = SAGE_CUDA});

// A host that has memory of the device, too.
struct Fixture {
  explicit Fixture(const char* options = nullptr, Properties properties = FakeH200(),
                   const std::function<void(std::vector<KernelFamily>&)>& change = {}) {
    if (change) change(toys.families);
    Seen() = {};
    Current() = &toys;
    toys.runtime.devices = {properties};
    services = *host.table();
    services.self = this;
    services.alloc = [](void* self, int32_t type, int32_t id, uint64_t bytes, uint64_t align, void** out,
                        sage_error* err) {
      auto& f = *static_cast<Fixture*>(self);
      CHECK(type == SAGE_CUDA);
      CHECK(id == 0);
      return f.device->alloc(f.device->self, bytes, align, out, err);
    };
    services.free = [](void* self, int32_t, int32_t, void* memory) {
      auto& f = *static_cast<Fixture*>(self);
      f.device->free(f.device->self, memory);
    };
    services.log = [](void* self, int32_t, const char* text, uint64_t length) {
      static_cast<Fixture*>(self)->log.emplace_back(text, length);
    };
    status = kTable.create(&services, 0, options, &instance, &error);
    if (status == SAGE_OK) REQUIRE(kTable.device(instance, &device, nullptr) == SAGE_OK);
  }
  ~Fixture() {
    if (instance != nullptr) kTable.destroy(instance);
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  sage_answer Ask(AttentionOp& op) {
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    CHECK(kTable.ask(instance, op.op(), &answer, nullptr) == SAGE_OK);
    CHECK(answer.reason[0] != '\0');
    return answer;
  }
  std::string Reason(AttentionOp& op) { return Ask(op).reason; }

  Toys toys;
  test::TestHost host{1};
  sage_host services{};
  Error error;
  sage_status status = SAGE_OK;
  sage_instance* instance = nullptr;
  const sage_device_table* device = nullptr;
  std::vector<std::string> log;
};

// A plan, and a run of it over addresses that are only passed on.
struct Planned {
  Planned(Fixture& fixture, AttentionOp& attention, const Planned* like = nullptr) : op(attention) {
    info.struct_size = sizeof info;
    status = kTable.plan(fixture.instance, op.op(), like == nullptr ? nullptr : like->plan, &plan, &info, &error);
  }
  ~Planned() {
    if (plan != nullptr) kTable.plan_destroy(plan);
  }
  sage_status Run() {
    sage_run_args args{};
    args.struct_size = sizeof args;
    args.slots = op.slots;
    args.num_slots = SAGE_ATTN_NUM_SLOTS;
    args.workspace = workspace;
    args.workspace_bytes = sizeof workspace;
    args.stream = this;
    return kTable.run(plan, &args, &error);
  }
  AttentionOp& op;
  sage_plan* plan = nullptr;
  sage_plan_info info{};
  sage_status status = SAGE_OK;
  Error error;
  alignas(256) unsigned char workspace[1024];
};

bool Has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

void GiveAddresses(AttentionOp& op, uintptr_t first = 0x100000) {
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot)
    if (op.slots[slot] != nullptr) op[slot].data = reinterpret_cast<void*>(first + slot * 0x10000);
}

}  // namespace

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
