// backend.h: a created plugin, with the border guarded: what it answers is checked before the engine believes it.
#ifndef SAGE_ENGINE_BACKEND_BACKEND_H_
#define SAGE_ENGINE_BACKEND_BACKEND_H_

#include <memory>
#include <string>

#include "backend/device.h"
#include "run/host.h"
#include "sage/plugin.h"
#include "status.h"

namespace sage {

class Backend;

// A plugin's plan, destroyed with its last owner. Immutable; Run is re-entrant with separate workspaces.
class Plan {
 public:
  Plan(std::shared_ptr<const Backend> backend, sage_plan* plan, const sage_plan_info& info);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const Backend& backend() const { return *backend_; }
  uint64_t workspace_bytes() const { return info_.workspace_bytes; }
  uint64_t prepack_bytes() const { return info_.prepack_bytes; }
  const sage_plan_info& info() const { return info_; }
  sage_plan* handle() const { return plan_; }
  // Allocates nothing on success.
  Status Run(const sage_run_args& args) const;

 private:
  std::shared_ptr<const Backend> backend_;
  sage_plan* plan_;
  sage_plan_info info_;
};

class Backend : public std::enable_shared_from_this<Backend> {
 public:
  // probe, then create, then, on a device, its table: that of the backend which supplied it already, and which this one
  // then keeps alive, or its own. options: "key=value" lines. The status says why it cannot run here. device_count
  // (optional): how many devices of its type the probe counted; set where the probe said yes.
  static Result<std::shared_ptr<Backend>> Create(std::shared_ptr<Host> host, const sage_plugin& table,
                                                 uint32_t agreed_minor, int32_t device_id, const std::string& options,
                                                 uint32_t* device_count = nullptr);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  const std::string& name() const { return name_; }
  const sage_plugin& table() const { return table_; }
  int32_t device_type() const { return table_.device_type; }
  int32_t device_id() const { return device_id_; }
  const std::shared_ptr<const Device>& device() const { return device_; }  // null on CPU

  // Filters by kinds and features without a call, then asks. A verdict that breaks the contract (no reason, NaN or
  // negative cost, AUTO accuracy) is turned into NO with a sentence naming the breach. Never fails otherwise.
  // features: of an attention op, by AttentionFeatures; 0 for other kinds.
  sage_answer Ask(const sage_op& op, uint64_t features) const;
  // like (optional): this node's plan for another bucket, of this backend.
  Result<std::shared_ptr<const Plan>> MakePlan(const sage_op& op, const Plan* like,
                                               uint64_t answered_workspace_bytes) const;

 private:
  Backend() = default;
  Status JoinDevice();
  std::shared_ptr<Host> host_;
  std::shared_ptr<const void> device_supplier_;  // another backend; null where it is this one, or on CPU
  std::shared_ptr<const Device> device_;
  bool supplies_device_ = false;
  sage_plugin table_{};
  sage_instance* instance_ = nullptr;
  int32_t device_id_ = 0;
  std::string name_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_BACKEND_BACKEND_H_
