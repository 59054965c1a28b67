// host_mirror.h: a device node's op with copies of its tensors in CPU memory, for whoever has to look at them: verify.
//
// It allocates and waits for the stream; runs under verify do both anyway.
#ifndef SAGE_ENGINE_RUN_HOST_MIRROR_H_
#define SAGE_ENGINE_RUN_HOST_MIRROR_H_

#include <vector>

#include "model/shapes.h"
#include "run/device_state.h"

namespace sage {

class HostMirror {
 public:
  // built: the op of this run on that device, with data; it and the device must outlive this.
  HostMirror(const BuiltOp& built, DeviceState* device);
  // Copies what the device holds now of every slot, outputs included, and waits for it.
  Status Fetch();
  // The op on the CPU. Strides are row-major.
  const BuiltOp& op() const { return mirror_; }

 private:
  const BuiltOp& built_;
  DeviceState& device_;
  BuiltOp mirror_;
  std::vector<std::vector<unsigned char>> bytes_;  // per slot
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_HOST_MIRROR_H_
