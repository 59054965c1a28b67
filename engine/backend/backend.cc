// backend.cc: every call into a plugin, and nothing believed that was not looked at.
//
// What is guarded: exceptions, statuses that are none, answers that break the contract, writes past the end of an
// answer. What cannot be: native code that runs wild; for that there is `sage-engine run --isolate`.
#include "backend/backend.h"

#include <string.h>

#include <cmath>
#include <cstddef>

#include "backend/border.h"
#include "backend/feature_names.h"
#include "fmt/format.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage {
namespace {

using border::Call;
using border::Guarded;
using border::Terminated;

sage_answer No(uint64_t blocking, const std::string& reason) {
  sage_answer answer{};
  sage_refuse(&answer, blocking, "%s", reason.c_str());
  return answer;
}

// What of the contract a verdict breaks; empty = nothing.
std::string Breach(const sage_answer& answer) {
  if (memchr(answer.reason, '\0', sizeof answer.reason) == nullptr) return "its reason does not end";
  if (answer.verdict != SAGE_YES && answer.verdict != SAGE_NO) return fmt::format("its verdict is {}", answer.verdict);
  if (answer.reason[0] == '\0')
    return answer.verdict == SAGE_NO ? "it says NO without a reason" : "its reason is empty";
  if (answer.verdict == SAGE_NO) return {};
  if (!std::isfinite(answer.cost_ns) || answer.cost_ns < 0) return fmt::format("its cost is {} ns", answer.cost_ns);
  if (answer.cost_source != SAGE_COST_RULE && answer.cost_source != SAGE_COST_MODEL)
    return fmt::format("the source of its cost is {}", answer.cost_source);
  if (answer.accuracy < SAGE_ACCURACY_EXACT || answer.accuracy > SAGE_ACCURACY_LOSSY)
    return fmt::format("the accuracy it delivers is {}", answer.accuracy);
  return {};
}

}  // namespace

namespace border {

Status FromPlugin(const std::string& name, const char* entry, sage_status status, Guarded<sage_error>& error) {
  if (!error.Intact())
    return Status(SAGE_E_INTERNAL, fmt::format("{}: its `{}` wrote past the end of the error it was given; do not use "
                                               "this plugin",
                                               name, entry));
  if (status == SAGE_OK) return {};
  const char* message = Terminated(error.value.message);
  if (status < 0 || status > SAGE_E_INTERNAL)
    return Status(SAGE_E_INTERNAL,
                  fmt::format("{}: its `{}` returned {}, which is no status; {}", name, entry, status, message));
  return Status(status, fmt::format("{}: {}", name, message[0] != '\0' ? message : StatusName(status)),
                error.value.native_code);
}

Status Threw(const std::string& name, const char* entry) {
  return Status(SAGE_E_INTERNAL,
                fmt::format("{}: its `{}` threw an exception, which may not cross the C border; do not "
                            "use this plugin",
                            name, entry));
}

}  // namespace border

Plan::Plan(std::shared_ptr<const Backend> backend, sage_plan* plan, const sage_plan_info& info)
    : backend_(std::move(backend)), plan_(plan), info_(info) {}

Plan::~Plan() {
  try {
    backend_->table().plan_destroy(plan_);
  } catch (...) {
    // Nobody is left who could be told; the memory is the plugin's loss.
  }
}

Status Plan::Run(const sage_run_args& args) const {
  return Call(backend_->name(), "run", [&](sage_error* error) { return backend_->table().run(plan_, &args, error); });
}

Result<std::shared_ptr<Backend>> Backend::Create(std::shared_ptr<Host> host, const sage_plugin& table,
                                                 uint32_t agreed_minor, int32_t device_id, const std::string& options,
                                                 uint32_t* device_count) {
  std::shared_ptr<Backend> backend(new Backend());
  backend->table_ = table;
  backend->name_ = table.name;
  backend->device_id_ = device_id;
  backend->host_ = std::move(host);
  const std::string& name = backend->name_;
  const sage_host* services = backend->host_->TableFor(agreed_minor);

  Guarded<sage_answer> can;
  uint32_t count = 0;
  SAGE_RETURN_IF_ERROR(Call(
      name, "probe", [&](sage_error* error) { return table.probe(services, device_id, &count, &can.value, error); }));
  if (!can.Intact())
    return Status(SAGE_E_INTERNAL, name + ": its `probe` wrote past the end of the answer; do not use this plugin");
  const char* reason = Terminated(can.value.reason);
  if (can.value.verdict != SAGE_YES)
    return Status(SAGE_E_UNSUPPORTED,
                  fmt::format("{} cannot run here: {}", name, reason[0] != '\0' ? reason : "it gives no reason"));

  if (device_count != nullptr) *device_count = count;

  Status created = Call(name, "create", [&](sage_error* error) {
    return table.create(services, device_id, options.empty() ? nullptr : options.c_str(), &backend->instance_, error);
  });
  if (!created.ok()) {
    backend->instance_ = nullptr;  // on an error nothing is ours, whatever was written
    return created;
  }
  if (backend->instance_ == nullptr)
    return Status(SAGE_E_INTERNAL, name + ": its `create` succeeded without an instance; do not use this plugin");

  if (table.device_type != SAGE_CPU) SAGE_RETURN_IF_ERROR(backend->JoinDevice());
  return backend;
}

