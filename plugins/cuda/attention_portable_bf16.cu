// attention_portable_bf16.cu: the portable kernel in bf16.
#include "attention_portable_launch.h"

namespace sage::cuda {

int LaunchPortableBf16(const AttentionArguments& a, void* stream) { return LaunchPortableOf<Bf16>(a, stream); }

}  // namespace sage::cuda
