// context.cc: see the header.
#include "context.h"

#include "library.h"

namespace sage::cudnn {

Context::Context(const Library& library, const cuda::Device& device, const sage_host& host, const Settings& settings)
    : library_(library), device_(device), host_(host), settings_(settings) {
  installed_ = {library.GetVersion(), device.properties().major * 10 + device.properties().minor};
}

bool Context::Create(const Library& library, const cuda::Device& device, const sage_host& host,
                     const Settings& settings, std::unique_ptr<Context>* out, std::string* why) {
  std::unique_ptr<Context> made(new Context(library, device, host, settings));
  const cuda::CurrentDevice current(device.runtime(), device.id());
  for (Handle* handle : {&made->building_, &made->running_}) {
    const int status = current.code() == cuda::kSuccess ? library.Create(handle) : kSuccess;
    if (current.code() == cuda::kSuccess && status == kSuccess) continue;
    *handle = nullptr;
    *why = "cuDNN " + VersionText(made->installed_.version) + " on " + device.name() + ": " +
           (status == kSuccess ? "the device could not be made current" : StatusText(library, status));
    (void)device.runtime().TakeLastError();
    return false;
  }
  made->plans_ = std::make_unique<PlanCache>(made->library_, Target{made->building_, nullptr}, settings.plans);
  *out = std::move(made);
  return true;
}

Context::~Context() {
  plans_.reset();
  const cuda::CurrentDevice current(device_.runtime(), device_.id());
  for (const Handle handle : {building_, running_})
    if (handle != nullptr) (void)library_.Destroy(handle);
}

void Context::Warn(const std::string& text) const {
  if (host_.log != nullptr) host_.log(host_.self, SAGE_LOG_WARNING, text.data(), text.size());
}

std::string Context::disabled() const {
  if (!off_.load(std::memory_order_acquire)) return "";
  const std::lock_guard<std::mutex> lock(mutex_);
  return disabled_;
}

void Context::Disable(const Failure& failure) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (disabled_.empty()) disabled_ = "cuDNN " + VersionText(installed_.version) + " is not usable: " + failure.text;
  off_.store(true, std::memory_order_release);
}

bool Context::Check(const Sdpa& sdpa, int64_t* workspace_bytes, Failure* failure) {
  const cuda::CurrentDevice current(device_.runtime(), device_.id());
  const bool there = plans_->Check(sdpa, workspace_bytes, failure);
  (void)device_.runtime().TakeLastError();
  if (failure->outcome() == Outcome::kDisabled) Disable(*failure);
  return there;
}

std::shared_ptr<const Plan> Context::Get(const Sdpa& sdpa, Failure* failure) {
  const cuda::CurrentDevice current(device_.runtime(), device_.id());
  auto plan = plans_->Get(sdpa, failure);
  (void)device_.runtime().TakeLastError();
  if (const std::string note = plans_->TakeNote(); !note.empty()) Warn(note);
  if (failure->outcome() == Outcome::kDisabled) Disable(*failure);
  return plan;
}

Failure Context::Run(const Plan& plan, std::span<const Binding> bindings, void* workspace, void* stream) {
  const std::lock_guard<std::mutex> lock(run_mutex_);
  Failure failure;
  const auto note = [&](int status, const char* doing) {
    if (status != kSuccess) failure = {status, std::string(doing) + ": " + StatusText(library_, status)};
  };
  void* nodes = nullptr;
  if (settings_.graphs == GraphWay::kNative && plan.native_graph() &&
      device_.runtime().BeginNodes(stream, &nodes) != cuda::kSuccess)
    (void)device_.runtime().TakeLastError();  // recorded as it comes, then
  if (nodes != nullptr) {
    note(plan.Populate(running_, bindings, workspace, nodes), "cudnnBackendPopulateCudaGraph");
    const int code = device_.runtime().EndNodes(stream, nodes, failure.ok());
    if (failure.ok() && code != cuda::kSuccess)
      failure = {kBadParam, std::string("adding its nodes to the recording: ") + device_.runtime().ErrorText(code)};
    return failure;
  }
  note(library_.SetStream(running_, stream), "cudnnSetStream");
  if (failure.ok()) note(plan.Execute(running_, bindings, workspace), "cudnnBackendExecute");
  return failure;
}

}  // namespace sage::cudnn