Status Backend::JoinDevice() {
  device_ = host_->FindDevice(table_.device_type, device_id_, &device_supplier_);
  if (device_ != nullptr) return {};
  const sage_device_table* device = nullptr;
  SAGE_RETURN_IF_ERROR(
      Call(name_, "device", [&](sage_error* error) { return table_.device(instance_, &device, error); }));
  SAGE_ASSIGN_OR_RETURN(device_, Device::TakeIn(device, table_.device_type, device_id_, name_));
  host_->SetDevice(device_, shared_from_this());
  supplies_device_ = true;
  return {};
}

Backend::~Backend() {
  if (instance_ == nullptr) return;
  // Everyone who shares the device holds its supplier, so nobody is left who could ask for it.
  if (supplies_device_) host_->ForgetDevice(table_.device_type, device_id_);
  try {
    table_.destroy(instance_);
  } catch (...) {
    // As in Plan::~Plan.
  }
}

sage_answer Backend::Ask(const sage_op& op, uint64_t features) const {
  if (op.kind >= 64 || (table_.kinds & SAGE_KIND_BIT(op.kind)) == 0)
    return No(0, fmt::format("does not serve {}", support::KindName(op.kind)));
  if (op.kind == SAGE_OP_ATTENTION && (features & ~table_.features) != 0) {
    const uint64_t missing = features & ~table_.features;
    return No(missing, fmt::format("does not serve {}", fmt::join(FeatureNames(missing), ", ")));
  }
  Guarded<sage_answer> answer;
  const Status asked =
      Call(name_, "ask", [&](sage_error* error) { return table_.ask(instance_, &op, &answer.value, error); });
  if (!answer.Intact()) return No(0, "broken plugin: its `ask` wrote past the end of the answer");
  if (!asked.ok()) return No(0, fmt::format("its `ask` failed: {}", asked.message()));
  answer.value.struct_size = sizeof answer.value;
  if (const std::string breach = Breach(answer.value); !breach.empty())
    return No(0, fmt::format("broken plugin, answer not believed: {}", breach));
  if (answer.value.verdict == SAGE_YES && answer.value.workspace_bytes > host_->max_memory())
    return No(0, fmt::format("needs {} bytes of workspace, max_memory is {}", answer.value.workspace_bytes,
                             host_->max_memory()));
  return answer.value;
}

Result<std::shared_ptr<const Plan>> Backend::MakePlan(const sage_op& op, const Plan* like,
                                                      uint64_t answered_workspace_bytes) const {
  if (like != nullptr && &like->backend() != this)
    return Status(SAGE_E_INTERNAL, fmt::format("{}: asked to share constants with a plan of {}; please report this",
                                               name_, like->backend().name()));
  sage_plan* plan = nullptr;
  Guarded<sage_plan_info> info;
  SAGE_RETURN_IF_ERROR(Call(name_, "plan", [&](sage_error* error) {
    return table_.plan(instance_, &op, like == nullptr ? nullptr : like->handle(), &plan, &info.value, error);
  }));
  if (plan == nullptr)
    return Status(SAGE_E_INTERNAL, name_ + ": its `plan` succeeded without a plan; do not use this plugin");
  auto made = std::make_shared<const Plan>(shared_from_this(), plan, info.value);
  if (!info.Intact())
    return Status(SAGE_E_INTERNAL,
                  name_ + ": its `plan` wrote past the end of the plan's figures; do not use this plugin");
  if (info.value.workspace_bytes > answered_workspace_bytes)
    return Status(
        SAGE_E_INTERNAL,
        fmt::format("{}: its plan wants {} bytes of workspace, its answer promised at most {}; do not use this "
                    "plugin",
                    name_, info.value.workspace_bytes, answered_workspace_bytes));
  const uint64_t packed = info.value.packed_kv_bytes, partials = info.value.partials_bytes;
  if (packed > info.value.workspace_bytes || partials > info.value.workspace_bytes - packed)
    return Status(SAGE_E_INTERNAL,
                  fmt::format("{}: of {} bytes of workspace its plan says that {} are packed keys and {} are partial "
                              "results; do not use this plugin",
                              name_, info.value.workspace_bytes, packed, partials));
  return made;
}

}  // namespace sage
