// workspace.h: scratch memory for runs, with a band of known bytes on either side, so that a plugin that writes past
// what it asked for is caught after the run and named, instead of corrupting a stranger's memory unseen.
#ifndef SAGE_ENGINE_RUN_WORKSPACE_H_
#define SAGE_ENGINE_RUN_WORKSPACE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "run/host.h"
#include "status.h"

namespace sage {

class Workspace {
 public:
  static constexpr uint64_t kBand = 64;  // bytes on each side

  Workspace() = default;
  ~Workspace() { Release(); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // bytes of scratch, aligned to 64 on CPU and 256 on a device. guarded: with bands, which only memory that the
  // CPU may touch can have: its own, and that of devices which share it. What
  // was held before is given back first. 0 bytes: a null pointer, unless guarded.
  Status Allocate(std::shared_ptr<Host> host, int32_t device_type, int32_t device_id, uint64_t bytes, bool guarded);
  void Release();

  unsigned char* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  // False: something was written outside [data, data + used), used <= bytes. A shared workspace is checked against the
  // share of the node that ran: call Arm(used) before its run.
  bool Intact() const { return !guarded_ || BandsIntact(); }
  // Makes both bands new, the upper one directly behind the first `used` bytes.
  void Arm(uint64_t used);

 private:
  bool BandsIntact() const;
  std::shared_ptr<Host> host_;
  int32_t device_type_ = SAGE_CPU, device_id_ = 0;
  unsigned char *memory_ = nullptr, *data_ = nullptr;
  uint64_t bytes_ = 0, used_ = 0;
  bool guarded_ = false;
};

// The error of a run that broke out: it names the plugin, and how much it had asked for.
Status WorkspaceOverrun(const std::string& backend, uint64_t used);

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_WORKSPACE_H_
