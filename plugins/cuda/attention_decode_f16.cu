// attention_decode_f16.cu: the decode kernel in f16, and the choice between the two types.
#include "attention_decode_launch.h"
#include "attention_launch.h"

namespace sage::cuda {

int LaunchDecodeF16(const DecodeArguments& d, void* stream) { return LaunchDecodeOf<F16>(d, stream); }

int LaunchDecode(const AttentionArguments& a, const Properties& device, void* workspace, void* stream) {
  const DecodeArguments d = PlanDecode(a, device, workspace);
  return a.type == AttentionType::kF16 ? LaunchDecodeF16(d, stream) : LaunchDecodeBf16(d, stream);
}

}  // namespace sage::cuda
