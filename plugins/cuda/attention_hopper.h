// attention_hopper.h: the Hopper kernel as the rest of the backend sees it: what it serves, and its launch.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_H_

#include <cstddef>
#include <cstdint>

#include "common/cuda/attention_arguments.h"

namespace sage::cuda {

// Null if the kernel serves the call, else a sentence that says why not. Of pointers it counts only which are null, so
// that it answers before there is memory. Q, K and V must lie at multiples of 16 bytes, O of 4.
const char* HopperRefusal(const AttentionArguments& arguments);

// Bytes of workspace, to be aligned to 16.
constexpr size_t kHopperWorkspaceBytes = 16;

// Enqueues the kernel on the stream (a cudaStream_t) of the current device, which has so many multiprocessors. Legal
// inside stream capture. The workspace may be null: blocks then take tiles in turn instead of as they get free. Null,
// or a sentence that says what failed; valid until the process ends.
const char* LaunchHopper(const AttentionArguments& arguments, int multiprocessors, void* workspace, void* stream);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_H_
