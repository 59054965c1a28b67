// test_entries.cc: the border around a backend, with a backend that does what the test wants: nulls, exceptions, wrong
// workspaces, `like` plans of others. What a backend is promised is checked where it is called.
#include <doctest/doctest.h>

#include <cstdlib>
#include <stdexcept>

#include "common/entries.h"
#include "support/error_slot.h"
#include "support/run_op.h"

namespace sage::test {
namespace {

using plugins::KernelPlan;
using support::OpView;

enum class Throw { kNothing, kBadAlloc, kLogicError, kNumber };

// What the backend does, and what it was given.
struct Script {
  const sage_device_table* device = nullptr;  // null: it is a backend of the CPU
  Throw at_ask = Throw::kNothing, at_plan = Throw::kNothing, at_run = Throw::kNothing;
  uint64_t workspace_bytes = 0;
  sage_status run_status = SAGE_OK;
  const KernelPlan* like = nullptr;
  const KernelPlan* planned = nullptr;
  int runs = 0;
};

void Perform(Throw what) {
  if (what == Throw::kBadAlloc) throw std::bad_alloc();
  if (what == Throw::kLogicError) throw std::logic_error("the fault of a test");
  if (what == Throw::kNumber) throw 7;
}

class ScriptedPlan final : public KernelPlan {
 public:
  explicit ScriptedPlan(Script* script) : script_(script) {
    workspace_bytes = script->workspace_bytes;
    prepack_bytes = 11;
  }
  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    ++script_->runs;
    CHECK(args.num_slots >= 2);
    CHECK(reinterpret_cast<uintptr_t>(args.workspace) % 64 == 0);
    Perform(script_->at_run);
    return script_->run_status == SAGE_OK ? SAGE_OK : sage_fail(err, script_->run_status, "as the test wanted");
  }

 private:
  Script* script_;
};

class ScriptedBackend final : public plugins::Backend {
 public:
  explicit ScriptedBackend(Script* script) : script_(script) {}
  void Ask(const OpView& view, uint64_t, sage_answer* answer) const override {
    Perform(script_->at_ask);
    if (plugins::RefuseOffCpu(view, answer)) return;
    if (view.op.kind == SAGE_OP_LINEAR) return sage_refuse(answer, 0, "no LINEAR here");
    sage_accept(answer, 5, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, script_->workspace_bytes, "kind %u", view.op.kind);
  }
  sage_status Plan(const OpView&, uint64_t, const KernelPlan* like, std::unique_ptr<KernelPlan>* out,
                   sage_error*) override {
    Perform(script_->at_plan);
    script_->like = like;
    *out = std::make_unique<ScriptedPlan>(script_);
    script_->planned = out->get();
    return SAGE_OK;
  }
  const sage_device_table* Device() const override { return script_->device; }

 private:
  Script* script_;
};

void Probe(sage_answer* answer) { sage_accept(answer, 0, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, 0, "always"); }
sage_status Create(const sage_host&, const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  // The address of the test's script: a table of functions has no other way to it.
  if (options[0] == '\0') return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "the options are empty");
  *out = std::make_unique<ScriptedBackend>(reinterpret_cast<Script*>(std::strtoull(options, nullptr, 0)));
  return SAGE_OK;
}

constexpr sage_plugin kTable = plugins::CpuTable<Probe, Create>(
    {.name = "scripted", .version = "1.0.0", .build = "test", .kinds = SAGE_KIND_BIT(SAGE_OP_UNARY)});

// An instance over a script, and a UNARY op to ask it.
struct Scripted {
  Script script;
  TestHost host;
  OwnedTensor x{SAGE_F32, {3}}, y{SAGE_F32, {3}};
  TestOp op{SAGE_OP_UNARY};
  Instance instance;

  Scripted() : instance(&kTable, host, std::to_string(reinterpret_cast<uintptr_t>(&script)).c_str()) {
    sage_unary_attributes relu{};
    relu.function = SAGE_FN_RELU;
    op.Attributes(relu).Slot(0, x).Slot(1, y);
    REQUIRE(instance.status() == SAGE_OK);
  }
};

