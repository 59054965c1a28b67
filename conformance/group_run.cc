// group_run.cc: plans and runs as a host uses them: refused slots, smaller shapes, shared prepacking, eight threads,
// cancellation, memory that runs out, threads and output that nobody asked for.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "conformance/groups.h"
#include "sage/support/check_op.h"

namespace sage::conformance {
namespace {

struct Case {
  std::string line;
  ProblemData data;
  std::unique_ptr<Problem> problem;
};

// Those of the lines that the plugin says YES to.
std::vector<Case> Served(const Instance& instance, const std::string& extra) {
  std::vector<Case> cases;
  for (const char* line : CommonLines()) {
    Case one;
    one.line = line;
    if (!extra.empty()) one.line += (one.line.find(':') == std::string::npos ? ":" : ",") + extra;
    one.problem = MakeProblem(one.line, 1, &one.data);
    sage_answer answer{};
    if (one.problem == nullptr || !AskChecked(instance, one.problem->op, &answer).empty()) continue;
    if (answer.verdict == SAGE_YES) cases.push_back(std::move(one));
  }
  return cases;
}

sage_status RunPlain(const Instance& instance, const PlanHandle& plan, const std::vector<const sage_tensor*>& slots,
                     void* workspace, sage_error* error) {
  int token = 0;
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.num_slots = static_cast<uint32_t>(slots.size());
  args.slots = slots.data();
  args.workspace = workspace;
  args.workspace_bytes = plan.info.workspace_bytes;
  args.run = &token;
  return instance.table()->run(plan.plan, &args, error);
}

// Runs whose slots do not fit the plan must be refused, not computed.
void CheckRefusals(const Context& context, const Instance& instance) {
  Tally tally(context.out, "run: slots that do not fit are refused");
  for (Case& one : Served(instance, "")) {
    PlanHandle plan(instance.table());
    sage_answer answer{};
    if (!PlanChecked(instance, one.problem->op, &answer, &plan).empty()) continue;
    const GuardedMemory workspace(plan.info.workspace_bytes, true, 64);
    const struct {
      const char* what;
      std::function<void(std::vector<sage_tensor>&, std::vector<const sage_tensor*>&)> spoil;
    } spoils[] = {
        {"no slots", [](auto&, auto& slots) { slots.clear(); }},
        {"an absent input", [](auto&, auto& slots) { slots[0] = nullptr; }},
        {"another dtype",
         [](auto& tensors, auto&) { tensors[0].dtype = tensors[0].dtype == SAGE_F32 ? SAGE_F64 : SAGE_F32; }},
        {"a longer axis", [](auto& tensors, auto&) { tensors[0].shape[0] += 1; }},
        {"other strides", [](auto& tensors, auto&) { tensors[0].stride[tensors[0].rank - 1] = 1 << 20; }},
        {"no data", [](auto& tensors, auto&) { tensors[0].data = nullptr; }},
    };
    for (const auto& [what, spoil] : spoils) {
      context.out.Step(fmt::format("{} with {}", one.line, what));
      GuardedTensors guarded = Guard(*one.problem, 0);
      spoil(guarded.tensors, guarded.pointers);
      sage_error error = NewError();
      tally.Tried();
      const sage_status status = RunPlain(instance, plan, guarded.pointers, workspace.data(), &error);
      if (status == SAGE_OK) tally.Fail(one.line, fmt::format("a run with {} was accepted", what));
      if (status != SAGE_OK && error.message[0] == '\0')
        tally.Fail(one.line, fmt::format("{} was refused without a sentence", what));
    }
  }
  tally.Done("runs");
}

// A plan made for upper bounds, run on less, equals a plan made for less.
void CheckDynamic(const Context& context, const Instance& instance, Oracle* oracle) {
  Tally tally(context.out, "run: smaller dynamic axes");
  const struct {
    const char *planned, *run;
  } pairs[] = {
      {"b3.hq4.hkv2.sq40.skv70.d16.f32:causal=br,lse,dynamic=b+sq+skv", "b2.hq4.hkv2.sq17.skv33.d16.f32:causal=br,lse"},
      {"b3.hq4.hkv2.sq40.skv70.d16.f64:mask=bhqk,dynamic=b+sq+skv", "b1.hq4.hkv2.sq1.skv70.d16.f64:mask=bhqk"},
      {"linear X=f32[40,32] W=f32[9,32] Y=f32[40,9]:dynamic=m", "linear X=f32[7,32] W=f32[9,32] Y=f32[7,9]"},
      {"softmax X=f32[40,32] Y=f32[40,32]:axis=1,dynamic=m", "softmax X=f32[7,32] Y=f32[7,32]:axis=1"},
  };
  for (const auto& [planned_line, run_line] : pairs) {
    ProblemData planned_data, run_data;
    const auto planned = MakeProblem(planned_line, 3, &planned_data);
    const auto smaller = MakeProblem(run_line, 3, &run_data);
    if (planned == nullptr || smaller == nullptr) continue;
    context.out.Step(fmt::format("{} run as {}", planned_line, run_line));
    // The run's tensors have the planned strides: lay the smaller data into the planned buffers.
    for (uint32_t slot = 0; slot < planned->pointers.size(); ++slot) {
      if (!planned->Has(slot)) continue;
      sage_tensor small = smaller->tensors[slot];
      const sage_tensor& big = planned->tensors[slot];
      const int64_t size = support::DtypeSize(small.dtype);
      sage_tensor target = small;
      std::memcpy(target.stride, big.stride, sizeof target.stride);
      std::vector<int64_t> places;
      ForEachElement(target, size, [&](int64_t offset) { places.push_back(offset); });
      size_t next = 0;
      ForEachElement(small, size, [&](int64_t offset) {
        std::memcpy(static_cast<char*>(big.data) + places[next++], static_cast<const char*>(small.data) + offset,
                    static_cast<size_t>(size));
      });
    }
    tally.Tried();
    PlanHandle plan(instance.table());
    sage_answer answer{};
    std::string why = PlanChecked(instance, planned->op, &answer, &plan);
    if (why.empty() && answer.verdict == SAGE_NO) {
      tally.Refused();
      continue;
    }
    std::vector<sage_tensor> tensors = planned->tensors;
    std::vector<const sage_tensor*> slots(planned->pointers.size(), nullptr);
    for (uint32_t slot = 0; slot < slots.size(); ++slot) {
      if (!planned->Has(slot)) continue;
      std::memcpy(tensors[slot].shape, smaller->tensors[slot].shape, sizeof tensors[slot].shape);
      slots[slot] = &tensors[slot];
    }
    if (why.empty()) why = RunChecked(instance, plan, slots);
    std::string oracle_why;
    if (why.empty() && oracle->Run(*smaller, &oracle_why)) why = CompareOutputs(*smaller, tensors, answer.accuracy);
    if (!why.empty()) tally.Fail(planned_line, why);
  }
  tally.Done("plans");
}

void CheckCancel(const Context& context, const Instance& instance) {
  Tally tally(context.out, "run: cancellation");
  for (Case& one : Served(instance, "")) {
    PlanHandle plan(instance.table());
    sage_answer answer{};
    if (!PlanChecked(instance, one.problem->op, &answer, &plan).empty()) continue;
    const GuardedMemory workspace(plan.info.workspace_bytes, true, 64);
    context.out.Step(one.line + " cancelled");
    tally.Tried();
    sage_error error = NewError();
    instance.host()->cancel = 1;
    const sage_status status = RunPlain(instance, plan, one.problem->pointers, workspace.data(), &error);
    instance.host()->cancel = 0;
    if (status != SAGE_OK && status != SAGE_E_CANCELLED)
      tally.Fail(one.line, fmt::format("a cancelled run answered {}: {}", status, error.message));
    if (const std::string why = RunChecked(instance, plan, one.problem->pointers); !why.empty())
      tally.Fail(one.line, "after a cancelled run: " + why);
  }
  tally.Done("runs");
}

// A plan for another bucket that shares the first one's packed constants, destroyed in both orders.
void CheckLike(const Context& context, const Instance& instance, Oracle* oracle) {
  Tally tally(context.out, "plan: constants shared by `like`");
  for (const bool first_dies_first : {true, false}) {
    const char* line = "linear X=f32[8,64] W=f32[48,64]! Y=f32[8,48]";
    ProblemData data;
    const auto problem = MakeProblem(line, 5, &data);
    sage_answer answer{};
    if (problem == nullptr || !AskChecked(instance, problem->op, &answer).empty() || answer.verdict == SAGE_NO)
      continue;
    context.out.Step(line);
    tally.Tried();
    const sage_plugin* t = instance.table();
    auto first = std::make_unique<PlanHandle>(t), second = std::make_unique<PlanHandle>(t);
    std::string why = PlanChecked(instance, problem->op, &answer, first.get());
    sage_error error = NewError();
    second->info.struct_size = sizeof second->info;
    if (why.empty() &&
        t->plan(instance.get(), &problem->op, first->plan, &second->plan, &second->info, &error) != SAGE_OK)
      why = fmt::format("plan with `like` failed: {}", error.message);
    if (why.empty()) {
      (first_dies_first ? first : second).reset();
      const PlanHandle& left = first_dies_first ? *second : *first;
      const GuardedTensors guarded = Guard(*problem, 0);
      why = RunChecked(instance, left, guarded.pointers);
      std::string oracle_why;
      if (why.empty() && oracle->Run(*problem, &oracle_why))
        why = CompareOutputs(*problem, guarded.tensors, answer.accuracy);
    }
    if (!why.empty()) tally.Fail(line, why);
  }
  tally.Done("pairs of plans");
}

std::vector<unsigned char> OutputBytes(const Problem& problem, const std::vector<sage_tensor>& tensors) {
  std::vector<unsigned char> bytes;
  for (uint32_t slot = 0; slot < problem.pointers.size(); ++slot) {
    if (!problem.Has(slot) || !support::SlotIsOutput(problem.op.kind, slot)) continue;
    const int64_t size = support::DtypeSize(tensors[slot].dtype);
    ForEachElement(tensors[slot], size, [&](int64_t offset) {
      const auto* element = static_cast<const unsigned char*>(tensors[slot].data) + offset;
      bytes.insert(bytes.end(), element, element + size);
    });
  }
  return bytes;
}

// Once there are as many as expected, or a second has passed: a joined thread is in the system's list, and in an
// emulator's, for a moment more.
int ThreadsSettled(int expected) {
  using std::chrono::milliseconds;
  int count = ThreadsOfThisProcess();
  for (int i = 0; i < 100 && count != expected; ++i) {
    std::this_thread::sleep_for(milliseconds(10));
    count = ThreadsOfThisProcess();
  }
  return count;
}

}  // namespace

void RunGroup(const Context& context) {
  KitHost host(2);
  const Instance instance(context.table, &host, context.options.device_id, context.options.create_options);
  if (!instance.ok()) return context.out.Report("run", Outcome::kSkip, instance.why());
  Oracle oracle;
  CheckRefusals(context, instance);
  CheckDynamic(context, instance, &oracle);
  CheckCancel(context, instance);
  CheckLike(context, instance, &oracle);
}

void MemoryGroup(const Context& context) {
  {
    KitHost host(2);
    const Instance instance(context.table, &host, context.options.device_id, context.options.create_options);
    if (!instance.ok()) return context.out.Report("memory", Outcome::kSkip, instance.why());
  }
  Tally tally(context.out, "memory: an allocation that fails at the n-th call");
  Tally balance(context.out, "memory: all given back, none written past");
  for (const char* line : CommonLines()) {
    for (int64_t n = 0; n < 40; ++n) {
      ProblemData data;
      const auto problem = MakeProblem(line, 1, &data);
      if (problem == nullptr) break;
      context.out.Step(fmt::format("{} with allocation {} failing", line, n));
      KitHost host(2);
      bool finished = false;
      host.fail_alloc_after = n;
      {
        const Instance instance(context.table, &host, context.options.device_id, context.options.create_options);
        tally.Tried();
        if (instance.ok()) {
          PlanHandle plan(context.table);
          sage_answer answer{};
          sage_error error = NewError();
          plan.info.struct_size = sizeof plan.info;
          if (!AskChecked(instance, problem->op, &answer).empty() || answer.verdict == SAGE_NO) break;
          const sage_status status =
              context.table->plan(instance.get(), &problem->op, nullptr, &plan.plan, &plan.info, &error);
          if (status == SAGE_OK) {
            // Either it never needed that allocation or it does without; both must run.
            if (const std::string why = RunChecked(instance, plan, problem->pointers); !why.empty())
              tally.Fail(line, why);
            finished = host.fail_alloc_after > 0 || host.allocs == 0;
          } else if (status != SAGE_E_OUT_OF_MEMORY) {
            tally.Fail(line,
                       fmt::format("plan answered {} instead of SAGE_E_OUT_OF_MEMORY: {}", status, error.message));
          } else if (plan.plan != nullptr) {
            tally.Fail(line, "plan failed but left a plan");
          }
        } else if (instance.why().find(fmt::format("{}:", SAGE_E_OUT_OF_MEMORY)) == std::string::npos) {
          tally.Fail(line, instance.why());
        }
      }
      balance.Tried();
      if (host.live != 0) balance.Fail(line, fmt::format("{} blocks are left after destroy", host.live.load()));
      if (host.bad_frees != 0) balance.Fail(line, "a pointer was freed that was never given");
      if (host.damaged != 0) balance.Fail(line, "a block was written outside its bounds");
      if (finished) break;
    }
  }
  tally.Done("plans");
  balance.Done("instances");
}

void ThreadsGroup(const Context& context) {
  const int before = ThreadsOfThisProcess();
  {
    KitHost host(1);
    const Instance instance(context.table, &host, context.options.device_id, context.options.create_options);
    if (!instance.ok()) return context.out.Report("threads", Outcome::kSkip, instance.why());
    Tally shared(context.out, "threads: eight on one plan"),
        repeat(context.out, "threads: same bits from 1, 2, 3, 8 workers");
    for (Case& one : Served(instance, "deterministic")) {
      context.out.Step(one.line + " on eight threads");
      PlanHandle plan(context.table);
      sage_answer answer{};
      if (!PlanChecked(instance, one.problem->op, &answer, &plan).empty()) continue;
      const GuardedTensors alone = Guard(*one.problem, 0);
      if (!RunChecked(instance, plan, alone.pointers).empty()) continue;
      const auto expected = OutputBytes(*one.problem, alone.tensors);
      shared.Tried();
      std::string faults[8];
      std::vector<std::thread> threads;
      for (std::string& fault : faults) {
        threads.emplace_back([&] {
          for (int i = 0; i < 4 && fault.empty(); ++i) {
            const GuardedTensors mine = Guard(*one.problem, static_cast<unsigned>(i));
            const GuardedMemory workspace(plan.info.workspace_bytes, true, 64);
            sage_error error = NewError();
            if (RunPlain(instance, plan, mine.pointers, workspace.data(), &error) != SAGE_OK)
              fault = error.message;
            else if (!workspace.CanariesIntact())
              fault = "run wrote outside its workspace";
            else if (OutputBytes(*one.problem, mine.tensors) != expected)
              fault = "another result than alone";
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
      for (const std::string& fault : faults)
        if (!fault.empty()) shared.Fail(one.line, fault);
      for (const uint32_t workers : {2u, 3u, 8u}) {
        KitHost wide(workers);
        const Instance other(context.table, &wide, context.options.device_id, context.options.create_options);
        PlanHandle wide_plan(context.table);
        repeat.Tried();
        std::string why = other.ok() ? PlanChecked(other, one.problem->op, &answer, &wide_plan) : other.why();
        const GuardedTensors mine = Guard(*one.problem, 1);
        if (why.empty() && answer.verdict == SAGE_YES) {
          why = RunChecked(other, wide_plan, mine.pointers);
          if (why.empty() && OutputBytes(*one.problem, mine.tensors) != expected)
            why = fmt::format("{} workers give other bits than one", workers);
        }
        if (!why.empty()) repeat.Fail(one.line, why);
      }
    }
    shared.Done("plans");
    repeat.Done("runs");
    const bool declared = context.table->foreign_threads != nullptr;
    const int during = declared ? ThreadsOfThisProcess() : ThreadsSettled(before);
    if (declared)
      context.out.Report(
          "threads: none of its own", Outcome::kSkip,
          fmt::format("declared: {} ({} threads seen)", context.table->foreign_threads, during - before));
    else
      context.out.Report("threads: none of its own", during == before ? Outcome::kPass : Outcome::kFail,
                         during == before ? "none while an instance lives"
                                          : fmt::format("{} more threads than before create", during - before));
  }
  if (context.table->foreign_threads == nullptr) {
    const int after = ThreadsSettled(before);
    context.out.Report("threads: none left behind", after == before ? Outcome::kPass : Outcome::kFail,
                       fmt::format("{} before create, {} after destroy", before, after));
  }
}

}  // namespace sage::conformance
