// context.h: cuDNN on one device: the library, its handles, and the plans made so far.
#ifndef SAGE_PLUGINS_CUDNN_CONTEXT_H_
#define SAGE_PLUGINS_CUDNN_CONTEXT_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "common/cuda/device.h"
#include "plan_cache.h"
#include "support.h"

namespace sage::cudnn {

// How a run gets into a recorded stream: the library's calls are recorded as they come, or the plan's own nodes are
// added.
enum class GraphWay { kCapture, kNative };

// Free-threaded. A handle serves one thread at a time: runs share one, which is held for as long as enqueueing takes;
// plans are built with another, so that no run waits for that.
class Context {
 public:
  struct Settings {
    PlanCache::Settings plans;
    GraphWay graphs = GraphWay::kCapture;
  };
  // Makes the handles. False: *why is the sentence. library is copied; the device and the host outlive it.
  static bool Create(const Library& library, const cuda::Device& device, const sage_host& host,
                     const Settings& settings, std::unique_ptr<Context>* out, std::string* why);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Library& library() const { return library_; }
  const Installed& installed() const { return installed_; }

  // The reason for which nothing can be had any more, or empty.
  std::string disabled() const;

  // Of PlanCache; where the library turns out not to be usable, it is disabled, for all.
  bool Check(const Sdpa& sdpa, int64_t* workspace_bytes, Failure* failure);
  std::shared_ptr<const Plan> Get(const Sdpa& sdpa, Failure* failure);
  PlanCache::Counters counters() const { return plans_->counters(); }

  void Warn(const std::string& text) const;  // in the host's log

  // Enqueues on stream. ok(), or what failed.
  Failure Run(const Plan& plan, std::span<const Binding> bindings, void* workspace, void* stream);

 private:
  Context(const Library& library, const cuda::Device& device, const sage_host& host, const Settings& settings);
  void Disable(const Failure& failure);

  const Library library_;
  const cuda::Device& device_;
  const sage_host& host_;
  const Settings settings_;
  Installed installed_;
  Handle building_ = nullptr, running_ = nullptr;
  std::unique_ptr<PlanCache> plans_;
  std::mutex run_mutex_;  // of running_
  mutable std::mutex mutex_;
  std::atomic<bool> off_{false};
  std::string disabled_;  // under mutex_
};

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_CONTEXT_H_
