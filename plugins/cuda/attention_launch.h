// attention_launch.h: kernels by name, for code that knows nothing of CUDA. Nothing here allocates or waits, so that
// all of it is legal inside stream capture.
//
// stream: a cudaStream_t. Returned: a cudaError_t, 0 if the kernel was launched.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_LAUNCH_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_LAUNCH_H_

#include "common/cuda/attention_arguments.h"
#include "common/cuda/runtime.h"

namespace sage::cuda {

// attention_plain.h: every type, dimension and stride.
int LaunchPlain(const AttentionArguments& a, void* stream);

// attention_small.h, for calls of which SmallRefusal (attention_small_plan.h) has nothing to say.
int LaunchSmall(const AttentionArguments& a, void* stream);

// attention_portable.h, for calls of which PortableRefusal (attention_portable_plan.h) has nothing to say.
int LaunchPortable(const AttentionArguments& a, void* stream);

// attention_decode.h, for calls of which DecodeRefusal (attention_decode_plan.h) has nothing to say. workspace:
// DecodeWorkspaceBytes of the plan. Appends K_NEW and V_NEW by itself.
int LaunchDecode(const AttentionArguments& a, const Properties& device, void* workspace, void* stream);

// attention_append.h: K_NEW and V_NEW into the cache, for the kernels that find all keys there.
int LaunchAppend(const AttentionArguments& a, void* stream);
// attention_int8.h, for calls of which Int8Refusal (attention_int8_plan.h) has nothing to say. workspace:
// Int8WorkspaceBytes, aligned to 256.
int LaunchInt8(const AttentionArguments& a, void* workspace, void* stream);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_LAUNCH_H_
