// trial.cc: one plugin call, one plan, one guarded run: the parts from which the groups are made.
#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cfenv>
#include <cmath>
#include <cstdio>
#include <cstring>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "conformance/groups.h"
#include "sage/support/check_op.h"

// The oracle, linked in: sage/plugin.h's entry of a built-in plugin.
extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::conformance {
namespace {

// Rounding, flushing of denormals, trapped exceptions: what a run may use but not leave changed for its caller.
uint32_t FloatingPointMode() {
#if defined(__SSE__)
  return _mm_getcsr() & ~0x3Fu;  // without the sticky flags
#else
  return static_cast<uint32_t>(std::fegetround());
#endif
}

}  // namespace

void Recorder::Send(char tag, const std::string& text) {
  std::string line = tag + text;
  for (char& c : line)
    if (c == '\n') c = ' ';
  line += '\n';
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t wrote = write(pipe_, line.data() + sent, line.size() - sent);
    if (wrote <= 0) return;
    sent += static_cast<size_t>(wrote);
  }
}

void Recorder::Step(const std::string& what) { Send('S', what); }

void Recorder::Report(const std::string& name, Outcome outcome, const std::string& detail) {
  const char* code = outcome == Outcome::kPass ? "0" : outcome == Outcome::kFail ? "1" : "2";
  Send('C', std::string(code) + name + '\t' + detail);
}

void Tally::Fail(const std::string& where, const std::string& why) {
  if (failed_++ == 0) first_ = where + ": " + why;
}

void Tally::Done(const std::string& what) const {
  if (tried_ == 0) return out_.Report(name_, Outcome::kSkip, fmt::format("no {} to try", what));
  if (failed_ > 0)
    return out_.Report(name_, Outcome::kFail, fmt::format("{} of {} {}; the first: {}", failed_, tried_, what, first_));
  if (refused_ == tried_)
    return out_.Report(name_, Outcome::kSkip, fmt::format("all {} {} were answered NO", tried_, what));
  out_.Report(name_, Outcome::kPass,
              refused_ == 0 ? fmt::format("{} {}", tried_, what)
                            : fmt::format("{} {}, {} of them answered NO with a reason", tried_, what, refused_));
}

sage_error NewError() {
  sage_error error{};
  error.struct_size = sizeof error;
  return error;
}

Instance::Instance(const sage_plugin* table, KitHost* host, int32_t device, const std::string& options)
    : table_(table), host_(host) {
  sage_error error = NewError();
  const sage_status status =
      table->create(host->table(), device, options.empty() ? nullptr : options.c_str(), &instance_, &error);
  if (status == SAGE_OK && instance_ != nullptr) return;
  why_ = status == SAGE_OK ? "create answered SAGE_OK but gave no instance"
                           : fmt::format("create answered {}: {}", status, error.message);
  instance_ = nullptr;
}

Instance::~Instance() {
  if (instance_ != nullptr) table_->destroy(instance_);
}

std::string AskChecked(const Instance& instance, const sage_op& op, sage_answer* answer) {
  *answer = {};
  answer->struct_size = sizeof *answer;
  sage_error error = NewError();
  const sage_status status = instance.table()->ask(instance.get(), &op, answer, &error);
  if (status != SAGE_OK)
    return fmt::format("ask answered status {} ({}); YES and NO are both SAGE_OK", status, error.message);
  if (answer->struct_size != sizeof *answer) return "ask changed the answer's struct_size";
  if (answer->verdict != SAGE_YES && answer->verdict != SAGE_NO)
    return fmt::format("the verdict is {}, neither YES nor NO", answer->verdict);
  const char* verdict = answer->verdict == SAGE_YES ? "YES" : "NO";
  if (std::memchr(answer->reason, 0, sizeof answer->reason) == nullptr)
    return fmt::format("the reason of {} has no NUL at its end", verdict);
  if (answer->reason[0] == '\0') return fmt::format("{} without a reason", verdict);
  if (answer->verdict == SAGE_NO) return "";
  if (!std::isfinite(answer->cost_ns) || answer->cost_ns < 0)
    return fmt::format("the cost is {} ns; it must be finite and >= 0", answer->cost_ns);
  if (answer->cost_source != SAGE_COST_RULE && answer->cost_source != SAGE_COST_MODEL)
    return fmt::format("the source of the cost is {}, neither RULE nor MODEL", answer->cost_source);
  if (answer->accuracy < SAGE_ACCURACY_EXACT || answer->accuracy > SAGE_ACCURACY_LOSSY)
    return fmt::format("the accuracy is {}; YES names EXACT, NATIVE or LOSSY", answer->accuracy);
  if (op.accuracy != SAGE_ACCURACY_AUTO && answer->accuracy > op.accuracy)
    return fmt::format("accuracy class {} was asked for, YES delivers only {}", op.accuracy, answer->accuracy);
  if (answer->workspace_bytes > (1ull << 40)) return "the workspace is more than a TiB";
  return "";
}

