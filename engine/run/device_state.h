// device_state.h: what a session has on one device: a stream, an arena, a workspace and events, and what it has not
// waited for yet. Made when a plan first uses the device. Not shared: one session, one stream a device.
#ifndef SAGE_ENGINE_RUN_DEVICE_STATE_H_
#define SAGE_ENGINE_RUN_DEVICE_STATE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/device.h"
#include "plan/graph_plan.h"
#include "run/block.h"
#include "run/workspace.h"
#include "status.h"

namespace sage {

class DeviceState {
 public:
  DeviceState(std::shared_ptr<Host> host, std::shared_ptr<const Device> device);
  ~DeviceState();  // waits for its stream first
  DeviceState(const DeviceState&) = delete;
  DeviceState& operator=(const DeviceState&) = delete;

  const Device& device() const { return *device_; }
  void* stream() const { return lent_ ? lent_stream_ : stream_; }
  bool lent() const { return lent_; }
  // The caller's stream from now on; null = our own again. What is on the old one is waited for.
  Status Lend(void* stream);
  unsigned char* arena() const { return arena_.data(); }
  Workspace& workspace() { return workspace_; }

  // Memory, stream and events for a plan. Grows, never shrinks. *moved: addresses bound earlier are not valid any more.
  Status Prepare(const DevicePlan& plan, bool guard, bool* moved);

  // Everything below allocates nothing on success. node: what the work belongs to, for the sentence of an error.
  void Enqueued(const std::string* node);  // the backend was given a node of this device
  Status Copy(const sage_tensor& from, const sage_tensor& to, uint64_t whole_bytes, uint64_t* moved);
  Status Launch(void* graph);
  Status Record(uint32_t event);
  Status WaitFor(const DeviceState& other, uint32_t event);
  // The CPU waits. An error of earlier work names the nodes it may be of.
  Status Synchronize();
  bool busy() const { return busy_; }

 private:
  std::shared_ptr<Host> host_;
  std::shared_ptr<const Device> device_;
  void* stream_ = nullptr;
  void* lent_stream_ = nullptr;
  bool lent_ = false, busy_ = false;
  Block arena_;
  Workspace workspace_;
  std::vector<void*> events_;
  const std::string *first_ = nullptr, *last_ = nullptr;  // nodes enqueued since the last wait
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_DEVICE_STATE_H_