TEST_CASE("entries: the table has every entry, and names what its author gave") {
  CHECK(kTable.struct_size == sizeof kTable);
  CHECK(kTable.abi_major == SAGE_ABI_MAJOR);
  CHECK(kTable.device_type == SAGE_CPU);
  CHECK((kTable.device == nullptr));  // (optional), and null on the CPU
  CHECK((kTable.probe && kTable.create && kTable.destroy && kTable.ask && kTable.plan && kTable.plan_destroy &&
         kTable.run));
  CHECK(std::string(kTable.name) == "scripted");
  CHECK(plugins::TableFor(kTable, SAGE_ABI_MAJOR, 999) == &kTable);
  CHECK(plugins::TableFor(kTable, SAGE_ABI_MAJOR + 1, 0) == nullptr);
}

TEST_CASE("entries: the one CPU has id 0; options are never null to a backend") {
  TestHost host;
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  uint32_t count = 0;
  CHECK(kTable.probe(host.table(), 0, &count, &answer, nullptr) == SAGE_OK);
  CHECK(answer.verdict == SAGE_YES);
  CHECK(kTable.probe(host.table(), 1, &count, &answer, nullptr) == SAGE_OK);
  CHECK(count == 1);
  CHECK(answer.verdict == SAGE_NO);
  CHECK(std::string(answer.reason).find("id 0") != std::string::npos);
  sage_instance* instance = nullptr;
  Error error;
  CHECK(kTable.create(host.table(), 1, nullptr, &instance, &error) == SAGE_E_NOT_FOUND);
  CHECK(instance == nullptr);
  CHECK(error.Says("id 0"));
  CHECK(kTable.create(host.table(), 0, nullptr, &instance, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(error.Says("the options are empty"));
  CHECK(plugins::ExpectNoOptions("scripted", "", &error) == SAGE_OK);
  CHECK(plugins::ExpectNoOptions("scripted", "a=1", &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(error.Says("\"a=1\""));
}

TEST_CASE("entries: a null where a pointer is required is an invalid argument, and handles become null") {
  Scripted s;
  sage_answer answer{};
  sage_plan_info info{};
  answer.struct_size = sizeof answer, info.struct_size = sizeof info;
  uint32_t count = 0;
  auto* const nowhere = reinterpret_cast<sage_plan*>(8);
  auto* const no_instance = reinterpret_cast<sage_instance*>(8);
  sage_instance* instance = no_instance;
  sage_plan* plan = nowhere;
  CHECK(kTable.probe(s.host.table(), 0, nullptr, &answer, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kTable.probe(s.host.table(), 0, &count, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kTable.create(nullptr, 0, nullptr, &instance, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(instance == nullptr);
  CHECK(kTable.create(s.host.table(), 0, nullptr, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kTable.ask(nullptr, s.op.op(), &answer, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kTable.ask(s.instance.handle(), nullptr, &answer, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kTable.ask(s.instance.handle(), s.op.op(), nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kTable.plan(nullptr, s.op.op(), nullptr, &plan, &info, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(plan == nullptr);
  plan = nowhere;
  CHECK(kTable.plan(s.instance.handle(), nullptr, nullptr, &plan, &info, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(plan == nullptr);
  CHECK(kTable.plan(s.instance.handle(), s.op.op(), nullptr, &plan, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kTable.plan(s.instance.handle(), s.op.op(), nullptr, nullptr, &info, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kTable.run(nullptr, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  PlannedOp planned(s.instance, s.op);
  CHECK(kTable.run(planned.handle(), nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  kTable.destroy(nullptr);
  kTable.plan_destroy(nullptr);
  CHECK(s.script.runs == 0);
}

TEST_CASE("entries: an exception becomes a status, whatever was thrown and wherever") {
  const std::pair<Throw, sage_status> cases[] = {{Throw::kBadAlloc, SAGE_E_OUT_OF_MEMORY},
                                                 {Throw::kLogicError, SAGE_E_INTERNAL},
                                                 {Throw::kNumber, SAGE_E_INTERNAL}};
  for (const auto& [thrown, status] : cases) {
    Scripted s;
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    Error error;
    PlannedOp before(s.instance, s.op);
    REQUIRE(before.status() == SAGE_OK);
    s.script.at_run = thrown;
    std::string message;
    CHECK(before.Run(s.op.slots(), &message) == status);
    CHECK(message.find(thrown == Throw::kBadAlloc     ? "run: out of memory"
                       : thrown == Throw::kLogicError ? "the fault of a test"
                                                      : "an unknown exception") != std::string::npos);
    s.script.at_plan = thrown;
    PlannedOp at_plan(s.instance, s.op);
    CHECK(at_plan.status() == status);
    CHECK(at_plan.handle() == nullptr);
    s.script.at_ask = thrown;
    CHECK(kTable.ask(s.instance.handle(), s.op.op(), &answer, &error) == status);
    CHECK(error.status == status);
  }
}

TEST_CASE("entries: what a backend refuses cannot be planned, and the reason is the same") {
  Scripted s;
  OwnedTensor x(SAGE_F32, {2, 3}), w(SAGE_F32, {4, 3}), y(SAGE_F32, {2, 4});
  TestOp linear(SAGE_OP_LINEAR);
  linear.Slot(0, x).Slot(1, w).Slot(3, y);
  CHECK(std::string(s.instance.Ask(linear).reason) == "no LINEAR here");
  PlannedOp plan(s.instance, linear);
  CHECK(plan.status() == SAGE_E_UNSUPPORTED);
  CHECK(plan.message() == "plan: no LINEAR here");
  TestOp broken(SAGE_OP_LINEAR);  // no slots at all: CheckOp's sentence, and its status
  broken.Slot(0, x);
  CHECK(s.instance.Ask(broken).verdict == SAGE_NO);
  CHECK(PlannedOp(s.instance, broken).status() == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("entries: a backend of the CPU refuses streams and devices; pinned memory is the CPU's") {
  Scripted s;
  s.op.Requirements(SAGE_REQUIRE_STREAM_CAPTURE);
  CHECK(std::string(s.instance.Ask(s.op).reason).find("STREAM_CAPTURE") != std::string::npos);
  s.op.Requirements(0);
  s.y.description().device_type = SAGE_CUDA;
  s.y.description().device_id = 3;
  CHECK(std::string(s.instance.Ask(s.op).reason).find("slot 1 lies on device (2, 3)") != std::string::npos);
  s.y.description().device_type = SAGE_CUDA_HOST;
  CHECK(s.instance.Ask(s.op).verdict == SAGE_YES);
}

TEST_CASE("entries: a plan's numbers reach the caller; `like` reaches only its own kind and instance") {
  Scripted s, other;
  s.script.workspace_bytes = 128;
  PlannedOp first(s.instance, s.op);
  CHECK(first.info().workspace_bytes == 128);
  CHECK(first.info().prepack_bytes == 11);
  CHECK(s.script.like == nullptr);
  const KernelPlan* const kernel = s.script.planned;
  PlannedOp second(s.instance, s.op, &first);
  CHECK(s.script.like == kernel);
  PlannedOp stranger(other.instance, other.op, &first);
  CHECK(stranger.status() == SAGE_OK);
  CHECK(other.script.like == nullptr);
  TestOp binary(SAGE_OP_BINARY);
  OwnedTensor sum(SAGE_F32, {3});
  sage_binary_attributes add{};
  add.function = SAGE_BINARY_ADD;
  binary.Attributes(add).Slot(0, s.x).Slot(1, s.y).Slot(2, sum);
  PlannedOp another_kind(s.instance, binary, &first);
  CHECK(another_kind.status() == SAGE_OK);
  CHECK(s.script.like == nullptr);
}

TEST_CASE("entries: a run needs its slots, its whole workspace, and that at a multiple of 64") {
  Scripted s;
  s.script.workspace_bytes = 64;
  PlannedOp plan(s.instance, s.op);
  REQUIRE(plan.status() == SAGE_OK);
  alignas(64) unsigned char workspace[128];
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.slots = s.op.slots().data();
  args.num_slots = 2;
  args.workspace = workspace, args.workspace_bytes = 63;
  Error error;
  CHECK(kTable.run(plan.handle(), &args, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(error.Says("the workspace has 63 bytes; the plan needs 64"));
  args.workspace = nullptr, args.workspace_bytes = 64;
  CHECK(kTable.run(plan.handle(), &args, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(error.Says("the workspace has 0 bytes"));
  args.workspace = workspace + 8;
  CHECK(kTable.run(plan.handle(), &args, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(error.Says("aligned to 64"));
  args.workspace = workspace, args.num_slots = 1;
  CHECK(kTable.run(plan.handle(), &args, &error) != SAGE_OK);
  args.num_slots = 2;
  CHECK(s.script.runs == 0);
  CHECK(kTable.run(plan.handle(), &args, &error) == SAGE_OK);
  CHECK(error.status == SAGE_OK);
  s.script.run_status = SAGE_E_CANCELLED;
  CHECK(kTable.run(plan.handle(), &args, &error) == SAGE_E_CANCELLED);
  CHECK(error.Says("as the test wanted"));
  CHECK(s.script.runs == 2);
}

void ProbeThree(int32_t device_id, uint32_t* count, sage_answer* answer) {
  *count = 3;
  if (device_id >= 3) return sage_refuse(answer, 0, "three are there");
  sage_accept(answer, 0, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, 0, "device %d", device_id);
}
sage_status CreateOnThree(const sage_host& host, int32_t device_id, const char* options,
                          std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  if (device_id >= 3) return sage_fail(err, SAGE_E_NOT_FOUND, "three are there");
  return Create(host, options, out, err);
}

TEST_CASE("entries: a backend of devices counts them, is made for one by its number, and gives its table") {
  constexpr sage_plugin kDevices =
      plugins::DeviceTable<ProbeThree, CreateOnThree>({.name = "devices",
                                                       .version = "1.0.0",
                                                       .build = "test",
                                                       .kinds = SAGE_KIND_BIT(SAGE_OP_UNARY),
                                                       .device_type = SAGE_CUDA});
  CHECK(kDevices.device_type == SAGE_CUDA);
  CHECK(kDevices.struct_size == sizeof kDevices);
  CHECK((kDevices.ask == kTable.ask));
  CHECK((kDevices.run == kTable.run));
  TestHost host;
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  uint32_t count = 0;
  Error error;
  CHECK(kDevices.probe(host.table(), 2, &count, &answer, &error) == SAGE_OK);
  CHECK(answer.verdict == SAGE_YES);
  CHECK(count == 3);
  CHECK(std::string(answer.reason) == "device 2");
  CHECK(kDevices.probe(host.table(), 3, &count, &answer, &error) == SAGE_OK);
  CHECK(answer.verdict == SAGE_NO);
  CHECK(count == 3);
  CHECK(kDevices.probe(host.table(), 0, nullptr, &answer, &error) == SAGE_E_INVALID_ARGUMENT);

  Script script;
  const std::string options = std::to_string(reinterpret_cast<uintptr_t>(&script));
  sage_instance* instance = nullptr;
  CHECK(kDevices.create(nullptr, 0, options.c_str(), &instance, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kDevices.create(host.table(), 3, options.c_str(), &instance, &error) == SAGE_E_NOT_FOUND);
  CHECK(instance == nullptr);
  REQUIRE(kDevices.create(host.table(), 1, options.c_str(), &instance, &error) == SAGE_OK);
  sage_device_table table{};
  script.device = &table;
  const sage_device_table* given = nullptr;
  CHECK(kDevices.device(instance, &given, &error) == SAGE_OK);
  CHECK(given == &table);
  CHECK(kDevices.device(nullptr, &given, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(kDevices.device(instance, nullptr, &error) == SAGE_E_INVALID_ARGUMENT);
  kDevices.destroy(instance);
}

TEST_CASE("entries: on a device a workspace lies at a multiple of 256") {
  Scripted s;
  sage_device_table table{};
  s.script.device = &table;
  s.script.workspace_bytes = 64;
  PlannedOp plan(s.instance, s.op);
  REQUIRE(plan.status() == SAGE_OK);
  alignas(256) unsigned char workspace[256];
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.slots = s.op.slots().data();
  args.num_slots = 2;
  args.workspace = workspace + 64, args.workspace_bytes = 64;
  Error error;
  CHECK(kTable.run(plan.handle(), &args, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(error.Says("aligned to 256"));
  args.workspace = workspace;
  CHECK(kTable.run(plan.handle(), &args, &error) == SAGE_OK);
}

}  // namespace
}  // namespace sage::test
