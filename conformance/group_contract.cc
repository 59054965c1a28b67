// group_contract.cc: the checks that run no kernel: the table, create and probe, and what ask may say.
#include <fmt/format.h>

#include <cstring>

#include "conformance/groups.h"

namespace sage::conformance {
namespace {

void Verdict(const Context& context, const std::string& name, const std::string& fault, const std::string& passed) {
  context.out.Report(name, fault.empty() ? Outcome::kPass : Outcome::kFail, fault.empty() ? passed : fault);
}

// A request with one unknown thing set, and the name of that thing.
struct Tampered {
  const char* what;
  sage_op op;
};

// An answer smaller than today's is written to its own size and not past it.
std::string AskIntoSmallAnswer(const Instance& instance, const sage_op& op) {
  alignas(8) unsigned char room[sizeof(sage_answer) + 64];
  std::memset(room, 0x5C, sizeof room);
  const uint32_t small = offsetof(sage_answer, reason) + 16;
  std::memcpy(room, &small, sizeof small);
  auto* answer = reinterpret_cast<sage_answer*>(room);
  (void)instance.table()->ask(instance.get(), &op, answer, nullptr);
  for (size_t i = small; i < sizeof room; ++i)
    if (room[i] != 0x5C) return "ask wrote past the struct_size of an older caller's answer";
  return "";
}

std::string AskPurely(const Instance& instance, Problem& problem) {
  sage_answer first{}, second{};
  if (std::string why = AskChecked(instance, problem.op, &first); !why.empty()) return why;
  const sage_op before = problem.op;
  const std::vector<sage_tensor> tensors = problem.tensors;
  // Data pointers mean nothing to ask: not even a wild one may be followed.
  for (sage_tensor& tensor : problem.tensors)
    if ((tensor.flags & SAGE_TENSOR_CONSTANT) == 0) tensor.data = reinterpret_cast<void*>(uintptr_t{16});
  const std::string why = AskChecked(instance, problem.op, &second);
  const bool op_same = std::memcmp(&before, &problem.op, sizeof before) == 0;
  problem.tensors.assign(tensors.begin(), tensors.end());
  problem.Link();
  if (!why.empty()) return why;
  if (!op_same) return "ask changed the op";
  if (std::memcmp(&first, &second, sizeof first) != 0 &&
      (first.verdict != second.verdict || first.cost_ns != second.cost_ns ||
       first.workspace_bytes != second.workspace_bytes || first.accuracy != second.accuracy ||
       std::strcmp(first.reason, second.reason) != 0))
    return "the same question got another answer";
  return "";
}

}  // namespace

void TableGroup(const Context& context) {
  const sage_plugin& t = *context.table;
  std::string fault;
  const std::pair<bool, const char*> entries[] = {{t.probe != nullptr, "probe"},
                                                  {t.create != nullptr, "create"},
                                                  {t.destroy != nullptr, "destroy"},
                                                  {t.device != nullptr || t.device_type <= SAGE_CPU, "device"},
                                                  {t.ask != nullptr, "ask"},
                                                  {t.plan != nullptr, "plan"},
                                                  {t.plan_destroy != nullptr, "plan_destroy"},
                                                  {t.run != nullptr, "run"}};
  for (const auto& [set, name] : entries)
    if (!set) fault += fmt::format("{}`{}` is null", fault.empty() ? "" : ", ", name);
  Verdict(context, "table: entries", fault, "all set");
  fault.clear();
  const size_t length = t.name == nullptr ? 0 : strnlen(t.name, 64);
  if (length == 0 || length > 32 || std::strspn(t.name, "abcdefghijklmnopqrstuvwxyz0123456789_") != length)
    fault = "the name is not [a-z0-9_]{1,32}";
  else if (t.version == nullptr || t.version[0] == '\0')
    fault = "the version is null or empty";
  else if (t.build == nullptr)
    fault = "build is null";
  else if (t.kinds == 0 || (t.kinds & 1) != 0)
    fault = fmt::format("kinds is 0x{:x}: it must name at least one kind, and bit 0 is none", t.kinds);
  else if ((t.kinds & SAGE_KIND_BIT(SAGE_OP_ATTENTION)) == 0 && t.features != 0)
    fault = "attention features are declared without the kind ATTENTION";
  else if (t.reserved != 0)
    fault = "reserved is not 0";
  Verdict(context, "table: texts and masks", fault,
          fmt::format("{} {}", length == 0 ? "?" : t.name, fault.empty() ? t.version : "?"));
}

void InstanceGroup(const Context& context) {
  KitHost host(2);
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  sage_error error = NewError();
  uint32_t count = 77;
  context.out.Step("probe");
  sage_status status = context.table->probe(host.table(), context.options.device_id, &count, &answer, &error);
  std::string fault;
  if (status != SAGE_OK)
    fault = fmt::format("probe answered {}: {}", status, error.message);
  else if (answer.verdict == SAGE_NO && answer.reason[0] == '\0')
    fault = "probe says NO without a reason";
  else if (answer.verdict == SAGE_YES && (count == 0 || count == 77))
    fault = "probe says YES but counts no device";
  Verdict(context, "probe", fault, fmt::format("{}: {}", answer.verdict == SAGE_YES ? "YES" : "NO", answer.reason));
  if (answer.verdict != SAGE_YES) return;

  context.out.Step("create and destroy, three times, and two at once");
  fault.clear();
  for (int i = 0; i < 3 && fault.empty(); ++i) {
    Instance a(context.table, &host, context.options.device_id, context.options.create_options);
    KitHost other(1);
    Instance b(context.table, &other, context.options.device_id, context.options.create_options);
    if (!a.ok() || !b.ok()) fault = a.ok() ? b.why() : a.why();
  }
  if (fault.empty() && host.live != 0)
    fault = fmt::format("{} blocks of memory are left after destroy", host.live.load());
  if (fault.empty() && (host.bad_frees != 0 || host.damaged != 0))
    fault = "memory was freed twice or written past its end";
  Verdict(context, "create and destroy", fault, "three times, nothing left");

  context.out.Step("create with an unknown option");
  sage_instance* instance = nullptr;
  status = context.table->create(host.table(), context.options.device_id, "no_such_option=1", &instance, &error);
  fault.clear();
  if (status == SAGE_OK)
    fault = "an unknown option was accepted";
  else if (instance != nullptr)
    fault = "create failed but left an instance";
  else if (error.message[0] == '\0')
    fault = "create refused without a sentence";
  if (status == SAGE_OK && instance != nullptr) context.table->destroy(instance);
  Verdict(context, "create: unknown option", fault, error.message);
}

void AskGroup(const Context& context) {
  KitHost host(2);
  const Instance instance(context.table, &host, context.options.device_id, context.options.create_options);
  if (!instance.ok()) return context.out.Report("ask", Outcome::kSkip, instance.why());
  Tally pure(context.out, "ask: pure, every answer whole"), unknown(context.out, "ask: unknown fields are NO"),
      small(context.out, "ask: older answers are not overrun"),
      mask(context.out, "ask: YES only within kinds and features");
  const auto common = CommonLines();
  for (size_t i = 0; i < common.size() + 150; ++i) {
    const uint64_t seed = context.options.seed * 1000003 + i;
    const std::string line = i < common.size() ? common[i]
                             : i % 3 == 2      ? RandomPlainLine(seed)
                                               : RandomAttentionLine(seed);
    ProblemData data;
    const auto problem = MakeProblem(line, seed, &data);
    if (problem == nullptr) continue;
    context.out.Step("ask " + line);
    pure.Tried();
    if (std::string why = AskPurely(instance, *problem); !why.empty()) {
      pure.Fail(line, why);
      continue;
    }
    sage_answer answer{};
    (void)AskChecked(instance, problem->op, &answer);
    if (answer.verdict == SAGE_NO) pure.Refused();
    mask.Tried();
    uint64_t features = 0;
    if (problem->op.kind == SAGE_OP_ATTENTION) (void)AttentionFeatures(problem->op, &features);
    if (answer.verdict == SAGE_YES &&
        ((context.table->kinds >> problem->op.kind & 1) == 0 || (features & ~context.table->features) != 0))
      mask.Fail(line, "YES to a kind or feature that the table does not declare");
    small.Tried();
    if (std::string why = AskIntoSmallAnswer(instance, problem->op); !why.empty()) small.Fail(line, why);

    // The same op with one thing nobody knows yet.
    struct {
      sage_op op;
      uint64_t tail[2];
    } longer_op{problem->op, {0, 1}};
    longer_op.op.struct_size = sizeof longer_op;
    struct {
      sage_tensor tensor;
      uint64_t tail;
    } longer_tensor{*problem->pointers[problem->op.kind == SAGE_OP_CONCAT ? 1 : 0], 1};
    longer_tensor.tensor.struct_size = sizeof longer_tensor;
    std::vector<const sage_tensor*> slots = problem->pointers;
    slots[problem->op.kind == SAGE_OP_CONCAT ? 1 : 0] = &longer_tensor.tensor;
    std::vector<const sage_tensor*> more = problem->pointers;
    if (problem->op.kind != SAGE_OP_CONCAT) more.resize(more.size() + 3, nullptr), more.back() = problem->pointers[0];
    sage_op bad_tensor = problem->op, bad_kind = problem->op, bad_slot = problem->op, bad_need = problem->op;
    bad_tensor.slots = slots.data();
    bad_kind.kind = 60;
    bad_slot.slots = more.data();
    bad_slot.num_slots = static_cast<uint32_t>(more.size());
    bad_need.requirements |= 1u << 30;
    const Tampered cases[] = {{"a longer op with a tail", longer_op.op},
                              {"a longer tensor with a tail", bad_tensor},
                              {"kind 60", bad_kind},
                              {"a requirement bit from the future", bad_need},
                              {"a slot from the future", bad_slot}};
    for (const Tampered& tampered : cases) {
      if (&tampered == &cases[4] && problem->op.kind == SAGE_OP_CONCAT) continue;
      // The tail lies behind the copy in longer_op, so the whole struct is passed by its own address.
      const sage_op& op = &tampered == &cases[0] ? longer_op.op : tampered.op;
      unknown.Tried();
      const std::string why = AskChecked(instance, op, &answer);
      if (!why.empty()) unknown.Fail(line, fmt::format("{}: {}", tampered.what, why));
      if (why.empty() && answer.verdict == SAGE_YES)
        unknown.Fail(line, fmt::format("{} got YES; the answer would silently ignore it", tampered.what));
    }
  }
  pure.Done("ops");
  unknown.Done("ops");
  small.Done("ops");
  mask.Done("ops");
}

}  // namespace sage::conformance
