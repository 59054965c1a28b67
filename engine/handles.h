// handles.h: the handles of sage.h, and what every public function does at its border.
//
// A handle is a small shell round shared engine objects: children hold what they need by shared_ptr, so any order of
// destroying is right. The state word of a shell makes destroying during a call wait for its end, and a second call on
// a session or context BUSY, without a lock. Not for plugins: nothing here crosses their border.
#ifndef SAGE_ENGINE_HANDLES_H_
#define SAGE_ENGINE_HANDLES_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string_view>

#include "attention_plan.h"
#include "engine.h"
#include "fmt/format.h"
#include "model/model.h"
#include "options.h"
#include "run/session.h"
#include "sage/program.h"
#include "sage/sage.h"
#include "sage/support/take_in.h"
#include "status.h"

namespace sage {

// Calls in flight and the wish to be destroyed, in one word.
class HandleState {
 public:
  void Enter() { word_.fetch_add(kCall, std::memory_order_acquire); }
  // False: another exclusive call is in progress.
  bool EnterExclusive() {
    uint32_t seen = word_.load(std::memory_order_relaxed);
    while ((seen & kBusy) == 0)
      if (word_.compare_exchange_weak(seen, seen | kBusy, std::memory_order_acquire)) return true;
    return false;
  }
  // True: this was the last call of a doomed handle, the caller deletes it.
  bool Leave() { return word_.fetch_sub(kCall, std::memory_order_acq_rel) == kCall + kDoomed; }
  bool LeaveExclusive() { return (word_.fetch_and(~kBusy, std::memory_order_acq_rel) & ~kBusy) == kDoomed; }
  // True: no call is in progress, the caller deletes it now.
  bool Doom() { return word_.fetch_or(kDoomed, std::memory_order_acq_rel) == 0; }

 private:
  static constexpr uint32_t kDoomed = 1, kBusy = 2, kCall = 4;
  std::atomic<uint32_t> word_{0};
};

// A call in progress on a free-threaded handle.
template <class Handle>
class SharedCall {
 public:
  explicit SharedCall(Handle* handle) : handle_(handle) { handle_->state.Enter(); }
  ~SharedCall() {
    if (handle_->state.Leave()) delete handle_;
  }
  SharedCall(const SharedCall&) = delete;
  SharedCall& operator=(const SharedCall&) = delete;

 private:
  Handle* handle_;
};

// A call in progress on a session or context; not ok() = another one is, answer kBusy.
template <class Handle>
class ExclusiveCall {
 public:
  explicit ExclusiveCall(Handle* handle) : handle_(handle->state.EnterExclusive() ? handle : nullptr) {}
  ~ExclusiveCall() {
    if (handle_ != nullptr && handle_->state.LeaveExclusive()) delete handle_;
  }
  ExclusiveCall(const ExclusiveCall&) = delete;
  ExclusiveCall& operator=(const ExclusiveCall&) = delete;
  bool ok() const { return handle_ != nullptr; }

 private:
  Handle* handle_;
};

}  // namespace sage

struct sage_options {
  sage::Options options;
};

struct sage_engine {
  std::shared_ptr<sage::Engine> engine;
  sage::AttentionCache attention;  // of sage_attention, the flat call; here, since its plans hold the engine
  mutable sage::HandleState state;
};

struct sage_attention_plan {
  std::shared_ptr<const sage::AttentionPlan> plan;
  mutable sage::HandleState state;
  const sage::Engine& owner() const { return plan->engine(); }
};

struct sage_attention_context {
  std::unique_ptr<sage::AttentionContext> context;
  mutable sage::HandleState state;
  const sage::Engine& owner() const { return context->plan().engine(); }
};

struct sage_model {
  std::shared_ptr<sage::Engine> engine;
  std::shared_ptr<const sage::Model> model;
  mutable sage::HandleState state;
  const sage::Engine& owner() const { return *engine; }
};

// One of session (an op graph) and program (a SAGE graph) is set.
struct sage_session {
  std::shared_ptr<sage::Engine> engine;
  std::shared_ptr<const sage::Model> model;
  std::unique_ptr<sage::Session> session;
  std::unique_ptr<sage::Program> program;
  mutable sage::HandleState state;
  const sage::Engine& owner() const { return *engine; }
};

