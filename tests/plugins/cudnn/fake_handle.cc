// fake_handle.cc: see the header.
#include "fake_handle.h"

#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace sage::cudnn::fake {
namespace {

struct Use {
  void* stream = nullptr;
  bool is_used = false;
  std::thread::id by;
};
struct Handles {
  std::mutex mutex;
  std::unordered_map<Handle, Use> all;
  uintptr_t made = 0;
};
Handles& All() {
  static Handles handles;
  return handles;
}

// The mutex is held.
std::string Take(Use* use, const char* doing) {
  const std::thread::id me = std::this_thread::get_id();
  if (use->is_used && use->by != me)
    return std::string(doing) + " with a handle that another thread is between SetStream and the end of a run of";
  use->is_used = true;
  use->by = me;
  return "";
}

}  // namespace

Handle MakeHandle() {
  Handles& handles = All();
  const std::lock_guard<std::mutex> lock(handles.mutex);
  constexpr uintptr_t kApart = 64;  // no address of anything, and never the same twice
  const auto handle = reinterpret_cast<Handle>(++handles.made * kApart);
  handles.all[handle] = {};
  return handle;
}

bool IsHandle(Handle handle) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  return All().all.count(handle) != 0;
}

std::string BeginUse(Handle handle, void* stream) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  Use& use = All().all[handle];
  std::string fault = Take(&use, "SetStream");
  use.stream = stream;
  return fault;
}

std::string BeginRun(Handle handle, void** stream) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  Use& use = All().all[handle];
  *stream = use.stream;
  return Take(&use, "a run");
}

void EndRun(Handle handle) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  const auto found = All().all.find(handle);
  if (found != All().all.end() && found->second.by == std::this_thread::get_id()) found->second.is_used = false;
}

std::string EndHandle(Handle handle) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  const Use use = All().all[handle];
  All().all.erase(handle);
  const bool is_another = use.is_used && use.by != std::this_thread::get_id();
  return is_another ? "Destroy of a handle that another thread is using" : "";
}

void ForgetHandles() {
  const std::lock_guard<std::mutex> lock(All().mutex);
  All().all.clear();
}

}  // namespace sage::cudnn::fake
