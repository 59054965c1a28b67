// errors.h: what becomes of a status of CUDA that is not success.
//
// CUDA remembers a thread's last error until it is fetched, so that one session's failure would come out of the next
// one's launch. Every status goes through FailCuda: it makes the sentence and has CUDA forget. Some errors end the
// process's context for good; those come back from every later call, whatever is fetched (LosesDevice).
#ifndef SAGE_PLUGINS_COMMON_CUDA_ERRORS_H_
#define SAGE_PLUGINS_COMMON_CUDA_ERRORS_H_

#include <string>

#include "common/cuda/runtime.h"
#include "sage/plugin.h"

namespace sage::cuda {

// No later call on this device can succeed in this process.
bool LosesDevice(int code);

// "cudaErrorMemoryAllocation (2): out of memory".
std::string CodeText(Runtime& runtime, int code);

// What a person can do about it: "; use smaller shapes ...", or nothing.
const char* Remedy(int code);

// code: not kSuccess. doing: "cuda:0: allocating 64 bytes". Fills err, its native_code too, and has CUDA forget the
// error. Returns SAGE_E_OUT_OF_MEMORY or SAGE_E_DEVICE.
sage_status FailCuda(Runtime& runtime, int code, const char* doing, sage_error* err);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_ERRORS_H_