namespace sage {

inline const Engine& OwnerOf(const sage_engine& handle) { return *handle.engine; }
template <class Handle>
const Engine& OwnerOf(const Handle& handle) {
  return handle.owner();
}

// Every *_destroy. A handle that came through fork() is left alone: its threads, locks and device state are the
// parent's, and touching them could hang the child.
template <class Handle>
void DestroyHandle(Handle* handle) noexcept {
  if (handle == nullptr || !OwnerOf(*handle).SameProcess()) return;
  if (handle->state.Doom()) delete handle;
}

inline Status NullArgument(const char* function, const char* argument) {
  return Status(SAGE_E_INVALID_ARGUMENT, std::string(function) + ": " + argument + " is null, it is required");
}
// Writes an out-struct to the caller's size; a size that cannot be is his mistake, not silence.
template <class T>
Status GiveOut(const char* function, T* theirs, const T& mine) {
  if (theirs->struct_size < SAGE_STRUCT_MIN || theirs->struct_size > SAGE_STRUCT_MAX)
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{}: out->struct_size is {}, sizeof the struct is expected",
                                                       function, theirs->struct_size));
  sage_give_out(theirs, &mine, static_cast<uint32_t>(sizeof mine));
  return {};
}
inline Status Busy(const char* function) {
  return Status(SAGE_E_BUSY, std::string(function) +
                                 ": another call is in progress on this handle; wait for it, or make one handle a "
                                 "thread");
}
inline Status Forked(const char* function) {
  return Status(SAGE_E_FORKED, std::string(function) +
                                   ": this handle was made before fork(); create a new engine in the child process");
}

// Runs body() (a Status) so that no exception leaves the library, and fills the caller's error slot. On success
// allocates nothing.
template <class Body>
sage_status Border(const char* function, sage_error* err, Body&& body) noexcept {
  try {
    return Deliver(body(), err);
  } catch (const std::bad_alloc&) {
    return DeliverText(SAGE_E_OUT_OF_MEMORY, function, "out of memory", err);
  } catch (const std::exception& caught) {
    return DeliverText(SAGE_E_INTERNAL, function, caught.what(), err);
  } catch (...) {
    return DeliverText(SAGE_E_INTERNAL, function, "an unknown exception; please report it", err);
  }
}

// Border for a call on a free-threaded handle: null, FORKED, and destroy deferred while it runs.
template <class Handle, class Body>
sage_status SharedBorder(const char* function, const char* argument, Handle* handle, sage_error* err,
                         Body&& body) noexcept {
  return Border(function, err, [&]() -> Status {
    if (handle == nullptr) return NullArgument(function, argument);
    SharedCall<Handle> call(handle);
    if (!OwnerOf(*handle).SameProcess()) return Forked(function);
    return body();
  });
}

// Border for a call on a session or context: the same, and BUSY.
template <class Handle, class Body>
sage_status ExclusiveBorder(const char* function, const char* argument, Handle* handle, sage_error* err,
                            Body&& body) noexcept {
  return Border(function, err, [&]() -> Status {
    if (handle == nullptr) return NullArgument(function, argument);
    // Before the state word is touched: the child's copy of it may say BUSY for ever.
    if (!OwnerOf(*handle).SameProcess()) return Forked(function);
    ExclusiveCall<Handle> call(handle);
    if (!call.ok()) return Busy(function);
    return body();
  });
}

// The (buffer, capacity, needed) convention. A text counts its NUL.
Status CopyText(const char* function, std::string_view text, char* buffer, uint64_t capacity, uint64_t* needed);
Status CopyBytes(const char* function, std::string_view bytes, void* buffer, uint64_t capacity, uint64_t* needed);

// What a caller set; null = nothing.
inline Options OptionsOf(const sage_options* options) { return options == nullptr ? Options{} : options->options; }

}  // namespace sage

#endif  // SAGE_ENGINE_HANDLES_H_
