// constants.h: an op's constants of the CPU, copied to the device once, for the plan that keeps them.
#ifndef SAGE_PLUGINS_COMMON_CUDA_CONSTANTS_H_
#define SAGE_PLUGINS_COMMON_CUDA_CONSTANTS_H_

#include <cstdint>
#include <memory>
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

 private:
  class Memory;
  std::vector<std::shared_ptr<Memory>> slots_;
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_CONSTANTS_H_
