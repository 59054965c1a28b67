// attention_decode_bf16.cu: the decode kernel in bf16.
#include "attention_decode_launch.h"

namespace sage::cuda {

int LaunchDecodeBf16(const DecodeArguments& d, void* stream) { return LaunchDecodeOf<Bf16>(d, stream); }

}  // namespace sage::cuda
