// plan_cache.h: plans by what they were made for, the last ones used; and, where a folder was given, from one process
// to the next.
//
// What cuDNN refused is kept as well, so that it is asked once. What failed for another reason (no memory, a lost
// device) is not: it may go better next time.
#ifndef SAGE_PLUGINS_CUDNN_PLAN_CACHE_H_
#define SAGE_PLUGINS_CUDNN_PLAN_CACHE_H_

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "plan.h"

namespace sage::cudnn {

constexpr size_t kMostPlans = 256;

// Free-threaded: who asks for what is there does not wait for who builds something else. Library and target outlive
// it; the target's handle is used by nobody else.
class PlanCache {
 public:
  struct Settings {
    size_t capacity = kMostPlans;
    // (optional) Where plans are kept as files, and for whom: version of cuDNN, device, driver. A file of any other is
    // not read.
    std::string folder, machine;
  };
  PlanCache(const Library& library, const Target& target, Settings settings)
      : library_(library), target_(target), settings_(std::move(settings)) {}

  // Is there an engine for it? Milliseconds, the first time. False: *failure says why not. *workspace_bytes: what its
  // plan needs at most.
  bool Check(const Sdpa& sdpa, int64_t* workspace_bytes, Failure* failure);

  // Its plan. Null: *failure says why there is none.
  std::shared_ptr<const Plan> Get(const Sdpa& sdpa, Failure* failure);

  struct Counters {
    uint64_t checked = 0, built = 0, read = 0, refused = 0, dropped = 0;
  };
  Counters counters() const;
  // What was wrong with files, since the last call: for the log. Empty: nothing.
  std::string TakeNote();

 private:
  struct Entry {
    bool checked = false;  // engines were asked for
    int64_t workspace_bytes = 0;
    std::shared_ptr<const Plan> plan;
    Failure refusal;  // of checking, or of building: kept where unsupported
    std::list<const Sdpa*>::iterator use;
  };
  // Under mutex_. The entry, now the last one used; others go where there are too many.
  Entry& Use(const Sdpa& sdpa);
  std::shared_ptr<const Plan> Read(const Sdpa& sdpa);
  void Write(const Sdpa& sdpa, const Plan& plan);
  void Note(const std::string& text);
  std::string FileOf(const Sdpa& sdpa) const;

  const Library& library_;
  const Target target_;
  const Settings settings_;
  mutable std::mutex mutex_;  // of everything below
  std::map<Sdpa, Entry> entries_;
  std::list<const Sdpa*> uses_;  // the last one used first
  Counters counters_;
  std::string note_;
  std::mutex building_;  // of the target's handle; never taken under mutex_
};

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_PLAN_CACHE_H_
