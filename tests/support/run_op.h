// run_op.h: one op through a plugin's table: ask, plan, run, with the contract watched on the way.
//
//   TestHost host(2);
//   Instance cpu(cpu_plugin_query(1, 0), host, "isa=scalar");
//   TestOp op(SAGE_OP_UNARY);
//   op.Attributes(attributes).Slot(0, x).Slot(1, y);
//   RunResult result = RunOp(cpu, op);   // result.status, result.message; y has the values
#ifndef SAGE_TESTS_SUPPORT_RUN_OP_H_
#define SAGE_TESTS_SUPPORT_RUN_OP_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "support/owned_tensor.h"
#include "support/test_host.h"

namespace sage::test {

// An op under construction. Tensors are referred to, not copied: they must outlive it.
class TestOp {
 public:
  explicit TestOp(uint32_t kind) {
    op_.struct_size = static_cast<uint32_t>(sizeof op_);
    op_.kind = kind;
  }
  TestOp(const TestOp&) = delete;
  TestOp& operator=(const TestOp&) = delete;

  // Copied; struct_size is set here.
  template <class Struct>
  TestOp& Attributes(Struct attributes) {
    attributes.struct_size = static_cast<uint32_t>(sizeof attributes);
    attributes_.resize((sizeof attributes + 7) / 8);
    std::memcpy(attributes_.data(), &attributes, sizeof attributes);
    return *this;
  }
  TestOp& Slot(uint32_t slot, const OwnedTensor& tensor) { return Slot(slot, tensor.tensor()); }
  TestOp& Slot(uint32_t slot, const sage_tensor* tensor) {
    while (slots_.size() <= slot) slots_.push_back(nullptr);
    slots_[slot] = tensor;
    return *this;
  }
  TestOp& Requirements(uint32_t bits) { return op_.requirements = bits, *this; }
  TestOp& Accuracy(uint32_t least_exact) { return op_.accuracy = least_exact, *this; }
  TestOp& DynamicAxes(uint32_t axes) { return op_.dynamic_axes = axes, *this; }
  TestOp& Aliases(uint64_t slots) { return op_.aliases = slots, *this; }

  const sage_op* op() {
    op_.slots = slots_.data();
    op_.num_slots = static_cast<uint32_t>(slots_.size());
    op_.attributes = attributes_.empty() ? nullptr : attributes_.data();
    return &op_;
  }
  const std::vector<const sage_tensor*>& slots() const { return slots_; }

 private:
  sage_op op_{};
  std::vector<uint64_t> attributes_;
  std::vector<const sage_tensor*> slots_;
};

// An instance of a plugin, destroyed with it. create's failure is in status() and message().
class Instance {
 public:
  Instance(const sage_plugin* table, TestHost& host, const char* options = nullptr) : table_(table), host_(host) {
    sage_error error{};
    error.struct_size = static_cast<uint32_t>(sizeof error);
    status_ = table->create(host.table(), 0, options, &handle_, &error);
    message_ = error.message;
  }
  ~Instance() {
    if (handle_ != nullptr) table_->destroy(handle_);
  }
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const sage_plugin* table() const { return table_; }
  sage_instance* handle() const { return handle_; }
  TestHost& host() const { return host_; }
  sage_status status() const { return status_; }
  const std::string& message() const { return message_; }

  sage_answer Ask(TestOp& op) const {
    sage_answer answer{};
    answer.struct_size = static_cast<uint32_t>(sizeof answer);
    sage_error error{};
    error.struct_size = static_cast<uint32_t>(sizeof error);
    const sage_status status = table_->ask(handle_, op.op(), &answer, &error);
    if (status != SAGE_OK) {
      answer.verdict = SAGE_NO;
      std::snprintf(answer.reason, sizeof answer.reason, "ask failed with status %d: %.200s", status, error.message);
    }
    return answer;
  }

