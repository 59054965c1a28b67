// backend.h: what a backend written in C++ has to say for itself; all around it is in entries.h.
//
// The entries take the op in, check it, derive its features, stop exceptions, check a run's slots and workspace. A
// backend says whether it can (Ask) and prepares (Plan); what it prepared computes (Run). Not for backends in C, and
// not installed: the contract is sage/plugin.h.
#ifndef SAGE_PLUGINS_COMMON_BACKEND_H_
#define SAGE_PLUGINS_COMMON_BACKEND_H_

#include <cstdint>
#include <memory>

#include "sage/plugin.h"
#include "sage/support/op_view.h"

namespace sage::plugins {

using support::OpView;

// An op made ready. Immutable after Plan; Run is called from several threads at once, each with its own workspace.
class KernelPlan {
 public:
  KernelPlan() = default;
  KernelPlan(const KernelPlan&) = delete;
  KernelPlan& operator=(const KernelPlan&) = delete;
  virtual ~KernelPlan() = default;

  // args: taken in; slots pass support::CheckRunSlots (dtypes, ranks and strides as planned, axes equal or smaller
  // where dynamic, data there); at least num_slots of them; workspace holds workspace_bytes and is aligned to 64, on a
  // device to 256.
  // Allocates nothing, does not throw. Data may lie at any byte address. An error's sentence goes to err.
  virtual sage_status Run(const sage_run_args& args, sage_error* err) const = 0;

  uint64_t workspace_bytes = 0;  // binds; set by Plan, at most what Ask said
  uint64_t prepack_bytes = 0;    // held by this plan, 0 where shared with `like`
  uint64_t packed_kv_bytes = 0;  // of workspace_bytes: K and V packed for the kernel
  uint64_t partials_bytes = 0;   // of workspace_bytes: partial results of split keys
};

// One instance. Every call may come from several threads at once.
class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  // Fills *answer, by sage_accept or by sage_refuse. Pure; ignores data pointers. view passed TakeInOp and CheckOp;
  // features: SAGE_ATTN_F_* of an attention op, 0 for other kinds.
  virtual void Ask(const OpView& view, uint64_t features, sage_answer* answer) const = 0;

  // Called only after Ask said yes to the same view, which outlives the plan made. like (optional): a plan of the same
  // kind and instance, whose packed constants are to be shared where they are the same. May throw std::bad_alloc.
  virtual sage_status Plan(const OpView& view, uint64_t features, const KernelPlan* like,
                           std::unique_ptr<KernelPlan>* out, sage_error* err) = 0;

  // (optional) The table of the device it was created for; null on the CPU. Valid as long as this.
  virtual const sage_device_table* Device() const { return nullptr; }
};

}  // namespace sage::plugins

#endif  // SAGE_PLUGINS_COMMON_BACKEND_H_
