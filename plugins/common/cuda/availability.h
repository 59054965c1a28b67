// availability.h: can a device be used by this build, and if not, the sentence that says why.
#ifndef SAGE_PLUGINS_COMMON_CUDA_AVAILABILITY_H_
#define SAGE_PLUGINS_COMMON_CUDA_AVAILABILITY_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "common/cuda/runtime.h"

namespace sage::cuda {

// A CUDA version as CUDA numbers it: 13000 -> "13.0".
std::string VersionText(int version);

// True: *properties is the device's. False: *why says what is missing, what is there and what to do. count: devices the
// driver shows, 0 where there is none. architectures: what this build has code for (architecture.h). Makes no context;
// asks nothing more of the driver than whether there is one before that is known.
bool FindDevice(Runtime& runtime, int device_id, std::string_view architectures, uint32_t* count,
                Properties* properties, std::string* why);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_AVAILABILITY_H_