 private:
  const sage_plugin* table_;
  TestHost& host_;
  sage_instance* handle_ = nullptr;
  sage_status status_ = SAGE_OK;
  std::string message_;
};

struct RunResult {
  sage_status status = SAGE_E_INTERNAL;
  std::string message;  // the error's, or the reason of a NO
  sage_answer answer{};
  sage_plan_info info{};
};

// A plan kept for several runs; plan's failure is in status() and message().
class PlannedOp {
 public:
  PlannedOp(Instance& instance, TestOp& op, const PlannedOp* like = nullptr) : table_(instance.table()) {
    sage_error error{};
    error.struct_size = static_cast<uint32_t>(sizeof error);
    info_.struct_size = static_cast<uint32_t>(sizeof info_);
    status_ = table_->plan(instance.handle(), op.op(), like ? like->plan_ : nullptr, &plan_, &info_, &error);
    message_ = error.message;
    const sage_device_table* device = nullptr;
    if (table_->device != nullptr) (void)table_->device(instance.handle(), &device, nullptr);
    align_ = device == nullptr ? 64 : 256;
    if (status_ == SAGE_OK) workspace_.resize(info_.workspace_bytes + kCanary + align_);
  }
  ~PlannedOp() {
    if (plan_ != nullptr) table_->plan_destroy(plan_);
  }
  PlannedOp(const PlannedOp&) = delete;
  PlannedOp& operator=(const PlannedOp&) = delete;

  sage_status status() const { return status_; }
  const std::string& message() const { return message_; }
  const sage_plan_info& info() const { return info_; }
  const sage_plan* handle() const { return plan_; }

  // The workspace is aligned to 64, on a device to 256, full of NaN bytes, with a canary behind it.
  sage_status Run(const std::vector<const sage_tensor*>& slots, std::string* message = nullptr) {
    if (plan_ == nullptr) return status_;
    std::memset(workspace_.data(), 0xff, workspace_.size());
    const uint64_t skew = reinterpret_cast<uintptr_t>(workspace_.data()) % align_;
    unsigned char* workspace = workspace_.data() + (skew == 0 ? 0 : align_ - skew);
    sage_run_args args{};
    args.struct_size = static_cast<uint32_t>(sizeof args);
    args.num_slots = static_cast<uint32_t>(slots.size());
    args.slots = slots.data();
    args.workspace = workspace;
    args.workspace_bytes = info_.workspace_bytes;
    sage_error error{};
    error.struct_size = static_cast<uint32_t>(sizeof error);
    const sage_status status = table_->run(plan_, &args, &error);
    if (message != nullptr) *message = error.message;
    for (uint64_t i = 0; i < kCanary; ++i) {
      if (workspace[info_.workspace_bytes + i] == 0xff) continue;
      if (message != nullptr) *message = "the run wrote past its workspace";
      return SAGE_E_INTERNAL;
    }
    return status;
  }

 private:
  static constexpr uint64_t kCanary = 256;
  const sage_plugin* table_;
  sage_plan* plan_ = nullptr;
  sage_plan_info info_{};
  sage_status status_ = SAGE_OK;
  std::string message_;
  uint64_t align_ = 64;
  std::vector<unsigned char> workspace_;
};

// Asks, plans, runs once, destroys. A NO is SAGE_E_UNSUPPORTED with its reason; a plan that wants more workspace than
// was answered, a NO without a reason and a write past the workspace are SAGE_E_INTERNAL.
inline RunResult RunOp(Instance& instance, TestOp& op) {
  RunResult result;
  if (instance.status() != SAGE_OK) {
    result.status = instance.status(), result.message = "create: " + instance.message();
    return result;
  }
  result.answer = instance.Ask(op);
  if (result.answer.reason[0] == '\0') {
    result.message = "an answer without a reason";
    return result;
  }
  if (result.answer.verdict != SAGE_YES) {
    result.status = SAGE_E_UNSUPPORTED, result.message = result.answer.reason;
    return result;
  }
  PlannedOp plan(instance, op);
  result.info = plan.info();
  if (plan.status() != SAGE_OK) {
    result.status = plan.status(), result.message = "plan: " + plan.message();
    return result;
  }
  if (plan.info().workspace_bytes > result.answer.workspace_bytes) {
    result.message = "the plan wants more workspace than was answered";
    return result;
  }
  result.status = plan.Run(op.slots(), &result.message);
  return result;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_RUN_OP_H_
