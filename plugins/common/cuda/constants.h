// constants.h: an op's constants of the CPU, copied to the device once, for the plan that keeps them.
#ifndef SAGE_PLUGINS_COMMON_CUDA_CONSTANTS_H_
#define SAGE_PLUGINS_COMMON_CUDA_CONSTANTS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/cuda/device.h"
#include "sage/support/op_view.h"

namespace sage::cuda {

// Immutable after Copy; copies are shared by plans and die with the last of them.
class DeviceConstants {
 public:
  // Copies every constant of view that lies on the CPU, gaps of its strides included, or shares it where like
  // (optional) has the same bytes. Done when it returns. *copied: the bytes that were not shared.
  sage_status Copy(const Device& device, const sage_host& host, const support::OpView& view,
                   const DeviceConstants* like, uint64_t* copied, sage_error* err);

  // Element [0,..,0] of slot's copy; null where it has none.
  void* Of(uint32_t slot) const;

  // The slots of a run, with the copies in place of the constants: those are described in moved. Both spans have as
  // many slots as the kind of op has.
  void Place(const sage_run_args& args, std::span<sage_tensor> moved, std::span<const sage_tensor*> slots) const;

 private:
  class Memory;
  std::vector<std::shared_ptr<Memory>> slots_;
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_CONSTANTS_H_
