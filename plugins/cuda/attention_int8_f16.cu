// attention_int8_f16.cu: attention whose Q K^T is in 8 bits, of f16 operands, and the choice between the two types.
#include "attention_int8_launch.h"
#include "attention_launch.h"

namespace sage::cuda {

int LaunchInt8F16(const AttentionArguments& a, void* workspace, void* stream) {
  return LaunchInt8Of<F16>(a, workspace, stream);
}

int LaunchInt8(const AttentionArguments& a, void* workspace, void* stream) {
  return a.type == AttentionType::kF16 ? LaunchInt8F16(a, workspace, stream) : LaunchInt8Bf16(a, workspace, stream);
}

}  // namespace sage::cuda
