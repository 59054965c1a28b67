// attention_plan.h: one attention op, planned once and run many times, without a model: what sage_attention_* are made
// of. Sessions do not use it; they plan their nodes themselves, by the same Choose and the same backends.
//
// A plan runs where its caller's tensors lie and copies nothing: only backends of that device are asked, so tensors in
// CPU memory are computed on the CPU. Weighing copies against a faster device is what sessions do.
#ifndef SAGE_ENGINE_ATTENTION_PLAN_H_
#define SAGE_ENGINE_ATTENTION_PLAN_H_

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine.h"
#include "json.h"
#include "model/policy.h"
#include "options.h"
#include "plan/attention_memory.h"
#include "plan/choose.h"
#include "run/host.h"
#include "run/session.h"
#include "run/workspace.h"
#include "sage/support/op_view.h"
#include "status.h"

namespace sage {

// Immutable and shared: any number of contexts run it at once.
class AttentionPlan {
 public:
  // Checks the op, asks every backend, plans with the chosen one. E_UNSUPPORTED lists every reason. options: those of
  // scope "plan" (options.h); data pointers of the op matter for constants only.
  static Result<std::shared_ptr<const AttentionPlan>> Create(std::shared_ptr<Engine> engine, const sage_op* op,
                                                             const Options& options);
  AttentionPlan() = default;  // Create's

  const Engine& engine() const { return *engine_; }
  const Backend& backend() const { return plan_->backend(); }
  const Plan& plan() const { return *plan_; }
  const support::OpView& planned() const { return planned_; }
  // False where the slots of a run surely lie apart: none that is written meets another one's bytes. Tensors may be
  // smaller than planned, so what may meet is for a closer look.
  bool MayMeet(const sage_tensor* const* slots) const;
  uint64_t features() const { return features_; }
  const std::string& problem() const { return problem_; }
  bool guarded() const { return guarded_; }
  Verify verify() const { return verify_; }
  sage_cancel_fn cancel() const { return cancel_; }
  void* cancel_user() const { return cancel_user_; }
  // {"problem","bench","features","chosen","why","fallback","verdicts":[...],"policy","workspace_bytes","prepack_bytes",
  //  "memory"}: the last is plan/attention_memory.h's report
  void Explain(JsonWriter& out) const;
  AttentionMemory Memory() const;

 private:
  std::shared_ptr<Engine> engine_;
  // Where a planned slot that has elements lies, counted from its data.
  struct Reach {
    uint32_t slot;
    bool written;
    uintptr_t begin, end;
  };
  support::OpView planned_;
  std::vector<Reach> reaches_;
  uint64_t features_ = 0;
  ResolvedPolicy policy_;
  Choice choice_;
  std::shared_ptr<const Plan> plan_;
  bool guarded_ = true;
  Verify verify_ = Verify::kOff;
  std::string problem_;
  sage_cancel_fn cancel_ = nullptr;
  void* cancel_user_ = nullptr;
};

// The workspace of one caller of a plan. One call at a time; Cancel may come from any thread.
class AttentionContext {
 public:
  static Result<std::unique_ptr<AttentionContext>> Create(std::shared_ptr<const AttentionPlan> plan);
  ~AttentionContext();
  AttentionContext(const AttentionContext&) = delete;
  AttentionContext& operator=(const AttentionContext&) = delete;

  const AttentionPlan& plan() const { return *plan_; }
  // slots: as planned, with data; dynamic axes may be smaller. Allocates nothing on success, unless the plan's option
  // verify asks for the same on `reference` as well: the difference is then logged, a suspicious one as a warning.
  Status Run(const sage_tensor* const* slots, uint32_t num_slots, void* stream);
  void Cancel() { token_.cancelled.store(1, std::memory_order_relaxed); }

 private:
  AttentionContext() = default;
  Status Execute(const sage_run_args& args);
  Status ExecuteAndCompare(const sage_run_args& args);
  Status TakeInSlots(const sage_tensor* const* slots, uint32_t num_slots);

  std::shared_ptr<const AttentionPlan> plan_;
  RunToken token_;
  // Our own copies of the run's tensors: an older caller's shorter struct is completed, a device of 0 is the CPU.
  std::array<sage_tensor, SAGE_ATTN_NUM_SLOTS> tensors_{};
  std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS> pointers_{};
  Workspace workspace_;
  std::shared_ptr<const Device> device_;  // null on CPU
  void* stream_ = nullptr;                // our own, on a device
  bool compared_ = false;                 // verify = first: has been
};

// The flat call's plans by shape, least recently used out first, each with the contexts its callers left.
// Free-threaded.
class AttentionCache {
 public:
  static constexpr size_t kPlans = 64;            // shapes a program uses in turn are few; a plan is a few kB
  static constexpr size_t kContextsPerPlan = 16;  // more callers at once than this make and drop one

  struct Key {
    sage_dtype dtype = 0;
    uint32_t layout = 0, causal = 0;
    int64_t batch = 0, heads_q = 0, heads_kv = 0, seq_q = 0, seq_kv = 0, dim_qk = 0, dim_v = 0;
    double scale = 0;
    bool operator==(const Key&) const = default;
  };

  // softmax(scale q k^T) v as sage_attention says it.
  Status Run(const std::shared_ptr<Engine>& engine, const Key& key, const void* q, const void* k, const void* v,
             void* o);
  size_t size() const;

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const AttentionPlan> plan;
    std::vector<std::unique_ptr<AttentionContext>> idle;
  };
  Result<std::unique_ptr<AttentionContext>> Take(const std::shared_ptr<Engine>& engine, const Key& key);
  void GiveBack(const Key& key, std::unique_ptr<AttentionContext> context);

  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace sage

#endif  // SAGE_ENGINE_ATTENTION_PLAN_H_
