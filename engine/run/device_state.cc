// device_state.cc: see the header.
#include "run/device_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "run/tensor_copy.h"

namespace sage {

DeviceState::DeviceState(std::shared_ptr<Host> host, std::shared_ptr<const Device> device)
    : host_(std::move(host)), device_(std::move(device)), arena_(host_, device_->type(), device_->id()) {}

DeviceState::~DeviceState() {
  (void)Synchronize();  // nobody is left who could be told
  for (void* event : events_) device_->DestroyEvent(event);
  if (stream_ != nullptr) device_->DestroyStream(stream_);
}

Status DeviceState::Lend(void* stream) {
  SAGE_RETURN_IF_ERROR(Synchronize());
  lent_ = stream != nullptr;
  lent_stream_ = stream;
  return {};
}

Status DeviceState::Prepare(const DevicePlan& plan, bool guard, bool* moved) {
  if (!plan.used && plan.copies == 0) return {};
  if (stream_ == nullptr) {
    SAGE_RETURN_IF_ERROR(device_->CreateStream(&stream_));
    *moved = true;
  }
  const bool grows = plan.arena.total > arena_.bytes() || arena_.data() == nullptr;
  const bool scratch = plan.workspace_bytes > workspace_.bytes() || workspace_.data() == nullptr;
  if (grows || scratch) {
    SAGE_RETURN_IF_ERROR(Synchronize());  // of a lent stream's last run: its memory is about to go
    *moved = true;
  }
  if (grows) SAGE_RETURN_IF_ERROR(arena_.Reserve(plan.arena.total));
  if (scratch) {
    // Never none: a backend may ask for 0 bytes and is still given an address. Bands where the CPU may look at them.
    SAGE_RETURN_IF_ERROR(workspace_.Allocate(host_, device_->type(), device_->id(),
                                             std::max<uint64_t>(plan.workspace_bytes, 256),
                                             guard && device_->host_visible()));
  }
  while (events_.size() < plan.events) {
    void* event = nullptr;
    SAGE_RETURN_IF_ERROR(device_->CreateEvent(&event));
    events_.push_back(event);
  }
  return {};
}

void DeviceState::Enqueued(const std::string* node) {
  if (first_ == nullptr) first_ = node;
  last_ = node;
  busy_ = true;
}

Status DeviceState::Copy(const sage_tensor& from, const sage_tensor& to, uint64_t whole_bytes, uint64_t* moved) {
  busy_ = true;
  if (whole_bytes > 0) {
    *moved += whole_bytes;
    return device_->Copy(to.data, from.data, whole_bytes, stream());
  }
  struct Context {
    const DeviceState* self;
    Status status;
  } context{this, {}};
  *moved += CopyTensorBy(
      from, to,
      [](void* ctx, void* target, const void* source, uint64_t bytes) {
        auto* c = static_cast<Context*>(ctx);
        c->status = c->self->device_->Copy(target, source, bytes, c->self->stream());
        return c->status.ok();
      },
      &context);
  return std::move(context.status);
}

Status DeviceState::Launch(void* graph) {
  busy_ = true;
  return device_->Launch(graph, stream());
}

Status DeviceState::Record(uint32_t event) { return device_->Record(events_[event], stream()); }

Status DeviceState::WaitFor(const DeviceState& other, uint32_t event) {
  busy_ = true;
  return device_->Wait(other.events_[event], stream());
}

Status DeviceState::Synchronize() {
  const std::string *first = first_, *last = last_;
  first_ = last_ = nullptr;
  if (!busy_) return {};
  busy_ = false;
  Status status = device_->Synchronize(stream());
  if (status.ok() || first == nullptr) return status;
  // A stream tells its errors late: of one node, if there was one only.
  return status.At(first == last ? fmt::format("node \"{}\"", *first)
                                 : fmt::format("one of the nodes from \"{}\" to \"{}\"", *first, *last));
}

}  // namespace sage