std::string PlanChecked(const Instance& instance, const sage_op& op, sage_answer* answer, PlanHandle* plan) {
  if (std::string why = AskChecked(instance, op, answer); !why.empty() || answer->verdict == SAGE_NO) return why;
  sage_error error = NewError();
  plan->info = {};
  plan->info.struct_size = sizeof plan->info;
  const sage_status status = instance.table()->plan(instance.get(), &op, nullptr, &plan->plan, &plan->info, &error);
  if (status != SAGE_OK) return fmt::format("ask said YES, but plan answered {}: {}", status, error.message);
  if (plan->plan == nullptr) return "plan answered SAGE_OK but gave no plan";
  if (plan->info.workspace_bytes > answer->workspace_bytes)
    return fmt::format("the plan wants {} bytes of workspace, ask promised at most {}", plan->info.workspace_bytes,
                       answer->workspace_bytes);
  return "";
}

std::string RunChecked(const Instance& instance, const PlanHandle& plan, const std::vector<const sage_tensor*>& slots) {
  const GuardedMemory workspace(plan.info.workspace_bytes, true, 64);
  std::memset(workspace.data(), 0xFF, workspace.bytes());  // contents are undefined: NaN in every float type
  int token = 0;
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.num_slots = static_cast<uint32_t>(slots.size());
  args.slots = slots.data();
  args.workspace = workspace.data();
  args.workspace_bytes = plan.info.workspace_bytes;
  args.run = &token;
  sage_error error = NewError();
  std::snprintf(error.message, sizeof error.message, "stale");
  error.status = SAGE_E_INTERNAL;
  const uint64_t before = instance.host()->allocs_in_run;
  const uint32_t mode = FloatingPointMode();
  instance.host()->running = true;
  const sage_status status = instance.table()->run(plan.plan, &args, &error);
  instance.host()->running = false;
  if (FloatingPointMode() != mode)
    return "run left the caller's floating-point mode changed (rounding, flush to zero or traps)";
  if (status != SAGE_OK) return fmt::format("run answered {}: {}", status, error.message);
  if (error.status != SAGE_OK || error.message[0] != '\0') return "run succeeded but left the error slot filled";
  if (!workspace.CanariesIntact()) return "run wrote outside its workspace";
  if (instance.host()->allocs_in_run != before) return "run asked the host for memory, which only plan may do";
  return "";
}

Oracle::Oracle() : host_(1), instance_(reference_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), &host_, 0, "") {}

bool Oracle::Run(const Problem& problem, std::string* why) {
  PlanHandle plan(instance_.table());
  sage_answer answer{};
  *why = instance_.ok() ? PlanChecked(instance_, problem.op, &answer, &plan) : instance_.why();
  if (why->empty() && answer.verdict == SAGE_NO) *why = answer.reason;
  if (why->empty()) *why = RunChecked(instance_, plan, problem.pointers);
  return why->empty();
}

std::string CheckProblem(const Instance& instance, Oracle* oracle, Problem* problem, unsigned phase, bool* refused) {
  *refused = false;
  const GuardedTensors guarded = Guard(*problem, phase, true);
  sage_op op = problem->op;
  op.slots = guarded.pointers.data();
  PlanHandle plan(instance.table());
  sage_answer answer{};
  if (std::string why = PlanChecked(instance, op, &answer, &plan); !why.empty()) return why;
  if (answer.verdict == SAGE_NO) {
    *refused = true;
    return "";
  }
  if (std::string why = RunChecked(instance, plan, guarded.pointers); !why.empty()) return why;
  const uint32_t kind = problem->op.kind;
  for (uint32_t slot = 0; slot < problem->pointers.size(); ++slot) {
    if (!problem->Has(slot)) continue;
    const char* name = support::SlotName(kind, slot);
    if (!guarded.memory[slot]->CanariesIntact()) return fmt::format("run wrote beside {}", name);
    int64_t begin = 0;
    uint64_t bytes = 0;
    const sage_tensor& tensor = problem->tensors[slot];
    TensorExtent(tensor, &begin, &bytes);
    if (bytes == 0) continue;
    const auto* original = static_cast<const unsigned char*>(tensor.data) + begin;
    const unsigned char* after = guarded.memory[slot]->data();
    const bool in_out = slot < 64 && (problem->op.aliases >> slot & 1u) != 0;
    if (!support::SlotIsOutput(kind, slot)) {
      if (!in_out && std::memcmp(original, after, bytes) != 0) return fmt::format("run changed its input {}", name);
      continue;
    }
    // Bytes between the elements of an output are not its to write.
    std::vector<bool> element(bytes, false);
    const int64_t size = support::DtypeSize(tensor.dtype);
    ForEachElement(tensor, size, [&](int64_t offset) {
      for (int64_t i = 0; i < size; ++i) element[static_cast<size_t>(offset - begin + i)] = true;
    });
    for (size_t i = 0; i < bytes; ++i)
      if (!element[i] && original[i] != after[i]) return fmt::format("run wrote between the elements of {}", name);
  }
  std::string why;
  if (!oracle->Run(*problem, &why)) return "";  // beyond the oracle; the kit's own tests see to it that this is rare
  return CompareOutputs(*problem, guarded.tensors, answer.accuracy);
}

int ThreadsOfThisProcess() {
  int count = 0;
  if (DIR* tasks = opendir("/proc/self/task")) {
    while (const dirent* entry = readdir(tasks)) count += entry->d_name[0] != '.' ? 1 : 0;
    closedir(tasks);
  }
  return count;
}

}  // namespace sage::conformance
