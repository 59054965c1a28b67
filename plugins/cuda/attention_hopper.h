// attention_hopper.h: the Hopper kernel as the rest of the backend sees it: what it serves, and its launch.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_H_

#include <cstddef>
#include <cstdint>

#include "attention_arguments.h"

namespace sage::cuda {

// Null if the kernel serves the call, else a sentence that says why not. Looks at sizes, types, strides and, where they
// are given, addresses: a null address is taken for a good one, so that it answers `ask` too.
const char* HopperRefusal(const AttentionArguments& arguments);

// Bytes of workspace, to be aligned to 16.
constexpr size_t kHopperWorkspaceBytes = 16;

// Enqueues the kernel on the stream (a cudaStream_t) of the current device, which has so many multiprocessors. Legal
// inside stream capture. The workspace may be null: blocks then take tiles in turn instead of as they get free. Null,
// or a sentence that says what failed; valid until the process ends.
const char* LaunchHopper(const AttentionArguments& arguments, int multiprocessors, void* workspace, void* stream);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_H_
